package barbican

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/barbican/envelope"
	"mooring/pkg/openstack"
	"mooring/pkg/poll"
	"mooring/pkg/secmem"
)

// fetchTimeout bounds one fetch with all its retries: a Barbican that takes seconds for a call is slow, not away.
const fetchTimeout = 30 * time.Second

// fetcher is what a keyring needs of Barbican.
type fetcher interface {
	Payload(ctx context.Context, secret string, limit int) ([]byte, error)
}

// Options are a keyring's settings.
type Options struct {
	// Entries are the keys. At least one may write.
	Entries []Entry
	// ClusterID ties ciphertexts to the cluster. It must never change once data was written.
	ClusterID string
	// Logger gets what happens to keys; nil discards it.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none.
	Registerer prometheus.Registerer
	// Wait is the pause after a failed fetch; nil is at most a second for what may pass at any moment (so that a plugin that was
	// restarted in an outage serves soon after it), and up to half a minute for what somebody has to mend.
	Wait func(why Failure, n int) time.Duration
}

// Keyring wraps and unwraps with keys that it holds in memory. Its methods are safe for concurrent use and make no calls;
// Run fetches the keys.
type Keyring struct {
	options Options
	source  fetcher
	logger  *slog.Logger
	policy  Policy
	metrics *metrics

	// What Status and Encrypt go by is one immutable value, so that they can't disagree on the active key.
	current atomic.Pointer[snapshot]

	// The rest belongs to Run alone.
	ring   Ring
	keys   map[string]*key // by key id
	errs   map[string]error
	active KeyRef
}

// key is a key that is held.
type key struct {
	ref   KeyRef
	id    string
	bytes *secmem.Bytes
}

// snapshot is what a keyring can do at a moment.
type snapshot struct {
	active *key             // nil: none yet, see missing
	keys   map[string]*key  // held, by key id
	wanted map[string]error // in the keyring but not held, by key id: why
	lack   error            // why there is no active key; nil if there is one
}

// New makes a keyring that holds nothing yet: Run fetches. It fails on a list that makes no keyring, see NewRing.
func New(source fetcher, o Options) (*Keyring, error) {
	ring, err := NewRing(o.Entries, 0)
	if err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Wait == nil {
		o.Wait = defaultWait
	}
	k := &Keyring{
		options: o, source: source, logger: o.Logger, policy: Policy{Wait: o.Wait}, metrics: newMetrics(o.Registerer),
		ring: ring, keys: map[string]*key{}, errs: map[string]error{},
	}
	k.publish(time.Now())
	return k, nil
}

func defaultWait(why Failure, n int) time.Duration {
	if why == Transient {
		return poll.Backoff{First: 250 * time.Millisecond, Max: time.Second, Factor: 2, Jitter: 0.5}.Wait(n)
	}
	return poll.Backoff{First: time.Second, Max: 30 * time.Second, Factor: 2, Jitter: 0.2}.Wait(n)
}

// Run fetches keys until all are held, lets keys become active in their time, and returns nil when ctx ends. The keys stay:
// requests that are still under way at the end are served. Call Close after those.
func (k *Keyring) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		k.step(ctx)
	}
	return nil
}

// step does what is due and waits for the next thing.
func (k *Keyring) step(ctx context.Context) {
	for _, ref := range k.ring.Due(time.Now()) {
		k.fetch(ctx, ref)
		k.publish(time.Now())
	}
	now := time.Now()
	k.publish(now)
	wake, some := k.ring.Wake(now)
	if !some {
		<-ctx.Done()
		return
	}
	_ = poll.Sleep(ctx, wake.Sub(now)) // its error is that of ctx, which ends the loop
}

// Close destroys the keys. Call it when nobody uses the keyring any more.
func (k *Keyring) Close() error {
	var errs []error
	for _, held := range k.keys {
		errs = append(errs, held.bytes.Destroy())
	}
	return errors.Join(errs...)
}

// fetch gets one key and tests it.
func (k *Keyring) fetch(ctx context.Context, ref KeyRef) {
	bounded, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	held, err := k.load(bounded, ref)
	if ctx.Err() != nil && err != nil {
		return // the process ends: that is no failure
	}
	id := ref.KeyID()
	if err != nil {
		why := classify(err)
		k.metrics.fetched(err)
		k.ring = k.ring.Failed(ref, why, time.Now(), k.policy)
		k.errs[id] = err
		level, attempts := slog.LevelDebug, k.ring.Failures(ref)
		if bits.OnesCount(uint(attempts)) == 1 { // the 1st, 2nd, 4th, 8th, …: an outage must not fill the log
			level = slog.LevelWarn
		}
		k.logger.Log(ctx, level, "a key can't be fetched, trying again", slog.String("key_id", id), slog.Int("attempts", attempts), slog.Any("error", err))
		return
	}
	k.metrics.fetched(nil)
	k.ring = k.ring.Held(ref)
	k.keys[id] = held
	delete(k.errs, id)
	k.logger.InfoContext(ctx, "a key is held", slog.String("key_id", id), slog.String("key_id_hash", KeyIDHash(id)), slog.Bool("locked", held.bytes.Locked()))
	if !held.bytes.Locked() {
		k.logger.WarnContext(ctx, "the key's memory can't be locked and may be swapped out: raise the limit of locked memory (LimitMEMLOCK) or give CAP_IPC_LOCK",
			slog.String("key_id", id))
	}
}

