package designate_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
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
	urlVariable     = "MOORING_WEBHOOK_URL"     // http://localhost:8888
	zoneVariable    = "MOORING_WEBHOOK_ZONE"    // a zone that it serves
	childVariable   = "MOORING_WEBHOOK_CHILD"   // one below that; may be empty
	reverseVariable = "MOORING_WEBHOOK_REVERSE" // one below in-addr.arpa; may be empty
	typesVariable   = "MOORING_WEBHOOK_TYPES"   // the record types that it claims, with commas; empty: all
	dnsVariable     = "MOORING_WEBHOOK_DNS"     // host:port of a name server; may be empty
)

// webhook serves a session in this process.
func webhook(t *testing.T, session *openstack.Session, filter *externaldns.Filter) http.Handler {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	service := designate.New(session, designate.Options{Logger: logger, WantZone: filter.MatchZone, WantName: filter.Match})
	t.Cleanup(service.Close)
	handler, err := externaldns.NewHandler(externaldns.Options{Provider: service, Filter: filter, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// serve is a handler's URL.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// TestWebhookConformance runs the suite against our webhook in a process of its own, on a simulated or a real Designate, or against the provider of the variables,
// and then prints a table.
func TestWebhookConformance(t *testing.T) {
	t.Parallel()
	if url := os.Getenv(urlVariable); url != "" {
		p := conformance.Provider{
			URL: strings.TrimSuffix(url, "/"), Zone: os.Getenv(zoneVariable), Child: os.Getenv(childVariable), Reverse: os.Getenv(reverseVariable),
			DNS: os.Getenv(dnsVariable), Patience: time.Minute, Types: strings.FieldsFunc(os.Getenv(typesVariable), func(r rune) bool { return r == ',' }),
		}
		if p.Zone == "" {
			t.Fatalf("%s names no zone", zoneVariable)
		}
		if err := conformance.WriteTable(os.Stdout, conformance.Run(t, p)); err != nil {
			t.Error(err)
		}
		return
	}
	ours := openProvider(t)
	p := ours.Provider
	p.URL, _ = peer.StartWebhook(t, ours.cloud.CloudsFile(), ours.cloud.Name("demo"), "--domain-filter", p.Zone, "--domain-filter", p.Reverse)
	if err := conformance.WriteTable(t.Output(), conformance.Run(t, p)); err != nil {
		t.Error(err)
	}
}

// ownProvider is our webhook with zones of the test.
type ownProvider struct {
	conformance.Provider
	cloud   *cloud
	handler http.Handler
}

func openProvider(t *testing.T) ownProvider {
	t.Helper()
	c := open(t)
	zone := c.zone(t)
	child := c.childZone(t, zone)
	reverse := c.namedZone(t, fmt.Sprintf("%d.%d.198.in-addr.arpa.", rand.IntN(256), 18+rand.IntN(2))) // of the network for benchmarks (RFC 2544)
	p := conformance.Provider{
		Zone: zone.bare(), Child: child.bare(), Reverse: reverse.bare(), DNS: c.dns, Patience: target.Patience,
		Filter: endpoint.NewDomainFilter([]string{zone.bare(), reverse.bare()}),
	}
	if c.Sim == nil {
		p.Names = 50 // the lab's Designate takes a second for a write and its report
	} else {
		p.Patience = 10 * time.Second
		p.Writes = func() int {
			return c.Sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}) -
				c.Sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Method: "GET"})
		}
	}
	return ownProvider{p, c, webhook(t, c.session, externaldns.NewFilter([]string{zone.bare(), reverse.bare()}, nil))}
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
			url := serve(t, webhook(t, c.session, nil))
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

// The negotiated filter is the configured one, in both forms, and ExternalDNS plans for nothing else.
func TestWebhookFilter(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string]func(zone string) (*externaldns.Filter, *endpoint.DomainFilter){
		"domains": func(zone string) (*externaldns.Filter, *endpoint.DomainFilter) {
			in, out := []string{zone}, []string{"internal." + zone}
			return externaldns.NewFilter(in, out), endpoint.NewDomainFilterWithExclusions(in, out)
		},
		"regular expressions": func(zone string) (*externaldns.Filter, *endpoint.DomainFilter) {
			in, out := regexp.MustCompile(`(^|\.)`+regexp.QuoteMeta(zone)+`$`), regexp.MustCompile(`internal`)
			return externaldns.NewRegexFilter(in, out), endpoint.NewRegexDomainFilter(in, out)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			zone := c.zone(t).bare()
			ours, want := filters(zone)
			p := conformance.Provider{URL: serve(t, webhook(t, c.session, ours)), Zone: zone, Filter: want}
			if r := conformance.Check(t.Context(), p, caseOf(t, "domain filter")); !r.Passed() {
				t.Errorf("%+v", r)
			}
			client, err := peer.Connect(t.Context(), p.URL, "me")
			if err != nil {
				t.Fatal(err)
			}
			changes, err := client.Sync(t.Context(), endpoint.NewEndpoint("www."+zone, "A", "192.0.2.1"), endpoint.NewEndpoint("db.internal."+zone, "A", "192.0.2.1"),
				endpoint.NewEndpoint("www.elsewhere.test", "A", "192.0.2.1"))
			if err != nil {
				t.Fatal(err)
			}
			if len(changes.Create) != 1 || changes.Create[0].DNSName != "www."+zone {
				t.Errorf("ExternalDNS creates %v, want www.%s alone", changes.Create, zone)
			}
			if _, err := client.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// caseOf finds a case of the suite.
func caseOf(t *testing.T, name string) conformance.Case {
	t.Helper()
	for _, c := range conformance.Cases() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("the suite has no case %q", name)
	return conformance.Case{}
}
