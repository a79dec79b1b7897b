package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mooring/pkg/openstack"
)

// hostile is a cloud that misbehaves: a Keystone that gives tokens of any kind, and a DNS service that does what the test wants.
type hostile struct {
	*httptest.Server

	logins  atomic.Int64
	token   func(n int64) string // the login's whole answer
	service http.HandlerFunc     // what is at /dns/
	subject func(n int64) string // X-Subject-Token
	header  func(h http.Header)  // more headers of the login
	pool    *openstack.Pool
}

const fixedDate = "2006-01-02T15:04:05.000000Z"

func newHostile(t *testing.T, o openstack.Options) *hostile {
	t.Helper()
	h := &hostile{}
	h.subject = func(n int64) string { return fmt.Sprintf("token-%d", n) }
	h.token = func(int64) string { return h.body(time.Now().Add(time.Hour), "/dns") }
	h.service = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"zones": []}`) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, _ *http.Request) {
		n := h.logins.Add(1)
		if s := h.subject(n); s != "" {
			w.Header().Set("X-Subject-Token", s)
		}
		if h.header != nil {
			h.header(w.Header())
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, h.token(n))
	})
	mux.HandleFunc("/dns/", func(w http.ResponseWriter, r *http.Request) { h.service(w, r) })
	h.Server = httptest.NewServer(mux)
	h.pool = openstack.NewPool(o.Patient())
	t.Cleanup(func() { h.pool.Close(); h.CloseClientConnections(); h.Close() })
	return h
}

// body is a login's answer.
func (h *hostile) body(expires time.Time, dns string) string {
	if strings.HasPrefix(dns, "/") {
		dns = h.URL + dns
	}
	return fmt.Sprintf(`{"token": {"expires_at": %q, "issued_at": %q, "user": {"id": "u"}, "project": {"id": "p"}, "catalog": [
		{"type": "dns", "endpoints": [{"interface": "public", "url": %q}]}]}}`,
		expires.UTC().Format(fixedDate), expires.Add(-time.Hour).UTC().Format(fixedDate), dns)
}

func (h *hostile) session() *openstack.Session {
	return h.pool.Session(&openstack.Credential{
		AuthURL: h.URL + "/v3", Origin: "a test", Username: "u", UserDomainID: "default", Password: "hush-hush", ProjectID: "p",
	})
}

// The token and the password go to no host but the one they are for.
func TestRedirectsTakeNoSecretElsewhere(t *testing.T) {
	t.Parallel()
	var leaked sync.Map
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		leaked.Store(r.Header.Get("X-Auth-Token")+string(body), true)
		w.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(thief.Close)
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		h := newHostile(t, openstack.Options{})
		h.service = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL+"/x", status) }
		if err := get(t.Context(), h.session()); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d: a redirect to another host gave %v", status, err)
		}
		k := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL+"/x", status) }))
		err := h.pool.Session(&openstack.Credential{AuthURL: k.URL + "/v3", Username: "u", UserDomainID: "d", Password: "hush-hush", ProjectID: "p"}).Login(t.Context())
		if err == nil || !strings.Contains(err.Error(), "redirect") {
			t.Errorf("%d: a login that was redirected gave %v", status, err)
		}
		k.CloseClientConnections()
		k.Close()
	}
	leaked.Range(func(what, _ any) bool { t.Errorf("another host was told %q", what); return true })
}

// A Keystone whose clock differs from ours gives tokens that seem to have ended: they work all the same.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		skew time.Duration
		date bool
	}{
		"Keystone is behind":          {-2 * time.Hour, true},
		"Keystone is behind, no date": {-2 * time.Hour, false},
		"Keystone is ahead":           {2 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, openstack.Options{})
			h.token = func(int64) string { return h.body(time.Now().Add(tc.skew+time.Hour), "/dns") }
			h.header = func(hd http.Header) {
				hd["Date"] = nil
				if tc.date {
					hd.Set("Date", time.Now().Add(tc.skew).UTC().Format(http.TimeFormat))
				}
			}
			session := h.session()
			if now, ok := session.Clock(); ok {
				t.Errorf("before a login, its clock says %v", now)
			}
			for range 20 {
				if err := get(t.Context(), session); err != nil {
					t.Fatal(err)
				}
			}
			if now, ok := session.Clock(); !ok || time.Until(now.Add(-tc.skew)).Abs() > time.Minute {
				t.Errorf("its clock says %v, %v", now, ok)
			}
			if n := h.logins.Load(); n != 1 {
				t.Errorf("%d logins for 20 calls, want 1", n)
			}
		})
	}
}

// A service that refuses every token must not make us log in for each call.
func TestAServiceThatRefusesEveryToken(t *testing.T) {
	t.Parallel()
	h := newHostile(t, openstack.Options{})
	h.service = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	for range 50 {
		if err := get(t.Context(), h.session()); !errors.Is(err, openstack.ErrUnauthorized) {
			t.Fatal(err)
		}
	}
	if n := h.logins.Load(); n > 10 {
		t.Errorf("%d logins for 50 calls", n)
	}
}

func TestErrorsOfAHostileServiceAreOneShortLineWithoutSecrets(t *testing.T) {
	t.Parallel()
	h := newHostile(t, openstack.Options{})
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"a huge JSON message": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"badRequest": {"message": "`+strings.Repeat("x", 5<<20)+`"}}`)
		},
		"a long JSON message": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"badRequest": {"message": "`+strings.Repeat("x", 20<<10)+`"}}`)
		},
		"newlines and escapes": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "a\r\nlevel=ERROR msg=forged\u2028\x1b[2J\x00b")
		},
		"escapes in JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"message": "a\u001b[2J\u0000\u0085\nb"}`)
		},
		"no UTF-8": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte{'a', 0xff, 0xfe, 'b'})
		},
		"an escape in the request id": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Openstack-Request-Id", strings.Repeat("\x1b[2J", 1000))
			w.WriteHeader(http.StatusBadRequest)
		},
		"data that nobody expected": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "payload "+r.Header.Get("X-Auth-Token"))
		},
		"the token": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"message": "what is `+r.Header.Get("X-Auth-Token")+`?"}`)
		},
	} {
		h.service = answer
		err := get(t.Context(), h.session())
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		text := err.Error()
		if len(text) > 1500 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0xfffd }) || strings.Contains(text, "token-1") {
			t.Errorf("%s: %d bytes, %.200q", name, len(text), text)
		}
	}
}

func TestErrorsOfAHostileKeystone(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64 // MiB without end
	t.Cleanup(func() {
		if most := int64(64); sent.Load() > most {
			t.Errorf("%d MiB were read", sent.Load())
		}
	})
	for name, answer := range map[string]http.HandlerFunc{
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "<html>\n<b>x</b>")
		},
		"nothing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) },
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"token": {"cata`)
		},
		"null": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `null`)
		},
		"a list": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `[]`)
		},
		"a null token": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"token": null}`)
		},
		"other types": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"token": {"catalog": "x", "expires_at": 7}}`)
		},
		"no token": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"token": {"catalog": [{"type": "dns"}], "expires_at": "2100-01-01T00:00:00.000000Z"}}`)
		},
		"no catalog": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Subject-Token", "t")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"token": {"expires_at": "2100-01-01T00:00:00.000000Z"}}`)
		},
		"the password": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error": {"message": "hush-hush is too short"}}`)
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"token": {"x": "`)
			for chunk := bytes.Repeat([]byte("x"), 1<<20); r.Context().Err() == nil; sent.Add(1) {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(answer)
			var log bytes.Buffer
			pool := openstack.NewPool(openstack.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}.Patient())
			err := pool.Session(&openstack.Credential{AuthURL: server.URL + "/v3", Origin: "cloud X", Username: "u", UserDomainID: "d", Password: "hush-hush", ProjectID: "p"}).Login(t.Context())
			pool.Close()
			server.CloseClientConnections()
			server.Close()
			if err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hush-hush") || strings.Contains(log.String(), "hush-hush") {
				t.Error(err)
			}
			t.Log(err)
		})
	}
}

