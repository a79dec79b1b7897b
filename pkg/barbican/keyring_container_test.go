package barbican

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mooring/pkg/logging/logtest"
	"mooring/pkg/poll"
)

// store is a Barbican with a keyring, whose answers a test can change. It counts what it is asked.
type store struct {
	mu                      sync.Mutex
	keys                    []ListedKey
	skew                    time.Duration // of its clock
	slow                    time.Duration
	listErr, getErr, seeErr error
	lists, gets, checks     int
	times                   []time.Time // of all calls
}

func (s *store) call(ctx context.Context, n *int) error {
	s.mu.Lock()
	*n++
	s.times = append(s.times, time.Now())
	slow := s.slow
	s.mu.Unlock()
	return poll.Sleep(ctx, slow)
}

func (s *store) list(ctx context.Context, _ map[KeyRef]ListedKey) (*Listing, error) {
	if err := s.call(ctx, &s.lists); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listErr != nil {
		return nil, s.listErr
	}
	return &Listing{Keys: slices.Clone(s.keys), Owner: me, Now: time.Now().Add(s.skew), Clock: BarbicanClock}, nil
}

func (s *store) Payload(ctx context.Context, secret string, _ int) ([]byte, error) {
	if err := s.call(ctx, &s.gets); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.getErr != nil {
		return nil, s.getErr
	}
	return material(secret)
}

func (s *store) check(ctx context.Context, _ KeyRef) error {
	if err := s.call(ctx, &s.checks); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seeErr
}

func (s *store) change(f func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// counts are the calls since it was asked last.
func (s *store) counts() (lists, gets, checks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists, gets, checks = s.lists, s.gets, s.checks
	s.lists, s.gets, s.checks, s.times = 0, 0, 0, nil
	return lists, gets, checks
}

// made is a key that is made now.
func made(n uint64, secret string) ListedKey { return gen(n, secret, time.Now()) }

// before is a key that has been there for long.
func before(n uint64, secret string) ListedKey { return gen(n, secret, time.Now().Add(-24*time.Hour)) }

func run(t *testing.T, s *store, change ...func(*Options)) *Keyring {
	t.Helper()
	o := Options{
		List: s.list, Check: s.check, ClusterID: "c",
		Policy: Policy{Poll: time.Minute, ActivationDelay: 10 * time.Minute},
	}
	for _, f := range change {
		f(&o)
	}
	k, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, k.Close()); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return k
}

func generation(t *testing.T, k *Keyring) uint64 {
	t.Helper()
	id, err := k.Status()
	if err != nil {
		return 0
	}
	_, used, err := k.Encrypt(testDEK())
	if err != nil || used != id {
		t.Errorf("Status has %s, Encrypt %s, %v", id, used, err)
	}
	ref, err := ParseKeyID(id)
	if err != nil {
		t.Error(err)
	}
	return ref.Generation
}

// TestRotation switches at the instant that Barbican's clock says, though ours is wrong and Barbican slow at that moment.
func TestRotation(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &store{keys: []ListedKey{before(1, uuidA)}, skew: skew}
				registry := prometheus.NewRegistry()
				k := run(t, s, func(o *Options) { o.Registerer = registry })
				ciphertext, id, err := k.Encrypt(testDEK())
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				s.change(func(s *store) { s.keys = append(s.keys, gen(2, uuidB, time.Now().Add(skew))) })
				time.Sleep(2 * time.Minute)
				if got := testutil.ToFloat64(countdown{registry}); got < 7*60 || got > 9*60 {
					t.Errorf("the countdown is %v", got)
				}
				s.change(func(s *store) { s.slow = 25 * time.Second })
				time.Sleep(time.Until(begin.Add(10*time.Minute - time.Second)))
				if got := generation(t, k); got != 1 {
					t.Errorf("a second before its time, generation %d is active", got)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if got := generation(t, k); got != 2 {
					t.Errorf("at its time, generation %d is active", got)
				}
				if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
					t.Errorf("the older key: %x, %v", got, err)
				}
			})
		})
	}
}

