package barbican

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/barbican/envelope"
	"mooring/pkg/openstack"
	"mooring/pkg/poll"
	"mooring/pkg/secmem"
)

// TakeoverOptions are the settings of a takeover.
type TakeoverOptions struct {
	// Keys are the legacy keys: secrets' UUIDs, spelled as in the other plugin's configuration, since that spelling is the key id
	// that stands in etcd.
	Keys []string
	// CompatWrite makes the one legacy key the active one and writes the other plugin's format with it, so that nodes on which
	// that still runs can read everything. It needs exactly one key.
	CompatWrite bool
	// StateFile is the keyring's. CompatWrite is refused with ErrStateFile when it says that a generation was active: the legacy key id
	// would come back. Empty: nothing is known.
	StateFile string
	// Logger gets what happens to keys; nil discards it.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none.
	Registerer prometheus.Registerer
	// Wait is as in Policy; nil is the same.
	Wait func(why Failure, n int) time.Duration
}

// Takeover stands before a keyring and adds the keys of cloud-provider-openstack's barbican-kms-plugin: what that wrote is
// opened by its key id, the bare UUID of a secret; everything else goes to the keyring. With CompatWrite it writes what that
// plugin would write, and the keyring only reads.
//
// Its methods are safe for concurrent use and make no calls; Run fetches the legacy keys.
type Takeover struct {
	options TakeoverOptions
	source  fetcher
	next    *Keyring              // nil: none
	keys    map[string]*legacyKey // by key id
	writer  *legacyKey            // nil: the keyring writes
	opened  prometheus.Counter
}

// legacyKey is a key of the other plugin's.
type legacyKey struct {
	id     string // as that writes it
	secret string // as Barbican writes it
	state  atomic.Pointer[legacyState]
}

// legacyState is a key's bytes, or why they are not here.
type legacyState struct {
	bytes *secmem.Bytes
	err   error // ErrNotReady
}

// NewTakeover puts legacy keys, or none, before a keyring; with CompatWrite that may be nil, and its policy should be ReadOnly.
// The caller runs and closes the keyring.
func NewTakeover(source fetcher, next *Keyring, o TakeoverOptions) (*Takeover, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Wait == nil {
		o.Wait = defaultWait
	}
	t := &Takeover{
		options: o, source: source, next: next, keys: map[string]*legacyKey{},
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mooring_barbican_legacy_decrypts_total", Help: "Requests to open a data-encryption key with a legacy key.",
		}),
	}
	for _, id := range o.Keys {
		k, err := newLegacyKey(id)
		if err != nil {
			return nil, err
		}
		t.keys[id] = k
		if o.CompatWrite {
			t.writer = k
		}
	}
	switch {
	case o.CompatWrite && len(t.keys) != 1:
		return nil, fmt.Errorf("the legacy format is written with exactly one legacy key, not with %d", len(t.keys))
	case next == nil && !o.CompatWrite:
		return nil, errors.New("legacy keys only read, and there is no keyring to write with")
	}
	if err := o.mayGoBack(); err != nil {
		return nil, err
	}
	t.register(o.Registerer)
	return t, nil
}

// mayGoBack refuses to bring the legacy key id back: the API server forbids it, and takes what is stale for fresh.
func (o *TakeoverOptions) mayGoBack() error {
	if !o.CompatWrite || o.StateFile == "" {
		return nil
	}
	mark, err := readMark(o.StateFile)
	if err != nil || mark == (KeyRef{}) {
		return err
	}
	return fmt.Errorf("%w: %s: generation %d (secret %s) was active here, and the legacy format would bring the key id before it back: "+
		"go on without it, or delete the file to go back all the same", ErrStateFile, o.StateFile, mark.Generation, mark.Secret)
}

func newLegacyKey(id string) (*legacyKey, error) {
	secret, ok := openstack.ParseUUID(id)
	if !ok {
		return nil, fmt.Errorf("%.100q has to be the UUID of a secret in Barbican", id)
	}
	k := &legacyKey{id: id, secret: secret}
	k.failed(nil)
	return k, nil
}

func (t *Takeover) register(r prometheus.Registerer) {
	if r == nil || len(t.keys) == 0 {
		return
	}
	held := func(want bool) func() float64 {
		return func() (n float64) {
			for _, k := range t.keys {
				if (k.state.Load().bytes != nil) == want {
					n++
				}
			}
			return n
		}
	}
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	const keys, help = "mooring_barbican_legacy_keys", "Legacy keys, by state (held in memory, or wanted from Barbican)."
	gauge(keys, help, prometheus.Labels{"state": "held"}, held(true))
	gauge(keys, help, prometheus.Labels{"state": "wanted"}, held(false))
	if t.writer != nil {
		gauge("mooring_barbican_compat_write_info", "1 while the legacy format is written, with the hash that kube-apiserver's metrics have of the key's id.",
			prometheus.Labels{"key_id_hash": KeyIDHash(t.writer.id)}, func() float64 { return 1 })
	}
	r.MustRegister(t.opened)
}

