package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"

	"mooring/pkg/manila/mount"
)

// volumes is what the node remembers of its volumes for the health calls: the zero value knows none. A restart forgets it, and it
// comes back with the calls that name a volume's staging path, which kubelet makes every minute.
type volumes struct {
	mu    sync.Mutex
	known map[string]known // by volume id
}

type known struct {
	staging string
	failure string // why it could not be staged the last time; empty: it could
	hung    bool   // because nobody answered
}

// seen notes that a volume is staged at a path.
func (v *volumes) seen(id, staging string) { v.note(id, known{staging: staging}) }

// tried notes how staging a volume ended.
func (v *volumes) tried(id, staging string, err error) {
	k := known{staging: staging}
	if err != nil {
		k.failure, k.hung = err.Error(), errors.Is(err, mount.ErrHung)
	}
	v.note(id, k)
}

func (v *volumes) note(id string, k known) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = map[string]known{}
	}
	v.known[id] = k
}

func (v *volumes) forget(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.known, id)
}

func (v *volumes) get(id string) (known, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k, ok := v.known[id]
	return k, ok
}

// paths returns the staging paths of what could be staged, in order.
func (v *volumes) paths() (paths []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, k := range v.known {
		if k.failure == "" {
			paths = append(paths, k.staging)
		}
	}
	slices.Sort(paths)
	return paths
}

// NodeGetVolumeHealth looks at a volume's mounts on this node: those whose paths are given and the staged one that the node remembers,
// all at once. An empty answer says that nothing bad is known.
func (n *Node) NodeGetVolumeHealth(ctx context.Context, r *csi.NodeGetVolumeHealthRequest) (*csi.NodeGetVolumeHealthResponse, error) {
	id := r.GetVolumeId()
	if id == "" {
		return nil, answer(bad("the volume id is missing"))
	}
	var paths []string
	for _, path := range []string{r.GetStagingTargetPath(), r.GetVolumePublishPath()} {
		if path != "" && !filepath.IsAbs(path) {
			return nil, answer(bad("the path %q is not absolute", path))
		}
		if path != "" {
			paths = append(paths, path)
		}
	}
	k, ok := n.volumes.get(id)
	if ok && k.failure == "" && !slices.Contains(paths, k.staging) {
		paths = append(paths, k.staging)
	}
	found, err := n.look(ctx, paths)
	if err != nil {
		return nil, answer(err)
	}
	nowhere := len(paths) > 0 && !slices.ContainsFunc(found, func(err error) bool { return !errors.Is(err, mount.ErrNotMounted) })
	if nowhere && k.failure == "" {
		return nil, answer(fmt.Errorf("%w: volume %s: %w", errGone, id, errors.Join(found...)))
	}
	return &csi.NodeGetVolumeHealthResponse{VolumeHealth: &csi.VolumeHealth{VolumeId: id, HealthStatuses: volumeHealth(found, k.failure)}}, nil
}

// look probes mounts at the same time. The error is that of the context.
func (n *Node) look(ctx context.Context, paths []string) ([]error, error) {
	const most = 64 // at once; each ends within a probe's bound
	found := make([]error, len(paths))
	var group errgroup.Group
	group.SetLimit(most)
	for i, path := range paths {
		group.Go(func() error {
			_, found[i] = n.Mounter.Usage(ctx, path)
			return nil
		})
	}
	_ = group.Wait() // its functions return none
	return found, ctx.Err()
}

// illnessOf names what is wrong with a mount.
func illnessOf(err error) string {
	switch {
	case errors.Is(err, mount.ErrHung):
		return "ServerNotResponding"
	case errors.Is(err, mount.ErrDead):
		return "StaleMount"
	default:
		return "MountFailing"
	}
}

// volumeHealth turns what was found at a volume's mounts into entries: one per reason, as the specification demands, its message all
// that was found. A volume without a mount is ill only if it could not be staged.
func volumeHealth(found []error, failure string) (entries []*csi.VolumeHealth_VolumeHealthEntry) {
	messages := sortOut(found)
	if failure != "" {
		messages["StagingFailed"] = []string{failure}
	}
	for _, reason := range slices.Sorted(maps.Keys(messages)) {
		entries = append(entries, &csi.VolumeHealth_VolumeHealthEntry{
			Status: csi.VolumeHealthErrorType_INACCESSIBLE, Reason: reason, Message: strings.Join(messages[reason], "; "),
		})
	}
	return entries
}

// sortOut groups the messages of what was found by reason.
func sortOut(found []error) map[string][]string {
	messages := map[string][]string{}
	for _, err := range found {
		if err != nil && !errors.Is(err, mount.ErrNotMounted) {
			reason := illnessOf(err)
			messages[reason] = append(messages[reason], err.Error())
		}
	}
	return messages
}

// NodeGetStorageHealth looks at all staged volumes that the node remembers, at the same time. Storage of which no volume answers is
// unreachable; while some do, it is degraded.
func (n *Node) NodeGetStorageHealth(ctx context.Context, _ *csi.NodeGetStorageHealthRequest) (*csi.NodeGetStorageHealthResponse, error) {
	found, err := n.look(ctx, n.volumes.paths())
	if err != nil {
		return nil, answer(err)
	}
	return &csi.NodeGetStorageHealthResponse{BackendHealth: storageHealth(found)}, nil
}

func storageHealth(found []error) (entries []*csi.NodeGetStorageHealthResponse_StorageBackendHealth) {
	status := csi.StorageHealthErrorType_STORAGE_UNREACHABLE
	if slices.Contains(found, nil) {
		status = csi.StorageHealthErrorType_STORAGE_DEGRADED
	}
	messages := sortOut(found)
	for _, reason := range slices.Sorted(maps.Keys(messages)) {
		entries = append(entries, &csi.NodeGetStorageHealthResponse_StorageBackendHealth{
			Status: status, Reason: reason, Message: fmt.Sprintf("%d of %d volumes: %s", len(messages[reason]), len(found), strings.Join(messages[reason], "; ")),
		})
	}
	return entries
}
