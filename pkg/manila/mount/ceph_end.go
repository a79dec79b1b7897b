package mount

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	mountutils "k8s.io/mount-utils"
)

// ErrExited is with what a ceph-fuse ends whose mount was taken away: with status 0.
var ErrExited = errors.New("it ended")

// tellEnd logs that a ceph-fuse, which served a mount at target, has ended, and what that means. It ends by a signal as by an unmount, and
// may call both orderly: whether mounts were lost is seen in the mount table.
func (m *Mounter) tellEnd(ctx context.Context, target string, served *mountutils.MountInfo, how error) {
	log := m.options.Logger.With(slog.String("path", target), slog.Any("how", how))
	dead, err := m.deadOf(ctx, served)
	switch {
	case err != nil:
		log.ErrorContext(ctx, "ceph-fuse has ended, and what it leaves can't be seen: the next pod gets a new mount; delete the pods that have a dead one", slog.Any("error", err))
	case len(dead) > 0:
		log.ErrorContext(ctx, "ceph-fuse has ended and leaves dead mounts: the next pod gets a new one; delete the pods that have a dead one", slog.Any("dead", dead))
	case !errors.Is(how, ErrExited):
		log.WarnContext(ctx, "ceph-fuse has failed when nothing of it was mounted any more: what was written last may be lost")
	default:
		log.InfoContext(ctx, "ceph-fuse has ended, as nothing of it is mounted any more")
	}
}

// deadOf lists where the file system of a mount is mounted and does not live. The kernel may have given its number to another one that was
// mounted since, and that one does.
func (m *Mounter) deadOf(ctx context.Context, served *mountutils.MountInfo) (paths []string, _ error) {
	table, err := m.options.System.Table()
	if err != nil {
		return nil, err
	}
	for i := range table {
		path := table[i].MountPoint
		if !sameMount(&table[i], served) || slices.Contains(paths, path) {
			continue
		}
		if _, err := m.probe(ctx, path, &table[i]); errors.Is(err, ErrDead) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}
