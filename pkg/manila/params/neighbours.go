package params

import (
	"fmt"
	"maps"
	"strings"

	"mooring/pkg/openstack"
)

// PlaceClaim is a PersistentVolumeClaim's annotations. Others stand there, too, so what the table does not know is no mistake.
const PlaceClaim Place = "annotations of the PersistentVolumeClaim"

// neighbourKeys say near which shares a new one goes. In volumeAttributes they only inform, as they do with CPO.
func neighbourKeys() []key {
	inform := func(*Attributes, string) error { return nil }
	group := func(c *Class, v string) error {
		id, ok := openstack.ParseUUID(v)
		if !ok {
			return fmt.Errorf("%q is no UUID", v)
		}
		c.GroupID = id
		return nil
	}
	affinity := func(c *Class, v string) (err error) { c.Affinity, err = neighbours(v); return err }
	antiAffinity := func(c *Class, v string) (err error) { c.AntiAffinity, err = neighbours(v); return err }
	const (
		ids     = "ids or names of shares, comma-separated"
		members = "Share group of the share, which has to be there and to be for the class's share type."
		near    = "Shares on whose back end the share has to be. Needs microversion 2.65 (Wallaby)."
		apart   = "Shares on whose back end it must not be. Needs microversion 2.65, too."
		prefix  = "manila.csi.openstack.org/"
	)
	return []key{
		{name: "groupID", value: "UUID", fallback: "none", doc: members + " In a volume without effect.", class: group, attributes: inform},
		{name: "affinity", value: ids, fallback: "none", doc: near + " In a volume without effect.", class: affinity, attributes: inform},
		{name: "antiAffinity", value: ids, fallback: "none", doc: apart + " In a volume without effect.", class: antiAffinity, attributes: inform},
		{name: prefix + "group-id", value: "UUID", fallback: "the class's `groupID`", doc: members, claim: group},
		{name: prefix + "affinity", value: ids, fallback: "the class's `affinity`", doc: near, claim: affinity},
		{name: prefix + "anti-affinity", value: ids, fallback: "the class's `antiAffinity`", doc: apart, claim: antiAffinity},
	}
}

// neighbours are a list of shares. Each is looked up, and whoever may make a claim may write thousands, so they are bounded.
func neighbours(v string) ([]string, error) {
	const most = 16
	if n := strings.Count(v, ",") + 1; n > most {
		return nil, fmt.Errorf("it has %d elements, and %d is the most", n, most)
	}
	return list(v)
}

// OverrideByClaim puts what a claim's annotations say in the place of what the class says.
func (c *Class) OverrideByClaim(annotations map[string]string) error {
	own := maps.Clone(annotations)
	maps.DeleteFunc(own, func(name, _ string) bool {
		for _, k := range neighbourKeys() {
			if k.claim != nil && k.name == name {
				return false
			}
		}
		return true
	})
	return parse(PlaceClaim, own, c, func(k *key) func(*Class, string) error { return k.claim })
}
