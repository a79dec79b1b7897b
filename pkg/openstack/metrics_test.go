package openstack_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// Each attempt is counted by service, operation and code; ids do not become labels.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{Metrics: openstack.NewMetrics(registry)})
	s := pool.Session(credential(t, sim, "demo"))
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Status: http.StatusServiceUnavailable, Count: 1})
	if err := get(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	client, err := s.Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b", "1b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"} {
		if _, err := client.Get(t.Context(), client.ServiceURL("zones", id), nil, nil); err == nil { //nolint:bodyclose // it fails
			t.Error("a zone that does not exist was found")
		}
	}
	want := `
# HELP mooring_openstack_logins_total Logins to Keystone, by result (ok or failed).
# TYPE mooring_openstack_logins_total counter
mooring_openstack_logins_total{result="ok"} 1
# HELP mooring_openstack_requests_total HTTP requests to OpenStack, each attempt counted, by service type, operation and HTTP status code (error: no answer).
# TYPE mooring_openstack_requests_total counter
mooring_openstack_requests_total{code="200",operation="GET zones",service="dns"} 1
mooring_openstack_requests_total{code="201",operation="POST auth/tokens",service="identity"} 1
mooring_openstack_requests_total{code="404",operation="GET zones/{id}",service="dns"} 2
mooring_openstack_requests_total{code="503",operation="GET zones",service="dns"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "mooring_openstack_requests_total", "mooring_openstack_logins_total"); err != nil {
		t.Error(err)
	}
}
