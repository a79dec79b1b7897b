package barbican

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Entry is one key that the keyring is told of.
type Entry struct {
	Ref KeyRef
	// ReadOnly keys open what was wrapped with them and never become active.
	ReadOnly bool
	// Activation is when the key may become active; zero is at once. Nodes that share it switch at the same instant.
	Activation time.Time
}

// Failure is why a key could not be fetched.
type Failure int

const (
	// Transient failures may pass at any moment: Barbican or Keystone is away, slow, or overloaded.
	Transient Failure = iota
	// Definite failures need somebody to mend something: no such secret, no permission, no login, a payload that is no key.
	Definite
)

// Policy has the ring's times.
type Policy struct {
	// Wait is the pause after a key's failed fetch number n, from 0.
	Wait func(why Failure, n int) time.Duration
}

// Ring is the state of a keyring, as a value: events and time go in, a new ring comes out. It knows no key bytes.
//
// The rules: an entry is fetched until it is held; the active key is the held one with the highest generation whose activation
// has come; the ring never goes back to a lower generation (the high-water mark), not even when a higher one disappears.
type Ring struct {
	keys      map[KeyRef]keyState
	active    KeyRef // zero: none
	highWater uint64 // the highest generation that was ever active
}

type keyState struct {
	Entry

	held     bool
	failures int
	retry    time.Time // not to be fetched before; zero: at once
}

// NewRing starts from a list and the high-water mark that an earlier process left, 0 if there is none. It refuses a list with
// a generation twice, and one that has no key to become active. A secret may be there twice: put back to use, it has a new generation
// and is still to be read under the old one.
func NewRing(entries []Entry, highWater uint64) (Ring, error) {
	r := Ring{keys: make(map[KeyRef]keyState, len(entries)), highWater: highWater}
	generations := map[uint64]bool{}
	writable := false
	for _, e := range entries {
		if generations[e.Ref.Generation] {
			return Ring{}, fmt.Errorf("generation %d is given to two keys", e.Ref.Generation)
		}
		generations[e.Ref.Generation] = true
		r.keys[e.Ref] = keyState{Entry: e}
		writable = writable || (!e.ReadOnly && e.Ref.Generation >= highWater)
	}
	if !writable {
		return Ring{}, fmt.Errorf("there is no key to write with of generation %d or above", max(highWater, 1))
	}
	return r, nil
}

// with returns a copy in which one key is changed; rings are never changed in place.
func (r Ring) with(ref KeyRef, change func(*keyState)) Ring {
	k, ok := r.keys[ref]
	if !ok {
		return r
	}
	change(&k)
	r.keys = maps.Clone(r.keys)
	r.keys[ref] = k
	return r
}

// Held is the event that a key was fetched and passed its test.
func (r Ring) Held(ref KeyRef) Ring {
	return r.with(ref, func(k *keyState) { k.held, k.failures, k.retry = true, 0, time.Time{} })
}

// Failed is the event that a fetch failed.
func (r Ring) Failed(ref KeyRef, why Failure, now time.Time, p Policy) Ring {
	return r.with(ref, func(k *keyState) {
		k.retry = now.Add(p.Wait(why, k.failures))
		k.failures++
	})
}

// Advance lets time pass: the active key may change.
func (r Ring) Advance(now time.Time) Ring {
	for _, k := range r.newestFirst() {
		if k.Ref.Generation < r.highWater {
			break
		}
		if k.held && !k.ReadOnly && !k.Activation.After(now) {
			r.active, r.highWater = k.Ref, k.Ref.Generation
			break
		}
	}
	return r
}

// Due are the keys to be fetched now, the most wanted first: the one that is to be active, then the newest.
func (r Ring) Due(now time.Time) []KeyRef {
	var due []keyState
	for _, k := range r.keys {
		if !k.held && !k.retry.After(now) {
			due = append(due, k)
		}
	}
	rank := func(k keyState) int {
		if k.ReadOnly || k.Activation.After(now) {
			return 1
		}
		return 0
	}
	slices.SortFunc(due, func(a, b keyState) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Ref.Generation, a.Ref.Generation))
	})
	refs := make([]KeyRef, len(due))
	for i, k := range due {
		refs[i] = k.Ref
	}
	return refs
}

// Wake is when the ring has something to do next; false means never, unless something happens.
func (r Ring) Wake(now time.Time) (time.Time, bool) {
	var wake time.Time
	earlier := func(t time.Time) {
		if wake.IsZero() || t.Before(wake) {
			wake = t
		}
	}
	for _, k := range r.keys {
		if !k.held {
			earlier(k.retry)
			if k.retry.IsZero() {
				return now, true
			}
		} else if !k.ReadOnly && k.Ref.Generation > r.active.Generation && k.Activation.After(now) {
			earlier(k.Activation)
		}
	}
	return wake, !wake.IsZero()
}

// Active is the key to write with; false means there is none yet.
func (r Ring) Active() (KeyRef, bool) {
	return r.active, r.active != KeyRef{}
}

// HighWater is the highest generation that was ever active.
func (r Ring) HighWater() uint64 { return r.highWater }

// Awaited is the key that is to be active once it is here: the highest generation that may write now, or the first to come.
func (r Ring) Awaited(now time.Time) KeyRef {
	var first keyState
	for _, k := range r.newestFirst() {
		switch {
		case k.ReadOnly || k.Ref.Generation < r.highWater:
		case !k.Activation.After(now):
			return k.Ref
		case first.Ref.Secret == "" || k.Activation.Before(first.Activation):
			first = k
		}
	}
	return first.Ref
}

// Failures is how often in a row a key could not be fetched.
func (r Ring) Failures(ref KeyRef) int { return r.keys[ref].failures }

// Missing are the keys that are not held, the newest first.
func (r Ring) Missing() []KeyRef {
	var missing []KeyRef
	for _, k := range r.newestFirst() {
		if !k.held {
			missing = append(missing, k.Ref)
		}
	}
	return missing
}

// newestFirst are all keys, the highest generation first.
func (r Ring) newestFirst() []keyState {
	return slices.SortedFunc(maps.Values(r.keys), func(a, b keyState) int { return cmp.Compare(b.Ref.Generation, a.Ref.Generation) })
}
