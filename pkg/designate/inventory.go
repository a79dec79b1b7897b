package designate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"mooring/pkg/openstack"
)

// ErrReading is matched when what was asked for is still being read. The reading goes on, and a later request finds it done.
var ErrReading = errors.New("the zones are still being read")

// source is where the inventory reads: *api has it.
type source interface {
	limits(ctx context.Context) (cloudLimits, error)
	zones(ctx context.Context) ([]Zone, error)
	recordsets(ctx context.Context, zone Zone) (*sets, error)
	recent(ctx context.Context, zone Zone, since time.Time) (recent, error)
}

// inventory is what is known of the cloud's zones and recordsets. Read looks at all zones and reads those again that judge can't vouch for;
// Fold keeps it in step with our own writes. It is safe for concurrent use; what it hands out is never changed afterwards.
//
// A zone is read by one goroutine at a time, for everybody who waits for it. That goes on when they don't: the next Read finds it done.
type inventory struct {
	source   source
	ledger   *ledger
	types    []Type          // that are of interest
	want     func(Zone) bool // which zones are of interest
	chosen   func(Zone) bool // which zones there are at all, as far as we go
	named    []string        // ids of zones that must be there
	refresh  time.Duration   // a zone is read once more this long after it was, more or less; 0 is never
	patience time.Duration   // how long Read waits
	large    int             // recordsets of a zone of which only what changed is read, if that will do
	slack    time.Duration   // by how much the clocks of Designate's servers may differ, and how long a transaction of theirs may last
	logger   *slog.Logger
	metrics  *readMetrics

	life  context.Context // of the goroutines
	end   context.CancelFunc
	work  sync.WaitGroup
	slots chan struct{} // one for each zone that may be read at the same time

	mu      sync.Mutex
	looks   int // at the list of zones, so far
	zones   map[string]*zoneState
	current *snapshot
	limits  limitsState
	missing []string // of the named, at the last look
}

// zoneState is what there is about one zone.
type zoneState struct {
	known   *knownZone // nil when it was never read
	reading *reading   // nil when it is not being read
}

// knownZone is what was read of a zone, and the sighting that vouches for it.
type knownZone struct {
	look int
	sighting
	sets *sets
	read time.Time // when
	due  time.Time // when it is to be read once more, whatever judge says; zero is never
}

// reading is one read of a zone.
type reading struct {
	look int
	sighting
	base *knownZone    // what is known, and only the changes since are read; nil: all is read
	done chan struct{} // closed at the end
	err  error         // set before
}

// look is a list of zones, and what was seen of each.
type look struct {
	number  int // later ones have higher numbers
	zones   Zones
	sighted map[string]sighting
}

func newInventory(s source, l *ledger, o *Options) *inventory {
	v := &inventory{
		source: s, ledger: l, types: o.Types, want: func(z Zone) bool { return o.WantZone(z.Name) }, chosen: o.chosen, named: o.ZoneIDs, refresh: max(o.FullRefresh, 0), patience: o.Deadline,
		large: 2000, slack: 5 * time.Minute,
		logger: o.Logger, metrics: newReadMetrics(o.Registerer), slots: make(chan struct{}, o.Concurrency), zones: map[string]*zoneState{},
	}
	v.life, v.end = context.WithCancel(context.Background())
	v.metrics.serveAge(o.Registerer, v.oldest)
	return v
}

// Close ends what goes on in the background, and waits for it.
func (v *inventory) Close() {
	v.mu.Lock()
	v.end() // with the lock, so that nothing begins afterwards
	v.mu.Unlock()
	v.work.Wait()
}

// Read returns the state of all zones at a time between its call and its return. It waits for what has to be read as long as its patience and ctx
// last; then the error is ErrReading.
func (v *inventory) Read(ctx context.Context) (*snapshot, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, v.patience, ErrReading)
	defer cancel()
	limits, err := v.cloudLimits(ctx)
	if err != nil {
		return nil, err
	}
	l, err := v.look(ctx)
	if err != nil {
		return nil, err
	}
	for {
		next, reads, err := v.advance(l, limits)
		if next != nil || err != nil {
			return next, err
		}
		for _, r := range reads {
			select {
			case <-r.done:
			case <-ctx.Done():
				return nil, fmt.Errorf("waiting for %d zones to be read, which goes on: %w", len(reads), context.Cause(ctx))
			}
			if r.err != nil {
				return nil, r.err
			}
		}
	}
}

