package barbican

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mooring/pkg/openstack"
)

// vault is a Barbican of a map, whose answers a test can change.
type vault struct {
	mu    sync.Mutex
	calls int
	get   func(secret string) ([]byte, error)
}

func (v *vault) Payload(ctx context.Context, secret string, _ int) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return v.get(secret)
}

func (v *vault) set(get func(secret string) ([]byte, error)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.get = get
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls
}

// material is the key of a secret: 32 bytes that tell which.
func material(secret string) ([]byte, error) { return []byte(secret[:32]), nil }

func testDEK() []byte { return bytes.Repeat([]byte{0xd3, 0x1f}, 16) }

func start(t *testing.T, v *vault, o Options) *Keyring {
	t.Helper()
	k, err := New(v, o)
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
	return k
}

func one() []Entry { return []Entry{{Ref: KeyRef{uuidA, 1}}} }

func TestKeyringServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vault{get: material}
		registry := prometheus.NewRegistry()
		k := start(t, v, Options{Entries: []Entry{{Ref: KeyRef{uuidA, 2}}, {Ref: KeyRef{uuidB, 1}, ReadOnly: true}}, ClusterID: "c", Registerer: registry})
		if _, err := k.Status(); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), uuidA) {
			t.Errorf("before Run: error %v", err)
		}
		synctest.Wait()
		id, err := k.Status()
		if want := "barbican:v1:" + uuidA + ":2"; err != nil || id != want {
			t.Fatalf("Status = %q, %v; want %q", id, err, want)
		}
		ciphertext, used, err := k.Encrypt(testDEK())
		if err != nil || used != id || len(ciphertext) != 94 {
			t.Fatalf("Encrypt = %d bytes, %q, %v", len(ciphertext), used, err)
		}
		if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
			t.Errorf("Decrypt = %x, %v", got, err)
		}
		if err := k.Ready(); err != nil {
			t.Errorf("Ready: %v", err)
		}
		time.Sleep(24 * time.Hour)
		for range 100 {
			if _, err := k.Decrypt(t.Context(), id, ciphertext); err != nil {
				t.Fatal(err)
			}
		}
		if n := v.count(); n != 2 {
			t.Errorf("%d fetches for two keys in a day", n)
		}
		want := fmt.Sprintf(`
# HELP mooring_barbican_active_key_info 1 for the key that wraps, by its generation and the hash that kube-apiserver's metrics have of its id.
# TYPE mooring_barbican_active_key_info gauge
mooring_barbican_active_key_info{generation="2",key_id_hash=%q} 1
# HELP mooring_barbican_keys Keys of the keyring, by state (held in memory, wanted from Barbican, or refused by a rule).
# TYPE mooring_barbican_keys gauge
mooring_barbican_keys{state="held"} 2
mooring_barbican_keys{state="refused"} 0
mooring_barbican_keys{state="wanted"} 0
`, KeyIDHash(id))
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "mooring_barbican_active_key_info", "mooring_barbican_keys"); err != nil {
			t.Error(err)
		}
	})
}

// TestKeyringReads opens what an older key wrapped, and nothing that another cluster did.
func TestKeyringReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vault{get: material}
		old := start(t, v, Options{Entries: one(), ClusterID: "c"})
		next := start(t, v, Options{Entries: []Entry{{Ref: KeyRef{uuidB, 2}}, {Ref: KeyRef{uuidA, 1}, ReadOnly: true}}, ClusterID: "c"})
		foreign := start(t, v, Options{Entries: one(), ClusterID: "d"})
		synctest.Wait()
		ciphertext, id, err := old.Encrypt(testDEK())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := next.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
			t.Errorf("the next keyring: %x, %v", got, err)
		}
		if _, used, err := next.Encrypt(testDEK()); err != nil || used != (KeyRef{uuidB, 2}).KeyID() {
			t.Errorf("the next keyring writes with %q, %v", used, err)
		}
		// A secret that is put back to use has a new key id, and reads what it wrote under the old one.
		again := start(t, v, Options{Entries: []Entry{{Ref: KeyRef{uuidA, 3}}, {Ref: KeyRef{uuidA, 1}, ReadOnly: true}}, ClusterID: "c"})
		synctest.Wait()
		if got, err := again.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
			t.Errorf("the key that is back: %x, %v", got, err)
		}
		if _, err := again.Decrypt(t.Context(), KeyRef{uuidA, 3}.KeyID(), ciphertext); !errors.Is(err, ErrCiphertext) {
			t.Errorf("under its new id: %v", err)
		}
		_, foreignErr := foreign.Decrypt(t.Context(), id, ciphertext)
		if !errors.Is(foreignErr, ErrCiphertext) || !strings.Contains(foreignErr.Error(), "--cluster-id") {
			t.Errorf("another cluster: error %v", foreignErr)
		}
		ciphertext[60] ^= 1
		if _, err := old.Decrypt(t.Context(), id, ciphertext); err == nil || err.Error() != foreignErr.Error() {
			t.Errorf("what was altered is told from what is another cluster's: %v, %v", err, foreignErr)
		}
	})
}

func TestKeyringErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vault{get: func(secret string) ([]byte, error) {
			if secret == uuidB {
				return nil, &openstack.Error{Class: openstack.ErrUnavailable, Message: "away"}
			}
			return material(secret)
		}}
		k := start(t, v, Options{Entries: []Entry{{Ref: KeyRef{uuidA, 1}}, {Ref: KeyRef{uuidB, 2}, ReadOnly: true}}})
		synctest.Wait()
		ciphertext, id, err := k.Encrypt(testDEK())
		if err != nil {
			t.Fatal(err)
		}
		for name, tc := range map[string]struct {
			id         string
			ciphertext []byte
			want       error
		}{
			"nothing":         {"", nil, ErrKeyID},
			"another's id":    {"vault:v1:abc", ciphertext, ErrKeyID},
			"unknown":         {KeyRef{uuidC, 1}.KeyID(), ciphertext, ErrUnknownKey},
			"next generation": {KeyRef{uuidA, 2}.KeyID(), ciphertext, ErrUnknownKey},
			"not here":        {KeyRef{uuidB, 2}.KeyID(), ciphertext, ErrNotReady},
			"no ciphertext":   {id, nil, ErrCiphertext},
			"cut":             {id, ciphertext[:93], ErrCiphertext},
			"changed":         {id, append(bytes.Clone(ciphertext[:93]), ciphertext[93]^1), ErrCiphertext},
			"CPO's":           {id, make([]byte, 64), ErrCiphertext},
		} {
			if got, err := k.Decrypt(t.Context(), tc.id, tc.ciphertext); !errors.Is(err, tc.want) || got != nil {
				t.Errorf("%s: %x, error %v, want %v", name, got, err, tc.want)
			}
		}
		for _, n := range []int{0, 31, 33, 1 << 20} {
			if _, _, err := k.Encrypt(make([]byte, n)); !errors.Is(err, ErrPlaintext) {
				t.Errorf("%d bytes: error %v", n, err)
			}
		}
		if err := k.Ready(); !errors.Is(err, ErrNotReady) || !errors.Is(err, openstack.ErrUnavailable) {
			t.Errorf("Ready with a key away: %v", err)
		}
	})
}

// TestKeyringWaits shows each way in which Barbican can fail a keyring that has no key yet, and that it gets over it.
// A plugin that was started in an outage does not know its keys: that is no reason to call one unknown.
func TestKeyringThatCannotBeListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := start(t, &vault{get: material}, Options{List: func(context.Context, map[KeyRef]ListedKey) (*Listing, error) {
			return nil, &openstack.Error{Class: openstack.ErrUnavailable, Message: "away"}
		}})
		for range 2 { // before the first answer and after it
			if _, err := k.Decrypt(t.Context(), KeyRef{uuidA, 1}.KeyID(), make([]byte, 94)); !errors.Is(err, ErrNotReady) {
				t.Errorf("error %v", err)
			}
			synctest.Wait()
		}
	})
}

func TestKeyringWaits(t *testing.T) {
	t.Parallel()
	class := func(c error) func(string) ([]byte, error) {
		return func(string) ([]byte, error) {
			return nil, fmt.Errorf("payload: %w", &openstack.Error{Class: c, Message: "no"})
		}
	}
	payload := func(n int) func(string) ([]byte, error) {
		return func(string) ([]byte, error) { return make([]byte, n), nil }
	}
	for name, tc := range map[string]struct {
		get    func(string) ([]byte, error)
		want   []error
		within time.Duration // how soon it serves when Barbican does
	}{
		"away":       {class(openstack.ErrUnavailable), []error{ErrNotReady, openstack.ErrUnavailable}, time.Second},
		"throttled":  {class(openstack.ErrThrottled), []error{ErrNotReady, openstack.ErrThrottled}, time.Second},
		"timeout":    {func(string) ([]byte, error) { return nil, context.DeadlineExceeded }, []error{ErrNotReady}, time.Second},
		"forbidden":  {class(openstack.ErrForbidden), []error{ErrNotReady, openstack.ErrForbidden}, 30 * time.Second},
		"not found":  {class(openstack.ErrNotFound), []error{ErrNotReady, openstack.ErrNotFound}, 30 * time.Second},
		"no login":   {class(openstack.ErrUnauthorized), []error{ErrNotReady, openstack.ErrUnauthorized}, 30 * time.Second},
		"no service": {class(openstack.ErrNoService), []error{ErrNotReady, openstack.ErrNoService}, 30 * time.Second},
		"empty":      {payload(0), []error{ErrNotReady, ErrUnusableKey}, 30 * time.Second},
		"31 bytes":   {payload(31), []error{ErrNotReady, ErrUnusableKey}, 30 * time.Second},
		"33 bytes":   {payload(33), []error{ErrNotReady, ErrUnusableKey}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v := &vault{get: tc.get}
				k := start(t, v, Options{Entries: one()})
				time.Sleep(10 * time.Minute)
				_, err := k.Status()
				_, _, encryptErr := k.Encrypt(testDEK())
				_, decryptErr := k.Decrypt(t.Context(), KeyRef{uuidA, 1}.KeyID(), make([]byte, 94))
				for _, err := range []error{err, encryptErr, decryptErr, k.Ready()} {
					for _, want := range tc.want {
						if !errors.Is(err, want) {
							t.Errorf("error %v, want %v", err, want)
						}
					}
				}
				if n := v.count(); n < 10*60/30 || n > 10*60*3 {
					t.Errorf("%d fetches in ten minutes", n)
				}
				v.set(material)
				time.Sleep(tc.within)
				synctest.Wait()
				if _, err := k.Status(); err != nil {
					t.Errorf("%v after Barbican's return: %v", tc.within, err)
				}
			})
		})
	}
}

