package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func testKEK(seed byte) []byte {
	kek := make([]byte, KEKSize)
	for i := range kek {
		kek[i] = seed + byte(i)
	}
	return kek
}

func testDEK() []byte { return bytes.Repeat([]byte{0xd3, 0x1f}, DEKSize/2) }

func testBinding() Binding {
	return Binding{KeyID: "barbican:v1:7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b:1", ClusterID: "prod-1"}
}

func mustSeal(tb testing.TB, b Binding) []byte {
	tb.Helper()
	sealed, err := Seal(testKEK(1), testDEK(), b)
	if err != nil {
		tb.Fatalf("Seal: %v", err)
	}
	return sealed
}

func TestSealLayout(t *testing.T) {
	t.Parallel()
	a, b := mustSeal(t, testBinding()), mustSeal(t, testBinding())
	if len(a) != 94 || SealedSize != 94 {
		t.Fatalf("sealed size = %d (constant %d), want 94", len(a), SealedSize)
	}
	if (len(a)-aes.BlockSize)%aes.BlockSize == 0 {
		t.Error("a CBC plugin would take this ciphertext for its own")
	}
	if a[0] != 1 || a[1] != 1 {
		t.Errorf("header = %x, want 0101", a[:2])
	}
	if bytes.Equal(a[2:34], b[2:34]) || bytes.Equal(a[34:46], b[34:46]) {
		t.Error("salt or nonce repeated between two calls")
	}
	if bytes.Contains(a, testDEK()[:8]) {
		t.Error("plaintext visible in the ciphertext")
	}
}

// TestOpenIndependent opens a ciphertext put together by hand from the format's
// description: a change of layout, context string or additional data fails here even
// when Seal and Open still agree with each other.
func TestOpenIndependent(t *testing.T) {
	t.Parallel()
	kek, dek, b := testKEK(9), testDEK(), testBinding()
	salt := bytes.Repeat([]byte{0x5a}, 32)
	nonce := bytes.Repeat([]byte{0xa5}, 12)
	key, err := hkdf.Key(sha256.New, kek, salt, "mooring barbican-kms suite 1", 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		if fips140.Enabled() {
			t.Logf("chosen nonces are refused in this mode: %v", err)
			return
		}
		t.Fatal(err)
	}
	data := append([]byte{1, 1, 0, byte(len(b.KeyID))}, b.KeyID+b.ClusterID...)
	sealed := append([]byte{1, 1}, salt...)
	sealed = append(sealed, nonce...)
	sealed = gcm.Seal(sealed, nonce, dek, data)
	got, err := Open(kek, sealed, b)
	if err != nil || !bytes.Equal(got, dek) {
		t.Fatalf("Open = %x, %v", got, err)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, b := range []Binding{
		testBinding(),
		{KeyID: "k"},
		{KeyID: strings.Repeat("k", 1024), ClusterID: strings.Repeat("c", 1024)},
	} {
		got, err := Open(testKEK(1), mustSeal(t, b), b)
		if err != nil || !bytes.Equal(got, testDEK()) {
			t.Errorf("Open with key id of %d bytes = %x, %v", len(b.KeyID), got, err)
		}
	}
}

func TestAnyFlippedBitFails(t *testing.T) {
	t.Parallel()
	b := testBinding()
	sealed := mustSeal(t, b)
	flips := func(s []byte, try func([]byte) error, what string) {
		for i := range len(s) * 8 {
			changed := bytes.Clone(s)
			changed[i/8] ^= 1 << (i % 8)
			if err := try(changed); !errors.Is(err, ErrAuthentication) && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s with bit %d flipped: error %v", what, i, err)
			}
		}
	}
	flips(sealed, func(s []byte) error {
		_, err := Open(testKEK(1), s, b)
		return err
	}, "ciphertext")
	flips([]byte(b.KeyID), func(s []byte) error {
		_, err := Open(testKEK(1), sealed, Binding{KeyID: string(s), ClusterID: b.ClusterID})
		return err
	}, "key id")
	flips([]byte(b.ClusterID), func(s []byte) error {
		_, err := Open(testKEK(1), sealed, Binding{KeyID: b.KeyID, ClusterID: string(s)})
		return err
	}, "cluster id")
	flips(testKEK(1), func(s []byte) error {
		_, err := Open(s, sealed, b)
		return err
	}, "key")
}

// TestBoundaryCannotMove shows why the key id's length is authenticated.
func TestBoundaryCannotMove(t *testing.T) {
	t.Parallel()
	sealed := mustSeal(t, Binding{KeyID: "barbican:v1:x:1", ClusterID: "2prod"})
	if _, err := Open(testKEK(1), sealed, Binding{KeyID: "barbican:v1:x:12", ClusterID: "prod"}); !errors.Is(err, ErrAuthentication) {
		t.Errorf("moved boundary: error %v, want %v", err, ErrAuthentication)
	}
}

