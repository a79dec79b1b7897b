package envelope

import (
	"bytes"
	"testing"
)

func FuzzOpen(f *testing.F) {
	b := testBinding()
	f.Add(mustSeal(f, b), b.KeyID, b.ClusterID)
	f.Add([]byte{}, "", "")
	f.Add([]byte{1, 1}, "k", "c")
	f.Add(bytes.Repeat([]byte{1}, SealedSize), b.KeyID, "")
	good := mustSeal(f, b)
	f.Fuzz(func(t *testing.T, sealed []byte, keyID, clusterID string) {
		dek, err := Open(testKEK(1), sealed, Binding{KeyID: keyID, ClusterID: clusterID})
		if (err == nil) != (dek != nil) {
			t.Fatalf("dek %d bytes, error %v", len(dek), err)
		}
		if err == nil && (keyID != b.KeyID || clusterID != b.ClusterID || !bytes.Equal(dek, testDEK())) {
			t.Fatalf("opened something that was never sealed: %x %q %q", sealed, keyID, clusterID)
		}
		// Whatever the fuzzer thinks of ids, a genuine ciphertext opens only with its own.
		if dek, err := Open(testKEK(1), good, Binding{KeyID: keyID, ClusterID: clusterID}); err == nil &&
			(keyID != b.KeyID || clusterID != b.ClusterID) {
			t.Fatalf("opened with foreign ids %q %q: %x", keyID, clusterID, dek)
		}
	})
}

func FuzzOpenLegacy(f *testing.F) {
	f.Add(legacyEncode(f, testKEK(1), testDEK(), 16))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0x10}, LegacySize))
	f.Add(bytes.Repeat([]byte{0x10}, 15))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		dek, err := OpenLegacy(testKEK(1), sealed)
		if (err == nil) != (len(dek) == DEKSize) {
			t.Fatalf("dek %d bytes, error %v", len(dek), err)
		}
	})
}

func FuzzSeal(f *testing.F) {
	f.Add(testKEK(1), testDEK(), "barbican:v1:x:1", "c")
	f.Add([]byte{}, []byte{}, "", "")
	f.Fuzz(func(t *testing.T, kek, dek []byte, keyID, clusterID string) {
		b := Binding{KeyID: keyID, ClusterID: clusterID}
		sealed, err := Seal(kek, dek, b)
		if err != nil {
			return
		}
		got, err := Open(kek, sealed, b)
		if err != nil || !bytes.Equal(got, dek) {
			t.Fatalf("Open = %x, %v; want %x", got, err, dek)
		}
	})
}