// TestKeyringEnd ends a keyring in the midst of a fetch.
func TestKeyringEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{}, 1)
		k, err := New(slow(asked), Options{Entries: one()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		<-asked
		cancel()
		if err := errors.Join(<-done, k.Close()); err != nil {
			t.Error(err)
		}
		if _, err := k.Status(); !errors.Is(err, ErrNotReady) || errors.Is(err, context.Canceled) {
			t.Errorf("the end of the process is taken for a failure: %v", err)
		}
	})
}

type slow chan struct{}

func (s slow) Payload(ctx context.Context, _ string, _ int) ([]byte, error) {
	s <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestKeyringConcurrency switches keys under load: every answer fits itself.
func TestKeyringConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		entries := []Entry{{Ref: KeyRef{uuidA, 1}}, {Ref: KeyRef{uuidB, 2}, Activation: time.Now().Add(50 * time.Millisecond)}}
		k := start(t, &vault{get: material}, Options{Entries: entries})
		synctest.Wait()
		var wg sync.WaitGroup
		seen := make([]map[string]bool, 8)
		for i := range seen {
			seen[i] = map[string]bool{}
			wg.Go(func() {
				last := uint64(0)
				for range 100 {
					time.Sleep(time.Millisecond)
					ciphertext, id, err := k.Encrypt(testDEK())
					if err != nil {
						t.Error(err)
						return
					}
					seen[i][id] = true
					ref, err := ParseKeyID(id)
					if err != nil || ref.Generation < last {
						t.Errorf("%v after generation %d: %v", ref, last, err)
					}
					last = ref.Generation
					if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
						t.Errorf("Decrypt = %x, %v", got, err)
					}
				}
			})
		}
		wg.Wait()
		for _, ids := range seen {
			if len(ids) != 2 {
				t.Errorf("ids %v", ids)
			}
		}
	})
}

// TestNothingSecretIsLogged greps everything a keyring logs and says for its keys.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hush = "hush-hush-hush-hush-hush-hush-32"
		var log bytes.Buffer
		answers := [][]byte{[]byte(hush[:31]), []byte(hush + "!"), []byte(hush)}
		v := &vault{}
		v.get = func(string) ([]byte, error) { return bytes.Clone(answers[min(v.calls, len(answers))-1]), nil }
		k := start(t, v, Options{Entries: one(), Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := k.Status(); err != nil {
			t.Fatal(err)
		}
		said := log.String() + fmt.Sprintf("%v %+v %#v", k.keys[KeyRef{uuidA, 1}.KeyID()], k.keys, *k.keys[KeyRef{uuidA, 1}.KeyID()])
		for _, leak := range []string{hush[:31], fmt.Sprintf("%x", hush[:16]), "[104 117 115 104 45"} {
			if strings.Contains(said, leak) {
				t.Errorf("%q in %s", leak, said)
			}
		}
		if !strings.Contains(said, "31 bytes") || !strings.Contains(said, "more than 32 bytes") {
			t.Errorf("the log does not tell what was wrong: %s", said)
		}
	})
}

// TestOutageDoesNotFillTheLog counts the warnings of a long outage, in which a key is asked for every second.
func TestOutageDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		v := &vault{get: func(string) ([]byte, error) {
			return nil, &openstack.Error{Class: openstack.ErrUnavailable, Message: "away"}
		}}
		start(t, v, Options{Entries: one(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if warnings := strings.Count(log.String(), "level=WARN"); warnings < 10 || warnings > 20 {
			t.Errorf("%d warnings for %d attempts", warnings, v.count())
		}
	})
}
