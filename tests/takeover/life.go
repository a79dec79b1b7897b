package takeover

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila/mount"
	"mooring/tests/contract/target"
)

const gib = 1 << 30

// Driver is ours, under one of the plugin's names.
type Driver struct {
	Controller csi.ControllerClient
	Node       csi.NodeClient
	// System has the node's mount table.
	System mount.System
	// Dir is kubelet's.
	Dir string
	// Real says that mounts are real ones: files are written and read, and sizes looked at.
	Real bool
}

// Staging is the path at which kubelet has a volume staged: it depends on the driver's name and the handle alone, and so stays the same.
func (d *Driver) Staging(v *Volume) string { return filepath.Join(d.Dir, v.PV.Name, "globalmount") }

// Target is the path of a pod.
func (d *Driver) Target(v *Volume, pod string) string {
	return filepath.Join(d.Dir, "pods", pod, v.PV.Name)
}

// Stage is what kubelet asks for when the first pod of a node comes.
func (d *Driver) Stage(ctx context.Context, v *Volume) error {
	source := v.PV.Spec.CSI
	_, err := d.Node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: source.VolumeHandle, StagingTargetPath: d.Staging(v), VolumeCapability: v.capability(), Secrets: v.secretOf(source.NodeStageSecretRef),
		VolumeContext: source.VolumeAttributes,
	})
	return err
}

// Publish is what it asks for with each pod.
func (d *Driver) Publish(ctx context.Context, v *Volume, pod string) error {
	source := v.PV.Spec.CSI
	path := d.Target(v, pod)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	_, err := d.Node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: source.VolumeHandle, StagingTargetPath: d.Staging(v), TargetPath: path, VolumeCapability: v.capability(), Readonly: source.ReadOnly,
		Secrets: v.secretOf(source.NodePublishSecretRef), VolumeContext: source.VolumeAttributes,
	})
	return err
}

// Unpublish is what it asks for when a pod has gone.
func (d *Driver) Unpublish(ctx context.Context, v *Volume, pod string) error {
	_, err := d.Node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: v.PV.Spec.CSI.VolumeHandle, TargetPath: d.Target(v, pod)})
	return err
}

// Unstage is what it asks for when the last pod has gone.
func (d *Driver) Unstage(ctx context.Context, v *Volume) error {
	_, err := d.Node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: v.PV.Spec.CSI.VolumeHandle, StagingTargetPath: d.Staging(v)})
	return err
}

// Life takes a volume of the plugin through everything that can happen to it.
func (d *Driver) Life(t *testing.T, o *Origin, v *Volume) {
	t.Helper()
	t.Cleanup(func() { // when the test has failed half-way
		ctx := context.WithoutCancel(t.Context())
		_, _ = d.Unpublish(ctx, v, "a"), d.Unpublish(ctx, v, "b")
		_ = d.Unstage(ctx, v)
	})
	for range 2 {
		must(t, d.Stage(t.Context(), v))
		must(t, d.Publish(t.Context(), v, "a"))
	}
	must(t, d.Publish(t.Context(), v, "b"))
	d.isMounted(t, v, d.Staging(v))
	content := []byte("written before " + v.PV.Name)
	if d.Real {
		must(t, os.WriteFile(filepath.Join(d.Target(v, "a"), "file"), content, 0o600))
		d.reads(t, filepath.Join(d.Target(v, "b"), "file"), content)
	}
	d.validate(t, v)
	d.expand(t, v)
	if d.Real { // a client hears of the new size by itself, in its time
		target.Eventually(t, "the client sees the new size", func() bool { return d.size(t, v) == d.expanded(v) })
	} else {
		d.size(t, v)
	}
	if v.Dynamic() {
		d.snapshots(t, o, v, content)
	}
	for range 2 {
		must(t, d.Unpublish(t.Context(), v, "a"))
		must(t, d.Unpublish(t.Context(), v, "b"))
		must(t, d.Unstage(t.Context(), v))
	}
	d.nothingMounted(t, v)
	d.remove(t, o, v)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// isMounted looks for the share in the mount table.
func (d *Driver) isMounted(t *testing.T, v *Volume, path string) {
	t.Helper()
	table, err := d.System.Table()
	must(t, err)
	for _, entry := range table {
		if entry.MountPoint == path && strings.HasSuffix(entry.Source, v.Export) {
			return
		}
	}
	t.Errorf("%s is not mounted at %s: %+v", v.Export, path, table)
}

func (d *Driver) nothingMounted(t *testing.T, v *Volume) {
	t.Helper()
	table, err := d.System.Table()
	must(t, err)
	for _, entry := range table {
		if strings.Contains(entry.MountPoint, v.PV.Name) {
			t.Errorf("still mounted: %+v", entry)
		}
	}
	for _, path := range []string{d.Staging(v), d.Target(v, "a"), d.Target(v, "b")} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

func (d *Driver) reads(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %q, %v; want %q", path, got, err, want)
	}
}

// size is what NodeGetVolumeStats tells, in GiB.
func (d *Driver) size(t *testing.T, v *Volume) int64 {
	t.Helper()
	r, err := d.Node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{
		VolumeId: v.PV.Spec.CSI.VolumeHandle, VolumePath: d.Target(v, "a"), StagingTargetPath: d.Staging(v),
	})
	must(t, err)
	if len(r.GetUsage()) == 0 || r.GetUsage()[0].GetTotal() == 0 {
		t.Fatalf("the usage is %v", r)
	}
	return r.GetUsage()[0].GetTotal() / gib
}