// look lists the zones. They come before the recordsets, so that a sighting is never newer than what is read under it.
func (v *inventory) look(ctx context.Context) (look, error) {
	v.mu.Lock()
	v.looks++
	l := look{number: v.looks}
	v.mu.Unlock()
	before := v.ledger.marks()
	list, err := v.source.zones(ctx)
	if err != nil {
		return l, err
	}
	after := v.ledger.marks()
	l.sighted = make(map[string]sighting, len(list))
	for i := range list {
		zone := &list[i]
		zone.unchosen = !v.chosen(*zone)
		l.sighted[zone.ID] = sighting{zone.Validator, during(markOf(before, zone.ID), markOf(after, zone.ID)), zone.touched}
	}
	l.zones = NewZones(list)
	v.tellMissing(ctx, l)
	return l, nil
}

// tellMissing warns once of each zone that was named and is not there.
func (v *inventory) tellMissing(ctx context.Context, l look) {
	missing := slices.DeleteFunc(slices.Clone(v.named), func(id string) bool {
		_, there := l.sighted[id]
		return there
	})
	v.mu.Lock()
	known := v.missing
	v.missing = missing
	v.mu.Unlock()
	for _, id := range missing {
		if !slices.Contains(known, id) {
			v.logger.WarnContext(ctx, "a chosen zone is not there, or not this project's to see", slog.String("zone_id", id))
		}
	}
}

func markOf(marks map[string]mark, zoneID string) mark {
	if m, ok := marks[zoneID]; ok {
		return m
	}
	return account{}.mark()
}

// advance compares what is known with a look at the zones. It begins to read what has to be read, and returns all reads that must end before there is
// an answer; without any there is one.
func (v *inventory) advance(l look, limits cloudLimits) (*snapshot, []*reading, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.life.Err(); err != nil {
		return nil, nil, err
	}
	next := &snapshot{zones: l.zones, sets: map[string]*sets{}, types: v.types, minTTL: limits.lowestTTL()}
	var reads []*reading
	for _, zone := range l.zones.All() {
		if !l.zones.Usable(zone) || !v.want(zone) {
			continue
		}
		state := v.zones[zone.ID]
		if state == nil {
			state = &zoneState{}
			v.zones[zone.ID] = state
		}
		why := v.judge(state, l, zone.ID)
		if why == kept {
			next.sets[zone.ID] = state.known.sets
			v.refreshDue(state, zone, l)
			continue
		}
		if state.reading == nil {
			v.begin(state, zone, l, why)
		}
		reads = append(reads, state.reading)
	}
	if len(reads) > 0 {
		return nil, reads, nil
	}
	v.forget(l)
	v.current = next
	return next, nil, nil
}

// judge says whether what is known of the zone is true as of a look; if so, that look vouches for it from now on.
func (v *inventory) judge(s *zoneState, l look, id string) cause {
	switch {
	case s.known == nil:
		return coldZone
	case s.known.look >= l.number: // it was read under this look, or a later one
		return kept
	}
	now := l.sighted[id]
	why := judge(s.known.sighting, now)
	if why != kept {
		return why
	}
	v.metrics.hits.Inc()
	if now.mark.quiet {
		known := *s.known
		known.look, known.sighting = l.number, now
		s.known = &known
	}
	return kept
}

// refreshDue begins to read a zone in the background whose time has come. What is known of it stays good meanwhile.
func (v *inventory) refreshDue(state *zoneState, zone Zone, l look) {
	due := state.known.due
	if !due.IsZero() && !time.Now().Before(due) && state.reading == nil && l.sighted[zone.ID].mark.quiet {
		v.begin(state, zone, l, refreshZone)
	}
}

// forget drops zones that are not there any more.
func (v *inventory) forget(l look) {
	maps.DeleteFunc(v.zones, func(id string, s *zoneState) bool {
		_, there := l.sighted[id]
		return !there && s.reading == nil && (s.known == nil || s.known.look < l.number)
	})
}

// begin reads a zone in the background. It is called with the lock held.
func (v *inventory) begin(state *zoneState, zone Zone, l look, why cause) {
	r := &reading{look: l.number, sighting: l.sighted[zone.ID], done: make(chan struct{})}
	if why == changedZone && state.known.sets.len() >= v.large && !state.known.touched.IsZero() {
		r.base = state.known
	}
	state.reading = r
	v.metrics.reads.WithLabelValues(string(why)).Inc()
	v.work.Go(func() {
		sets, err := v.readZone(zone, r)
		if err != nil && why == refreshZone {
			v.logger.WarnContext(v.life, "a zone can't be read once more; what was read before is used on", slog.String("zone", zone.Name), slog.Any("error", err))
		}
		v.finish(state, zone.ID, r, sets, err)
	})
}

