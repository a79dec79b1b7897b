package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"

	"mooring/tests/peer/externaldns"
)

const mediaType = "application/external.dns.webhook+json;version=1"

func protocolCases() []Case {
	return []Case{
		{"media type and statuses", "ExternalDNS does not start, or takes a success for a failure: it compares the media type as a string and statuses exactly.", (*suite).statuses},
		{"domain filter", "ExternalDNS plans for names that the provider leaves alone, or deletes what it was told not to touch.", (*suite).domainFilter},
		{"malformed bodies are refused with a reason", "half a request is carried out, and nobody learns what was wrong.", (*suite).malformedBodies},
		{"endpoints without labels", "the provider fails, or ExternalDNS exits: empty maps are omitted on the wire.", (*suite).withoutLabels},
		{"adjusting drops no endpoint", "ExternalDNS deletes the records of what is missing in the answer.", (*suite).adjustKeepsAll},
		{"overlapping syncs", "two ExternalDNS on one provider, or one that was restarted, spoil each other's records.", (*suite).overlapping},
		{"a client that gives up in the middle", "after a restart of ExternalDNS, or a late answer, the provider is stuck or writes on behind its back.", (*suite).givingUp},
	}
}

func (s *suite) statuses() {
	for _, path := range []string{"/", "/records"} {
		got := s.request(http.MethodGet, path, "", mediaType, "")
		if got.status != http.StatusOK || got.header.Get("Content-Type") != mediaType {
			s.errorf("GET %s: %v, Content-Type %q; want 200 and %q", path, got, got.header.Get("Content-Type"), mediaType)
		}
	}
	if got := s.request(http.MethodPost, "/adjustendpoints", mediaType, mediaType, "[]"); got.status != http.StatusOK || strings.TrimSpace(got.body) != "[]" {
		s.errorf("POST /adjustendpoints of an empty list: %v, want 200 and an empty list", got)
	}
	if got := s.request(http.MethodPost, "/records", mediaType, mediaType, "{}"); got.status != http.StatusNoContent {
		s.errorf("POST /records without changes: %v, want 204", got)
	}
}

func (s *suite) domainFilter() {
	body := s.request(http.MethodGet, "/", "", mediaType, "").body
	var raw map[string]any
	s.must(json.Unmarshal([]byte(body), &raw))
	_, byName := raw["include"]
	_, byRegex := raw["regexInclude"]
	if byName && byRegex {
		s.errorf("the filter %s has names and regular expressions, which ExternalDNS refuses", strings.TrimSpace(body))
	}
	got, ok := s.client.Filter().(*endpoint.DomainFilter)
	if !ok {
		s.fatalf("the filter is a %T", s.client.Filter())
	}
	for _, name := range []string{s.Zone, s.host("www")} {
		if s.Filter == nil && !got.Match(name) {
			s.errorf("the filter %s keeps %s out, which is in the zone", strings.TrimSpace(body), name)
		}
	}
	if s.Filter == nil {
		return
	}
	want, err := json.Marshal(s.Filter)
	s.must(err)
	have, err := json.Marshal(got)
	s.must(err)
	if string(have) != string(want) {
		s.errorf("the filter is %s, but the provider was configured with %s", have, want)
	}
}

func (s *suite) malformedBodies() {
	s.noWrites("malformed requests", func() {
		for _, c := range []struct{ method, path, body string }{
			{"POST", "/records", "{"},
			{"POST", "/records", "[]"},
			{"POST", "/records", `{"create": "x"}`},
			{"POST", "/records", fmt.Sprintf(`{"create": [{"dnsName": %q, "recordType": "A", "targets": ["192.0.2.1"]}], "delete": 1}`, s.host("half"))},
			{"POST", "/records", ""},
			{"POST", "/adjustendpoints", "{}"},
			{"POST", "/adjustendpoints", ""},
		} {
			if got := s.request(c.method, c.path, mediaType, mediaType, c.body); got.status < 400 || got.status > 499 || strings.TrimSpace(got.body) == "" {
				s.errorf("%s %s with the body %q: %v, want a 4xx with a reason", c.method, c.path, c.body, got)
			}
		}
	})
	for _, c := range []struct{ method, path string }{{"DELETE", "/records"}, {"GET", "/nothing-is-here"}} {
		if got := s.request(c.method, c.path, "", mediaType, ""); got.status < 400 || got.status > 499 {
			s.errorf("%s %s: %v, want a 4xx", c.method, c.path, got)
		}
	}
	s.shows(s.host("half"), "A", 0)
}

