package csi_test

import (
	"path/filepath"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack/openstacksim"
)

// TestExportLocationsOfANetwork: the runtime configuration, as it is at that moment, says from which of a share's export locations a
// node mounts, and so by which of its addresses it is let in.
func TestExportLocationsOfANetwork(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{NFSHosts: []string{"10.1.0.1", "fd00::1", "nfs.example.org", "10.2.0.1"}})
	d.controller.Attach = true
	var config string
	file := params.RuntimeFile{Path: "/etc/runtime.json", ReadFile: func(string) ([]byte, error) { return []byte(config), nil }}
	d.controller.Runtime, d.node.Runtime = file, file
	ours := d.create(t, "NFS")
	byHand := &spec.Volume{VolumeId: ours.GetVolumeId(), VolumeContext: map[string]string{"shareID": ours.GetVolumeId(), "protocol": "NFS"}}
	stage := func(v *spec.Volume) error {
		_, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{
			VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(), Secrets: d.secret(t, ""),
		})
		return err
	}
	admitted := func() (string, error) {
		_, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(ours, "node-1/10.9.0.1,fd00::9", false))
		if err != nil {
			return "", err
		}
		have, err := manila.New(d.session(t), manila.Options{}).Inventory(t.Context(), func(*manila.Share) bool { return true })
		if err != nil {
			return "", err
		}
		_, err = d.controller.ControllerUnpublishVolume(t.Context(), &spec.ControllerUnpublishVolumeRequest{VolumeId: ours.GetVolumeId(), NodeId: "node-1/10.9.0.1,fd00::9"})
		return have.Rules[ours.GetVolumeId()][0].To, err
	}
	for _, c := range []struct{ network, source, address string }{
		{"", "10.2.0.1:/", "10.9.0.1"}, {"10.1.0.0/16", "10.1.0.1:/", "10.9.0.1"}, {"fd00::/8", "[fd00::1]:/", "fd00::9"}, {"10.2.0.1", "10.2.0.1:/", "10.9.0.1"},
	} {
		config = `{"nfs":{"matchExportLocationAddress":"` + c.network + `"}}`
		for _, v := range []*spec.Volume{ours, byHand} {
			before := len(d.system.Calls())
			if err := stage(v); err != nil {
				t.Fatalf("%q: %v", c.network, err)
			}
			if got := d.system.Calls()[before]; !strings.HasPrefix(got.Source, c.source) {
				t.Errorf("%q: mounted from %s, want %s", c.network, got.Source, c.source)
			}
			d.takeAway(t, v)
		}
		if got, err := admitted(); err != nil || got != c.address {
			t.Errorf("%q: admitted by %s, %v; want %s", c.network, got, err, c.address)
		}
	}
	for broken, want := range map[string][]string{
		`{"nfs":{"matchExportLocationAddress":"192.168.0.0/16"}}`: {"/etc/runtime.json", "192.168.0.0/16", "10.1.0.1", "10.2.0.1", "fd00::1", "nfs.example.org"},
		`{`: {"/etc/runtime.json", "runtime configuration"},
	} {
		config = broken
		_, published := admitted()
		for _, err := range []error{stage(ours), stage(byHand), published} {
			for _, word := range want {
				if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %v; want FailedPrecondition and %q", broken, err, word)
				}
			}
		}
	}
	if got := d.Manila.Counts(); got.Rules != 0 {
		t.Errorf("there are %+v", got)
	}
}
