package designate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/keylock"
)

// Options set up a Service. The zero value is good.
type Options struct {
	// Types are the record types that are shown and written; empty is DefaultTypes.
	Types []Type
	// WantZone says by canonical name whether a zone's recordsets are read; nil is every zone. Zones that are not wanted still count when a
	// name is matched to its zone.
	WantZone func(name string) bool
	// WantName says whether a record of that canonical name is shown; nil is every name.
	WantName func(name string) bool
	// DryRun plans and logs, and writes nothing.
	DryRun bool
	// Concurrency is how many names are written at once, ZoneConcurrency how many of one zone; zero is 8 and 4.
	Concurrency, ZoneConcurrency int
	// Deadline is how long Apply goes on beginning writes; zero is 12 s: ExternalDNS waits 15 s for an answer.
	Deadline time.Duration

	// Logger gets what is read, written and left alone; nil discards it.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none.
	Registerer prometheus.Registerer
}

// DefaultTypes are the record types that ExternalDNS's sources make by default, and TXT for its ownership records.
func DefaultTypes() []Type { return []Type{A, AAAA, CNAME, TXT} }

// grace is how long after the deadline a write that was begun may still take. With the default deadline the answer leaves before
// ExternalDNS stops waiting.
const grace = 2 * time.Second

// Service shows the records of a project's zones and applies changes to them. Its methods are safe for concurrent use; Apply works on one
// set of changes at a time.
type Service struct {
	options   Options
	api       *api
	inventory *inventory
	metrics   *metrics
	locks     keylock.Locks // one, for Apply
	minTTL    atomic.Int64
}

// New makes a Service on a session. It makes no call yet.
func New(s session, o Options) *Service {
	if len(o.Types) == 0 {
		o.Types = DefaultTypes()
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
	o.Concurrency = cmp.Or(o.Concurrency, 8)
	o.ZoneConcurrency = cmp.Or(o.ZoneConcurrency, 4)
	o.Deadline = cmp.Or(o.Deadline, 12*time.Second)
	a := &api{session: s}
	keep := func(t Type) bool { return slices.Contains(o.Types, t) }
	return &Service{
		options: o, api: a, metrics: newMetrics(o.Registerer),
		inventory: &inventory{api: a, keep: keep, want: o.WantZone, read: o.Concurrency},
	}
}

// Adjust returns a wanted record as Records will show it once it is there. It makes no call: before the first Records, the cloud's lowest
// TTL is not known and not applied. A record that has no canonical form comes back as it is, with an error: leaving it out would
// make ExternalDNS delete what exists under its name.
func (s *Service) Adjust(r Record) (Record, error) {
	adjusted, err := r.Canonical(int(s.minTTL.Load()))
	if err != nil {
		return r, err
	}
	return adjusted, nil
}

// Result says what Apply did.
type Result struct {
	Done    int // writes made
	Same    int // wanted, and so already
	Skipped []Skip
	DryRun  bool
}

// Apply makes the changes. It plans against what Records read last (and reads now if nothing is known), goes on after errors, and stops
// beginning writes at the deadline or when ctx ends. The error is an *ApplyError when some of the changes are not in effect.
func (s *Service) Apply(ctx context.Context, changes Changes) (Result, error) {
	begin := time.Now()
	unlock, err := s.locks.Lock(ctx, "apply")
	if err != nil {
		return Result{}, fmt.Errorf("waiting for earlier changes: %w", err)
	}
	defer unlock()
	snap := s.inventory.Last()
	if snap == nil {
		if snap, err = s.inventory.Read(ctx); err != nil {
			return Result{}, err
		}
	}
	plan := NewPlan(snap.zones, snap.lookup, changes, snap.minTTL)
	s.reportSkipped(ctx, plan.Skipped)
	result := Result{Same: plan.Same, Skipped: plan.Skipped, DryRun: s.options.DryRun}
	if s.options.DryRun {
		s.logPlan(ctx, plan)
		return result, applyError(nil, plan, nil)
	}
	limits := bounds{Total: s.options.Concurrency, PerZone: s.options.ZoneConcurrency, Budget: max(s.options.Deadline-time.Since(begin), 0), Grace: grace}
	outcomes := execute(ctx, s.api, plan, limits)
	s.inventory.Fold(outcomes)
	s.metrics.applied(outcomes)
	for _, o := range outcomes {
		if o.Err == nil {
			result.Done++
			s.options.Logger.InfoContext(ctx, "record written", operationAttrs(o.Operation)...)
		}
	}
	return result, applyError(outcomes, plan, ctx.Err())
}

func operationAttrs(op Operation) []any {
	return []any{
		slog.String("verb", string(op.Verb)), slog.String("name", op.Record.Name), slog.String("type", string(op.Record.Type)),
		slog.String("zone", op.Zone.Name),
	}
}

func (s *Service) logPlan(ctx context.Context, plan Plan) {
	for _, g := range plan.Groups {
		for _, step := range g.Steps {
			for _, op := range step {
				s.options.Logger.InfoContext(ctx, "dry run: would write", append(operationAttrs(op), slog.Int("ttl", op.Record.TTL), slog.Any("targets", op.Record.Targets))...)
			}
		}
	}
}

// reportSkipped warns once for each reason and zone, and counts each record.
func (s *Service) reportSkipped(ctx context.Context, skipped []Skip) {
	type cause struct {
		reason Reason
		zone   string
	}
	first, count := map[cause]string{}, map[cause]int{}
	for _, skip := range skipped {
		c := cause{skip.Reason, skip.Zone.Name}
		first[c] = cmp.Or(first[c], skip.Record.Name)
		count[c]++
	}
	for c, n := range count {
		s.metrics.skipped(c.reason, n)
		s.options.Logger.WarnContext(ctx, "records left alone", slog.String("reason", string(c.reason)), slog.String("zone", c.zone), slog.Int("records", n),
			slog.String("for_example", first[c]))
	}
}

// applyError sums up what is not in effect; nil when everything is. What was blocked or out of time is counted but not listed: its
// cause is among the others.
func applyError(outcomes []outcome, plan Plan, ended error) error {
	e := &ApplyError{Total: plan.Operations() + len(plan.Invalid), Done: 0}
	failed := slices.Clone(plan.Invalid)
	budget := false
	left := 0
	for _, o := range outcomes {
		switch {
		case o.Err == nil:
			e.Done++
		case errors.Is(o.Err, ErrBudget):
			budget = true
			left++
		case errors.Is(o.Err, ErrBlocked):
			left++
		default:
			failed = append(failed, o.Err)
		}
	}
	if len(failed) == 0 && left == 0 {
		return nil
	}
	e.Errs = failed[:min(len(failed), maxReported)]
	e.More = len(failed) - len(e.Errs)
	if ended != nil {
		e.Errs = append(e.Errs, ended)
	} else if budget {
		e.Errs = append(e.Errs, ErrBudget)
	}
	return e
}
