package csi_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila/csi"
	"mooring/pkg/openstack/openstacksim"
)

// threeZones is a Manila that has storage in two of its zones, a and b. No host of c takes a share.
func threeZones() openstacksim.ManilaConfig {
	types := openstacksim.ManilaShareTypes()
	for i := range types {
		types[i].Zones = []string{"a", "b"}
	}
	return openstacksim.ManilaConfig{AvailabilityZones: []string{"a", "b", "c"}, ShareTypes: types}
}

func wants(zones ...string) *spec.TopologyRequirement {
	r := &spec.TopologyRequirement{}
	for _, zone := range zones {
		r.Requisite = append(r.Requisite, &spec.Topology{Segments: map[string]string{csi.ZoneKey: zone}})
	}
	r.Preferred = r.GetRequisite()
	return r
}

func auto(zones ...string) func(*spec.CreateVolumeRequest) {
	return func(r *spec.CreateVolumeRequest) {
		r.Parameters["autoTopology"] = "true"
		r.AccessibilityRequirements = wants(zones...)
	}
}

// TestAutoTopology: a share goes to the first zone that takes it, and is found there again, whatever is preferred by then.
func TestAutoTopology(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zones []string
		want  string
		posts int // of shares
	}{
		{[]string{"b", "a"}, "b", 1},
		{[]string{"nowhere", "a"}, "a", 2},
		{[]string{"c", "nowhere", "b", "a"}, "b", 3},
	} {
		d := start(t, threeZones())
		d.controller.Topology = true
		v := d.create(t, "NFS", auto(c.zones...))
		if got := v.GetAccessibleTopology(); len(got) != 1 || got[0].GetSegments()[csi.ZoneKey] != c.want {
			t.Errorf("%q: reachable in %v, want %s", c.zones, got, c.want)
		}
		posts := 0
		for _, call := range d.Calls.All() {
			if call.Method == http.MethodPost && strings.HasSuffix(call.Path, "/shares") {
				posts++
			}
		}
		if posts != c.posts {
			t.Errorf("%q: %d creates, want %d", c.zones, posts, c.posts)
		}
		slices.Reverse(c.zones)
		if again := d.create(t, "NFS", auto(c.zones...)); again.GetVolumeId() != v.GetVolumeId() || again.GetAccessibleTopology()[0].GetSegments()[csi.ZoneKey] != c.want {
			t.Errorf("%q: again it is %v", c.zones, again)
		}
		if n := d.Manila.Counts().Shares; n != 1 {
			t.Errorf("%q: there are %d shares", c.zones, n)
		}
		_, err := d.controller.CreateVolume(t.Context(), request("NFS", auto("z")))
		if status.Code(err) != codes.AlreadyExists {
			t.Errorf("%q: wanted elsewhere: %v", c.zones, err)
		}
	}
}

// TestNoZone: when no zone takes the share, nothing is left, and the scheduler of Kubernetes may look for another node.
func TestNoZone(t *testing.T) {
	t.Parallel()
	d := start(t, threeZones())
	d.controller.Topology = true
	_, err := d.controller.CreateVolume(t.Context(), request("NFS", auto("c", "nowhere")))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "AvailabilityZone filter didn't succeed") || !strings.Contains(err.Error(), "nowhere: ") {
		t.Errorf("got %v", err)
	}
	if left := d.Manila.Counts(); left != (openstacksim.ManilaCounts{}) {
		t.Errorf("left: %+v", left)
	}
	if _, err := d.controller.CreateVolume(t.Context(), request("NFS", func(r *spec.CreateVolumeRequest) { r.Parameters["availability"] = "nowhere" })); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a class of an unknown zone: %v", err)
	}
}

// TestRestoreStaysInZone: a snapshot's share is in its zone, and one that is wanted elsewhere can't be made; a clone leaves no snapshot.
func TestRestoreStaysInZone(t *testing.T) {
	t.Parallel()
	d := start(t, threeZones())
	d.controller.Topology = true
	source := d.create(t, "NFS", auto("b"))
	clone := func(zones ...string) *spec.CreateVolumeRequest {
		return request("NFS", auto(zones...), func(r *spec.CreateVolumeRequest) {
			r.Name = "clone"
			r.VolumeContentSource = &spec.VolumeContentSource{Type: &spec.VolumeContentSource_Volume{Volume: &spec.VolumeContentSource_VolumeSource{VolumeId: source.GetVolumeId()}}}
		})
	}
	if _, err := d.controller.CreateVolume(t.Context(), clone("a")); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("in another zone: %v", err)
	}
	if left := d.Manila.Counts(); left.Snapshots != 0 || left.Shares != 1 {
		t.Errorf("left: %+v", left)
	}
	made, err := d.controller.CreateVolume(t.Context(), clone("a", "b"))
	if err != nil || made.GetVolume().GetAccessibleTopology()[0].GetSegments()[csi.ZoneKey] != "b" {
		t.Errorf("got %v, %v", made, err)
	}
}

// TestNodeZone: the node waits a moment for its zone, and not for ever.
func TestNodeZone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &csi.Node{Name: "n", Zone: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", errors.New("nobody answers")
		}}
		_, err := n.NodeGetInfo(t.Context(), &spec.NodeGetInfoRequest{})
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "nobody answers; --node-az tells it") {
			t.Errorf("got %v", err)
		}
	})
}

// TestZoneIsNotTriedAgain: a call that finds a share in error, for which a zone had no place, goes on with the next zone.
func TestZoneIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	d := start(t, threeZones())
	d.controller.Topology = true
	if _, err := d.controller.CreateVolume(t.Context(), request("NFS", func(r *spec.CreateVolumeRequest) { r.Parameters["availability"] = "c" })); status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
	d.Calls.Reset()
	v := d.create(t, "NFS", auto("c", "b"))
	if got := v.GetAccessibleTopology()[0].GetSegments()[csi.ZoneKey]; got != "b" {
		t.Errorf("it is in %s", got)
	}
	posts := 0
	for _, call := range d.Calls.All() {
		if call.Method == http.MethodPost && strings.HasSuffix(call.Path, "/shares") {
			posts++
		}
	}
	if posts != 1 {
		t.Errorf("%d creates, want 1", posts)
	}
}
