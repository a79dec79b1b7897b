package designate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// fakeZones are what a tracker watches.
type fakeZones struct {
	mu     sync.Mutex
	status map[string]string // by zone id
	sets   []Recordset       // in ERROR or PENDING
	err    error
	lists  int
	looks  int
}

func (f *fakeZones) zones(context.Context) ([]Zone, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	var zones []Zone
	for id, status := range f.status {
		zones = append(zones, Zone{ID: id, Name: id + ".org", Validator: Validator{Status: status}, primary: true})
	}
	return zones, f.err
}

func (f *fakeZones) having(_ context.Context, zoneID, status string) ([]Recordset, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	var sets []Recordset
	for _, s := range f.sets {
		if s.ZoneID == zoneID && s.Status == status {
			sets = append(sets, s)
		}
	}
	return sets, nil
}

func (f *fakeZones) set(id, status string, sets ...Recordset) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status[id], f.sets, f.err = status, sets, nil
}

// lockedText is a log that can be read while it is written.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// calls are how often the zones were listed, and how often recordsets were looked for.
func (f *fakeZones) calls() (lists, looks int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists, f.looks
}

// left is how much a tracker follows.
func (t *tracker) left() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size
}

// watching is a test with a tracker at work.
type watching struct {
	t       *testing.T
	zones   *fakeZones
	tracker *tracker
	log     *lockedText
}

// tracked runs a test with a tracker at work.
func tracked(t *testing.T, test func(w watching)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeZones{status: map[string]string{"z0": "PENDING", "z1": "PENDING"}}
		log := &lockedText{}
		tr := newTracker(f, slog.New(slog.NewTextHandler(log, nil)), nil)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { tr.run(ctx) })
		synctest.Wait()
		test(watching{t, f, tr, log})
		stop()
		running.Wait()
		if tr.add(written(1, 1), time.Now()); tr.left() != 0 {
			t.Error("it goes on after its end")
		}
	})
}

// written are outcomes of creates in zones z0, z1 and so on.
func written(zones, perZone int) []outcome {
	var out []outcome
	for i, g := range manyGroups(zones, perZone).Groups {
		out = append(out, outcome{Operation: g.Steps[0][0], RequestID: fmt.Sprintf("req-%d", i)})
	}
	return out
}

// rest lets the tracker work for a while.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// observed is how many propagations were measured.
func observed(t *testing.T, tr *tracker) uint64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(tr.metrics.propagation)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatal(families, err)
	}
	return families[0].GetMetric()[0].GetHistogram().GetSampleCount()
}

func TestTrackerFollowsUntilActive(t *testing.T) {
	t.Parallel()
	tracked(t, func(w watching) {
		t, f, tr, _ := w.t, w.zones, w.tracker, w.log
		rest(time.Hour)
		if lists, _ := f.calls(); lists != 0 {
			t.Fatalf("%d calls with nothing to follow", lists)
		}
		tr.add(written(2, 3), time.Now())
		tr.add(written(1, 1), time.Now()) // once more the same recordset
		if pending := testutil.ToFloat64(tr.metrics.pending); pending != 6 {
			t.Errorf("%v pending", pending)
		}
		rest(7 * time.Second)
		f.set("z0", "ACTIVE")
		rest(10 * time.Second)
		if pending := testutil.ToFloat64(tr.metrics.pending); pending != 3 {
			t.Errorf("%v pending when one zone is ACTIVE", pending)
		}
		f.set("z1", "ACTIVE")
		rest(time.Minute)
		if pending, n := testutil.ToFloat64(tr.metrics.pending), observed(t, tr); pending != 0 || n != 6 {
			t.Errorf("%v pending and %d observed in the end, want 0 and 6", pending, n)
		}
		calls, _ := f.calls()
		rest(time.Hour)
		if lists, looks := f.calls(); lists != calls || calls > 12 || looks != 0 {
			t.Errorf("%d calls, and %d after the end, %d looks for recordsets", calls, lists-calls, looks)
		}
	})
}