func TestUnusableInput(t *testing.T) {
	t.Parallel()
	b := testBinding()
	sealed := mustSeal(t, b)
	long := strings.Repeat("x", 1025)
	tests := map[string]struct {
		err  func() error
		want error
	}{
		"seal: short key":      {func() error { _, err := Seal(testKEK(1)[:31], testDEK(), b); return err }, ErrKeySize},
		"seal: no key":         {func() error { _, err := Seal(nil, testDEK(), b); return err }, ErrKeySize},
		"seal: short DEK":      {func() error { _, err := Seal(testKEK(1), testDEK()[:31], b); return err }, ErrPlaintextSize},
		"seal: empty DEK":      {func() error { _, err := Seal(testKEK(1), nil, b); return err }, ErrPlaintextSize},
		"seal: no key id":      {func() error { _, err := Seal(testKEK(1), testDEK(), Binding{}); return err }, ErrBinding},
		"seal: long key id":    {func() error { _, err := Seal(testKEK(1), testDEK(), Binding{KeyID: long}); return err }, ErrBinding},
		"seal: long cluster":   {func() error { _, err := Seal(testKEK(1), testDEK(), Binding{"k", long}); return err }, ErrBinding},
		"open: short key":      {func() error { _, err := Open(testKEK(1)[:16], sealed, b); return err }, ErrKeySize},
		"open: no key id":      {func() error { _, err := Open(testKEK(1), sealed, Binding{}); return err }, ErrBinding},
		"open: empty":          {func() error { _, err := Open(testKEK(1), nil, b); return err }, ErrMalformed},
		"open: cut":            {func() error { _, err := Open(testKEK(1), sealed[:93], b); return err }, ErrMalformed},
		"open: extended":       {func() error { _, err := Open(testKEK(1), append(bytes.Clone(sealed), 0), b); return err }, ErrMalformed},
		"open: legacy":         {func() error { _, err := Open(testKEK(1), make([]byte, LegacySize), b); return err }, ErrMalformed},
		"legacy seal: key":     {func() error { _, err := SealLegacy(testKEK(1)[:31], testDEK()); return err }, ErrKeySize},
		"legacy seal: DEK":     {func() error { _, err := SealLegacy(testKEK(1), testDEK()[:16]); return err }, ErrPlaintextSize},
		"legacy open: key":     {func() error { _, err := OpenLegacy(nil, make([]byte, LegacySize)); return err }, ErrKeySize},
		"legacy open: suite 1": {func() error { _, err := OpenLegacy(testKEK(1), sealed); return err }, ErrMalformed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := tc.err(); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// legacyEncode is an independent encoder of cloud-provider-openstack's format: random
// IV, PKCS #7, CBC, for a plaintext and padding of any size.
func legacyEncode(tb testing.TB, kek, plain []byte, pad int) []byte {
	tb.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		tb.Fatal(err)
	}
	iv := bytes.Repeat([]byte{0x17}, aes.BlockSize)
	padded := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	out := make([]byte, len(padded))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, padded)
	return append(iv, out...)
}

func TestLegacy(t *testing.T) {
	t.Parallel()
	kek, dek := testKEK(3), testDEK()
	tests := map[string]struct {
		kek, sealed []byte
		want        error
	}{
		"their encoder":         {kek, legacyEncode(t, kek, dek, 16), nil},
		"wrong key":             {testKEK(4), legacyEncode(t, kek, dek, 16), ErrAuthentication},
		"33 bytes of plaintext": {kek, legacyEncode(t, kek, append(bytes.Clone(dek), 1), 15), ErrAuthentication},
		"47 bytes of plaintext": {kek, legacyEncode(t, kek, bytes.Repeat([]byte{7}, 47), 1), ErrAuthentication},
		"16 bytes of plaintext": {kek, legacyEncode(t, kek, dek[:16], 16), ErrMalformed},
		"truncated by a block":  {kek, legacyEncode(t, kek, dek, 16)[:48], ErrMalformed},
		"truncated by a byte":   {kek, legacyEncode(t, kek, dek, 16)[:63], ErrMalformed},
		"shorter than an IV":    {kek, []byte("short"), ErrMalformed},
		"empty":                 {kek, nil, ErrMalformed},
		"AES-128":               {kek[:16], legacyEncode(t, kek[:16], dek, 16), nil},
		"AES-192":               {kek[:24], legacyEncode(t, kek[:24], dek, 16), nil},
		"half of the key":       {kek[:16], legacyEncode(t, kek, dek, 16), ErrAuthentication},
		"longer by a block":     {kek, append(legacyEncode(t, kek, dek, 16), make([]byte, 16)...), ErrMalformed},
		"key of 31 bytes":       {kek[:31], legacyEncode(t, kek, dek, 16), ErrKeySize},
		"key in base64":         {bytes.Repeat([]byte("a"), 44), legacyEncode(t, kek, dek, 16), ErrKeySize},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := OpenLegacy(tc.kek, tc.sealed)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if tc.want == nil && !bytes.Equal(got, dek) {
				t.Errorf("got %x, want %x", got, dek)
			}
			if tc.want != nil && got != nil {
				t.Errorf("got %d bytes beside an error", len(got))
			}
		})
	}
}