func (k *Keyring) load(ctx context.Context, ref KeyRef) (*key, error) {
	payload, err := k.source.Payload(ctx, ref.Secret, envelope.KEKSize)
	if err != nil {
		return nil, err
	}
	defer clear(payload)
	if len(payload) != envelope.KEKSize {
		return nil, fmt.Errorf("secret %s: %w: it has %s, an AES-256 key has %d", ref.Secret, ErrUnusableKey, describeLength(len(payload)), envelope.KEKSize)
	}
	held, err := secmem.New(payload)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", ref.Secret, err)
	}
	loaded := &key{ref: ref, id: ref.KeyID(), bytes: held}
	if err := k.test(loaded); err != nil {
		return nil, errors.Join(fmt.Errorf("secret %s: %w: %w", ref.Secret, ErrUnusableKey, err), held.Destroy())
	}
	return loaded, nil
}

func describeLength(n int) string {
	if n > envelope.KEKSize {
		return fmt.Sprintf("more than %d bytes", envelope.KEKSize)
	}
	return fmt.Sprintf("%d bytes", n)
}

// test is a round trip, before a key is trusted with data.
func (k *Keyring) test(held *key) error {
	probe := make([]byte, envelope.DEKSize)
	sealed, err := k.seal(held, probe)
	if err != nil {
		return err
	}
	opened, err := k.open(held, sealed)
	if err != nil {
		return err
	}
	if string(opened) != string(probe) {
		return errors.New("a round trip changed the data")
	}
	return nil
}

// classify says whether a failed fetch can pass by itself.
func classify(err error) Failure {
	for _, definite := range []error{
		ErrUnusableKey, openstack.ErrNotFound, openstack.ErrForbidden, openstack.ErrUnauthorized, openstack.ErrInvalid, openstack.ErrNoService,
	} {
		if errors.Is(err, definite) {
			return Definite
		}
	}
	return Transient
}

// publish makes what Run knows visible to requests.
func (k *Keyring) publish(now time.Time) {
	k.ring = k.ring.Advance(now)
	next := &snapshot{keys: maps.Clone(k.keys), wanted: map[string]error{}}
	for _, ref := range k.ring.Missing() {
		id := ref.KeyID()
		next.wanted[id] = &waiting{ref: ref, reason: k.errs[id]}
	}
	if ref, ok := k.ring.Active(); ok {
		next.active = k.keys[ref.KeyID()]
		if ref != k.active {
			k.active = ref
			k.logger.Info("a key is active", slog.String("key_id", ref.KeyID()), slog.Uint64("generation", ref.Generation))
		}
	} else {
		awaited := k.ring.Awaited(now)
		next.lack = &waiting{ref: awaited, reason: k.errs[awaited.KeyID()]}
	}
	k.current.Store(next)
	k.metrics.state(next)
}

// Ready is nil once there is a key to write with and every other one is held, too. Its error wraps ErrNotReady.
func (k *Keyring) Ready() error {
	now := k.current.Load()
	if now.lack != nil {
		return now.lack
	}
	for _, reason := range now.wanted {
		return reason
	}
	return nil
}

// Status returns the id of the active key, after which Encrypt wraps, or why there is none: ErrNotReady, ErrUnusableKey.
func (k *Keyring) Status() (keyID string, err error) {
	now := k.current.Load()
	if now.lack != nil {
		return "", now.lack
	}
	return now.active.id, nil
}

// Encrypt wraps a data-encryption key of 32 bytes with the active key, in suite 1 of package envelope, and returns the id of
// the key it took. Errors: ErrPlaintext, ErrNotReady, ErrUnusableKey.
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

// Decrypt unwraps what Encrypt made with the key of that id. Errors: ErrKeyID, ErrUnknownKey, ErrNotReady, ErrUnusableKey,
// ErrCiphertext.
func (k *Keyring) Decrypt(keyID string, ciphertext []byte) ([]byte, error) {
	now := k.current.Load()
	held := now.keys[keyID]
	if held != nil {
		return k.open(held, ciphertext)
	}
	if _, err := ParseKeyID(keyID); err != nil {
		return nil, err
	}
	if reason, ok := now.wanted[keyID]; ok {
		return nil, reason
	}
	return nil, ErrUnknownKey
}

func (k *Keyring) seal(held *key, dek []byte) (out []byte, err error) {
	err = held.bytes.Use(func(kek []byte) error {
		out, err = envelope.Seal(kek, dek, envelope.Binding{KeyID: held.id, ClusterID: k.options.ClusterID})
		return err
	})
	return out, envelopeError(err)
}

func (k *Keyring) open(held *key, ciphertext []byte) (out []byte, err error) {
	err = held.bytes.Use(func(kek []byte) error {
		out, err = envelope.Open(kek, ciphertext, envelope.Binding{KeyID: held.id, ClusterID: k.options.ClusterID})
		return err
	})
	return out, envelopeError(err)
}
