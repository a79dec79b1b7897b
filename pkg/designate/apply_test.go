package designate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// fakeWriter takes a while for each write, as Designate does, and fails where it is told to.
type fakeWriter struct {
	delay    time.Duration
	onCreate func(Record) (Recordset, error) // what create answers; nil: it succeeds
	onUpdate func(id string) (Recordset, error)
	onRemove func(id string) error
	onFind   func(Key) (Recordset, bool, error)

	mu        sync.Mutex
	log       []string
	now, peak int
	zoneNow   map[string]int
	zonePeak  int
}

func (f *fakeWriter) begin(ctx context.Context, zoneID, what string) error {
	f.mu.Lock()
	if f.zoneNow == nil {
		f.zoneNow = map[string]int{}
	}
	f.log = append(f.log, what)
	f.now++
	f.zoneNow[zoneID]++
	f.peak, f.zonePeak = max(f.peak, f.now), max(f.zonePeak, f.zoneNow[zoneID])
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now--
		f.zoneNow[zoneID]--
	}()
	return poll.Sleep(ctx, f.delay)
}

func (f *fakeWriter) create(ctx context.Context, zoneID string, r Record) (Recordset, error) {
	if err := f.begin(ctx, zoneID, "create "+r.Name+" "+string(r.Type)); err != nil {
		return Recordset{}, err
	}
	if f.onCreate != nil {
		return f.onCreate(r)
	}
	return Recordset{ID: "new", ZoneID: zoneID, Record: r}, nil
}

func (f *fakeWriter) update(ctx context.Context, zoneID, id string, r Record) (Recordset, error) {
	if err := f.begin(ctx, zoneID, "update "+id); err != nil {
		return Recordset{}, err
	}
	if f.onUpdate != nil {
		return f.onUpdate(id)
	}
	return Recordset{ID: id, ZoneID: zoneID, Record: r}, nil
}

func (f *fakeWriter) remove(ctx context.Context, zoneID, id string) (string, error) {
	if err := f.begin(ctx, zoneID, "delete "+id); err != nil {
		return "", err
	}
	if f.onRemove != nil {
		return "", f.onRemove(id)
	}
	return "req-delete", nil
}

func (f *fakeWriter) find(ctx context.Context, key Key) (Recordset, bool, error) {
	if err := f.begin(ctx, key.ZoneID, "find "+key.Name+" "+string(key.Type)); err != nil {
		return Recordset{}, false, err
	}
	if f.onFind != nil {
		return f.onFind(key)
	}
	return Recordset{}, false, nil
}

func (f *fakeWriter) replace(_ context.Context, there Recordset, _ Record) (Recordset, error) {
	return Recordset{}, taken(there)
}

func answerOf(class error, status int) error {
	return &openstack.Error{Class: class, Status: status, Operation: "POST /v2"}
}

func oneOp(verb Verb, id string) Plan {
	op := Operation{Verb: verb, ID: id, Zone: Zone{ID: "z1", Name: "example.org"}, Record: Record{Name: "www.example.org", Type: A, Targets: []string{"192.0.2.1"}}}
	return Plan{Groups: []Group{{ZoneID: "z1", Steps: [][]Operation{{op}}}}}
}

func limits() bounds {
	return bounds{PerZone: 4, Budget: 12 * time.Second, Grace: 2 * time.Second}
}

