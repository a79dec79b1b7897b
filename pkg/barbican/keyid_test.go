package barbican

import (
	"errors"
	"strings"
	"testing"
)

const (
	uuidA = "7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b"
	uuidB = "0d9c8b7a-6f5e-4d3c-8b2a-1f0e9d8c7b6a"
	uuidC = "c1d2e3f4-a5b6-4c7d-8e9f-0a1b2c3d4e5f"
)

func TestParseKeyID(t *testing.T) {
	t.Parallel()
	good := "barbican:v1:" + uuidA + ":1"
	if ref, err := ParseKeyID(good); err != nil || ref != (KeyRef{uuidA, 1}) || ref.KeyID() != good {
		t.Errorf("ParseKeyID(%q) = %v, %v", good, ref, err)
	}
	if id := (KeyRef{uuidA, 1<<64 - 1}).KeyID(); len(id) > 1024 {
		t.Errorf("the longest key id has %d bytes", len(id))
	}
	for _, bad := range []string{
		"", "barbican", "barbican:v1:", "barbican:v1:" + uuidA, "barbican:v1:" + uuidA + ":", "barbican:v1:" + uuidA + ":0", "barbican:v1:" + uuidA + ":01",
		"barbican:v1:" + uuidA + ":+1", "barbican:v1:" + uuidA + ":-1", "barbican:v1:" + uuidA + ":1 ", " " + good, good + ":1", good + "\n",
		"barbican:v2:" + uuidA + ":1", "Barbican:v1:" + uuidA + ":1", "barbican:v1:" + strings.ToUpper(uuidA) + ":1",
		"barbican:v1:" + uuidA + ":18446744073709551616", uuidA, "barbican:v1:" + uuidA[1:] + ":1", "barbican:v1:" + strings.ReplaceAll(uuidA, "-", "0") + ":1",
	} {
		if ref, err := ParseKeyID(bad); !errors.Is(err, ErrKeyID) {
			t.Errorf("ParseKeyID(%q) = %v, %v", bad, ref, err)
		}
	}
}

func TestParseKeyRef(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]KeyRef{uuidA: {uuidA, 1}, uuidA + ":1": {uuidA, 1}, uuidB + ":42": {uuidB, 42}} {
		if got, err := ParseKeyRef(text); err != nil || got != want {
			t.Errorf("ParseKeyRef(%q) = %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "key", uuidA + ":", uuidA + ":0", uuidA + ":x", uuidA + ":1:1", "https://cloud/v1/secrets/" + uuidA} {
		if got, err := ParseKeyRef(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("ParseKeyRef(%q) = %v, %v", bad, got, err)
		}
	}
}

func FuzzParseKeyID(f *testing.F) {
	for _, seed := range []string{"", "barbican:v1:" + uuidA + ":1", "barbican:v1:" + uuidA + ":18446744073709551615", "barbican:v1:::", uuidA, "barbican:v1:" + uuidA + ":1\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		ref, err := ParseKeyID(id)
		if err == nil && ref.KeyID() != id {
			t.Fatalf("%q was read as %q", id, ref.KeyID())
		}
		if err != nil && !errors.Is(err, ErrKeyID) {
			t.Fatalf("error %v", err)
		}
	})
}

func FuzzParseKeyRef(f *testing.F) {
	for _, seed := range []string{uuidA, uuidA + ":2", uuidA + ":0", uuidA + ":+1", ":", uuidA + ":18446744073709551616"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ParseKeyRef(text)
		if err != nil {
			return
		}
		if again, err := ParseKeyID(ref.KeyID()); err != nil || again != ref {
			t.Fatalf("%q is %v, whose key id is %v, %v", text, ref, again, err)
		}
	})
}
