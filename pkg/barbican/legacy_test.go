package barbican

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mooring/pkg/openstack"
)

// node is a plugin on a control-plane node.
type node interface {
	Status() (keyID string, err error)
	Encrypt(dek []byte) (ciphertext []byte, keyID string, err error)
	Decrypt(ctx context.Context, keyID string, ciphertext []byte) (dek []byte, err error)
}

// oldPlugin is cloud-provider-openstack's plugin, as far as its answers go: AES-CBC with PKCS #7 under one key, whatever the
// request's key id is, and a decoder that checks next to nothing. It is written from that format's description alone.
type oldPlugin struct {
	id  string
	key []byte
}

func (p oldPlugin) Status() (string, error) { return p.id, nil }

func (p oldPlugin) Encrypt(dek []byte) ([]byte, string, error) {
	iv := make([]byte, 16)
	if _, err := rand.Read(iv); err != nil {
		return nil, "", err
	}
	ciphertext, err := p.encode(iv, dek)
	return ciphertext, p.id, err
}

func (p oldPlugin) encode(iv, dek []byte) ([]byte, error) {
	block, err := aes.NewCipher(p.key)
	if err != nil {
		return nil, err
	}
	pad := 16 - len(dek)%16
	padded := append(bytes.Clone(dek), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	return append(bytes.Clone(iv), padded...), nil
}

func (p oldPlugin) Decrypt(_ context.Context, _ string, ciphertext []byte) ([]byte, error) {
	block, err := aes.NewCipher(p.key)
	if err != nil {
		return nil, err
	}
	if len(ciphertext) < 32 || len(ciphertext)%16 != 0 {
		return nil, errors.New("no blocks")
	}
	plain := bytes.Clone(ciphertext[16:])
	cipher.NewCBCDecrypter(block, ciphertext[:16]).CryptBlocks(plain, plain)
	pad := int(plain[len(plain)-1])
	if pad > len(plain) {
		return nil, errors.New("that plugin crashes here")
	}
	return plain[:len(plain)-pad], nil
}

func takeover(t *testing.T, v fetcher, next *Keyring, o TakeoverOptions) *Takeover {
	t.Helper()
	k, err := NewTakeover(v, next, o)
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

func oldOne(t *testing.T, secret string) oldPlugin {
	t.Helper()
	key, err := material(secret)
	if err != nil {
		t.Fatal(err)
	}
	return oldPlugin{secret, key}
}

func sealed(t *testing.T, p interface {
	Encrypt(dek []byte) ([]byte, string, error)
}, dek []byte,
) ([]byte, string) {
	t.Helper()
	ciphertext, id, err := p.Encrypt(dek)
	if err != nil {
		t.Fatal(err)
	}
	return ciphertext, id
}

// TestLegacyReads opens what the other plugin wrote and writes suite 1, also when both use one secret.
func TestLegacyReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		v := &vault{get: material}
		ring := start(t, v, Options{Entries: one(), ClusterID: "c"})
		k := takeover(t, v, ring, TakeoverOptions{Keys: []string{uuidA, uuidB}, Registerer: registry})
		synctest.Wait()
		if err := k.Ready(); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{uuidA, uuidB} {
			ciphertext, id := sealed(t, oldOne(t, secret), testDEK())
			if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
				t.Errorf("%s: %x, %v", secret, got, err)
			}
		}
		ciphertext, id := sealed(t, k, testDEK())
		if status, err := k.Status(); err != nil || status != id || id != (KeyRef{uuidA, 1}).KeyID() || len(ciphertext) != 94 {
			t.Errorf("it writes %d bytes as %q; Status is %q, %v", len(ciphertext), id, status, err)
		}
		if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
			t.Errorf("suite 1: %x, %v", got, err)
		}
		const want = `
# HELP mooring_barbican_legacy_decrypts_total Requests to open a data-encryption key with a legacy key.
# TYPE mooring_barbican_legacy_decrypts_total counter
mooring_barbican_legacy_decrypts_total 2
# HELP mooring_barbican_legacy_keys Legacy keys, by state (held in memory, or wanted from Barbican).
# TYPE mooring_barbican_legacy_keys gauge
mooring_barbican_legacy_keys{state="held"} 2
mooring_barbican_legacy_keys{state="wanted"} 0
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	})
}

// TestLegacySpelling takes the key id as the other plugin's configuration spelled it.
func TestLegacySpelling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := ""
		v := &vault{get: func(secret string) ([]byte, error) {
			asked = secret
			return material(secret)
		}}
		upper := strings.ToUpper(uuidA)
		k := takeover(t, v, nil, TakeoverOptions{Keys: []string{upper}, CompatWrite: true})
		synctest.Wait()
		if id, err := k.Status(); err != nil || id != upper || asked != uuidA {
			t.Errorf("Status = %q, %v; %q was asked for", id, err, asked)
		}
	})
}

func TestLegacyErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vault{get: func(secret string) ([]byte, error) {
			if secret == uuidC {
				return nil, &openstack.Error{Class: openstack.ErrUnavailable, Message: "away"}
			}
			return material(secret)
		}}
		ring := start(t, v, Options{Entries: one()})
		synctest.Wait()
		k := takeover(t, v, ring, TakeoverOptions{Keys: []string{uuidB, uuidC}})
		synctest.Wait()
		suite1, id := sealed(t, k, testDEK())
		good, _ := sealed(t, oldOne(t, uuidB), testDEK())
		other, _ := sealed(t, oldOne(t, uuidA), testDEK())
		long, _ := sealed(t, oldOne(t, uuidB), append(testDEK(), 1))
		for name, tc := range map[string]struct {
			id         string
			ciphertext []byte
			want       error
		}{
			"wrong key":                    {uuidB, other, ErrCiphertext},
			"truncated by a byte":          {uuidB, good[:63], ErrCiphertext},
			"truncated by a block":         {uuidB, good[:48], ErrCiphertext},
			"longer":                       {uuidB, append(bytes.Clone(good), good[:16]...), ErrCiphertext},
			"33 bytes of plaintext":        {uuidB, long, ErrCiphertext},
			"nothing":                      {uuidB, nil, ErrCiphertext},
			"suite 1":                      {uuidB, suite1, ErrCiphertext},
			"the padding changed":          {uuidB, append(bytes.Clone(good[:63]), good[63]^1), ErrCiphertext},
			"in the ring, not in the list": {uuidA, other, ErrKeyID},
			"legacy under a suite 1 id":    {id, other, ErrCiphertext},
			"in no list":                   {"00000000-0000-4000-8000-000000000000", good, ErrKeyID},
			"another spelling":             {strings.ToUpper(uuidB), good, ErrKeyID},
			"not here":                     {uuidC, good, ErrNotReady},
		} {
			if got, err := k.Decrypt(t.Context(), tc.id, tc.ciphertext); !errors.Is(err, tc.want) || got != nil {
				t.Errorf("%s: %x, error %v, want %v", name, got, err, tc.want)
			}
		}
		if err := k.Ready(); !errors.Is(err, ErrNotReady) || !errors.Is(err, openstack.ErrUnavailable) {
			t.Errorf("Ready with a key away: %v", err)
		}
		for _, o := range []TakeoverOptions{
			{Keys: []string{uuidA, uuidB}, CompatWrite: true}, {CompatWrite: true}, {Keys: []string{uuidA}}, {Keys: []string{id}, CompatWrite: true},
		} {
			if _, err := NewTakeover(v, nil, o); err == nil {
				t.Errorf("%+v is accepted without a keyring", o)
			}
		}
	})
}

// TestCompatWrite writes what the other plugin reads, without a keyring, with any key that plugin can use.
func TestCompatWrite(t *testing.T) {
	t.Parallel()
	for _, size := range []int{16, 24, 32} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				get := func(secret string) ([]byte, error) { return []byte(secret[:size]), nil }
				registry := prometheus.NewRegistry()
				k := takeover(t, &vault{get: get}, nil, TakeoverOptions{Keys: []string{uuidA}, CompatWrite: true, Registerer: registry})
				synctest.Wait()
				ciphertext, id := sealed(t, k, testDEK())
				old := oldPlugin{uuidA, []byte(uuidA[:size])}
				if got, err := old.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) || id != uuidA || len(ciphertext) != 64 {
					t.Errorf("the other plugin reads %x, %v from %d bytes of %q", got, err, len(ciphertext), id)
				}
				if status, err := k.Status(); err != nil || status != id {
					t.Errorf("Status = %q, %v", status, err)
				}
				if err := k.Ready(); err != nil {
					t.Error(err)
				}
				if _, _, err := k.Encrypt(make([]byte, 31)); !errors.Is(err, ErrPlaintext) {
					t.Errorf("31 bytes: %v", err)
				}
				if _, err := k.Decrypt(t.Context(), KeyRef{uuidA, 1}.KeyID(), make([]byte, 94)); !errors.Is(err, ErrUnknownKey) {
					t.Errorf("without a keyring: %v", err)
				}
				if _, err := k.Decrypt(t.Context(), "x", ciphertext); !errors.Is(err, ErrKeyID) {
					t.Errorf("no key id: %v", err)
				}
				want := fmt.Sprintf("# HELP mooring_barbican_compat_write_info 1 while the legacy format is written, with the hash that kube-apiserver's metrics have of the key's id.\n"+
					"# TYPE mooring_barbican_compat_write_info gauge\nmooring_barbican_compat_write_info{key_id_hash=%q} 1\n", KeyIDHash(uuidA))
				if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "mooring_barbican_compat_write_info"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestLegacyWaits shows that a legacy key is fetched until it is here, and that its bytes stay out of what is said.
func TestLegacyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hush = "hush-hush-hush-hush-hush-hush-32"
		var log bytes.Buffer
		v := &vault{get: func(string) ([]byte, error) { return []byte(hush + "!"), nil }}
		k := takeover(t, v, nil, TakeoverOptions{Keys: []string{uuidA}, CompatWrite: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if _, err := k.Status(); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), uuidA) {
			t.Errorf("before Run: %v", err)
		}
		for _, n := range []int{31, 33, 0} {
			v.set(func(string) ([]byte, error) { return []byte((hush + "!")[:n]), nil })
			time.Sleep(time.Minute)
			if _, _, err := k.Encrypt(testDEK()); !errors.Is(err, ErrNotReady) || !errors.Is(err, ErrUnusableKey) || !strings.Contains(err.Error(), "16, 24 or 32") {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "can't be fetched"); n > 10 {
			t.Errorf("%d warnings", n)
		}
		v.set(func(string) ([]byte, error) { return []byte(hush), nil })
		time.Sleep(time.Minute)
		if _, _, err := k.Encrypt(testDEK()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if said := log.String() + fmt.Sprintf("%v %+v", k.keys[uuidA], k.keys[uuidA].state.Load()); strings.Contains(said, hush[:9]) || !strings.Contains(said, "more than 32 bytes") {
			t.Errorf("said: %s", said)
		}
	})
}

// TestTakeoverInOrder takes three nodes over, one after the other, first with CompatWrite, then without: at every step every
// node reads all that was written so far. In any other order one would meet a key id that it can't read.
func TestTakeoverInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vault{get: material}
		entries := []Entry{{Ref: KeyRef{uuidB, 1}}}
		marks := filepath.Join(t.TempDir(), "mark.json")
		ours := func(compat bool) node {
			k := takeover(t, v, start(t, v, Options{Entries: entries, ClusterID: "c", Policy: Policy{ReadOnly: compat}, StateFile: marks}), TakeoverOptions{Keys: []string{uuidA}, CompatWrite: compat})
			synctest.Wait()
			if err := k.Ready(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(marks); compat && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("in compat-write there is a mark: %v", err)
			}
			return k
		}
		old := oldOne(t, uuidA)
		nodes := []node{old, old, old}
		type stored struct {
			id              string
			ciphertext, dek []byte
		}
		var etcd []stored
		read := func(n node, s stored) error {
			got, err := n.Decrypt(t.Context(), s.id, s.ciphertext)
			if err == nil && !bytes.Equal(got, s.dek) {
				err = errors.New("it reads something else")
			}
			return err
		}
		step := func(name, wantID string, change func()) {
			change()
			for i, n := range nodes {
				dek := bytes.Repeat([]byte{byte(len(etcd)), 1}, 16)
				ciphertext, id := sealed(t, n, dek)
				if status, err := n.Status(); err != nil || status != id {
					t.Errorf("%s: node %d writes %q, its Status is %q, %v", name, i, id, status, err)
				}
				etcd = append(etcd, stored{id, ciphertext, dek})
			}
			for i, n := range nodes {
				for j, s := range etcd {
					if err := read(n, s); err != nil {
						t.Errorf("%s: node %d can't read object %d of %q: %v", name, i, j, s.id, err)
					}
				}
			}
			if last := etcd[len(etcd)-1]; last.id != wantID {
				t.Errorf("%s: the last node writes with %q, want %q", name, last.id, wantID)
			}
		}
		step("the other plugin everywhere", uuidA, func() {})
		for i := range nodes {
			step(fmt.Sprintf("compat-write on node %d", i), uuidA, func() { nodes[i] = ours(true) })
		}
		for _, i := range []int{2, 1, 0} {
			step(fmt.Sprintf("active on node %d", i), KeyRef{uuidB, 1}.KeyID(), func() { nodes[i] = ours(false) })
		}
		// Secrets are written again: what is left is suite 1, and the legacy key is no longer needed.
		for i, s := range etcd {
			ciphertext, id := sealed(t, nodes[i%3], s.dek)
			etcd[i] = stored{id, ciphertext, s.dek}
		}
		retired := start(t, v, Options{Entries: entries, ClusterID: "c"})
		synctest.Wait()
		for i, s := range etcd {
			if err := read(retired, s); err != nil {
				t.Errorf("object %d of %q without the legacy key: %v", i, s.id, err)
			}
		}
		// The other orders: suite 1 must not be written while a node runs the other plugin, nor before every node knows the keyring.
		last := etcd[len(etcd)-1]
		if err := read(old, last); err == nil {
			t.Error("the other plugin reads suite 1")
		}
		alone := takeover(t, v, nil, TakeoverOptions{Keys: []string{uuidA}, CompatWrite: true})
		synctest.Wait()
		if err := read(alone, last); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("a node in compat-write without the keyring: %v", err)
		}
	})
}

// TestReadOnlyKeyring is what stands behind CompatWrite: it is ready only when it has listed and holds all keys, whatever their
// time, and none of them becomes active.
func TestReadOnlyKeyring(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vault{get: material}
		writer := start(t, v, Options{Entries: one()})
		synctest.Wait()
		ciphertext, id := sealed(t, writer, testDEK())
		var back atomic.Bool
		list := func(context.Context, map[KeyRef]ListedKey) (*Listing, error) {
			if !back.Load() {
				return nil, &openstack.Error{Class: openstack.ErrUnavailable, Message: "away"}
			}
			l := &Listing{Now: time.Now(), Clock: BarbicanClock}
			for i, secret := range []string{uuidA, uuidB} {
				l.Keys = append(l.Keys, ListedKey{Ref: KeyRef{secret, uint64(i) + 1}, Created: time.Now().Add(-time.Hour * time.Duration(2*i-1)), Status: usableStatus})
			}
			return l, nil
		}
		marks := filepath.Join(t.TempDir(), "mark.json")
		k := start(t, v, Options{List: list, StateFile: marks, Policy: Policy{ReadOnly: true, AnyCreator: true, Poll: time.Minute, ActivationDelay: 10 * time.Minute}})
		time.Sleep(10 * time.Minute)
		if err := k.Ready(); !errors.Is(err, ErrNotReady) || !errors.Is(err, openstack.ErrUnavailable) {
			t.Errorf("before it was listed: %v", err)
		}
		back.Store(true)
		time.Sleep(10 * time.Minute)
		if err := k.Ready(); err != nil {
			t.Error(err)
		}
		if got, err := k.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, testDEK()) {
			t.Errorf("Decrypt = %x, %v", got, err)
		}
		time.Sleep(24 * time.Hour)
		if id, err := k.Status(); !errors.Is(err, errReadOnly) {
			t.Errorf("Status = %q, %v", id, err)
		}
		if _, _, err := k.Encrypt(testDEK()); !errors.Is(err, errReadOnly) {
			t.Error(err)
		}
		if _, err := os.Stat(marks); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a mark was written: %v", err)
		}
	})
}

func FuzzTakeoverDecrypt(f *testing.F) {
	v := &vault{get: material}
	ring, err := New(v, Options{Entries: one()})
	if err != nil {
		f.Fatal(err)
	}
	k, err := NewTakeover(v, ring, TakeoverOptions{Keys: []string{uuidB}})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan error, 2)
	go func() { done <- ring.Run(ctx) }()
	go func() { done <- k.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done, k.Close(), ring.Close()); err != nil {
			f.Error(err)
		}
	})
	for k.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	good, err := oldPlugin{uuidB, []byte(uuidB[:32])}.encode(bytes.Repeat([]byte{7}, 16), testDEK())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uuidB, good)
	f.Add(uuidB, good[:48])
	f.Add(uuidA, good)
	f.Add(KeyRef{uuidA, 1}.KeyID(), good)
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, id string, ciphertext []byte) {
		got, err := k.Decrypt(t.Context(), id, ciphertext)
		if (err == nil) != (len(got) == 32) {
			t.Fatalf("%d bytes, error %v", len(got), err)
		}
		if err == nil && (id != uuidB || !bytes.Equal(ciphertext[32:], good[32:])) {
			t.Fatalf("opened %x as %q", ciphertext, id)
		}
	})
}

// TestNoWayBackToTheLegacyFormat: once a generation was active, the legacy key id must not come back.
func TestNoWayBackToTheLegacyFormat(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state.json")
	o := TakeoverOptions{Keys: []string{uuidA}, CompatWrite: true, StateFile: file}
	if _, err := NewTakeover(&vault{}, nil, o); err != nil {
		t.Errorf("nothing was active yet: %v", err)
	}
	data, err := memory{mark: KeyRef{Secret: uuidB, Generation: 3}}.encode()
	if err := errors.Join(err, writeState(file, data)); err != nil {
		t.Fatal(err)
	}
	if _, err := NewTakeover(&vault{}, nil, o); !errors.Is(err, ErrStateFile) || !strings.Contains(err.Error(), "generation 3") {
		t.Errorf("the way back: %v", err)
	}
	o.CompatWrite = false
	ring, err := New(&vault{}, Options{Entries: []Entry{{Ref: KeyRef{Secret: uuidB, Generation: 3}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewTakeover(&vault{}, ring, o); err != nil {
		t.Errorf("legacy keys that only read: %v", err)
	}
}
