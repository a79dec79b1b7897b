package designate

import (
	"cmp"
	"fmt"
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
	Invalid []error // *RecordError: wanted records that can't be written
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

// Rules are what every wanted record is held to, beside those of DNS.
type Rules struct {
	MinTTL int             // seconds; a lower TTL is raised to it, but for 0
	Serves func(Type) bool // which types are written at all; nil: all that this package knows
}

// NewPlan decides what to do about the changes, given the zones and what is known to be in them. It is pure: the same arguments
// give the same plan, in the same order. current returns the recordset of a key; a key that it doesn't know is taken not to exist.
// Changes may be in any form; what can't be written ends in Plan.Invalid. The plan holds at most one operation for each key, and
// nothing that Designate is known to refuse.
func NewPlan(zones Zones, current func(Key) (Recordset, bool), changes Changes, rules Rules) Plan {
	p := planner{zones: zones, current: current, rules: rules, ops: map[Key]planned{}}
	p.removals(changes)
	for _, w := range p.wishes(slices.Concat(changes.Create, changes.UpdateNew)) {
		p.want(w)
	}
	p.plan.Groups = p.groups()
	return p.plan
}

type planner struct {
	zones   Zones
	current func(Key) (Recordset, bool)
	rules   Rules
	ops     map[Key]planned
	plan    Plan
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
	zone, reason, ok := p.place(r)
	if !ok {
		p.skip(r, zone, reason)
		return
	}
	op := Operation{Verb: Delete, Zone: zone, Record: r}
	if set, found := p.current(op.Key()); found {
		op.ID = set.ID
	}
	p.add(op, stepDeleteRecords, stepDeleteMarks)
}

// wish is a wanted record whose zone is found.
type wish struct {
	record Record
	zone   Zone
}

func (w wish) key() Key { return Key{ZoneID: w.zone.ID, Name: w.record.Name, Type: w.record.Type} }

// wishes returns the wanted records that can be written; the others are noted with their reasons. A record whose mark can't be written
// is not either: it would be somebody else's for ever. Nor is a mark of which no record can be: it would mark nothing.
func (p *planner) wishes(list []Record) []wish {
	good := make([]wish, 0, len(list))
	unmarked, bare := map[string]error{}, map[string]bool{} // by name: why its mark can't be written; that none of its records can be
	reject := func(r Record, err error) {
		if r.Owner != "" {
			unmarked[readName(r.Owner)] = fmt.Errorf("%w (%s %s): %w", ErrMark, r.Name, r.Type, err)
		} else if _, known := bare[readName(r.Name)]; !known {
			bare[readName(r.Name)] = true
		}
	}
	types := map[Key]bool{}
	for _, r := range list {
		w, err := p.wish(r)
		if err != nil {
			reject(r, err)
			continue
		}
		good = append(good, w)
		types[w.key()] = true
	}
	good = slices.DeleteFunc(good, func(w wish) bool {
		err := p.shares(w, types)
		if err == nil && w.record.Owner == "" {
			err = unmarked[w.record.Name]
		}
		if err != nil {
			reject(w.record, p.invalid(w.record, err))
		}
		return err != nil
	})
	for _, w := range good {
		if w.record.Owner == "" {
			bare[w.record.Name] = false // one good record of a name outweighs the bad ones
		}
	}
	return slices.DeleteFunc(good, func(w wish) bool { return w.record.Owner != "" && bare[w.record.Owner] })
}

// wish finds what a wanted record is in canonical form, and its zone. Why there is no such thing is noted already.
func (p *planner) wish(r Record) (wish, error) {
	canonical, err := r.Canonical(p.rules.MinTTL)
	if err != nil {
		p.plan.Invalid = append(p.plan.Invalid, err)
		return wish{}, err
	}
	zone, reason, ok := p.place(canonical)
	if !ok {
		p.skip(canonical, zone, reason)
		return wish{}, fmt.Errorf("%w: %s", errLeftAlone, reason)
	}
	if canonical.Type == CNAME && canonical.Name == zone.Name {
		return wish{}, p.invalid(r, errApexCNAME)
	}
	return wish{canonical, zone}, nil
}

// shares says why a record can't have its name beside what will be there then: a CNAME is alone. What is there already stays, and among
// two new ones the CNAME gives way, which is how ExternalDNS decides too.
func (p *planner) shares(w wish, wanted map[Key]bool) error {
	alias := w.key()
	alias.Type = CNAME
	if w.record.Type != CNAME {
		if p.stays(alias) {
			return fmt.Errorf("%w: %s has a CNAME", ErrShared, w.record.Name)
		}
		return nil
	}
	if p.stays(alias) {
		return nil
	}
	for _, t := range Types() {
		other := w.key()
		if other.Type = t; t != CNAME && (wanted[other] || p.stays(other)) {
			return fmt.Errorf("%w: %s has a record of type %s", ErrShared, w.record.Name, t)
		}
	}
	return nil
}

// stays reports whether a recordset is there and is not going to be deleted.
func (p *planner) stays(key Key) bool {
	_, there := p.current(key)
	_, leaves := p.ops[key]
	return there && !leaves
}

func (p *planner) want(w wish) {
	op := Operation{Verb: Create, Zone: w.zone, Record: w.record}
	if set, found := p.current(op.Key()); found {
		if set.Same(w.record) {
			delete(p.ops, op.Key()) // a delete of the same key is taken back
			p.plan.Same++
			return
		}
		op.Verb, op.ID = Update, set.ID
	}
	p.add(op, stepWriteRecords, stepWriteMarks)
}

// place finds the zone of a record that may be written there.
func (p *planner) place(r Record) (zone Zone, reason Reason, ok bool) {
	if p.rules.Serves != nil && !p.rules.Serves(r.Type) {
		return Zone{}, TypeNotServed, false
	}
	zone, reason, ok = p.zones.Match(r.Name)
	if ok && zone.Managed(r.Name, r.Type) {
		reason, ok = ManagedRecord, false
	}
	return zone, reason, ok
}

func (p *planner) skip(r Record, zone Zone, reason Reason) {
	p.plan.Skipped = append(p.plan.Skipped, Skip{Record: r, Zone: zone, Reason: reason})
}

func (p *planner) invalid(r Record, err error) error {
	p.plan.Invalid = append(p.plan.Invalid, &RecordError{Name: r.Name, Type: r.Type, Err: err})
	return err
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
	// What makes room in a zone comes before what needs it: the zone may be full.
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Steps[0][0].Zone.Name, b.Steps[0][0].Zone.Name), cmp.Compare(min(a.growth(), 1), min(b.growth(), 1)), compareOps(a.Steps[0][0], b.Steps[0][0]))
	})
	return groups
}

// growth is how many recordsets more there are after a group.
func (g Group) growth() int {
	n := 0
	for _, step := range g.Steps {
		for _, op := range step {
			switch op.Verb {
			case Create:
				n++
			case Delete:
				n--
			case Update:
			}
		}
	}
	return n
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
