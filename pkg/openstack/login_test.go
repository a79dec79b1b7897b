package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/poll"
)

// TestUnstuck counts the logins that different Keystones see, and tells when the first one ends.
func TestUnstuck(t *testing.T) {
	t.Parallel()
	const never = 24 * time.Hour
	refused := errors.New("refused")
	for name, tc := range map[string]struct {
		back   time.Duration // calls that begin before are never answered
		login  time.Duration // how long a login takes then
		probe  time.Duration // how long the version takes
		err    error
		logins int64
		ended  time.Duration // at the latest
	}{
		"fast":                                   {0, 50 * time.Millisecond, 50 * time.Millisecond, nil, 1, 50 * time.Millisecond},
		"slow in all":                            {0, 3 * time.Second, 3 * time.Second, nil, 1, 3 * time.Second},
		"very slow in all":                       {0, 25 * time.Second, 3 * time.Second, nil, 1, 25 * time.Second},
		"slow logins alone":                      {0, 3 * time.Second, 10 * time.Millisecond, nil, 3, 3 * time.Second},
		"very slow logins alone":                 {0, 25 * time.Second, 10 * time.Millisecond, nil, 3, 25 * time.Second},
		"refused":                                {0, 100 * time.Millisecond, 10 * time.Millisecond, refused, 1, 100 * time.Millisecond},
		"refused slowly":                         {0, 5 * time.Second, 10 * time.Millisecond, refused, 3, 5 * time.Second},
		"back at once":                           {100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond, nil, 2, 2 * time.Second},
		"back after ten seconds":                 {10 * time.Second, 100 * time.Millisecond, 100 * time.Millisecond, nil, 2, 12 * time.Second},
		"back late":                              {27900 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond, nil, 2, 29900 * time.Millisecond},
		"back after ten seconds, and busy still": {10 * time.Second, time.Second, 500 * time.Millisecond, nil, 2, 13 * time.Second},
		"away":                                   {never, 0, 0, context.DeadlineExceeded, 1, loginTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var logins, atOnce, most atomic.Int64
				takes := func(ctx context.Context, d time.Duration) error {
					if time.Since(begin) < tc.back {
						d = never
					}
					return poll.Sleep(ctx, d)
				}
				login := func(ctx context.Context) (*token, error) {
					logins.Add(1)
					most.Store(max(most.Load(), atOnce.Add(1)))
					defer atOnce.Add(-1)
					if err := takes(ctx, tc.login); err != nil {
						return nil, err
					}
					return &token{}, tc.err
				}
				ctx, cancel := context.WithTimeout(t.Context(), loginTimeout)
				defer cancel()
				_, err := unstuck(ctx, loginPatience, login, func(ctx context.Context) bool {
					ctx, cancel := context.WithTimeout(ctx, probePatience)
					defer cancel()
					return takes(ctx, tc.probe) == nil
				})
				took := time.Since(begin)
				synctest.Wait()
				if !errors.Is(err, tc.err) || took > tc.ended || logins.Load() != tc.logins || most.Load() > loginsAtOnce || atOnce.Load() != 0 {
					t.Errorf("%v after %v, with %d logins, %d at once, %d left", err, took, logins.Load(), most.Load(), atOnce.Load())
				}
			})
		})
	}
}

// aged is a session with a token that has an hour's life, of which some is left.
func aged(t *testing.T, left time.Duration, keystone http.HandlerFunc) *Session {
	t.Helper()
	server := httptest.NewServer(keystone)
	pool := NewPool(Options{})
	t.Cleanup(func() { pool.Close(); server.CloseClientConnections(); server.Close() })
	s := pool.Session(&Credential{AuthURL: server.URL + "/v3", Origin: "a test", Username: "u", UserDomainID: "d", Password: "hush-hush", ProjectID: "p"})
	s.token = &token{id: "old", issued: time.Now().Add(left - time.Hour), expires: time.Now().Add(left)}
	return s
}

// A token is renewed before its end, once, and nobody waits for that.
func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	for left, renewed := range map[time.Duration]bool{20 * time.Minute: false, 6 * time.Minute: false, 4 * time.Minute: true} {
		t.Run(left.String(), func(t *testing.T) {
			t.Parallel()
			var logins atomic.Int64
			answer := make(chan struct{})
			s := aged(t, left, func(w http.ResponseWriter, _ *http.Request) {
				logins.Add(1)
				<-answer
				w.Header().Set("X-Subject-Token", "new")
				w.WriteHeader(http.StatusCreated)
				_, _ = fmt.Fprintf(w, `{"token": {"expires_at": %q, "catalog": [{"type": "dns"}]}}`, time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z"))
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range 10 {
				if got, err := s.currentToken(ctx); err != nil || got.id != "old" {
					t.Fatalf("%v, %v", got, err)
				}
			}
			close(answer)
			for renewed {
				got, err := s.currentToken(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if got.id == "new" {
					break
				}
				time.Sleep(time.Millisecond) // the login is under way
			}
			if n := logins.Load(); n > 1 || (n == 1) != renewed {
				t.Errorf("%d logins", n)
			}
		})
	}
}
