package designate

import (
	"cmp"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/keylock"
)

// What Options stand for where they are zero.
const (
	DefaultFullRefresh     = 15 * time.Minute
	DefaultConcurrency     = 8
	DefaultZoneConcurrency = 4
	// DefaultDeadline and the grace after it end before ExternalDNS stops waiting, after 15 s.
	DefaultDeadline = 12 * time.Second
)

// grace is how long after the deadline a write that was begun may still take.
const grace = 2 * time.Second

// Options set up a Service. The zero value is good.
type Options struct {
	// Types are the record types that are shown and written; empty is all of Types. Without TXT no record can be owned.
	Types []Type
	// MinTTL in seconds: wanted TTLs below it are raised to it, as they are to the cloud's own; but 0 stays the zone's.
	MinTTL int
	// WantZone says by canonical name whether a zone's recordsets are read; nil is every zone. Zones that are not wanted still count when a
	// name is matched to its zone.
	WantZone func(name string) bool
	// WantName says whether a record of that canonical name is shown; nil is every name.
	WantName func(name string) bool
	// ZoneIDs and PoolIDs choose zones: those with one of these ids, in one of these pools; empty is every one. The others are nobody's to
	// write to: of two zones with one name, in two pools, that leaves the one that is meant.
	ZoneIDs, PoolIDs []string
	// AllProjects shows the zones of all projects. Designate allows that to administrators only.
	AllProjects bool
	// FloatingIPs shows and writes the PTRs of the project's floating IPs, too. It costs a call at first, and in each refresh.
	FloatingIPs bool
	// FullRefresh is how long after it was read a zone is read once more although nothing says that it changed, more or less; below zero is
	// never.
	FullRefresh time.Duration
	// DryRun plans and logs, and writes nothing.
	DryRun bool
	// Concurrency is how many names are written at once, ZoneConcurrency how many of one zone.
	Concurrency, ZoneConcurrency int
	// Deadline is how long Apply goes on beginning writes.
	Deadline time.Duration

	// Logger gets what is read, written and left alone; nil discards it.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none.
	Registerer prometheus.Registerer
}

// Service shows the records of a project's zones and applies changes to them. Its methods are safe for concurrent use; Apply works on one
// set of changes at a time.
type Service struct {
	options   Options
	api       *api
	inventory *inventory
	metrics   *metrics
	locks     keylock.Locks // one, for Apply
	floating  *floatingPTRs // nil without
	pace      *pace         // whoever has that lock uses it
	tracker   *tracker
	quota     *quota
	minTTL    atomic.Int64
}

// withDefaults fills in what is not set.
func (o Options) withDefaults() *Options {
	if len(o.Types) == 0 {
		o.Types = Types()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	everything := func(string) bool { return true }
	if o.WantZone == nil {
		o.WantZone = everything
	}
	if o.WantName == nil {
		o.WantName = everything
	}
	o.Concurrency = cmp.Or(o.Concurrency, DefaultConcurrency)
	o.ZoneConcurrency = cmp.Or(o.ZoneConcurrency, DefaultZoneConcurrency)
	o.Deadline = cmp.Or(o.Deadline, DefaultDeadline)
	o.FullRefresh = cmp.Or(o.FullRefresh, DefaultFullRefresh)
	return &o
}

// New makes a Service on a session. It makes no call yet.
func New(s session, o Options) *Service {
	o = *o.withDefaults()
	a := &api{session: s, allProjects: o.AllProjects}
	v := newInventory(a, &a.ledger, &o)
	return &Service{
		options: o, api: a, inventory: v, metrics: newMetrics(o.Registerer), pace: newPace(o.Concurrency),
		tracker: newTracker(a, o.Logger, o.Registerer), quota: newQuota(v, o.Logger, o.Registerer), floating: newFloatingPTRs(a, &o),
	}
}

// Adjust returns a wanted record as Stream will show it once it is there. It makes no call: before the first Stream, the cloud's lowest
// TTL is not known and not applied. A record that has no canonical form comes back as it is, with an error: leaving it out would
// make ExternalDNS delete what exists under its name.
func (s *Service) Adjust(r Record) (Record, error) {
	adjusted, err := r.Canonical(max(int(s.minTTL.Load()), s.options.MinTTL))
	if err != nil {
		return r, err
	}
	return adjusted, nil
}
