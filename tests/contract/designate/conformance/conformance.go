// Package conformance is a suite for webhook providers of ExternalDNS, driven by ExternalDNS's own webhook client, plan and TXT
// registry. It is given a URL, so it can be pointed at any provider.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"sigs.k8s.io/external-dns/endpoint"
	edns "sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/webhook"

	"mooring/tests/peer/externaldns"
)

// Provider is what the suite is run against.
type Provider struct {
	// URL of the webhook, without a final slash.
	URL string
	// Zone is a zone that the provider serves, Child one below it ("" if there is none), both without a final dot. The suite makes records in them
	// and takes them away again.
	Zone, Child string
	// DNS is the host:port of a name server that answers the zones; empty: answers are not checked.
	DNS string
	// Writes counts the writes that have reached the DNS service so far; nil: they are not counted.
	Writes func() int
	// Patience bounds how long a record may take to be answered.
	Patience time.Duration
}

// Run runs the suite. Each case has names of its own, so cases don't disturb each other.
func Run(t *testing.T, p Provider) {
	t.Helper()
	cases := map[string]func(*suite){
		"negotiation":             (*suite).negotiation,
		"A":                       (*suite).addresses,
		"AAAA":                    (*suite).addresses6,
		"CNAME":                   (*suite).aliases,
		"TXT":                     (*suite).texts,
		"ownership":               (*suite).ownership,
		"A becomes CNAME":         (*suite).typeChange,
		"wildcard":                (*suite).wildcard,
		"apex":                    (*suite).apex,
		"child zone":              (*suite).childZone,
		"Unicode host":            (*suite).unicodeHost,
		"odd forms":               (*suite).oddForms,
		"foreign records":         (*suite).foreignRecords,
		"idle":                    (*suite).idle,
		"name in no zone":         (*suite).nameInNoZone,
		"poison record":           (*suite).poisonRecord,
		"endpoint without labels": (*suite).endpointWithoutLabels,
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			// One after the other: cases count writes, and a provider works on one set of changes at a time.
			s := &suite{t: t, Provider: p, owner: "o" + strings.Map(letters, name)}
			client, err := externaldns.Connect(t.Context(), p.URL, s.owner)
			if err != nil {
				t.Fatal(err)
			}
			s.client = client
			t.Cleanup(func() { s.sync(context.WithoutCancel(t.Context()), t) })
			run(s)
		})
	}
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return -1
}

type suite struct {
	Provider
	t      *testing.T
	owner  string
	client *externaldns.Client
}

// host makes a name of this case in the zone.
func (s *suite) host(label string) string { return label + "-" + s.owner + "." + s.Zone }