// What one operation does about each answer of Designate.
func TestPerformIsIdempotent(t *testing.T) {
	t.Parallel()
	same := Recordset{ID: "there", ZoneID: "z1", Record: Record{Name: "www.example.org", Type: A, Targets: []string{"192.0.2.1"}}}
	other := Recordset{ID: "there", ZoneID: "z1", Record: Record{Name: "www.example.org", Type: A, Targets: []string{"192.0.2.9"}}}
	found := func(set Recordset) func(Key) (Recordset, bool, error) {
		return func(Key) (Recordset, bool, error) { return set, true, nil }
	}
	createFails := func(class error, status int) func(Record) (Recordset, error) {
		return func(Record) (Recordset, error) { return Recordset{}, answerOf(class, status) }
	}
	failsOnce := func(class error, status int) func(Record) (Recordset, error) {
		n := 0
		return func(r Record) (Recordset, error) {
			if n++; n == 1 {
				return Recordset{}, answerOf(class, status)
			}
			return Recordset{Record: r}, nil
		}
	}
	cases := []struct {
		name   string
		plan   Plan
		writer *fakeWriter
		log    string
		err    error
	}{
		{name: "create", plan: oneOp(Create, ""), writer: &fakeWriter{}, log: "[create www.example.org A]"},
		{
			name: "create: there already, the same", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: createFails(openstack.ErrConflict, 409), onFind: found(same)},
			log: "[create www.example.org A find www.example.org A]",
		},
		{
			name: "create: there already, different", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: createFails(openstack.ErrConflict, 409), onFind: found(other)},
			log: "[create www.example.org A find www.example.org A]", err: ErrTaken,
		},
		{
			name: "create: a conflict with nothing to be found", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: createFails(openstack.ErrConflict, 409)},
			log: "[create www.example.org A find www.example.org A]", err: openstack.ErrConflict,
		},
		{
			name: "create: the answer got lost, it was done", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: createFails(openstack.ErrUnavailable, 0), onFind: found(same)},
			log: "[create www.example.org A find www.example.org A]",
		},
		{
			name: "create: the answer got lost, it was not done", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: failsOnce(openstack.ErrUnavailable, 0)},
			log: "[create www.example.org A find www.example.org A create www.example.org A]",
		},
		{
			name: "create: the cloud is too busy", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: failsOnce(openstack.ErrUnavailable, 503)},
			log: "[create www.example.org A create www.example.org A]",
		},
		{
			name: "create: an error of the cloud's own, again and again", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: createFails(openstack.ErrUnavailable, 504)},
			log: "[" + strings.Repeat("create www.example.org A ", 4) + "create www.example.org A]", err: openstack.ErrUnavailable,
		},
		{
			name: "create: over quota", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: createFails(openstack.ErrQuota, 413)},
			log: "[create www.example.org A]", err: openstack.ErrQuota,
		},
		{
			name: "create: refused", plan: oneOp(Create, ""), writer: &fakeWriter{onCreate: createFails(openstack.ErrInvalid, 400)},
			log: "[create www.example.org A]", err: openstack.ErrInvalid,
		},
		{name: "update", plan: oneOp(Update, "u1"), writer: &fakeWriter{}, log: "[update u1]"},
		{
			name: "update: gone", plan: oneOp(Update, "u1"), writer: &fakeWriter{onUpdate: func(string) (Recordset, error) { return Recordset{}, answerOf(openstack.ErrNotFound, 404) }},
			log: "[update u1 create www.example.org A]",
		},
		{name: "delete", plan: oneOp(Delete, "d1"), writer: &fakeWriter{}, log: "[delete d1]"},
		{
			name: "delete: gone", plan: oneOp(Delete, "d1"), writer: &fakeWriter{onRemove: func(string) error { return answerOf(openstack.ErrNotFound, 404) }}, log: "[delete d1]",
		},
		{name: "delete of something unknown: it is not there", plan: oneOp(Delete, ""), writer: &fakeWriter{}, log: "[find www.example.org A]"},
		{
			name: "delete of something unknown: it is there", plan: oneOp(Delete, ""), writer: &fakeWriter{onFind: found(same)}, log: "[find www.example.org A delete there]",
		},
		{
			name: "delete of something unknown: somebody has made another", plan: oneOp(Delete, ""), writer: &fakeWriter{onFind: found(other)}, log: "[find www.example.org A]", err: ErrTaken,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out []outcome
			synctest.Test(t, func(t *testing.T) { out = execute(t.Context(), c.writer, c.plan, limits(), newPace(8)) })
			if len(out) != 1 || !errors.Is(out[0].Err, c.err) || (c.err == nil) != (out[0].Err == nil) {
				t.Fatalf("%+v, want one outcome with error %v", out, c.err)
			}
			if log := fmt.Sprint(c.writer.log); log != c.log {
				t.Errorf("calls %s, want %s", log, c.log)
			}
			if c.err == nil && c.plan.Groups[0].Steps[0][0].Verb != Delete && out[0].Recordset == nil {
				t.Error("no recordset in the outcome")
			}
		})
	}
}

// A CNAME that is there already is a 400, not a 409.
func TestCreateOfAnExistingCNAME(t *testing.T) {
	t.Parallel()
	plan := oneOp(Create, "")
	op := &plan.Groups[0].Steps[0][0]
	op.Record = Record{Name: "www.example.org", Type: CNAME, Targets: []string{"lb.example.net"}}
	w := &fakeWriter{
		onCreate: func(Record) (Recordset, error) { return Recordset{}, answerOf(openstack.ErrInvalid, 400) },
		onFind: func(k Key) (Recordset, bool, error) {
			return Recordset{ID: "there", ZoneID: k.ZoneID, Record: op.Record}, true, nil
		},
	}
	if out := execute(t.Context(), w, plan, limits(), newPace(8)); out[0].Err != nil || out[0].Recordset.ID != "there" {
		t.Errorf("%+v, want the recordset that is there", out)
	}
}

func manyGroups(zones, perZone int) Plan {
	var p Plan
	for z := range zones {
		for i := range perZone {
			id := fmt.Sprintf("z%d", z)
			op := Operation{Verb: Create, Zone: Zone{ID: id, Name: id + ".org"}, Record: Record{Name: fmt.Sprintf("h%d.%s.org", i, id), Type: A, Targets: []string{"192.0.2.1"}}}
			p.Groups = append(p.Groups, Group{ZoneID: id, Steps: [][]Operation{{op}}})
		}
	}
	return p
}

func TestExecuteIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zones, perZone, peak int }{{1, 50, 4}, {2, 50, 8}, {10, 10, 8}, {3, 1, 3}} {
		t.Run(fmt.Sprintf("%d zones of %d", c.zones, c.perZone), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &fakeWriter{delay: 80 * time.Millisecond}
				begin := time.Now()
				out := execute(t.Context(), w, manyGroups(c.zones, c.perZone), limits(), newPace(8))
				if len(out) != c.zones*c.perZone || w.peak != c.peak || w.zonePeak > 4 {
					t.Errorf("%d outcomes, at most %d at once and %d in one zone; want %d, %d, 4", len(out), w.peak, w.zonePeak, c.zones*c.perZone, c.peak)
				}
				if took, most := time.Since(begin), time.Duration((c.zones*c.perZone+c.peak-1)/c.peak+1)*w.delay; took > most {
					t.Errorf("it took %v, at most %v are needed", took, most)
				}
			})
		})
	}
}

// 200 creates of 80 ms each in one zone fit into the budget.
func TestTwoHundredCreatesFitTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		for _, o := range execute(t.Context(), &fakeWriter{delay: 80 * time.Millisecond}, manyGroups(1, 200), limits(), newPace(8)) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestExecuteStopsAtTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWriter{delay: time.Second}
		begin := time.Now()
		l := limits()
		l.Budget = 11500 * time.Millisecond
		out := execute(t.Context(), w, manyGroups(1, 100), l, newPace(8))
		took := time.Since(begin)
		done, left := 0, 0
		for _, o := range out {
			switch {
			case o.Err == nil:
				done++
			case errors.Is(o.Err, ErrBudget):
				left++
			}
		}
		if done != 48 || left != 52 || took != 12*time.Second {
			t.Errorf("%d done and %d left after %v, want 48 and 52 after 12s", done, left, took)
		}
	})
}

// When the time is over, no mark stays behind whose record has gone: ExternalDNS would never ask for its end again.
func TestExecuteDeletesTheMarksOfWhatHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plan := manyGroups(3, 40)
		for i := range plan.Groups {
			g := &plan.Groups[i]
			record := g.Steps[0][0]
			record.Verb, record.ID = Delete, fmt.Sprint("record-", i)
			mark := record
			mark.ID, mark.Record.Type, mark.Record.Owner = fmt.Sprint("mark-", i), TXT, record.Record.Name
			g.Steps = [][]Operation{{record}, {mark}}
		}
		w := &fakeWriter{delay: 300 * time.Millisecond}
		l := limits()
		l.Budget = time.Second // in the middle of records, and of marks
		begin := time.Now()
		out := execute(t.Context(), w, plan, l, newPace(8))
		gone := map[string]int{}
		for _, o := range out {
			if o.Err == nil {
				gone[o.Operation.Record.Name]++
			} else if !errors.Is(o.Err, ErrBudget) {
				t.Error(o.Err)
			}
		}
		for name, n := range gone {
			if n != 2 {
				t.Errorf("%s: its record has gone, and its mark has not", name)
			}
		}
		if took := time.Since(begin); len(gone) == 0 || len(gone) == len(plan.Groups) || took > l.Budget+2*w.delay {
			t.Errorf("%d of %d names gone after %v", len(gone), len(plan.Groups), took)
		}
	})
}

func TestExecuteGivesUpHangingWritesAfterTheGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		out := execute(t.Context(), &fakeWriter{delay: time.Hour}, manyGroups(1, 10), limits(), newPace(8))
		if took := time.Since(begin); took != 14*time.Second || len(out) != 10 {
			t.Errorf("%d outcomes after %v, want 10 after 14 s", len(out), took)
		}
		for _, o := range out {
			if !errors.Is(o.Err, ErrBudget) {
				t.Errorf("%+v; want that the time ran out", o)
			}
		}
	})
}

func TestExecuteStopsWhenTheClientHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		w := &fakeWriter{delay: time.Second}
		execute(ctx, w, manyGroups(1, 100), limits(), newPace(8))
		if len(w.log) != 12 {
			t.Errorf("%d writes were begun, want the 12 of 2.5 s", len(w.log))
		}
	})
}

// An error stops what depends on it and nothing else.
func TestExecuteGoesOnAfterAnError(t *testing.T) {
	t.Parallel()
	plan := manyGroups(1, 200)
	poison := &plan.Groups[17]
	mark := poison.Steps[0][0]
	mark.Record.Type = TXT
	poison.Steps = [][]Operation{{mark}, poison.Steps[0]}
	w := &fakeWriter{onCreate: func(r Record) (Recordset, error) {
		if r.Type == TXT {
			return Recordset{}, answerOf(openstack.ErrInvalid, 400)
		}
		return Recordset{Record: r}, nil
	}}
	counts := map[string]int{}
	for _, o := range execute(t.Context(), w, plan, limits(), newPace(8)) {
		switch {
		case o.Err == nil:
			counts["done"]++
		case errors.Is(o.Err, ErrBlocked):
			counts["blocked"]++
		case errors.Is(o.Err, openstack.ErrInvalid):
			counts["failed"]++
		}
	}
	if counts["done"] != 199 || counts["blocked"] != 1 || counts["failed"] != 1 {
		t.Errorf("%v, want 199 done, 1 failed, 1 blocked", counts)
	}
}
