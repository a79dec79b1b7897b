package barbican

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	// ErrInUse says that something still needs a key.
	ErrInUse = errors.New("it is still in use")
	// ErrNoGeneration says that a keyring has no such generation.
	ErrNoGeneration = errors.New("the keyring has no such generation")
)

// KeyState is what a plugin makes of a generation.
type KeyState string

const (
	// KeyActive is the generation that wraps.
	KeyActive KeyState = "active"
	// KeyPending generations become active a delay after their creation.
	KeyPending KeyState = "pending"
	// KeyHeldBack generations become active at an instant that their entry names.
	KeyHeldBack KeyState = "held back"
	// KeyOld generations only open what they wrapped.
	KeyOld KeyState = "old"
	// KeyStrange generations are not used: the reason is told.
	KeyStrange KeyState = "strange"
)

// KeyStatus is a generation, judged.
type KeyStatus struct {
	ListedKey

	State      KeyState
	Activation time.Time // when it may become active, or became so; zero: unknown
	Why        string    // for strange ones
	Disputed   bool      // it is strange since another key has the same generation
	Store      string    // empty: unknown
	Private    *bool     // nil: unknown
}

// Assess judges the generations of a listing as plugins do that have the same policy and hold every key, the highest first. When plugins have
// met a key a listing does not tell: one that was put into the keyring by hand, long after it was made, is active by this up to half a delay
// and a poll before it is (see Ring).
func Assess(l *Listing, now time.Time, p *Policy) []KeyStatus {
	out := make([]KeyStatus, 0, len(l.Keys)+len(l.Unread))
	usable := map[uint64]int{}
	for _, k := range l.Keys {
		s := KeyStatus{ListedKey: k, Activation: k.Activation(p.delay())}
		if err := p.refusal(k, l.Owner); err != nil {
			s.Why = err.Error()
		} else {
			usable[k.Ref.Generation]++ // an expired one, too: so do plugins
		}
		if s.Why == "" && !k.Expires.IsZero() && !k.Expires.After(now) {
			s.Why = "it has expired at " + k.Expires.UTC().Format(time.RFC3339)
		}
		out = append(out, s)
	}
	for ref, err := range l.Unread {
		out = append(out, KeyStatus{ListedKey: ListedKey{Ref: ref}, State: KeyStrange, Why: err.Error()})
	}
	slices.SortFunc(out, func(a, b KeyStatus) int { return newestFirst(a.ListedKey, b.ListedKey) })
	active := false
	for i := range out {
		k := &out[i]
		if k.Why == "" && usable[k.Ref.Generation] > 1 {
			k.Why, k.Disputed = "the generation is given to two keys: retire the one that no plugin writes with", true
		}
		switch {
		case k.Why != "":
			k.State = KeyStrange
		case active:
			k.State = KeyOld
		case !k.Activation.After(now):
			k.State, active = KeyActive, true
		case k.NotBefore.Equal(k.Activation):
			k.State = KeyHeldBack
		default:
			k.State = KeyPending
		}
	}
	return out
}

// activeSince is when the active generation became so; zero: there is none.
func activeSince(keys []KeyStatus) time.Time {
	for i := range keys {
		if keys[i].State == KeyActive {
			return keys[i].Activation
		}
	}
	return time.Time{}
}

// Retirable is the key of a generation that may be taken out of the keyring, as far as its state tells. Wanted names the secret, too,
// where several have the generation. The secret of the result is empty when such a generation is not listed any more. A strange key
// that no active one has followed may be the plugins' active one, if their rules are others or they could read it; only force
// retires it. So is one of two keys that share a generation: a plugin that saw it first goes on with it. And only force retires the
// highest, whose number would be given again.
func Retirable(keys []KeyStatus, wanted KeyRef, force bool) (KeyRef, error) {
	var candidates []*KeyStatus
	var highest uint64
	sharing := 0      // keys of the generation
	followed := false // by an active one
	for i := range keys {
		k := &keys[i]
		highest = max(highest, k.Ref.Generation)
		followed = followed || k.State == KeyActive && k.Ref.Generation > wanted.Generation
		if k.Ref.Generation != wanted.Generation {
			continue
		}
		sharing++
		if wanted.Secret == "" || k.Ref.Secret == wanted.Secret {
			candidates = append(candidates, k)
		}
	}
	unlisted := KeyRef{Generation: wanted.Generation}
	switch {
	case len(candidates) > 1:
		return unlisted, fmt.Errorf("generation %d is given to two keys, %s and %s: say which (--secret)", wanted.Generation, candidates[0].Ref.Secret, candidates[1].Ref.Secret)
	case len(candidates) == 1:
		return candidates[0].Ref, candidates[0].retirable(wanted.Generation == highest && sharing == 1, followed, force)
	case wanted.Generation > highest:
		return unlisted, fmt.Errorf("%w: %d is the highest", ErrNoGeneration, highest)
	}
	return unlisted, nil
}

// retirable says why a key has to stay: one that is or will be active; without force one that may be, or that alone has the highest
// number.
func (k *KeyStatus) retirable(highest, followed, force bool) error {
	generation := k.Ref.Generation
	switch {
	case k.State == KeyActive:
		return fmt.Errorf("%w: generation %d is the active one; rotate first", ErrInUse, generation)
	case k.State == KeyPending, k.State == KeyHeldBack:
		return fmt.Errorf("%w: generation %d becomes active at %s", ErrInUse, generation, k.Activation.UTC().Format(time.RFC3339))
	case force:
		return nil
	case k.Disputed:
		return fmt.Errorf("generation %d: %w, perhaps: it is given to two keys, and a plugin that took secret %s up before the other one came still writes with it: "+
			"ask each node (keys status), and --force for the one that none has", generation, ErrInUse, k.Ref.Secret)
	case k.State == KeyStrange && !followed:
		return fmt.Errorf("generation %d: %w, perhaps: it looks strange from here (%s), but no active generation is above it, and plugins may write with it: "+
			"give the plugins' --allowed-creators, or --force if they do not", generation, ErrInUse, k.Why)
	case highest:
		return fmt.Errorf("%w: generation %d is the highest, and the next rotation would give its number to another key: rotate first, or --force if no plugin has ever "+
			"written with it", ErrInUse, generation)
	}
	return nil
}
