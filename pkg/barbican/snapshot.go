package barbican

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"mooring/pkg/barbican/envelope"
	"mooring/pkg/secmem"
)

// snapshot is what a keyring can do at a moment. It is not changed afterwards.
type snapshot struct {
	active *key            // nil: none yet, see lack
	keys   map[string]*key // held, by key id
	wanted map[string]want // in the keyring but not held, by key id
	lists  time.Time       // from when on an unknown key may make a listing; zero: never
	lack   error           // why nothing is wrapped; nil if there is a key to do it with
	closed error           // why nothing is unwrapped either
	none   error           // of a key that is not in the keyring: ErrUnknownKey, or why that is not known at the moment
	behind error           // why not every key is held
	view   view            // for the metrics
}

// want is why a key is not held, and when asking for it may help.
type want struct {
	reason error
	from   time.Time // zero: never
}

// unlocked counts the keys whose memory could not be locked.
func (s *snapshot) unlocked() (n int) {
	for _, k := range s.keys {
		if !k.bytes.Locked() {
			n++
		}
	}
	return n
}

// publish makes what Run knows visible to requests.
func (k *Keyring) publish(now time.Time) {
	next := &snapshot{
		keys: maps.Clone(k.keys), wanted: map[string]want{}, lists: k.ring.ListsFrom(now), none: k.ring.unknown(),
		lack: k.ring.Lack(now), behind: k.ring.Complete(now), view: k.ring.view(now),
	}
	for ref, w := range k.ring.wanted(now) {
		next.wanted[ref.KeyID()] = w
	}
	if ref, ok := k.ring.Active(); ok {
		next.active = k.keys[ref.KeyID()]
	}
	policy, revoked := k.options.Policy.OnRevocation, next.view.revoked
	if revoked != nil && policy >= StopWrites {
		next.lack = fmt.Errorf("%w: %w", ErrRevoked, revoked)
	}
	if revoked != nil && policy == StopAll {
		next.closed = next.lack
	}
	if next.view.stale {
		next.closed = fmt.Errorf("%w: Barbican's last good answer to a poll was %v ago", ErrStale, now.Sub(next.view.good).Round(time.Second))
		next.lack = next.closed
	}
	k.current.Store(next)
}

// Ready is nil once there is a key to write with (unless the policy is ReadOnly) and every other one that may be used is held, too. Errors: those of Status, and
// ErrNotReady.
func (k *Keyring) Ready() error {
	now := k.current.Load()
	if now.lack != nil && !errors.Is(now.lack, errReadOnly) {
		return now.lack
	}
	return now.behind
}

// Status returns the id of the active key, after which Encrypt wraps, or why there is none: ErrNotReady, ErrUnusableKey,
// ErrBehind, ErrRevoked, ErrStale.
func (k *Keyring) Status() (keyID string, err error) {
	now := k.current.Load()
	if now.lack != nil {
		return "", now.lack
	}
	return now.active.id, nil
}

// Encrypt wraps a data-encryption key of 32 bytes with the active key, in suite 1 of package envelope, and returns the id of
// the key it took. Errors: ErrPlaintext, and those of Status.
func (k *Keyring) Encrypt(dek []byte) (ciphertext []byte, keyID string, err error) {
	now := k.current.Load()
	if now.lack != nil {
		return nil, "", now.lack
	}
	ciphertext, err = k.seal(now.active, dek)
	if err != nil {
		return nil, "", err
	}
	return ciphertext, now.active.id, nil
}

