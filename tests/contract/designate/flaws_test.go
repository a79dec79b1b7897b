package designate_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"

	"mooring/tests/contract/designate/conformance"
	"mooring/tests/contract/target"
)

// A flaw makes a bad provider of ours: each is one that a provider has had, or easily has.
type flaw struct {
	name  string
	cases []string // that must catch it
	// before sees a request's path and body, and may answer it itself; changes, records and adjusted spoil what is written, shown and adjusted.
	before            func(w http.ResponseWriter, r *http.Request, body []byte) (answered bool)
	changes           func(c *plan.Changes)
	records, adjusted func(list []*endpoint.Endpoint) []*endpoint.Endpoint
	after             func(r *http.Request, w *httptest.ResponseRecorder)
	extra             func(zone string) *endpoint.Endpoint // is shown besides
}

// provider is a handler with the flaw.
func (f flaw) provider(t *testing.T, good http.Handler) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if f.before != nil && f.before(w, r, body) {
			return
		}
		var changes plan.Changes
		if f.changes != nil && r.Method == http.MethodPost && r.URL.Path == "/records" && json.Unmarshal(body, &changes) == nil {
			f.changes(&changes)
			body = encode(t, &changes)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		good.ServeHTTP(answer, r)
		spoil := map[string]func([]*endpoint.Endpoint) []*endpoint.Endpoint{"GET /records": f.records, "POST /adjustendpoints": f.adjusted}[r.Method+" "+r.URL.Path]
		var list []*endpoint.Endpoint
		if spoil != nil && json.Unmarshal(answer.Body.Bytes(), &list) == nil {
			answer.Body = bytes.NewBuffer(encode(t, spoil(list)))
		}
		if f.after != nil {
			f.after(r, answer)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // the client may have gone
	})
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return body
}

func every(change func(e *endpoint.Endpoint)) func([]*endpoint.Endpoint) []*endpoint.Endpoint {
	return func(list []*endpoint.Endpoint) []*endpoint.Endpoint {
		for _, e := range list {
			change(e)
		}
		return list
	}
}

func without(drop func(e *endpoint.Endpoint) bool) func([]*endpoint.Endpoint) []*endpoint.Endpoint {
	return func(list []*endpoint.Endpoint) []*endpoint.Endpoint { return slices.DeleteFunc(list, drop) }
}

func isText(e *endpoint.Endpoint) bool { return e.RecordType == "TXT" }

// inChanges makes a change of an endpoint one of all that is to be written.
func inChanges(change func([]*endpoint.Endpoint) []*endpoint.Endpoint) func(*plan.Changes) {
	return func(c *plan.Changes) { c.Create, c.UpdateNew = change(c.Create), change(c.UpdateNew) }
}

// refusing answers requests to POST /records that have a text in them.
func refusing(status int, text string) func(http.ResponseWriter, *http.Request, []byte) bool {
	return func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if r.Method != http.MethodPost || r.URL.Path != "/records" || !bytes.Contains(body, []byte(text)) {
			return false
		}
		http.Error(w, "no", status)
		return true
	}
}

