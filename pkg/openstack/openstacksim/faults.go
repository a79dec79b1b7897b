package openstacksim

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Held is the duration of what ends when it is told to, however fast or slow the machine is: a call when its fault is removed, a step
// of Manila's with Release.
const Held = time.Duration(math.MaxInt64)

// Fault is something that goes wrong with the calls it matches. Empty match fields match everything.
type Fault struct {
	Service string `json:"service"` // ServiceKeystone, …
	Method  string `json:"method"`
	Path    string `json:"path"` // a regular expression on the path below the service's prefix

	// Skip lets that many matching calls through first; Count is how many are hit after that, 0 for all.
	Skip  int `json:"skip"`
	Count int `json:"count"`

	// Delay holds the call before anything else happens; Held is until the fault is removed.
	Delay time.Duration `json:"delay_ns"`
	// Status answers with this code, Header and Body instead of handling the call; an empty Body is the proxy's kind of HTML.
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	// Drop closes the connection before the service acts, DropAfter once it has acted: the client can't tell them apart.
	Drop      bool `json:"drop"`
	DropAfter bool `json:"drop_after"`
	// Before is called before the service acts, and it acts when that has returned, even if the client has gone by then.
	Before func() `json:"-"`
	// Then is called when the service has acted, and the answer waits for its return: to kill the client at that very moment.
	Then func() `json:"-"`

	removed chan struct{} // closed when it is
}

func (f Fault) check() error {
	_, err := regexp.Compile(f.Path)
	return err
}

// Faults are the faults in force. The first one that matches a call hits it. Its methods are safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	active []*activeFault
}

type activeFault struct {
	Fault
	path *regexp.Regexp
	seen int
}

// Add puts a fault in force, behind those that are there, and returns how to remove it. It panics on a bad Path: tests write it.
func (f *Faults) Add(fault Fault) (remove func()) {
	fault.removed = make(chan struct{})
	a := &activeFault{Fault: fault, path: regexp.MustCompile(fault.Path)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = append(f.active, a)
	return func() { f.remove(func(x *activeFault) bool { return x == a }) }
}

// Clear ends all faults.
func (f *Faults) Clear() { f.remove(func(*activeFault) bool { return true }) }

func (f *Faults) remove(which func(*activeFault) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = slices.DeleteFunc(f.active, func(a *activeFault) bool {
		if !which(a) {
			return false
		}
		close(a.removed)
		return true
	})
}

func (f *Faults) match(service, method, path string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.active {
		if (a.Service != "" && a.Service != service) || (a.Method != "" && a.Method != method) || !a.path.MatchString(path) {
			continue
		}
		a.seen++
		if a.seen > a.Skip && (a.Count == 0 || a.seen <= a.Skip+a.Count) {
			return a.Fault, true
		}
	}
	return Fault{}, false
}

// before keeps what the client has sent, which may die meanwhile.
func (f Fault) before(r *http.Request) {
	if f.Before == nil {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the handler meets the same
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.Before()
}

func (f Fault) acted() {
	if f.Then != nil {
		f.Then()
	}
}

func (f Fault) answer(w *reply) {
	body, contentType := f.Body, "application/json"
	if body == "" {
		body, contentType = "<html><body><h1>"+http.StatusText(f.Status)+"</h1></body></html>", "text/html"
	}
	w.raw(f.Status, contentType, []byte(body))
	for k, v := range f.Header { // it may be of another type
		w.header.Set(k, v)
	}
}
