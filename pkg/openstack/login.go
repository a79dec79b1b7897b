package openstack

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"mooring/pkg/poll"
)

const (
	loginTimeout = 30 * time.Second
	// loginPatience is how long a login may go unanswered before there is a second one beside it. That one may twice as long before there is a third.
	loginPatience = 750 * time.Millisecond
	// loginsAtOnce bounds them: each costs Keystone the hashing of a password, and a wrong password counts each time.
	loginsAtOnce = 3
	// probePatience is how long Keystone may take to say that it is there, and probePause how long it is not asked again after that.
	probePatience = 750 * time.Millisecond
	probePause    = 250 * time.Millisecond
)

// login makes the session's token. It is for one caller at a time.
func (s *Session) login() (*token, error) {
	// another login may have ended since the caller saw that there is none
	old, renew, err := s.held(time.Now())
	if !renew {
		return old, err
	}
	ctx, cancel := context.WithTimeout(s.life, loginTimeout)
	defer cancel()
	ask := s.askKeystone
	if old == nil { // else nobody waits for the new one
		ask = func(ctx context.Context) (*token, error) {
			return unstuck(ctx, s.options.patience, s.askKeystone, s.answers)
		}
	}
	t, err := ask(ctx)
	s.options.Metrics.login(err)
	if err != nil {
		err = s.loginError(err)
		s.options.Logger.DebugContext(ctx, "login failed", slog.Any("credential", &s.credential), slog.Any("error", err))
	} else {
		s.options.Logger.DebugContext(ctx, "logged in", slog.Any("credential", &s.credential), slog.Time("expires", t.expires))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = nil
	if err != nil {
		if errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) {
			s.refused, s.until = err, time.Now().Add(refusalHold)
		}
		return nil, err
	}
	s.token = t
	return t, nil
}

// unstuck logs in, and does so again beside a login that hangs: somebody took its connection and never answers, though Keystone is back
// since. That Keystone is there is asked without a login first, so that one that is away or overloaded gets the one login only. The first
// to end counts, the others are ended.
func unstuck(ctx context.Context, patience time.Duration, login func(context.Context) (*token, error), answers func(context.Context) bool) (*token, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		token *token
		err   error
	}
	results := make(chan result, loginsAtOnce)
	begin := func() {
		t, err := login(ctx)
		results <- result{t, err}
	}
	go begin()
	go func() {
		pause := patience
		for logins := 1; logins < loginsAtOnce && poll.Sleep(ctx, pause) == nil; {
			pause = probePause
			if answers(ctx) {
				go begin()
				pause = patience << logins
				logins++
			}
		}
	}()
	first := <-results
	return first.token, first.err
}

// answers says whether Keystone is there: it tells its version without a login, and at little cost.
func (s *Session) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(Once(ctx), probePatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.credential.AuthURL+"/", nil)
	if err != nil {
		return false
	}
	req.Header.Set("User-Agent", s.options.UserAgent)
	resp, err := s.identity(req.URL).RoundTrip(req) //nolint:bodyclose // discard closes it
	if err != nil {
		return false
	}
	discard(resp)
	return resp.StatusCode < http.StatusInternalServerError
}

// identity carries calls to Keystone without a token.
func (s *Session) identity(endpoint *url.URL) *serviceTransport {
	t := s.transport(Identity, endpoint)
	t.token, t.reject, t.base = nil, nil, s.keystone
	return t
}

func (s *Session) askKeystone(ctx context.Context) (*token, error) {
	endpoint, err := url.Parse(s.credential.AuthURL + "/")
	if err != nil {
		return nil, err
	}
	transport := s.identity(endpoint)
	transport.secrets = []string{s.credential.Password, s.credential.ApplicationCredentialSecret, s.credential.Token}
	provider := &gophercloud.ProviderClient{HTTPClient: http.Client{Transport: transport, CheckRedirect: followRedirect}}
	provider.UserAgent.Prepend(s.options.UserAgent)
	client := &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: endpoint.String(), Type: string(Identity)}

	options := s.credential.authOptions()
	if options.TokenID != "" && options.Scope == nil { // the token's own scope will do: ask what it is
		provider.TokenID = options.TokenID
		result := tokens.Get(ctx, client, options.TokenID)
		return extract(result, result.Header, options.TokenID)
	}
	result := tokens.Create(ctx, client, options)
	return extract(result, result.Header, "")
}
