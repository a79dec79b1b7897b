package designate_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/designate"
	"mooring/pkg/poll"
)

// slowCloud is a cloud of zones that take their time to be read.
type slowCloud struct {
	mu      sync.Mutex
	version int64
	lowest  int
	takes   time.Duration
	fails   error
	zones   int // 0 is one

	lists, reads, limits atomic.Int32
	atOnce, most         atomic.Int32
}

func (c *slowCloud) Limits(context.Context) (int, error) {
	c.limits.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lowest, c.fails
}

func (c *slowCloud) Zones(context.Context) ([]designate.Zone, error) {
	c.lists.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []designate.Zone
	for i := range max(c.zones, 1) {
		zone := designate.ZoneOf("z"+strconv.Itoa(i), fmt.Sprintf("z%d.example", i), "")
		zone.Validator = designate.Validator{Version: c.version, Status: "ACTIVE"}
		out = append(out, zone)
	}
	return out, nil
}

func (c *slowCloud) Recordsets(ctx context.Context, zone designate.Zone) ([]designate.Recordset, error) {
	c.reads.Add(1)
	c.most.Store(max(c.most.Load(), c.atOnce.Add(1)))
	defer c.atOnce.Add(-1)
	c.mu.Lock()
	list, takes, fails := []designate.Recordset{modelSet(zone.ID, "x", strconv.FormatInt(c.version, 10))}, c.takes, c.fails
	c.mu.Unlock()
	if err := poll.Sleep(ctx, takes); err != nil {
		return nil, err
	}
	return list, fails
}

func (c *slowCloud) Recent(context.Context, designate.Zone, time.Time) ([]designate.Recordset, int, bool, error) {
	return nil, 0, false, nil
}

func (c *slowCloud) change(do func(*slowCloud)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do(c)
}

func (c *slowCloud) expect(t *testing.T, what string, lists, reads, limits int32) {
	t.Helper()
	if c.lists.Load() != lists || c.reads.Load() != reads || c.limits.Load() != limits {
		t.Errorf("%s: %d lists of zones, %d reads of recordsets, %d of limits; want %d, %d, %d", what, c.lists.Load(), c.reads.Load(), c.limits.Load(), lists, reads, limits)
	}
}

func shown(t *testing.T, v *designate.Inventory) string {
	t.Helper()
	all, err := v.Show(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all["z0"][0].Targets[0]
}

// A zone takes longer than a request has time: it is told so, the reading goes on, and everybody who asks shares it.
func TestAZoneThatTakesLongerThanARequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &slowCloud{version: 1, takes: 24 * time.Second}
		v := designate.NewInventory(c, designate.Options{Deadline: 12 * time.Second, FullRefresh: -1})
		defer v.Close()
		begin := time.Now()
		if _, err := v.Show(t.Context()); !errors.Is(err, designate.ErrReading) || time.Since(begin) != 12*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if _, err := v.Show(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that went away: %v", err)
		}
		if got := shown(t, v); got != "1" || time.Since(begin) != 24*time.Second {
			t.Errorf("%s after %v", got, time.Since(begin))
		}
		c.expect(t, "three requests", 3, 1, 1)
		if got := shown(t, v); got != "1" || time.Since(begin) != 24*time.Second {
			t.Errorf("%s after %v, want it at once", got, time.Since(begin))
		}
		c.expect(t, "a warm one", 4, 1, 1)
	})
}

// The zone changes while it is read: who comes after the change does not get what was read before.
func TestAChangeDuringARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &slowCloud{version: 1, takes: 8 * time.Second}
		v := designate.NewInventory(c, designate.Options{Deadline: time.Minute, FullRefresh: -1})
		defer v.Close()
		first := make(chan string)
		go func() { first <- shown(t, v) }()
		time.Sleep(time.Second)
		c.change(func(c *slowCloud) { c.version = 3 })
		begin := time.Now()
		if got := shown(t, v); got != "3" || time.Since(begin) != 15*time.Second {
			t.Errorf("%s after %v", got, time.Since(begin))
		}
		if got := <-first; got != "1" {
			t.Errorf("the first got %s, want what there was when it asked", got)
		}
		c.expect(t, "both", 2, 2, 1)
	})
}

