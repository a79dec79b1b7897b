package externaldns_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mooring/pkg/designate"
	"mooring/pkg/designate/externaldns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// domain stands in for the Designate domain.
type domain struct {
	records  []designate.Record
	err      error
	applying func(context.Context) error

	mu      sync.Mutex
	applied []designate.Changes
}

func (d *domain) Stream(context.Context) (iter.Seq[designate.Record], error) {
	return slices.Values(d.records), d.err
}

func (d *domain) Adjust(r designate.Record) (designate.Record, error) {
	adjusted, err := r.Canonical(60)
	if err != nil {
		return r, err
	}
	return adjusted, nil
}

func (d *domain) Apply(ctx context.Context, c designate.Changes) (designate.Result, error) {
	d.mu.Lock()
	d.applied = append(d.applied, c)
	d.mu.Unlock()
	if d.applying != nil {
		return designate.Result{}, d.applying(ctx)
	}
	return designate.Result{}, d.err
}

func newHandler(tb testing.TB, d *domain, filter *externaldns.Filter) *externaldns.Handler {
	tb.Helper()
	h, err := externaldns.NewHandler(externaldns.Options{Provider: d, Filter: filter, MaxBody: 1 << 16, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func do(tb testing.TB, h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestNegotiation(t *testing.T) {
	t.Parallel()
	broken := &domain{err: errors.New("Keystone is away")}
	for name, test := range map[string]struct {
		filter *externaldns.Filter
		want   string
	}{
		"none":      {nil, `{}`},
		"lists":     {externaldns.NewFilter([]string{"b.org", "a.org"}, []string{"x.a.org"}), `{"include":["a.org","b.org"],"exclude":["x.a.org"]}`},
		"exclusion": {externaldns.NewFilter(nil, []string{"x.a.org"}), `{"exclude":["x.a.org"]}`},
		"regex":     {externaldns.NewRegexFilter(regexp.MustCompile(`^a`), regexp.MustCompile(`b$`)), `{"regexInclude":"^a","regexExclude":"b$"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := do(t, newHandler(t, broken, test.filter), http.MethodGet, "/", "", "Accept", externaldns.MediaType)
			if w.Code != http.StatusOK || w.Body.String() != test.want || w.Header().Get("Content-Type") != externaldns.MediaType {
				t.Errorf("%d %q %s, want 200 with %s", w.Code, w.Header().Get("Content-Type"), w.Body, test.want)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	w := do(t, newHandler(t, &domain{records: []designate.Record{
		{Name: "www.example.org", Type: designate.A, TTL: 300, Targets: []string{"192.0.2.1", "192.0.2.2"}}, {Name: "t.example.org", Type: designate.TXT, Targets: []string{"a text"}},
	}}, nil), http.MethodGet, "/records", "")
	want := `[{"dnsName":"www.example.org","targets":["192.0.2.1","192.0.2.2"],"recordType":"A","recordTTL":300},{"dnsName":"t.example.org","targets":["a text"],"recordType":"TXT"}]` + "\n"
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%d %s, want %s", w.Code, w.Body, want)
	}
	if empty := do(t, newHandler(t, &domain{}, nil), http.MethodGet, "/records", ""); empty.Body.String() != "[]\n" {
		t.Errorf("no records are %q, want []: null would be an error to some clients", empty.Body)
	}
}

func TestAdjustEndpoints(t *testing.T) {
	t.Parallel()
	body := `[
		{"dnsName": "WWW.example.org.", "recordType": "AAAA", "targets": ["2001:DB8::0:1", "2001:db8::1"], "recordTTL": 5, "setIdentifier": "x",
		 "labels": {"resource": "ingress/a/b"}, "providerSpecific": [{"name": "webhook/unknown", "value": "1"}, {"name": "alias", "value": "false"}]},
		{"dnsName": "bad name.example.org", "recordType": "A", "targets": ["192.0.2.1"]},
		null,
		{"dnsName": "*.example.org", "recordType": "CNAME", "targets": ["LB.example.net."]}
	]`
	w := do(t, newHandler(t, &domain{}, nil), http.MethodPost, "/adjustendpoints", body, "Content-Type", externaldns.MediaType, "Accept", externaldns.MediaType)
	want := `[{"dnsName":"www.example.org","targets":["2001:db8::1"],"recordType":"AAAA","recordTTL":60,"labels":{"resource":"ingress/a/b"}},` +
		`{"dnsName":"bad name.example.org","targets":["192.0.2.1"],"recordType":"A"},` +
		`{"dnsName":"*.example.org","targets":["lb.example.net"],"recordType":"CNAME"}]` + "\n"
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != externaldns.MediaType {
		t.Errorf("%d %q", w.Code, w.Header().Get("Content-Type"))
	}
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestApplyChanges(t *testing.T) {
	t.Parallel()
	d := &domain{}
	body := `{
		"create": [
			{"dnsName": "www.example.org", "recordType": "A", "recordTTL": 300, "targets": ["192.0.2.1"], "labels": {"owner": "me"}},
			{"dnsName": "extdns-a.www.example.org", "recordType": "TXT", "targets": ["\"heritage=external-dns\""], "labels": {"ownedRecord": "www.example.org"}}
		],
		"delete": [{"dnsName": "old.example.org", "recordType": "CNAME"}]
	}`
	w := do(t, newHandler(t, d, nil), http.MethodPost, "/records", body, "Content-Type", externaldns.MediaType)
	if w.Code != http.StatusNoContent || w.Body.Len() != 0 {
		t.Errorf("%d %s, want 204 and no body", w.Code, w.Body)
	}
	want := []designate.Changes{{
		Create: []designate.Record{
			{Name: "www.example.org", Type: designate.A, TTL: 300, Targets: []string{"192.0.2.1"}},
			{Name: "extdns-a.www.example.org", Type: designate.TXT, Targets: []string{`"heritage=external-dns"`}, Owner: "www.example.org"},
		},
		UpdateOld: []designate.Record{}, UpdateNew: []designate.Record{}, Delete: []designate.Record{{Name: "old.example.org", Type: designate.CNAME}},
	}}
	if diff := cmp.Diff(want, d.applied); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Only what ExternalDNS can't have sent is a 4xx; nothing of it reaches the domain. ExternalDNS hands on what it is given, so a DNSEndpoint with a
// negative TTL or a type that there is not must not end it, and its two lists of updates differ in length when only one of them is owned.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method, path, body, contentType, accept string
		status                                  int
	}{
		"TTL of text":       {"POST", "/records", `{"create": [{"dnsName": "a.org", "recordTTL": "300"}]}`, externaldns.MediaType, "", 400},
		"TTL of a fraction": {"POST", "/records", `{"create": [{"dnsName": "a.org", "recordTTL": 1.5}]}`, externaldns.MediaType, "", 400},
		"TTL beyond all":    {"POST", "/records", `{"create": [{"dnsName": "a.org", "recordTTL": 1e30}]}`, externaldns.MediaType, "", 400},
		"targets of text":   {"POST", "/records", `{"create": [{"dnsName": "a.org", "targets": "192.0.2.1"}]}`, externaldns.MediaType, "", 400},
		"targets of digits": {"POST", "/adjustendpoints", `[{"dnsName": "a.org", "targets": [1]}]`, externaldns.MediaType, "", 400},
		"labels of a list":  {"POST", "/records", `{"delete": [{"dnsName": "a.org", "labels": []}]}`, externaldns.MediaType, "", 400},
		"half a body":       {"POST", "/records", `{"create": [{"dnsName": "a.org"`, externaldns.MediaType, "", 400},
		"an unknown field":  {"POST", "/records", `{"create": [], "newer": {"x": 1}}`, externaldns.MediaType, "", 204},
		"a negative TTL":    {"POST", "/records", `{"create": [{"dnsName": "a.org", "recordType": "A", "recordTTL": -1, "targets": ["192.0.2.1"]}]}`, externaldns.MediaType, "", 204},
		"an unknown type":   {"POST", "/adjustendpoints", `[{"dnsName": "a.org", "recordType": "LOC", "targets": ["x"]}]`, externaldns.MediaType, "", 200},
		"a type of nothing": {"POST", "/adjustendpoints", `[{"dnsName": "a.org", "targets": ["x"]}]`, externaldns.MediaType, "", 200},
		"no name":           {"POST", "/adjustendpoints", `[{"recordType": "A", "targets": ["192.0.2.1"]}]`, externaldns.MediaType, "", 200},
		"a very long name":  {"POST", "/adjustendpoints", `[{"dnsName": "` + strings.Repeat("a", 60000) + `", "recordType": "A", "targets": ["192.0.2.1"]}]`, externaldns.MediaType, "", 200},
		"updates of 1 to 2": {"POST", "/records", `{"updateOld": [{"dnsName": "a.org"}], "updateNew": [{"dnsName": "a.org"}, {"dnsName": "b.org"}]}`, externaldns.MediaType, "", 204},
		"no JSON":           {"POST", "/records", "{", externaldns.MediaType, "", 400},
		"an array":          {"POST", "/records", "[]", externaldns.MediaType, "", 400},
		"wrong types":       {"POST", "/records", `{"create": [{"dnsName": 1}]}`, externaldns.MediaType, "", 400},
		"nothing":           {"POST", "/records", "", externaldns.MediaType, "", 400},
		"two values":        {"POST", "/records", "{} {}", externaldns.MediaType, "", 400},
		"an object":         {"POST", "/adjustendpoints", "{}", externaldns.MediaType, "", 400},
		"too large":         {"POST", "/records", `{"create": [` + strings.Repeat(" ", 1<<17) + `]}`, externaldns.MediaType, "", 500},
		"another type":      {"POST", "/records", "{}", "text/plain", "", 415},
		"another version":   {"POST", "/records", "{}", "application/external.dns.webhook+json;version=2", "", 415},
		"no type at all":    {"POST", "/records", "{}", "", "", 204},
		"plain JSON":        {"POST", "/records", "{}", "application/json", "", 204},
		"wants another":     {"GET", "/records", "", "", "text/html", 406},
		"wants version 2":   {"GET", "/", "", "", "application/external.dns.webhook+json;version=2", 406},
		"wants anything":    {"GET", "/", "", "", "*/*", 200},
		"a wrong method":    {"DELETE", "/records", "", "", "", 405},
		"another method":    {"GET", "/adjustendpoints", "", "", "", 405},
		"an unknown path":   {"GET", "/nothing", "", "", "", 404},
		"below a path":      {"GET", "/records/1", "", "", "", 404},
		"HEAD of a GET":     {"HEAD", "/", "", "", "", 200},
		"null":              {"POST", "/records", "null", externaldns.MediaType, "", 204},
		"null endpoints":    {"POST", "/adjustendpoints", "null", externaldns.MediaType, "", 200},
		"endpoints of null": {"POST", "/records", `{"create": [null]}`, externaldns.MediaType, "", 204},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &domain{}
			w := do(t, newHandler(t, d, nil), test.method, test.path, test.body, "Content-Type", test.contentType, "Accept", test.accept)
			if w.Code != test.status {
				t.Errorf("%d %s, want %d", w.Code, w.Body, test.status)
			}
			if w.Code >= 400 && len(d.applied) > 0 {
				t.Error("it reached the domain")
			}
			if w.Code >= 400 && w.Code != 404 && (!json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), `"error"`)) {
				t.Errorf("the body has no error: %s", w.Body)
			}
		})
	}
}

// An apply that is stopped at the end of the process still tells ExternalDNS, with a soft error, how far it came.
func TestAStoppedApplyAnswers(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	d := &domain{applying: func(ctx context.Context) error {
		stop()
		<-ctx.Done()
		return fmt.Errorf("1 of 2 changes done: %w", ctx.Err())
	}}
	w := httptest.NewRecorder()
	newHandler(t, d, nil).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/records", strings.NewReader("{}")))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "1 of 2 changes done") {
		t.Errorf("%d %s, want 503", w.Code, w.Body)
	}
}

// Whatever is posted: no panic, a status of the protocol, and a 4xx writes nothing.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		"", "{", "null", "[]", "{}", `{"create":[{"dnsName":"a.org","recordType":"A","targets":["192.0.2.1"]}]}`, `[{"dnsName":"a.org","recordType":"TXT","targets":["\"x\" \"y\""]}]`,
		`{"create":[null],"updateOld":[{}],"delete":[{"labels":{"ownedRecord":"x"}}]}`, `[{"dnsName":"\u0000","recordTTL":-1,"targets":[null]}]`,
		`[{"recordTTL":9223372036854775807,"dnsName":"é","recordType":"CNAME","targets":[""]}]`, `{"create":[{"providerSpecific":[{"name":"x"}]}]}`,
		`{"updateOld":[{"dnsName":"a.org"}],"updateNew":[]}`, `{"create":[{"recordTTL":1.5}]}`, `{"create":[{"recordTTL":"300"}]}`, `{"create":"x"}`, `{"create":[{"targets":"x"}]}`,
		`[{"dnsName":"a.org","recordType":"LOC","targets":["x"],"labels":null}]`, `[{"dnsName":"_sip._tcp.a.org","recordType":"SRV","targets":["1 2 3 b.org."]}]`, `{} {}`, `{"create":[]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		d := &domain{}
		h := newHandler(t, d, nil)
		for _, path := range []string{"/records", "/adjustendpoints"} {
			w := do(t, h, http.MethodPost, path, body, "Content-Type", externaldns.MediaType)
			switch w.Code {
			case http.StatusOK, http.StatusNoContent:
			case http.StatusBadRequest, http.StatusInternalServerError:
				if path == "/records" && len(d.applied) > 0 {
					t.Fatal("a refused body reached the domain")
				}
			default:
				t.Fatalf("POST %s: %d %s", path, w.Code, w.Body)
			}
			if w.Code == http.StatusOK {
				again := do(t, h, http.MethodPost, path, w.Body.String(), "Content-Type", externaldns.MediaType)
				if !bytes.Equal(again.Body.Bytes(), w.Body.Bytes()) {
					t.Fatalf("adjusting again gives\n%s\nand not\n%s", again.Body, w.Body)
				}
			}
		}
	})
}
