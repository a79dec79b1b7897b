package openstack

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"mooring/pkg/poll"
)

// attemptTimeout bounds one attempt until its headers are there, and then its body. Callers with less time have their own
// deadline; this one is for those with more, so that a dead connection does not eat all of it.
const attemptTimeout = 60 * time.Second

func baseTransport(c *Credential) (*http.Transport, error) {
	tlsConfig, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   32,
		MaxConnsPerHost:       64,
		IdleConnTimeout:       90 * time.Second,
		ResponseHeaderTimeout: attemptTimeout,
		// a connection that died without a word is noticed; HTTP/2 would go on using it
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}, nil
}

// serviceTransport carries the calls to one service: token, re-login, rate budget, retries, metrics.
type serviceTransport struct {
	service  ServiceType
	endpoint *url.URL // its path is cut off metrics' labels; nil for Keystone's logins
	token    func(context.Context) (*token, error)
	reject   func(*token) bool // tells the session that the service refused this token, and asks whether to try another; nil for logins
	secrets  []string          // what a login sends, to be taken out of answers that repeat it
	limiter  *rate.Limiter
	policy   retryPolicy
	metrics  *Metrics
	logger   *slog.Logger
	base     http.RoundTripper
}

// RoundTrip sends a request with the session's token, and once more with a new one if the first is refused.
func (t *serviceTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.token == nil {
		resp, err := t.attempts(r)
		tame(resp, t.secrets)
		return resp, err
	}
	resp, used, err := t.withToken(r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && t.reject(used) {
		if again, ok := rewind(r); ok {
			discard(resp)
			resp, used, err = t.withToken(again)
		}
	}
	if used != nil {
		tame(resp, []string{used.id})
	}
	return resp, err
}

func (t *serviceTransport) withToken(r *http.Request) (*http.Response, *token, error) {
	tok, err := t.token(r.Context())
	if err != nil {
		closeBody(r)
		return nil, nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("X-Auth-Token", tok.id)
	resp, err := t.attempts(r)
	return resp, tok, err
}

// attempts sends a request until it succeeds, fails for good, or the caller's deadline would pass.
func (t *serviceTransport) attempts(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	op := operation(r, t.endpointPath())
	for n := 1; ; n++ {
		if err := t.limiter.Wait(ctx); err != nil {
			closeBody(r)
			if late := ended(ctx); late != nil {
				return nil, late
			}
			return nil, &Error{Class: ErrThrottled, Service: string(t.service), Operation: op, Message: "our own budget of calls leaves no room before the deadline", Err: err}
		}
		next, replayable := rewind(r)
		begin := time.Now()
		resp, err := t.once(r)
		o := outcome{now: time.Now(), unsent: unsent(err), final: err != nil && tlsMessage(err) != ""}
		if resp != nil {
			o.status, o.retryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
		}
		t.metrics.request(t.service, op, o.status, time.Since(begin))
		if ctx.Err() != nil && err != nil {
			return nil, ctx.Err()
		}
		failed := err != nil || o.status >= http.StatusInternalServerError || o.status == http.StatusTooManyRequests
		wait, again := t.policy.decide(n, idempotent(r, t.service), o)
		if !failed || !again || !replayable || !mayRepeat(ctx, wait) {
			return resp, err
		}
		t.logger.DebugContext(ctx, "retrying a call", slog.String("service", string(t.service)), slog.String("operation", op), slog.Int("attempt", n),
			slog.Int("status", o.status), slog.Duration("wait", wait), slog.Any("error", err))
		t.metrics.retry(t.service)
		discard(resp)
		if err := poll.Sleep(ctx, wait); err != nil {
			closeBody(next)
			return nil, err
		}
		r = next
	}
}

func (t *serviceTransport) endpointPath() string {
	if t.endpoint == nil {
		return ""
	}
	return t.endpoint.Path
}

// once is one attempt under its own timeout, which goes on until the body is read.
func (t *serviceTransport) once(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), attemptTimeout)
	resp, err := t.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &cancelBody{ReadCloser: resp.Body, cancel: cancel, left: maxBody}
	return resp, nil
}

// cancelBody is a body whose end is the end of its attempt. It has at most maxBody bytes.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
	left   int64
}

func (b *cancelBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongAnswer
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// rewind makes the request that can be sent after r has been. A body that can't be had again makes that impossible.
func rewind(r *http.Request) (*http.Request, bool) {
	next := r.Clone(r.Context())
	if r.Body == nil || r.Body == http.NoBody {
		return next, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	next.Body = body
	return next, true
}

// unsent says whether an attempt failed before anything was sent.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// ended is the context's error. Its deadline may have passed a moment before the context says so.
func ended(ctx context.Context) error {
	if ctx.Err() == nil && !fits(ctx, 0) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// fits says whether a wait leaves the caller any time.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > wait
}

func closeBody(r *http.Request) {
	if r != nil && r.Body != nil {
		_ = r.Body.Close()
	}
}
