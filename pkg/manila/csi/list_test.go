package csi_test

import (
	"fmt"
	"slices"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/openstack/openstacksim"
)

func TestListAndGetVolumes(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	var all []string
	for i := range 5 {
		all = append(all, d.create(t, "NFS", func(r *spec.CreateVolumeRequest) { r.Name = fmt.Sprint("pvc-", i) }).GetVolumeId())
	}
	clone := d.create(t, "NFS", func(r *spec.CreateVolumeRequest) { r.Name, r.VolumeContentSource = "clone", fromVolume(all[0]) })
	d.Manila.SetShareStatus(all[4], "error")
	all = append(all[:4], clone.GetVolumeId())
	slices.Sort(all)
	var got []string
	for token, pages := "", 0; pages == 0 || token != ""; pages++ {
		r, err := d.controller.ListVolumes(t.Context(), &spec.ListVolumesRequest{MaxEntries: 2, StartingToken: token})
		if err != nil || len(r.GetEntries()) > 2 || pages > 3 {
			t.Fatal(r, err)
		}
		for _, e := range r.GetEntries() {
			got = append(got, e.GetVolume().GetVolumeId())
			if e.GetVolume().GetCapacityBytes() != 1<<30 || e.GetStatus() == nil {
				t.Errorf("an entry is %v", e)
			}
		}
		token = r.GetNextToken()
	}
	if !slices.Equal(got, all) {
		t.Errorf("the volumes are %v, want %v", got, all)
	}
	for want, r := range map[codes.Code]*spec.ListVolumesRequest{codes.Aborted: {StartingToken: "x"}, codes.InvalidArgument: {MaxEntries: -1}} {
		if _, err := d.controller.ListVolumes(t.Context(), r); status.Code(err) != want {
			t.Errorf("%v: %v", r, err)
		}
	}
	one, err := d.controller.ControllerGetVolume(t.Context(), &spec.ControllerGetVolumeRequest{VolumeId: clone.GetVolumeId()})
	if err != nil || one.GetVolume().GetContentSource().GetVolume().GetVolumeId() == "" || one.GetStatus() == nil {
		t.Errorf("the clone is %v, %v", one, err)
	}
	for id, want := range map[string]codes.Code{"": codes.InvalidArgument, "fake": codes.NotFound, "5f0a9e2c-1111-4222-8333-444455556666": codes.NotFound} {
		if _, err := d.controller.ControllerGetVolume(t.Context(), &spec.ControllerGetVolumeRequest{VolumeId: id}); status.Code(err) != want {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	types := openstacksim.ManilaShareTypes()
	types[1].ExtraSpecs["provisioning:max_share_size"], types[1].ExtraSpecs["provisioning:min_share_size"] = "30", "2"
	for _, version := range []string{"2.73", "2.50", "2.38"} {
		d := start(t, openstacksim.ManilaConfig{
			MaxMicroversion: version, ShareTypes: types,
			Quota: openstacksim.ManilaQuota{Shares: 3, Gigabytes: 100, Snapshots: 1, SnapshotGigabytes: 9, ShareNetworks: 1, PerShareGigabytes: 40},
		})
		ask := func(parameters map[string]string, want ...int64) {
			t.Helper()
			r, err := d.controller.GetCapacity(t.Context(), &spec.GetCapacityRequest{Parameters: parameters, VolumeCapabilities: []*spec.VolumeCapability{rwx()}})
			if err != nil || r.GetAvailableCapacity() != want[0]*gib || r.GetMaximumVolumeSize().GetValue() != want[1]*gib || r.GetMinimumVolumeSize().GetValue() != want[2]*gib {
				t.Errorf("%s: %v: %v, %v; want %v GiB", version, parameters, r, err, want)
			}
		}
		largest := map[string]int64{"2.73": 40, "2.50": 100, "2.38": 100}[version]
		ask(nil, 100, largest, 1)
		ask(map[string]string{"type": "cephfs-nfs", "protocol": "NFS"}, 100, 30, 2)
		d.create(t, "NFS", func(r *spec.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 25 * gib })
		ask(nil, 75, min(75, largest), 1)
		d.create(t, "CEPHFS")
		d.create(t, "CEPHFS", func(r *spec.CreateVolumeRequest) { r.Name = "third" })
		ask(nil, 0, 0, 1) // three shares are all there may be
		if _, err := d.controller.GetCapacity(t.Context(), &spec.GetCapacityRequest{Parameters: map[string]string{"type": "nope"}}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("an unknown type: %v", err)
		}
		block := &spec.VolumeCapability{AccessType: &spec.VolumeCapability_Block{Block: &spec.VolumeCapability_BlockVolume{}}}
		if r, err := d.controller.GetCapacity(t.Context(), &spec.GetCapacityRequest{VolumeCapabilities: []*spec.VolumeCapability{block}}); err != nil || r.GetAvailableCapacity() != 0 {
			t.Errorf("block volumes: %v, %v", r, err)
		}
	}
}
