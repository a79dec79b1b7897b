package barbican

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mooring/pkg/poll"
)

// The simulation: three nodes with clocks of their own share a keyring. Keys are rotated, calls are slow or fail, nodes are cut off
// and restarted. Whatever one writes with, every other one has to be able to read at that instant.

const (
	simNodes   = 3
	simLength  = 8 * time.Hour
	simSkew    = 5 * time.Minute  // of a node's clock, either way
	simLatency = 20 * time.Second // of a slow call
)

// world is Barbican and the network. Its time is the truth, and Barbican's clock.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	seed    uint64
	now     time.Time
	keys    []ListedKey // the container
	entered map[KeyRef]time.Time
	written map[KeyRef]bool
	nodes   []*simNode
	rotate  time.Time
	figures figures
}

// figures say what a simulation has seen, so that it is not one in which nothing happens.
type figures struct {
	rotations, late, switches, restarts, cuts, demands, exempt, lateSwitches int
	spread                                                                   time.Duration // the most between two nodes' switches
}

type simNode struct {
	name     string
	skew     time.Duration
	ring     Ring
	past     memory // in the state file
	knew     bool   // there was something in it at the start
	stateful bool
	calls    [lanes]*simCall
	cut      time.Time // until when the network is away
	nextCut  time.Time
	restart  time.Time
	cutSince time.Time
	lastCut  time.Time // when it was cut off or a call failed last
	prevCut  time.Time // when the cut before this one ended
	started  time.Time
	active   []KeyRef             // all it ever wrote with, over restarts
	switched map[KeyRef]time.Time // when, if it could reach Barbican all the time
	listed   map[KeyRef]time.Time // since it was started
	met      map[KeyRef]time.Time // ever
	hopes    map[KeyRef]time.Time // what is fetched on demand, and until when it has to be here
}

type simCall struct {
	task        Task
	lane        lane
	serve, done time.Time // when Barbican answers, and when the answer is here
	listing     *Listing
	err         error
	served      bool
}

func simPolicy(rng *rand.Rand) Policy {
	p := testPolicy()
	p.Checks = true
	p.Wait = func(_ Failure, n int) time.Duration {
		return poll.Backoff{First: 250 * time.Millisecond, Max: time.Second, Factor: 2}.Wait(n)
	}
	p.Spread = func(d time.Duration) time.Duration { return d + time.Duration(rng.Int64N(int64(d)/10)) }
	return p
}

func (w *world) after(least, most time.Duration) time.Time {
	return w.now.Add(least + time.Duration(w.rng.Int64N(int64(most-least))))
}

// local is a node's time.
func (w *world) local(n *simNode) time.Time { return w.now.Add(n.skew) }

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), seed: seed, now: epoch(), entered: map[KeyRef]time.Time{}, written: map[KeyRef]bool{}}
	w.addKey(w.now.Add(-24 * time.Hour))
	w.rotate = w.after(10*time.Minute, time.Hour)
	for i := range simNodes {
		n := &simNode{
			name: fmt.Sprintf("node %d", i), skew: time.Duration(w.rng.Int64N(int64(2*simSkew))) - simSkew, stateful: i != 0,
			nextCut: w.after(time.Minute, 3*time.Hour), restart: w.after(time.Minute, 3*time.Hour), switched: map[KeyRef]time.Time{}, met: map[KeyRef]time.Time{},
		}
		w.nodes = append(w.nodes, n)
		w.boot(n)
	}
	return w
}

func (w *world) boot(n *simNode) {
	n.ring = NewRing(simPolicy(w.rng), n.past.mark, w.local(n)).Remembering(n.past)
	n.knew = n.past.mark != KeyRef{}
	n.calls, n.hopes, n.listed, n.started = [lanes]*simCall{}, map[KeyRef]time.Time{}, map[KeyRef]time.Time{}, w.now
}

