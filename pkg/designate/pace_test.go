package designate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

func refusal(status int, after time.Duration) error {
	class := openstack.ErrUnavailable
	if status == 429 {
		class = openstack.ErrThrottled
	}
	return fmt.Errorf("create: %w", &openstack.Error{Class: class, Status: status, RetryAfter: after})
}

func TestPace(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	p := newPace(8)
	for i, step := range []struct {
		begun, now    float64
		err           error
		width         int
		least, atMost float64 // pause in seconds
		what          string
	}{
		{0, 0.1, nil, 8, -1e12, 0, "all is well"},
		{0, 1, refusal(429, 0), 1, 0.16, 0.2, "after a refusal one asks"},
		{0.5, 1.1, refusal(429, 0), 1, 0.05, 0.2, "another one that was at work then says nothing new"},
		{1.3, 1.4, refusal(503, 0), 1, 0.32, 0.4, "the pauses grow"},
		{1.8, 1.9, refusal(504, 3*time.Second), 1, 3, 3, "the cloud says how long"},
		{5, 5.1, refusal(0, 0), 1, 1.2, 1.6, "no answer is a refusal too"},
		{7, 7.1, fmt.Errorf("x: %w", answerOf(openstack.ErrInvalid, 400)), 4, -1e12, 0, "any other answer says that the cloud has time: for half as many"},
		{7.1, 7.2, nil, 4, -1e12, 0, "two good answers of four"},
		{7.1, 7.2, nil, 4, -1e12, 0, "three of four"},
		{7.2, 7.3, nil, 5, -1e12, 0, "four of four allow one more"},
		{8, 8.1, refusal(429, 100*time.Hour), 1, 300, 300, "a pause is bounded"},
		{8.2, 8.3, answerOf(openstack.ErrUnavailable, 500), 2, 299, 300, "an error of the cloud's own is about one record"},
	} {
		p.took(at(step.begun), at(step.now), step.err)
		pause := p.pause(at(step.now)).Seconds()
		if p.allowed() != step.width || pause > step.atMost+1e-9 || pause < step.least-1e-9 {
			t.Errorf("%d: %s: %d at once and a pause of %v s, want %d and %v to %v s", i, step.what, p.allowed(), pause, step.width, step.least, step.atMost)
		}
	}
}

// stormy refuses all writes until a time.
func stormy(until time.Time, status int, after time.Duration) *fakeWriter {
	return &fakeWriter{delay: 20 * time.Millisecond, onCreate: func(r Record) (Recordset, error) {
		if time.Now().Before(until) {
			return Recordset{}, refusal(status, after)
		}
		return Recordset{Record: r}, nil
	}}
}

func count(outcomes []outcome) (done, late, failed int) {
	for _, o := range outcomes {
		switch {
		case o.Err == nil:
			done++
		case errors.Is(o.Err, ErrBudget):
			late++
		default:
			failed++
		}
	}
	return done, late, failed
}

// While a cloud refuses, it gets a few calls and not one of each worker again and again; afterwards everything is done.
func TestStormsAreWeathered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		after  time.Duration
		most   int // calls during the storm of 3 s
	}{
		"429":                  {429, 0, 4 + 6},
		"429 with Retry-After": {429, time.Second, 4 + 3},
		"503":                  {503, 0, 4 + 6},
		"504 with Retry-After": {504, 3 * time.Second, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				end := time.Now().Add(3 * time.Second)
				w := stormy(end, c.status, c.after)
				during := 0
				storm := w.onCreate
				w.onCreate = func(r Record) (Recordset, error) {
					w.mu.Lock()
					if time.Now().Before(end) {
						during++
					}
					w.mu.Unlock()
					return storm(r)
				}
				out := execute(t.Context(), w, manyGroups(1, 200), limits(), newPace(8))
				if done, late, failed := count(out); done != 200 || late+failed != 0 {
					t.Errorf("%d done, %d late, %d failed", done, late, failed)
				}
				if during > c.most {
					t.Errorf("%d calls during the storm, want at most %d", during, c.most)
				}
			})
		})
	}
}

// A pause that is longer than the budget is not waited for, and is kept by the next sync too.
func TestALongPauseEndsTheApply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		w := stormy(begin.Add(time.Minute), 503, 30*time.Second)
		p := newPace(8)
		out := execute(t.Context(), w, manyGroups(1, 50), limits(), p)
		if done, late, _ := count(out); done != 0 || late < 46 || time.Since(begin) > time.Second {
			t.Errorf("%d done and %d late after %v; want all late at once", done, late, time.Since(begin))
		}
		if err := out[len(out)-1].Err; !strings.Contains(err.Error(), "a pause of 30s") {
			t.Errorf("%v does not tell why", err)
		}
		calls := len(w.log)
		if _, late, _ := count(execute(t.Context(), w, manyGroups(1, 50), limits(), p)); late != 50 || len(w.log) != calls {
			t.Errorf("the next sync: %d late, %d calls; want none", late, len(w.log)-calls)
		}
		time.Sleep(time.Minute)
		if done, _, _ := count(execute(t.Context(), w, manyGroups(1, 50), limits(), p)); done != 50 {
			t.Errorf("after the pause %d are done", done)
		}
	})
}

