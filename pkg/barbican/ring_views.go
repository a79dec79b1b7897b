package barbican

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Active is the key to write with; false means there is none yet.
func (r Ring) Active() (KeyRef, bool) { return r.active, r.active != KeyRef{} }

// Mark is the highest key that was ever active; zero: none that is known of.
func (r Ring) Mark() KeyRef { return r.mark }

// Known is what a listing need not ask again. What may change, a secret's status, is asked for until it is good.
func (r Ring) Known() map[KeyRef]ListedKey {
	if r.recalled {
		return nil // that was our word, not Barbican's
	}
	known := make(map[KeyRef]ListedKey, len(r.keys))
	for ref, k := range r.keys {
		if !k.unread && k.Status == usableStatus {
			known[ref] = k.ListedKey
		}
	}
	return known
}

// Stale says whether the last good poll is longer ago than is allowed.
func (r Ring) Stale(now time.Time) bool {
	return r.policy.MaxStaleness > 0 && now.Sub(r.good) >= r.policy.MaxStaleness
}

// Revoked is why the keyring or its active key counts as revoked; nil if it does not.
func (r Ring) Revoked(now time.Time) error {
	if r.recalled {
		return r.container.err
	}
	for _, e := range []evidence{r.container, r.entry, r.secret} {
		if e.confirmed(r.policy.Poll) {
			return e.err
		}
	}
	if k, ok := r.keys[r.active]; ok && r.expired(k, now) {
		return expiry(k)
	}
	return nil
}

// Shut says whether a revocation is to stop all: then no key is to be held.
func (r Ring) Shut(now time.Time) bool {
	return r.policy.OnRevocation == StopAll && r.Revoked(now) != nil
}

// wanted are the keys that are listed and not held, each with why, and from when on it may help to ask for it.
func (r Ring) wanted(now time.Time) map[KeyRef]want {
	all := map[KeyRef]want{}
	for ref, until := range r.absent {
		if from := r.ListsFrom(now); !from.IsZero() && until.After(from) {
			all[ref] = want{r.unknown(), until}
		}
	}
	for ref, k := range r.keys {
		reason := r.refusal(k)
		switch {
		case k.held:
			delete(all, ref)
		case k.unread:
			all[ref] = want{&waiting{ref: ref, reason: k.err}, r.ListsFrom(now)}
		case reason != nil:
			all[ref] = want{reason: reason}
		case r.expired(k, now):
			all[ref] = want{reason: expiry(k)}
		case !r.serves():
			all[ref] = want{reason: &waiting{ref: ref, reason: k.err}}
		case k.retry.IsZero():
			all[ref] = want{&waiting{ref: ref, reason: k.err}, now}
		default:
			all[ref] = want{&waiting{ref: ref, reason: k.err}, k.retry}
		}
	}
	return all
}

// unknown is why a key is not known: there is none, as far as the last listing tells; after one that failed it may have come since.
func (r Ring) unknown() error {
	if r.trouble != nil || !r.listed {
		return &waiting{reason: r.trouble}
	}
	return ErrUnknownKey
}

func expiry(k keyState) error {
	return fmt.Errorf("secret %s: %w: it has expired at %s", k.Ref.Secret, ErrUnusableKey, k.Expires.UTC().Format(time.RFC3339))
}

// Lack is why there is no active key; nil if there is one.
func (r Ring) Lack(now time.Time) error {
	if r.keys[r.active].held {
		return nil
	}
	if !r.listed {
		return &waiting{reason: r.trouble}
	}
	if r.policy.ReadOnly {
		return errReadOnly
	}
	keys := r.newestFirst()
	if len(keys) > 0 && !r.aboveMark(keys[0].Ref) {
		return fmt.Errorf("%w: generation %d (secret %s) was active before, the newest in the keyring is %d: put that key back into the keyring, or add a higher generation",
			ErrBehind, r.mark.Generation, r.mark.Secret, keys[0].Ref.Generation)
	}
	var refusals []error
	for _, k := range keys {
		switch {
		case !r.aboveMark(k.Ref) || k.ReadOnly:
		case k.unread || r.mayWrite(k, now):
			return &waiting{ref: k.Ref, reason: k.err}
		default:
			refusals = append(refusals, r.objection(k, now))
		}
	}
	if next, _, ok := r.NextActivation(now); ok {
		return fmt.Errorf("%w: generation %d becomes active at %s", ErrNotReady, next.Generation, r.activation(r.keys[next], now).UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("%w: the keyring has no key to write with: %w", ErrNotReady, errors.Join(refusals...))
}

// objection is why a key can't be active now.
func (r Ring) objection(k keyState, now time.Time) error {
	switch reason := r.refusal(k); {
	case reason != nil:
		return reason
	case k.disputed:
		return fmt.Errorf("secret %s: %w: generation %d is given to another key, too: take one of them out of the keyring", k.Ref.Secret, ErrUnusableKey, k.Ref.Generation)
	case r.expired(k, now):
		return expiry(k)
	case k.gone:
		return fmt.Errorf("secret %s: %w: it has gone from the keyring", k.Ref.Secret, ErrUnusableKey)
	default:
		return fmt.Errorf("secret %s: it becomes active at %s", k.Ref.Secret, r.activation(k, now).UTC().Format(time.RFC3339))
	}
}

// Complete is nil when every key that is listed and allowed is held; else why one is not.
func (r Ring) Complete(now time.Time) error {
	for _, k := range r.newestFirst() {
		if r.fetchable(k, now) {
			return &waiting{ref: k.Ref, reason: k.err}
		}
	}
	return nil
}

// NextActivation is the next generation that time alone makes active and when, by this machine's clock; false means none.
func (r Ring) NextActivation(now time.Time) (ref KeyRef, at time.Time, ok bool) {
	for _, k := range r.keys {
		t := r.local(r.activation(k, now), now)
		if r.aboveMark(k.Ref) && k.Ref.Generation > r.active.Generation && r.candidate(k, now) && t.After(now) && (!ok || t.Before(at)) {
			ref, at, ok = k.Ref, t, true
		}
	}
	return ref, at, ok
}

// view is what of a ring is measured.
type view struct {
	active   KeyRef
	keys     []keyView
	strange  int
	good     time.Time
	switches time.Time     // when the next generation becomes active, by this machine's clock; zero: none is to come
	ahead    time.Duration // of this machine's clock: how far Barbican's is before it
	clock    Clock
	revoked  error
	stale    bool
	recalled bool
}

type keyView struct {
	ref              KeyRef
	state            string // held, wanted or refused
	created, expires time.Time
}

func (r Ring) view(now time.Time) view {
	v := view{active: r.active, strange: len(r.strange), good: r.good, ahead: r.Cloud(now).Sub(now), clock: r.clock.whose, revoked: r.Revoked(now), stale: r.Stale(now), recalled: r.recalled}
	if _, at, ok := r.NextActivation(now); ok {
		v.switches = at
	}
	for _, k := range r.newestFirst() {
		state := "wanted"
		switch {
		case k.held:
			state = "held"
		case !k.unread && !r.fetchable(k, now):
			state = "refused"
		}
		v.keys = append(v.keys, keyView{k.Ref, state, k.Created, k.Expires})
	}
	return v
}

// newestFirst are all keys, the highest generation first.
func (r Ring) newestFirst() []keyState {
	return slices.SortedFunc(maps.Values(r.keys), func(a, b keyState) int { return newestFirst(a.ListedKey, b.ListedKey) })
}
