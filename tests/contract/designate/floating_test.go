package designate_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/external-dns/endpoint"

	"mooring/pkg/designate"
	"mooring/pkg/designate/externaldns"
	"mooring/pkg/openstack/openstacksim"
	peer "mooring/tests/peer/externaldns"
)

// PTRs of floating IPs beside those of a reverse zone, by ExternalDNS's own plan and registry: each has its owner, changes, and goes away; an idle sync costs one call
// and writes nothing. A cloud without Neutron, as the real one here, has no floating IPs, and all else works.
func TestWebhookFloatingIPs(t *testing.T) {
	t.Parallel()
	c := open(t)
	zone := c.zone(t)
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	service := designate.New(c.session, designate.Options{Logger: logger, FloatingIPs: true, FullRefresh: -1})
	t.Cleanup(service.Close)
	handler, err := externaldns.NewHandler(externaldns.Options{Provider: service, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	connect := func(owner string) *peer.Client {
		t.Helper()
		settings := peer.Recommended(owner)
		settings.Types = []string{endpoint.RecordTypeA, endpoint.RecordTypePTR}
		client, err := peer.Open(t.Context(), server.URL, settings)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	pointer := func(name, target string) *endpoint.Endpoint {
		e := endpoint.NewEndpointWithTTL(name, endpoint.RecordTypePTR, 300, target)
		e.Labels[endpoint.ResourceLabelKey] = "crd/" + strings.Repeat("long-namespace", 4) + "/" + strings.Repeat("long-name", 6) // it does not fit beside the owner
		return e
	}
	me := connect("me")
	sync := func(client *peer.Client, want bool, desired ...*endpoint.Endpoint) {
		t.Helper()
		var list []*endpoint.Endpoint
		for _, e := range desired { // the registry writes into what it gets
			list = append(list, e.DeepCopy())
		}
		changes, err := client.Sync(t.Context(), list...)
		if err != nil {
			t.Fatal(err)
		}
		if changes.HasChanges() != want {
			t.Fatalf("changes: %+v", changes)
		}
	}
	www := endpoint.NewEndpoint("www."+zone.bare(), endpoint.RecordTypeA, "192.0.2.1")
	if c.Sim == nil {
		sync(me, true, www)
		sync(me, false, www)
		sync(me, true)
		return
	}
	reverse := c.namedZone(t, "2.0.192.in-addr.arpa.")
	c.Sim.Designate.AddFloatingIP("demo", "198.51.100.7")
	byHand := c.Sim.Designate.AddFloatingIP("demo", "198.51.100.8")
	if a := c.call(t, http.MethodPatch, "/reverse/floatingips/"+byHand, map[string]any{"ptrdname": "mail.example.net.", "description": "by hand"}); a.status != http.StatusAccepted {
		t.Fatal(a)
	}
	answers := func(name string, data ...string) {
		t.Helper()
		got, err := lookup(t, c, name, "PTR")
		if err != nil || !slices.Equal(got, data) {
			t.Errorf("%s is answered %q, %v; want %q", name, got, err, data)
		}
	}
	const floating, foreign = "7.100.51.198.in-addr.arpa", "8.100.51.198.in-addr.arpa"
	desired := []*endpoint.Endpoint{
		www, pointer(floating, "www."+zone.bare()), pointer("1."+reverse.bare(), "www."+zone.bare()), pointer(foreign, "www."+zone.bare()),
	}
	sync(me, true, desired...)
	answers(floating, "www."+zone.bare())
	answers("1."+reverse.bare(), "www."+zone.bare())
	answers(foreign, "mail.example.net")
	sync(me, false, desired...) // this one may see the zones turn ACTIVE
	c.Sim.Calls.Reset()
	const idle = 10
	for range idle {
		sync(me, false, desired...)
	}
	if n := c.Sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}); n != idle {
		t.Errorf("%d calls in %d idle syncs", n, idle)
	}
	sync(connect("somebody-else"), false, pointer(floating, "other."+zone.bare()))
	desired[1] = pointer(floating, "other."+zone.bare())
	sync(me, true, desired...)
	sync(me, false, desired...)
	answers(floating, "other."+zone.bare())
	sync(connect("me"), false, desired...) // after a restart of ExternalDNS
	again := designate.New(c.session, designate.Options{Logger: logger, FloatingIPs: true})
	t.Cleanup(again.Close)
	shown, err := again.Stream(t.Context()) // and of the webhook
	if err != nil {
		t.Fatal(err)
	}
	records := slices.Collect(shown)
	if !slices.ContainsFunc(records, func(r designate.Record) bool { return r.Name == "extdns-ptr."+floating && r.Type == designate.TXT }) {
		t.Errorf("the owner is not kept: %v", records)
	}
	sync(me, true)
	sync(me, false)
	answers(floating)
	answers("1." + reverse.bare())
	answers(foreign, "mail.example.net")
}
