package manila

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPagerKeepsWhatStays: whatever comes and goes between the calls, what stays is listed once, and in order.
func TestPagerKeepsWhatStays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := &restless{random: r, most: leastLimit + r.IntN(150), grows: r.IntN(2) == 0}
		for range r.IntN(400) {
			l.add()
		}
		stays := map[string]bool{}
		for _, id := range l.ids {
			stays[id] = true
		}
		p := pager[string]{id: func(id string) string { return id }, keep: func(id string) bool { return id[7]%2 == 0 }, read: l.read}
		var got []string
		for token, begun := "", false; !begun || token != ""; begun = true {
			page, next, err := p.page(t.Context(), token, r.IntN(60))
			if err != nil {
				t.Fatal(err)
			}
			got, token = append(got, page...), next
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("seed %d: out of order, or there twice: %q", seed, got)
		}
		for _, id := range l.ids {
			if stays[id] && p.keep(id) && !slices.Contains(got, id) {
				t.Fatalf("seed %d: %s is left out", seed, id)
			}
		}
	}
}

// restless is a Manila of which every look is followed by changes.
type restless struct {
	random *rand.Rand
	most   int // of what a look gives
	grows  bool
	ids    []string
}

func (l *restless) add() {
	id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", l.random.Uint32())
	at, _ := slices.BinarySearch(l.ids, id)
	l.ids = slices.Insert(l.ids, at, id)
}

func (l *restless) read(_ context.Context, offset, limit int) ([]string, error) {
	from := min(offset, len(l.ids))
	out := slices.Clone(l.ids[from:min(from+min(limit, l.most), len(l.ids))])
	for range l.random.IntN(40) {
		switch n := len(l.ids); {
		case l.random.IntN(2) == 0 && l.grows:
			l.add()
		case n > 0:
			at := l.random.IntN(n)
			l.ids = slices.Delete(l.ids, at, at+1)
		}
	}
	return out, nil
}
