package openstack

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

func TestRetryPolicy(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := defaultRetryPolicy()
	p.jitter = func() float64 { return 1 }
	for name, tc := range map[string]struct {
		n          int
		idempotent bool
		o          outcome
		wait       time.Duration // -1: no retry
	}{
		"503 of a read":                      {1, true, outcome{status: 503}, 200 * time.Millisecond},
		"503 of a write":                     {1, false, outcome{status: 503}, -1},
		"the wait doubles":                   {3, true, outcome{status: 500}, 800 * time.Millisecond},
		"attempts are bounded":               {5, true, outcome{status: 503}, -1},
		"429 of a write":                     {1, false, outcome{status: 429}, 200 * time.Millisecond},
		"Retry-After in seconds":             {1, false, outcome{status: 429, retryAfter: "7"}, 7 * time.Second},
		"Retry-After as a date":              {1, true, outcome{status: 503, retryAfter: "Fri, 02 Jan 2026 03:04:15 GMT"}, 10 * time.Second},
		"Retry-After in the past":            {1, true, outcome{status: 503, retryAfter: "Fri, 02 Jan 2026 03:00:00 GMT"}, 200 * time.Millisecond},
		"Retry-After beyond patience":        {1, true, outcome{status: 429, retryAfter: "3600"}, -1},
		"Retry-After that is none":           {1, true, outcome{status: 429, retryAfter: "soon"}, 200 * time.Millisecond},
		"a negative Retry-After":             {1, true, outcome{status: 429, retryAfter: "-5"}, 200 * time.Millisecond},
		"Retry-After NaN":                    {1, true, outcome{status: 429, retryAfter: "NaN"}, 200 * time.Millisecond},
		"Retry-After for ever":               {1, true, outcome{status: 429, retryAfter: "Inf"}, -1},
		"a huge Retry-After":                 {1, true, outcome{status: 429, retryAfter: "1e300"}, -1},
		"a Retry-After beyond all floats":    {1, true, outcome{status: 429, retryAfter: "1e400"}, -1},
		"a Retry-After in the year 9999":     {1, true, outcome{status: 429, retryAfter: "Fri, 31 Dec 9999 23:59:59 GMT"}, -1},
		"a dropped connection, read":         {1, true, outcome{}, 200 * time.Millisecond},
		"a dropped connection, write":        {1, false, outcome{}, -1},
		"no connection, write":               {1, false, outcome{unsent: true}, 200 * time.Millisecond},
		"404":                                {1, true, outcome{status: 404}, -1},
		"401 is the session's affair":        {1, true, outcome{status: 401}, -1},
		"409":                                {1, true, outcome{status: 409}, -1},
		"413 is a quota, waiting is no help": {1, true, outcome{status: 413}, -1},
		"501 will not get better":            {1, true, outcome{status: 501}, -1},
		"a wrong certificate":                {1, true, outcome{final: true}, -1},
		"200":                                {1, true, outcome{status: 200}, -1},
	} {
		tc.o.now = now
		wait, again := p.decide(tc.n, tc.idempotent, tc.o)
		if !again {
			wait = -1
		}
		if wait != tc.wait {
			t.Errorf("%s: wait %v, want %v", name, wait, tc.wait)
		}
	}
}

func TestJitterLeavesHalfOfTheWait(t *testing.T) {
	t.Parallel()
	p := defaultRetryPolicy()
	for range 1000 {
		wait, again := p.decide(2, true, outcome{status: 503})
		if !again || wait < 200*time.Millisecond || wait > 400*time.Millisecond {
			t.Fatalf("wait %v, %v", wait, again)
		}
	}
}

func TestIdempotent(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{"GET": true, "HEAD": true, "PUT": true, "DELETE": true, "POST": false, "PATCH": false} {
		if got := idempotent(&http.Request{Method: method}, SharedFileSystem); got != want {
			t.Errorf("%s: %v", method, got)
		}
	}
	if !idempotent(&http.Request{Method: http.MethodPost}, Identity) {
		t.Error("a login is not repeated")
	}
}

func TestOperationIsBounded(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/share/v2/shares": "GET shares",
		"/share/v2/shares/5f0a9a5c-7f5e-4f7e-8d1d-0a4d3b1a2c3d/export_locations": "GET shares/{id}/export_locations",
		"/share/v2/": "GET ",
		"/share/v2/zones/5f0a9a5c7f5e4f7e8d1d0a4d3b1a2c3d/recordsets/":             "GET zones/{id}/recordsets",
		"/share/v2/reverse/floatingips/RegionOne:5f0a9a5c-7f5e-4f7e-8d1d-0a4d3b1a": "GET reverse/floatingips/{id}",
	} {
		if got := operation(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}}, "/share/v2/"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
