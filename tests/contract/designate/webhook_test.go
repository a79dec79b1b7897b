package designate_test

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/external-dns/endpoint"

	"mooring/pkg/designate"
	"mooring/pkg/designate/externaldns"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/contract/designate/conformance"
	"mooring/tests/contract/target"
	peer "mooring/tests/peer/externaldns"
)

// The variables that point the conformance suite at a provider that runs already.
const (
	urlVariable   = "MOORING_WEBHOOK_URL"   // http://localhost:8888
	zoneVariable  = "MOORING_WEBHOOK_ZONE"  // a zone that it serves
	childVariable = "MOORING_WEBHOOK_CHILD" // one below that; may be empty
	dnsVariable   = "MOORING_WEBHOOK_DNS"   // host:port of a name server; may be empty
)

// webhook serves a session in this process and returns its URL.
func webhook(t *testing.T, session *openstack.Session, filter *externaldns.Filter) string {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	service := designate.New(session, designate.Options{Logger: logger, WantName: filter.Match})
	handler, err := externaldns.NewHandler(externaldns.Options{Provider: service, Filter: filter, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// TestWebhookConformance runs the suite against our webhook on a simulated or a real Designate, or against the provider of the variables.
func TestWebhookConformance(t *testing.T) {
	t.Parallel()
	if url := os.Getenv(urlVariable); url != "" {
		conformance.Run(t, conformance.Provider{
			URL: strings.TrimSuffix(url, "/"), Zone: os.Getenv(zoneVariable), Child: os.Getenv(childVariable), DNS: os.Getenv(dnsVariable), Patience: time.Minute,
		})
		return
	}
	c := open(t)
	zone := c.zone(t)
	child := c.childZone(t, zone)
	p := conformance.Provider{
		URL: webhook(t, c.session, externaldns.NewFilter([]string{zone.bare()}, nil)), Zone: zone.bare(), Child: child.bare(), DNS: c.dns, Patience: target.Patience,
	}
	if c.Sim != nil {
		p.Patience = 10 * time.Second
		p.Writes = func() int {
			return c.Sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}) -
				c.Sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Method: "GET"})
		}
	}
	conformance.Run(t, p)
}

// Whatever happens to the cloud, ExternalDNS sees soft errors only, and what it wants is there in the end. Faults need the simulator.
func TestWebhookWithFaults(t *testing.T) {
	t.Parallel()
	if os.Getenv(target.Variable) != "" {
		t.Skip("a real cloud has no faults to inject")
	}
	dns := openstacksim.ServiceDesignate
	for name, faults := range map[string][]openstacksim.Fault{
		"Keystone away":            {{Service: openstacksim.ServiceKeystone, Drop: true, Count: 10}},
		"Keystone refuses":         {{Service: openstacksim.ServiceKeystone, Status: 401, Count: 1}},
		"Designate away":           {{Service: dns, Drop: true, Count: 8}},
		"503":                      {{Service: dns, Status: 503, Count: 8}},
		"429":                      {{Service: dns, Status: 429, Header: map[string]string{"Retry-After": "0"}, Count: 8}},
		"403":                      {{Service: dns, Status: 403, Count: 3}},
		"500 of writes":            {{Service: dns, Method: "POST", Status: 500, Count: 3}},
		"writes without an answer": {{Service: dns, Method: "POST", DropAfter: true, Count: 5}},
		"409 of writes":            {{Service: dns, Method: "POST", Status: 409, Count: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			zone := c.zone(t)
			c.Sim.Keystone.RevokeTokens()
			url := webhook(t, c.session, nil)
			for _, fault := range faults {
				c.Sim.Faults.Add(fault)
			}
			client, err := peer.Connect(t.Context(), url, "me")
			if err != nil {
				t.Fatalf("the negotiation needs nobody, but: %v", err)
			}
			var desired []*endpoint.Endpoint
			for _, label := range []string{"a", "b", "c", "d"} {
				desired = append(desired, endpoint.NewEndpointWithTTL(label+"."+zone.bare(), "A", 300, "192.0.2.1"))
			}
			soft := 0
			for end := time.Now().Add(target.Patience); ; {
				_, err := client.Sync(t.Context(), desired...)
				if err == nil {
					break
				}
				if !peer.Soft(err) {
					t.Fatalf("a hard error: %v", err)
				}
				if soft++; time.Now().After(end) {
					t.Fatalf("no end of soft errors: %v", err)
				}
				time.Sleep(200 * time.Millisecond)
			}
			changes, err := client.Sync(t.Context(), desired...)
			if err != nil || changes.HasChanges() {
				t.Errorf("after %d soft errors: %v, %+v", soft, err, changes)
			}
		})
	}
}

// The negotiated filter is the configured one.
func TestWebhookFilter(t *testing.T) {
	t.Parallel()
	c := open(t)
	zone := c.zone(t)
	url := webhook(t, c.session, externaldns.NewFilter([]string{zone.bare()}, []string{"internal." + zone.bare()}))
	client, err := peer.Connect(t.Context(), url, "me")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := client.Sync(t.Context(), endpoint.NewEndpoint("www."+zone.bare(), "A", "192.0.2.1"), endpoint.NewEndpoint("db.internal."+zone.bare(), "A", "192.0.2.1"),
		endpoint.NewEndpoint("www.elsewhere.test", "A", "192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	var names bytes.Buffer
	for _, e := range changes.Create {
		names.WriteString(e.DNSName + " ")
	}
	if got, want := names.String(), "www."+zone.bare()+" "; got != want {
		t.Errorf("ExternalDNS creates %q, want %q", got, want)
	}
}
