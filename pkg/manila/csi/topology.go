package csi

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
)

// ZoneKey is the topology key of a node's availability zone; CPO has the same one.
const ZoneKey = "topology.manila.csi.openstack.org/zone"

func inZone(zone string) *csi.Topology {
	return &csi.Topology{Segments: map[string]string{ZoneKey: zone}}
}

// topology is where the node is; nil without topology. The zone is waited for a moment, because kubelet asks as soon as the socket is
// there; it asks again after an error.
func (n *Node) topology(ctx context.Context) (*csi.Topology, error) {
	if n.Zone == nil {
		return nil, nil //nolint:nilnil // no topology is an answer
	}
	const patience = 5 * time.Second
	bound, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	zone, err := n.Zone(bound)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; --node-az tells it", errZone, err)
	}
	return inZone(zone), nil
}

// place says where the share may be made. A class with autoTopology leaves that to whoever asks for the volume; whoever wants nothing gets
// what every other class gets, a share in any zone. As with CPO, availability has the last word.
func (c *Controller) place(spec *manila.Spec, class *params.Class, wanted *csi.TopologyRequirement) error {
	switch {
	case !class.AutoTopology || class.Availability != "":
		return nil
	case !c.Topology:
		return bad("StorageClass parameters: autoTopology needs a driver with --topology")
	case len(wanted.GetPreferred())+len(wanted.GetRequisite()) == 0:
		return nil
	}
	if spec.Zones = zonesOf(wanted); len(spec.Zones) == 0 {
		return bad("the accessibility requirements name no zone (%s), which autoTopology needs", ZoneKey)
	}
	return nil
}

// zonesOf are the zones that would do, the best first: those that are preferred, then the requisite others.
func zonesOf(wanted *csi.TopologyRequirement) (zones []string) {
	for _, topology := range slices.Concat(wanted.GetPreferred(), wanted.GetRequisite()) {
		if zone := topology.GetSegments()[ZoneKey]; zone != "" && !slices.Contains(zones, zone) {
			zones = append(zones, zone)
		}
	}
	return zones
}

// accessible is where a volume can be reached. A share that was put into a zone for the request is in that one. Every other share is, as
// with CPO, where the request wants it: that its network reaches so far is the business of the class's allowedTopologies.
func accessible(wanted *csi.TopologyRequirement, spec *manila.Spec, share *manila.Share, on bool) []*csi.Topology {
	switch {
	case !on:
		return nil
	case len(spec.Zones) > 0 && share.Zone != "":
		return []*csi.Topology{inZone(share.Zone)}
	case len(wanted.GetRequisite()) > 0:
		return wanted.GetRequisite()
	default:
		return wanted.GetPreferred()
	}
}
