package barbican

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/barbican/envelope"
	"mooring/pkg/poll"
	"mooring/pkg/secmem"
)

const (
	// callTimeout bounds one task with all its calls and retries: a Barbican that takes seconds for a call is slow, not away.
	callTimeout = 30 * time.Second
	// demandTimeout bounds one that requests wait for. If that is not enough, the task is tried again without a request.
	demandTimeout = 2 * time.Second
)

// fetcher is what a keyring needs of Barbican.
type fetcher interface {
	Payload(ctx context.Context, secret string, limit int) ([]byte, error)
}

// Entry is one key of a list that never changes.
type Entry struct {
	Ref KeyRef
	// ReadOnly keys open what was wrapped with them and never become active.
	ReadOnly bool
	// Activation is when the key may become active; zero is at once. Nodes that share it switch then, each by its own clock.
	Activation time.Time
}

// CheckEntries finds what makes a list no keyring: a generation that is there twice, or no key to write with. A secret may be
// there twice: put back to use, it has a new generation and is still to be read under the old one.
func CheckEntries(entries []Entry) error {
	generations := map[uint64]bool{}
	for _, e := range entries {
		if generations[e.Ref.Generation] {
			return fmt.Errorf("generation %d is given to two keys", e.Ref.Generation)
		}
		generations[e.Ref.Generation] = true
	}
	if !slices.ContainsFunc(entries, func(e Entry) bool { return !e.ReadOnly }) {
		return errors.New("there is no key to write with")
	}
	return nil
}

// list makes a listing of entries.
func list(entries []Entry) *Listing {
	l := &Listing{Clock: LocalClock}
	for _, e := range entries {
		l.Keys = append(l.Keys, ListedKey{Ref: e.Ref, NotBefore: e.Activation, ReadOnly: e.ReadOnly})
	}
	return l
}

// Options are a keyring's settings.
type Options struct {
	// Entries are the keys of a list that never changes; at least one may write. List gives one that does: it is called with every
	// poll and is told what it need not ask again, see Client.Keyring. One of the two has to be given.
	Entries []Entry
	List    func(ctx context.Context, known map[KeyRef]ListedKey) (*Listing, error)
	// Check asks whether a key's secret can still be read; nil: that is never asked.
	Check func(ctx context.Context, ref KeyRef) error
	// Policy are the rules. Lists, Checks and, for Entries, Trusted follow from the above. Its Wait may be nil: at most a second
	// for what may pass at any moment (so that a plugin that was restarted in an outage serves soon after it), and up to half a
	// minute for what somebody has to mend. So may its Spread: up to a tenth more.
	Policy Policy
	// StateFile keeps the highest key that was ever active, and the last list, over restarts; empty: nothing does. The list is taken up
	// again for the same Container only, the one that List lists; empty: there is none.
	StateFile string
	Container string
	// ClusterID ties ciphertexts to the cluster. It must never change once data was written.
	ClusterID string
	// Logger gets what happens to keys; nil discards it.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none.
	Registerer prometheus.Registerer
}

// Keyring wraps and unwraps with keys that it holds in memory. Its methods are safe for concurrent use; Run makes the calls.
type Keyring struct {
	options Options
	source  fetcher
	logger  *slog.Logger
	metrics *metrics

	// What Status and Encrypt go by is one immutable value, so that they can't disagree on the active key.
	current atomic.Pointer[snapshot]
	asked   chan demand
	ended   chan struct{} // closed when Run has ended

	// The rest belongs to Run alone.
	ring    Ring
	keys    map[string]*key // by key id
	busy    [lanes]bool     // a task is under way; its outcome comes through done
	done    chan outcome
	waiting map[KeyRef][]chan<- struct{}
	saved   []byte // what the state file has
	unsaved unsaved
	told    told
}

// lane is where one task at a time is done: a poll that hangs keeps no request waiting.
type lane int

const (
	polling lane = iota // what is Due
	asking              // what is Asked
	lanes
)

// event is what a task leads to, to be applied by Run.
type event func(ctx context.Context, now time.Time)

type outcome struct {
	lane     lane
	happened event
}

// key is a key that is held.
type key struct {
	ref   KeyRef
	id    string
	bytes *secmem.Bytes
}

