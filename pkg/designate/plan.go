package designate

import (
	"cmp"
	"slices"
)

// Changes is what somebody wants: ExternalDNS's four lists. UpdateOld is what they believe is there now.
type Changes struct {
	Create    []Record
	UpdateOld []Record
	UpdateNew []Record
	Delete    []Record
}

// Verb is what an operation does to its recordset.
type Verb string

// The verbs. An Update replaces a whole recordset.
const (
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
)

// Operation is one write to Designate.
type Operation struct {
	Verb   Verb
	Zone   Zone
	ID     string // of the recordset; empty for Create, and for a Delete or Update of one that is not known: it must be looked up
	Record Record // what to write; for Delete only name and type matter
}

// Key returns the key of the recordset that the operation is about.
func (o Operation) Key() Key {
	return Key{ZoneID: o.Zone.ID, Name: o.Record.Name, Type: o.Record.Type}
}

// Group is a set of operations that belong together: a record with what says who owns it, and whatever else shares one of their names.
// Its steps run in order, and a step is not begun when an operation of an earlier one failed. Operations of one step don't depend on
// each other, and neither do groups.
type Group struct {
	ZoneID string // of the first operation; all have the same unless a record and its owner's mark fall into different zones
	Steps  [][]Operation
}

// Skip is a wanted change that is left alone.
type Skip struct {
	Record Record
	Zone   Zone // the zone that the name falls into, if any
	Reason Reason
}

// Plan is what to do about Changes.
type Plan struct {
	Groups  []Group
	Skipped []Skip
	Invalid []error // *RecordError: wanted records that can't be written anywhere
	Same    int     // wanted changes that are in effect already
}

// Operations returns how many writes the plan has.
func (p Plan) Operations() int {
	n := 0
	for _, g := range p.Groups {
		for _, step := range g.Steps {
			n += len(step)
		}
	}
	return n
}

// The steps of a group. A record goes before the mark of its owner and comes after it, so that at no moment there is a record of ours
// without a mark: the next sync would take it for somebody else's and never touch it again. Deletes go first, because a CNAME
// can't be made while another type has its name.
const (
	stepDeleteRecords = iota
	stepDeleteMarks
	stepWriteMarks
	stepWriteRecords
	stepCount
)

// NewPlan decides what to do about the changes, given the zones and what is known to be in them. It is pure: the same arguments
// give the same plan, in the same order. current returns the recordset of a key; a key that it doesn't know is taken not to exist.
// Changes may be in any form; what has no canonical one ends in Plan.Invalid. The plan holds at most one operation for each key.
func NewPlan(zones Zones, current func(Key) (Recordset, bool), changes Changes, minTTL int) Plan {
	p := planner{zones: zones, current: current, minTTL: minTTL, ops: map[Key]planned{}}
	p.removals(changes)
	p.findHopeless(slices.Concat(changes.Create, changes.UpdateNew))
	for _, list := range [][]Record{changes.Create, changes.UpdateNew} {
		for _, r := range list {
			p.want(r)
		}
	}
	p.plan.Groups = p.groups()
	return p.plan
}

type planner struct {
	zones   Zones
	current func(Key) (Recordset, bool)
	minTTL  int
	ops     map[Key]planned
	plan    Plan

	hopeless map[string]bool // names of which no wanted record can be written
}

type planned struct {
	op   Operation
	step int
}

// removals plans deletes: the wanted ones, and what an update renames away from.
func (p *planner) removals(changes Changes) {
	for _, r := range changes.Delete {
		p.remove(r)
	}
	kept := make(map[nameType]bool, len(changes.UpdateNew))
	for _, r := range changes.UpdateNew {
		kept[nameType{readName(r.Name), r.Type}] = true
	}
	for _, r := range changes.UpdateOld {
		if !kept[nameType{readName(r.Name), r.Type}] {
			p.remove(r)
		}
	}
}

type nameType struct {
	name string
	typ  Type
}

