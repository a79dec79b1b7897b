package kms

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/barbican"
	"mooring/pkg/goldentest"
	"mooring/pkg/openstack"
)

const (
	secret = "7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b"
	keyID  = "barbican:v1:" + secret + ":1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vault is a Barbican with one answer.
type vault struct {
	payload []byte
	err     error
}

func (v vault) Payload(context.Context, string, int) ([]byte, error) {
	return bytes.Clone(v.payload), v.err
}

// keys is a running keyring.
func keys(tb testing.TB, v vault) *barbican.Keyring {
	tb.Helper()
	k := start(tb, v, barbican.Options{Entries: []barbican.Entry{{Ref: barbican.KeyRef{Secret: secret, Generation: 1}}}, ClusterID: "c"})
	if v.err == nil && len(v.payload) == 32 {
		for end := time.Now().Add(10 * time.Second); k.Ready() != nil; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				tb.Fatal(k.Ready())
			}
		}
	}
	return k
}

func start(tb testing.TB, v vault, o barbican.Options) *barbican.Keyring {
	tb.Helper()
	k, err := barbican.New(v, o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, k.Close()); err != nil {
			tb.Error(err)
		}
	})
	return k
}

func good() vault { return vault{payload: bytes.Repeat([]byte{42}, 32)} }

// dial serves a keyring on a socket and connects as kube-apiserver does.
func dial(tb testing.TB, k *barbican.Keyring) kmsapi.KeyManagementServiceClient {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "kms.sock")
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	server := grpc.NewServer()
	Register(server, k)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := conn.Close(); err != nil {
			tb.Error(err)
		}
		server.GracefulStop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return kmsapi.NewKeyManagementServiceClient(conn)
}

// TestGoldenCodes is the table from errors to codes, with one error of each kind as it comes out of the keyring.
func TestGoldenCodes(t *testing.T) {
	t.Parallel()
	away := keys(t, vault{err: &openstack.Error{Class: openstack.ErrUnavailable, Operation: "GET /v1/secrets", Message: "no route to host"}})
	short := keys(t, vault{payload: make([]byte, 31)})
	held := keys(t, good())
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // until each has failed once
		_, awayErr := away.Status()
		_, shortErr := short.Status()
		if errors.Is(awayErr, openstack.ErrUnavailable) && errors.Is(shortErr, barbican.ErrUnusableKey) {
			break
		}
		if time.Now().After(end) {
			t.Fatal(awayErr, shortErr)
		}
	}
	ciphertext, _, err := held.Encrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(ciphertext)
	changed[50] ^= 1
	ctx := t.Context()
	var out strings.Builder
	row := func(what string, err error) {
		s := status.Convert(err)
		fmt.Fprintf(&out, "%-34s %-18s %s\n", what, s.Code(), s.Message())
	}
	statusOf := func(k *barbican.Keyring) error {
		_, err := (&Service{keys: k}).Status(ctx, &kmsapi.StatusRequest{})
		return err
	}
	encrypt := func(k *barbican.Keyring, plaintext []byte) error {
		_, err := (&Service{keys: k}).Encrypt(ctx, &kmsapi.EncryptRequest{Plaintext: plaintext})
		return err
	}
	decrypt := func(k *barbican.Keyring, r *kmsapi.DecryptRequest) error {
		_, err := (&Service{keys: k}).Decrypt(ctx, r)
		return err
	}
	row("Status, held", statusOf(held))
	row("Status, Barbican away", statusOf(away))
	row("Status, a secret of 31 bytes", statusOf(short))
	row("Encrypt, held", encrypt(held, make([]byte, 32)))
	row("Encrypt, Barbican away", encrypt(away, make([]byte, 32)))
	row("Encrypt, 31 bytes", encrypt(held, make([]byte, 31)))
	row("Encrypt, nothing", encrypt(held, nil))
	row("Decrypt, held", decrypt(held, &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: ciphertext}))
	row("Decrypt, Barbican away", decrypt(away, &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: ciphertext}))
	row("Decrypt, a secret of 31 bytes", decrypt(short, &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: ciphertext}))
	row("Decrypt, unknown generation", decrypt(held, &kmsapi.DecryptRequest{KeyId: "barbican:v1:" + secret + ":2", Ciphertext: ciphertext}))
	row("Decrypt, another plugin's key id", decrypt(held, &kmsapi.DecryptRequest{KeyId: "projects/p/cryptoKeys/k", Ciphertext: ciphertext}))
	row("Decrypt, an empty request", decrypt(held, &kmsapi.DecryptRequest{}))
	row("Decrypt, changed ciphertext", decrypt(held, &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: changed}))
	row("Decrypt, cut ciphertext", decrypt(held, &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: ciphertext[:93]}))
	row("Decrypt, a huge key id", decrypt(held, &kmsapi.DecryptRequest{KeyId: strings.Repeat("k", 1025), Ciphertext: ciphertext}))
	row("Decrypt, a huge ciphertext", decrypt(held, &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: make([]byte, 1025)}))
	row("Decrypt, annotations", decrypt(held, &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: ciphertext, Annotations: map[string][]byte{"a.example": nil}}))
	for _, stopped := range []struct {
		what string
		want error
		keys *barbican.Keyring
	}{
		{"expired", barbican.ErrRevoked, polling(t, func(_ int, k *barbican.ListedKey) []barbican.ListedKey {
			k.Expires = k.Created.Add(time.Hour + 50*time.Millisecond)
			return []barbican.ListedKey{*k}
		}, nil)},
		{"entry gone", barbican.ErrRevoked, polling(t, func(n int, k *barbican.ListedKey) []barbican.ListedKey {
			return []barbican.ListedKey{*k}[:max(0, 2-n)]
		}, nil)},
		{"behind", barbican.ErrBehind, polling(t, nil, func(o *barbican.Options) {
			o.StateFile = filepath.Join(t.TempDir(), "state.json")
			if err := os.WriteFile(o.StateFile, []byte(`{"version":1,"key":"`+secret+`","generation":2}`), 0o600); err != nil {
				t.Fatal(err)
			}
		})},
		{"stale", barbican.ErrStale, polling(t, nil, func(o *barbican.Options) { o.Policy.Poll, o.Policy.MaxStaleness = time.Hour, time.Nanosecond })},
	} {
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			_, err := stopped.keys.Status()
			if _, notYet := stopped.keys.Decrypt(ctx, keyID, ciphertext); errors.Is(err, stopped.want) && !errors.Is(notYet, barbican.ErrNotReady) {
				break
			}
		}
		row("Status, "+stopped.what, ageless(statusOf(stopped.keys)))
		row("Encrypt, "+stopped.what, ageless(encrypt(stopped.keys, make([]byte, 32))))
		row("Decrypt, "+stopped.what, ageless(decrypt(stopped.keys, &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: ciphertext})))
	}
	row("anything else", toStatus(errors.New("a defect")))

	file := filepath.Join("testdata", "codes.golden")
	goldentest.Compare(t, file, out.String())
}