// countdown is the one metric of that name.
type countdown struct{ from prometheus.Gatherer }

func (c countdown) Describe(out chan<- *prometheus.Desc) {
	out <- prometheus.NewDesc("countdown", "the metric", nil, nil)
}

func (c countdown) Collect(out chan<- prometheus.Metric) {
	families, _ := c.from.Gather()
	for _, f := range families {
		if f.GetName() == "mooring_barbican_activation_countdown_seconds" {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc("countdown", "the metric", nil, nil), prometheus.GaugeValue, f.GetMetric()[0].GetGauge().GetValue())
		}
	}
}

// TestCalls counts them: at most one in a poll's time when nothing happens, none for what is asked of the plugin.
func TestCalls(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"a keyring": func(*Options) {},
		"a file": func(o *Options) {
			o.Policy.Trusted, o.List = true, func(context.Context, map[KeyRef]ListedKey) (*Listing, error) { return list(one()), nil }
		},
		"a fixed key": func(o *Options) { o.List, o.Entries = nil, one() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}}
				k := run(t, s, change)
				s.counts()
				var calls []time.Time
				for range 4 * 60 {
					time.Sleep(time.Minute)
					for range 10 {
						ciphertext, id, err := k.Encrypt(testDEK())
						if err != nil {
							t.Fatal(err)
						}
						if _, err := k.Decrypt(t.Context(), id, ciphertext); err != nil {
							t.Fatal(err)
						}
					}
				}
				s.change(func(s *store) { calls = slices.Clone(s.times) })
				for i := range calls[1:] {
					if gap := calls[i+1].Sub(calls[i]); gap < time.Minute || gap > 70*time.Second {
						t.Fatalf("%v between two calls", gap)
					}
				}
				if _, gets, checks := s.counts(); gets != 0 || checks == 0 || len(calls) < 200 || len(calls) > 240 {
					t.Errorf("%d calls in four hours, %d fetches, %d checks", len(calls), gets, checks)
				}
			})
		})
	}
}

