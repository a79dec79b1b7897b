package barbican

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// testPolicy waits a second more each time, ten times that when the failure is definite.
func testPolicy() Policy {
	return Policy{Wait: func(why Failure, n int) time.Duration {
		d := time.Duration(n+1) * time.Second
		if why == Definite {
			d *= 10
		}
		return d
	}}
}

func mustRing(tb testing.TB, highWater uint64, entries ...Entry) Ring {
	tb.Helper()
	r, err := NewRing(entries, highWater)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestNewRing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		entries   []Entry
		highWater uint64
		ok        bool
	}{
		"one key":               {[]Entry{{Ref: KeyRef{uuidA, 1}}}, 0, true},
		"one to read":           {[]Entry{{Ref: KeyRef{uuidA, 1}}, {Ref: KeyRef{uuidB, 2}, ReadOnly: true}}, 0, true},
		"at the high-water":     {[]Entry{{Ref: KeyRef{uuidA, 3}}}, 3, true},
		"none":                  {nil, 0, false},
		"only to read":          {[]Entry{{Ref: KeyRef{uuidA, 1}, ReadOnly: true}}, 0, false},
		"a generation twice":    {[]Entry{{Ref: KeyRef{uuidA, 1}}, {Ref: KeyRef{uuidB, 1}}}, 0, false},
		"a secret once more":    {[]Entry{{Ref: KeyRef{uuidA, 1}, ReadOnly: true}, {Ref: KeyRef{uuidB, 2}, ReadOnly: true}, {Ref: KeyRef{uuidA, 3}}}, 2, true},
		"below the high-water":  {[]Entry{{Ref: KeyRef{uuidA, 2}}}, 3, false},
		"the newer one to read": {[]Entry{{Ref: KeyRef{uuidA, 2}}, {Ref: KeyRef{uuidB, 3}, ReadOnly: true}}, 3, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewRing(tc.entries, tc.highWater); (err == nil) != tc.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

// view is what of a ring a table compares.
type view struct {
	Active    uint64
	HighWater uint64
	Due       []uint64
	Wake      time.Duration // after the epoch; -1: never
	Awaited   uint64
	Complete  bool
}

func look(r Ring, now time.Time) view {
	v := view{HighWater: r.HighWater(), Wake: -1, Awaited: r.Awaited(now).Generation, Complete: len(r.Missing()) == 0}
	if ref, ok := r.Active(); ok {
		v.Active = ref.Generation
	}
	for _, ref := range r.Due(now) {
		v.Due = append(v.Due, ref.Generation)
	}
	if wake, ok := r.Wake(now); ok {
		v.Wake = wake.Sub(epoch())
	}
	return v
}

func TestRing(t *testing.T) {
	t.Parallel()
	a, b, c := KeyRef{uuidA, 1}, KeyRef{uuidB, 2}, KeyRef{uuidC, 3}
	at := func(d time.Duration) time.Time { return epoch().Add(d) }
	p := testPolicy()
	tests := map[string]struct {
		ring Ring
		now  time.Duration
		want view
	}{
		"new: everything is due, the one to write first": {
			mustRing(t, 0, Entry{Ref: a}, Entry{Ref: b, ReadOnly: true}), 0,
			view{Due: []uint64{1, 2}, Awaited: 1},
		},
		"held: active, nothing to do": {
			mustRing(t, 0, Entry{Ref: a}).Held(a), 0,
			view{Active: 1, HighWater: 1, Wake: -1, Awaited: 1, Complete: true},
		},
		"only the reader is held: still none active": {
			mustRing(t, 0, Entry{Ref: a}, Entry{Ref: b, ReadOnly: true}).Held(b), 0,
			view{Due: []uint64{1}, Awaited: 1},
		},
		"failed once: again after a second": {
			mustRing(t, 0, Entry{Ref: a}).Failed(a, Transient, epoch(), p), 0,
			view{Wake: time.Second, Awaited: 1},
		},
		"failed once: that second later": {
			mustRing(t, 0, Entry{Ref: a}).Failed(a, Transient, epoch(), p), time.Second,
			view{Due: []uint64{1}, Wake: time.Second, Awaited: 1},
		},
		"failed twice, then for good": {
			mustRing(t, 0, Entry{Ref: a}).Failed(a, Transient, epoch(), p).Failed(a, Definite, epoch(), p), 0,
			view{Wake: 20 * time.Second, Awaited: 1},
		},
		"a newer one that is not there yet does not stop the older": {
			mustRing(t, 0, Entry{Ref: a}, Entry{Ref: b}).Held(a).Failed(b, Transient, epoch(), p), 0,
			view{Active: 1, HighWater: 1, Wake: time.Second, Awaited: 2},
		},
		"before the activation of the newer one": {
			mustRing(t, 0, Entry{Ref: a}, Entry{Ref: b, Activation: at(time.Minute)}).Held(a).Held(b), 0,
			view{Active: 1, HighWater: 1, Wake: time.Minute, Awaited: 1, Complete: true},
		},
		"at its activation": {
			mustRing(t, 0, Entry{Ref: a}, Entry{Ref: b, Activation: at(time.Minute)}).Held(a).Held(b), time.Minute,
			view{Active: 2, HighWater: 2, Wake: -1, Awaited: 2, Complete: true},
		},
		"its activation has passed, it is not here": {
			mustRing(t, 0, Entry{Ref: a}, Entry{Ref: b, Activation: at(time.Minute)}).Held(a), time.Hour,
			view{Active: 1, HighWater: 1, Due: []uint64{2}, Wake: time.Hour, Awaited: 2},
		},
		"two activations have passed at once": {
			mustRing(t, 0, Entry{Ref: a}, Entry{Ref: b, Activation: at(time.Minute)}, Entry{Ref: c, Activation: at(2 * time.Minute)}).Held(a).Held(b).Held(c), time.Hour,
			view{Active: 3, HighWater: 3, Wake: -1, Awaited: 3, Complete: true},
		},
		"never below the high-water mark": {
			mustRing(t, 2, Entry{Ref: a}, Entry{Ref: b}).Held(a), 0,
			view{HighWater: 2, Due: []uint64{2}, Awaited: 2},
		},
		"nothing but one to come": {
			mustRing(t, 0, Entry{Ref: b, Activation: at(time.Minute)}, Entry{Ref: c, Activation: at(time.Hour)}).Held(b).Held(c), 0,
			view{Wake: time.Minute, Awaited: 2, Complete: true},
		},
		"somebody else's key changes nothing": {
			mustRing(t, 0, Entry{Ref: a}).Held(c).Held(KeyRef{uuidB, 1}).Failed(b, Definite, epoch(), p), 0,
			view{Due: []uint64{1}, Awaited: 1},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := at(tc.now)
			if tc.want.Wake == 0 {
				tc.want.Wake = tc.now // due now
			}
			if diff := cmp.Diff(tc.want, look(tc.ring.Advance(now), now)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestRingProperties plays random events at random times against the rules.
func TestRingProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		entries := make([]Entry, 1+rng.IntN(5))
		for i := range entries {
			entries[i] = Entry{Ref: KeyRef{fmt.Sprintf("00000000-0000-4000-8000-%012d", i), uint64(i + 1)}, Activation: epoch().Add(time.Duration(rng.IntN(100)) * time.Second)}
			entries[i].ReadOnly = i > 0 && rng.IntN(4) == 0
		}
		r := mustRing(t, 0, entries...)
		held := map[uint64]bool{}
		now := epoch()
		var before uint64
		for range 200 {
			was := r
			wasView := look(was, now)
			e := entries[rng.IntN(len(entries))]
			switch rng.IntN(3) {
			case 0:
				r = r.Held(e.Ref)
				held[e.Ref.Generation] = true
			case 1:
				if !held[e.Ref.Generation] {
					r = r.Failed(e.Ref, Failure(rng.IntN(2)), now, testPolicy())
				}
			}
			if diff := cmp.Diff(wasView, look(was, now)); diff != "" {
				t.Fatalf("seed %d: an old ring was changed:\n%s", seed, diff)
			}
			now = now.Add(time.Duration(rng.IntN(10)) * time.Second)
			r = r.Advance(now)
			v := look(r, now)
			if v.Active < before {
				t.Fatalf("seed %d: from generation %d back to %d", seed, before, v.Active)
			}
			before = v.Active
			if v.Active != 0 {
				e := entries[v.Active-1]
				if !held[v.Active] || e.ReadOnly || e.Activation.After(now) {
					t.Fatalf("seed %d: generation %d is active: held %v, %+v, now %v", seed, v.Active, held[v.Active], e, now)
				}
			}
			for _, g := range v.Due {
				if held[g] {
					t.Fatalf("seed %d: generation %d is due and held", seed, g)
				}
			}
			if len(v.Due) > 0 && v.Wake > now.Sub(epoch()) {
				t.Fatalf("seed %d: due, and asleep", seed)
			}
			if !slices.ContainsFunc(entries, func(e Entry) bool { return !held[e.Ref.Generation] }) != v.Complete {
				t.Fatalf("seed %d: complete is %v", seed, v.Complete)
			}
		}
	}
}