func flaws() []flaw {
	list := []flaw{
		{name: "loses TXT records", cases: []string{"ownership marks", "TXT"}, changes: inChanges(without(isText))},
		{name: "says application/json", cases: []string{"media type and statuses"}, after: func(_ *http.Request, w *httptest.ResponseRecorder) {
			w.Header().Set("Content-Type", "application/json")
		}},
		{name: "adds a blank to the media type", cases: []string{"media type and statuses"}, after: func(_ *http.Request, w *httptest.ResponseRecorder) {
			w.Header().Set("Content-Type", "application/external.dns.webhook+json; version=1")
		}},
		{name: "answers 200 after writing", cases: []string{"media type and statuses", "A"}, after: func(_ *http.Request, w *httptest.ResponseRecorder) {
			if w.Code == http.StatusNoContent {
				w.Code = http.StatusOK
			}
		}},
		{name: "has both forms of the filter", cases: []string{"domain filter"}, after: func(r *http.Request, w *httptest.ResponseRecorder) {
			if r.URL.Path == "/" {
				w.Body = bytes.NewBufferString(`{"include": ["test"], "regexInclude": "x"}`)
			}
		}},
		{name: "has a filter of its own", cases: []string{"domain filter"}, after: func(r *http.Request, w *httptest.ResponseRecorder) {
			if r.URL.Path == "/" {
				w.Body = bytes.NewBufferString(`{}`)
			}
		}},
		{name: "refuses names outside with 400", cases: []string{"names outside every zone"}, before: refusing(http.StatusBadRequest, "nobodys-zone")},
		{name: "fails as a whole for names outside", cases: []string{"names outside every zone"}, before: refusing(http.StatusInternalServerError, "nobodys-zone")},
		{name: "fails as a whole for one bad record", cases: []string{"one bad record does not hold up the others"}, before: refusing(http.StatusInternalServerError, "not a name")},
		{name: "answers 422 for a bad record", cases: []string{"one bad record does not hold up the others"}, before: refusing(http.StatusUnprocessableEntity, "not a name")},
		{name: "passes over a bad record in silence", cases: []string{"one bad record does not hold up the others"}, changes: inChanges(without(func(e *endpoint.Endpoint) bool { return slices.Contains(e.Targets, "not a name") }))},
		{name: "takes anything for JSON", cases: []string{"malformed bodies are refused with a reason"}, before: func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if r.Method != http.MethodPost || json.Valid(body) {
				return false
			}
			w.WriteHeader(http.StatusNoContent)
			return true
		}},
		{name: "gives no reason", cases: []string{"malformed bodies are refused with a reason"}, after: func(_ *http.Request, w *httptest.ResponseRecorder) {
			if w.Code >= http.StatusBadRequest {
				w.Body = &bytes.Buffer{}
			}
		}},
		{name: "wants labels", cases: []string{"endpoints without labels"}, before: func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if r.Method != http.MethodPost || !bytes.Contains(body, []byte("dnsName")) || bytes.Contains(body, []byte("labels")) {
				return false
			}
			http.Error(w, "assignment to entry in nil map", http.StatusInternalServerError)
			return true
		}},
		{name: "adjusts away what it has no zone for", cases: []string{"adjusting drops no endpoint"}, adjusted: without(func(e *endpoint.Endpoint) bool { return strings.HasSuffix(e.DNSName, ".invalid") })},
		{name: "keeps one target", cases: []string{"A", "several targets, in another order"}, changes: inChanges(every(func(e *endpoint.Endpoint) { e.Targets = e.Targets[:1] }))},
		{name: "keeps old targets", cases: []string{"A"}, changes: func(c *plan.Changes) {
			for i, e := range c.UpdateNew {
				if e.RecordType == "A" {
					e.Targets = append(e.Targets, c.UpdateOld[i].Targets...)
				}
			}
		}},
		{name: "has no TTL", cases: []string{"TTL", "A"}, changes: inChanges(every(func(e *endpoint.Endpoint) { e.RecordTTL = 0 }))},
		{name: "shows a TTL of its own", cases: []string{"TTL"}, records: every(func(e *endpoint.Endpoint) { e.RecordTTL = 3600 })},
		{name: "shows names with a final dot", cases: []string{"ownership marks"}, records: every(func(e *endpoint.Endpoint) { e.DNSName += "." })},
		{name: "shows IPv6 spelt out, once more", cases: []string{"odd forms of the same", "AAAA beside A"}, records: every(func(e *endpoint.Endpoint) {
			if e.RecordType == "AAAA" {
				e.Targets = append(e.Targets, "2001:0db8:0:0:0:0:0:1")
			}
		})},
		{name: "knows no AAAA", cases: []string{"AAAA beside A", "no update loop"}, records: without(func(e *endpoint.Endpoint) bool { return e.RecordType == "AAAA" })},
		{name: "keeps properties", cases: []string{"provider-specific properties"}, adjusted: every(func(e *endpoint.Endpoint) { e.SetProviderSpecificProperty("aws/weight", "10") })},
		{name: "quotes texts once more", cases: []string{"TXT", "ownership marks"}, records: every(func(e *endpoint.Endpoint) {
			if isText(e) {
				e.Targets[0] = `"\"` + e.Targets[0] + `\""`
			}
		})},
		{name: "cuts texts", cases: []string{"TXT longer than 255 bytes"}, changes: inChanges(every(func(e *endpoint.Endpoint) {
			if isText(e) && len(e.Targets[0]) > 255 {
				e.Targets[0] = e.Targets[0][:255]
			}
		}))},
		{name: "loses backslashes", cases: []string{"TXT with quotes, semicolons and backslashes"}, changes: inChanges(every(func(e *endpoint.Endpoint) {
			if isText(e) && !strings.HasPrefix(e.Targets[0], `"`) {
				e.Targets[0] = strings.ReplaceAll(e.Targets[0], `\`, "")
			}
		}))},
		{name: "refuses wildcards", cases: []string{"wildcard"}, before: refusing(http.StatusBadRequest, `"*.`)},
		{name: "deletes all types of a name", cases: []string{"AAAA beside A"}, changes: func(c *plan.Changes) {
			for _, e := range c.Delete {
				if e.RecordType == "A" {
					c.UpdateOld, c.UpdateNew = nil, nil
					c.Delete = append(c.Delete, endpoint.NewEndpoint(e.DNSName, "AAAA", "2001:db8::1"))
				}
			}
		}},
		{name: "deletes nothing", cases: []string{"A", "policy sync deletes, upsert-only does not"}, changes: func(c *plan.Changes) { c.Delete = nil }},
		{name: "keeps the A that a CNAME takes the place of", cases: []string{"A becomes CNAME and back"}, changes: func(c *plan.Changes) {
			if slices.ContainsFunc(c.Create, func(e *endpoint.Endpoint) bool { return e.RecordType == "CNAME" }) {
				c.Delete = nil
			}
		}},
		{name: "shows no marks of others", cases: []string{"two owners in one zone", "overlapping syncs"}, records: every(func(e *endpoint.Endpoint) {
			if isText(e) && strings.HasPrefix(e.Targets[0], "heritage=external-dns,external-dns/owner=case") {
				e.Targets[0] = "heritage=external-dns,external-dns/owner=" + strings.SplitN(strings.TrimPrefix(e.Targets[0], "heritage=external-dns,external-dns/owner="), "w", 2)[0][:6]
			}
		})},
		{name: "takes everything for its own", cases: []string{"foreign records"}, records: func(list []*endpoint.Endpoint) []*endpoint.Endpoint {
			for _, e := range list {
				if owner, _, ok := strings.Cut(e.DNSName[strings.LastIndex(e.DNSName, "-case")+1:], "."); ok && strings.HasPrefix(owner, "case") && !isText(e) {
					e.Labels = endpoint.Labels{endpoint.OwnerLabelKey: owner}
				}
			}
			return list
		}},
		{name: "takes one request at a time", cases: []string{"overlapping syncs"}, before: oneAtATime()},
		stuck(),
		{name: "drops what is not ASCII", cases: []string{"Unicode names"}, changes: inChanges(without(func(e *endpoint.Endpoint) bool { return strings.Contains(e.DNSName, "xn--") }))},
		{name: "knows only one zone", cases: []string{"child zone"}, before: refusing(http.StatusBadRequest, ".sub.")},
		{name: "spoils what is encrypted", cases: []string{"encrypted marks"}, changes: inChanges(every(func(e *endpoint.Endpoint) {
			if isText(e) && !strings.Contains(e.Targets[0], "heritage") {
				e.Targets[0] = strings.ToLower(e.Targets[0])
			}
		}))},
		{name: "loses every hundredth name", cases: []string{"many names"}, changes: inChanges(without(func(e *endpoint.Endpoint) bool { return strings.HasPrefix(e.DNSName, "n099-") }))},
		{name: "shows the zone's own name servers", cases: []string{"zone apex"}, extra: func(zone string) *endpoint.Endpoint { return endpoint.NewEndpoint(zone, "NS", "ns1.example.net") }},
	}
	for recordType, name := range map[string]string{"CNAME": "CNAME", "MX": "MX", "SRV": "SRV", "NAPTR": "NAPTR", "NS": "NS of a delegation", "PTR": "PTR"} {
		list = append(list, flaw{name: "knows no " + recordType, cases: []string{name}, changes: inChanges(without(func(e *endpoint.Endpoint) bool { return e.RecordType == recordType }))})
	}
	return list
}

// stuck answers nothing good any more once a client has gone before its answer.
func stuck() flaw {
	var gone atomic.Bool
	return flaw{
		name: "is stuck when a client has gone", cases: []string{"a client that gives up in the middle"},
		before: func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			if gone.Load() {
				http.Error(w, "stuck", http.StatusConflict)
			}
			return gone.Load()
		},
		after: func(r *http.Request, _ *httptest.ResponseRecorder) {
			gone.Store(gone.Load() || r.Context().Err() != nil)
		},
	}
}

// oneAtATime refuses what comes while it works, with a status that is no soft error.
func oneAtATime() func(http.ResponseWriter, *http.Request, []byte) bool {
	var mu sync.Mutex
	busy := false
	return func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method != http.MethodPost {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if busy = !busy; busy {
			return false
		}
		http.Error(w, "busy", http.StatusConflict)
		return true
	}
}

// Every flaw is caught, by the case that is named for it. So the suite can fail, and says where.
func TestConformanceCatchesFlaws(t *testing.T) {
	t.Parallel()
	if os.Getenv(target.Variable) != "" || os.Getenv(urlVariable) != "" {
		t.Skip("the suite itself is tested, which needs no real cloud")
	}
	caught := map[string]bool{}
	for _, f := range flaws() {
		for _, name := range f.cases {
			caught[name] = true
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			ours := openProvider(t)
			p := ours.Provider
			if f.extra != nil {
				f.records = func(list []*endpoint.Endpoint) []*endpoint.Endpoint { return append(list, f.extra(p.Zone)) }
			}
			p.URL = serve(t, f.provider(t, ours.handler))
			p.Patience, p.Interval = 0, time.Millisecond
			for _, name := range f.cases {
				r := conformance.Check(t.Context(), p, caseOf(t, name))
				if r.Verdict() != "failed" {
					t.Errorf("case %q has %s", name, r.Verdict())
				} else {
					t.Logf("%s: %s", name, r.Failures[0])
				}
			}
		})
	}
	for _, c := range conformance.Cases() {
		if !caught[c.Name] {
			t.Errorf("no flaw shows that the case %q can fail", c.Name)
		}
	}
}