// TestOnDemand opens what another node wrapped with a key that this one has not heard of.
func TestOnDemand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{keys: []ListedKey{before(1, uuidA)}}
		k := run(t, s)
		other := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}, slow: time.Millisecond}
		k2 := run(t, other)
		time.Sleep(time.Second)
		ciphertext, id, err := k2.Encrypt(testDEK())
		if err != nil {
			t.Fatal(err)
		}
		s.change(func(s *store) { s.keys, s.slow = append(s.keys, made(2, uuidB)), time.Second })
		s.counts()
		var wg sync.WaitGroup
		for range 50 { // they share the calls
			wg.Go(func() {
				if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
					t.Errorf("%x, %v", got, err)
				}
			})
		}
		wg.Wait()
		if lists, gets, _ := s.counts(); lists != 1 || gets != 1 {
			t.Errorf("%d listings, %d fetches", lists, gets)
		}
		// Keys that nobody knows make one listing in a poll's time, and are answered at once otherwise.
		unknown := 0
		begin := time.Now()
		for time.Since(begin) < 10*time.Minute {
			asked := time.Now()
			if _, err := k.Decrypt(t.Context(), KeyRef{uuidC, uint64(3 + unknown%100)}.KeyID(), ciphertext); !errors.Is(err, ErrUnknownKey) {
				t.Fatalf("an unknown key: %v", err)
			}
			if took := time.Since(asked); took > 3*time.Second {
				t.Fatalf("it took %v", took)
			}
			unknown++
			time.Sleep(100 * time.Millisecond)
		}
		if lists, gets, checks := s.counts(); lists+checks > 2*10+demandListings || gets != 0 {
			t.Errorf("%d listings, %d fetches and %d checks for %d unknown keys in ten minutes", lists, gets, checks, unknown)
		}
		// A request waits no longer than it may.
		s.change(func(s *store) { s.slow = 20 * time.Second })
		time.Sleep(2 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin = time.Now()
		if _, err := k.Decrypt(ctx, KeyRef{uuidC, 9999}.KeyID(), ciphertext); !errors.Is(err, ErrNotReady) || time.Since(begin) >= 3*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// TestOnDemandBesideAPoll: a poll that hangs keeps nobody waiting, and a Barbican that is away makes no key unknown.
func TestOnDemandBesideAPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{keys: []ListedKey{before(1, uuidA)}}
		k := run(t, s)
		other := run(t, &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}})
		ciphertext, id, err := other.Encrypt(testDEK())
		if err != nil {
			t.Fatal(err)
		}
		s.change(func(s *store) { s.listErr = away() })
		if _, err := k.Decrypt(t.Context(), id, ciphertext); !errors.Is(err, ErrNotReady) || errors.Is(err, ErrUnknownKey) {
			t.Errorf("in an outage: %v", err)
		}
		s.change(func(s *store) { s.keys, s.listErr, s.slow = append(s.keys, before(2, uuidB)), nil, time.Hour })
		s.counts()
		for polls := 0; polls == 0; polls, _, _ = s.counts() { // one begins, and hangs
			time.Sleep(time.Second)
		}
		s.change(func(s *store) { s.slow = 0 })
		begin := time.Now()
		if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) || time.Since(begin) > time.Second {
			t.Errorf("beside a poll that hangs: %x, %v after %v", got, err, time.Since(begin))
		}
		// One that needs more time than a request has is here when it is asked for again.
		third := &store{keys: []ListedKey{before(1, uuidA)}}
		slow := run(t, third)
		third.change(func(s *store) { s.keys, s.slow = append(s.keys, before(2, uuidB)), 3*time.Second })
		for tries := range 100 {
			begin := time.Now()
			got, err := slow.Decrypt(t.Context(), id, ciphertext)
			if took := time.Since(begin); took >= 3*time.Second || err != nil && !errors.Is(err, ErrNotReady) {
				t.Fatalf("try %d: %v after %v", tries, err, took)
			}
			if err == nil {
				if !bytes.Equal(got, testDEK()) || tries > 80 {
					t.Errorf("%x after %d tries", got, tries)
				}
				return
			}
			time.Sleep(time.Second)
		}
		t.Error("it never came")
	})
}

// TestOutageOfAKeyring goes on with what it has, and says how old that is.
func TestOutageOfAKeyring(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Buffer
		registry := prometheus.NewRegistry()
		s := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}}
		k := run(t, s, func(o *Options) {
			o.Registerer, o.Logger = registry, slog.New(slog.NewTextHandler(&log, nil))
		})
		ciphertext, id, err := k.Encrypt(testDEK())
		if err != nil {
			t.Fatal(err)
		}
		s.change(func(s *store) { s.listErr, s.getErr, s.seeErr = away(), away(), away() })
		for range 24 {
			time.Sleep(time.Hour)
			if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) || generation(t, k) != 2 {
				t.Fatalf("%x, %v", got, err)
			}
		}
		if warnings := strings.Count(log.String(), "level=WARN"); warnings > 20 {
			t.Errorf("%d warnings in a day:\n%s", warnings, log.String())
		}
		metrics := gathered(t, registry)
		if age := metrics["mooring_barbican_last_good_poll_age_seconds"]; age < 86000 || metrics["mooring_barbican_revoked"] != 0 || metrics["mooring_barbican_stale"] != 0 {
			t.Errorf("metrics: %v", metrics)
		}
	})
}

// gathered are the metrics that have no labels.
func gathered(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if m := f.GetMetric()[0]; len(f.GetMetric()) == 1 && len(m.GetLabel()) == 0 {
			out[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

// TestRestartInAnOutage answers at once, and serves within two seconds of Barbican's return.
func TestRestartInAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}, listErr: away(), getErr: away()}
		k := run(t, s)
		for range 600 {
			time.Sleep(time.Second)
			begin := time.Now()
			_, err := k.Status()
			_, decryptErr := k.Decrypt(t.Context(), KeyRef{uuidB, 2}.KeyID(), make([]byte, 94))
			if !errors.Is(err, ErrNotReady) || !errors.Is(decryptErr, ErrUnknownKey) && !errors.Is(decryptErr, ErrNotReady) || time.Since(begin) != 0 {
				t.Fatalf("%v, %v after %v", err, decryptErr, time.Since(begin))
			}
		}
		s.change(func(s *store) { s.listErr, s.getErr = nil, nil })
		time.Sleep(2 * time.Second)
		if got := generation(t, k); got != 2 {
			t.Errorf("two seconds after Barbican's return generation %d is active: %v", got, k.Ready())
		}
	})
}