// A service that sends headers and then nothing costs a retry little.
func TestABodyThatStalls(t *testing.T) {
	t.Parallel()
	h := newHostile(t, openstack.Options{})
	var calls atomic.Int64
	h.service = func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) > 1 {
			_, _ = io.WriteString(w, `{"zones": []}`)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	begin := time.Now()
	if err := get(t.Context(), h.session()); err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("got %v after %v", err, time.Since(begin))
	}
}

func TestOddCatalogURLs(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"ftp://127.0.0.1/dns", "dns", "", " http://127.0.0.1/dns", "http://127.0.0.1:99999999/dns", "http:///dns", "http://[::1/dns", "http://user:pw@127.0.0.1:1/x\n"} {
		h := newHostile(t, openstack.Options{})
		h.token = func(int64) string { return h.body(time.Now().Add(time.Hour), u) }
		if u == "" || u == "dns" {
			h.token = func(int64) string { return strings.ReplaceAll(h.body(time.Now().Add(time.Hour), "zzz"), "zzz", u) }
		}
		err := get(t.Context(), h.session())
		if !errors.Is(err, openstack.ErrNoService) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", u, err)
		}
	}
}

// Everything at once: callers who come and go, tokens that are refused at random, a service that fails in every way.
func TestStorm(t *testing.T) {
	t.Parallel()
	h := newHostile(t, openstack.Options{Rate: 10000, Burst: 10000})
	var valid, n atomic.Int64
	h.subject = func(n int64) string { valid.Store(n); return fmt.Sprintf("token-%d", n) }
	h.token = func(int64) string { return h.body(time.Now().Add(time.Hour), "/dns") }
	h.service = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch i := n.Add(1); {
		case r.Method == http.MethodPost && string(body) != `{"a":"b"}`:
			t.Errorf("a body was cut: %q", body)
		case i%97 == 0, r.Header.Get("X-Auth-Token") != fmt.Sprintf("token-%d", valid.Load()):
			w.WriteHeader(http.StatusUnauthorized)
		case i%13 == 0:
			w.WriteHeader(http.StatusTooManyRequests)
		case i%11 == 0:
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{}`)
		default:
			_, _ = io.WriteString(w, `{"zones": []}`)
		}
	}
	s := h.session()
	var wg sync.WaitGroup
	var good atomic.Int64
	for i := range 32 {
		wg.Go(func() {
			for j := range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				if (i+j)%7 == 0 {
					time.AfterFunc(time.Duration(j)*time.Millisecond, cancel)
				}
				var err error
				if i%2 == 0 {
					err = get(ctx, s)
				} else if client, clientErr := s.Client(ctx, openstack.DNS); clientErr == nil {
					_, err = client.Post(ctx, client.ServiceURL("zones"), map[string]string{"a": "b"}, &map[string]any{}, nil) //nolint:bodyclose // it is read
				}
				if err == nil {
					good.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if good.Load() < 500 {
		t.Errorf("only %d of 960 calls succeeded", good.Load())
	}
	t.Logf("%d of 960 succeeded, %d logins", good.Load(), h.logins.Load())
}
