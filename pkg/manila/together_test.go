package manila_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mooring/pkg/manila"
	"mooring/pkg/openstack/openstacksim"
)

// atOnce provisions n shares at the same time, each by a client of its own, and returns what each of them made of it.
func (c *cloud) atOnce(t *testing.T, n int, spec func() *manila.Spec) []error {
	t.Helper()
	o := manila.Options{Together: &manila.Together{}}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			s := spec()
			s.Name = fmt.Sprintf("%s-%d", s.Name, i)
			if s.Grants[0].Kind == manila.KindCephx {
				s.Grants[0].To = s.Name
			}
			v, err := manila.New(c.session, o).Provision(t.Context(), s)
			if err == nil && (v.Share.Name != s.Name || len(v.Exports) == 0 || len(v.Rules) != 1 || v.Rules[0].State != "active") {
				err = fmt.Errorf("got %+v", v)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errs
}

// TestHundredTogether: shares that take 1.5 s, and rules that take 0.3 s, with the poll of production: three calls for each share, and
// few for all of them.
func TestHundredTogether(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Quota: unlimited(), Delays: openstacksim.ManilaDelays{Create: 1500 * time.Millisecond, Grant: 300 * time.Millisecond}})
	const shares = 100
	if err := errors.Join(c.atOnce(t, shares, nfsSpec)...); err != nil {
		t.Fatal(err)
	}
	calls, logins := c.calls()
	if all := len(c.Calls.All()); logins != 1 || all > 330 {
		t.Errorf("%d logins and %d calls in all", logins, all)
	}
	kinds := map[string]int{}
	for _, call := range calls {
		kinds[call]++
	}
	t.Logf("%d shares: %d calls: %v", shares, len(calls), kinds)
	if got := c.Manila.Counts(); got.Shares != shares || got.Rules != shares {
		t.Errorf("%+v", got)
	}
	if err := errors.Join(c.atOnce(t, shares, nfsSpec)...); err != nil {
		t.Errorf("repeated: %v", err)
	}
	if got := c.Manila.Counts(); got.Shares != shares {
		t.Errorf("repeated: %+v", got)
	}
}

// TestCephTogether: every share has its own key, so its rule is asked for.
func TestCephTogether(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 30 * time.Millisecond, Grant: 30 * time.Millisecond}})
	if err := errors.Join(c.atOnce(t, 20, cephSpec)...); err != nil {
		t.Error(err)
	}
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