// TestOnRevocation takes the container away under each policy, and gives it back.
func TestOnRevocation(t *testing.T) {
	t.Parallel()
	for policy, stops := range map[Revocation]struct{ writes, reads bool }{Serve: {}, StopWrites: {writes: true}, StopAll: {true, true}} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log logtest.Buffer
				registry := prometheus.NewRegistry()
				s := &store{keys: []ListedKey{before(1, uuidA)}}
				k := run(t, s, func(o *Options) {
					o.Policy.OnRevocation, o.Registerer, o.Logger = policy, registry, slog.New(slog.NewTextHandler(&log, nil))
				})
				ciphertext, id, err := k.Encrypt(testDEK())
				if err != nil {
					t.Fatal(err)
				}
				look := func(revoked bool) {
					t.Helper()
					_, statusErr := k.Status()
					_, _, encryptErr := k.Encrypt(testDEK())
					_, decryptErr := k.Decrypt(t.Context(), id, ciphertext)
					for what, got := range map[string]struct {
						err   error
						stops bool
					}{"Status": {statusErr, stops.writes}, "Encrypt": {encryptErr, stops.writes}, "Decrypt": {decryptErr, stops.reads}} {
						if want := revoked && got.stops; errors.Is(got.err, ErrRevoked) != want || (got.err != nil) != want {
							t.Errorf("%s: error %v", what, got.err)
						}
					}
					if got := gathered(t, registry)["mooring_barbican_revoked"] == 1; got != revoked {
						t.Errorf("the metric says %v", got)
					}
				}
				s.change(func(s *store) { s.listErr = away() })
				time.Sleep(time.Hour)
				look(false)
				s.change(func(s *store) { s.listErr = forbidden() })
				time.Sleep(90 * time.Second)
				look(false)
				kept := k.current.Load().keys[id]
				time.Sleep(10 * time.Minute)
				look(true)
				wiped := kept.bytes.Use(func([]byte) error { return nil }) != nil
				if _, gets, _ := s.counts(); wiped != stops.reads || gets != 1 {
					t.Errorf("wiped %v, and %d fetches", wiped, gets)
				}
				if _, err := k.open(kept, ciphertext); wiped && !errors.Is(err, ErrRevoked) {
					t.Errorf("a request that was under way: %v", err)
				}
				s.change(func(s *store) { s.listErr = nil })
				time.Sleep(2 * time.Minute)
				look(false)
				if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
					t.Errorf("%d errors in the log:\n%s", n, log.String())
				}
			})
		})
	}
}

// TestWipedForALostEntry takes the active key's entry out of the keyring, and puts it back.
func TestWipedForALostEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}}
		k := run(t, s, func(o *Options) { o.Policy.OnRevocation = StopAll })
		ciphertext, id, err := k.Encrypt(testDEK())
		if err != nil {
			t.Fatal(err)
		}
		s.change(func(s *store) { s.keys = []ListedKey{before(1, uuidA)} })
		time.Sleep(time.Hour)
		_, statusErr := k.Status()
		if _, err := k.Decrypt(t.Context(), id, ciphertext); !errors.Is(err, ErrRevoked) || !errors.Is(statusErr, ErrRevoked) || len(k.current.Load().keys) > 0 {
			t.Errorf("%v, %v", err, statusErr)
		}
		s.change(func(s *store) { s.keys = []ListedKey{before(2, uuidB), before(1, uuidA)} })
		time.Sleep(2 * time.Minute)
		if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) || generation(t, k) != 2 || k.Ready() != nil {
			t.Errorf("%x, %v, %v", got, err, k.Ready())
		}
	})
}

