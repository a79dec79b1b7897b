package openstack_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	csisanity "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"

	"mooring/tests/sanity"
)

// TestSanity runs csi-sanity on the two processes and a real CephFS, alone and in a project of its own: it lists volumes, and wants to
// find its own.
func TestSanity(t *testing.T) { //nolint:paralleltest // Ginkgo has global state, and lists have to be still
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	d := newCSI(t, "other")
	const cluster = "e2e-sanity"
	d.start(t, "manila-controller", "--cluster-id", cluster)
	d.start(t, "manila-node", "--node-id", "node-1")
	d.connect(t)
	t.Cleanup(func() { d.removeAll(t) })

	config := csisanity.NewTestConfig()
	config.Address, config.ControllerAddress = d.socket("manila-node"), d.socket("manila-controller")
	config.TargetPath, config.StagingPath = filepath.Join(d.dir, "target"), filepath.Join(d.dir, "staging")
	config.TestVolumeParameters = map[string]string{"protocol": "CEPHFS", "type": "cephfs"}
	config.TestVolumeMutableParameters = map[string]string{"appendShareMetadata": `{"tier":"gold"}`}
	const gib = 1 << 30
	config.TestVolumeSize, config.TestVolumeExpandSize = gib, 2*gib
	begin := time.Now()
	sanity.Run(t, "csi-sanity on a real OpenStack", map[string]*csisanity.TestConfig{"CEPHFS": &config})
	t.Logf("it took %v", time.Since(begin).Round(time.Second))
	d.nothingMounted(t)
}

// removeAll removes what a suite has left, and fails when that is anything.
func (d *csiDriver) removeAll(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	snapshots, err := d.controller.ListSnapshots(ctx, &csi.ListSnapshotsRequest{})
	if err != nil {
		t.Error(err)
	}
	for _, e := range snapshots.GetEntries() {
		_, err := d.controller.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: e.GetSnapshot().GetSnapshotId()})
		t.Errorf("left: %v; removed: %v", e, err)
	}
	volumes, err := d.controller.ListVolumes(ctx, &csi.ListVolumesRequest{})
	if err != nil {
		t.Error(err)
	}
	for _, e := range volumes.GetEntries() {
		_, err := d.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: e.GetVolume().GetVolumeId()})
		t.Errorf("left: %v; removed: %v", e, err)
	}
}