// expanded is the size that a volume has after expand, in GiB.
func (d *Driver) expanded(v *Volume) int64 {
	if v.Dynamic() {
		return 2
	}
	return 1
}

// validate asks what the specification has; nobody in Kubernetes does. The attributes of a volume that was made by hand name its share.
func (d *Driver) validate(t *testing.T, v *Volume) {
	t.Helper()
	r, err := d.Controller.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
		VolumeId: v.PV.Spec.CSI.VolumeHandle, VolumeCapabilities: []*csi.VolumeCapability{v.capability()}, VolumeContext: v.PV.Spec.CSI.VolumeAttributes, Secrets: v.secret,
	})
	if err != nil || r.GetConfirmed() == nil {
		t.Errorf("ValidateVolumeCapabilities: %v, %v", r, err)
	}
}

// expand is what external-resizer asks for, while pods use the volume.
func (d *Driver) expand(t *testing.T, v *Volume) {
	t.Helper()
	for range 2 {
		begin := time.Now()
		r, err := d.Controller.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{
			VolumeId: v.PV.Spec.CSI.VolumeHandle, CapacityRange: &csi.CapacityRange{RequiredBytes: 2 * gib}, VolumeCapability: v.capability(),
			Secrets: v.secretOf(v.PV.Spec.CSI.ControllerExpandSecretRef),
		})
		switch {
		case !v.Dynamic() && status.Code(err) == codes.NotFound, !v.Dynamic() && status.Code(err) == codes.FailedPrecondition: // nothing tells its share, or its secret
			return
		case err != nil || r.GetCapacityBytes() != 2*gib || r.GetNodeExpansionRequired():
			t.Fatalf("ControllerExpandVolume: %v, %v", r, err)
		}
		t.Logf("ControllerExpandVolume took %v", time.Since(begin).Round(time.Millisecond))
	}
}

// snapshots restores what the plugin has kept, and keeps and restores anew.
func (d *Driver) snapshots(t *testing.T, o *Origin, v *Volume, content []byte) {
	t.Helper()
	name := "snapshot-" + v.PV.Name
	old := o.Snapshot(t, v, name)
	again, err := d.Controller.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: v.Share, Secrets: v.secret})
	if err != nil || again.GetSnapshot().GetSnapshotId() != old || !again.GetSnapshot().GetReadyToUse() {
		t.Fatalf("the plugin's snapshot %s is not taken for ours: %v, %v", old, again, err)
	}
	listed, err := d.Controller.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: old, Secrets: v.secret})
	if err != nil || len(listed.GetEntries()) != 1 {
		t.Errorf("the plugin's snapshot %s is not listed: %v, %v", old, listed, err)
	}
	begin := time.Now()
	made, err := d.Controller.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name + "-2", SourceVolumeId: v.Share, Secrets: v.secret})
	must(t, err)
	t.Logf("CreateSnapshot took %v", time.Since(begin).Round(time.Millisecond))
	for _, id := range []string{old, made.GetSnapshot().GetSnapshotId()} {
		if !d.Real || id == old { // of one of ours it is nothing of a takeover, and takes a real Ceph its time
			d.restore(t, v, id, content)
		}
		for range 2 {
			_, err := d.Controller.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: id, Secrets: v.secret})
			must(t, err)
		}
		if _, err := snapshots.Get(t.Context(), o.client, id).Extract(); err == nil {
			t.Errorf("snapshot %s is still there", id)
		}
	}
}

