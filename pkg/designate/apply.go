package designate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// bounds are those of carrying out a plan.
type bounds struct {
	PerZone int           // writes at work at once in one zone: Designate takes those of a zone one after the other
	Budget  time.Duration // nothing is begun after this
	Grace   time.Duration // what was begun is given up this long after the end of the budget
}

// outcome is what became of one operation.
type outcome struct {
	Operation Operation
	// Recordset is what Designate has now; nil after a Delete and after an error.
	Recordset *Recordset
	// RequestID is Designate's, of the write; empty when none was answered well.
	RequestID string
	Err       error
}

// writer is the part of Designate's API that a plan needs.
type writer interface {
	create(ctx context.Context, zoneID string, r Record) (Recordset, error)
	update(ctx context.Context, zoneID, id string, r Record) (Recordset, error)
	remove(ctx context.Context, zoneID, id string) (requestID string, err error)
	// find looks a recordset up by name and type.
	find(ctx context.Context, key Key) (set Recordset, found bool, err error)
	// replace writes over what find has found in place of what was to be created, if that may be.
	replace(ctx context.Context, there Recordset, r Record) (Recordset, error)
}

// execute carries out a plan and returns one outcome for each of its operations. It goes on after errors: only what depends on a
// failed operation is left, and what a full zone has no room for (ErrBlocked). What the cloud was too busy for is tried again, at the
// pace that it takes. When the budget runs out or ctx ends, nothing more is begun (ErrBudget), but the deletes of marks that
// must not stay after what was done (task.owes). That and what was begun goes on without ctx, at most for the grace. When execute returns, nothing of it is left at work.
func execute(ctx context.Context, w writer, plan Plan, limits bounds, p *pace) []outcome {
	soft, stop := context.WithTimeout(ctx, limits.Budget)
	defer stop()
	hard, cancel := context.WithCancel(openstack.Once(context.WithoutCancel(ctx)))
	defer cancel()
	unwatch := context.AfterFunc(soft, func() {
		_ = poll.Sleep(hard, limits.Grace) // its only error is that everything has ended before
		cancel()
	})
	defer unwatch()
	x := &execution{
		soft: soft, hard: hard, writer: w, pace: p, queue: newQueue(plan.Groups, limits.PerZone), done: make(chan attempt), full: map[string]bool{},
		outcomes: make([]outcome, 0, plan.Operations()),
	}
	for x.launch(); x.running > 0 || x.willGoOn(); x.launch() {
		x.wait()
	}
	x.leave()
	return x.outcomes
}

// execution is a plan that is being carried out. One goroutine decides, others each make one write.
type execution struct {
	soft, hard context.Context // soft ends when nothing may be begun any more, hard when everything must end
	writer     writer
	pace       *pace
	queue      *queue
	running    int
	done       chan attempt
	full       map[string]bool // zones whose quota is used up
	outcomes   []outcome
}

// attempt is an operation that was tried.
type attempt struct {
	task    *task
	begun   time.Time
	outcome outcome
}

// launch begins as much as may be at work.
func (x *execution) launch() {
	for x.running < x.pace.allowed() && x.hard.Err() == nil && x.pace.pause(time.Now()) <= 0 {
		next := x.queue.next
		if x.soft.Err() != nil {
			next = x.queue.owed
		}
		t, ok := next()
		if !ok {
			return
		}
		op := t.next()
		if op.Verb == Create && x.full[op.Zone.ID] {
			x.settle(t, outcome{Operation: op, Err: errFull})
			continue
		}
		x.running++
		t.attempts++
		go func() { x.done <- attempt{t, time.Now(), perform(x.hard, x.writer, op)} }()
	}
}

// willGoOn reports whether there is more to begin, now or after a pause that ends in time.
func (x *execution) willGoOn() bool {
	deadline, _ := x.soft.Deadline()
	return x.queue.size > 0 && x.soft.Err() == nil && time.Now().Add(x.pace.pause(time.Now())).Before(deadline)
}

// wait waits until something has ended, or may be begun.
func (x *execution) wait() {
	var resumed <-chan time.Time
	if x.willGoOn() {
		if pause := x.pace.pause(time.Now()); pause > 0 {
			timer := time.NewTimer(pause)
			defer timer.Stop()
			resumed = timer.C
		}
	}
	var ended <-chan struct{}
	if x.running == 0 {
		ended = x.soft.Done()
	}
	select {
	case a := <-x.done:
		x.running--
		x.pace.took(a.begun, time.Now(), a.outcome.Err)
		if x.soft.Err() == nil && repeatable(a.outcome.Err, a.task.attempts) {
			x.queue.postpone(a.task)
			return
		}
		x.settle(a.task, a.outcome)
	case <-resumed:
	case <-ended:
	}
}

