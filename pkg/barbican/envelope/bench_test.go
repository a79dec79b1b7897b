package envelope

import "testing"

func BenchmarkSeal(b *testing.B) {
	kek, dek, binding := testKEK(1), testDEK(), testBinding()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Seal(kek, dek, binding); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	kek, binding := testKEK(1), testBinding()
	sealed := mustSeal(b, binding)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(kek, sealed, binding); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenLegacy(b *testing.B) {
	kek := testKEK(1)
	sealed := legacyEncode(b, kek, testDEK(), 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OpenLegacy(kek, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
