package openstack_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila/mount"
	"mooring/tests/contract/target"
)

// TestCephFSGrowsAndIsCopied: a volume in use grows under its client; a volume from its snapshot and a clone have what it had then.
func TestCephFSGrowsAndIsCopied(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	d := startCSI(t)
	v := d.create(t, "CEPHFS", "cephfs")
	staging := d.stage(t, v)
	before := bytes.Repeat([]byte("before "), 1<<16)
	if err := os.WriteFile(filepath.Join(staging, "file"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	d.grow(t, v, staging)

	begin := time.Now()
	made, err := d.controller.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: target.Unique(t), SourceVolumeId: v.GetVolumeId()})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := made.GetSnapshot().GetSnapshotId()
	t.Cleanup(func() {
		_, _ = d.controller.DeleteSnapshot(context.WithoutCancel(t.Context()), &csi.DeleteSnapshotRequest{SnapshotId: snapshot})
	})
	t.Logf("CreateSnapshot took %v", time.Since(begin).Round(time.Millisecond))
	if err := os.WriteFile(filepath.Join(staging, "file"), []byte("after"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.unstage(t, v, staging) // what a client has not written yet is written now

	for name, c := range map[string]struct {
		source *csi.VolumeContentSource
		want   []byte
	}{
		"from the snapshot": {&csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: snapshot}}}, before},
		"clone":             {&csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: v.GetVolumeId()}}}, []byte("after")},
	} {
		begin := time.Now()
		copied := d.create(t, "CEPHFS", "cephfs", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = c.source })
		t.Logf("%s: CreateVolume took %v", name, time.Since(begin).Round(time.Millisecond))
		if copied.GetCapacityBytes() != 2<<30 {
			t.Errorf("%s: it has %d bytes, and its source has 2 GiB", name, copied.GetCapacityBytes())
		}
		path := d.stage(t, copied)
		readBack(t, filepath.Join(path, "file"), c.want)
		d.unstage(t, copied, path)
		d.remove(t, copied)
	}
	if _, err := d.controller.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: snapshot}); err != nil {
		t.Fatal(err)
	}
	d.remove(t, v)
	d.nothingMounted(t)
}

// grow doubles a volume and waits until its client says so.
func (d *csiDriver) grow(t *testing.T, v *csi.Volume, path string) {
	t.Helper()
	begin := time.Now()
	if _, err := d.controller.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{
		VolumeId: v.GetVolumeId(), CapacityRange: &csi.CapacityRange{RequiredBytes: 2 << 30}, VolumeCapability: rwx(),
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("ControllerExpandVolume took %v", time.Since(begin).Round(time.Millisecond))
	target.Eventually(t, "2 GiB at the client", func() bool {
		r, err := d.node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.GetVolumeId(), VolumePath: path})
		return err == nil && r.GetUsage()[0].GetTotal() == 2<<30
	})
	t.Logf("the client has seen it after %v", time.Since(begin).Round(time.Millisecond))
}

// stage mounts a volume, and says where.
func (d *csiDriver) stage(t *testing.T, v *csi.Volume) string {
	t.Helper()
	path := filepath.Join(d.dir, "staging", v.GetVolumeId())
	t.Cleanup(func() { // when the test has failed half-way
		_ = mount.New(mount.Options{}).Unmount(context.WithoutCancel(t.Context()), path)
	})
	if _, err := d.node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: path, VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
	}); err != nil {
		t.Fatal(err)
	}
	return path
}

func (d *csiDriver) unstage(t *testing.T, v *csi.Volume, path string) {
	t.Helper()
	if _, err := d.node.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: path}); err != nil {
		t.Fatal(err)
	}
}