func (w *world) addKey(created time.Time) {
	g := uint64(len(w.keys) + 1)
	w.entered[KeyRef{fmt.Sprintf("00000000-0000-4000-8000-%012d", g), g}] = w.now
	w.keys = append(w.keys, gen(g, fmt.Sprintf("00000000-0000-4000-8000-%012d", g), created.Truncate(time.Second)))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d, %v: %s", w.seed, w.now.Sub(epoch()), fmt.Sprintf(format, args...))
}

func (w *world) cutOff(n *simNode) bool { return n.cut.After(w.now) }

// events happens what is to happen to the world by now.
func (w *world) events() {
	if !w.rotate.After(w.now) {
		if w.rng.IntN(3) == 0 { // by hand, of a secret of any age
			w.addKey(w.now.Add(-time.Duration(w.rng.Int64N(int64(2 * testDelay)))))
			w.figures.late++
		} else {
			w.addKey(w.now)
		}
		w.figures.rotations++
		w.rotate = w.after(time.Minute, 90*time.Minute)
	}
	for _, n := range w.nodes {
		if !n.nextCut.After(w.now) {
			n.prevCut, n.cutSince = n.cut, w.now
			n.cut, n.nextCut = w.after(time.Second, 30*time.Minute), w.after(31*time.Minute, 4*time.Hour)
			w.figures.cuts++
		}
		if w.cutOff(n) {
			n.lastCut = w.now
		}
		if !n.restart.After(w.now) {
			w.boot(n)
			n.restart = w.after(time.Second, 3*time.Hour)
			w.figures.restarts++
		}
	}
}

// act lets a node do what is due.
func (w *world) act(n *simNode) {
	for i, c := range n.calls {
		if c == nil {
			continue
		}
		w.serve(n, c)
		if !c.done.After(w.now) {
			n.calls[i] = nil
			w.apply(n, c)
		}
	}
	n.ring = n.ring.Advance(w.local(n))
	w.noteActive(n)
	if task, due := n.ring.Due(w.local(n)); due && n.calls[polling] == nil {
		w.call(n, polling, task)
	}
	if task, asked := n.ring.Asked(w.local(n)); asked && n.calls[asking] == nil {
		w.call(n, asking, task)
	}
}

func (w *world) call(n *simNode, on lane, task Task) {
	latency := time.Duration(w.rng.Int64N(int64(50 * time.Millisecond)))
	if w.rng.IntN(4) == 0 {
		latency = time.Duration(w.rng.Int64N(int64(simLatency)))
	}
	latency += time.Millisecond
	c := &simCall{task: task, lane: on, serve: w.now.Add(latency / 2), done: w.now.Add(latency)}
	if on == asking && latency > demandTimeout {
		c.done, c.err = w.now.Add(demandTimeout), context.DeadlineExceeded
		n.lastCut = w.now
	}
	n.calls[on] = c
}

// serve is Barbican's side of a call.
func (w *world) serve(n *simNode, c *simCall) {
	if c.served || c.serve.After(w.now) || c.err != nil {
		return
	}
	c.served = true
	if w.cutOff(n) || w.rng.IntN(12) == 0 {
		c.err, n.lastCut = away(), w.now
		return
	}
	if c.task.Kind == List {
		c.listing = &Listing{Keys: slices.Clone(w.keys), Owner: me, Now: w.now.Truncate(time.Second), Clock: BarbicanClock}
	}
}

func (w *world) apply(n *simNode, c *simCall) {
	now, ref := w.local(n), c.task.Ref
	switch {
	case c.task.Kind == Check:
		n.ring = n.ring.Checked(ref, c.err, now)
	case c.task.Kind == List && c.lane == asking:
		n.ring = n.ring.Answered(c.listing, c.err, now)
		w.noteListing(n, c.listing)
	case c.task.Kind == List && c.err != nil:
		n.ring = n.ring.ListFailed(c.err, now)
	case c.task.Kind == List:
		n.ring = n.ring.Listed(c.listing, now)
		w.noteListing(n, c.listing)
	case c.err != nil:
		n.ring = n.ring.Failed(ref, c.err, now)
	default:
		n.ring = n.ring.Held(ref)
		delete(n.hopes, ref)
	}
}

