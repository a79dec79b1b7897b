package designate

import (
	"errors"
	"slices"
)

// task is a group at work.
type task struct {
	group    Group
	step, at int  // of its next operation
	failed   bool // one of the same step has failed
	deleted  bool // one has deleted something
	attempts int  // at the next operation, so far

	marks []Operation // deletes of what was created to mark records
	undo  bool        // the last step takes some of them back
}

func (t *task) next() Operation { return t.group.Steps[t.step][t.at] }

// owes reports whether marks are to go because of what was done: those of records that have gone, for ExternalDNS does not see them any more and never
// asks for their end again; and those that stand beside somebody else's record, which the next sync would take for our own.
func (t *task) owes() bool { return (t.deleted || t.undo) && t.next().Verb == Delete }

// advance goes on to the operation after the one that is done. It is false when there is none, or none that may be tried: operations of a later
// step depend on all of this one.
func (t *task) advance() (more bool) {
	t.attempts = 0
	if t.at++; t.at < len(t.group.Steps[t.step]) {
		return true
	}
	t.step, t.at = t.step+1, 0
	return t.step < len(t.group.Steps) && (!t.failed || t.undo)
}

// note takes the marks of a record back that turns out to be somebody else's: beside ours, the next sync would take it for our own. It goes by the
// name, so marks stay where records of several types are written under one.
func (t *task) note(o outcome) {
	op := o.Operation
	t.deleted = t.deleted || o.Err == nil && op.Verb == Delete
	if o.Err == nil && op.Verb == Create && op.Record.Owner != "" && o.RequestID != "" {
		op.Verb, op.ID = Delete, o.Recordset.ID
		t.marks = append(t.marks, op)
	}
	if !errors.Is(o.Err, ErrTaken) || op.Verb == Delete || op.Record.Owner != "" || t.written(op.Record.Name) != 1 {
		return
	}
	for _, mark := range t.marks {
		if mark.Record.Owner != op.Record.Name {
			continue
		}
		if !t.undo {
			t.undo, t.group.Steps = true, append(slices.Clone(t.group.Steps), nil)
		}
		last := len(t.group.Steps) - 1
		t.group.Steps[last] = append(t.group.Steps[last], mark)
	}
}

// written is how many records of a name the task writes that are no marks.
func (t *task) written(name string) int {
	n := 0
	for _, step := range t.group.Steps {
		for i := range step {
			if r := &step[i].Record; r.Name == name && r.Owner == "" && step[i].Verb != Delete {
				n++
			}
		}
	}
	return n
}

// rest are the operations from the next one on.
func (t *task) rest() []Operation {
	var rest []Operation
	for i, step := range t.group.Steps[min(t.step, len(t.group.Steps)):] {
		if i == 0 {
			step = step[t.at:]
		}
		rest = append(rest, step...)
	}
	return rest
}

// queue hands out tasks: zones in turn, so that a large zone does not starve the others, and no zone above its limit.
type queue struct {
	perZone int
	zones   []*zoneQueue
	byID    map[string]*zoneQueue
	turn    int
	size    int // tasks that are waiting
}

type zoneQueue struct {
	tasks   []*task // the next one is the last
	running int
}

func newQueue(groups []Group, perZone int) *queue {
	q := &queue{perZone: perZone, byID: map[string]*zoneQueue{}}
	for _, g := range slices.Backward(groups) {
		z := q.byID[g.ZoneID]
		if z == nil {
			z = &zoneQueue{}
			q.byID[g.ZoneID] = z
			q.zones = append(q.zones, z)
		}
		z.tasks = append(z.tasks, &task{group: g})
		q.size++
	}
	return q
}

// next takes a task whose zone has room for another write.
func (q *queue) next() (*task, bool) {
	for range q.zones {
		z := q.zones[q.turn%len(q.zones)]
		q.turn++
		if last := len(z.tasks) - 1; last >= 0 && z.running < q.perZone {
			t := z.tasks[last]
			z.tasks = z.tasks[:last]
			z.running++
			q.size--
			return t, true
		}
	}
	return nil, false
}

// owed takes a task that must not stay as it is: next without all others, for when the time is over.
func (q *queue) owed() (*task, bool) {
	for _, z := range q.zones {
		for i, t := range slices.Backward(z.tasks) {
			if t.owes() && z.running < q.perZone {
				z.tasks = slices.Delete(z.tasks, i, i+1)
				z.running++
				q.size--
				return t, true
			}
		}
	}
	return nil, false
}

// ended notes that an operation of a task is no longer at work. A task with more to do comes next: half-done groups are finished first.
func (q *queue) ended(t *task, more bool) {
	z := q.byID[t.group.ZoneID]
	z.running--
	if more {
		z.tasks = append(z.tasks, t)
		q.size++
	}
}

// postpone puts a task whose operation has failed behind all others of its zone.
func (q *queue) postpone(t *task) {
	q.ended(t, false)
	z := q.byID[t.group.ZoneID]
	z.tasks = slices.Insert(z.tasks, 0, t)
	q.size++
}

// drain empties the queue.
func (q *queue) drain() []*task {
	var rest []*task
	for _, z := range q.zones {
		rest = append(rest, z.tasks...)
		z.tasks = nil
	}
	q.size = 0
	return rest
}