func (s *suite) withoutLabels() {
	bare := fmt.Sprintf(`{"dnsName": %q, "recordType": "A", "targets": ["192.0.2.1"]}`, s.host("bare"))
	if got := s.request(http.MethodPost, "/adjustendpoints", mediaType, mediaType, "["+bare+"]"); got.status != http.StatusOK || !strings.Contains(got.body, s.host("bare")) {
		s.errorf("POST /adjustendpoints: %v, want 200 and the endpoint", got)
	}
	for verb, targets := range map[string][]string{"create": {"192.0.2.1"}, "delete": nil} {
		if verb == "delete" {
			s.apply(&plan.Changes{Create: []*endpoint.Endpoint{endpoint.NewEndpoint(s.host("bare"), "A", "192.0.2.1")}})
		}
		if got := s.request(http.MethodPost, "/records", mediaType, "", fmt.Sprintf(`{%q: [%s]}`, verb, bare)); got.status != http.StatusNoContent {
			s.errorf("POST /records, %s: %v, want 204", verb, got)
		}
		s.shows(s.host("bare"), "A", 0, targets...)
	}
}

// adjustKeepsAll: even what can't be written stays in the list.
func (s *suite) adjustKeepsAll() {
	endpoints := []*endpoint.Endpoint{
		endpoint.NewEndpoint(s.host("good"), "A", "192.0.2.1"), endpoint.NewEndpoint("www.nobodys-zone.invalid", "A", "192.0.2.1"),
		{DNSName: s.host("bad"), RecordType: "A", Targets: endpoint.Targets{"not an address"}},
		endpoint.NewEndpoint(s.host("any.*"), "A", "192.0.2.1"),
	}
	adjusted, err := s.client.Provider().AdjustEndpoints(copies(endpoints))
	s.must(err)
	if len(adjusted) != len(endpoints) {
		s.errorf("of %d endpoints %d come back: %v", len(endpoints), len(adjusted), adjusted)
	}
}

// overlapping: several ExternalDNS at once.
func (s *suite) overlapping() {
	const owners, names = 4, 5
	wanted := func(owner int) (list []*endpoint.Endpoint) {
		for n := range names {
			list = append(list, endpoint.NewEndpointWithTTL(s.host(fmt.Sprintf("w%dn%d", owner, n)), "A", 300, fmt.Sprintf("192.0.2.%d", 10*owner+n)))
		}
		return list
	}
	var clients []*externaldns.Client
	for owner := range owners {
		clients = append(clients, s.open(externaldns.Recommended(fmt.Sprintf("%sw%d", s.owner, owner))))
	}
	all := func(desired func(owner int) []*endpoint.Endpoint) {
		errs := make([]error, owners)
		var group sync.WaitGroup
		for owner, client := range clients {
			group.Go(func() { errs[owner] = s.insist(client, desired(owner)) })
		}
		group.Wait()
		for owner, err := range errs {
			if err != nil {
				s.errorf("owner %d: %v", owner, err)
			}
		}
	}
	all(wanted)
	for owner := range owners {
		for _, e := range wanted(owner) {
			s.shows(e.DNSName, "A", 300, e.Targets[0])
			s.shows("extdns-a."+e.DNSName, "TXT", 0, fmt.Sprintf("heritage=external-dns,external-dns/owner=%sw%d", s.owner, owner))
		}
	}
	all(func(int) []*endpoint.Endpoint { return nil })
	s.shows(s.host("w0n0"), "A", 0)
}

// insist syncs until there is no soft error any more.
func (s *suite) insist(client *externaldns.Client, desired []*endpoint.Endpoint) error {
	const turns = 20
	var err error
	for range turns {
		if _, err = client.Sync(s.ctx, copies(desired)...); err == nil || !externaldns.Soft(err) {
			return err
		}
		pause(s.ctx, cmp.Or(s.Interval, time.Second))
	}
	return err
}

// givingUp: what was begun for a client that has gone does not spoil the next sync, whenever it went.
func (s *suite) givingUp() {
	wanted := func(last byte) (list []*endpoint.Endpoint) {
		for n := range 10 {
			list = append(list, endpoint.NewEndpointWithTTL(s.host(fmt.Sprintf("n%d", n)), "A", 300, fmt.Sprintf("192.0.2.%d", last)))
		}
		return list
	}
	turn := byte(0)
	for patience := time.Millisecond; patience < time.Second; patience *= 3 {
		turn++
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		_, err := s.client.Sync(ctx, wanted(turn)...)
		cancel()
		s.logf("gave up after %v: %v", patience, err)
	}
	s.settled(wanted(turn + 1)...)
	for _, e := range wanted(turn + 1) {
		s.shows(e.DNSName, "A", 300, e.Targets[0])
		s.shows("extdns-a."+e.DNSName, "TXT", 0, s.mark())
	}
	s.answers(s.host("n0"), "A", fmt.Sprintf("192.0.2.%d", turn+1))
}
