package designate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Result says what Apply did.
type Result struct {
	Done    int // writes made
	Same    int // wanted, and so already
	Skipped []Skip
	DryRun  bool
}

// Apply makes the changes. It plans against what Stream read last (and reads now if nothing is known), goes on after errors, and stops
// beginning writes at the deadline or when ctx ends; what was begun is waited for. So the next Apply, which waits for this one, starts from
// what there is. The error is an *ApplyError when some of the changes are not in effect.
func (s *Service) Apply(ctx context.Context, changes Changes) (Result, error) {
	begin := time.Now()
	waiting, cancel := context.WithTimeoutCause(ctx, s.options.Deadline, ErrBudget)
	defer cancel()
	unlock, err := s.locks.Lock(waiting, "apply")
	if err != nil {
		return Result{}, fmt.Errorf("waiting for earlier changes to end: %w", context.Cause(waiting))
	}
	defer unlock()
	snap := s.inventory.Last()
	if snap == nil {
		if snap, err = s.inventory.Read(waiting); err != nil {
			return Result{}, err
		}
	}
	s.floating.read(waiting)
	changes, pointers := s.floating.take(snap.zones, changes)
	plan, floating := NewPlan(snap.zones, snap.lookup, changes, s.rules(snap)), planFloating(pointers, s.rules(snap).MinTTL)
	plan.Invalid, plan.Same = append(plan.Invalid, floating.invalid...), plan.Same+floating.same
	s.reportSkipped(ctx, plan.Skipped)
	s.quota.check(ctx, snap, plan)
	result := Result{Same: plan.Same, Skipped: plan.Skipped, DryRun: s.options.DryRun}
	if s.options.DryRun {
		s.logPlan(ctx, plan, floating)
		return result, applyError(nil, plan, nil)
	}
	limits := bounds{PerZone: s.options.ZoneConcurrency, Budget: max(s.options.Deadline-time.Since(begin), 0), Grace: grace}
	outcomes := execute(ctx, s.api, plan, limits, s.pace)
	s.inventory.Fold(outcomes)
	s.tracker.add(outcomes, time.Now())
	s.quota.explain(snap, outcomes)
	outcomes = append(outcomes, s.floating.write(waiting, floating)...)
	s.metrics.applied(outcomes)
	for _, o := range outcomes {
		if o.Err == nil {
			result.Done++
			s.options.Logger.InfoContext(ctx, "record written", append(operationAttrs(o.Operation), slog.String("request_id", o.RequestID))...)
		}
	}
	return result, applyError(outcomes, plan, ctx.Err())
}

// Track follows what Apply writes until the name servers have it, and tells of what they don't get. It returns when ctx ends.
func (s *Service) Track(ctx context.Context) error {
	s.tracker.run(ctx)
	return nil
}

func (s *Service) rules(snap *snapshot) Rules {
	return Rules{MinTTL: max(snap.minTTL, s.options.MinTTL), Serves: func(t Type) bool { return slices.Contains(s.options.Types, t) || !slices.Contains(Types(), t) }}
}

func operationAttrs(op Operation) []any {
	return []any{
		slog.String("verb", string(op.Verb)), slog.String("name", op.Record.Name), slog.String("type", string(op.Record.Type)),
		slog.String("zone", op.Zone.Name),
	}
}

func (s *Service) logPlan(ctx context.Context, plan Plan, floating floatingPlan) {
	log := func(op Operation) {
		s.options.Logger.InfoContext(ctx, "dry run: would write", append(operationAttrs(op), slog.Int("ttl", op.Record.TTL), slog.Any("targets", op.Record.Targets))...)
	}
	for _, g := range plan.Groups {
		for _, step := range g.Steps {
			for _, op := range step {
				log(op)
			}
		}
	}
	for i := range floating.writes {
		log(floating.writes[i].Operation)
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
			slog.String("for_example", shortened(first[c])))
	}
}

// applyError sums up what is not in effect; nil when everything is. What was blocked or out of time is counted but not listed: its
// cause is among the others.
func applyError(outcomes []outcome, plan Plan, ended error) error {
	e := &ApplyError{Total: max(plan.Operations(), len(outcomes)) + len(plan.Invalid), Done: 0}
	failed := slices.Clone(plan.Invalid)
	var late error
	left := 0
	for _, o := range outcomes {
		switch {
		case o.Err == nil:
			e.Done++
		case errors.Is(o.Err, ErrBudget):
			late = o.Err
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
	} else if late != nil {
		e.Errs = append(e.Errs, late)
	}
	return e
}
