package chart_test

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/external-dns/apis/v1alpha1"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/yaml"

	"mooring/pkg/designate"
)

// The examples of DNSEndpoints have no field that ExternalDNS does not know, each endpoint is one that it takes, and that the webhook can write as it is.
func TestDNSEndpointExamples(t *testing.T) {
	t.Parallel()
	var types []string
	for document := range strings.SplitSeq(file(manifests, "examples", "dns-endpoints.yaml")(t), "\n---\n") {
		var object v1alpha1.DNSEndpoint
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		if object.Kind != "DNSEndpoint" || object.APIVersion != v1alpha1.GroupVersion.String() || len(object.Spec.Endpoints) == 0 {
			t.Errorf("%s %s %s", object.APIVersion, object.Kind, object.Name)
		}
		for _, e := range object.Spec.Endpoints {
			if !e.CheckEndpoint() {
				t.Errorf("ExternalDNS refuses %s", e)
			}
			r := designate.Record{Name: e.DNSName, Type: designate.Type(e.RecordType), TTL: int(e.RecordTTL), Targets: e.Targets}
			canonical, err := r.Canonical(0)
			if err != nil || canonical.Name != e.DNSName {
				t.Errorf("%s becomes %+v, %v", e, canonical, err)
			}
			types = append(types, e.RecordType)
		}
	}
	for _, wanted := range []string{endpoint.RecordTypeA, endpoint.RecordTypeTXT, endpoint.RecordTypeMX, endpoint.RecordTypeSRV, endpoint.RecordTypePTR} {
		if !slices.Contains(types, wanted) {
			t.Errorf("no example of %s", wanted)
		}
	}
}
