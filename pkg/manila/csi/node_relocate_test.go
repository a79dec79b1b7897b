package csi_test

import (
	"path/filepath"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack/openstacksim"
)

// TestServersThatMoved: a volume whose servers have other addresses than when it was made is mounted at the second try, if the node may
// ask where they are.
func TestServersThatMoved(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"NFS", "CEPHFS"} {
		for _, credential := range []bool{true, false} {
			d := start(t, openstacksim.ManilaConfig{})
			v := d.create(t, protocol)
			_, path, _ := strings.Cut(v.GetVolumeContext()["exportLocations"], ":/")
			path, _, _ = strings.Cut(path, `"`)
			v.VolumeContext["exportLocations"] = `["192.0.2.1:/` + path + `"]`
			stage := &spec.NodeStageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext()}
			if protocol == "CEPHFS" || credential {
				stage.Secrets = d.secret(t, "")
			}
			if !credential && protocol == "CEPHFS" { // it has one, and Manila is away
				d.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Path: "export_locations", Status: 503})
			}
			d.system.Fail = func(c mounttest.Call) error {
				if c.Name == "mount" && strings.HasPrefix(c.Source, "192.0.2.1:") {
					return unix.ETIMEDOUT
				}
				return nil
			}
			for n := range 3 {
				_, err := d.node.NodeStageVolume(t.Context(), stage)
				want := codes.Unavailable
				if credential && n > 0 {
					want = codes.OK
				}
				if status.Code(err) != want {
					t.Errorf("%s, credential %v, try %d: %v; want %v", protocol, credential, n, err, want)
				}
			}
			d.system.Fail = nil
			d.takeAway(t, v)
		}
	}
}
