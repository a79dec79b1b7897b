package kubernetestest

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Token is what the server takes as a login.
const Token = "a-token-of-a-service-account" //nolint:gosec // it opens a test server alone

// Object is a thing, as its JSON has it.
type Object = map[string]any

// Server is one running server. Its methods are safe for concurrent use.
type Server struct {
	// URL is its address.
	URL string

	http *httptest.Server

	mu       sync.Mutex
	groups   []string
	objects  map[string]Object // by path
	version  int
	lists    map[string][]Object // what a continue token goes on with
	denied   map[string]bool     // "verb resource"
	used     map[string]bool     // "verb resource"
	faults   []*Fault
	calls    []string // "METHOD path"
	revision int
}

// Fault spoils calls.
type Fault struct {
	// Method and Path pick calls; Path is a regular expression, empty ones fit all.
	Method, Path string
	// Skip calls are left alone first, then Count are spoiled; 0: one.
	Skip, Count int
	// Status is answered instead, with Body if there is one. DropAfter acts, and breaks the connection then; Drop only breaks it.
	Status          int
	Body            string
	RetryAfter      int // seconds
	Drop, DropAfter bool
}

// New starts a server, which ends with the test.
func New(t *testing.T) *Server {
	t.Helper()
	s := &Server{
		groups: []string{"storage.k8s.io", "snapshot.storage.k8s.io"}, objects: map[string]Object{}, lists: map[string][]Object{}, denied: map[string]bool{}, used: map[string]bool{},
	}
	s.http = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	s.URL = s.http.URL
	return s
}

// CA is the server's certificate, PEM.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// Kubeconfig writes a kubeconfig into a directory and returns its path.
func (s *Server) Kubeconfig(t *testing.T, dir string) string {
	t.Helper()
	ca := filepath.Join(dir, "ca.crt")
	file := filepath.Join(dir, "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority":"ca.crt"}}],
"users":[{"name":"u","user":{"token":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`, s.URL, Token)
	for path, content := range map[string][]byte{ca: s.CA(), file: []byte(config)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// Add puts things into a collection, such as /api/v1/nodes.
func (s *Server) Add(collection string, objects ...Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range objects {
		s.store(collection+"/"+nameOf(o), o)
	}
}

// Remove takes a thing away.
func (s *Server) Remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, path)
}

// Get reads a thing; nil when there is none.
func (s *Server) Get(path string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.objects[path])
}

// Names are those of the things in a collection, in order.
func (s *Server) Names(collection string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, o := range s.in(collection) {
		names = append(names, nameOf(o))
	}
	return names
}

// Deny takes a right away, such as "list persistentvolumes".
func (s *Server) Deny(rights ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, right := range rights {
		s.denied[right] = true
	}
}

// Used are the rights that calls have needed so far, in order.
func (s *Server) Used() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.used))
}

// NoSnapshots takes the snapshot CRDs away.
func (s *Server) NoSnapshots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = []string{"storage.k8s.io"}
}

// Expire ends all lists that are under way: their continue tokens are 410 from now on.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists = map[string][]Object{}
}

// Fail adds a fault.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Count = max(f.Count, 1)
	s.faults = append(s.faults, &f)
}

// Calls are all calls so far, as "METHOD path".
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func (s *Server) store(path string, o Object) {
	o = clone(o)
	s.version++
	m, _ := o["metadata"].(map[string]any)
	m["resourceVersion"] = strconv.Itoa(s.version)
	s.objects[path] = o
}

// in are the things of a collection, or of a kind in all namespaces, in the order of their paths.
func (s *Server) in(collection string) []Object {
	var out []Object
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		parent := path[:strings.LastIndex(path, "/")]
		if parent == collection || everywhere.ReplaceAllString(parent, "$1$2") == collection {
			out = append(out, s.objects[path])
		}
	}
	return out
}

var everywhere = regexp.MustCompile(`^(/.*/)namespaces/[^/]+/([^/]+)$`)

func nameOf(o Object) string {
	m, _ := o["metadata"].(map[string]any)
	name, _ := m["name"].(string)
	return name
}

// clone copies by way of JSON, so that all numbers and lists look as they do when they came over the wire.
func clone(o Object) Object {
	if o == nil {
		return nil
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var out Object
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

// fault is the next one for a call.
func (s *Server) fault(r *http.Request) *Fault {
	for _, f := range s.faults {
		if f.Count == 0 || f.Method != "" && f.Method != r.Method || !regexp.MustCompile(f.Path).MatchString(r.URL.Path) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		f.Count--
		return f
	}
	return nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	f := s.fault(r)
	switch {
	case f != nil && f.Drop:
		panic(http.ErrAbortHandler)
	case f != nil && f.Status != 0:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
		}
		if f.Body != "" {
			w.WriteHeader(f.Status)
			_, _ = io.WriteString(w, f.Body)
			return
		}
		refuse(w, f.Status, "a fault")
		return
	case r.Header.Get("Authorization") != "Bearer "+Token:
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	a := &answer{}
	s.handle(a, r)
	if f != nil && f.DropAfter {
		panic(http.ErrAbortHandler)
	}
	a.write(w)
}

// answer is what a call gets.
type answer struct {
	status int
	body   any
	text   string
}

func (a *answer) refuse(status int, message string) {
	a.status, a.body = status, statusOf(status, message)
}

func (a *answer) write(w http.ResponseWriter) {
	if a.text != "" {
		http.Error(w, a.text, a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	b, err := json.Marshal(a.body)
	if err != nil {
		panic(err) // it came as JSON
	}
	_, _ = w.Write(b) // the client may have gone
}

func refuse(w http.ResponseWriter, status int, message string) {
	a := &answer{}
	a.refuse(status, message)
	a.write(w)
}

func statusOf(status int, message string) Object {
	return Object{"kind": "Status", "apiVersion": "v1", "metadata": Object{}, "status": "Failure", "message": message, "reason": strings.ReplaceAll(http.StatusText(status), " ", ""), "code": status}
}

// now is the time of a creation.
func now() string { return time.Now().UTC().Format(time.RFC3339) }
