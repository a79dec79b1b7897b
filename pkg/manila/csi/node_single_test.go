package csi_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack/openstacksim"
)

// publishAs publishes a volume at a pod with an access mode.
func (d *driver) publishAs(t *testing.T, v *spec.Volume, pod string, mode spec.VolumeCapability_AccessMode_Mode) error {
	t.Helper()
	capability := rwx()
	capability.AccessMode.Mode = mode
	_, err := d.node.NodePublishVolume(t.Context(), &spec.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), TargetPath: filepath.Join(d.dir, pod), VolumeCapability: capability, VolumeContext: v.GetVolumeContext(),
	})
	return err
}

const (
	one  = spec.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	many = spec.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
)

// TestSingleWriter: of several pods at once one gets the volume, also after a restart of the plugin; it may ask again; when it has gone,
// another one gets it. Many writers are as many as like.
func TestSingleWriter(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	d.stage(t, v)
	pods := []string{"a", "b", "c", "d"}
	errs := make([]error, len(pods))
	var wg sync.WaitGroup
	for i, pod := range pods {
		wg.Go(func() { errs[i] = d.publishAs(t, v, pod, one) })
	}
	wg.Wait()
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner == "":
			winner = pods[i]
		case status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "ReadWriteOncePod"):
			t.Errorf("pod %s: %v", pods[i], err)
		}
	}
	d.node = &csi.Node{Clouds: d.node.Clouds, Mounter: mount.New(mount.Options{System: d.system})}
	if err := d.publishAs(t, v, winner, one); err != nil {
		t.Errorf("the same pod again: %v", err)
	}
	if err := d.publishAs(t, v, "late", one); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("after a restart: %v", err)
	}
	if _, err := d.node.NodeUnpublishVolume(t.Context(), &spec.NodeUnpublishVolumeRequest{VolumeId: v.GetVolumeId(), TargetPath: filepath.Join(d.dir, winner)}); err != nil {
		t.Fatal(err)
	}
	if err := d.publishAs(t, v, "late", one); err != nil {
		t.Errorf("when the first has gone: %v", err)
	}
	for _, pod := range []string{"x", "y"} {
		if err := d.publishAs(t, v, pod, many); err != nil {
			t.Errorf("of many writers: %v", err)
		}
	}
	d.takeAway(t, v, "late", "x", "y")
}

// TestSingleWriterOnTheRealKernel: the kernel's mount table tells the same, with a subPath of the pod in it and another volume beside.
func TestSingleWriterOnTheRealKernel(t *testing.T) {
	t.Parallel()
	system := mounttest.NewFuse(t)
	d := start(t, openstacksim.ManilaConfig{})
	d.node = &csi.Node{Clouds: d.controller.Clouds, Mounter: mount.New(mount.Options{System: system})}
	v := d.create(t, "CEPHFS", func(r *spec.CreateVolumeRequest) { r.Parameters["cephfs-mounter"] = "fuse" })
	subpath := filepath.Join(d.dir, "pods", "volume-subpaths", "0")
	t.Cleanup(func() {
		for _, path := range []string{subpath, filepath.Join(d.dir, "a"), filepath.Join(d.dir, "other"), filepath.Join(d.dir, "stage")} {
			_ = unix.Unmount(path, unix.MNT_DETACH)
		}
	})
	stage := d.stage(t, v)
	other := mount.CephFS{Export: mount.CephExport{Monitors: []string{"127.0.0.1:6789"}, Path: "/o"}, User: "u", Key: "AAAA", Mounter: mount.CephFuse}
	if err := mount.New(mount.Options{System: system}).MountCephFS(t.Context(), filepath.Join(d.dir, "other"), other); err != nil {
		t.Fatal(err)
	}
	if err := d.publishAs(t, v, "a", one); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(subpath, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(filepath.Join(d.dir, "a"), subpath, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := d.publishAs(t, v, "a", one); err != nil {
		t.Errorf("the same pod again: %v", err)
	}
	if err := d.publishAs(t, v, "b", one); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), filepath.Join(d.dir, "a")) || strings.Contains(err.Error(), "subpaths") {
		t.Errorf("another pod: %v", err)
	}
	if err := unix.Unmount(subpath, 0); err != nil {
		t.Error(err)
	}
	if _, err := d.node.NodeUnpublishVolume(t.Context(), &spec.NodeUnpublishVolumeRequest{VolumeId: v.GetVolumeId(), TargetPath: filepath.Join(d.dir, "a")}); err != nil {
		t.Error(err)
	}
	if _, err := d.node.NodeUnstageVolume(t.Context(), &spec.NodeUnstageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: stage}); err != nil {
		t.Error(err)
	}
}
