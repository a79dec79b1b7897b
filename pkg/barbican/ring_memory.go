package barbican

import "time"

// What a ring knows of before. A key that comes into a keyring which was known without it may be any age: if that alone decided, each node
// would take it up with its own poll, and write what the others can't read yet. So it stays for half a delay more after a node has
// met it: what is new anyway has a whole one from its creation, and is met in the first half of that; what is old becomes active on all
// nodes within the poll in which they have met it.

// memoryMost bounds how many keys are remembered, the newest.
const memoryMost = 256

// Remembering is a ring, of the mark in m, that knows what an earlier process knew.
func (r Ring) Remembering(m memory) Ring {
	r.past = m
	return r
}

// memory is what the next process is to know.
func (r Ring) memory() memory {
	if !r.listed {
		m := r.past
		m.mark = r.mark
		return m
	}
	m := memory{mark: r.mark, keyring: r.past.keyring, owner: r.owner}
	for _, k := range r.newestFirst() {
		if !k.gone && !r.policy.Trusted && r.refusal(k) == nil && len(m.keys) < memoryMost {
			m.keys = append(m.keys, keyMemory{k.ListedKey, k.met})
		}
	}
	return m
}

// meet notes when keys were met that were not there before. It writes to a map that is the ring's alone.
func (r *Ring) meet(before map[KeyRef]keyState, knew bool, now time.Time) {
	past := make(map[KeyRef]time.Time, len(r.past.keys))
	for _, k := range r.past.keys {
		past[k.Ref] = k.met
	}
	for ref, k := range r.keys {
		old, there := before[ref]
		met, remembered := past[ref]
		switch {
		case there:
			k.met = old.met
		case remembered && met.Before(now):
			k.met = met
		case knew:
			k.met = now
		}
		r.keys[ref] = k
	}
}

// activation is when a key may become active, by Barbican's clock: not before it was met for long enough, as long as there is another
// key to write with.
func (r Ring) activation(k keyState, now time.Time) time.Time {
	at := k.Activation(r.policy.delay())
	if k.met.IsZero() || !r.spares(k, now) {
		return at
	}
	if known := r.Cloud(k.met.Add(r.policy.delay() / 2)); known.After(at) {
		return known
	}
	return at
}

// spares says whether a key can be done without for a while: an older one is active, or about to be.
func (r Ring) spares(k keyState, now time.Time) bool {
	if k.Ref.Generation <= r.mark.Generation {
		return false
	}
	if r.active != (KeyRef{}) {
		return true
	}
	m, there := r.keys[r.mark]
	comes := m.err == nil || classify(m.err) == Transient
	return there && (m.unread && comes || !m.unread && r.candidate(m, now) && (m.held || comes))
}

// recall takes up the keyring as it was listed last, when Barbican refuses it: its keys may be there still. Only the key that was active may
// be again. It counts as revoked from now on; whoever wants all to stop then has nothing recalled.
func (r Ring) recall() Ring {
	if r.listed || r.recalled || r.policy.OnRevocation == StopAll || len(r.past.keys) == 0 {
		return r
	}
	r.keys, r.owner, r.recalled = make(map[KeyRef]keyState, len(r.past.keys)), r.past.owner, true
	for _, m := range r.past.keys {
		k := keyState{ListedKey: m.ListedKey, met: m.met, settled: true}
		k.ReadOnly = k.Ref != r.mark
		r.keys[k.Ref] = k
	}
	return r
}
