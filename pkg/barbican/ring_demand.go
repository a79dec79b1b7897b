package barbican

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// What requests make a ring do. They have key ids from etcd, where somebody else may have written them: unknown ones get few listings, and
// one that a listing did not have gets none for a while, so that it does not take those of others.
const (
	demandListings = 3   // that unknown keys may make at once; a poll's time gives one more
	demandShares   = 64  // unknown keys that share a listing
	absentMost     = 128 // unknown keys that are remembered
	absentPolls    = 8   // for how long; if they are news, polls bring them
)

// Demand is the event that something wrapped with a key came that is not held. The answer says whether it may be here soon: it
// is, or will be, fetched, or the keyring is listed for it. While no key is active nobody is kept waiting: everything that can be
// done is being done, and the API server is to hear at once.
func (r Ring) Demand(ref KeyRef, now time.Time) (Ring, bool) {
	if k, known := r.keys[ref]; known && !k.unread {
		if !r.Hope(ref, now) {
			return r, false
		}
		return r.with(ref, func(k *keyState) { k.wanted = true }), true
	}
	if r.asked[ref] {
		return r, true
	}
	if from := r.ListsFrom(now); from.IsZero() || from.After(now) || r.absent[ref].After(now) || len(r.asked) >= demandShares {
		return r, false
	}
	if len(r.asked) == 0 {
		if r.budget.Before(now) {
			r.budget = now
		}
		r.budget = r.budget.Add(r.policy.Poll)
	}
	asked := map[KeyRef]bool{ref: true}
	maps.Copy(asked, r.asked)
	r.asked = asked
	return r, true
}

// ListsFrom is when an unknown key may make a listing, or share in one; zero is never.
func (r Ring) ListsFrom(now time.Time) time.Time {
	from := r.budget.Add(-(demandListings - 1) * r.policy.Poll)
	switch {
	case !r.policy.Lists || !r.serves():
		return time.Time{}
	case len(r.asked) > 0 || from.Before(now):
		return now
	default:
		return from
	}
}

// Hope says whether a key that is demanded is still about to come.
func (r Ring) Hope(ref KeyRef, now time.Time) bool {
	k, known := r.keys[ref]
	if !known || k.unread {
		return r.asked[ref]
	}
	return r.serves() && r.fetchable(k, now) && !k.retry.After(now)
}

// Asked is the task that requests wait for; false means none.
func (r Ring) Asked(now time.Time) (Task, bool) {
	if len(r.asked) > 0 {
		return Task{Kind: List}, true
	}
	var first keyState
	for _, k := range r.keys {
		if k.wanted && r.Hope(k.Ref, now) && (first.Ref == KeyRef{} || newestFirst(k.ListedKey, first.ListedKey) < 0) {
			first = k
		}
	}
	return Task{Fetch, first.Ref}, first.Ref != KeyRef{}
}

// Answered is the event that the keyring was listed for those who asked, or that it could not be listed for them; the time of the
// next poll is not moved by that.
func (r Ring) Answered(l *Listing, err error, now time.Time) Ring {
	asked := r.asked
	r.asked = nil
	if err != nil {
		r.trouble = err
		r.failures++
		return r
	}
	r = r.Listed(l, now)
	for ref := range asked {
		if k, known := r.keys[ref]; known {
			if !k.unread {
				r, _ = r.Demand(ref, now)
			}
			continue
		}
		r.absent = maps.Clone(r.absent)
		remember(&r.absent, ref, now.Add(absentPolls*r.policy.Poll))
	}
	return r
}

// remember adds a key to a map that has the end of each; of too many, those go that end first.
func remember(absent *map[KeyRef]time.Time, ref KeyRef, until time.Time) {
	if *absent == nil {
		*absent = map[KeyRef]time.Time{}
	}
	(*absent)[ref] = until
	if len(*absent) <= absentMost {
		return
	}
	first := slices.MinFunc(slices.Collect(maps.Keys(*absent)), func(a, b KeyRef) int {
		return cmp.Or((*absent)[a].Compare((*absent)[b]), cmp.Compare(a.KeyID(), b.KeyID()))
	})
	delete(*absent, first)
}