// New makes a keyring that holds nothing yet: Run fetches. It fails on entries that make no keyring (CheckEntries), and on a
// state file that can't be read (ErrStateFile).
func New(source fetcher, o Options) (*Keyring, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Policy.Wait == nil {
		o.Policy.Wait = defaultWait
	}
	if o.Policy.Spread == nil {
		o.Policy.Spread = defaultSpread
	}
	o.Policy.Lists, o.Policy.Checks = o.List != nil, o.Check != nil && o.Policy.Poll > 0
	if o.List == nil {
		if err := CheckEntries(o.Entries); err != nil {
			return nil, fmt.Errorf("keyring: %w", err)
		}
		o.Policy.Trusted = true
	}
	past, saved, err := o.past()
	if err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	now := time.Now()
	k := &Keyring{
		options: o, source: source, logger: o.Logger, asked: make(chan demand), ended: make(chan struct{}),
		ring: NewRing(o.Policy, past.mark, now).Remembering(past), keys: map[string]*key{}, done: make(chan outcome, lanes), waiting: map[KeyRef][]chan<- struct{}{}, saved: saved,
	}
	k.metrics = newMetrics(o.Registerer, &k.current)
	if o.List == nil {
		k.ring = k.ring.Listed(list(o.Entries), now)
	}
	k.publish(now)
	return k, nil
}

// past is what the state file has.
func (o *Options) past() (m memory, saved []byte, err error) {
	if o.StateFile == "" {
		return m, nil, nil
	}
	m, err = readMemory(o.StateFile)
	if m.keyring != o.Container { // keys of another one are none of this one's; the mark is, since it tells what the API server has seen
		m = memory{mark: m.mark, keyring: o.Container}
	}
	if err == nil && m.mark != (KeyRef{}) {
		saved, err = m.encode() // with another list it is written once this keyring was listed
	}
	return m, saved, err
}

func defaultWait(why Failure, n int) time.Duration {
	if why == Transient {
		return poll.Backoff{First: 250 * time.Millisecond, Max: time.Second, Factor: 2, Jitter: 0.5}.Wait(n)
	}
	return poll.Backoff{First: time.Second, Max: 30 * time.Second, Factor: 2, Jitter: 0.2}.Wait(n)
}

// defaultSpread adds up to a tenth, so that the nodes of a cluster do not poll in step.
func defaultSpread(d time.Duration) time.Duration {
	const part = 0.1
	return d + time.Duration(part*rand.Float64()*float64(d)) //nolint:gosec // jitter needs no secrecy
}

