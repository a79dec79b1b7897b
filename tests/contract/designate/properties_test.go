package designate_test

import (
	"testing"

	"sigs.k8s.io/external-dns/endpoint"

	"mooring/pkg/designate"
	"mooring/pkg/openstack/openstacksim"
)

// What Designate can't keep makes no update loop: properties of other providers, set identifiers, TTLs below the lowest, forms of one name or
// value. The first sync writes, the next ones find nothing to do.
func TestNothingMakesALoop(t *testing.T) {
	t.Parallel()
	f := openFaulty(t, openstacksim.DesignateConfig{MinTTL: 60}, designate.Options{MinTTL: 120})
	client := f.connect(t)
	for name, e := range map[string]*endpoint.Endpoint{
		"properties": endpoint.NewEndpointWithTTL("props."+f.zone, "A", 300, "192.0.2.1").WithProviderSpecific("alias", "false").
			WithProviderSpecific("webhook/unknown", "1").WithProviderSpecific("aws/evaluate-target-health", "true"),
		"alias":           endpoint.NewEndpoint("alias."+f.zone, "A", "192.0.2.1").WithProviderSpecific("alias", "true"),
		"set identifier":  endpoint.NewEndpointWithTTL("set."+f.zone, "A", 300, "192.0.2.1").WithSetIdentifier("blue").WithProviderSpecific("aws/weight", "10"),
		"TTL of a second": endpoint.NewEndpointWithTTL("short."+f.zone, "A", 1, "192.0.2.1"),
		"TTL below ours":  endpoint.NewEndpointWithTTL("shortish."+f.zone, "A", 100, "192.0.2.1"),
		"no TTL":          endpoint.NewEndpoint("none."+f.zone, "A", "192.0.2.1"),
		"Unicode":         endpoint.NewEndpoint("bücher."+f.zone, "CNAME", "Größe.example.net"),
		"capitals":        endpoint.NewEndpoint("UPPER."+f.zone, "AAAA", "2001:DB8:0:0::1"),
		"doubles":         endpoint.NewEndpoint("twice."+f.zone, "A", "192.0.2.2", "192.0.2.1", "192.0.2.2"),
		"a wildcard":      endpoint.NewEndpoint("*."+f.zone, "A", "192.0.2.1"),
	} {
		for turn := range 3 {
			wanted := *e
			wanted.Targets, wanted.Labels = append(endpoint.Targets{}, e.Targets...), endpoint.NewLabels()
			wanted.ProviderSpecific = append(endpoint.ProviderSpecific{}, e.ProviderSpecific...)
			changes, err := client.Sync(t.Context(), &wanted)
			if err != nil || changes.HasChanges() != (turn == 0) {
				t.Errorf("%s, turn %d: %v, changes %v", name, turn+1, err, changes)
			}
		}
	}
}