// Whatever one record makes the cloud answer, the others are written.
func TestPoisonDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, 400, 409, 413, 429, 500, 502, 503, 504} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				classes := map[int]error{400: openstack.ErrInvalid, 409: openstack.ErrConflict, 413: openstack.ErrQuota, 429: openstack.ErrThrottled}
				class := classes[status]
				if class == nil {
					class = openstack.ErrUnavailable
				}
				w := &fakeWriter{delay: 80 * time.Millisecond, onCreate: func(r Record) (Recordset, error) {
					if strings.HasPrefix(r.Name, "h17.") {
						return Recordset{}, answerOf(class, status)
					}
					return Recordset{Record: r}, nil
				}}
				if done, late, failed := count(execute(t.Context(), w, manyGroups(1, 200), limits(), newPace(8))); done != 199 || late != 0 || failed != 1 {
					t.Errorf("%d done, %d late, %d failed; want 199, 0, 1", done, late, failed)
				}
			})
		})
	}
}

// When the client gives up, nothing is begun any more, but what was begun is not torn off: execute waits for it.
func TestBegunWritesEndInTheirOwnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		w := &fakeWriter{delay: time.Second}
		begin := time.Now()
		out := execute(ctx, w, manyGroups(1, 100), limits(), newPace(8))
		if done, late, failed := count(out); done != 12 || late != 88 || failed != 0 || time.Since(begin) != 3*time.Second || w.now != 0 {
			t.Errorf("%d done, %d late and %d failed after %v, %d at work; want 12, 88, 0 after 3s, 0", done, late, failed, time.Since(begin), w.now)
		}
	})
}

// A full zone takes no more creates, but deletes and updates go on, and make room.
func TestAFullZone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plan := manyGroups(2, 50)
		change := plan.Groups[40].Steps[0][0]
		change.Verb, change.ID = Update, "u40"
		plan.Groups[40].Steps[0][0] = change
		full := fmt.Errorf("x: %w", &openstack.Error{Class: openstack.ErrQuota, Status: 413, Message: "Quota exceeded for zone_recordsets."})
		var mu sync.Mutex
		creates := 0
		w := &fakeWriter{delay: time.Millisecond, onCreate: func(r Record) (Recordset, error) {
			if strings.HasSuffix(r.Name, ".z1.org") {
				return Recordset{Record: r}, nil
			}
			mu.Lock()
			defer mu.Unlock()
			creates++
			return Recordset{}, full
		}}
		done, blocked, over := 0, 0, 0
		for _, o := range execute(t.Context(), w, plan, limits(), newPace(8)) {
			switch {
			case o.Err == nil:
				done++
			case errors.Is(o.Err, ErrBlocked):
				blocked++
			case errors.Is(o.Err, openstack.ErrQuota):
				over++
			}
		}
		if done != 51 || creates > 4 || over != creates || blocked != 49-creates {
			t.Errorf("%d done, %d of %d creates refused, %d not tried; want the other zone's 50 and the update done, and at most 4 tries", done, over, creates, blocked)
		}
	})
}

// witness checks what must hold of every execution, whatever goes wrong.
type witness struct {
	t      *testing.T
	random *rand.Rand

	mu      sync.Mutex
	now     map[string]int // at work, by zone
	current state
}

type state map[Key]Recordset

func (w *witness) write(ctx context.Context, key Key, do func()) error {
	w.mu.Lock()
	w.now[key.ZoneID]++
	if w.now[key.ZoneID] > 4 {
		w.t.Errorf("%d writes at once in one zone", w.now[key.ZoneID])
	}
	delay, fate := time.Duration(w.random.IntN(300))*time.Millisecond, w.random.IntN(20)
	w.mu.Unlock()
	err := poll.Sleep(ctx, delay)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now[key.ZoneID]--
	switch {
	case err != nil:
		return &openstack.Error{Class: openstack.ErrUnavailable, Message: err.Error()}
	case fate == 0:
		return refusal(429, time.Duration(w.random.IntN(2))*time.Second)
	case fate == 1:
		return refusal(503, 0)
	case fate == 2:
		return answerOf(openstack.ErrInvalid, 400)
	case fate == 3: // the answer gets lost
		do()
		return refusal(0, 0)
	case fate == 4:
		return refusal(0, 0)
	}
	do()
	return nil
}

