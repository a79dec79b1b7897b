package conformance

import (
	"sigs.k8s.io/external-dns/endpoint"
)

func changeCases() []Case {
	return []Case{
		{"A becomes CNAME and back", "a service that moves from an address to a name, or back, is not changed, or only now and then.", (*suite).typeChange},
		{"several targets, in another order", "records lose targets, or are written again whenever the order changes.", (*suite).reorder},
		{"TTL", "the TTL is not kept, or written again at every sync.", (*suite).lifetimes},
		{"provider-specific properties", "an annotation for another provider makes ExternalDNS update for ever.", (*suite).properties},
	}
}

func (s *suite) typeChange() {
	name := s.host("www")
	for range 3 { // a provider that takes changes in the order of a map fails only now and then
		s.settled(endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL(name, "AAAA", 300, "2001:db8::1"))
		s.shows(name, "CNAME", 0)
		s.settled(endpoint.NewEndpointWithTTL(name, "CNAME", 300, "lb.example.net"))
		s.shows(name, "A", 0)
		s.shows(name, "CNAME", 300, "lb.example.net")
	}
	s.answers(name, "CNAME", "lb.example.net")
	s.shows("extdns-a."+name, "TXT", 0)
	s.shows("extdns-cname."+name, "TXT", 0, s.mark())
	s.settled(endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"))
	s.answers(name, "A", "192.0.2.1")
	s.answers(name, "CNAME")
}

func (s *suite) reorder() {
	name := s.host("many")
	orders := [][]string{{"192.0.2.3", "192.0.2.1", "192.0.2.2"}, {"192.0.2.1", "192.0.2.2", "192.0.2.3"}, {"192.0.2.2", "192.0.2.3", "192.0.2.1"}}
	s.settled(endpoint.NewEndpointWithTTL(name, "A", 300, orders[0]...))
	s.noWrites("the same targets in another order", func() {
		for _, order := range orders {
			if changes := s.sync(endpoint.NewEndpointWithTTL(name, "A", 300, order...)); changes.HasChanges() {
				s.errorf("the same targets as %v find something to do: %s", order, describe(changes))
			}
		}
	})
	s.answers(name, "A", orders[1]...)
	s.settled(endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.9", "192.0.2.2")) // one stays, one comes, two go
	s.shows(name, "A", 300, "192.0.2.2", "192.0.2.9")
	s.answers(name, "A", "192.0.2.2", "192.0.2.9")
}

// lifetimes: without a TTL the DNS service chooses, and what is there is left as it is.
func (s *suite) lifetimes() {
	name := s.host("ttl")
	s.settled(endpoint.NewEndpoint(name, "A", "192.0.2.1"))
	for _, ttl := range []endpoint.TTL{300, 86400, 60} {
		s.settled(endpoint.NewEndpointWithTTL(name, "A", ttl, "192.0.2.1"))
		s.shows(name, "A", int(ttl), "192.0.2.1")
	}
	s.noWrites("a TTL that is no longer asked for", func() { s.settled(endpoint.NewEndpoint(name, "A", "192.0.2.1")) })
	s.settled(endpoint.NewEndpointWithTTL(name, "A", 1, "192.0.2.1")) // it may be below what the service takes, and then be raised
}

func (s *suite) properties() {
	foreign := endpoint.NewEndpointWithTTL(s.host("aws"), "A", 300, "192.0.2.1").WithProviderSpecific("aws/weight", "10").WithProviderSpecific("alias", "false")
	unknown := endpoint.NewEndpointWithTTL(s.host("own"), "A", 300, "192.0.2.2").WithProviderSpecific("webhook/nobody-knows-this", "1")
	s.settled(foreign, unknown)
	s.shows(foreign.DNSName, "A", 300, "192.0.2.1")
	s.shows(unknown.DNSName, "A", 300, "192.0.2.2")
	foreign.WithProviderSpecific("aws/weight", "20")
	s.noWrites("another provider's property", func() { s.settled(foreign, unknown) })
}
