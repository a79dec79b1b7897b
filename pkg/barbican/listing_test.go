package barbican

import (
	"testing"
	"time"
)

func TestEntryName(t *testing.T) {
	t.Parallel()
	instant := time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)
	for name, want := range map[string]struct {
		generation uint64
		notBefore  time.Time
	}{
		"generation-1":                         {1, time.Time{}},
		"generation-18446744073709551615":      {1<<64 - 1, time.Time{}},
		"generation-12-from-20261122T150405Z":  {12, instant},
		"":                                     {},
		"generation-":                          {},
		"generation-0":                         {},
		"generation-01":                        {},
		"generation-+1":                        {},
		"generation--1":                        {},
		"generation-1\t":                       {},
		"generation-١":                         {},
		"Generation-1":                         {},
		"generation-18446744073709551616":      {},
		"generation-1-from-":                   {},
		"generation-1-from-20261122T150405":    {},
		"generation-1-from-20261322T150405Z":   {},
		"generation-1-from-20261122T150405.5Z": {},
		"generation-1-from-20261122T150405Z-from-20261122T1504Z": {},
		"generation-1-from-00010101T000000Z":                     {}, // the zero time means none
		"key":                                                    {},
	} {
		generation, notBefore, err := ParseEntryName(name)
		if (err == nil) != (want.generation != 0) || generation != want.generation || !notBefore.Equal(want.notBefore) {
			t.Errorf("ParseEntryName(%q) = %d, %v, %v", name, generation, notBefore, err)
		}
	}
	if got := EntryName(12, instant.Add(900*time.Millisecond).In(time.FixedZone("", 3600))); got != "generation-12-from-20261122T150405Z" {
		t.Error(got)
	}
}

func FuzzParseEntryName(f *testing.F) {
	for _, seed := range []string{"generation-1", "generation-12-from-20261122T150405Z", "generation-1-from-00010101T000000Z", "generation-01", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		generation, notBefore, err := ParseEntryName(name)
		if err != nil {
			return
		}
		if got := EntryName(generation, notBefore); generation == 0 || got != name {
			t.Errorf("%q is read as %q", name, got)
		}
	})
}

func TestSecretOf(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]string{
		"http://barbican:9311/v1/secrets/" + uuidA:                uuidA,
		"https://another.example/key-manager/v1/secrets/" + uuidA: uuidA,
		"https://x/v1/secrets/" + uuidA + "?a=b":                  uuidA,
		"":                                                        "",
		uuidA:                                                     "",
		"https://x/v1/containers/" + uuidA:                        "",
		"https://x/v1/secrets/" + uuidA + "/":                     "",
		"https://x/v1/secrets/" + uuidA + "/acl":                  "",
		"https://x/v1/secrets/..%2f" + uuidA[:33]:                 "",
		"https://x/v1/secrets/" + uuidA[:35] + "G":                "",
		"https://x/v1/secrets/" + uuidA + "/../key":               "",
		"https://x/v1/secrets":                                    "",
		":%":                                                      "",
	} {
		if got, err := secretOf(ref); got != want || (err == nil) != (want != "") {
			t.Errorf("secretOf(%q) = %q, %v", ref, got, err)
		}
	}
}

func FuzzSecretOf(f *testing.F) {
	f.Add("http://barbican:9311/v1/secrets/" + uuidA)
	f.Add("https://x/v1/secrets/" + uuidA + "/..")
	f.Add("%2f/secrets/")
	f.Fuzz(func(t *testing.T, ref string) {
		if id, err := secretOf(ref); err == nil && !isUUID(id) {
			t.Errorf("%q gives %q", ref, id)
		}
	})
}
