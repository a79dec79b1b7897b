package openstacksim

import (
	"regexp"
	"slices"
	"sync"
	"time"
)

// Call is one HTTP call that reached the cloud.
type Call struct {
	Time       time.Time     `json:"time"`
	Service    string        `json:"service"` // ServiceKeystone, …
	Method     string        `json:"method"`
	Path       string        `json:"path"` // below the service's prefix: /v2/shares/…
	Query      string        `json:"query,omitempty"`
	Status     int           `json:"status"`          // 0 when a fault dropped the connection
	Duration   time.Duration `json:"duration_ns"`     // as the server saw it
	RequestID  string        `json:"request_id"`      // of OpenStack: "req-…"
	RemoteAddr string        `json:"remote_addr"`     // the client's address: one per TCP connection
	Login      string        `json:"login,omitempty"` // for a login that succeeded: the user's name, or that of the application credential
}

// Calls is the log of a cloud's calls, oldest first. Its methods are safe for concurrent use.
type Calls struct {
	mu    sync.Mutex
	calls []Call
}

// CallFilter selects calls: empty fields match everything.
type CallFilter struct {
	Service string
	Method  string
	Path    string // a regular expression, see regexp/syntax
	Status  int
}

func (l *Calls) add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

// All returns a copy of the calls that match every filter.
func (l *Calls) All(filters ...CallFilter) []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Call
	for _, c := range l.calls {
		if !slices.ContainsFunc(filters, func(f CallFilter) bool { return !f.match(c) }) {
			out = append(out, c)
		}
	}
	return out
}

// Count is the number of calls that match every filter.
func (l *Calls) Count(filters ...CallFilter) int { return len(l.All(filters...)) }

// Logins is the number of tokens that were asked for.
func (l *Calls) Logins() int {
	return l.Count(CallFilter{Service: ServiceKeystone, Method: "POST", Path: `^/v3/auth/tokens$`})
}

// Reset forgets all calls.
func (l *Calls) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = nil
}

func (f CallFilter) match(c Call) bool {
	return (f.Service == "" || f.Service == c.Service) && (f.Method == "" || f.Method == c.Method) &&
		(f.Status == 0 || f.Status == c.Status) && (f.Path == "" || regexp.MustCompile(f.Path).MatchString(c.Path))
}
