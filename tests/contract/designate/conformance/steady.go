package conformance

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"

	"mooring/tests/peer/externaldns"
)

func steadyCases() []Case {
	return []Case{
		{"no update loop", "ExternalDNS writes at every sync, for ever.", (*suite).idle},
		{"many names", "ExternalDNS exits when many names come at once, because an answer takes longer than its 15 s.", (*suite).manyNames},
		{"one bad record does not hold up the others", "one mistake in one service keeps all other names from being written.", (*suite).poison},
	}
}

// idle: ten syncs of what is there already write nothing.
func (s *suite) idle() {
	desired := []*endpoint.Endpoint{
		endpoint.NewEndpointWithTTL(s.host("a"), "A", 300, "192.0.2.1", "192.0.2.2"), endpoint.NewEndpoint(s.host("a"), "AAAA", "2001:db8::1"),
		endpoint.NewEndpointWithTTL(s.host("c"), "CNAME", 60, "lb.example.net"), endpoint.NewEndpoint("*."+s.host("w"), "A", "192.0.2.3"),
		endpoint.NewEndpoint(s.host("ünicode"), "A", "192.0.2.4"), endpoint.NewEndpointWithTTL(s.host("short"), "A", 1, "192.0.2.5"),
		endpoint.NewEndpointWithTTL(s.host("t"), "TXT", 300, `some "text"; and more`), endpoint.NewEndpoint(s.host("m"), "MX", "10 mail.example.net"),
		endpoint.NewEndpoint("_sip._tcp."+s.host("s"), "SRV", "1 2 3 sip.example.net."), endpoint.NewEndpoint(s.host("n"), "NS", "ns1.example.net"),
	}
	s.sync(desired...)
	s.noWrites("ten idle syncs", func() {
		for turn := range 10 {
			if changes := s.sync(desired...); changes.HasChanges() {
				s.fatalf("idle sync %d finds something to do: %s", turn+1, describe(changes))
			}
		}
	})
}

// manyNames: it may take several syncs, but no answer may be late, and all must be there in the end.
func (s *suite) manyNames() {
	names := cmp.Or(s.Names, 200)
	var desired []*endpoint.Endpoint
	for n := range names {
		desired = append(desired, endpoint.NewEndpointWithTTL(s.host(fmt.Sprintf("n%03d", n)), "A", 300, fmt.Sprintf("192.0.2.%d", n+1)))
	}
	begin := time.Now()
	s.settled(desired...)
	s.logf("%d names in %v", names, time.Since(begin).Round(time.Millisecond))
	found := map[string]bool{}
	for _, e := range s.records() {
		if e.RecordType == "A" {
			found[e.DNSName] = true
		}
	}
	for _, e := range desired {
		if !found[e.DNSName] {
			s.errorf("%s is missing", e.DNSName)
		}
	}
	s.answers(desired[names-1].DNSName, "A", desired[names-1].Targets...)
	s.settled()
}

// poison: a record that can't be written is a soft error, and the others are written.
func (s *suite) poison() {
	bad := &endpoint.Endpoint{DNSName: s.host("poison"), RecordType: "CNAME", Targets: endpoint.Targets{"not a name", "lb.example.net"}, Labels: endpoint.NewLabels()}
	desired := []*endpoint.Endpoint{bad}
	for i := range 20 {
		desired = append(desired, endpoint.NewEndpointWithTTL(s.host(fmt.Sprintf("good%d", i)), "A", 300, "192.0.2.1"))
	}
	for turn := range 5 { // a slow DNS service may need some to write them all
		changes, err := s.client.Sync(s.ctx, copies(desired)...)
		if err != nil && !externaldns.Soft(err) {
			s.fatalf("turn %d: a hard error, at which ExternalDNS exits: %v", turn+1, err)
		}
		if err == nil {
			s.errorf("turn %d: no error tells that a record was not written", turn+1)
		}
		if changes != nil && len(changes.Create) <= 1 {
			break
		}
	}
	for _, e := range desired[1:] {
		s.shows(e.DNSName, "A", 300, "192.0.2.1")
	}
}

// tolerate makes changes of which some can't be made: no answer may be a hard error.
func (s *suite) tolerate(changes *plan.Changes) {
	if err := s.client.Provider().ApplyChanges(s.ctx, changes); err != nil && !externaldns.Soft(err) {
		s.errorf("a hard error, at which ExternalDNS exits: %v", err)
	}
	if got := s.request(http.MethodGet, "/", "", mediaType, ""); got.status != http.StatusOK {
		s.errorf("the provider does not answer afterwards: %v", got)
	}
}
