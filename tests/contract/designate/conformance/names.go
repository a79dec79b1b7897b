package conformance

import (
	"fmt"
	"strings"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"
)

func nameCases() []Case {
	return []Case{
		{"wildcard", "wildcards are refused, or have no owner and stay for ever.", (*suite).wildcard},
		{"zone apex", "a name for the domain itself can't be had, or the zone's own NS and SOA are in danger.", (*suite).apex},
		{"child zone", "names in a child zone are written into its parent, which DNS services refuse.", (*suite).childZone},
		{"Unicode names", "internationalised names are refused, or written again at every sync.", (*suite).unicodeNames},
		{"odd forms of the same", "what means the same is updated at every sync.", (*suite).oddForms},
		{"names outside every zone", "one such name keeps all the others from being written, or ExternalDNS exits.", (*suite).outside},
	}
}

func (s *suite) wildcard() {
	name := s.host("apps")
	s.settled(endpoint.NewEndpointWithTTL("*."+name, "A", 300, "192.0.2.7"))
	s.shows("*."+name, "A", 300, "192.0.2.7")
	s.shows("extdns-a.any."+name, "TXT", 0, s.mark())
	s.answers("some.thing."+name, "A", "192.0.2.7")
	s.settled()
	s.shows("*."+name, "A", 0)
	s.answers("some.thing."+name, "A")
}

func (s *suite) apex() {
	s.settled(endpoint.NewEndpointWithTTL(s.Zone, "A", 300, "192.0.2.5"))
	s.shows(s.Zone, "A", 300, "192.0.2.5")
	s.answers(s.Zone, "A", "192.0.2.5")
	s.settled()
	s.answers(s.Zone, "A")
	s.shows(s.Zone, "SOA", 0)
	s.shows(s.Zone, "NS", 0)
	if s.DNS == "" {
		return
	}
	if servers, err := Lookup(s.ctx, s.DNS, s.Zone, "NS"); err != nil || len(servers) == 0 {
		s.errorf("the zone has lost its name servers: %q, %v", servers, err)
	}
}

// childZone: a name belongs to the deepest zone.
func (s *suite) childZone() {
	if s.Child == "" {
		s.skip("the provider serves no child zone")
	}
	s.settled(endpoint.NewEndpointWithTTL(s.Child, "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL("www."+s.Child, "A", 300, "192.0.2.2"),
		endpoint.NewEndpointWithTTL(s.host("www"), "A", 300, "192.0.2.3"))
	for name, target := range map[string]string{s.Child: "192.0.2.1", "www." + s.Child: "192.0.2.2", s.host("www"): "192.0.2.3"} {
		s.shows(name, "A", 300, target)
		s.answers(name, "A", target)
	}
	s.settled()
	s.answers("www."+s.Child, "A")
}

func (s *suite) unicodeNames() {
	name, ascii := s.host("bücher"), ""
	s.settled(endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL(s.host("kurz"), "CNAME", 300, name))
	for _, e := range s.records() {
		if e.RecordType == "A" && strings.HasPrefix(e.DNSName, "xn--bcher-") {
			ascii = e.DNSName
		}
	}
	if ascii == "" {
		s.fatalf("%s is not shown in its ASCII form", name)
	}
	s.answers(ascii, "A", "192.0.2.1")
	s.answers(s.host("kurz"), "CNAME", ascii)
}

func (s *suite) oddForms() {
	capitals := endpoint.NewEndpointWithTTL(s.host("MiXed"), "A", 300, "192.0.2.9")
	long := endpoint.NewEndpointWithTTL(s.host("six"), "AAAA", 300, "2001:DB8:0:0:0:0:0:1", "2001:db8::0:2")
	dotted := endpoint.NewEndpointWithTTL(s.host("dot"), "CNAME", 300, "x")
	dotted.Targets = endpoint.Targets{"LB.Example.NET."}
	twice := endpoint.NewEndpointWithTTL(s.host("twice"), "A", 300, "192.0.2.2", "192.0.2.1", "192.0.2.2")
	s.settled(capitals, long, dotted, twice)
	s.shows(strings.ToLower(capitals.DNSName), "A", 300, "192.0.2.9")
	s.shows(long.DNSName, "AAAA", 300, "2001:db8::1", "2001:db8::2")
	s.shows(dotted.DNSName, "CNAME", 300, "lb.example.net")
	s.shows(twice.DNSName, "A", 300, "192.0.2.1", "192.0.2.2")
	s.answers(dotted.DNSName, "CNAME", "lb.example.net")
}

// outside: the domain filter keeps such names away from the provider, but for providers without one, and names that were in a zone once.
func (s *suite) outside() {
	for turn, name := range []string{"www.nobodys-zone.invalid", "not-" + s.Zone} {
		good := s.host(fmt.Sprintf("www%d", turn))
		create := []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL(good, "A", 300, "192.0.2.2")}
		s.tolerate(&plan.Changes{Create: create})
		s.shows(good, "A", 300, "192.0.2.2")
		s.tolerate(&plan.Changes{Delete: create})
		s.shows(good, "A", 0)
	}
}
