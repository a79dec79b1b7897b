package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"mooring/pkg/logging/logtest"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud starts a simulated cloud and a pool, both gone at the end of the test.
func cloud(t *testing.T, cfg openstacksim.Config, o openstack.Options) (*openstacksim.Cloud, *openstack.Pool) {
	t.Helper()
	sim, err := openstacksim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := openstack.NewPool(o.Patient())
	t.Cleanup(func() { pool.Close(); sim.Close() })
	return sim, pool
}

func credential(t *testing.T, sim *openstacksim.Cloud, name string) *openstack.Credential {
	t.Helper()
	p := place{files: map[string]string{"clouds.yaml": string(sim.CloudsYAML())}}
	c, err := p.source(name, "clouds.yaml").Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get asks Designate for its zones: the simplest authenticated read there is.
func get(ctx context.Context, s *openstack.Session) error {
	client, err := s.Client(ctx, openstack.DNS)
	if err != nil {
		return err
	}
	resp, err := client.Get(ctx, client.ServiceURL("zones"), &map[string]any{}, nil)
	if err != nil {
		return openstack.Wrap(err)
	}
	return resp.Body.Close()
}

func TestEveryWayToLogIn(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	demo := sim.Keystone.User("demo", "demo")
	named := sim.Keystone.AddApplicationCredential("named", "demo", "demo", time.Time{})
	trust := sim.Keystone.AddTrust("demo", "other", "demo")
	base := func(c openstack.Credential) *openstack.Credential {
		c.AuthURL, c.Region, c.Origin = sim.AuthURL(), openstacksim.Region, "a test"
		return &c
	}
	scoped, err := rawToken(t.Context(), sim, demo)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*openstack.Credential{
		"password by names":      base(openstack.Credential{Username: "demo", Password: demo.Password, UserDomainName: "Default", ProjectName: "demo", ProjectDomainName: "Default"}),
		"password by ids":        base(openstack.Credential{UserID: demo.UserID, Password: demo.Password, ProjectID: demo.ProjectID}),
		"application credential": base(openstack.Credential{ApplicationCredentialID: named.ApplicationCredentialID, ApplicationCredentialSecret: named.AppCredential}),
		"its own token":          base(openstack.Credential{Token: scoped}),
		"a token, scoped again":  base(openstack.Credential{Token: scoped, ProjectID: demo.ProjectID}),
		"a trust":                base(openstack.Credential{Username: "other", Password: "other-password", UserDomainID: "default", TrustID: trust}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pool.Session(c)
			if err := get(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			owner, err := s.Owner(t.Context())
			if err != nil || owner.ProjectID != demo.ProjectID || owner.UserID != demo.UserID {
				t.Errorf("acts for %+v, %v; want demo on demo", owner, err)
			}
		})
	}
}

func rawToken(ctx context.Context, sim *openstacksim.Cloud, c openstacksim.Credential) (string, error) {
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": %q, "password": %q}}}, "scope": {"project": {"id": %q}}}}`, c.UserID, c.Password, c.ProjectID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sim.AuthURL()+"/auth/tokens", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	return resp.Header.Get("X-Subject-Token"), resp.Body.Close()
}

func TestOneLoginAndFewConnectionsForManyCallers(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	c := credential(t, sim, "demo")
	again := *c
	again.Origin = "read a second time"
	if pool.Session(c) != pool.Session(&again) {
		t.Fatal("one credential has two sessions")
	}
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceKeystone, Delay: 50 * time.Millisecond})
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			if err := get(t.Context(), pool.Session(c)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := sim.Calls.Logins(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	if n := sim.Calls.Count(); n != 61 {
		t.Errorf("%d calls, want 60 and a login", n)
	}
	sim.Calls.Reset()
	for range 20 {
		if err := get(t.Context(), pool.Session(c)); err != nil {
			t.Fatal(err)
		}
	}
	connections := map[string]bool{}
	for _, call := range sim.Calls.All() {
		connections[call.RemoteAddr] = true
	}
	if len(connections) != 1 {
		t.Errorf("20 calls in a row used %d connections, want 1", len(connections))
	}
}

func TestLoginAgainAfter401(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	s := pool.Session(credential(t, sim, "demo"))
	if err := get(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	sim.Keystone.RevokeTokens()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := get(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := sim.Calls.Logins(); n != 2 {
		t.Errorf("%d logins, want one at first and one after the revocation", n)
	}
}

// A write whose token was refused is sent again with its whole body.
func TestBodyIsSentAgainAfter401(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	s := pool.Session(credential(t, sim, "demo"))
	client, err := s.Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	sim.Keystone.RevokeTokens()
	var zone struct {
		Name string `json:"name"`
	}
	resp, err := client.Post(t.Context(), client.ServiceURL("zones"), map[string]any{"name": "again.test.", "email": "a@again.test"}, &zone, nil)
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	_ = resp.Body.Close()
	if zone.Name != "again.test." {
		t.Errorf("made %q", zone.Name)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault openstacksim.Fault
		calls int   // to the service
		err   error // nil: it works in the end
	}{
		"two 503s":            {openstacksim.Fault{Status: 503, Count: 2}, 3, nil},
		"500 for ever":        {openstacksim.Fault{Status: 500}, 5, openstack.ErrUnavailable},
		"dropped connections": {openstacksim.Fault{Drop: true, Count: 2}, 3, nil},
		"dropped afterwards":  {openstacksim.Fault{DropAfter: true, Count: 1}, 2, nil},
		"429 with a pause":    {openstacksim.Fault{Status: 429, Header: map[string]string{"Retry-After": "1"}, Count: 1}, 2, nil},
		"404":                 {openstacksim.Fault{Status: 404}, 1, openstack.ErrNotFound},
		"403":                 {openstacksim.Fault{Status: 403}, 1, openstack.ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{Metrics: openstack.NewMetrics(registry)})
			tc.fault.Service = openstacksim.ServiceDesignate
			sim.Faults.Add(tc.fault)
			begin := time.Now()
			err := get(t.Context(), pool.Session(credential(t, sim, "demo")))
			if !errors.Is(err, tc.err) {
				t.Errorf("got %v, want %v", err, tc.err)
			}
			if n := sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}); n != tc.calls {
				t.Errorf("%d calls, want %d", n, tc.calls)
			}
			if pause := tc.fault.Header["Retry-After"]; pause != "" && time.Since(begin) < time.Second {
				t.Errorf("Retry-After was not obeyed: done after %v", time.Since(begin))
			}
			expected := fmt.Sprintf("# HELP mooring_openstack_retries_total HTTP requests to OpenStack that were repeated after a failure, by service type.\n"+
				"# TYPE mooring_openstack_retries_total counter\nmooring_openstack_retries_total{service=\"dns\"} %d\n", tc.calls-1)
			if tc.calls > 1 && tc.fault.Status != 0 { // of dropped connections, net/http repeats some itself
				if err := testutil.GatherAndCompare(registry, strings.NewReader(expected), "mooring_openstack_retries_total"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestWritesAreNotRepeated(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	s := pool.Session(credential(t, sim, "demo"))
	client, err := s.Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: http.MethodPost, DropAfter: true})
	_, err = client.Post(t.Context(), client.ServiceURL("zones"), map[string]any{"name": "once.test.", "email": "a@once.test"}, nil, nil) //nolint:bodyclose // it fails
	if err := openstack.Wrap(err); !errors.Is(err, openstack.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	if n := sim.Calls.Count(openstacksim.CallFilter{Method: http.MethodPost, Service: openstacksim.ServiceDesignate}); n != 1 {
		t.Errorf("a write that may have been done was sent %d times", n)
	}
}

func TestRetriesEndWithTheCallersDeadline(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	s := pool.Session(credential(t, sim, "demo"))
	if err := s.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Status: 503, Header: map[string]string{"Retry-After": "30"}})
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	err := get(ctx, s)
	if calls := sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}); !errors.Is(err, openstack.ErrUnavailable) || ctx.Err() != nil || calls != 1 {
		t.Errorf("got %v after %d calls, %v; want the 503 at once, since the pause it asks for ends after the deadline", err, calls, ctx.Err())
	}
}

func TestACallerWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	s := pool.Session(credential(t, sim, "demo"))
	answer := sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceKeystone, Delay: openstacksim.Held})
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- s.Login(impatient) }()
	time.Sleep(20 * time.Millisecond) // so that mostly the impatient one's login is the one that both wait for
	go func() { second <- s.Login(t.Context()) }()
	if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the impatient caller got %v", err)
	}
	answer()
	if err := <-second; err != nil {
		t.Errorf("the patient caller got %v", err)
	}
	if n := sim.Calls.Logins(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

// A wrong password is not tried at Keystone again and again, so that the account is not locked.
func TestRefusedLoginsAreHeldBack(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	c := credential(t, sim, "demo")
	c.Password = "wrong-password"
	for range 10 {
		err := get(t.Context(), pool.Session(c))
		if !errors.Is(err, openstack.ErrUnauthorized) || !strings.Contains(err.Error(), `the user, password or project is refused`) || strings.Contains(err.Error(), "wrong-password") {
			t.Fatalf("got %v", err)
		}
	}
	if n := sim.Calls.Logins(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

func TestLoginErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	expired := sim.Keystone.AddApplicationCredential("expired", "demo", "demo", time.Now().Add(-time.Minute))
	ended, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ended.Close()
	hidden, _ := cloud(t, openstacksim.Config{}, openstack.Options{})
	hidden.Keystone.HideService("dns")
	elsewhere := *credential(t, sim, "demo")
	elsewhere.Region = "Nowhere"
	for name, tc := range map[string]struct {
		c    openstack.Credential
		want []string
	}{
		"expired application credential": {
			openstack.Credential{AuthURL: sim.AuthURL(), ApplicationCredentialID: expired.ApplicationCredentialID, ApplicationCredentialSecret: expired.AppCredential},
			[]string{"it has expired or was deleted", "req-"},
		},
		"expired token":     {openstack.Credential{AuthURL: sim.AuthURL(), Token: "gAAAAAold"}, []string{"the token is refused"}},
		"nobody listens":    {openstack.Credential{AuthURL: "http://" + ended.Addr().String() + "/v3", Token: "x"}, []string{"connection refused", ended.Addr().String()}},
		"no Keystone there": {openstack.Credential{AuthURL: sim.URL() + "/nothing/v3", Username: "u", Password: "p", UserDomainID: "d", ProjectID: "p"}, []string{"there is no Keystone at this auth_url"}},
		"no such service":   {*credential(t, hidden, "demo"), []string{"offers no dns service", "it has: identity, key-manager, load-balancer, network, sharev2"}},
		"no such region":    {elsewhere, []string{"in region Nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.c.Origin = "cloud X"
			err := get(t.Context(), pool.Session(&tc.c))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range append(tc.want, "cloud X") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestServicesAndMicroversions(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	s := pool.Session(credential(t, sim, "demo"))
	for service, suffix := range map[openstack.ServiceType]string{openstack.SharedFileSystem: "/share/v2/", openstack.KeyManager: "/key-manager/v1/", openstack.DNS: "/dns/v2/"} {
		client, err := s.Client(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		if client.Endpoint != sim.URL()+suffix {
			t.Errorf("%s is at %s", service, client.Endpoint)
		}
	}
	if r, err := s.Microversions(t.Context(), openstack.KeyManager); err != nil || r.Max.String() != "1.1" {
		t.Errorf("Barbican offers %v, %v", r, err)
	}
	for range 3 {
		r, err := s.Microversions(t.Context(), openstack.SharedFileSystem)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Has(openstack.Microversion{Major: 2, Minor: 65}) {
			t.Errorf("Manila offers %v to %v", r.Min, r.Max)
		}
	}
	if n := sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceManila}); n != 1 {
		t.Errorf("%d calls for three questions, want 1", n)
	}
}

func TestRateBudget(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{Rate: 0.1, Burst: 2})
	s := pool.Session(credential(t, sim, "demo"))
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // less than the third call has to wait for its turn
	defer cancel()
	errs := make(chan error, 30)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() { errs <- get(ctx, s) })
	}
	wg.Wait()
	close(errs)
	throttled := 0
	for err := range errs {
		if errors.Is(err, openstack.ErrThrottled) {
			throttled++
		}
	}
	if n := sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}); n != 2 || throttled != 28 {
		t.Errorf("%d calls at a burst of 2, and %d callers were told of the budget; want 2 and 28", n, throttled)
	}
}