// Run fetches the legacy keys until all are held and returns nil when ctx ends. The keys stay, see Close.
func (t *Takeover) Run(ctx context.Context) error {
	if t.writer != nil {
		t.options.Logger.WarnContext(ctx, "the legacy format is written, which is not authenticated: switch it off when all nodes run this plugin",
			slog.String("key_id", t.writer.id), slog.String("key_id_hash", KeyIDHash(t.writer.id)))
	}
	var all sync.WaitGroup
	for _, k := range t.keys {
		all.Go(func() { t.hold(ctx, k) })
	}
	all.Wait()
	<-ctx.Done()
	return nil
}

// hold fetches a key until it is here.
func (t *Takeover) hold(ctx context.Context, k *legacyKey) {
	for attempts := 1; ctx.Err() == nil; attempts++ {
		held, err := t.load(ctx, k)
		if err == nil {
			k.state.Store(&legacyState{bytes: held})
			t.options.Logger.InfoContext(ctx, "a legacy key is held", slog.String("key_id", k.id), slog.String("key_id_hash", KeyIDHash(k.id)), slog.Bool("locked", held.Locked()))
			return
		}
		if ctx.Err() != nil {
			return // the process ends: that is no failure
		}
		k.failed(err)
		level := slog.LevelDebug
		if bits.OnesCount(uint(attempts)) == 1 { // the 1st, 2nd, 4th, 8th, …: an outage must not fill the log
			level = slog.LevelWarn
		}
		t.options.Logger.Log(ctx, level, "a legacy key can't be fetched, trying again", slog.String("key_id", k.id), slog.Int("attempts", attempts), slog.Any("error", err))
		_ = poll.Sleep(ctx, t.options.Wait(classify(err), attempts-1)) // its error is that of ctx, which ends the loop
	}
}

// load fetches a key and tests it with a round trip.
func (t *Takeover) load(ctx context.Context, k *legacyKey) (*secmem.Bytes, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	payload, err := insist(ctx, true, func(ctx context.Context) ([]byte, error) {
		return t.source.Payload(ctx, k.secret, envelope.KEKSize)
	}, func(second []byte) { clear(second) })
	if err != nil {
		return nil, err
	}
	defer clear(payload)
	probe := make([]byte, envelope.DEKSize)
	sealed, err := envelope.SealLegacy(payload, probe)
	if errors.Is(err, envelope.ErrKeySize) {
		return nil, fmt.Errorf("secret %s: %w: it has %s, an AES key has 16, 24 or 32", k.secret, ErrUnusableKey, describeLength(len(payload)))
	}
	if err == nil {
		_, err = envelope.OpenLegacy(payload, sealed)
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w: %w", k.secret, ErrUnusableKey, err)
	}
	held, err := secmem.New(payload)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", k.secret, err)
	}
	return held, nil
}

// failed keeps why a key is not here; nil: it was not tried yet.
func (k *legacyKey) failed(reason error) {
	k.state.Store(&legacyState{err: &waiting{ref: KeyRef{Secret: k.secret}, reason: reason}})
}

// use calls f with the key's bytes.
func (k *legacyKey) use(f func(kek []byte) ([]byte, error)) (out []byte, err error) {
	state := k.state.Load()
	if state.err != nil {
		return nil, state.err
	}
	err = state.bytes.Use(func(kek []byte) error {
		out, err = f(kek)
		return err
	})
	return out, envelopeError(err)
}

// Close destroys the legacy keys. Call it when nobody uses them any more.
func (t *Takeover) Close() error {
	var errs []error
	for _, k := range t.keys {
		if held := k.state.Load().bytes; held != nil {
			errs = append(errs, held.Destroy())
		}
	}
	return errors.Join(errs...)
}

// Ready is nil once the legacy keys are held and the keyring is ready.
func (t *Takeover) Ready() error {
	for _, k := range t.keys {
		if err := k.state.Load().err; err != nil {
			return err
		}
	}
	if t.next == nil {
		return nil
	}
	return t.next.Ready()
}

// Status returns the id of the key after which Encrypt wraps, see Keyring.Status.
func (t *Takeover) Status() (keyID string, err error) {
	if t.writer == nil {
		return t.next.Status()
	}
	if err := t.writer.state.Load().err; err != nil {
		return "", err
	}
	return t.writer.id, nil
}

// Encrypt wraps a data-encryption key, see Keyring.Encrypt; with CompatWrite in the legacy format.
func (t *Takeover) Encrypt(dek []byte) (ciphertext []byte, keyID string, err error) {
	if t.writer == nil {
		return t.next.Encrypt(dek)
	}
	ciphertext, err = t.writer.use(func(kek []byte) ([]byte, error) { return envelope.SealLegacy(kek, dek) })
	if err != nil {
		return nil, "", err
	}
	return ciphertext, t.writer.id, nil
}

// Decrypt unwraps what the other plugin or the keyring made. A key id decides alone which of the two formats is tried. Errors
// are those of Keyring.Decrypt.
func (t *Takeover) Decrypt(ctx context.Context, keyID string, ciphertext []byte) ([]byte, error) {
	if k := t.keys[keyID]; k != nil {
		t.opened.Inc()
		return k.use(func(kek []byte) ([]byte, error) { return envelope.OpenLegacy(kek, ciphertext) })
	}
	if t.next != nil {
		return t.next.Decrypt(ctx, keyID, ciphertext)
	}
	if _, err := ParseKeyID(keyID); err != nil {
		return nil, err
	}
	return nil, ErrUnknownKey
}