const legacyFixture = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff2a5c57389fcda49e71f0692198b70244" +
	"2b2bc44be8d8879fa3b56d07e29e559d83967d2ae3c71fcf68af92088b7fd120"

// TestLegacyFixture is a ciphertext fixed for ever: AES-256-CBC with PKCS #7 of the bytes
// 20..3f under the key 00..1f and the IV f0..ff, computed by OpenSSL.
func TestLegacyFixture(t *testing.T) {
	t.Parallel()
	sealed, err := hex.DecodeString(legacyFixture)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, DEKSize)
	for i := range want {
		want[i] = 0x20 + byte(i)
	}
	got, err := OpenLegacy(testKEK(0), sealed)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("OpenLegacy = %x, %v; want %x", got, err, want)
	}
}

func TestLegacyRoundTrip(t *testing.T) {
	t.Parallel()
	for _, size := range []int{16, 24, 32} {
		kek := testKEK(1)[:size]
		a, err := SealLegacy(kek, testDEK())
		if err != nil {
			t.Fatal(err)
		}
		b, err := SealLegacy(kek, testDEK())
		if err != nil {
			t.Fatal(err)
		}
		if len(a) != 64 || bytes.Equal(a[:16], b[:16]) {
			t.Errorf("size %d, IVs %x and %x", len(a), a[:16], b[:16])
		}
		got, err := OpenLegacy(kek, a)
		if err != nil || !bytes.Equal(got, testDEK()) {
			t.Errorf("OpenLegacy = %x, %v", got, err)
		}
	}
}

// TestLegacyTampering flips each bit: what falls on the last two blocks is noticed, the rest changes the DEK, as the format has it.
func TestLegacyTampering(t *testing.T) {
	t.Parallel()
	sealed := legacyEncode(t, testKEK(1), testDEK(), 16)
	for bit := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[bit/8] ^= 1 << (bit % 8)
		got, err := OpenLegacy(testKEK(1), changed)
		switch {
		case bit/8 >= 2*aes.BlockSize:
			if !errors.Is(err, ErrAuthentication) {
				t.Errorf("byte %d: %x, error %v", bit/8, got, err)
			}
		case err != nil || len(got) != DEKSize || bytes.Equal(got, testDEK()):
			t.Errorf("byte %d: %x, error %v: the package's promise is out of date", bit/8, got, err)
		}
	}
}

// TestGarbage throws random and mutated input of every length at both suites.
func TestGarbage(t *testing.T) {
	t.Parallel()
	rounds := 100_000
	if testing.Short() {
		rounds = 10_000
	}
	rng := rand.New(rand.NewPCG(1, 2))
	good, b := mustSeal(t, testBinding()), testBinding()
	kek := testKEK(1)
	for i := range rounds {
		var in []byte
		if i%2 == 0 {
			in = make([]byte, rng.IntN(200))
			for j := range in {
				in[j] = byte(rng.Uint32())
			}
			if len(in) > 2 {
				in[0], in[1] = 1, 1
			}
		} else {
			in = bytes.Clone(good)
			in[rng.IntN(len(in))] ^= byte(1 + rng.IntN(255))
		}
		if dek, err := Open(kek, in, b); err == nil || dek != nil {
			t.Fatalf("Open(%x) succeeded", in)
		}
		if dek, err := OpenLegacy(kek, in); err == nil || dek != nil {
			t.Fatalf("OpenLegacy(%x) succeeded", in)
		}
	}
}

// TestFIPSOnly runs this package's tests again in a process that may use nothing but
// FIPS 140 approved cryptography.
func TestFIPSOnly(t *testing.T) {
	t.Parallel()
	if fips140.Enforced() {
		t.Log("this is the inner run")
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.short", "-test.v", "-test.run", "^(TestFIPSOnly|TestRoundTrip|TestAnyFlippedBitFails|TestUnusableInput|TestLegacy|TestLegacyTampering|TestLegacyRoundTrip|TestGarbage)$")
	cmd.Env = append(cmd.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("under fips140=only: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("this is the inner run")) {
		t.Fatalf("the inner run was not in FIPS mode:\n%s", out)
	}
}
