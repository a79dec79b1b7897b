package designate_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"mooring/pkg/designate"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	sight := func(version int64, status string, writes int) designate.Sighting {
		return designate.Sighting{Validator: designate.Validator{Version: version, Serial: 1, Status: status}, Writes: writes, Quiet: true}
	}
	loud := func(s designate.Sighting) designate.Sighting { s.Quiet = false; return s }
	serial := func(s designate.Sighting) designate.Sighting { s.Serial++; return s }
	for name, test := range map[string]struct {
		then, now designate.Sighting
		want      string
	}{
		"nothing happened":                         {sight(7, "ACTIVE", 0), sight(7, "ACTIVE", 0), ""},
		"nothing yet, while we write":              {sight(7, "ACTIVE", 0), loud(sight(7, "ACTIVE", 0)), ""},
		"others wrote":                             {sight(7, "ACTIVE", 0), sight(8, "PENDING", 0), "changed"},
		"others wrote, and it is published":        {sight(7, "ACTIVE", 0), sight(9, "ACTIVE", 0), "changed"},
		"it was published":                         {sight(7, "PENDING", 0), sight(8, "ACTIVE", 0), ""},
		"it can't be published":                    {sight(7, "PENDING", 0), sight(8, "ERROR", 0), ""},
		"it is mended":                             {sight(7, "ERROR", 0), sight(8, "ACTIVE", 0), ""},
		"others wrote to a pending one":            {sight(7, "PENDING", 0), sight(8, "PENDING", 0), "changed"},
		"reported twice":                           {sight(7, "PENDING", 0), sight(9, "ACTIVE", 0), "changed"},
		"a report that changed nothing":            {sight(7, "ACTIVE", 0), sight(8, "ACTIVE", 0), ""},
		"we wrote":                                 {sight(7, "ACTIVE", 0), sight(9, "PENDING", 2), ""},
		"we wrote, and it is published":            {sight(7, "ACTIVE", 0), sight(10, "ACTIVE", 2), ""},
		"we wrote to a pending one":                {sight(7, "PENDING", 3), sight(9, "ACTIVE", 4), ""},
		"we and others wrote":                      {sight(7, "ACTIVE", 0), sight(9, "PENDING", 1), "changed"},
		"we and others wrote, and it is published": {sight(7, "ACTIVE", 0), sight(10, "ACTIVE", 1), "changed"},
		"we wrote, published one by one":           {sight(7, "ACTIVE", 0), sight(11, "ACTIVE", 2), "changed"},
		"we are writing":                           {sight(7, "ACTIVE", 0), loud(sight(8, "PENDING", 0)), "changed"},
		"it was read while we wrote":               {loud(sight(7, "ACTIVE", 0)), sight(7, "ACTIVE", 0), "unsettled"},
		"it is older than it was":                  {sight(7, "ACTIVE", 0), sight(6, "ACTIVE", 0), "changed"},
		"our write left no trace":                  {sight(7, "ACTIVE", 0), sight(7, "ACTIVE", 1), "changed"},
		"the same version with another serial":     {sight(7, "ACTIVE", 0), serial(sight(7, "ACTIVE", 0)), "changed"},
		"no version":                               {sight(0, "ACTIVE", 0), sight(0, "ACTIVE", 0), "unversioned"},
		"a version, which was not there":           {sight(0, "ACTIVE", 0), sight(1, "ACTIVE", 0), "unversioned"},
	} {
		if got := designate.Judge(test.then, test.now); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// modelZone is a zone of a model of Designate, with everything that it ever contained: a state for each change.
type modelZone struct {
	version int64
	status  string
	states  []map[string]string // from name to target
	clock   int64
	touched map[string]int64 // when a name was written
	at      int64            // when the zone was
}

func (z *modelZone) write(name, target string) {
	next := maps.Clone(z.states[len(z.states)-1])
	if next[name] = target; target == "" {
		delete(next, name)
	}
	z.states = append(z.states, next)
	z.version++
	z.status = "PENDING"
	z.touch()
	z.touched[name] = z.at
}

// touch lets some time pass, or none.
func (z *modelZone) touch() {
	z.clock++
	z.at = z.clock / 3
}

// report is the worker's: of the last serial, or of an older one.
func (z *modelZone) report(last bool) {
	z.version++
	z.touch()
	if last {
		z.status = "ACTIVE"
	}
}

// modelCloud is a cloud to which things happen whenever it is asked.
type modelCloud struct {
	mu     sync.Mutex
	zones  map[string]*modelZone
	random *rand.Rand
	happen func() // called with the lock held, before and after each answer is made
	reads  int
	parts  int // reads of what has changed
}

func (c *modelCloud) Limits(context.Context) (int, error) { return 0, nil }

func (c *modelCloud) Zones(context.Context) ([]designate.Zone, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.happen()
	var out []designate.Zone
	for _, id := range slices.Sorted(maps.Keys(c.zones)) {
		zone := designate.ZoneOf(id, id+".example", "")
		zone.Validator = designate.Validator{Version: c.zones[id].version, Status: c.zones[id].status}
		out = append(out, zone.TouchedAt(time.Unix(c.zones[id].at, 0)))
	}
	c.happen()
	return out, nil
}

func (c *modelCloud) Recent(_ context.Context, zone designate.Zone, since time.Time) (out []designate.Recordset, total int, whole bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts++
	z := c.zones[zone.ID]
	for range 2 { // what was created, what was updated
		c.happen()
		now := z.states[len(z.states)-1]
		for name, target := range now {
			if z.touched[name] >= since.Unix() {
				out = append(out, modelSet(zone.ID, name, target))
			}
		}
		if total != 0 && total != len(now) {
			return nil, 0, false, nil
		}
		total = len(now)
		c.happen()
	}
	return out, total, c.random.IntN(10) > 0, nil
}

func (c *modelCloud) Recordsets(_ context.Context, zone designate.Zone) ([]designate.Recordset, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	c.happen()
	states := c.zones[zone.ID].states
	var out []designate.Recordset
	for name, target := range states[len(states)-1] {
		out = append(out, modelSet(zone.ID, name, target))
	}
	c.happen()
	return out, nil
}

func modelSet(zoneID, name, target string) designate.Recordset {
	r := designate.Recordset{ID: name + target, ZoneID: zoneID, Record: designate.Record{Name: name, Type: designate.A}}
	if target != "" {
		r.Targets = []string{target}
	}
	return r
}

// Over random histories of our own writes, those of others, answers that got lost and the worker's reports, at any moment of a read: each record is
// shown as the cloud had it at a time between the begin and the end of the read. None is older, and nothing is missed. (All of them at the same
// time is more than Designate can tell: it lists a zone page by page.)
func TestReadIsNeverStale(t *testing.T) {
	t.Parallel()
	kept, explained, partial := 0, 0, 0
	for seed := range uint64(800) {
		h := newHistory(seed)
		for range 12 {
			h.cloud.mu.Lock()
			h.cloud.happen()
			before, parts, own := h.cloud.reads, h.cloud.parts, h.confirmed
			from := map[string]int{}
			for id, z := range h.cloud.zones {
				from[id] = len(z.states) - 1
			}
			h.cloud.mu.Unlock()
			shown, err := h.inventory.Show(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h.cloud.mu.Lock()
			for id, z := range h.cloud.zones {
				got := map[string]string{}
				for _, r := range shown[id] {
					got[r.Name] = r.Targets[0]
				}
				for _, name := range []string{"x", "y", "z"} {
					if !slices.ContainsFunc(z.states[from[id]:], func(state map[string]string) bool { return state[name] == got[name] }) {
						t.Fatalf("seed %d: zone %s shows %s=%q of %v; the cloud has had, since the read began, %v\n%s", seed, id, name, got[name], got, z.states[from[id]:], h.log)
					}
				}
			}
			switch {
			case h.cloud.reads > before:
			case h.cloud.parts > parts:
				partial++
			default:
				kept++
				if h.confirmed > own || h.settled {
					explained++
				}
			}
			h.settled = false
			h.cloud.mu.Unlock()
		}
		h.inventory.Close()
	}
	if kept < 500 || explained < 15 || partial < 100 {
		t.Fatalf("%d reads needed no recordsets, %d of them after writes of ours, %d only what had changed: the histories prove little", kept, explained, partial)
	}
}

// history makes things happen.
type history struct {
	cloud     *modelCloud
	inventory *designate.Inventory
	log       string

	busy      int // how much happens
	under     []ownWrite
	ended     []designate.Recordset
	confirmed int
	settled   bool
	serial    int
}

// ownWrite is a write of ours that is under way.
type ownWrite struct {
	zone, name, target string
	acted              bool
	end                func(bool)
}

func newHistory(seed uint64) *history {
	h := &history{}
	h.cloud = &modelCloud{zones: map[string]*modelZone{}, random: rand.New(rand.NewPCG(seed, 1)), happen: h.happen}
	for _, id := range []string{"a", "b"} {
		h.cloud.zones[id] = &modelZone{version: 1, status: "ACTIVE", states: []map[string]string{{"x": "0"}}, touched: map[string]int64{}}
	}
	h.busy = h.cloud.random.IntN(4)
	h.inventory = designate.NewInventory(h.cloud, designate.Options{Deadline: time.Minute, FullRefresh: -1}).Large(h.cloud.random.IntN(2) * 1000)
	return h
}

func (h *history) happen() {
	for range h.busy {
		h.step()
	}
}

func (h *history) step() {
	random := h.cloud.random
	id := []string{"a", "b"}[random.IntN(2)]
	zone := h.cloud.zones[id]
	name := []string{"x", "y", "z"}[random.IntN(3)]
	target := ""
	if h.serial++; random.IntN(4) > 0 {
		target = strconv.Itoa(h.serial)
	}
	event := func(what string) { h.log += fmt.Sprintf("%s %s %s=%s v%d\n", what, id, name, target, zone.version) }
	switch random.IntN(10) {
	case 0:
		if random.IntN(3) == 0 {
			zone.write(name, target)
			event("others")
		}
	case 1, 2:
		if zone.status == "PENDING" || random.IntN(10) == 0 {
			zone.report(random.IntN(4) > 0)
			event("report")
		}
	case 3, 4:
		same := func(w ownWrite) bool { return w.zone == id && w.name == name } // no plan has two
		if len(h.under) < 2 && len(h.ended) == 0 && !slices.ContainsFunc(h.under, same) {
			h.under = append(h.under, ownWrite{zone: id, name: name, target: target, end: h.inventory.Write(id)})
			event("begin")
		}
	default:
		h.proceed()
	}
}

// proceed takes our own writes one step further: Designate acts, we learn it or not, and when all have ended they are folded.
func (h *history) proceed() {
	random := h.cloud.random
	if len(h.under) == 0 {
		if len(h.ended) > 0 || random.IntN(2) == 0 {
			h.inventory.FoldIn(h.ended...)
			h.settled = h.settled || len(h.ended) > 0
			h.ended = nil
			h.log += "fold\n"
		}
		return
	}
	i := random.IntN(len(h.under))
	w := &h.under[i]
	zone := h.cloud.zones[w.zone]
	if !w.acted {
		w.acted = true
		for range []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0}[random.IntN(12)] { // sent twice, or never there
			zone.write(w.name, w.target)
		}
		if random.IntN(2) == 0 {
			return
		}
	}
	states := zone.states
	holds := slices.ContainsFunc(states, func(s map[string]string) bool { return w.target != "" && s[w.name] == w.target })
	confirmed := holds && random.IntN(8) > 0
	h.log += fmt.Sprintf("end %s %s=%s confirmed %v v%d\n", w.zone, w.name, w.target, confirmed, zone.version)
	w.end(confirmed)
	if confirmed {
		h.confirmed++
		h.ended = append(h.ended, modelSet(w.zone, w.name, w.target))
	}
	h.under = slices.Delete(h.under, i, i+1)
}