// Decrypt unwraps what Encrypt made with the key of that id. A key that is not held is fetched if the keyring lists it, and the
// keyring is listed (a few times, and then once in a poll's time) if it does not: as long as ctx allows, and never so long that the
// API server would not hear the answer. Errors: ErrKeyID, ErrUnknownKey, ErrNotReady,
// ErrUnusableKey, ErrRevoked, ErrStale, ErrCiphertext.
func (k *Keyring) Decrypt(ctx context.Context, keyID string, ciphertext []byte) ([]byte, error) {
	now := k.current.Load()
	if now.closed != nil {
		return nil, now.closed
	}
	if held := now.keys[keyID]; held != nil {
		return k.open(held, ciphertext)
	}
	ref, err := ParseKeyID(keyID)
	if err != nil {
		return nil, err
	}
	if now.mayCome(keyID) {
		k.metrics.missed()
		answered := k.demand(ctx, ref)
		if now = k.current.Load(); !answered && now.keys[keyID] == nil {
			return nil, &waiting{ref: ref, reason: errNoAnswer}
		}
	}
	if held := now.keys[keyID]; held != nil && now.closed == nil {
		return k.open(held, ciphertext)
	}
	if w, ok := now.wanted[keyID]; ok {
		return nil, w.reason
	}
	return nil, now.none
}

// mayCome says whether asking for a key can help now: garbage has to be told from news without a detour.
func (s *snapshot) mayCome(keyID string) bool {
	from := s.lists
	if w, listed := s.wanted[keyID]; listed {
		from = w.from
	}
	return !from.IsZero() && !time.Now().Before(from)
}

// demand is a request's wish for a key.
type demand struct {
	ref   KeyRef
	reply chan struct{} // closed when the key is here, or nothing more is to be hoped for
}

// demandWait is how long a request waits for a key: less than the three seconds of the API server, which asks again.
const demandWait = 2500 * time.Millisecond

// demand asks Run for a key and waits until it is there or there is no hope, which is true; or until it has waited too long.
func (k *Keyring) demand(ctx context.Context, ref KeyRef) (answered bool) {
	ctx, cancel := context.WithTimeout(ctx, demandWait)
	defer cancel()
	d := demand{ref: ref, reply: make(chan struct{})}
	select {
	case k.asked <- d:
	case <-ctx.Done():
		return false
	case <-k.ended:
		return false
	}
	select {
	case <-d.reply:
		return true
	case <-ctx.Done():
		return false
	case <-k.ended:
		return false
	}
}

// take is Run's side of demand. All who wait for a key wait for the same call.
func (k *Keyring) take(d demand, now time.Time) {
	var hope bool
	if k.ring, hope = k.ring.Demand(d.ref, now); !hope {
		close(d.reply)
		return
	}
	k.waiting[d.ref] = append(k.waiting[d.ref], d.reply)
}

// release lets those go who wait for a key that is here, or of which there is no hope. The snapshot is published before.
func (k *Keyring) release(now time.Time) {
	for ref, replies := range k.waiting {
		if k.ring.Hope(ref, now) {
			continue
		}
		for _, reply := range replies {
			close(reply)
		}
		delete(k.waiting, ref)
	}
}

func (k *Keyring) seal(held *key, dek []byte) (out []byte, err error) {
	err = held.bytes.Use(func(kek []byte) error {
		out, err = envelope.Seal(kek, dek, envelope.Binding{KeyID: held.id, ClusterID: k.options.ClusterID})
		return err
	})
	return out, k.wiped(envelopeError(err))
}

func (k *Keyring) open(held *key, ciphertext []byte) (out []byte, err error) {
	err = held.bytes.Use(func(kek []byte) error {
		out, err = envelope.Open(kek, ciphertext, envelope.Binding{KeyID: held.id, ClusterID: k.options.ClusterID})
		return err
	})
	if errors.Is(err, envelope.ErrAuthentication) { // why is not to be known: all causes have the same words
		err = fmt.Errorf("%w (altered, or wrapped with another --cluster-id than this plugin has, or for another key)", err)
	}
	return out, k.wiped(envelopeError(err))
}

// wiped is why a key was destroyed under a request.
func (k *Keyring) wiped(err error) error {
	if now := k.current.Load(); errors.Is(err, secmem.ErrDestroyed) && now.closed != nil {
		return now.closed
	}
	return err
}