// TestBlackHole restarts a keyring while somebody takes its calls and never answers: those that hang are not waited for.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{time.Second / 2, 10 * time.Second, time.Hour} {
		t.Run(outage.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}, slow: 24 * time.Hour}
				k := run(t, s)
				for end := time.Now().Add(outage); time.Now().Before(end); time.Sleep(outage / 10) {
					begin := time.Now()
					if _, err := k.Decrypt(t.Context(), KeyRef{uuidB, 2}.KeyID(), make([]byte, 94)); !errors.Is(err, ErrNotReady) || time.Since(begin) != 0 {
						t.Errorf("%v after %v", err, time.Since(begin))
					}
				}
				if lists, _, _ := s.counts(); lists > int(outage/insistEvery)*11/10+2 {
					t.Errorf("%d calls in %v", lists, outage)
				}
				s.change(func(s *store) { s.slow = 0 })
				time.Sleep(2 * time.Second)
				if got := generation(t, k); got != 2 {
					t.Errorf("two seconds after its return generation %d is active: %v", got, k.Ready())
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // slow is not away
		s := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}, slow: 5 * time.Second}
		k := run(t, s)
		time.Sleep(20 * time.Second)
		if got := generation(t, k); got != 2 || k.Ready() != nil {
			t.Errorf("generation %d is active: %v", got, k.Ready())
		}
	})
}

// TestMaxStaleness stops when there was no good poll for too long, and goes on after one.
func TestMaxStaleness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{keys: []ListedKey{before(1, uuidA)}}
		k := run(t, s, func(o *Options) { o.Policy.MaxStaleness = 30 * time.Minute })
		ciphertext, id, err := k.Encrypt(testDEK())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := k.Status(); err != nil {
			t.Errorf("with good polls: %v", err)
		}
		s.change(func(s *store) { s.listErr, s.seeErr = away(), away() })
		time.Sleep(28 * time.Minute)
		if _, err := k.Status(); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(3 * time.Minute)
		_, statusErr := k.Status()
		_, _, encryptErr := k.Encrypt(testDEK())
		_, decryptErr := k.Decrypt(t.Context(), id, ciphertext)
		for _, err := range []error{statusErr, encryptErr, decryptErr, k.Ready()} {
			if !errors.Is(err, ErrStale) {
				t.Errorf("after half an hour: %v", err)
			}
		}
		s.change(func(s *store) { s.listErr, s.seeErr = nil, nil })
		time.Sleep(2 * time.Minute)
		if _, err := k.Decrypt(t.Context(), id, ciphertext); err != nil {
			t.Errorf("after a good poll: %v", err)
		}
	})
}