// save writes the state file.
func (n *simNode) save() {
	if m := n.ring.memory(); n.stateful && m.mark != (KeyRef{}) {
		n.past = m
	}
}

func (w *world) noteListing(n *simNode, l *Listing) {
	if l == nil {
		return
	}
	n.save()
	for _, k := range l.Keys {
		for _, listed := range []map[KeyRef]time.Time{n.listed, n.met} {
			if _, known := listed[k.Ref]; !known {
				listed[k.Ref] = w.now
			}
		}
	}
}

// noteActive checks that a node's keys never come back.
func (w *world) noteActive(n *simNode) {
	ref, ok := n.ring.Active()
	if !ok || len(n.active) > 0 && n.active[len(n.active)-1] == ref {
		return
	}
	if len(n.active) > 0 && ref.Generation <= n.active[len(n.active)-1].Generation {
		w.fail("%s goes from generation %d to %d", n.name, n.active[len(n.active)-1].Generation, ref.Generation)
	}
	n.active = append(n.active, ref)
	n.save()
	if w.prompt(n, ref) {
		n.switched[ref] = w.now
	}
	if n.knew || w.prompt(n, ref) { // else it can't tell what is late
		w.checkHeld(ref)
	}
	w.written[ref] = true
	w.figures.switches++
}

// prompt says whether a node has come to know a key as soon as it can, and has heard of Barbican since, whatever else has happened.
func (w *world) prompt(n *simNode, ref KeyRef) bool {
	entered := w.entered[ref]
	met, known := n.met[ref]
	knows := n.started
	if !n.knew {
		knows = n.listed[w.keys[0].Ref] // what was there before its first listing is not late to it
	}
	if !knows.Before(entered) && (!n.stateful || !n.lastCut.Before(n.started) || w.now.Sub(n.started) < 3*testPoll) {
		return false
	}
	return known && met.Sub(entered) <= simPoll && n.cut.Before(entered)
}

// simPoll is the longest that a poll takes with all that belongs to it.
const simPoll = testPoll + testPoll/10 + simLatency

// checkHeld wants all nodes that have come to know a key, and have had the time to fetch it, to hold it when it is written with first.
func (w *world) checkHeld(ref KeyRef) {
	if w.written[ref] {
		return
	}
	for _, n := range w.nodes {
		if entered := w.entered[ref]; n.started.Before(entered) && n.lastCut.Before(entered) && !n.ring.keys[ref].held {
			w.fail("%s does not hold generation %d, with which others write", n.name, ref.Generation)
		}
	}
}

// checkReads wants every node that serves to read everything that was ever written, on demand where Barbican can be reached. A
// node that has been cut off ever since the key was made can't know it: no plugin could; that is counted.
func (w *world) checkReads() {
	for _, n := range w.nodes {
		if _, serves := n.ring.Active(); !serves {
			continue
		}
		for ref := range w.written {
			k, known := n.ring.keys[ref]
			deadline, hoped := n.hopes[ref]
			switch {
			case known && k.held:
			case hoped && deadline.After(w.now):
			case w.cutOff(n) || hoped && n.lastCut.After(deadline.Add(-4*simLatency)):
				if w.couldHave(n, ref) {
					w.fail("%s is cut off, and can't read generation %d, which it could have fetched", n.name, ref.Generation)
				}
				w.figures.exempt++
			case hoped:
				w.fail("%s has waited for generation %d in vain", n.name, ref.Generation)
			default:
				var hope bool
				if n.ring, hope = n.ring.Demand(ref, w.local(n)); hope {
					n.hopes[ref] = w.now.Add(4 * simLatency)
					w.figures.demands++
				} else if n.lastCut.Before(w.now.Add(-testPoll)) { // else a listing has failed, and the next one has its time
					w.fail("%s can't read generation %d, nor ask for it", n.name, ref.Generation)
				}
			}
		}
	}
}