// What ends in ERROR is named once, with the request id; it is followed on, since Designate tries again.
func TestTrackerTellsOfErrors(t *testing.T) {
	t.Parallel()
	tracked(t, func(w watching) {
		t, f, tr, log := w.t, w.zones, w.tracker, w.log
		tr.add(written(1, 3), time.Now())
		broken := Recordset{ZoneID: "z0", Status: "ERROR", Record: Record{Name: "h1.z0.org", Type: A}}
		foreign := Recordset{ZoneID: "z0", Status: "ERROR", Record: Record{Name: "foreign.z0.org", Type: A}}
		f.set("z0", "ERROR", broken, foreign)
		rest(5 * time.Minute)
		if failed := testutil.ToFloat64(tr.metrics.failed); failed != 1 {
			t.Errorf("%v in ERROR", failed)
		}
		if n := strings.Count(log.String(), "status=ERROR"); n != 1 || !strings.Contains(log.String(), "h1.z0.org A (create, req-1)") || strings.Contains(log.String(), "foreign") {
			t.Errorf("%d times:\n%s", n, log.String())
		}
		f.set("z0", "ACTIVE")
		rest(time.Minute)
		if failed, n := testutil.ToFloat64(tr.metrics.failed), observed(t, tr); failed != 0 || n != 3 {
			t.Errorf("%v in ERROR, %d observed after it has recovered", failed, n)
		}
	})
}

// What stays PENDING is named once, and forgotten in the end.
func TestTrackerTellsOfSlowness(t *testing.T) {
	t.Parallel()
	tracked(t, func(w watching) {
		t, f, tr, log := w.t, w.zones, w.tracker, w.log
		tr.add(written(1, 1), time.Now())
		f.set("z0", "PENDING", Recordset{ZoneID: "z0", Status: "PENDING", Record: Record{Name: "h0.z0.org", Type: A}})
		rest(4 * time.Minute)
		if log.String() != "" {
			t.Errorf("too early:\n%s", log.String())
		}
		rest(30 * time.Minute)
		_, looks := f.calls()
		if n := strings.Count(log.String(), "status=PENDING"); n != 1 || !strings.Contains(log.String(), "h0.z0.org A (create, req-0)") || looks != 1 {
			t.Errorf("%d times, %d looks:\n%s", n, looks, log.String())
		}
		rest(time.Hour)
		if pending, lost := testutil.ToFloat64(tr.metrics.pending), testutil.ToFloat64(tr.metrics.unfollowed); pending != 0 || lost != 1 {
			t.Errorf("%v pending, %v given up; want 0 and 1", pending, lost)
		}
		calls, _ := f.calls()
		rest(time.Hour)
		if lists, _ := f.calls(); lists != calls || calls > 180 {
			t.Errorf("%d calls, and %d after it was given up", calls, lists-calls)
		}
	})
}

func TestTrackerIsBounded(t *testing.T) {
	t.Parallel()
	tracked(t, func(w watching) {
		t, f, tr, _ := w.t, w.zones, w.tracker, w.log
		tr.add(written(2, 12000), time.Now())
		if tr.left() != maxPending || testutil.ToFloat64(tr.metrics.unfollowed) != 4000 {
			t.Errorf("%d followed", tr.left())
		}
		f.set("z0", "ACTIVE")
		f.set("z1", "ACTIVE")
		rest(time.Minute)
		if tr.left() != 0 {
			t.Errorf("%d followed", tr.left())
		}
	})
}

// A cloud that does not answer, and zones that go away.
func TestTrackerOutlivesTrouble(t *testing.T) {
	t.Parallel()
	tracked(t, func(w watching) {
		t, f, tr, log := w.t, w.zones, w.tracker, w.log
		f.mu.Lock()
		f.err = errors.New("Keystone is away")
		f.mu.Unlock()
		tr.add(written(2, 2), time.Now())
		failed := outcome{Operation: written(1, 1)[0].Operation, Err: ErrBlocked}
		tr.add([]outcome{failed, {Operation: failed.Operation}}, time.Now()) // not written
		rest(10 * time.Minute)
		if lists, _ := f.calls(); tr.left() != 4 || lists > 30 {
			t.Errorf("%d followed, %d calls in ten minutes", tr.left(), lists)
		}
		f.set("z1", "ACTIVE")
		f.mu.Lock()
		delete(f.status, "z0")
		f.mu.Unlock()
		rest(time.Minute)
		if tr.left() != 0 || observed(t, tr) != 2 || log.String() != "" {
			t.Errorf("%d followed, %d observed\n%s", tr.left(), observed(t, tr), log.String())
		}
	})
}
