package designate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mooring/pkg/openstack"
)

// bounds are those of carrying out a plan.
type bounds struct {
	Total   int           // groups at work at once
	PerZone int           // groups at work at once in one zone: Designate takes the writes of a zone one after the other
	Budget  time.Duration // nothing is begun after this
	Grace   time.Duration // what was begun is given up this long after the budget
}

// outcome is what became of one operation.
type outcome struct {
	Operation Operation
	// Recordset is what Designate has now; nil after a Delete and after an error.
	Recordset *Recordset
	Err       error
}

// writer is the part of Designate's API that a plan needs.
type writer interface {
	create(ctx context.Context, zoneID string, r Record) (Recordset, error)
	update(ctx context.Context, zoneID, id string, r Record) (Recordset, error)
	remove(ctx context.Context, zoneID, id string) error
	// find looks a recordset up by name and type.
	find(ctx context.Context, key Key) (set Recordset, found bool, err error)
}

// execute carries out a plan and returns one outcome for each of its operations. It goes on after errors: only what depends on a
// failed operation is left (ErrBlocked). When the budget runs out or ctx ends, nothing more is begun (ErrBudget).
// It returns when everything that was begun has ended.
func execute(ctx context.Context, w writer, plan Plan, limits bounds) []outcome {
	hard, cancel := context.WithTimeout(ctx, limits.Budget+limits.Grace)
	defer cancel()
	soft, stop := context.WithTimeout(hard, limits.Budget)
	defer stop()

	outcomes := make([]outcome, 0, plan.Operations())
	queue := newQueue(plan.Groups, limits)
	done := make(chan groupResult)
	running := 0
	for {
		for running < limits.Total && soft.Err() == nil {
			g, ok := queue.next()
			if !ok {
				break
			}
			running++
			go func() { done <- groupResult{g.ZoneID, runGroup(soft, hard, w, g)} }()
		}
		if running == 0 {
			break
		}
		r := <-done
		running--
		queue.finished(r.zoneID)
		outcomes = append(outcomes, r.outcomes...)
	}
	for _, g := range queue.rest() {
		outcomes = append(outcomes, giveUp(g, 0, ErrBudget)...)
	}
	return outcomes
}

type groupResult struct {
	zoneID   string
	outcomes []outcome
}

// runGroup does the steps of a group in order. soft ends when nothing may be begun any more, hard when everything must end.
func runGroup(soft, hard context.Context, w writer, g Group) []outcome {
	var outcomes []outcome
	for i, step := range g.Steps {
		failed := false
		for _, op := range step {
			out := outcome{Operation: op, Err: ErrBudget}
			if soft.Err() == nil {
				out = perform(hard, w, op)
			}
			failed = failed || out.Err != nil
			outcomes = append(outcomes, out)
		}
		if failed {
			cause := ErrBlocked
			if soft.Err() != nil {
				cause = ErrBudget
			}
			return append(outcomes, giveUp(g, i+1, cause)...)
		}
	}
	return outcomes
}

func giveUp(g Group, from int, cause error) []outcome {
	var outcomes []outcome
	for _, step := range g.Steps[from:] {
		for _, op := range step {
			outcomes = append(outcomes, outcome{Operation: op, Err: cause})
		}
	}
	return outcomes
}

// perform does one operation so that doing it again is harmless.
func perform(ctx context.Context, w writer, op Operation) outcome {
	out := outcome{Operation: op}
	var set Recordset
	switch op.Verb {
	case Delete:
		out.Err = performDelete(ctx, w, op)
	case Update:
		set, out.Err = performUpdate(ctx, w, op)
	case Create:
		set, out.Err = performCreate(ctx, w, op)
	default:
		out.Err = fmt.Errorf("unknown operation %q", op.Verb)
	}
	if out.Err != nil {
		out.Err = &RecordError{Name: op.Record.Name, Type: op.Record.Type, Err: fmt.Errorf("%s in zone %s: %w", op.Verb, op.Zone.Name, out.Err)}
	} else if op.Verb != Delete {
		out.Recordset = &set
	}
	return out
}

func performCreate(ctx context.Context, w writer, op Operation) (Recordset, error) {
	set, err := w.create(ctx, op.Zone.ID, op.Record)
	if err == nil || !mayExist(op, err) && !outcomeUnknown(ctx, err) {
		return set, err
	}
	// Either it was there before (409), or the answer got lost and it may be there now.
	set, found, findErr := w.find(ctx, op.Key())
	switch {
	case findErr != nil:
		return Recordset{}, fmt.Errorf("%w; looking it up: %w", err, findErr)
	case !found:
		return Recordset{}, err
	case set.Same(op.Record):
		return set, nil
	default:
		return w.update(ctx, op.Zone.ID, set.ID, op.Record)
	}
}

func performUpdate(ctx context.Context, w writer, op Operation) (Recordset, error) {
	set, err := w.update(ctx, op.Zone.ID, op.ID, op.Record)
	if errors.Is(err, openstack.ErrNotFound) {
		return performCreate(ctx, w, op)
	}
	return set, err
}

func performDelete(ctx context.Context, w writer, op Operation) error {
	id := op.ID
	if id == "" {
		set, found, err := w.find(ctx, op.Key())
		if err != nil {
			return fmt.Errorf("looking it up: %w", err)
		}
		if !found {
			return nil
		}
		id = set.ID
	}
	err := w.remove(ctx, op.Zone.ID, id)
	if errors.Is(err, openstack.ErrNotFound) {
		return nil
	}
	return err
}

// mayExist reports whether a create failed because the recordset is there already: a 409, but for a CNAME a 400, because Designate
// looks for anything else under the name of a CNAME before it looks for duplicates (_is_valid_recordset_placement).
func mayExist(op Operation, err error) bool {
	return errors.Is(err, openstack.ErrConflict) || op.Record.Type == CNAME && errors.Is(err, openstack.ErrInvalid)
}

// outcomeUnknown reports whether a write may have happened although it failed, and there is time left to look.
func outcomeUnknown(ctx context.Context, err error) bool {
	return errors.Is(err, openstack.ErrUnavailable) && ctx.Err() == nil
}

// queue hands out groups: zones in turn, so that a large zone does not starve the others, and no zone above its limit.
type queue struct {
	perZone int
	zones   []*zoneQueue
	byID    map[string]*zoneQueue
	turn    int
}

type zoneQueue struct {
	groups  []Group
	running int
}

func newQueue(groups []Group, limits bounds) *queue {
	q := &queue{perZone: limits.PerZone, byID: map[string]*zoneQueue{}}
	for _, g := range groups {
		z := q.byID[g.ZoneID]
		if z == nil {
			z = &zoneQueue{}
			q.byID[g.ZoneID] = z
			q.zones = append(q.zones, z)
		}
		z.groups = append(z.groups, g)
	}
	return q
}

func (q *queue) next() (Group, bool) {
	for range q.zones {
		z := q.zones[q.turn%len(q.zones)]
		q.turn++
		if len(z.groups) > 0 && z.running < q.perZone {
			g := z.groups[0]
			z.groups = z.groups[1:]
			z.running++
			return g, true
		}
	}
	return Group{}, false
}

func (q *queue) finished(zoneID string) { q.byID[zoneID].running-- }

func (q *queue) rest() []Group {
	var groups []Group
	for _, z := range q.zones {
		groups = append(groups, z.groups...)
	}
	return groups
}
