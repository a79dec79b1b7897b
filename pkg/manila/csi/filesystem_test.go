package csi_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila/params"
	"mooring/pkg/openstack/openstacksim"
)

// TestFileSystemOfAShare: the name of the CephFS file system that Manila tells is in the volume context, and in the mount; a volume
// that does not tell where its share is costs a call for that, and none that does.
func TestFileSystemOfAShare(t *testing.T) {
	t.Parallel()
	for _, fs := range []string{"", "fs-2"} {
		d := start(t, openstacksim.ManilaConfig{CephFileSystem: fs})
		d.node.Clouds, d.node.Protocol = d.controller.Clouds, params.CEPHFS
		v := d.create(t, "CEPHFS")
		again := d.create(t, "CEPHFS")
		for _, got := range []*spec.Volume{v, again} {
			if got.GetVolumeContext()["cephfs-fsName"] != fs {
				t.Errorf("%q: the volume context is %v", fs, got.GetVolumeContext())
			}
		}
		for _, c := range []struct {
			context map[string]string
			calls   int
		}{
			{v.GetVolumeContext(), 1}, {map[string]string{"shareID": v.GetVolumeId()}, 3}, {map[string]string{"shareName": "pvc-cephfs"}, 3},
		} {
			d.Calls.Reset()
			before := len(d.system.Calls())
			stage := &spec.NodeStageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: c.context}
			if _, err := d.node.NodeStageVolume(t.Context(), stage); err != nil {
				t.Fatal(err)
			}
			data := strings.Split(d.system.Calls()[before].Data, ",")
			if has := slices.Contains(data, "mds_namespace="+fs); has != (fs != "") {
				t.Errorf("%q: %v: mounted with %q", fs, c.context, data)
			}
			if _, calls := d.counts(); len(calls) != c.calls {
				t.Errorf("%v: staging made %q, want %d calls", c.context, calls, c.calls)
			}
			d.takeAway(t, v)
		}
	}
}
