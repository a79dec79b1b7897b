package conformance

import (
	"strings"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"
)

func recordCases() []Case {
	const why = "records of this type are not written, never changed, or written again at every sync."
	return []Case{
		{"A", why, (*suite).addresses},
		{"AAAA beside A", why, (*suite).addresses6},
		{"CNAME", why, func(s *suite) {
			s.typed("CNAME", s.host("shop"), []string{"lb1.example.net"}, []string{"lb2.example.net"})
		}},
		{"MX", why, func(s *suite) {
			s.typed("MX", s.host("mail"), []string{"10 mx1.example.net", "20 mx2.example.net"}, []string{"10 mx3.example.net"})
		}},
		{"SRV", why, func(s *suite) {
			s.typed("SRV", "_sip._tcp."+s.host("sip"), []string{"10 5 5060 sip1.example.net.", "20 0 5060 sip2.example.net."}, []string{"10 5 5061 sip1.example.net."})
		}},
		{"NAPTR", why, func(s *suite) {
			s.typed("NAPTR", s.host("enum"), []string{`100 50 "U" "E2U+sip" "!^.*$!sip:info@example.net!" sip.example.net.`}, []string{`100 10 "S" "SIP+D2U" "!^.*$!sip:desk@example.net!" _sip._udp.example.net.`})
		}},
		{"NS of a delegation", why, func(s *suite) {
			s.typed("NS", s.host("team"), []string{"ns1.example.net", "ns2.example.net"}, []string{"ns3.example.net"})
		}},
		{"PTR", why, (*suite).pointers},
		{"TXT", "texts of users are spoiled, or written again at every sync.", func(s *suite) { s.texts("v=spf1 -all", "one two") }},
		{"TXT longer than 255 bytes", "long texts, such as DKIM keys, are refused or cut.", func(s *suite) {
			s.texts(strings.Repeat("0123456789", 60), "v=DKIM1; k=rsa; p="+strings.Repeat("MIIBIjANBgkqhkiG9w0", 20))
		}},
		{"TXT with quotes, semicolons and backslashes", "texts come out with other characters than went in.", func(s *suite) {
			s.texts(`say "hello"; then go`, `a\b\\c;"`, `ends in a backslash\`, strings.Repeat(`0123456789 "quoted" back\slash; `, 20), "tab\tand bell\a")
		}},
	}
}

func (s *suite) addresses() {
	name := s.host("www")
	for _, step := range []struct {
		ttl     endpoint.TTL
		targets []string
	}{{300, []string{"192.0.2.1"}}, {300, []string{"192.0.2.2", "192.0.2.1", "192.0.2.3"}}, {600, []string{"192.0.2.3"}}} {
		s.settled(endpoint.NewEndpointWithTTL(name, "A", step.ttl, step.targets...))
		s.shows(name, "A", int(step.ttl), step.targets...)
		s.answers(name, "A", step.targets...)
	}
	s.settled()
	s.shows(name, "A", 0)
	s.shows("extdns-a."+name, "TXT", 0)
	s.answers(name, "A")
}

func (s *suite) addresses6() {
	s.needs("AAAA")
	name := s.host("www")
	s.settled(endpoint.NewEndpointWithTTL(name, "AAAA", 300, "2001:db8::1"), endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"))
	s.shows(name, "AAAA", 300, "2001:db8::1")
	s.answers(name, "AAAA", "2001:db8::1")
	s.answers(name, "A", "192.0.2.1")
	s.settled(endpoint.NewEndpointWithTTL(name, "AAAA", 300, "2001:db8::2"))
	s.shows(name, "A", 0)
	s.answers(name, "AAAA", "2001:db8::2")
	s.answers(name, "A")
}

// typed takes a record of a type through its life: made, changed, gone, with its owner's mark.
func (s *suite) typed(recordType, name string, first, second []string) {
	s.needs(recordType)
	mark := "extdns-" + strings.ToLower(recordType) + "." + name
	for _, targets := range [][]string{first, second} {
		s.settled(endpoint.NewEndpointWithTTL(name, recordType, 300, targets...))
		s.shows(name, recordType, 300, targets...)
		s.shows(mark, "TXT", 0, s.mark())
		s.answers(name, recordType, answered(recordType, targets)...)
	}
	s.settled()
	s.shows(name, recordType, 0)
	s.shows(mark, "TXT", 0)
	s.answers(name, recordType)
}

// answered is how Lookup gives targets.
func answered(recordType string, targets []string) []string {
	var out []string
	for _, target := range targets {
		if recordType != "NAPTR" {
			target = strings.TrimSuffix(target, ".")
		}
		out = append(out, target)
	}
	return out
}

func (s *suite) pointers() {
	if s.Reverse == "" {
		s.skip("the provider serves no reverse zone")
	}
	s.typed("PTR", "7."+s.Reverse, []string{"www." + s.Zone}, []string{"shop." + s.Zone})
}

// texts: ExternalDNS's registry can't own TXT records that a source wants, so they are written without it.
func (s *suite) texts(texts ...string) {
	s.needs("TXT")
	name, p := s.host("text"), s.client.Provider()
	last := ""
	for _, text := range texts {
		adjusted, err := p.AdjustEndpoints([]*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, "TXT", 300, text)})
		s.must(err)
		changes := &plan.Changes{Create: adjusted}
		if last != "" {
			changes = &plan.Changes{UpdateOld: []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, "TXT", 300, last)}, UpdateNew: adjusted}
		}
		s.apply(changes)
		if shown := s.shown(name, "TXT"); len(shown) != 1 || !shown[0].Targets.Same(adjusted[0].Targets) {
			s.errorf("TXT %q is shown as %v but adjusted to %q, so it is written again at every sync", text, shown, adjusted[0].Targets)
		}
		s.answers(name, "TXT", text)
		last = text
	}
	s.apply(&plan.Changes{Delete: []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, "TXT", 300, last)}})
	s.shows(name, "TXT", 0)
	s.answers(name, "TXT")
}