func TestNoSecretInLogsOrErrors(t *testing.T) {
	t.Parallel()
	var out logtest.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sim, pool := cloud(t, openstacksim.Config{Logger: logger}, openstack.Options{Logger: logger})
	for _, name := range []string{"demo", "appcred", "other"} {
		c := credential(t, sim, name)
		c.Insecure = true
		s := pool.Session(c)
		if err := get(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		remove := sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Status: 500})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, _ = fmt.Fprintln(&out, get(ctx, s))
		cancel()
		remove()
	}
	secrets := sim.Keystone.Secrets()
	if len(secrets) < 8 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	text := out.String()
	if !strings.Contains(text, "logged in") || !strings.Contains(text, "server certificates are not verified") {
		t.Errorf("the log misses what it should have:\n%s", text)
	}
	if i := slices.IndexFunc(secrets, func(s string) bool { return strings.Contains(text, s) }); i >= 0 {
		t.Errorf("a secret is in the log:\n%s", text)
	}
}

// A login does not queue behind stalled calls to the same address.
func TestStalledCallsDoNotHoldUpLogins(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{TokenTTL: time.Second}, openstack.Options{Rate: 1000, Burst: 1000})
	s := pool.Session(credential(t, sim, "demo"))
	if err := s.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Delay: time.Hour})
	stalled, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 100 { // more than there are connections for calls
		wg.Go(func() { _ = get(stalled, s) })
	}
	defer func() { cancel(); wg.Wait() }()
	before := sim.Calls.Logins()
	time.Sleep(1200 * time.Millisecond) // the life of the token
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if err := s.Login(ctx); err != nil {
		t.Errorf("a login: %v", err)
	}
	if after := sim.Calls.Logins(); after == before {
		t.Error("there was no login")
	}
}

// A login that Keystone never answers keeps nobody waiting once Keystone is back: there is one more, not one for each who waits.
func TestALoginThatHangs(t *testing.T) {
	t.Parallel()
	sim, _ := cloud(t, openstacksim.Config{}, openstack.Options{})
	pool := openstack.NewPool(openstack.Options{})
	defer pool.Close()
	s := pool.Session(credential(t, sim, "demo"))
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceKeystone, Method: http.MethodPost, Delay: time.Hour, Count: 1})
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if err := s.Login(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := sim.Calls.Logins(); n < 1 || n > 2 { // the one that hangs is not there yet
		t.Errorf("%d logins", n)
	}
}

// late is a context whose deadline has passed, and whose timer has not fired.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// Who comes too late is told just that, and not of a budget that has plenty left.
func TestADeadlineThatHasJustPassed(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	s := pool.Session(credential(t, sim, "demo"))
	if err := s.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := get(late{t.Context()}, s); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, openstack.ErrThrottled) {
		t.Errorf("got %v", err)
	}
}
