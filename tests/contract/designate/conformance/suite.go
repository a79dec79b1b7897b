package conformance

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"

	"mooring/tests/peer/externaldns"
)

// suite is one run of one case.
type suite struct {
	Provider
	ctx    context.Context // of the test
	owner  string          // of the case's records, and a part of their names
	client *externaldns.Client
	result Result
}

// stopped is what fatalf and skip leave a case with.
type stopped struct{}

// guard runs a part of a case and says whether it came to its end.
func (s *suite) guard(part func()) (ended bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(stopped); !ok {
				panic(r)
			}
		}
	}()
	part()
	return true
}

func (s *suite) errorf(format string, args ...any) {
	s.result.Failures = append(s.result.Failures, fmt.Sprintf(format, args...))
}

func (s *suite) fatalf(format string, args ...any) {
	s.errorf(format, args...)
	panic(stopped{})
}

func (s *suite) must(err error) {
	if err != nil {
		s.fatalf("%v", err)
	}
}

func (s *suite) skip(why string) {
	s.result.Skipped = why
	panic(stopped{})
}

func (s *suite) logf(format string, args ...any) {
	s.result.Log = append(s.result.Log, fmt.Sprintf(format, args...))
}

func (s *suite) connect() { s.client = s.open(externaldns.Recommended(s.owner)) }

// open is another ExternalDNS, which manages every type that the provider claims unless it says otherwise.
func (s *suite) open(settings externaldns.Settings) *externaldns.Client {
	if len(settings.Types) == 0 {
		settings.Types = s.types()
	}
	client, err := externaldns.Open(s.ctx, s.URL, settings)
	if err != nil {
		s.fatalf("ExternalDNS does not start with this provider: %v", err)
	}
	return client
}

func (s *suite) types() []string {
	if len(s.Types) > 0 {
		return s.Types
	}
	return endpoint.KnownRecordTypes
}

func (s *suite) needs(recordType string) {
	if !slices.Contains(s.types(), recordType) {
		s.skip("the provider does not claim records of type " + recordType)
	}
}

// host makes a name of this case in the zone.
func (s *suite) host(label string) string { return label + "-" + s.owner + "." + s.Zone }

// mark is what the TXT registry writes beside a record.
func (s *suite) mark() string { return "heritage=external-dns,external-dns/owner=" + s.owner }

// cleanUp removes what the case has made: what ExternalDNS owns by a last sync, and what has the case in its name by hand.
func (s *suite) cleanUp() {
	s.sync()
	var left []*endpoint.Endpoint
	for _, e := range s.records() {
		if strings.Contains(e.DNSName, "-"+s.owner) || strings.Contains(e.DNSName, "."+s.owner+".") {
			left = append(left, e)
		}
	}
	if len(left) > 0 {
		s.apply(&plan.Changes{Delete: left})
	}
}

// apply makes changes without the registry: what it creates belongs to nobody.
func (s *suite) apply(changes *plan.Changes) {
	s.repeat(func() error { return s.client.Provider().ApplyChanges(s.ctx, changes) })
}

// sync brings the provider to the desired endpoints.
func (s *suite) sync(desired ...*endpoint.Endpoint) *plan.Changes {
	return s.syncAs(s.client, desired...)
}

func (s *suite) syncAs(client *externaldns.Client, desired ...*endpoint.Endpoint) (changes *plan.Changes) {
	s.repeat(func() (err error) {
		changes, err = client.Sync(s.ctx, copies(desired)...)
		return err
	})
	return changes
}

// repeat does what ExternalDNS does: a soft error is followed by another turn, after any other it exits.
func (s *suite) repeat(turn func() error) {
	const turns = 100 // a busy DNS service may write only some records in each
	for n := range turns {
		err := turn()
		switch {
		case err == nil:
			return
		case !externaldns.Soft(err):
			s.fatalf("turn %d: a hard error, at which ExternalDNS exits: %v", n+1, err)
		}
		s.logf("turn %d: soft error: %v", n+1, err)
		pause(s.ctx, cmp.Or(s.Interval, time.Second))
	}
	s.fatalf("no turn without an error among %d", turns)
}