func (w *witness) create(ctx context.Context, zoneID string, r Record) (set Recordset, err error) {
	key := Key{zoneID, r.Name, r.Type}
	conflict := false
	err = w.write(ctx, key, func() {
		if _, conflict = w.current[key]; conflict {
			return
		}
		set = Recordset{ID: "id-" + r.Name + string(r.Type), ZoneID: zoneID, Record: r}
		w.current[key] = set
	})
	if err == nil && conflict {
		err = answerOf(openstack.ErrConflict, 409)
	}
	return set, err
}

func (w *witness) update(ctx context.Context, zoneID, id string, r Record) (set Recordset, err error) {
	key := Key{zoneID, r.Name, r.Type}
	missing := false
	err = w.write(ctx, key, func() {
		if _, there := w.current[key]; !there {
			missing = true
			return
		}
		set = Recordset{ID: id, ZoneID: zoneID, Record: r}
		w.current[key] = set
	})
	if err == nil && missing {
		err = answerOf(openstack.ErrNotFound, 404)
	}
	return set, err
}

func (w *witness) remove(ctx context.Context, zoneID, id string) (string, error) {
	err := w.write(ctx, Key{ZoneID: zoneID}, func() {
		for key, set := range w.current {
			if key.ZoneID == zoneID && set.ID == id {
				delete(w.current, key)
			}
		}
	})
	return "req-1", err
}

func (w *witness) replace(_ context.Context, there Recordset, _ Record) (Recordset, error) {
	return Recordset{}, taken(there)
}

func (w *witness) find(_ context.Context, key Key) (Recordset, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set, ok := w.current[key]
	return set, ok, nil
}

// Whatever goes wrong: each operation has one outcome, what is said to be done is done, no record is there whose mark is not, and a few
// syncs bring what is wanted.
func TestRandomTrouble(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			w := &witness{t: t, random: random, now: map[string]int{}, current: state{}}
			for i := range 50 { // what is to go, and what is to change
				zone, name := []string{"z1", "z2"}[i%2], fmt.Sprintf("h%d.%s.org", i, string("ab"[i%2]))
				if i%5 == 0 || i%7 == 0 {
					for _, r := range []Record{{Name: name, Type: A, Targets: []string{"192.0.2.200"}}, {Name: "x." + name, Type: TXT, Targets: []string{"me"}}} {
						w.current[Key{zone, r.Name, r.Type}] = Recordset{ID: "id-" + r.Name + string(r.Type), ZoneID: zone, Record: r}
					}
				}
			}
			zones := NewZones([]Zone{ZoneOf("z1", "a.org", ""), ZoneOf("z2", "b.org", "")})
			p := newPace(1 + random.IntN(8))
			for sync, quiet := 0, 0; quiet < 2; sync++ {
				if sync > 100 {
					t.Fatalf("seed %d: no end", seed)
				}
				plan := NewPlan(zones, w.lookup, w.wishes(), Rules{})
				if plan.Operations() == 0 {
					quiet++
				}
				out := execute(t.Context(), w, plan, limits(), p)
				if len(out) != plan.Operations() {
					t.Fatalf("seed %d: %d outcomes of %d operations", seed, len(out), plan.Operations())
				}
				w.check(seed, out)
			}
		})
	}
}

func (w *witness) lookup(key Key) (Recordset, bool) {
	set, ok := w.current[key]
	return set, ok
}

// wishes are fifty names in two zones, some to be there and some not, with their marks.
func (w *witness) wishes() Changes {
	var c Changes
	for i := range 50 {
		name := fmt.Sprintf("h%d.%s.org", i, string("ab"[i%2]))
		list := []Record{{Name: name, Type: A, Targets: []string{fmt.Sprintf("192.0.2.%d", i)}}, {Name: "x." + name, Type: TXT, Targets: []string{"me"}, Owner: name}}
		if i%5 == 0 {
			c.Delete = append(c.Delete, list...)
			continue
		}
		c.Create = append(c.Create, list...)
	}
	c.Delete = slices.DeleteFunc(c.Delete, func(r Record) bool {
		_, there := w.lookup(Key{map[byte]string{'a': "z1", 'b': "z2"}[r.Name[len(r.Name)-5]], r.Name, r.Type})
		return !there
	})
	return c
}

func (w *witness) check(seed uint64, out []outcome) {
	w.t.Helper()
	for _, o := range out {
		_, there := w.current[o.Operation.Key()]
		if o.Err == nil && there == (o.Operation.Verb == Delete) {
			w.t.Fatalf("seed %d: %s %s is said to be done", seed, o.Operation.Verb, o.Operation.Record.Name)
		}
	}
	for key := range w.current {
		if _, marked := w.current[Key{key.ZoneID, "x." + key.Name, TXT}]; key.Type == A && !marked {
			w.t.Fatalf("seed %d: %s has no mark", seed, key.Name)
		}
	}
}