// polling is a running keyring that lists all the time, and stops all when its key is revoked.
func polling(t *testing.T, list func(n int, k *barbican.ListedKey) []barbican.ListedKey, change func(*barbican.Options)) *barbican.Keyring {
	t.Helper()
	n, begin := 0, time.Now()
	o := barbican.Options{ClusterID: "c", Policy: barbican.Policy{Poll: time.Millisecond, OnRevocation: barbican.StopAll}}
	o.List = func(context.Context, map[barbican.KeyRef]barbican.ListedKey) (*barbican.Listing, error) {
		n++
		made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		k := barbican.ListedKey{Ref: barbican.KeyRef{Secret: secret, Generation: 1}, Created: made, Creator: "me", Status: "ACTIVE"}
		l := &barbican.Listing{Owner: "me", Now: made.Add(time.Hour + time.Since(begin)), Clock: barbican.BarbicanClock, Keys: []barbican.ListedKey{k}}
		if list != nil {
			l.Keys = list(n, &k)
		}
		return l, nil
	}
	if change != nil {
		change(&o)
	}
	return start(t, good(), o)
}

// ageless takes the age out of an error.
func ageless(err error) error {
	s := status.Convert(err)
	return status.Error(s.Code(), regexp.MustCompile(`was \S+ ago`).ReplaceAllString(s.Message(), "was … ago"))
}

func TestOverASocket(t *testing.T) {
	t.Parallel()
	client := dial(t, keys(t, good()))
	ctx := t.Context()
	s, err := client.Status(ctx, &kmsapi.StatusRequest{})
	if err != nil || s.GetVersion() != "v2" || s.GetHealthz() != "ok" || s.GetKeyId() != keyID {
		t.Fatalf("Status = %v, %v", s, err)
	}
	dek := bytes.Repeat([]byte{9}, 32)
	e, err := client.Encrypt(ctx, &kmsapi.EncryptRequest{Uid: "u", Plaintext: dek})
	if err != nil || e.GetKeyId() != s.GetKeyId() || len(e.GetAnnotations()) != 0 {
		t.Fatalf("Encrypt = %v, %v", e, err)
	}
	d, err := client.Decrypt(ctx, &kmsapi.DecryptRequest{Uid: "u", KeyId: e.GetKeyId(), Ciphertext: e.GetCiphertext()})
	if err != nil || !bytes.Equal(d.GetPlaintext(), dek) {
		t.Fatalf("Decrypt = %v, %v", d, err)
	}
}

// TestFastWithoutKey wants an answer at once while there is no key: the API server's calls have three seconds.
func TestFastWithoutKey(t *testing.T) {
	t.Parallel()
	client := dial(t, keys(t, vault{err: &openstack.Error{Class: openstack.ErrUnavailable, Message: "away"}}))
	took := make([]time.Duration, 20)
	for i := range took {
		begin := time.Now()
		_, err := client.Status(t.Context(), &kmsapi.StatusRequest{})
		took[i] = time.Since(begin)
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%v", err)
		}
	}
	slices.Sort(took)
	if p50 := took[len(took)/2]; p50 > 50*time.Millisecond { // half of them, whatever else the machine does
		t.Errorf("an answer takes %v", p50)
	}
}

