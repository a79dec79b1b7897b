package designate

import (
	"cmp"
	"context"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/poll"
)

// tracker follows what was written until the name servers have it: Designate answers a write with PENDING, and its workers make it ACTIVE
// or ERROR seconds later. As long as something is pending it asks for the list of zones, at most every two seconds: a zone that is ACTIVE has
// nothing pending. With nothing pending it asks nothing.
type tracker struct {
	cloud   watched
	logger  *slog.Logger
	metrics *trackerMetrics
	work    chan struct{} // holds one element when there is something new

	mu      sync.Mutex
	running bool
	zones   map[string]*pendingZone // by zone id
	size    int                     // writes in all of them
}

// watched is the part of Designate's API that a tracker needs.
type watched interface {
	zones(ctx context.Context) ([]Zone, error)
	// having returns recordsets of a zone that have a status, some of them if there are many.
	having(ctx context.Context, zoneID, status string) ([]Recordset, error)
}

// pendingZone is a zone with writes that the name servers may not have yet.
type pendingZone struct {
	name   string
	writes map[nameType]pendingWrite
	failed bool // its ERROR was told
	late   bool // that it is slow was told
}

// pendingWrite is the last write of one recordset.
type pendingWrite struct {
	verb      Verb
	requestID string
	since     time.Time
}

const (
	// maxPending bounds what is followed; a name takes some 200 bytes. What is beyond is written, but not followed.
	maxPending = 20000
	// slowAfter is when a write that is still PENDING is told of, forgetAfter when it is given up.
	slowAfter, forgetAfter = 5 * time.Minute, time.Hour
	// maxNamed is how many records of a zone are named in the log.
	maxNamed = 10
)

type trackerMetrics struct {
	propagation     prometheus.Histogram
	pending, failed prometheus.Gauge
	unfollowed      prometheus.Counter
}

func newTracker(cloud watched, logger *slog.Logger, r prometheus.Registerer) *tracker {
	m := &trackerMetrics{
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mooring_designate_propagation_seconds", Help: "Time from a write to its zone being ACTIVE, which means that the name servers have it.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600},
		}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mooring_designate_pending_records", Help: "Writes that the name servers may not have yet.",
		}),
		failed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mooring_designate_error_records", Help: "Of the pending writes, those whose recordset is in ERROR.",
		}),
		unfollowed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mooring_designate_unfollowed_records_total", Help: "Writes that were not followed up to ACTIVE: too many at once, or pending for too long.",
		}),
	}
	if r != nil {
		r.MustRegister(m.propagation, m.pending, m.failed, m.unfollowed)
	}
	return &tracker{cloud: cloud, logger: logger, metrics: m, work: make(chan struct{}, 1), zones: map[string]*pendingZone{}}
}

// add takes over writes that were done.
func (t *tracker) add(outcomes []outcome, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.running {
		return
	}
	for i := range outcomes {
		o := &outcomes[i]
		if o.Err != nil || o.RequestID == "" { // nothing was written by this one
			continue
		}
		if t.size >= maxPending {
			t.metrics.unfollowed.Inc()
			continue
		}
		zone := t.zones[o.Operation.Zone.ID]
		if zone == nil {
			zone = &pendingZone{name: o.Operation.Zone.Name, writes: map[nameType]pendingWrite{}}
			t.zones[o.Operation.Zone.ID] = zone
		}
		key := nameType{o.Operation.Record.Name, o.Operation.Record.Type}
		if _, known := zone.writes[key]; !known {
			t.size++
		}
		zone.writes[key] = pendingWrite{verb: o.Operation.Verb, requestID: o.RequestID, since: now}
	}
	t.metrics.pending.Set(float64(t.size))
	if t.size > 0 {
		select {
		case t.work <- struct{}{}:
		default:
		}
	}
}

// run follows writes until ctx ends.
func (t *tracker) run(ctx context.Context) {
	t.setRunning(true)
	defer t.setRunning(false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.work:
		}
		t.follow(ctx)
	}
}

func (t *tracker) setRunning(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = on
	if !on {
		t.zones, t.size = map[string]*pendingZone{}, 0
	}
}

// follow asks until nothing is pending. Something new makes it ask soon again.
func (t *tracker) follow(ctx context.Context) {
	backoff := poll.Backoff{First: 2 * time.Second, Max: 30 * time.Second, Factor: 1.5, Jitter: 0.2}
	for n := 0; ; n++ {
		timer := time.NewTimer(backoff.Wait(n))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		select {
		case <-t.work:
			n = 0
		default:
		}
		asked := time.Now()
		zones, err := t.cloud.zones(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.logger.DebugContext(ctx, "can't ask how far written records are", slog.Any("error", err))
			}
			continue
		}
		if t.look(ctx, zones, asked) == 0 {
			return
		}
	}
}

