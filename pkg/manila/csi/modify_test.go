package csi_test

import (
	"slices"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila"
	"mooring/pkg/openstack/openstacksim"
)

func modify(volume string, parameters map[string]string) *spec.ControllerModifyVolumeRequest {
	return &spec.ControllerModifyVolumeRequest{VolumeId: volume, MutableParameters: parameters}
}

func TestModifyVolume(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	id := d.create(t, "NFS").GetVolumeId()
	for range 2 { // the second time it is so already
		if _, err := d.controller.ControllerModifyVolume(t.Context(), modify(id, map[string]string{
			"nfs-shareClient": "10.0.0.0/8,fd00::/64", "accessLevel": "ro", "appendShareMetadata": `{"tier":"gold"}`, "type": "cephfs-nfs",
		})); err != nil {
			t.Fatal(err)
		}
		if got, want := d.Manila.Access(id), []string{"10.0.0.0/8 ro", "fd00::/64 ro"}; !cmp.Equal(got, want) {
			t.Errorf("access %q, want %q", got, want)
		}
	}
	// Another class, that says nothing of metadata and level: they stay.
	if _, err := d.controller.ControllerModifyVolume(t.Context(), modify(id, map[string]string{"nfs-shareClient": "10.0.0.1"})); err != nil {
		t.Fatal(err)
	}
	share, err := manila.New(d.session(t), manila.Options{}).Share(t.Context(), id)
	if err != nil || share.Metadata["tier"] != "gold" || share.Metadata[manila.ClusterKey] != "c1" {
		t.Errorf("metadata %v, %v", share.Metadata, err)
	}
	if got, want := d.Manila.Access(id), []string{"10.0.0.1 ro"}; !cmp.Equal(got, want) {
		t.Errorf("access %q, want %q", got, want)
	}
}

func TestModifyVolumeIsRefused(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	nfs, ceph := d.create(t, "NFS").GetVolumeId(), d.create(t, "CEPHFS").GetVolumeId()
	d.Calls.Reset()
	for name, c := range map[string]struct {
		volume     string
		parameters map[string]string
		want       codes.Code
		text       string
	}{
		"no volume":           {"", map[string]string{"accessLevel": "ro"}, codes.InvalidArgument, "volume id is missing"},
		"no such volume":      {"7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b", map[string]string{"accessLevel": "ro"}, codes.NotFound, "7f3d0a52"},
		"no id of a volume":   {"nope", map[string]string{"accessLevel": "ro"}, codes.NotFound, "nope"},
		"an unknown key":      {nfs, map[string]string{"protocol": "NFS"}, codes.InvalidArgument, `"protocol" is unknown; known are accessLevel`},
		"another type":        {nfs, map[string]string{"type": "dummy", "accessLevel": "ro"}, codes.InvalidArgument, "administrators alone"},
		"clients of CephFS":   {ceph, map[string]string{"nfs-shareClient": "10.0.0.1"}, codes.InvalidArgument, "for NFS, and it is CEPHFS"},
		"the level of CephFS": {ceph, map[string]string{"accessLevel": "ro", "appendShareMetadata": `{"a":"b"}`}, codes.InvalidArgument, "another key"},
	} {
		_, err := d.controller.ControllerModifyVolume(t.Context(), modify(c.volume, c.parameters))
		if status.Code(err) != c.want || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v; want %v with %q", name, err, c.want, c.text)
		}
	}
	if _, calls := d.counts(); slices.ContainsFunc(calls, func(method string) bool { return method != "GET" }) {
		t.Errorf("refused after %q", calls)
	}
}

// TestCreateWithMutableParameters: they come before the class. A create that is repeated with others finds the volume and gives it
// those: a claim's VolumeAttributesClass may change while its volume is made.
func TestCreateWithMutableParameters(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	mutable := func(m map[string]string) func(*spec.CreateVolumeRequest) {
		return func(r *spec.CreateVolumeRequest) {
			r.Parameters["nfs-shareClient"] = "192.0.2.0/24"
			r.MutableParameters = m
		}
	}
	first := d.create(t, "NFS", mutable(map[string]string{"accessLevel": "ro", "appendShareMetadata": `{"tier":"silver"}`})).GetVolumeId()
	if got, want := d.Manila.Access(first), []string{"192.0.2.0/24 ro"}; !cmp.Equal(got, want) {
		t.Errorf("access %q, want %q", got, want)
	}
	gold := map[string]string{"nfs-shareClient": "10.0.0.1", "accessLevel": "rw", "appendShareMetadata": `{"tier":"gold"}`}
	for range 2 {
		if again := d.create(t, "NFS", mutable(gold)).GetVolumeId(); again != first {
			t.Fatalf("the volume is %s, there was %s", again, first)
		}
	}
	if got, want := d.Manila.Access(first), []string{"10.0.0.1 rw"}; !cmp.Equal(got, want) {
		t.Errorf("access %q, want %q", got, want)
	}
	share, err := manila.New(d.session(t), manila.Options{}).Share(t.Context(), first)
	if err != nil || share.Metadata["tier"] != "gold" {
		t.Errorf("metadata %v, %v", share.Metadata, err)
	}
	_, err = d.controller.CreateVolume(t.Context(), request("CEPHFS", func(r *spec.CreateVolumeRequest) { r.MutableParameters = gold }))
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("clients of CephFS: %v", err)
	}
}

func TestValidateMutableParameters(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	id := d.create(t, "NFS").GetVolumeId()
	for want, parameters := range map[string]map[string]string{
		"":                        {"accessLevel": "ro", "type": "cephfs-nfs"},
		`"x" is unknown`:          {"x": "y"},
		"and not dummy":           {"type": "dummy"},
		"is neither an address":   {"nfs-shareClient": "everybody"},
		"has this key":            {"appendShareMetadata": `{"` + manila.ClusterKey + `":"c2"}`},
		"is neither rw nor ro":    {"accessLevel": "none"},
		"JSON object of strings,": {"appendShareMetadata": "tier=gold"},
	} {
		r, err := d.controller.ValidateVolumeCapabilities(t.Context(), &spec.ValidateVolumeCapabilitiesRequest{
			VolumeId: id, VolumeCapabilities: []*spec.VolumeCapability{rwx()}, MutableParameters: parameters,
		})
		if err != nil {
			t.Fatal(err)
		}
		if confirmed := cmp.Equal(r.GetConfirmed().GetMutableParameters(), parameters); confirmed != (want == "") || !strings.Contains(r.GetMessage(), want) {
			t.Errorf("%v: %v", parameters, r)
		}
	}
}
