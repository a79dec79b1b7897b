package barbican

import (
	"fmt"
	"slices"
	"time"
)

// Revocation is what a keyring does once Barbican has refused its container or its active key for good (a definite 403 or 404,
// three times in a row over two polls or more; never an outage, a timeout, or a login that is refused), once the active key's
// entry has been gone from the list as long, or when its secret has expired.
type Revocation int

const (
	// Serve goes on with what is held, and alarms.
	Serve Revocation = iota
	// StopWrites makes Encrypt and Status fail, so that the API server stops writing; it goes on reading.
	StopWrites
	// StopAll makes Decrypt fail, too.
	StopAll
)

// ParseRevocation reads "serve", "stop-writes" or "stop-all".
func ParseRevocation(s string) (Revocation, error) {
	for _, r := range []Revocation{Serve, StopWrites, StopAll} {
		if s == r.String() {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%q has to be %s, %s or %s", s, Serve, StopWrites, StopAll)
}

func (r Revocation) String() string {
	return [...]string{Serve: "serve", StopWrites: "stop-writes", StopAll: "stop-all"}[r]
}

// Policy are the rules of a ring.
type Policy struct {
	// Wait is the pause after a failed call number n in a row, from 0.
	Wait func(why Failure, n int) time.Duration
	// Poll is the shortest pause between two polls. Spread makes one a little longer, at random, so that nodes do not poll in
	// step; nil leaves it.
	Poll   time.Duration
	Spread func(time.Duration) time.Duration
	// Lists says that the list may change: it is asked for with every poll.
	Lists bool
	// Checks says that the active key's secret is asked for from time to time, whether it is still there for us.
	Checks bool
	// Trusted lists are the operator's own: neither creators nor states are checked, keys become active when the list says, and
	// to read it is no call.
	Trusted bool
	// ReadOnly keyrings have no active key: they fetch all that is listed and only open, and the mark stays where it is.
	ReadOnly bool
	// ActivationDelay is how long after its creation a key becomes active: the time in which all nodes fetch it.
	ActivationDelay time.Duration
	// Creators are the ids of the users whose secrets may be keys; none: only the one's who lists. AnyCreator checks none.
	Creators   []string
	AnyCreator bool
	// OnRevocation says what a revocation does.
	OnRevocation Revocation
	// MaxStaleness is how long keys are used without a good poll; zero: for ever.
	MaxStaleness time.Duration
}

// usableStatus is the status of a secret that can be used (barbican/model/models.py, States).
const usableStatus = "ACTIVE"

// pause is the time from one poll to the next.
func (p *Policy) pause() time.Duration {
	if p.Spread == nil {
		return p.Poll
	}
	return max(p.Poll, p.Spread(p.Poll))
}

func (p *Policy) delay() time.Duration {
	if p.Trusted {
		return 0
	}
	return p.ActivationDelay
}

// refusal is why a key must not be used, whatever time it is; nil if it may.
func (p *Policy) refusal(k ListedKey, owner string) error {
	unusable := func(format string, args ...any) error {
		return fmt.Errorf("secret %s (generation %d): %w: %s", k.Ref.Secret, k.Ref.Generation, ErrUnusableKey, fmt.Sprintf(format, args...))
	}
	switch {
	case p.Trusted:
		return nil
	case k.Status != usableStatus:
		return unusable("its status is %.50q", k.Status)
	case k.Created.IsZero():
		return unusable("Barbican does not tell when it was made")
	case p.AnyCreator:
		return nil
	case len(p.Creators) > 0 && !slices.Contains(p.Creators, k.Creator):
		return unusable("its creator %.100q is none of those who are allowed", k.Creator)
	case len(p.Creators) == 0 && (owner == "" || k.Creator != owner):
		return unusable("its creator %.100q is not this plugin's own user %q, and no others are allowed", k.Creator, owner)
	default:
		return nil
	}
}

// Activation is when a key may become active, by Barbican's clock: the delay after its creation, and not before its own instant.
// The first generation has none before it that nodes could disagree with: it need not wait.
func (k ListedKey) Activation(delay time.Duration) time.Time {
	at := k.Created
	if k.Ref.Generation > 1 {
		at = at.Add(delay)
	}
	if k.NotBefore.After(at) {
		return k.NotBefore
	}
	return at
}
