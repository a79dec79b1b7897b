package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"

	"mooring/tests/peer/externaldns"
)

const mediaType = "application/external.dns.webhook+json;version=1"

// request makes a bare HTTP request, for what the real client never sends.
func (s *suite) request(t *testing.T, method, path, contentType, accept, body string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"Content-Type": contentType, "Accept": accept} {
		if value != "" {
			r.Header.Set(key, value)
		}
	}
	response, err := (&http.Client{}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(answer)
}

// negotiation: the media type is compared as a string, and the statuses are exact.
func (s *suite) negotiation() {
	t := s.t
	for path, want := range map[string]int{"/": http.StatusOK, "/records": http.StatusOK} {
		status, header, body := s.request(t, http.MethodGet, path, "", mediaType, "")
		if status != want || header.Get("Content-Type") != mediaType {
			t.Errorf("GET %s: %d, %q, %s; want %d and %q", path, status, header.Get("Content-Type"), body, want, mediaType)
		}
	}
	for path, want := range map[string]int{"/adjustendpoints": http.StatusOK, "/records": http.StatusNoContent} {
		body := map[string]string{"/adjustendpoints": "[]", "/records": "{}"}[path]
		if status, _, answer := s.request(t, http.MethodPost, path, mediaType, mediaType, body); status != want {
			t.Errorf("POST %s: %d %s, want %d", path, status, answer, want)
		}
	}
	before := s.writes()
	for _, c := range []struct{ method, path, contentType, accept, body string }{
		{"POST", "/records", mediaType, "", "{"},
		{"POST", "/records", mediaType, "", "[]"},
		{"POST", "/records", mediaType, "", `{"create": "x"}`},
		{"POST", "/adjustendpoints", mediaType, "", "{}"},
		{"POST", "/adjustendpoints", mediaType, "", ""},
		{"DELETE", "/records", "", "", ""},
		{"GET", "/nothing", "", "", ""},
	} {
		status, _, answer := s.request(t, c.method, c.path, c.contentType, c.accept, c.body)
		if status < 400 || status > 499 {
			t.Errorf("%s %s with %q: %d %s, want a 4xx", c.method, c.path, c.body, status, answer)
		}
	}
	if after := s.writes(); after != before {
		t.Errorf("malformed requests led to %d writes", after-before)
	}
}

func (s *suite) writes() int {
	if s.Writes == nil {
		return 0
	}
	return s.Writes()
}

func (s *suite) addresses() {
	t := s.t
	name := s.host("www")
	for _, step := range []struct {
		ttl     endpoint.TTL
		targets []string
	}{{300, []string{"192.0.2.1"}}, {300, []string{"192.0.2.2", "192.0.2.1", "192.0.2.3"}}, {600, []string{"192.0.2.3"}}} {
		s.settled(t, endpoint.NewEndpointWithTTL(name, "A", step.ttl, step.targets...))
		s.shows(t, name, "A", int(step.ttl), step.targets...)
		s.answers(t, name, "A", step.targets...)
	}
	s.settled(t)
	s.shows(t, name, "A", 0)
	s.shows(t, "extdns-a."+name, "TXT", 0)
	s.answers(t, name, "A")
}