// Run polls the list, fetches keys, and lets them become active in their time. It returns nil when ctx ends. The keys stay:
// requests that are still under way at the end are served. Call Close after those. It runs once.
func (k *Keyring) Run(ctx context.Context) error {
	defer close(k.ended)
	for {
		now := time.Now()
		k.ring = k.ring.Advance(now)
		k.save(ctx, now) // before anything is written with the key: a restart has to know
		k.publish(now)
		k.wipe(ctx, now)
		k.release(now)
		k.tell(ctx)
		k.begin(ctx, now)
		timer := time.NewTimer(k.rest(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			for k.busy != [lanes]bool{} {
				k.apply(ctx, <-k.done)
			}
			return nil
		case out := <-k.done:
			k.apply(ctx, out)
		case d := <-k.asked:
			k.take(d, time.Now())
		case <-timer.C:
		}
		timer.Stop()
	}
}

// rest is how long there is nothing to do.
func (k *Keyring) rest(now time.Time) time.Duration {
	const longest = 24 * time.Hour
	until := now.Add(longest)
	if turn, ok := k.ring.Turn(now); ok && turn.Before(until) {
		until = turn
	}
	if next := k.unsaved.next; next.After(now) && next.Before(until) {
		until = next
	}
	if wake, ok := k.ring.Wake(now); ok && !k.busy[polling] && wake.Before(until) {
		until = wake
	}
	return until.Sub(now)
}

// begin starts the tasks for which it is time, and the loop goes on meanwhile: keys become active in their time however slow
// Barbican is.
func (k *Keyring) begin(ctx context.Context, now time.Time) {
	if task, due := k.ring.Due(now); due && !k.busy[polling] {
		k.start(ctx, polling, task, callTimeout)
	}
	if task, asked := k.ring.Asked(now); asked && !k.busy[asking] {
		k.start(ctx, asking, task, demandTimeout)
	}
}

func (k *Keyring) start(ctx context.Context, on lane, task Task, limit time.Duration) {
	k.busy[on] = true
	job := job{Task: task, on: on, known: k.ring.Known(), urgent: !k.ring.serves()}
	go func() {
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		k.done <- outcome{on, k.perform(bounded, &job)}
	}()
}

// job is a task with all that it takes to do it.
type job struct {
	Task

	on     lane
	known  map[KeyRef]ListedKey
	urgent bool // nothing is served until it is done
}

func (k *Keyring) apply(ctx context.Context, out outcome) {
	k.busy[out.lane] = false
	out.happened(ctx, time.Now())
}

// perform makes a task's calls. It reads nothing that Run changes.
func (k *Keyring) perform(ctx context.Context, j *job) event {
	switch j.Kind {
	case List:
		list := func(ctx context.Context) (*Listing, error) { return k.options.List(ctx, j.known) }
		l, err := insist(ctx, j.urgent, list, func(*Listing) {})
		return func(ctx context.Context, now time.Time) { k.listed(ctx, j.on, l, err, now) }
	case Check:
		err := k.options.Check(ctx, j.Ref)
		return func(ctx context.Context, now time.Time) { k.checked(ctx, j.Ref, err, now) }
	default:
		load := func(ctx context.Context) (*key, error) { return k.load(ctx, j.Ref) }
		held, err := insist(ctx, j.urgent, load, func(second *key) { k.destroy(ctx, second) })
		return func(ctx context.Context, now time.Time) { k.fetched(ctx, j.Ref, held, err, now) }
	}
}

func (k *Keyring) listed(ctx context.Context, on lane, l *Listing, err error, now time.Time) {
	if err != nil && ctx.Err() != nil {
		return // the process ends: that is no failure
	}
	if _, active := k.ring.Active(); err == nil && !active { // later it could only take away what works
		err = l.serves(k.options.ClusterID)
	}
	k.metrics.called(k.metrics.polls(), err)
	switch {
	case on == asking:
		k.ring = k.ring.Answered(l, err, now)
	case err == nil:
		k.ring = k.ring.Listed(l, now)
	default:
		k.ring = k.ring.ListFailed(err, now)
	}
	if err == nil {
		k.tellListing(ctx, l)
	} else {
		k.tellTrouble(ctx, err)
	}
}

func (k *Keyring) checked(ctx context.Context, ref KeyRef, err error, now time.Time) {
	if err != nil && ctx.Err() != nil {
		return
	}
	k.metrics.called(k.metrics.polls(), err)
	k.ring = k.ring.Checked(ref, err, now)
	if err != nil {
		k.logger.WarnContext(ctx, "the active key's secret can't be looked up", slog.String("key_id", ref.KeyID()), slog.Any("error", err))
	}
}

func (k *Keyring) fetched(ctx context.Context, ref KeyRef, held *key, err error, now time.Time) {
	if err != nil && ctx.Err() != nil {
		return
	}
	k.metrics.called(k.metrics.fetches(), err)
	if err != nil {
		k.ring = k.ring.Failed(ref, err, now)
		k.tellFailure(ctx, ref, err)
		return
	}
	k.ring = k.ring.Held(ref)
	if k.keys[held.id] != nil { // both lanes have fetched it
		k.destroy(ctx, held)
		return
	}
	k.keys[held.id] = held
	k.tellHeld(ctx, held)
}

// wipe destroys the keys when all is to stop. The snapshot says so already: a request that has an older one fails. Should Barbican
// give the keys back, they are fetched again.
func (k *Keyring) wipe(ctx context.Context, now time.Time) {
	if !k.ring.Shut(now) || len(k.keys) == 0 {
		return
	}
	for _, held := range k.keys {
		k.destroy(ctx, held)
	}
	k.keys, k.ring = map[string]*key{}, k.ring.Wiped()
	k.publish(now)
	k.logger.WarnContext(ctx, "the keys were wiped from memory")
}

func (k *Keyring) destroy(ctx context.Context, held *key) {
	if err := held.bytes.Destroy(); err != nil {
		k.logger.WarnContext(ctx, "a key can't be destroyed", slog.String("key_id", held.id), slog.Any("error", err))
	}
}

// Close destroys the keys. Call it when nobody uses the keyring any more.
func (k *Keyring) Close() error {
	var errs []error
	for _, held := range k.keys {
		errs = append(errs, held.bytes.Destroy())
	}
	return errors.Join(errs...)
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

// unsaved is that the state file could not be written.
type unsaved struct {
	why  syscall.Errno
	told time.Time
	next time.Time // when it is tried again; zero: at once
}

const (
	saveAgain = time.Minute // after a failure
	saveTold  = time.Hour   // a failure that lasts is told again
)

// save keeps the ring's memory over restarts. When that fails the keys are used all the same: that nodes switch together counts more.
func (k *Keyring) save(ctx context.Context, now time.Time) {
	m := k.ring.memory()
	if k.options.StateFile == "" || m.mark == (KeyRef{}) || now.Before(k.unsaved.next) {
		return
	}
	data, err := m.encode()
	if err == nil && bytes.Equal(data, k.saved) {
		return
	}
	if err == nil {
		err = writeState(k.options.StateFile, data)
	}
	if err == nil {
		k.metrics.unsaved(false)
		k.saved, k.unsaved = data, unsaved{}
		return
	}
	k.metrics.unsaved(true)
	k.unsaved.next = now.Add(saveAgain)
	why, _ := errors.AsType[syscall.Errno](err)
	if k.unsaved.told.IsZero() || why != k.unsaved.why || now.Sub(k.unsaved.told) >= saveTold {
		k.unsaved.why, k.unsaved.told = why, now
		k.logger.ErrorContext(ctx, "the state file can't be written: until it can, a restart does not know which key was active", slog.Any("error", err))
	}
}