// TestStateFile restarts a keyring: what was active before is not undone by a list that has lost it.
func TestStateFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state.json")
	with := func(o *Options) { o.StateFile = file }
	synctest.Test(t, func(t *testing.T) {
		k := run(t, &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}}, with)
		if got := generation(t, k); got != 2 {
			t.Fatalf("generation %d", got)
		}
	})
	if mark, err := readMark(file); err != nil || mark != (KeyRef{uuidB, 2}) {
		t.Fatalf("the file has %v, %v", mark, err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &store{keys: []ListedKey{before(1, uuidA)}}
		k := run(t, s, with)
		if _, err := k.Status(); !errors.Is(err, ErrBehind) || !strings.Contains(err.Error(), uuidB) {
			t.Errorf("with the list of before: %v", err)
		}
		if _, err := k.Decrypt(t.Context(), KeyRef{uuidA, 1}.KeyID(), make([]byte, 94)); !errors.Is(err, ErrCiphertext) {
			t.Errorf("the older key is not held: %v", err)
		}
		s.change(func(s *store) { s.keys = append(s.keys, before(3, uuidC)) })
		time.Sleep(2 * time.Minute)
		if got := generation(t, k); got != 3 {
			t.Errorf("generation %d is active: %v", got, k.Ready())
		}
	})
	for name, text := range map[string]string{
		"empty": "", "cut": `{"version":1,"key":"7f3d`, "no JSON": "generation 3", "another version": `{"version":2,"key":"` + uuidA + `","generation":1}`,
		"no generation": `{"version":1,"key":"` + uuidA + `"}`, "no key": `{"version":1,"generation":1}`, "more": `{"version":1,"key":"` + uuidA + `","generation":1}{}`,
		"null": "null", "a list that is cut": `{"version":1,"key":"` + uuidA + `","generation":1,"keys":[{"key":"`, "endless": `{"version":1,"key":"` + strings.Repeat("7", 2<<20),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(&store{}, Options{Entries: one(), StateFile: file}); !errors.Is(err, ErrStateFile) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Truncate(file, 1<<30); err != nil { // a file with a hole costs no more
		t.Fatal(err)
	}
	if _, err := readMark(file); !errors.Is(err, ErrStateFile) {
		t.Errorf("a gibibyte: %v", err)
	}
	if err := os.WriteFile(file, []byte(`{"version":1,"key":"`+uuidA+`","generation":1,"x":[{"y":1}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if mark, err := readMark(file); err != nil || mark != (KeyRef{uuidA, 1}) {
		t.Errorf("of a later version, which tells more: %v, %v", mark, err)
	}
	if _, err := New(&store{}, Options{Entries: one(), StateFile: filepath.Dir(file)}); !errors.Is(err, ErrStateFile) {
		t.Errorf("a directory: %v", err)
	}
}

// TestStateFileThatCanNotBeWritten goes on without it, tells, and writes it when it can.
func TestStateFileThatCanNotBeWritten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not-there")
	file := filepath.Join(dir, "state.json")
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		var log logtest.Buffer
		k := run(t, &store{keys: []ListedKey{before(1, uuidA)}}, func(o *Options) {
			o.StateFile, o.Registerer, o.Logger = file, registry, slog.New(slog.NewTextHandler(&log, nil))
		})
		time.Sleep(150 * time.Minute)
		if n := strings.Count(log.String(), "the state file can't be written"); n != 3 {
			t.Errorf("told %d times in two hours and a half:\n%s", n, log.String())
		}
		if got := generation(t, k); got != 1 || gathered(t, registry)["mooring_barbican_state_file_unsaved"] != 1 {
			t.Errorf("generation %d, %v", got, gathered(t, registry))
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if mark, err := readMark(file); err != nil || mark != (KeyRef{uuidA, 1}) || gathered(t, registry)["mooring_barbican_state_file_unsaved"] != 0 {
			t.Errorf("%v, %v", mark, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".mooring*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func FuzzParseMemory(f *testing.F) {
	f.Add([]byte(`{"version":1,"key":"` + uuidA + `","generation":7}`))
	f.Add([]byte(`{"version":1,"key":"` + uuidA + `","generation":-1}`))
	f.Add([]byte(`{"version":1,"key":"` + uuidA + `","generation":1,"owner":"o","keys":[{"key":"` + uuidA + `","generation":1,"creator":"o","created":"2026-01-01T00:00:00Z","met":"2026-01-01T00:00:00Z"}]}`))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMemory(data)
		if err != nil {
			return
		}
		for _, k := range append(m.keys, keyMemory{ListedKey: ListedKey{Ref: m.mark}}) {
			if ref, err := ParseKeyID(k.Ref.KeyID()); err != nil || ref != k.Ref {
				t.Errorf("%s is read as %v", data, k.Ref)
			}
		}
		written, err := m.encode()
		if err != nil {
			return // a time that JSON can't write
		}
		if again, err := parseMemory(written); err != nil || again.mark != m.mark || len(again.keys) != len(m.keys) {
			t.Errorf("%s is written as %s: %v", data, written, err)
		}
	})
}

// TestForeignKeys shows what a keyring does with another's key, and what it says of it.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Buffer
		foreign := before(2, uuidB)
		foreign.Creator = "mallory"
		s := &store{keys: []ListedKey{foreign, before(1, uuidA)}}
		k := run(t, s, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		time.Sleep(time.Hour)
		if got := generation(t, k); got != 1 {
			t.Errorf("generation %d is active", got)
		}
		if _, err := k.Decrypt(t.Context(), foreign.Ref.KeyID(), make([]byte, 94)); !errors.Is(err, ErrUnusableKey) || !strings.Contains(err.Error(), "mallory") {
			t.Errorf("Decrypt: %v", err)
		}
		if err := k.Ready(); err != nil {
			t.Errorf("another's key keeps it from being ready: %v", err)
		}
		if _, gets, _ := s.counts(); gets != 1 {
			t.Errorf("%d fetches", gets)
		}
		if n := strings.Count(log.String(), "mallory"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log.String())
		}
	})
}

func TestKeyringFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"":                                   "no list of keys",
		"keys: []":                           "no key to write with",
		"keys: {}":                           "no list of keys",
		"key: []":                            "no list of keys",
		"keys: [{secret: x, generation: 1}]": "keys[0].secret",
		"keys: [{secret: " + uuidA + "}]":    "keys[0].generation",
		"keys: [{secret: " + uuidA + ", generation: -1}]":                                        "no list of keys",
		"keys: [{secret: " + uuidA + ", generation: 1, activeFrom: soon}]":                       "keys[0].activeFrom",
		"keys: [{secret: " + uuidA + ", generation: 1, readOnly: true}]":                         "no key to write with",
		"keys: [{secret: " + uuidA + ", generation: 1}]\n---\nkeys: []":                          "second document",
		"keys: [{secret: " + uuidA + ", generation: 1}, {secret: " + uuidB + ", generation: 1}]": "given to two keys",
	} {
		write(text)
		if _, err := ReadKeyringFile(file); !errors.Is(err, ErrKeyring) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadKeyringFile(file + ".not"); !errors.Is(err, ErrKeyring) {
		t.Errorf("no file: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		write("keys: [{secret: " + uuidA + ", generation: 1}]")
		k := run(t, &store{}, func(o *Options) {
			o.Policy.Trusted, o.List = true, func(context.Context, map[KeyRef]ListedKey) (*Listing, error) { return ReadKeyringFile(file) }
		})
		if got := generation(t, k); got != 1 {
			t.Fatalf("generation %d: %v", got, k.Ready())
		}
		from := time.Now().Add(5 * time.Minute)
		write(fmt.Sprintf("keys:\n- {secret: %s, generation: 2, activeFrom: %s}\n- {secret: %s, generation: 1, readOnly: true}\n", uuidB, from.UTC().Format(time.RFC3339), uuidA))
		time.Sleep(5*time.Minute - time.Second)
		if got := generation(t, k); got != 1 {
			t.Errorf("before its time generation %d is active", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := generation(t, k); got != 2 {
			t.Errorf("at its time generation %d is active: %v", got, k.Ready())
		}
		write("keys: nonsense") // what is held is not lost by it
		time.Sleep(time.Hour)
		if got := generation(t, k); got != 2 {
			t.Errorf("with a broken file generation %d is active", got)
		}
	})
}

func FuzzParseKeyringFile(f *testing.F) {
	f.Add([]byte("keys: [{secret: " + uuidA + ", generation: 1, activeFrom: 2026-11-22T15:00:00Z, readOnly: false}]"))
	f.Add([]byte("keys: [{secret: " + uuidA + ", generation: 1}]\n---\n"))
	f.Add([]byte("keys: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseKeyringFile(data)
		if err != nil {
			return
		}
		for _, e := range entries {
			if ref, err := ParseKeyID(e.Ref.KeyID()); err != nil || ref != e.Ref {
				t.Errorf("%q gives %v", data, e.Ref)
			}
		}
		if err := CheckEntries(entries); err != nil {
			t.Error(err)
		}
	})
}

// TestKeyringThatIsRefused restarts a plugin that may not read its keyring any more, but the keys.
func TestKeyringThatIsRefused(t *testing.T) {
	t.Parallel()
	for policy, want := range map[Revocation]struct{ writes, reads bool }{Serve: {true, true}, StopWrites: {reads: true}, StopAll: {}} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "state.json")
			with := func(o *Options) { o.StateFile, o.Policy.OnRevocation = file, policy }
			var wrapped []byte
			synctest.Test(t, func(t *testing.T) {
				s := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}}
				k := run(t, s, with)
				s.change(func(s *store) { s.keys = append(s.keys, made(3, uuidC)) })
				time.Sleep(2 * time.Minute) // it is not active yet, and won't be
				var err error
				if wrapped, err = sealWith(k, KeyRef{uuidA, 1}); err != nil {
					t.Fatal(err)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				var log logtest.Buffer
				registry := prometheus.NewRegistry()
				s := &store{keys: []ListedKey{before(2, uuidB), before(1, uuidA)}, listErr: away()}
				k := run(t, s, with, func(o *Options) {
					o.Registerer, o.Logger = registry, slog.New(slog.NewTextHandler(&log, nil))
				})
				time.Sleep(time.Hour)
				if _, err := k.Status(); !errors.Is(err, ErrNotReady) {
					t.Errorf("an outage: %v", err)
				}
				s.change(func(s *store) { s.listErr = forbidden() })
				time.Sleep(time.Hour)
				_, err := k.Decrypt(t.Context(), KeyRef{uuidA, 1}.KeyID(), wrapped)
				if (err == nil) != want.reads {
					t.Errorf("Decrypt: %v", err)
				}
				if got := generation(t, k); (got == 2) != want.writes || got != 2 && got != 0 {
					t.Errorf("generation %d is active", got)
				}
				metrics := gathered(t, registry)
				if recalled := metrics["mooring_barbican_recalled"] == 1; recalled != want.reads || metrics["mooring_barbican_revoked"] != 1 {
					t.Errorf("%v", metrics)
				}
				if want.reads != strings.Contains(log.String(), "state file remembers") {
					t.Errorf("it says %s", log.String())
				}
				if _, err := k.Decrypt(t.Context(), KeyRef{uuidC, 9}.KeyID(), wrapped); errors.Is(err, ErrUnknownKey) {
					t.Errorf("it takes its memory for the keyring: %v", err)
				}
				s.change(func(s *store) { s.listErr = nil })
				time.Sleep(2 * time.Minute)
				if got := generation(t, k); got != 2 || gathered(t, registry)["mooring_barbican_recalled"] != 0 || gathered(t, registry)["mooring_barbican_revoked"] != 0 {
					t.Errorf("afterwards generation %d is active: %v", got, k.Ready())
				}
			})
		})
	}
}

// TestStateFileOfAnotherKeyring: the keys that are listed in it are not those of a keyring that is refused. The mark counts for both.
func TestStateFileOfAnotherKeyring(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state.json")
	of := func(container string) func(*Options) {
		return func(o *Options) { o.StateFile, o.Container = file, container }
	}
	keys := func() []ListedKey { return []ListedKey{before(2, uuidB), before(1, uuidA)} }
	synctest.Test(t, func(t *testing.T) { run(t, &store{keys: keys()}, of("one")) })
	for _, container := range []string{"another", "one"} {
		synctest.Test(t, func(t *testing.T) {
			k := run(t, &store{keys: keys(), listErr: forbidden()}, of(container))
			time.Sleep(time.Hour)
			if got := generation(t, k); (got == 2) != (container == "one") || got != 2 && got != 0 {
				t.Errorf("%s: generation %d is active", container, got)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		k := run(t, &store{keys: []ListedKey{before(1, uuidC)}}, of("another"))
		if _, err := k.Status(); !errors.Is(err, ErrBehind) {
			t.Errorf("a lower generation: %v", err)
		}
	})
}

// sealWith wraps with a key that need not be active.
func sealWith(k *Keyring, ref KeyRef) ([]byte, error) {
	held := k.current.Load().keys[ref.KeyID()]
	if held == nil {
		return nil, ErrNotReady
	}
	return k.seal(held, testDEK())
}