// couldHave says whether a node that is cut off had the time to fetch a key before.
func (w *world) couldHave(n *simNode, ref KeyRef) bool {
	created := w.entered[ref]
	if listed, ok := n.listed[ref]; ok {
		return n.cutSince.Sub(listed) > testPoll
	}
	return n.started.Before(created) && n.prevCut.Before(created) && n.cutSince.After(created.Add(3*testPoll))
}

// next is when something happens next.
func (w *world) next() time.Time {
	var next earliest
	next.after(w.rotate, w.now)
	for _, n := range w.nodes {
		for _, t := range []time.Time{n.nextCut, n.cut, n.restart} {
			next.after(t, w.now)
		}
		now := w.local(n)
		if turn, ok := n.ring.Turn(now); ok {
			next.after(turn.Add(-n.skew), w.now)
		}
		for _, c := range n.calls {
			if c != nil {
				next.after(c.serve, w.now)
				next.after(c.done, w.now)
			}
		}
		if wake, ok := n.ring.Wake(now); ok && n.calls[polling] == nil {
			next.at(wake.Add(-n.skew), w.now)
		}
	}
	return next.time
}

// checkSwitches wants nodes that could reach Barbican all the time since a key was made to take it up together.
func (w *world) checkSwitches() {
	for _, k := range w.keys[1:] {
		var first, last time.Time
		for _, n := range w.nodes {
			if at, ok := n.switched[k.Ref]; ok {
				if first.IsZero() || at.Before(first) {
					first = at
				}
				if at.After(last) {
					last = at
				}
			}
		}
		w.figures.spread = max(w.figures.spread, last.Sub(first))
		most := testPoll
		if k.Created.Before(w.entered[k.Ref].Truncate(time.Second)) {
			most = simPoll // it was met by each with its own poll
			if last.After(first) {
				w.figures.lateSwitches++
			}
		}
		if last.Sub(first) > most {
			w.fail("generation %d became active over %v", k.Ref.Generation, last.Sub(first))
		}
	}
}

func TestSimulation(t *testing.T) {
	t.Parallel()
	seeds := 40
	if testing.Short() {
		seeds = 10
	}
	var sum figures
	for seed := range uint64(seeds) {
		w := newWorld(t, seed)
		for end := w.now.Add(simLength); w.now.Before(end); w.now = w.next() {
			w.step()
		}
		w.settle()
		w.checkSwitches()
		f := w.figures
		sum.rotations += f.rotations
		sum.late += f.late
		sum.lateSwitches += f.lateSwitches
		sum.switches += f.switches
		sum.restarts += f.restarts
		sum.cuts += f.cuts
		sum.demands += f.demands
		sum.exempt += f.exempt
		sum.spread = max(sum.spread, f.spread)
	}
	t.Logf("%d times %v: %+v", seeds, simLength, sum)
	if sum.rotations < 5*seeds || sum.switches < 10*seeds || sum.restarts < 10*seeds || sum.cuts < 5*seeds || sum.demands == 0 || sum.late < seeds || sum.lateSwitches < seeds {
		t.Error("too little happened")
	}
}

// step lets everybody do what is due now.
func (w *world) step() {
	w.events()
	for _, n := range w.nodes {
		w.act(n)
	}
	w.checkReads()
}

// settle ends all trouble: every node has to get to the newest key.
func (w *world) settle() {
	far := w.now.Add(24 * time.Hour)
	w.rotate = far
	for _, n := range w.nodes {
		n.cut, n.nextCut, n.restart = w.now, far, far
	}
	for end := w.now.Add(testDelay + 3*testPoll); w.now.Before(end); w.now = w.next() {
		w.step()
	}
	for _, n := range w.nodes {
		if ref, _ := n.ring.Active(); ref != w.keys[len(w.keys)-1].Ref {
			w.fail("in the end, %s has generation %d of %d", n.name, ref.Generation, len(w.keys))
		}
	}
}
