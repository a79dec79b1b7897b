package designate

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Records returns what Stream does, sorted by name and type across all zones.
func (s *Service) Records(ctx context.Context) ([]Record, error) {
	all, err := s.Stream(ctx)
	if err != nil {
		return nil, err
	}
	records := slices.AppendSeq([]Record{}, all)
	slices.SortFunc(records, func(a, b Record) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type)) })
	return records, nil
}

// ZoneOf makes a zone of a kind: "", "secondary", "deleting" or "unchosen".
func ZoneOf(id, name, kind string) Zone {
	return Zone{ID: id, Name: name, primary: kind != "secondary", deleting: kind == "deleting", unchosen: kind == "unchosen"}
}

// Sighting is a look at a zone for Judge: what the cloud showed, how many writes of ours it had confirmed, and whether none was under way.
type Sighting struct {
	Validator

	Writes int
	Quiet  bool
}

// Judge is the decision of the change detector.
func Judge(then, now Sighting) string {
	s := func(s Sighting) sighting {
		return sighting{validator: s.Validator, mark: mark{quiet: s.Quiet, writes: s.Writes}}
	}
	return string(judge(s(then), s(now)))
}

// TestCloud is what an Inventory reads from.
type TestCloud interface {
	Limits(ctx context.Context) (minTTL int, err error)
	Zones(ctx context.Context) ([]Zone, error)
	Recordsets(ctx context.Context, zone Zone) ([]Recordset, error)
	// Recent returns what was created or updated since a time, the number of all recordsets, and whether that is known.
	Recent(ctx context.Context, zone Zone, since time.Time) (list []Recordset, total int, whole bool, err error)
}

type testSource struct{ cloud TestCloud }

func (s testSource) limits(ctx context.Context) (cloudLimits, error) {
	lowest, err := s.cloud.Limits(ctx)
	return cloudLimits{MinTTL: &lowest}, err
}
func (s testSource) zones(ctx context.Context) ([]Zone, error) { return s.cloud.Zones(ctx) }
func (s testSource) recordsets(ctx context.Context, zone Zone) (*sets, error) {
	list, err := s.cloud.Recordsets(ctx, zone)
	return Pack(list...).sets, err
}

func (s testSource) recent(ctx context.Context, zone Zone, since time.Time) (recent, error) {
	list, total, whole, err := s.cloud.Recent(ctx, zone, since)
	return recent{list, total, whole}, err
}

// TouchedAt is the zone when it was last written to at that time.
func (z Zone) TouchedAt(at time.Time) Zone {
	z.touched = at
	return z
}

// Inventory is an inventory of a TestCloud.
type Inventory struct {
	*inventory

	books ledger
}

// NewInventory makes one.
func NewInventory(cloud TestCloud, o Options) *Inventory {
	v := &Inventory{}
	v.inventory = newInventory(testSource{cloud}, &v.books, o.withDefaults())
	return v
}

// Large makes every zone from so many recordsets on a large one, and Designate's clocks the same.
func (v *Inventory) Large(recordsets int) *Inventory {
	v.large, v.slack = recordsets, 0
	return v
}

// Write begins a write of ours; what is returned ends it, confirmed or not.
func (v *Inventory) Write(zoneID string) (end func(confirmed bool)) { return v.books.begin(zoneID) }

// FoldIn takes over writes that have ended: a recordset without targets is a deleted one.
func (v *Inventory) FoldIn(list ...Recordset) {
	var outcomes []outcome
	for _, r := range list {
		o := outcome{Operation: Operation{Zone: Zone{ID: r.ZoneID}, Record: r.Record}}
		if len(r.Targets) > 0 {
			o.Recordset = &r
		}
		outcomes = append(outcomes, o)
	}
	v.Fold(outcomes)
}

// Show reads and returns everything by zone.
func (v *Inventory) Show(ctx context.Context) (map[string][]Recordset, error) {
	snap, err := v.Read(ctx)
	if err != nil {
		return nil, err
	}
	return snap.content(), nil
}

// LowestTTL reads and returns the cloud's lowest TTL.
func (v *Inventory) LowestTTL(ctx context.Context) (int, error) {
	snap, err := v.Read(ctx)
	if err != nil {
		return 0, err
	}
	return snap.minTTL, nil
}

// Shown is what Show last read, with our own writes since.
func (v *Inventory) Shown() map[string][]Recordset {
	if last := v.Last(); last != nil {
		return last.content()
	}
	return nil
}

func (s *snapshot) content() map[string][]Recordset {
	out := map[string][]Recordset{}
	for id, packed := range s.sets {
		out[id] = Packed{packed}.All(id)
	}
	return out
}

// Packed are packed recordsets.
type Packed struct{ sets *sets }

// Pack packs recordsets.
func Pack(list ...Recordset) Packed {
	var p packer
	for _, r := range list {
		p.add(r)
	}
	return Packed{p.sets()}
}

// With returns them after changes: a recordset without targets is a deleted one.
func (p Packed) With(list ...Recordset) Packed {
	changes := map[nameType]*Recordset{}
	for _, r := range list {
		changes[nameType{r.Name, r.Type}] = nil
		if len(r.Targets) > 0 {
			changes[nameType{r.Name, r.Type}] = &r
		}
	}
	return Packed{p.sets.with(changes)}
}

// All returns all.
func (p Packed) All(zoneID string) []Recordset {
	var out []Recordset
	for r := range p.sets.all(zoneID) {
		out = append(out, r)
	}
	return out
}

// Find returns one.
func (p Packed) Find(zoneID, name string, t Type) (Recordset, bool) {
	return p.sets.find(zoneID, name, t)
}

// Whole reports whether a page of a list of so many entries, with these times, has all since 100 s; 0 is an entry without a time.
func Whole(total int, times ...int64) bool {
	var g goesBack
	for _, seconds := range times {
		var at time.Time
		if seconds > 0 {
			at = time.Unix(seconds, 0)
		}
		g.add(at, time.Unix(100, 0))
	}
	return g.whole(page{entries: len(times), total: total})
}
