package mount

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	mountutils "k8s.io/mount-utils"
)

// What the end of a ceph-fuse is told as when mounts were lost, or may have been.
const (
	advice        = "the next pod gets a new mount; delete the pods that have a dead one"
	leavesDead    = "ceph-fuse has ended and leaves dead mounts: " + advice
	leavesUnknown = "ceph-fuse has ended, and what it leaves can't be seen: " + advice
)

// tellEnd logs that a ceph-fuse, which served a mount at target, has ended, and what that means. It ends by a signal as by an unmount, and
// exits with 0 either way: whether mounts were lost is seen in the mount table.
func (m *Mounter) tellEnd(ctx context.Context, target string, served *mountutils.MountInfo, how error) {
	log := m.options.Logger.With(slog.String("path", target), slog.Any("how", how))
	dead, unknown, err := m.left(ctx, served)
	if len(unknown) > 0 {
		log = log.With(slog.Any("unknown", unknown))
	}
	switch {
	case err != nil:
		log.ErrorContext(ctx, leavesUnknown, slog.Any("error", err))
	case len(dead) > 0:
		log.ErrorContext(ctx, leavesDead, slog.Any("dead", dead))
	case len(unknown) > 0:
		log.ErrorContext(ctx, leavesUnknown)
	case !errors.Is(how, ErrExited):
		log.WarnContext(ctx, "ceph-fuse has failed when nothing of it was mounted any more: what was written last may be lost")
	default:
		log.InfoContext(ctx, "ceph-fuse has ended, as nothing of it is mounted any more")
	}
}

// left lists where the file system of a mount is mounted and dead, and where it is not known to be. The kernel may have given its device
// number to another one that was mounted since: where a file system answers, it is that one.
func (m *Mounter) left(ctx context.Context, served *mountutils.MountInfo) (dead, unknown []string, _ error) {
	table, err := m.options.System.Table()
	if err != nil {
		return nil, nil, err
	}
	for i := range table {
		path := table[i].MountPoint
		if !sameMount(&table[i], served) || slices.Contains(dead, path) || slices.Contains(unknown, path) {
			continue
		}
		switch _, err := m.probe(ctx, path, &table[i]); {
		case errors.Is(err, ErrDead):
			dead = append(dead, path)
		case err != nil:
			unknown = append(unknown, path)
		}
	}
	return dead, unknown, nil
}