func (p *planner) remove(r Record) {
	r.Name = readName(r.Name)
	if r.Owner != "" {
		r.Owner = readName(r.Owner)
	}
	zone, ok := p.place(r)
	if !ok {
		return
	}
	op := Operation{Verb: Delete, Zone: zone, Record: r}
	if set, found := p.current(op.Key()); found {
		op.ID = set.ID
	}
	p.add(op, stepDeleteRecords, stepDeleteMarks)
}

// findHopeless notes the names whose records are all invalid: a mark for them would mark nothing.
func (p *planner) findHopeless(wanted []Record) {
	p.hopeless = map[string]bool{}
	for _, good := range []bool{false, true} { // one good record of a name outweighs the bad ones
		for _, r := range wanted {
			if _, err := r.Canonical(p.minTTL); r.Owner == "" && (err == nil) == good {
				p.hopeless[readName(r.Name)] = !good
			}
		}
	}
}

func (p *planner) want(r Record) {
	canonical, err := r.Canonical(p.minTTL)
	if err != nil {
		p.plan.Invalid = append(p.plan.Invalid, err)
		return
	}
	if p.hopeless[canonical.Owner] {
		return
	}
	zone, ok := p.place(canonical)
	if !ok {
		return
	}
	op := Operation{Verb: Create, Zone: zone, Record: canonical}
	if set, found := p.current(op.Key()); found {
		if set.Same(canonical) {
			delete(p.ops, op.Key()) // a delete of the same key is taken back
			p.plan.Same++
			return
		}
		op.Verb, op.ID = Update, set.ID
	}
	p.add(op, stepWriteRecords, stepWriteMarks)
}

// place finds the zone of a record that may be written there.
func (p *planner) place(r Record) (Zone, bool) {
	zone, reason, ok := p.zones.Match(r.Name)
	if ok && zone.Managed(r.Name, r.Type) {
		reason, ok = ManagedRecord, false
	}
	if !ok {
		p.plan.Skipped = append(p.plan.Skipped, Skip{Record: r, Zone: zone, Reason: reason})
	}
	return zone, ok
}

func (p *planner) add(op Operation, recordStep, markStep int) {
	step := recordStep
	if op.Record.Owner != "" {
		step = markStep
	}
	p.ops[op.Key()] = planned{op: op, step: step}
}

// groups puts operations together that share a name, directly or through their owner's name.
func (p *planner) groups() []Group {
	names := unionFind{}
	for _, o := range p.ops {
		names.join(o.op.Record.Name, cmp.Or(o.op.Record.Owner, o.op.Record.Name))
	}
	members := map[string][]planned{}
	for _, o := range p.ops {
		root := names.find(o.op.Record.Name)
		members[root] = append(members[root], o)
	}
	groups := make([]Group, 0, len(members))
	for _, list := range members {
		groups = append(groups, newGroup(list))
	}
	slices.SortFunc(groups, func(a, b Group) int { return compareOps(a.Steps[0][0], b.Steps[0][0]) })
	return groups
}

func newGroup(list []planned) Group {
	slices.SortFunc(list, func(a, b planned) int {
		return cmp.Or(cmp.Compare(a.step, b.step), compareOps(a.op, b.op))
	})
	g := Group{ZoneID: list[0].op.Zone.ID}
	last := -1
	for _, o := range list {
		if o.step != last {
			g.Steps = append(g.Steps, nil)
			last = o.step
		}
		g.Steps[len(g.Steps)-1] = append(g.Steps[len(g.Steps)-1], o.op)
	}
	return g
}

func compareOps(a, b Operation) int {
	return cmp.Or(
		cmp.Compare(a.Zone.Name, b.Zone.Name),
		cmp.Compare(a.Record.Name, b.Record.Name),
		cmp.Compare(a.Record.Type, b.Record.Type),
	)
}

// unionFind keeps disjoint sets of names; a name that it has not seen is a set of its own.
type unionFind map[string]string

func (u unionFind) find(name string) string {
	root := name
	for u[root] != "" && u[root] != root {
		root = u[root]
	}
	for name != root {
		name, u[name] = u[name], root
	}
	return root
}

func (u unionFind) join(a, b string) {
	ra, rb := u.find(a), u.find(b)
	if ra != rb {
		u[ra] = rb
	}
}
