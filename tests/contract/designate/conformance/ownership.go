package conformance

import (
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"

	"mooring/tests/peer/externaldns"
)

func ownershipCases() []Case {
	return []Case{
		{"ownership marks", "records have no owner: ExternalDNS never changes or deletes them again.", (*suite).marks},
		{"two owners in one zone", "clusters that share a zone destroy each other's records.", (*suite).twoOwners},
		{"foreign records", "records that were made by hand are overwritten or deleted.", (*suite).foreignRecords},
		{"policy sync deletes, upsert-only does not", "ExternalDNS's policies do not hold.", (*suite).policies},
		{"encrypted marks", "with --txt-encrypt-enabled records have no owner.", (*suite).encrypted},
	}
}

func (s *suite) marks() {
	name := s.host("www")
	s.settled(endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1").WithLabel(endpoint.ResourceLabelKey, "service/default/web"))
	want := "heritage=external-dns,external-dns/owner=" + s.owner + ",external-dns/resource=service/default/web"
	s.shows("extdns-a."+name, "TXT", 0, want)
	s.answers("extdns-a."+name, "TXT", want)
	s.settled()
	s.shows("extdns-a."+name, "TXT", 0)
	s.answers("extdns-a."+name, "TXT")
}

func (s *suite) twoOwners() {
	other := s.open(externaldns.Recommended(s.owner + "b"))
	ours, theirs := endpoint.NewEndpointWithTTL(s.host("ours"), "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL(s.host("theirs"), "A", 300, "192.0.2.2")
	s.settled(ours)
	s.syncAs(other, theirs)
	s.noWrites("wanting what another owns", func() {
		for _, desired := range []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(ours.DNSName, "A", 300, "192.0.2.9"), endpoint.NewEndpointWithTTL(ours.DNSName, "CNAME", 300, "lb.example.net")} {
			s.syncAs(other, theirs, desired)
		}
		s.sync(ours, endpoint.NewEndpointWithTTL(theirs.DNSName, "A", 600, "192.0.2.9"))
	})
	s.shows(ours.DNSName, "A", 300, "192.0.2.1")
	s.shows(theirs.DNSName, "A", 300, "192.0.2.2")
	s.syncAs(other)
	s.shows(ours.DNSName, "A", 300, "192.0.2.1")
	s.shows("extdns-a."+ours.DNSName, "TXT", 0, s.mark())
	s.shows(theirs.DNSName, "A", 0)
	s.answers(ours.DNSName, "A", "192.0.2.1")
	s.answers(theirs.DNSName, "A")
}

// foreignRecords: what others made stays as it is, whether it is wanted otherwise or not at all.
func (s *suite) foreignRecords() {
	name := s.host("foreign")
	foreign := []*endpoint.Endpoint{
		endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.66"), endpoint.NewEndpointWithTTL(s.host("note"), "TXT", 300, "not yours"),
		endpoint.NewEndpointWithTTL("extdns-a."+name, "TXT", 300, "heritage=somebody-else,owner=me"),
	}
	s.apply(&plan.Changes{Create: foreign})
	s.noWrites("syncs of others' records", func() {
		s.sync(endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"))
		s.sync(endpoint.NewEndpointWithTTL(name, "CNAME", 300, "lb.example.net"))
		s.sync()
	})
	s.shows(name, "A", 300, "192.0.2.66")
	s.shows(s.host("note"), "TXT", 300, "not yours")
	s.shows("extdns-a."+name, "TXT", 300, "heritage=somebody-else,owner=me")
	s.apply(&plan.Changes{Delete: foreign})
	s.shows(name, "A", 0)
}

func (s *suite) policies() {
	settings := externaldns.Recommended(s.owner)
	settings.Policy = "upsert-only"
	upsert := s.open(settings)
	a, b := endpoint.NewEndpointWithTTL(s.host("a"), "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL(s.host("b"), "A", 300, "192.0.2.2")
	s.syncAs(upsert, a, b)
	a.Targets = endpoint.Targets{"192.0.2.9"}
	s.syncAs(upsert, a)
	s.shows(a.DNSName, "A", 300, "192.0.2.9")
	s.shows(b.DNSName, "A", 300, "192.0.2.2")
	s.noWrites("an idle sync with upsert-only", func() { s.syncAs(upsert, a) })
	s.settled(a)
	s.shows(b.DNSName, "A", 0)
	s.shows("extdns-a."+b.DNSName, "TXT", 0)
	s.shows(a.DNSName, "A", 300, "192.0.2.9")
}

func (s *suite) encrypted() {
	settings := externaldns.Recommended(s.owner)
	settings.AESKey = "0123456789abcdef0123456789abcdef"
	client := s.open(settings)
	secret := endpoint.NewEndpointWithTTL(s.host("secret"), "A", 300, "192.0.2.1")
	s.syncAs(client, secret)
	s.noWrites("an idle sync with encrypted marks", func() {
		if changes := s.syncAs(client, secret); changes.HasChanges() {
			s.errorf("the second sync still finds something to do: %s", describe(changes))
		}
	})
	for _, e := range s.shown("extdns-a."+secret.DNSName, "TXT") {
		if plain("TXT", e.Targets[0]) == s.mark() {
			s.errorf("the mark is not encrypted: %v", e)
		}
	}
	s.syncAs(client)
	s.shows(secret.DNSName, "A", 0)
}