// Snapshot keeps a volume as the plugin does: with a name, and nothing else.
func (o *Origin) Snapshot(t *testing.T, v *Volume, name string) (id string) {
	t.Helper()
	made, err := snapshots.Create(t.Context(), o.client, snapshots.CreateOpts{ShareID: v.Share, Name: name, Description: "snapshotted-by=manila.csi.openstack.org"}).Extract()
	must(t, err)
	t.Cleanup(func() { // when the test has failed half-way
		_ = snapshots.Delete(context.WithoutCancel(t.Context()), o.client, made.ID).ExtractErr()
	})
	target.Eventually(t, "a snapshot of the plugin", func() bool {
		now, err := snapshots.Get(t.Context(), o.client, made.ID).Extract()
		return err == nil && now.Status == "available"
	})
	return made.ID
}

// Parameters are those of the plugin's class for a volume.
func (v *Volume) Parameters() map[string]string {
	if v.PV.Spec.CSI.Driver == CEPHFS {
		return map[string]string{"type": "cephfs", "cephfs-mounter": "fuse", "appendShareMetadata": `{"team":"a"}`}
	}
	return map[string]string{"type": "cephfs-nfs", "nfs-shareClient": "10.0.0.0/8", "autoTopology": "false", "csi.storage.k8s.io/pvc/name": "data"}
}

// restore makes a volume from a snapshot with the plugin's class, reads it, and removes it.
func (d *Driver) restore(t *testing.T, v *Volume, snapshot string, content []byte) {
	t.Helper()
	begin := time.Now()
	created, err := d.Controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
		Name: target.Unique(t), CapacityRange: &csi.CapacityRange{RequiredBytes: gib}, VolumeCapabilities: []*csi.VolumeCapability{v.capability()},
		Parameters: v.Parameters(), Secrets: v.secret,
		VolumeContentSource: &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: snapshot}}},
	})
	must(t, err)
	t.Logf("CreateVolume from a snapshot took %v", time.Since(begin).Round(time.Millisecond))
	made := created.GetVolume()
	defer func() {
		_, err := d.Controller.DeleteVolume(context.WithoutCancel(t.Context()), &csi.DeleteVolumeRequest{VolumeId: made.GetVolumeId(), Secrets: v.secret})
		if err != nil {
			t.Error(err)
		}
	}()
	if !d.Real {
		return
	}
	restored := &Volume{PV: v.PV.DeepCopy(), Share: made.GetVolumeId(), secret: v.secret}
	restored.PV.Name += "-restored"
	restored.PV.Spec.CSI.VolumeHandle, restored.PV.Spec.CSI.VolumeAttributes = made.GetVolumeId(), made.GetVolumeContext()
	must(t, d.Stage(t.Context(), restored))
	d.reads(t, filepath.Join(d.Staging(restored), "file"), content)
	must(t, d.Unstage(t.Context(), restored))
}

// remove is what external-provisioner asks for when the claim of a volume with the policy Delete has gone. A handle that is no share's id
// means no share, so that nothing is removed.
func (d *Driver) remove(t *testing.T, o *Origin, v *Volume) {
	t.Helper()
	for range 2 {
		_, err := d.Controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: v.PV.Spec.CSI.VolumeHandle, Secrets: v.deletionSecret()})
		must(t, err)
	}
	_, err := shares.Get(t.Context(), o.client, v.Share).Extract()
	if gone := err != nil; gone != v.Dynamic() {
		t.Errorf("DeleteVolume of %s: the share is gone: %v", v.PV.Spec.CSI.VolumeHandle, gone)
	}
}
