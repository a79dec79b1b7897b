package csi

import (
	"errors"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
)

func zones(names ...string) (out []*csi.Topology) {
	for _, name := range names {
		out = append(out, inZone(name))
	}
	return out
}

// TestPlaceAndAccessible is the table of what a class and a request make of a share's place.
func TestPlaceAndAccessible(t *testing.T) {
	t.Parallel()
	auto := params.Class{AutoTopology: true}
	both := &csi.TopologyRequirement{Preferred: zones("b", "a"), Requisite: zones("a", "b", "c")}
	other := []*csi.Topology{{Segments: map[string]string{"example.org/rack": "1"}}}
	for _, c := range []struct {
		name   string
		class  params.Class
		wanted *csi.TopologyRequirement
		off    bool

		zones     string // that the share may be made in
		reachable []*csi.Topology
		mistake   string
	}{
		{name: "no class says anything, nobody wants anything"},
		{name: "preferred alone", wanted: &csi.TopologyRequirement{Preferred: zones("b", "a")}, reachable: zones("b", "a")},
		{name: "allowed topologies", wanted: both, reachable: zones("a", "b", "c")},
		{name: "an explicit zone is the class's business", class: params.Class{Availability: "x"}, wanted: both, reachable: zones("a", "b", "c")},
		{name: "an explicit zone wins", class: params.Class{Availability: "x", AutoTopology: true}, wanted: both, reachable: zones("a", "b", "c")},
		{name: "auto: preferred, then requisite", class: auto, wanted: both, zones: "b a c", reachable: zones("b")},
		{name: "auto: requisite alone", class: auto, wanted: &csi.TopologyRequirement{Requisite: zones("c", "c")}, zones: "c", reachable: zones("c")},
		{name: "auto: nobody wants anything", class: auto},
		{name: "auto: an empty wish", class: auto, wanted: &csi.TopologyRequirement{}},
		{name: "auto: no zone", class: auto, wanted: &csi.TopologyRequirement{Requisite: other}, mistake: "name no zone (" + ZoneKey + ")"},
		{name: "another key", wanted: &csi.TopologyRequirement{Requisite: other}, reachable: other},
		{name: "auto without topology", class: auto, wanted: both, off: true, mistake: "autoTopology needs a driver with --topology"},
		{name: "off", wanted: both, off: true},
	} {
		controller := &Controller{Topology: !c.off}
		spec := &manila.Spec{}
		err := controller.place(spec, &c.class, c.wanted)
		if c.mistake != "" {
			if !errors.Is(err, errRequest) || !strings.Contains(err.Error(), c.mistake) {
				t.Errorf("%s: %v, want %s", c.name, err, c.mistake)
			}
			continue
		}
		if got := strings.Join(spec.Zones, " "); err != nil || got != c.zones {
			t.Errorf("%s: zones %q, %v, want %q", c.name, got, err, c.zones)
		}
		share := &manila.Share{}
		if len(spec.Zones) > 0 {
			share.Zone = spec.Zones[0]
		}
		if diff := cmp.Diff(c.reachable, accessible(c.wanted, spec, share, controller.Topology), protocmp.Transform()); diff != "" {
			t.Errorf("%s: reachable (-want +got)\n%s", c.name, diff)
		}
	}
}
