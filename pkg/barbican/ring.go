package barbican

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Failure is why a call failed.
type Failure int

const (
	// Transient failures may pass at any moment: Barbican or Keystone is away, slow, or overloaded.
	Transient Failure = iota
	// Definite failures need somebody to mend something: no such secret, no permission, no login, a payload that is no key.
	Definite
)

// Ring is the state of a keyring, as a value: events and time go in, a new ring comes out, and what is to be done next can be
// asked of it. It knows no key bytes and makes no calls. Times that go in are this machine's (its monotonic clock counts); what
// Barbican says of keys is by Barbican's clock, whose distance each listing tells.
//
// The rules:
//   - A key becomes active when it is the highest generation that is listed, allowed (see Policy), held and whose activation has
//     come. The ring never goes back to a lower generation, nor to another key of the same one: the mark, which outlives the process.
//   - Without a mark and without an active key nothing is known of what was written last: then a higher generation that can't be
//     fetched at the moment is waited for. One that can't be fetched at all is passed over.
//   - A key that comes into a keyring that was known without it waits until others must have seen it, too, see activation.
//   - A key that was only seen in its first minute does not become active before it is listed again: it may have been taken back.
//   - A key that leaves the list stays held, to open what it wrapped, and can't become active. The active one stays active until
//     a higher generation takes over; that it has left is evidence of a revocation.
//   - Definite refusals that are repeated over a window are a revocation: see Revocation.
type Ring struct {
	policy   Policy
	keys     map[KeyRef]keyState
	strange  []string
	owner    string // who lists
	clock    reading
	doubt    reading // what is not believed yet; zero: none
	active   KeyRef  // zero: none
	mark     KeyRef  // the highest key that was ever active; zero: none that is known of
	past     memory  // what an earlier process knew
	recalled bool    // the keys are those of the past: the keyring is refused

	nextList  time.Time // zero: at once
	nextCheck time.Time
	round     int       // listings and checks in their place, for turns
	listed    bool      // once at least
	trouble   error     // of the last listing
	failures  int       // listings in a row that brought no full list
	good      time.Time // the last good poll, or the start

	asked  map[KeyRef]bool      // unknown keys that somebody waits for a listing for
	budget time.Time            // when all listings that unknown keys may make are saved up again
	absent map[KeyRef]time.Time // unknown keys that such a listing did not have, and until when they make none

	container, entry, secret evidence // that the container is refused; that the active key's entry has gone; that its secret is refused
}

type keyState struct {
	ListedKey

	unread   bool      // only the name is known
	gone     bool      // no longer listed
	disputed bool      // another key has the same generation
	settled  bool      // listed when no run that made it could still take it back
	met      time.Time // when it came into a keyring that was known without it, by this machine's clock; zero: it was there before
	held     bool
	wanted   bool // somebody waits for it
	err      error
	failures int
	retry    time.Time // not to be fetched before; zero: at once
}

// evidence are refusals in a row.
type evidence struct {
	n           int
	first, last time.Time
	err         error
}

// revokedAfter is how many refusals in a row, over two polls at least, are no accident.
const revokedAfter = 3

func (e evidence) with(err error, now time.Time) evidence {
	if e.n == 0 {
		e.first = now
	}
	e.n, e.last, e.err = e.n+1, now, err
	return e
}

func (e evidence) confirmed(poll time.Duration) bool {
	return e.n >= revokedAfter && e.last.Sub(e.first) >= (revokedAfter-1)*poll
}