// readZone reads a zone when it is its turn: only what changed since it was known, or all of it.
func (v *inventory) readZone(zone Zone, r *reading) (*sets, error) {
	select {
	case v.slots <- struct{}{}:
	case <-v.life.Done():
		return nil, v.life.Err()
	}
	defer func() { <-v.slots }()
	begin := time.Now()
	if r.base != nil {
		if list := v.readRecent(zone, r.base); list != nil {
			v.logger.DebugContext(v.life, "read what changed in a zone", slog.String("zone", zone.Name), slog.Int("recordsets", list.len()), slog.Duration("took", time.Since(begin)))
			return list, nil
		}
		r.base = nil
	}
	list, err := v.source.recordsets(v.life, zone)
	if errors.Is(err, openstack.ErrNotFound) && errorType(err) == "zone_not_found" {
		return &sets{}, nil // deleted since the zones were listed; any other 404, such as a proxy's, says nothing of the zone
	}
	if err == nil {
		v.logger.DebugContext(v.life, "read a zone", slog.String("zone", zone.Name), slog.Int("recordsets", list.len()), slog.Duration("took", time.Since(begin)))
	}
	return list, err
}

// readRecent reads what changed in a zone since it was known, and returns all of the zone, or nil when that can't be told: what was deleted shows
// in the number of recordsets only, so with that number the zone has to come out. Then it is certain: each recordset that there is was there
// before and is unchanged, or is among the changes.
func (v *inventory) readRecent(zone Zone, base *knownZone) *sets {
	r, err := v.source.recent(v.life, zone, base.touched.Add(-v.slack))
	if err != nil || !r.whole {
		return nil // it is tried the other way, which will tell the error
	}
	changes := make(map[nameType]*Recordset, len(r.sets))
	for i := range r.sets {
		changes[nameType{r.sets[i].Name, r.sets[i].Type}] = &r.sets[i]
	}
	list := base.sets.with(changes)
	if list.len() != r.total {
		return nil
	}
	v.metrics.partial.Inc()
	return list
}

// finish takes over what was read. When we wrote to the zone meanwhile, nobody knows which of our writes are in it, and what others did to them since:
// it is good for those who wait, but no look can vouch for it. What was read in vain then, because what is known was good, is dropped.
func (v *inventory) finish(state *zoneState, id string, r *reading, read *sets, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer close(r.done)
	state.reading = nil
	if r.err = err; err != nil {
		return
	}
	known := knownZone{look: r.look, sighting: r.sighting, sets: read, read: time.Now()}
	known.mark = during(r.mark, v.ledger.mark(id))
	if v.refresh > 0 {
		known.due = known.read.Add(jittered(v.refresh))
	}
	if r.base != nil {
		known.read, known.due = r.base.read, r.base.due
	}
	if old := state.known; old != nil && old.look >= r.look {
		// What was known is good as of a look that is not before this one, so no others wrote since: what was read is the same, or newer.
		if !known.mark.quiet {
			return
		}
		known.look, known.sighting = old.look, old.sighting
	}
	state.known = &known
}

// jittered is d, a fifth more or less, so that zones that were read at the same time are not read again so.
func jittered(d time.Duration) time.Duration {
	return d - d/5 + time.Duration(rand.Int64N(int64(2*d/5)+1)) //nolint:gosec // jitter needs no secrecy
}

// Last returns what was read last, with our own writes since, or nil.
func (v *inventory) Last() *snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.current
}

// Fold takes our own writes over, as soon as all of them have ended. What failed is left: whether it was done after all, the version of its zone
// will tell.
func (v *inventory) Fold(outcomes []outcome) {
	changes := map[string]map[nameType]*Recordset{}
	for _, o := range outcomes {
		if o.Err != nil {
			continue
		}
		key := o.Operation.Key()
		if changes[key.ZoneID] == nil {
			changes[key.ZoneID] = map[nameType]*Recordset{}
		}
		changes[key.ZoneID][nameType{key.Name, key.Type}] = o.Recordset
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, zone := range changes {
		v.foldZone(id, zone)
	}
	v.ledger.settle()
}

// foldZone puts our own writes over what is known of a zone. What was read while we wrote is left alone: it is read again anyway.
func (v *inventory) foldZone(id string, changes map[nameType]*Recordset) {
	state := v.zones[id]
	if state == nil || state.known == nil || !state.known.mark.quiet {
		return
	}
	known := *state.known
	known.sets = known.sets.with(changes)
	state.known = &known
	if v.current != nil && v.current.sets[id] != nil {
		next := *v.current
		next.sets = maps.Clone(next.sets)
		next.sets[id] = known.sets
		v.current = &next
	}
}

// oldest is how long ago the zone was read whose last read is the longest ago.
func (v *inventory) oldest() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := slices.Collect(maps.Values(v.zones))
	known = slices.DeleteFunc(known, func(s *zoneState) bool { return s.known == nil })
	if len(known) == 0 {
		return 0
	}
	first := slices.MinFunc(known, func(a, b *zoneState) int { return a.known.read.Compare(b.known.read) })
	return time.Since(first.known.read)
}

// begun reports whether zones are known, or being read.
func (v *inventory) begun() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.current != nil || len(v.zones) > 0
}