func (s *suite) addresses6() {
	t := s.t
	name := s.host("www")
	s.settled(t, endpoint.NewEndpointWithTTL(name, "AAAA", 300, "2001:db8::1"), endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"))
	s.shows(t, name, "AAAA", 300, "2001:db8::1")
	s.answers(t, name, "AAAA", "2001:db8::1")
	s.answers(t, name, "A", "192.0.2.1")
	s.settled(t, endpoint.NewEndpointWithTTL(name, "AAAA", 300, "2001:db8::2"))
	s.shows(t, name, "A", 0)
	s.answers(t, name, "AAAA", "2001:db8::2")
	s.answers(t, name, "A")
}

func (s *suite) aliases() {
	t := s.t
	name := s.host("shop")
	for _, target := range []string{"lb1.example.net", "lb2.example.net"} {
		s.settled(t, endpoint.NewEndpointWithTTL(name, "CNAME", 300, target))
		s.shows(t, name, "CNAME", 300, target)
		s.answers(t, name, "CNAME", target)
	}
}

// texts: ExternalDNS's registry can't own TXT records that a source wants, so they are written without it.
func (s *suite) texts() {
	t := s.t
	name, p := s.host("text"), s.raw(t)
	long := strings.Repeat("0123456789 \"quoted\" back\\slash; ", 20)
	last := ""
	for _, text := range []string{"v=spf1 -all", "one two", long, `ends in a backslash\`} {
		wanted := []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, "TXT", 300, text)}
		adjusted, err := p.AdjustEndpoints(wanted)
		if err != nil {
			t.Fatal(err)
		}
		changes := &plan.Changes{Create: adjusted}
		if last != "" {
			changes = &plan.Changes{UpdateOld: []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, "TXT", 300, last)}, UpdateNew: adjusted}
		}
		if err := p.ApplyChanges(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
		s.shows(t, name, "TXT", 300, adjusted[0].Targets...)
		s.answers(t, name, "TXT", text)
		last = text
	}
	if err := p.ApplyChanges(t.Context(), &plan.Changes{Delete: []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, "TXT", 300, last)}}); err != nil {
		t.Fatal(err)
	}
	s.shows(t, name, "TXT", 0)
	s.answers(t, name, "TXT")
}

// ownership: each record has its TXT, and another ExternalDNS leaves it alone.
func (s *suite) ownership() {
	t := s.t
	name := s.host("www")
	s.settled(t, endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"))
	s.shows(t, "extdns-a."+name, "TXT", 0, "heritage=external-dns,external-dns/owner="+s.owner)
	s.answers(t, "extdns-a."+name, "TXT", "heritage=external-dns,external-dns/owner="+s.owner)
	other, err := externaldns.Connect(t.Context(), s.URL, "somebody-else")
	if err != nil {
		t.Fatal(err)
	}
	before := s.writes()
	for _, desired := range [][]*endpoint.Endpoint{nil, {endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.9")}, {endpoint.NewEndpointWithTTL(name, "CNAME", 300, "lb.example.net")}} {
		if _, err := other.Sync(t.Context(), desired...); err != nil {
			t.Fatal(err)
		}
	}
	s.shows(t, name, "A", 300, "192.0.2.1")
	if after := s.writes(); after != before {
		t.Errorf("another owner wrote %d times", after-before)
	}
}

func (s *suite) typeChange() {
	t := s.t
	name := s.host("www")
	for range 3 { // a provider that takes changes in the order of a map fails only now and then
		s.settled(t, endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL(name, "AAAA", 300, "2001:db8::1"))
		s.shows(t, name, "CNAME", 0)
		s.settled(t, endpoint.NewEndpointWithTTL(name, "CNAME", 300, "lb.example.net"))
		s.shows(t, name, "A", 0)
		s.shows(t, name, "CNAME", 300, "lb.example.net")
	}
	s.answers(t, name, "CNAME", "lb.example.net")
	s.shows(t, "extdns-a."+name, "TXT", 0)
	s.shows(t, "extdns-cname."+name, "TXT", 0, "heritage=external-dns,external-dns/owner="+s.owner)
}

func (s *suite) wildcard() {
	t := s.t
	name := s.host("apps")
	s.settled(t, endpoint.NewEndpointWithTTL("*."+name, "A", 300, "192.0.2.7"))
	s.shows(t, "*."+name, "A", 300, "192.0.2.7")
	s.shows(t, "extdns-a.any."+name, "TXT", 0, "heritage=external-dns,external-dns/owner="+s.owner)
	s.answers(t, "some.thing."+name, "A", "192.0.2.7")
	s.settled(t)
	s.answers(t, "some.thing."+name, "A")
}

func (s *suite) apex() {
	t := s.t
	s.settled(t, endpoint.NewEndpointWithTTL(s.Zone, "A", 300, "192.0.2.5"))
	s.shows(t, s.Zone, "A", 300, "192.0.2.5")
	s.answers(t, s.Zone, "A", "192.0.2.5")
	s.settled(t)
	s.answers(t, s.Zone, "A")
	s.shows(t, s.Zone, "NS", 0)
	s.shows(t, s.Zone, "SOA", 0)
}

// childZone: a name belongs to the deepest zone; writing it into the parent is refused by DNS services.
func (s *suite) childZone() {
	t := s.t
	if s.Child == "" {
		t.Skip("the provider serves no child zone")
	}
	s.settled(t, endpoint.NewEndpointWithTTL(s.Child, "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL("www."+s.Child, "A", 300, "192.0.2.2"),
		endpoint.NewEndpointWithTTL(s.host("www"), "A", 300, "192.0.2.3"))
	for name, target := range map[string]string{s.Child: "192.0.2.1", "www." + s.Child: "192.0.2.2", s.host("www"): "192.0.2.3"} {
		s.shows(t, name, "A", 300, target)
		s.answers(t, name, "A", target)
	}
}

func (s *suite) unicodeHost() {
	t := s.t
	name, ascii := s.host("bücher"), ""
	s.settled(t, endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL(s.host("kurz"), "CNAME", 300, name))
	for _, e := range s.records(t) {
		if e.RecordType == "A" && strings.HasPrefix(e.DNSName, "xn--bcher-") {
			ascii = e.DNSName
		}
	}
	if ascii == "" {
		t.Fatal("the name is not shown in its ASCII form")
	}
	s.answers(t, ascii, "A", "192.0.2.1")
	s.answers(t, s.host("kurz"), "CNAME", ascii)
}

func (s *suite) records(t *testing.T) []*endpoint.Endpoint {
	t.Helper()
	list, err := s.raw(t).Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// oddForms: what means the same is the same, or ExternalDNS updates for ever.
func (s *suite) oddForms() {
	t := s.t
	a := endpoint.NewEndpointWithTTL(s.host("MiXed"), "AAAA", 300, "2001:DB8:0:0:0:0:0:1", "2001:db8::0:2")
	b := endpoint.NewEndpointWithTTL(s.host("dot"), "CNAME", 300, "LB.Example.NET")
	b.Targets = []string{"LB.Example.NET."}
	c := endpoint.NewEndpointWithTTL(s.host("twice"), "A", 300, "192.0.2.2", "192.0.2.1", "192.0.2.2")
	c.ProviderSpecific = endpoint.ProviderSpecific{{Name: "webhook/unknown", Value: "1"}, {Name: "alias", Value: "false"}}
	c.SetIdentifier = ""
	d := endpoint.NewEndpoint(s.host("nottl"), "A", "192.0.2.1")
	s.settled(t, a, b, c, d)
	s.shows(t, strings.ToLower(a.DNSName), "AAAA", 300, "2001:db8::1", "2001:db8::2")
	s.shows(t, b.DNSName, "CNAME", 300, "lb.example.net")
	s.shows(t, c.DNSName, "A", 300, "192.0.2.1", "192.0.2.2")
	s.answers(t, b.DNSName, "CNAME", "lb.example.net")
}

// foreignRecords: what others made stays as it is, whether it is wanted otherwise or not at all.
func (s *suite) foreignRecords() {
	t := s.t
	name, p := s.host("foreign"), s.raw(t)
	foreign := []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.66"), endpoint.NewEndpointWithTTL(s.host("note"), "TXT", 300, "not yours")}
	if err := p.ApplyChanges(t.Context(), &plan.Changes{Create: foreign}); err != nil {
		t.Fatal(err)
	}
	before := s.writes()
	s.sync(t.Context(), t, endpoint.NewEndpointWithTTL(name, "A", 300, "192.0.2.1"))
	s.sync(t.Context(), t, endpoint.NewEndpointWithTTL(name, "CNAME", 300, "lb.example.net"))
	s.sync(t.Context(), t)
	s.shows(t, name, "A", 300, "192.0.2.66")
	s.shows(t, s.host("note"), "TXT", 300, "not yours")
	if after := s.writes(); after != before {
		t.Errorf("%d writes to what belongs to others", after-before)
	}
	if err := p.ApplyChanges(t.Context(), &plan.Changes{Delete: foreign}); err != nil {
		t.Fatal(err)
	}
}

// idle: ten syncs of what is there already write nothing.
func (s *suite) idle() {
	t := s.t
	desired := []*endpoint.Endpoint{
		endpoint.NewEndpointWithTTL(s.host("a"), "A", 300, "192.0.2.1", "192.0.2.2"), endpoint.NewEndpoint(s.host("a"), "AAAA", "2001:db8::1"),
		endpoint.NewEndpointWithTTL(s.host("c"), "CNAME", 60, "lb.example.net"), endpoint.NewEndpoint("*."+s.host("w"), "A", "192.0.2.3"),
		endpoint.NewEndpoint(s.host("ünicode"), "A", "192.0.2.4"), endpoint.NewEndpointWithTTL(s.host("short"), "A", 1, "192.0.2.5"),
		endpoint.NewEndpointWithTTL(s.host("t"), "TXT", 300, "some text"),
	}
	s.sync(t.Context(), t, desired...)
	before := s.writes()
	for turn := range 10 {
		if changes := s.sync(t.Context(), t, desired...); changes.HasChanges() {
			t.Fatalf("idle sync %d finds something to do:%s", turn+1, describe(changes))
		}
	}
	if after := s.writes(); after != before {
		t.Errorf("ten idle syncs wrote %d times", after-before)
	}
	text := []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(s.host("t"), "TXT", 300, "some text"), endpoint.NewEndpoint("extdns-txt."+s.host("t"), "TXT", "x")}
	if err := s.raw(t).ApplyChanges(t.Context(), &plan.Changes{Delete: text}); err != nil {
		t.Fatal(err)
	}
}

// nameInNoZone must not keep the others from being written, nor stop ExternalDNS.
func (s *suite) nameInNoZone() {
	t := s.t
	s.sync(t.Context(), t, endpoint.NewEndpointWithTTL("www.nobodys-zone.invalid", "A", 300, "192.0.2.1"), endpoint.NewEndpointWithTTL(s.host("www"), "A", 300, "192.0.2.2"))
	s.shows(t, s.host("www"), "A", 300, "192.0.2.2")
}

// poisonRecord: one record that can't be written is a soft error, and the others are written.
func (s *suite) poisonRecord() {
	t := s.t
	poison := endpoint.NewEndpointWithTTL(s.host("poison"), "CNAME", 300, "lb.example.net")
	poison.Targets = []string{"not a name", "lb.example.net"}
	desired := []*endpoint.Endpoint{poison}
	for i := range 20 {
		desired = append(desired, endpoint.NewEndpointWithTTL(s.host(fmt.Sprintf("good%d", i)), "A", 300, "192.0.2.1"))
	}
	const turns = 5 // a slow DNS service may need some to write them all
	for turn, missing := 0, true; missing && turn < turns; turn++ {
		_, err := s.client.Sync(t.Context(), copies(desired)...)
		if err != nil && !externaldns.Soft(err) {
			t.Fatalf("a hard error: %v", err)
		}
		if err == nil {
			t.Error("nothing tells that a record was not written")
		}
		shown := 0
		for _, e := range s.records(t) {
			if strings.HasPrefix(e.DNSName, "good") && strings.HasSuffix(e.DNSName, "-"+s.owner+"."+s.Zone) {
				shown++
			}
		}
		missing = shown < 20
	}
	for i := range 20 {
		s.shows(t, s.host(fmt.Sprintf("good%d", i)), "A", 300, "192.0.2.1")
	}
}

// endpointWithoutLabels: empty maps are omitted on the wire.
func (s *suite) endpointWithoutLabels() {
	t := s.t
	body := fmt.Sprintf(`[{"dnsName": %q, "recordType": "A", "targets": ["192.0.2.1"]}, null]`, s.host("bare"))
	if status, _, answer := s.request(t, http.MethodPost, "/adjustendpoints", mediaType, mediaType, body); status != http.StatusOK || !strings.Contains(answer, s.host("bare")) {
		t.Errorf("%d %s", status, answer)
	}
	for verb, want := range map[string]string{"create": "192.0.2.1", "delete": ""} {
		_ = want
		body := fmt.Sprintf(`{%q: [{"dnsName": %q, "recordType": "A", "targets": ["192.0.2.1"]}]}`, verb, s.host("bare-"+verb))
		if status, _, answer := s.request(t, http.MethodPost, "/records", mediaType, "", body); status != http.StatusNoContent {
			t.Errorf("%s: %d %s, want 204", verb, status, answer)
		}
	}
	s.shows(t, s.host("bare-create"), "A", 0, "192.0.2.1")
	if err := s.raw(t).ApplyChanges(t.Context(), &plan.Changes{Delete: []*endpoint.Endpoint{endpoint.NewEndpoint(s.host("bare-create"), "A", "192.0.2.1")}}); err != nil {
		t.Fatal(err)
	}
}