// NewRing makes a ring that was told nothing yet. The mark is what an earlier process left, zero if there is none.
func NewRing(p Policy, mark KeyRef, now time.Time) Ring {
	return Ring{policy: p, keys: map[KeyRef]keyState{}, mark: mark, good: now, clock: reading{whose: LocalClock}}
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

// Listed is the event that the keyring was listed.
func (r Ring) Listed(l *Listing, now time.Time) Ring {
	before, knew := r.keys, r.listed || r.mark != (KeyRef{})
	keys, again := r.merged(l)
	r.keys, r.strange, r.owner, r.listed, r.trouble, r.container, r.recalled = keys, l.Strange, l.Owner, true, nil, evidence{}, false
	r.settleDisputes()
	r.meet(before, knew, now)
	r.past = memory{keyring: r.past.keyring}
	again = r.lookAtClock(l, now) || again
	r.settle(now)
	if !r.policy.Trusted {
		r.good = now
	}
	if k, ok := r.keys[r.active]; !ok || !k.gone {
		r.entry = evidence{}
	} else {
		r.entry = r.entry.with(fmt.Errorf("%w: its entry has gone from the keyring", ErrUnknownKey), now)
	}
	if !again {
		r.failures = 0
	}
	return r.polled(again, Transient, now)
}

// merged are the keys after a listing; again says that some of it could not be read and is to be asked for soon.
func (r Ring) merged(l *Listing) (keys map[KeyRef]keyState, again bool) {
	keys = make(map[KeyRef]keyState, len(l.Keys))
	for _, listed := range l.Keys {
		k := r.keys[listed.Ref]
		if k.unread {
			k = keyState{}
		}
		k.ListedKey, k.gone, k.disputed = listed, false, false
		keys[listed.Ref] = k
	}
	for ref, err := range l.Unread {
		k, known := r.keys[ref]
		keep := known && (!k.unread || classify(k.err) == Definite && errors.Is(err, errLater)) // that its turn has not come takes nothing back
		if !keep {
			k = keyState{ListedKey: ListedKey{Ref: ref}, unread: true, err: err}
			again = again || classify(err) == Transient
		}
		k.gone = false
		keys[ref] = k
	}
	for ref, k := range r.keys {
		if _, listed := keys[ref]; !listed && (k.held || ref == r.active) {
			k.gone = true
			keys[ref] = k
		}
	}
	return keys, again
}

// settleDisputes finds generations that are given to two keys. It writes to a map that is the ring's alone.
func (r *Ring) settleDisputes() {
	claims := map[uint64]int{}
	for _, k := range r.keys {
		if !k.gone && r.refusal(k) == nil {
			claims[k.Ref.Generation]++
		}
	}
	for ref, k := range r.keys {
		k.disputed = !k.gone && claims[ref.Generation] > 1 && r.refusal(k) == nil
		r.keys[ref] = k
	}
}

// settle finds the keys that are there to stay: of two runs that make the same generation one takes its key back and deletes it. A
// node that saw the key meanwhile, and nothing since, must not write with it. It writes to a map that is the ring's alone.
func (r *Ring) settle(now time.Time) {
	const longest = time.Minute // far more than a rival's patience
	pause := min(r.policy.delay()/2, longest)
	for ref, k := range r.keys {
		k.settled = k.settled || !k.gone && (ref.Generation == 1 || !r.Cloud(now).Before(k.Created.Add(pause)))
		r.keys[ref] = k
	}
}

// polled sets the time of the next listing. While nothing is active, what failed is tried again soon.
func (r Ring) polled(failed bool, why Failure, now time.Time) Ring {
	pause := r.policy.pause()
	if failed {
		if !r.serves() {
			pause = r.policy.Wait(why, r.failures)
		}
		r.failures++
	}
	r.round++
	r.nextList = now.Add(pause)
	return r
}

// ListFailed is the event that the keyring could not be listed. Nothing that is held is lost by it.
func (r Ring) ListFailed(err error, now time.Time) Ring {
	r.trouble = err
	if refused(err) {
		r.container = r.container.with(err, now)
		r = r.recall()
	}
	return r.polled(true, classify(err), now)
}

// Checked is the event that the active key's secret was asked for; err is nil when it is still there for us.
func (r Ring) Checked(ref KeyRef, err error, now time.Time) Ring {
	if r.policy.Trusted {
		r.nextCheck = now.Add(r.policy.pause())
	} else {
		r = r.polled(false, Transient, now)
	}
	switch {
	case ref != r.active:
	case err == nil:
		r.secret, r.good = evidence{}, now
	case refused(err):
		r.secret = r.secret.with(err, now)
	}
	return r
}

// Held is the event that a key was fetched and passed its test.
func (r Ring) Held(ref KeyRef) Ring {
	return r.with(ref, func(k *keyState) { k.held, k.wanted, k.err, k.failures, k.retry = true, false, nil, 0, time.Time{} })
}

// Wiped is the event that no key is held any more.
func (r Ring) Wiped() Ring {
	r.keys = maps.Clone(r.keys)
	for ref, k := range r.keys {
		k.held, k.retry = false, time.Time{}
		r.keys[ref] = k
	}
	return r
}

// Failed is the event that a key could not be fetched.
func (r Ring) Failed(ref KeyRef, err error, now time.Time) Ring {
	pause := r.policy.Wait(classify(err), r.keys[ref].failures)
	if classify(err) == Definite && r.serves() {
		pause = max(pause, r.policy.Poll) // what somebody has to mend is worth a call a poll, while there is a key to serve with
	}
	return r.with(ref, func(k *keyState) { k.wanted, k.err, k.failures, k.retry = false, err, k.failures+1, now.Add(pause) })
}

// serves says whether the keyring does its work, so that nothing else is urgent.
func (r Ring) serves() bool { return r.active != (KeyRef{}) || r.policy.ReadOnly && r.listed }

// Advance lets time pass: the active key may change.
func (r Ring) Advance(now time.Time) Ring {
	if r.policy.ReadOnly {
		return r
	}
	for _, k := range r.newestFirst() {
		switch {
		case k.Ref == r.active || !r.aboveMark(k.Ref):
			return r
		case !k.unread && !r.mayWrite(k, now):
		case k.held:
			r.active, r.mark, r.entry, r.secret = k.Ref, k.Ref, evidence{}, evidence{}
			r.nextCheck = now.Add(r.policy.pause())
			return r
		case r.mark == KeyRef{} && (k.err == nil || classify(k.err) == Transient):
			return r // it may have been active before
		}
	}
	return r
}

// aboveMark says whether a key is the marked one, or of a higher generation.
func (r Ring) aboveMark(ref KeyRef) bool {
	return ref == r.mark || ref.Generation > r.mark.Generation
}

// mayWrite says whether a key may be active by all but being held.
func (r Ring) mayWrite(k keyState, now time.Time) bool {
	return r.candidate(k, now) && k.settled && !r.activation(k, now).After(r.Cloud(now))
}

// candidate says whether a key may be active, now or later.
func (r Ring) candidate(k keyState, now time.Time) bool {
	return !k.gone && !k.ReadOnly && !k.disputed && r.refusal(k) == nil && !r.expired(k, now)
}

// refusal is why a key that is listed is not used at all; nil if it is.
func (r Ring) refusal(k keyState) error {
	if k.unread {
		return k.err
	}
	return r.policy.refusal(k.ListedKey, r.owner)
}

func (r Ring) expired(k keyState, now time.Time) bool {
	return !k.Expires.IsZero() && !k.Expires.After(r.Cloud(now))
}

// fetchable says whether a key is to be fetched at all.
func (r Ring) fetchable(k keyState, now time.Time) bool {
	return !k.held && !k.gone && r.refusal(k) == nil && !r.expired(k, now) && !r.Shut(now)
}

// TaskKind is what is to be done.
type TaskKind int

const (
	// List asks for the keyring: Listed or ListFailed follows.
	List TaskKind = iota + 1
	// Fetch asks for a key's bytes: Held or Failed follows.
	Fetch
	// Check asks whether a key's secret is still there for us: Checked follows.
	Check
)

// Task is a call that is to be made.
type Task struct {
	Kind TaskKind
	Ref  KeyRef // of Fetch and Check
}

// checkTurn is which listing gives its place to a check of the active key's secret, so that there is one call in a poll's time.
const checkTurn = 8

// Due is the task that it is time for now; false means none. The list comes first, then the key that is to be active, and the newest.
// What requests wait for is not among them, see Asked.
func (r Ring) Due(now time.Time) (Task, bool) {
	if r.policy.Lists && !r.nextList.After(now) {
		if r.checksInstead() {
			return Task{Check, r.active}, true
		}
		return Task{Kind: List}, true
	}
	var due []keyState
	for _, k := range r.keys {
		if r.fetchable(k, now) && !k.wanted && !k.retry.After(now) {
			due = append(due, k)
		}
	}
	if len(due) > 0 {
		first := slices.MinFunc(due, func(a, b keyState) int {
			return cmp.Or(cmp.Compare(r.rank(a, now), r.rank(b, now)), cmp.Compare(b.Ref.Generation, a.Ref.Generation), cmp.Compare(a.Ref.Secret, b.Ref.Secret))
		})
		return Task{Fetch, first.Ref}, true
	}
	if r.checksAside() && !r.nextCheck.After(now) {
		return Task{Check, r.active}, true
	}
	return Task{}, false
}

// checksInstead says whether it is a check's turn. With a delay so short that a listing can't be spared there is none.
func (r Ring) checksInstead() bool {
	turn := checkTurn
	if r.secret.n > 0 {
		turn = 2
	}
	const spared = 4
	return r.policy.Checks && !r.policy.Trusted && r.trouble == nil && r.active != (KeyRef{}) &&
		r.policy.ActivationDelay >= spared*r.policy.Poll && r.round%turn == turn-1
}

// checksAside says whether checks have a time of their own: where the list costs no call.
func (r Ring) checksAside() bool {
	return r.policy.Checks && r.policy.Trusted && r.policy.Poll > 0 && r.active != (KeyRef{})
}

func (r Ring) rank(k keyState, now time.Time) int {
	if r.mayWrite(k, now) && r.aboveMark(k.Ref) {
		return 0
	}
	return 1
}

// Wake is when the next task is Due; false means never, unless something happens.
func (r Ring) Wake(now time.Time) (time.Time, bool) {
	var wake earliest
	if r.policy.Lists {
		wake.at(r.nextList, now)
	}
	if r.checksAside() {
		wake.at(r.nextCheck, now)
	}
	for _, k := range r.keys {
		if r.fetchable(k, now) && !k.wanted {
			wake.at(k.retry, now)
		}
	}
	return wake.time, !wake.time.IsZero()
}

// Turn is when the ring changes by time alone; false means never.
func (r Ring) Turn(now time.Time) (time.Time, bool) {
	var turn earliest
	for _, k := range r.keys {
		if k.held && k.Ref.Generation > r.active.Generation && r.aboveMark(k.Ref) && r.candidate(k, now) {
			turn.after(r.local(r.activation(k, now), now), now)
		}
	}
	if k, ok := r.keys[r.active]; ok && !k.Expires.IsZero() {
		turn.after(r.local(k.Expires, now), now)
	}
	if r.policy.MaxStaleness > 0 {
		turn.after(r.good.Add(r.policy.MaxStaleness), now)
	}
	return turn.time, !turn.time.IsZero()
}

// earliest is the first of several instants; zero: none.
type earliest struct{ time time.Time }

// at counts an instant, the past as now.
func (e *earliest) at(t, now time.Time) {
	if t.Before(now) {
		t = now
	}
	if e.time.IsZero() || t.Before(e.time) {
		e.time = t
	}
}

// after counts an instant of the future.
func (e *earliest) after(t, now time.Time) {
	if t.After(now) {
		e.at(t, now)
	}
}
