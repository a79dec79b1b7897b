package csi

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila/mount"
)

// bind gives a staged share to a pod. If the staged mount has died (its ceph-fuse has ended, or its handle is stale) or is lost, it is
// replaced first: kubelet does not stage a volume again while it believes it staged, and that belief outlives the mount. Pods that have
// the dead mount keep it until they are started again, since nothing can change a mount inside a running container.
func (n *Node) bind(ctx context.Context, r *csi.NodePublishVolumeRequest) error {
	again := func() error {
		return n.Mounter.Bind(ctx, r.GetStagingTargetPath(), r.GetTargetPath(), r.GetReadonly() || readOnly(r.GetVolumeCapability()))
	}
	err := again()
	if !errors.Is(err, mount.ErrDead) && !lost(err, r.GetStagingTargetPath()) {
		return err
	}
	if err := n.restage(ctx, r); err != nil {
		return err
	}
	return again()
}

// lost says whether a volume was staged once and its mount is not there: somebody replaces it just now, or could not, or was killed
// before it could. Unstaging takes the directory away, too, so one that is there tells.
func lost(err error, staging string) bool {
	if !errors.Is(err, mount.ErrNotMounted) {
		return false
	}
	info, err := os.Lstat(staging)
	return err == nil && info.IsDir()
}

// restage stages a volume with what a publish request says: the same as the stage request, but for the secret, which is that of the
// publish (csi.storage.k8s.io/node-publish-secret-name). NFS needs none. A cephx key that the node still knows does for CephFS. Only one of
// several pods does it; the others wait and find it done.
func (n *Node) restage(ctx context.Context, r *csi.NodePublishVolumeRequest) error {
	v, err := n.volume(&csi.NodeStageVolumeRequest{
		VolumeId: r.GetVolumeId(), StagingTargetPath: r.GetStagingTargetPath(), VolumeCapability: r.GetVolumeCapability(),
		VolumeContext: r.GetVolumeContext(), PublishContext: r.GetPublishContext(), Secrets: r.GetSecrets(),
	})
	if err != nil {
		return err
	}
	unlock, err := n.locks.Lock(ctx, "id "+v.id)
	if err != nil {
		return err
	}
	defer unlock()
	err = n.stage(ctx, v)
	if errors.Is(err, errNoCredential) {
		return fmt.Errorf("the dead mount at %s can't be replaced without the class's csi.storage.k8s.io/node-publish-secret-name: %w", v.path, err)
	}
	return err
}