// settle takes an operation as done or failed for good, and goes on with what comes after it.
func (x *execution) settle(t *task, o outcome) {
	x.outcomes = append(x.outcomes, o)
	t.failed = t.failed || o.Err != nil
	t.note(o)
	switch zone := o.Operation.Zone.ID; {
	case outgrown(o.Err):
		x.full[zone] = true
	case o.Err == nil && o.Operation.Verb == Delete:
		delete(x.full, zone)
	}
	more := t.advance()
	x.queue.ended(t, more)
	if !more {
		cause := ErrBlocked
		if x.soft.Err() != nil {
			cause = ErrBudget
		}
		x.giveUp(t, cause)
	}
}

// leave gives up what was not begun.
func (x *execution) leave() {
	cause := ErrBudget
	if pause := x.pace.pause(time.Now()); pause > 0 {
		cause = fmt.Errorf("%w: the cloud has too much to do or is away, and gets a pause of %v", ErrBudget, pause.Round(time.Second/10))
	}
	for _, t := range x.queue.drain() {
		x.giveUp(t, cause)
	}
}

func (x *execution) giveUp(t *task, cause error) {
	for _, op := range t.rest() {
		x.outcomes = append(x.outcomes, outcome{Operation: op, Err: cause})
	}
}

// perform does one operation so that doing it again is harmless.
func perform(ctx context.Context, w writer, op Operation) outcome {
	out := outcome{Operation: op}
	var set Recordset
	switch op.Verb {
	case Delete:
		out.RequestID, out.Err = performDelete(ctx, w, op)
	case Update:
		set, out.Err = performUpdate(ctx, w, op)
	case Create:
		set, out.Err = performCreate(ctx, w, op)
	default:
		out.Err = fmt.Errorf("unknown operation %q", op.Verb)
	}
	if out.Err != nil {
		if ctx.Err() != nil {
			out.Err = fmt.Errorf("%w: there was no answer in time, and it may come into effect yet: %w", ErrBudget, out.Err)
		}
		out.Err = &RecordError{Name: op.Record.Name, Type: op.Record.Type, Err: fmt.Errorf("%s in zone %s: %w", op.Verb, op.Zone.Name, out.Err)}
	} else if op.Verb != Delete {
		out.Recordset, out.RequestID = &set, set.RequestID
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
	}
	set, replaceErr := w.replace(ctx, set, op.Record)
	if replaceErr != nil {
		return Recordset{}, fmt.Errorf("%w (%s)", replaceErr, err.Error()) // of which only the text counts: trying again is no use
	}
	return set, nil
}

func performUpdate(ctx context.Context, w writer, op Operation) (Recordset, error) {
	set, err := w.update(ctx, op.Zone.ID, op.ID, op.Record)
	if errors.Is(err, openstack.ErrNotFound) {
		return performCreate(ctx, w, op)
	}
	return set, err
}

func performDelete(ctx context.Context, w writer, op Operation) (requestID string, err error) {
	id := op.ID
	if id == "" {
		set, found, err := w.find(ctx, op.Key())
		if err != nil {
			return "", fmt.Errorf("looking it up: %w", err)
		}
		if !found {
			return "", nil
		}
		if believed, err := CanonicalTargets(op.Record.Type, op.Record.Targets); err == nil && len(believed) > 0 && !slices.Equal(believed, set.Targets) {
			return "", taken(set)
		}
		id = set.ID
	}
	requestID, err = w.remove(ctx, op.Zone.ID, id)
	if errors.Is(err, openstack.ErrNotFound) {
		return "", nil
	}
	return requestID, err
}

func taken(there Recordset) error {
	return fmt.Errorf("%w: it is %s", ErrTaken, shortened(strings.Join(there.Targets, " ")))
}

// mayExist reports whether a create failed because the recordset is there already: a 409, but for a CNAME a 400, because Designate
// looks for anything else under the name of a CNAME before it looks for duplicates (_is_valid_recordset_placement).
func mayExist(op Operation, err error) bool {
	return errors.Is(err, openstack.ErrConflict) || op.Record.Type == CNAME && errors.Is(err, openstack.ErrInvalid)
}

// outcomeUnknown reports whether a write may have happened although it failed, and is worth a look at once. A cloud that is too busy is not asked
// more: the write is tried again later, and finds what there is.
func outcomeUnknown(ctx context.Context, err error) bool {
	e := (*openstack.Error)(nil)
	busy := errors.As(err, &e) && e.Status != 0 && slowing(err)
	return errors.Is(err, openstack.ErrUnavailable) && !busy && ctx.Err() == nil
}

// outgrown reports whether a write failed because its zone is full: what else is new in that zone will fail too. The quota of one recordset's
// records is another matter.
func outgrown(err error) bool {
	e := (*openstack.Error)(nil)
	return errors.Is(err, openstack.ErrQuota) && errors.As(err, &e) && strings.Contains(e.Message, "zone_record")
}
