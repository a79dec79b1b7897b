package openstack

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// onceKey marks contexts, see Once.
type onceKey struct{}

// Once returns a context under which calls are sent once and not repeated, but for the one with a new token. It is for callers who make many
// calls at once and repeat them themselves, at a pace that suits them all: only they can leave a busy service alone.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// mayRepeat says whether a call may be sent again after a wait.
func mayRepeat(ctx context.Context, wait time.Duration) bool {
	return ctx.Value(onceKey{}) == nil && fits(ctx, wait)
}

// retryPolicy says which failed attempts are repeated, and when.
type retryPolicy struct {
	attempts int           // attempts in all
	first    time.Duration // the first wait; it doubles each time
	longest  time.Duration // the longest wait of our own; Retry-After may ask for more
	patience time.Duration // the longest Retry-After that is obeyed; a longer one is left to the caller
	jitter   func() float64
}

func defaultRetryPolicy() retryPolicy {
	return retryPolicy{attempts: 5, first: 200 * time.Millisecond, longest: 5 * time.Second, patience: 30 * time.Second, jitter: rand.Float64}
}

// outcome is how one attempt ended.
type outcome struct {
	status     int    // 0: no answer
	retryAfter string // the header, if any
	unsent     bool   // the request certainly did not reach the service (no connection)
	final      bool   // trying again can't help: the certificate is wrong
	now        time.Time
}

// decide says whether attempt number n (from 1) is followed by another, and after how long.
//
// What the service may have acted upon is repeated only when the call is idempotent. 429, and a connection that could not be
// made, say that it has not acted, so those are repeated for every call.
func (p retryPolicy) decide(n int, idempotent bool, o outcome) (wait time.Duration, again bool) {
	if n >= p.attempts || o.final {
		return 0, false
	}
	switch {
	case o.status == http.StatusTooManyRequests, o.unsent:
	case !idempotent:
		return 0, false
	case o.status == 0, o.status == http.StatusRequestTimeout, o.status == 498:
	case o.status >= http.StatusInternalServerError && o.status != http.StatusNotImplemented && o.status != http.StatusHTTPVersionNotSupported:
	default:
		return 0, false
	}
	wait = min(p.first<<(n-1), p.longest)
	wait = wait/2 + time.Duration(float64(wait/2)*p.jitter()) // at least half of it, so that a service gets its pause
	if asked, ok := parseRetryAfter(o.retryAfter, o.now); ok {
		if asked > p.patience {
			return 0, false
		}
		wait = max(wait, asked)
	}
	return wait, true
}

// parseRetryAfter reads both forms of the header (RFC 9110, 10.2.3): seconds, or a date.
func parseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if (err == nil || errors.Is(err, strconv.ErrRange)) && !math.IsNaN(seconds) {
		const most = 24 * 60 * 60 // so that the product can't overflow; it is far over any patience
		return time.Duration(min(max(seconds, 0), most) * float64(time.Second)), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}

// idempotent says whether sending a request twice has the effect of sending it once. A login makes one more token, which
// harms nobody.
func idempotent(r *http.Request, service ServiceType) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	}
	return service == Identity
}
