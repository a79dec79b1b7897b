package manila_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mooring/pkg/manila"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
)

// atOnce provisions n shares at the same time, each by a client of its own, and returns what each of them made of it.
func (c *cloud) atOnce(t *testing.T, n int, spec func() *manila.Spec) []error {
	t.Helper()
	o := manila.Options{Together: &manila.Together{}}
	return together(n, func(i int) error {
		s := spec()
		s.Name = fmt.Sprintf("%s-%d", s.Name, i)
		if s.Grants[0].Kind == manila.KindCephx {
			s.Grants[0].To = s.Name
		}
		v, err := manila.New(c.session, o).Provision(t.Context(), s)
		if err == nil && (v.Share.Name != s.Name || len(v.Exports) == 0 || len(v.Rules) != 1 || v.Rules[0].State != "active" || v.Rules[0].Kind == manila.KindCephx && v.Rules[0].Key == "") {
			err = fmt.Errorf("got %+v", v)
		}
		return err
	})
}

// TestHundredTogether: shares that take 1.5 s, and rules that take longer than a few looks, with the poll of production: three calls
// for each NFS share, four for each CephFS share, whose rule has a key, and few for all of them.
func TestHundredTogether(t *testing.T) {
	t.Parallel()
	const shares = 100
	for protocol, test := range map[string]struct {
		spec func() *manila.Spec
		most int
	}{manila.NFS: {nfsSpec, 330}, manila.CEPHFS: {cephSpec, 430}} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := start(t, openstacksim.ManilaConfig{Quota: unlimited(), Delays: openstacksim.ManilaDelays{Create: 1500 * time.Millisecond, Grant: 900 * time.Millisecond}})
			if err := errors.Join(c.atOnce(t, shares, test.spec)...); err != nil {
				t.Fatal(err)
			}
			calls, logins := c.calls()
			if all := len(c.Calls.All()); logins != 1 || all > test.most {
				t.Errorf("%d logins and %d calls in all, want 1 and at most %d", logins, all, test.most)
			}
			kinds := map[string]int{}
			for _, call := range calls {
				kinds[call]++
			}
			t.Logf("%d shares: %d calls: %v", shares, len(calls), kinds)
			if got := c.Manila.Counts(); got.Shares != shares || got.Rules != shares {
				t.Errorf("%+v", got)
			}
			if err := errors.Join(c.atOnce(t, shares, test.spec)...); err != nil {
				t.Errorf("repeated: %v", err)
			}
			if got := c.Manila.Counts(); got.Shares != shares {
				t.Errorf("repeated: %+v", got)
			}
		})
	}
}

// TestPollsGrowWithTicks: however many volumes are waited for, what is asked meanwhile is a list a tick. What each volume asks for
// itself is what it needs, however long that takes: a create three calls, an expansion three, a deletion two. The volumes that grow
// and go are not among the newest of the project.
func TestPollsGrowWithTicks(t *testing.T) {
	t.Parallel()
	const tick = 50 * time.Millisecond // each call waits so long before it looks
	options := func() manila.Options {
		return manila.Options{Together: &manila.Together{}, Poll: poll.Backoff{First: tick, Max: tick, Factor: 1}}
	}
	for _, volumes := range []int{10, 120} {
		t.Run(strconv.Itoa(volumes), func(t *testing.T) {
			t.Parallel()
			const takes = 800 * time.Millisecond
			c := start(t, openstacksim.ManilaConfig{Quota: unlimited(), Delays: openstacksim.ManilaDelays{Create: takes, Grant: takes, Delete: takes, Extend: takes}})
			clients := make([]*manila.Client, volumes)
			o := options()
			for i := range clients {
				clients[i] = manila.New(c.session, o)
			}
			ids := make([]string, volumes)
			for _, step := range []struct {
				what string
				each int // calls
				do   func(i int) error
			}{
				{"create", 3, func(i int) error {
					s := nfsSpec()
					s.Name = fmt.Sprintf("%s-%d", s.Name, i)
					v, err := clients[i].Provision(t.Context(), s)
					if err == nil {
						ids[i] = v.Share.ID
					}
					return err
				}},
				{"expand", 3, func(i int) error { _, err := clients[i].Expand(t.Context(), ids[i], 2, 0); return err }},
				{"delete", 2, func(i int) error { return clients[i].Delete(t.Context(), ids[i]) }},
			} {
				c.Calls.Reset()
				begin := time.Now()
				if err := errors.Join(together(volumes, step.do)...); err != nil {
					t.Fatalf("%s: %v", step.what, err)
				}
				ticks := int(time.Since(begin) / tick)
				polls := len(c.Calls.All()) - step.each*volumes
				// a list a tick of those who wait for the same, and what the few ask who come first and go last
				if most := 2*ticks + 40; polls > most {
					t.Errorf("%s: %d polls in %d ticks, at most %d", step.what, polls, ticks, most)
				}
				t.Logf("%s of %d: %d polls in %d ticks", step.what, volumes, polls, ticks)
				c.Manila.Fill(c.Keystone.User("demo", "demo").ProjectID, 2*volumes+100) // newer ones
			}
		})
	}
}

// together does something n times at once.
func together(n int, do func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errs
}

// TestTroubleTogether: what is wrong with one of many is told of that one alone, and the others do not suffer.
func TestTroubleTogether(t *testing.T) {
	t.Parallel()
	for operation, want := range map[openstacksim.ManilaOperation]error{openstacksim.ManilaCreate: manila.ErrShareFailed, openstacksim.ManilaGrant: manila.ErrRuleFailed} {
		c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 20 * time.Millisecond, Grant: 20 * time.Millisecond}})
		c.Manila.Inject(openstacksim.ManilaInjection{Operation: operation, Name: "pvc-nfs-7"})
		for i, err := range c.atOnce(t, 20, nfsSpec) {
			if i == 7 && (!errors.Is(err, want) || !errors.Is(err, manila.ErrPending)) || i != 7 && err != nil {
				t.Errorf("%s: %d: %v", operation, i, err)
			}
		}
	}
}

// TestLeavingTogether: those whose time is up leave, and the others go on.
func TestLeavingTogether(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 400 * time.Millisecond}})
	o := manila.Options{Together: &manila.Together{}}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if i%2 == 0 {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), time.Duration(100+20*i)*time.Millisecond)
			}
			defer cancel()
			spec := nfsSpec()
			spec.Name = fmt.Sprintf("pvc-%d", i)
			_, err := manila.New(c.session, o).Provision(ctx, spec)
			if i%2 == 1 && err != nil {
				t.Errorf("%d: %v", i, err)
			}
			if i == 0 && (err == nil || !errors.Is(err, manila.ErrPending) && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "budget")) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// TestDeleteAndExpandTogether: all of them grow, and go.
func TestDeleteAndExpandTogether(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Delete: 50 * time.Millisecond, Extend: 50 * time.Millisecond}})
	if err := errors.Join(c.atOnce(t, 20, nfsSpec)...); err != nil {
		t.Fatal(err)
	}
	all, _, err := c.client.Shares(t.Context(), "", "", 0)
	if err != nil || len(all) != 20 {
		t.Fatal(len(all), err)
	}
	o := manila.Options{Together: &manila.Together{}}
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			client := manila.New(c.session, o)
			if s, err := client.Expand(t.Context(), s.ID, 2, 0); err != nil || s.SizeGiB != 2 {
				t.Errorf("%+v, %v", s, err)
			}
			if err := client.Delete(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := c.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		t.Errorf("left: %+v", got)
	}
}
