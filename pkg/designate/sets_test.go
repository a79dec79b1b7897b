package designate_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"mooring/pkg/designate"
)

// What is packed comes out as it went in, sorted, and changes do to it what they do to a map.
func TestSets(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	types := []designate.Type{designate.A, designate.AAAA, designate.TXT}
	set := func() designate.Recordset {
		r := designate.Recordset{ZoneID: "z", ID: strings.Repeat("i", random.IntN(40)), Record: designate.Record{
			Name: fmt.Sprintf("n%d.%s", random.IntN(30), strings.Repeat("x", random.IntN(200))), Type: types[random.IntN(len(types))], TTL: random.IntN(2) * random.IntN(1<<31-1),
		}}
		for range 1 + random.IntN(3) {
			r.Targets = append(r.Targets, strings.Repeat("t", random.IntN(3)*random.IntN(20000)))
		}
		return r
	}
	for range 50 {
		want := map[designate.Key]designate.Recordset{}
		var list []designate.Recordset
		for range random.IntN(40) {
			r := set()
			list = append(list, r)
			want[r.Key()] = r
		}
		packed := designate.Pack(list...)
		for range 3 {
			checkSets(t, packed, want)
			var changes []designate.Recordset
			for range random.IntN(10) {
				r := set()
				if len(list) > 0 && random.IntN(2) == 0 {
					r.Name, r.Type = list[random.IntN(len(list))].Name, types[random.IntN(len(types))]
				}
				want[r.Key()] = r
				if random.IntN(3) == 0 {
					r.Targets = nil
					delete(want, r.Key())
				}
				changes = append(changes, r)
			}
			packed = packed.With(changes...)
		}
	}
}

func checkSets(t *testing.T, packed designate.Packed, want map[designate.Key]designate.Recordset) {
	t.Helper()
	var sorted []designate.Recordset
	for key, r := range want {
		if got, ok := packed.Find("z", key.Name, key.Type); !ok || !gocmp.Equal(r, got) {
			t.Fatalf("%v: %v, %v", key, got, ok)
		}
		sorted = append(sorted, r)
	}
	slices.SortFunc(sorted, func(a, b designate.Recordset) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	if diff := gocmp.Diff(sorted, packed.All("z")); diff != "" {
		t.Fatal(diff)
	}
	if r, ok := packed.Find("z", "absent", designate.A); ok {
		t.Fatalf("there is a %v", r)
	}
}