// settled syncs, after which there must be nothing left to do.
func (s *suite) settled(desired ...*endpoint.Endpoint) {
	s.sync(desired...)
	if changes := s.sync(desired...); changes.HasChanges() {
		s.fatalf("the second sync still finds something to do, and so will every other: %s", describe(changes))
	}
}

// copies keeps the caller's endpoints as they are: registry and plan write into what they get.
func copies(list []*endpoint.Endpoint) []*endpoint.Endpoint {
	out := make([]*endpoint.Endpoint, 0, len(list))
	for _, e := range list {
		c := *e
		c.Targets, c.ProviderSpecific, c.Labels = slices.Clone(e.Targets), slices.Clone(e.ProviderSpecific), maps.Clone(e.Labels)
		out = append(out, &c)
	}
	return out
}

func describe(c *plan.Changes) string {
	var b strings.Builder
	for _, part := range []struct {
		verb string
		list []*endpoint.Endpoint
	}{{"create", c.Create}, {"update from", c.UpdateOld}, {"update to", c.UpdateNew}, {"delete", c.Delete}} {
		for _, e := range part.list {
			fmt.Fprintf(&b, "%s %v; ", part.verb, e)
		}
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (s *suite) records() (list []*endpoint.Endpoint) {
	s.repeat(func() (err error) {
		list, err = s.client.Provider().Records(s.ctx)
		return err
	})
	return list
}

// shown returns the endpoints of a name and type.
func (s *suite) shown(name, recordType string) []*endpoint.Endpoint {
	return slices.DeleteFunc(s.records(), func(e *endpoint.Endpoint) bool {
		return e.RecordType != recordType || !strings.EqualFold(strings.TrimSuffix(e.DNSName, "."), name)
	})
}

// shows checks that the provider shows one record of the name and type, with the TTL and exactly the targets; no targets: that it shows none.
// Final dots and quotes are a provider's own affair.
func (s *suite) shows(name, recordType string, ttl int, targets ...string) {
	var got, want []string
	for _, e := range s.shown(name, recordType) {
		for _, target := range e.Targets {
			got = append(got, fmt.Sprintf("%d %s", e.RecordTTL, plain(recordType, target)))
		}
	}
	for _, target := range targets {
		want = append(want, fmt.Sprintf("%d %s", ttl, plain(recordType, target)))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.errorf("%s %s is shown as %q, want %q", name, recordType, got, want)
	}
}

func plain(recordType, target string) string {
	switch recordType {
	case "TXT":
		return strings.Trim(target, `"`)
	case "NAPTR":
		target = strings.ReplaceAll(target, `"`, "")
	}
	return strings.TrimSuffix(strings.ToLower(target), ".")
}

// answers waits until the name server gives exactly these data for a name and type; none: until it has none.
func (s *suite) answers(name, recordType string, data ...string) {
	if s.DNS == "" {
		return
	}
	slices.Sort(data)
	var got []string
	var err error
	for end := time.Now().Add(s.Patience); ; pause(s.ctx, 100*time.Millisecond) {
		if got, err = Lookup(s.ctx, s.DNS, name, recordType); err == nil && slices.Equal(got, data) {
			return
		}
		if time.Now().After(end) || s.ctx.Err() != nil {
			s.errorf("the name server answers %q (%v) for %s %s, want %q", got, err, name, recordType, data)
			return
		}
	}
}

// writes is how many writes have reached the DNS service, as far as that is known.
func (s *suite) writes() int {
	if s.Writes == nil {
		return 0
	}
	return s.Writes()
}

// noWrites checks that a part of a case writes nothing.
func (s *suite) noWrites(what string, part func()) {
	before := s.writes()
	part()
	if after := s.writes(); after != before {
		s.errorf("%s: %d writes reached the DNS service, want none", what, after-before)
	}
}

// answer is what a bare HTTP request brought.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, strings.TrimSpace(a.body)) }

// request makes a bare HTTP request, for what the real client never sends.
func (s *suite) request(method, path, contentType, accept, body string) answer {
	ctx, cancel := context.WithTimeout(s.ctx, 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	s.must(err)
	for key, value := range map[string]string{"Content-Type": contentType, "Accept": accept} {
		if value != "" {
			r.Header.Set(key, value)
		}
	}
	response, err := (&http.Client{}).Do(r)
	s.must(err)
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	s.must(err)
	return answer{response.StatusCode, response.Header, string(got)}
}