// A failure is that of all who wait, and is forgotten: the next request reads again.
func TestAReadThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		c := &slowCloud{version: 1, takes: time.Second}
		v := designate.NewInventory(c, designate.Options{FullRefresh: -1})
		defer v.Close()
		if got := shown(t, v); got != "1" {
			t.Error(got)
		}
		c.change(func(c *slowCloud) { c.version, c.fails = 3, broken })
		for range 2 {
			if _, err := v.Show(t.Context()); !errors.Is(err, broken) {
				t.Errorf("%v", err)
			}
		}
		c.change(func(c *slowCloud) { c.fails = nil })
		if got := shown(t, v); got != "3" {
			t.Error(got)
		}
	})
}

// From time to time everything is read once more, in the background: no request waits for it, and none is answered less.
func TestRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &slowCloud{version: 1, takes: 30 * time.Second, lowest: 60}
		v := designate.NewInventory(c, designate.Options{Deadline: time.Minute, FullRefresh: 15 * time.Minute})
		defer v.Close()
		ask := func() {
			t.Helper()
			begin := time.Now()
			if got := shown(t, v); got != "1" || time.Since(begin) != 0 {
				t.Errorf("%s after %v", got, time.Since(begin))
			}
		}
		shown(t, v)
		for range 11 { // minutes: not before four fifths of the time
			time.Sleep(time.Minute)
			ask()
		}
		c.expect(t, "before its time", 12, 1, 1)
		c.change(func(c *slowCloud) { c.lowest = 90 })
		for range 8 { // not after six fifths
			time.Sleep(time.Minute)
			ask()
		}
		c.expect(t, "after its time", 20, 2, 2)
		if lowest, err := v.LowestTTL(t.Context()); err != nil || lowest != 90 {
			t.Errorf("the lowest TTL is %d, %v", lowest, err)
		}
	})
}

// A refresh that fails, or that our own writes made worthless, leaves what is known.
func TestARefreshInVain(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*slowCloud, *designate.Inventory) (done func()){
		"it fails": func(c *slowCloud, _ *designate.Inventory) func() {
			c.change(func(c *slowCloud) { c.fails = errors.New("broken") })
			return func() { c.change(func(c *slowCloud) { c.fails = nil }) }
		},
		"we write": func(c *slowCloud, v *designate.Inventory) func() {
			return func() {
				end := v.Write("z0")
				c.change(func(c *slowCloud) { c.version++ })
				end(true)
				v.FoldIn(modelSet("z0", "x", "1"))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &slowCloud{version: 1, takes: 30 * time.Second}
				v := designate.NewInventory(c, designate.Options{Deadline: time.Minute, FullRefresh: 15 * time.Minute})
				defer v.Close()
				shown(t, v)
				time.Sleep(18 * time.Minute)
				done := spoil(c, v)
				shown(t, v)
				time.Sleep(15 * time.Second)
				done()
				time.Sleep(30 * time.Second)
				begin := time.Now()
				if got := shown(t, v); got != "1" || time.Since(begin) != 0 {
					t.Errorf("%s after %v", got, time.Since(begin))
				}
			})
		})
	}
}

// So many zones are read at the same time, and no more.
func TestZonesAreReadAFewAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &slowCloud{version: 1, takes: time.Second, zones: 20}
		v := designate.NewInventory(c, designate.Options{Concurrency: 5, FullRefresh: -1})
		defer v.Close()
		begin := time.Now()
		shown(t, v)
		if c.most.Load() != 5 || time.Since(begin) != 4*time.Second {
			t.Errorf("%d at a time, in %v", c.most.Load(), time.Since(begin))
		}
	})
}

// Close ends what goes on.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &slowCloud{version: 1, takes: time.Hour, zones: 20}
		v := designate.NewInventory(c, designate.Options{Deadline: time.Second})
		if _, err := v.Show(t.Context()); !errors.Is(err, designate.ErrReading) {
			t.Error(err)
		}
		begin := time.Now()
		v.Close()
		if time.Since(begin) != 0 {
			t.Errorf("it took %v", time.Since(begin))
		}
		if _, err := v.Show(t.Context()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