// look compares what is pending with the zones as they were when they were asked for, and returns how much still is.
func (t *tracker) look(ctx context.Context, zones []Zone, asked time.Time) int {
	there := make(map[string]Zone, len(zones))
	for i := range zones {
		there[zones[i].ID] = zones[i]
	}
	var failed, late []string // zone ids
	t.mu.Lock()
	for id, pending := range t.zones {
		zone, found := there[id]
		switch {
		case !found || zone.deleting:
			t.forget(id)
		case zone.Validator.Status == "ACTIVE":
			t.arrived(id, asked)
		case zone.Validator.Status == "ERROR":
			failed = append(failed, id)
		case !pending.late && asked.Sub(pending.oldest()) > slowAfter:
			late = append(late, id)
		}
		if t.zones[id] != nil && asked.Sub(pending.oldest()) > forgetAfter {
			t.metrics.unfollowed.Add(float64(len(pending.writes)))
			t.forget(id)
		}
	}
	left := t.size
	t.metrics.pending.Set(float64(left))
	t.mu.Unlock()
	t.tell(ctx, failed, late)
	return left
}

func (p *pendingZone) oldest() time.Time {
	first := time.Time{}
	for _, w := range p.writes {
		if first.IsZero() || w.since.Before(first) {
			first = w.since
		}
	}
	return first
}

// arrived notes that the name servers have what was written before a time. It is called with the lock held, as is forget.
func (t *tracker) arrived(id string, asked time.Time) {
	zone := t.zones[id]
	zone.failed, zone.late = false, false
	for key, w := range zone.writes {
		if w.since.Before(asked) {
			t.metrics.propagation.Observe(asked.Sub(w.since).Seconds())
			delete(zone.writes, key)
			t.size--
		}
	}
	if len(zone.writes) == 0 {
		delete(t.zones, id)
	}
}

func (t *tracker) forget(id string) {
	t.size -= len(t.zones[id].writes)
	delete(t.zones, id)
}

// tell looks for the recordsets of zones that are in ERROR or late, and names those that were written from here: once, and counts those in ERROR.
func (t *tracker) tell(ctx context.Context, failed, late []string) {
	inError := 0
	for _, id := range failed {
		inError += t.tellZone(ctx, id, "ERROR", func(z *pendingZone) *bool { return &z.failed })
	}
	t.metrics.failed.Set(float64(inError))
	for _, id := range late {
		t.tellZone(ctx, id, "PENDING", func(z *pendingZone) *bool { return &z.late })
	}
}

func (t *tracker) tellZone(ctx context.Context, id, status string, told func(*pendingZone) *bool) int {
	sets, err := t.cloud.having(ctx, id, status)
	if err != nil {
		t.logger.DebugContext(ctx, "can't ask for the records of a zone by their status", slog.Any("error", err))
		return 0
	}
	t.mu.Lock()
	zone := t.zones[id]
	if zone == nil {
		t.mu.Unlock()
		return 0
	}
	ours := slices.DeleteFunc(sets, func(s Recordset) bool { _, ok := zone.writes[nameType{s.Name, s.Type}]; return !ok })
	silent := *told(zone) || len(ours) == 0
	*told(zone) = *told(zone) || len(ours) > 0
	attrs := zone.describe(ours)
	t.mu.Unlock()
	if !silent {
		t.logger.LogAttrs(ctx, slog.LevelWarn, "records were written, but are not published: Designate's operator finds out why by the request ids", append(attrs, slog.String("status", status))...)
	}
	return len(ours)
}

// describe names records with the request ids of their last writes.
func (p *pendingZone) describe(sets []Recordset) []slog.Attr {
	slices.SortFunc(sets, func(a, b Recordset) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type)) })
	var named []string
	for _, s := range sets[:min(len(sets), maxNamed)] {
		w := p.writes[nameType{s.Name, s.Type}]
		named = append(named, s.Name+" "+string(s.Type)+" ("+string(w.verb)+", "+w.requestID+")")
	}
	return []slog.Attr{slog.String("zone", p.name), slog.Int("records", len(sets)), slog.Any("named", named)}
}

// having returns recordsets of a zone that have a status: one page of them.
func (a *api) having(ctx context.Context, zoneID, status string) ([]Recordset, error) {
	var body struct {
		Recordsets []wireRecordset `json:"recordsets"`
	}
	if err := a.get(ctx, &body, url.Values{"status": {status}, "limit": {"100"}}, "zones", zoneID, "recordsets"); err != nil {
		return nil, err
	}
	sets := make([]Recordset, 0, len(body.Recordsets))
	for i := range body.Recordsets {
		sets = append(sets, body.Recordsets[i].recordset())
	}
	return sets, nil
}