var garbage = flag.Int("garbage", 50_000, "how many requests TestGarbage makes up")

// TestGarbage sends random and mutated requests: no panic, no success, only the codes that are for the caller's mistakes.
func TestGarbage(t *testing.T) {
	t.Parallel()
	rounds := *garbage
	held := keys(t, good())
	service := &Service{keys: held}
	ciphertext, _, err := held.Encrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	random := func(limit int) []byte {
		out := make([]byte, rng.IntN(limit))
		for i := range out {
			out[i] = byte(rng.Uint32())
		}
		return out
	}
	mutated := func(in []byte) []byte {
		out := bytes.Clone(in)
		out[rng.IntN(len(out))] ^= byte(1 + rng.IntN(255))
		return out
	}
	begin := time.Now()
	for range rounds {
		r := &kmsapi.DecryptRequest{KeyId: keyID, Ciphertext: ciphertext}
		switch rng.IntN(4) {
		case 0:
			r.Ciphertext = random(2000)
		case 1:
			r.Ciphertext = mutated(ciphertext)
		case 2:
			r.KeyId = string(mutated([]byte(keyID)))
		default:
			r.KeyId, r.Annotations = string(random(2000)), map[string][]byte{string(random(10)): random(10)}
		}
		d, err := service.Decrypt(t.Context(), r)
		if c := status.Code(err); d != nil || (c != codes.InvalidArgument && c != codes.NotFound) {
			t.Fatalf("%v: %v, %v", r, d, err)
		}
	}
	t.Logf("%d requests, %v each", rounds, time.Since(begin)/time.Duration(rounds))
}

func FuzzDecrypt(f *testing.F) {
	held := keys(f, good())
	dek := bytes.Repeat([]byte{9}, 32)
	ciphertext, _, err := held.Encrypt(dek)
	if err != nil {
		f.Fatal(err)
	}
	service := &Service{keys: held}
	f.Add(ciphertext, keyID, "", []byte(nil))
	f.Add([]byte{}, "", "", []byte(nil))
	f.Add(make([]byte, 64), secret, "version.encryption.example", []byte("1"))
	f.Add(make([]byte, 94), keyID, "", []byte(nil))
	f.Fuzz(func(t *testing.T, in []byte, id, annotation string, value []byte) {
		r := &kmsapi.DecryptRequest{Ciphertext: in, KeyId: id}
		if annotation != "" {
			r.Annotations = map[string][]byte{annotation: value}
		}
		_ = Describe(r)
		d, err := service.Decrypt(t.Context(), r)
		// The fuzzer's processes share the key and this plaintext, and have each a ciphertext of their own.
		if err == nil && (!bytes.Equal(d.GetPlaintext(), dek) || id != keyID) {
			t.Fatalf("unwrapped what was never wrapped: %x", in)
		}
	})
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	hush := []byte("hush-hush-hush-hush-hush-hush-32")
	for _, r := range []any{
		&kmsapi.EncryptRequest{Uid: "uid-1", Plaintext: hush}, &kmsapi.DecryptRequest{Uid: "uid-1", KeyId: keyID, Ciphertext: hush}, &kmsapi.StatusRequest{}, nil,
		&kmsapi.DecryptRequest{KeyId: strings.Repeat("\n", 5000), Annotations: map[string][]byte{"a": hush}},
	} {
		text := Describe(r)
		if strings.Contains(text, "hush") || strings.Contains(text, "\n") || len(text) > 1000 {
			t.Errorf("%T: %q", r, text)
		}
	}
}

func BenchmarkStatus(b *testing.B) {
	client := dial(b, keys(b, good()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Status(b.Context(), &kmsapi.StatusRequest{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	client := dial(b, keys(b, good()))
	r := &kmsapi.EncryptRequest{Plaintext: make([]byte, 32)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Encrypt(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	client := dial(b, keys(b, good()))
	e, err := client.Encrypt(b.Context(), &kmsapi.EncryptRequest{Plaintext: make([]byte, 32)})
	if err != nil {
		b.Fatal(err)
	}
	r := &kmsapi.DecryptRequest{KeyId: e.GetKeyId(), Ciphertext: e.GetCiphertext()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Decrypt(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// many runs a call from 64 clients, each on a connection of its own.
func many(b *testing.B, call func(client kmsapi.KeyManagementServiceClient) error) {
	b.Helper()
	const clients = 64
	held := keys(b, good())
	free := make(chan kmsapi.KeyManagementServiceClient, clients)
	for range clients {
		free <- dial(b, held)
	}
	b.SetParallelism(clients / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		client := <-free
		for pb.Next() {
			if err := call(client); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkStatus64(b *testing.B) {
	many(b, func(client kmsapi.KeyManagementServiceClient) error {
		_, err := client.Status(b.Context(), &kmsapi.StatusRequest{})
		return err
	})
}

func BenchmarkDecrypt64(b *testing.B) {
	ciphertext, id, err := keys(b, good()).Encrypt(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	many(b, func(client kmsapi.KeyManagementServiceClient) error {
		_, err := client.Decrypt(b.Context(), &kmsapi.DecryptRequest{KeyId: id, Ciphertext: ciphertext})
		return err
	})
}