// raw is the webhook client without the registry: what it makes belongs to nobody.
func (s *suite) raw(t *testing.T) provider.Provider {
	t.Helper()
	cfg := edns.NewConfig()
	cfg.WebhookProviderURL, cfg.WebhookProviderReadTimeout, cfg.WebhookProviderWriteTimeout = s.URL, 15*time.Second, 15*time.Second
	p, err := webhook.New(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sync brings the provider to the desired endpoints. Soft errors are followed by another turn, as ExternalDNS does.
func (s *suite) sync(ctx context.Context, t *testing.T, desired ...*endpoint.Endpoint) *plan.Changes {
	t.Helper()
	const turns = 10
	for turn := range turns {
		changes, err := s.client.Sync(ctx, copies(desired)...)
		switch {
		case err == nil:
			return changes
		case !externaldns.Soft(err):
			t.Fatalf("turn %d: a hard error, at which ExternalDNS exits: %v", turn+1, err)
		}
		t.Logf("turn %d: soft error: %v", turn+1, err)
		pause(ctx, time.Second)
	}
	t.Fatalf("no sync without an error in %d turns", turns)
	return nil
}

// settled syncs until there is nothing to do, which must be at once after the first turn.
func (s *suite) settled(t *testing.T, desired ...*endpoint.Endpoint) {
	t.Helper()
	s.sync(t.Context(), t, desired...)
	if changes := s.sync(t.Context(), t, desired...); changes.HasChanges() {
		t.Fatalf("the second sync still finds something to do: %s", describe(changes))
	}
}

// copies keeps the caller's endpoints as they are: registry and plan write into what they get.
func copies(list []*endpoint.Endpoint) []*endpoint.Endpoint {
	out := make([]*endpoint.Endpoint, 0, len(list))
	for _, e := range list {
		c := *e
		c.Targets = slices.Clone(e.Targets)
		if e.Labels != nil {
			c.Labels = endpoint.NewLabels()
		}
		out = append(out, &c)
	}
	return out
}

func describe(c *plan.Changes) string {
	var b strings.Builder
	for verb, list := range map[string][]*endpoint.Endpoint{"create": c.Create, "update from": c.UpdateOld, "update to": c.UpdateNew, "delete": c.Delete} {
		for _, e := range list {
			fmt.Fprintf(&b, "\n  %s %v labels %v", verb, e, e.Labels)
		}
	}
	return b.String()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// shows checks that the provider shows a record, with the TTL and exactly the targets; no targets: that it does not.
func (s *suite) shows(t *testing.T, name, recordType string, ttl int, targets ...string) {
	t.Helper()
	list, err := s.raw(t).Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		if strings.EqualFold(strings.TrimSuffix(e.DNSName, "."), name) && e.RecordType == recordType {
			for _, target := range e.Targets {
				got = append(got, fmt.Sprintf("%d %s", e.RecordTTL, strings.Trim(target, `"`)))
			}
		}
	}
	var want []string
	for _, target := range targets {
		want = append(want, fmt.Sprintf("%d %s", ttl, target))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s %s is shown as %q, want %q", name, recordType, got, want)
	}
}

// answers waits until the name server gives exactly these data for a name and type; none: until it has none.
func (s *suite) answers(t *testing.T, name, recordType string, data ...string) {
	t.Helper()
	if s.DNS == "" {
		return
	}
	slices.Sort(data)
	var got []string
	var err error
	for end := time.Now().Add(s.Patience); ; pause(t.Context(), 100*time.Millisecond) {
		if got, err = Lookup(t.Context(), s.DNS, name, recordType); err == nil && slices.Equal(got, data) {
			return
		}
		if time.Now().After(end) || t.Context().Err() != nil {
			t.Errorf("the name server answers %q (%v) for %s %s, want %q", got, err, name, recordType, data)
			return
		}
	}
}

// Lookup asks a name server over UDP, and over TCP if the answer does not fit. It returns the data of the records of the type, sorted:
// addresses, names without the final dot, joined texts.
func Lookup(ctx context.Context, server, name, recordType string) ([]string, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), dns.StringToType[recordType])
	answer, err := dns.ExchangeContext(ctx, query, server)
	if err == nil && answer.Truncated {
		answer, _, err = (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, query, server)
	}
	if err != nil {
		return nil, err
	}
	if answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
		return nil, errors.New(dns.RcodeToString[answer.Rcode])
	}
	var data []string
	for _, rr := range answer.Answer {
		if rr.Header().Rrtype != dns.StringToType[recordType] {
			continue
		}
		switch rr := rr.(type) {
		case *dns.A:
			data = append(data, rr.A.String())
		case *dns.AAAA:
			data = append(data, rr.AAAA.String())
		case *dns.CNAME:
			data = append(data, strings.ToLower(strings.TrimSuffix(rr.Target, ".")))
		case *dns.TXT:
			data = append(data, unescape(strings.Join(rr.Txt, "")))
		default:
			data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	slices.Sort(data)
	return data, nil
}

// unescape undoes the escapes that miekg/dns leaves in texts: \" and \DDD.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		if i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		i++
		b.WriteByte(text[i])
	}
	return b.String()
}
