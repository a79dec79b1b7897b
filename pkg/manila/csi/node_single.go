package csi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila/mount"
)

// singleWriter says whether a volume may be published at one path only (ReadWriteOncePod).
func singleWriter(c *csi.VolumeCapability) bool {
	return c.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
}

// publish gives a staged share to a pod, and one of a single writer to no other one. The mount table tells who has it, so a restart forgets
// nobody.
func (n *Node) publish(ctx context.Context, r *csi.NodePublishVolumeRequest) error {
	if !singleWriter(r.GetVolumeCapability()) {
		return n.bind(ctx, r)
	}
	unlock, err := n.locks.Lock(ctx, "writer "+r.GetVolumeId())
	if err != nil {
		return err
	}
	defer unlock()
	bound, err := n.Mounter.Bound(r.GetStagingTargetPath())
	if err != nil {
		return err
	}
	if others := otherTargets(bound, r.GetTargetPath()); len(others) > 0 {
		return fmt.Errorf("%w: volume %s is published at %s", errSingleWriter, r.GetVolumeId(), strings.Join(others, ", "))
	}
	return n.bind(ctx, r)
}

// otherTargets are the paths at which a volume is published, but for one. Kubelet binds what a container wants as a subPath to a directory
// of its own; that is the same pod, which has the volume anyway.
func otherTargets(bound []string, target string) []string {
	return slices.DeleteFunc(bound, func(path string) bool {
		return mount.SamePath(path, target) || slices.Contains(strings.Split(path, "/"), "volume-subpaths")
	})
}
