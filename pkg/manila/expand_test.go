package manila_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/goldentest"
	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// TestGoldenExpansions writes down what is decided about a share that has to grow, in every status that Manila knows.
func TestGoldenExpansions(t *testing.T) {
	t.Parallel()
	decide := func(status string, gib int, o manila.ExpandSeen) string {
		o.Share = &manila.Share{ID: "s", Status: status, SizeGiB: gib}
		step := manila.NextExpand(2, 3, &o)
		if step.Err != nil {
			return string(step.Action) + ": " + step.Err.Error()
		}
		return string(step.Action)
	}
	var b strings.Builder
	b.WriteString("# Written by TestGoldenExpansions: status | too small | asked for | and Manila told of a failure | and force is possible | forced | nothing for long | large enough\n")
	for _, status := range append(slices.Sorted(maps.Keys(manila.Statuses())), "some_status_of_the_future") {
		row := []string{status}
		for _, o := range []manila.ExpandSeen{
			{}, {Asked: true}, {Asked: true, Told: true}, {Asked: true, Told: true, CanForce: true}, {Asked: true, Told: true, Forced: true, CanForce: true}, {Asked: true, Quiet: 10},
		} {
			row = append(row, decide(status, 1, o))
		}
		fmt.Fprintln(&b, strings.Join(append(row, decide(status, 3, manila.ExpandSeen{})), " | "))
	}
	goldentest.Compare(t, "testdata/expansions.golden", b.String())
	if step := manila.NextExpand(2, 0, &manila.ExpandSeen{}); !errors.Is(step.Err, openstack.ErrNotFound) {
		t.Errorf("no share: %+v", step)
	}
	if step := manila.NextExpand(2, 3, &manila.ExpandSeen{Share: &manila.Share{Status: "available", SizeGiB: 4}}); !errors.Is(step.Err, manila.ErrTooLarge) {
		t.Errorf("more than the limit: %+v", step)
	}
}

func provisioned(t *testing.T, c *cloud) string {
	t.Helper()
	v, err := c.client.Provision(t.Context(), nfsSpec())
	if err != nil {
		t.Fatal(err)
	}
	c.Calls.Reset()
	return v.Share.ID
}

// TestCallsOfAnExpand: a look, the extend, and looks until it is done; a look when there is nothing to do.
func TestCallsOfAnExpand(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	for _, want := range [][]string{{"GET shares/ID", "POST shares/ID/action", "GET shares/ID"}, {"GET shares/ID"}} {
		c.Calls.Reset()
		s, err := c.client.Expand(t.Context(), id, 3, 4)
		if err != nil || s.SizeGiB != 3 {
			t.Fatalf("got %+v, %v", s, err)
		}
		if list, _ := c.calls(); !cmp.Equal(list, want) {
			t.Errorf("calls %q, want %q", list, want)
		}
	}
}

func TestExpandIsRefused(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	for name, x := range map[string]struct {
		id         string
		size, most int
		want       error
		text       string
	}{
		"no such share": {"5f0a9e2c-1111-4222-8333-444455556666", 2, 0, openstack.ErrNotFound, ""},
		"no id":         {"fake-vol-id", 2, 0, openstack.ErrNotFound, ""},
		"quota":         {id, 5000, 0, openstack.ErrQuota, "gigabytes quota"},
	} {
		if _, err := c.client.Expand(t.Context(), x.id, x.size, x.most); !errors.Is(err, x.want) || errors.Is(err, manila.ErrPending) || !strings.Contains(err.Error(), x.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.client.Expand(t.Context(), id, 4, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.Expand(t.Context(), id, 2, 3); !errors.Is(err, manila.ErrTooLarge) {
		t.Errorf("larger than the limit: %v", err)
	}
}

// TestExpandIsSlower than its caller's deadline, several times: it goes on where things stand, and asks once.
func TestExpandIsSlower(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Extend: 250 * time.Millisecond}})
	id := provisioned(t, c)
	var err error
	tries := 0
	for ; tries < 10; tries++ {
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Millisecond<<tries) // the machine may be slow
		_, err = c.client.Expand(ctx, id, 2, 0)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, openstack.ErrThrottled) { // no time left, or too little for one more call
			t.Errorf("cut off: %v", err)
		}
	}
	list, _ := c.calls()
	if posts := len(slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, "POST") })); err != nil || tries == 0 || posts != 1 {
		t.Errorf("after %d tries and %d extends: %v", tries, posts, err)
	}
}

func TestExpandFails(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaExtend, Count: 1})
	for i := range 2 { // the second finds it in extending_error
		_, err := c.client.Expand(t.Context(), id, 2, 0)
		if !errors.Is(err, manila.ErrExtendFailed) || !strings.Contains(err.Error(), "Share Driver failed to extend share") || errors.Is(err, manila.ErrPending) != (i == 0) {
			t.Errorf("%d: %v, want Manila's message", i, err)
		}
	}
	c.Manila.SetShareStatus(id, "available")
	if s, err := c.client.Expand(t.Context(), id, 2, 0); err != nil || s.SizeGiB != 2 {
		t.Errorf("an operator has mended it: %+v, %v", s, err)
	}
}

// TestExpandWithoutRoom: the scheduler refuses, and force is tried; a tenant may not, an administrator may. An older Manila has no
// scheduler in the way.
func TestExpandWithoutRoom(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		version, who string
		ok           bool
		posts        int
	}{
		"a tenant": {"2.73", "demo", false, 2}, "an administrator": {"2.73", "admin", true, 2}, "before 2.64": {"2.63", "demo", true, 1},
	} {
		c := startAs(t, x.who, openstacksim.ManilaConfig{MaxMicroversion: x.version})
		id := provisioned(t, c)
		c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaExtendSchedule})
		s, err := c.client.Expand(t.Context(), id, 2, 0)
		if x.ok && (err != nil || s.SizeGiB != 2) || !x.ok && (!errors.Is(err, manila.ErrExtendFailed) || !strings.Contains(err.Error(), "No storage could be allocated")) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		list, _ := c.calls()
		if posts := len(slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, "POST") })); posts != x.posts {
			t.Errorf("%s: %d extends, want %d", name, posts, x.posts)
		}
	}
}

// TestSizeFollowsStatus: a share that was extended is available with its old size for a moment, and nobody takes that for a refusal;
// one that was not is so for good, and Manila's message about it may be late.
func TestSizeFollowsStatus(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"demo", "admin"} {
		c := startAs(t, who, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Resized: 30 * time.Millisecond}})
		id := provisioned(t, c)
		posts := func() int {
			list, _ := c.calls()
			return len(slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, "POST") }))
		}
		if s, err := c.client.Expand(t.Context(), id, 2, 0); err != nil || s.SizeGiB != 2 || posts() != 1 {
			t.Errorf("%s: %+v, %v after %d extends", who, s, err, posts())
		}
		c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaExtendSchedule, Count: 1})
		s, err := c.client.Expand(t.Context(), id, 3, 0)
		if forced := who == "admin"; forced && (err != nil || s.SizeGiB != 3) || !forced && (!errors.Is(err, manila.ErrExtendFailed) || !strings.Contains(err.Error(), "No storage could be allocated")) {
			t.Errorf("%s, without room: %+v, %v", who, s, err)
		}
	}
}

// TestExpandHearsNothing: without a message, a share that stays as it is was not extended.
func TestExpandHearsNothing(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Resized: time.Hour}})
	id := provisioned(t, c)
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaExtendSchedule})
	if _, err := c.client.Expand(t.Context(), id, 2, 0); !errors.Is(err, manila.ErrExtendFailed) || !strings.Contains(err.Error(), "has no message") {
		t.Errorf("%v", err)
	}
}

// TestExpandMeetsTrouble: each call spoiled once, in each way; called again it ends well.
func TestExpandMeetsTrouble(t *testing.T) {
	t.Parallel()
	for _, call := range []struct{ method, path string }{{http.MethodGet, `^/v2/shares/[0-9a-f-]{36}$`}, {http.MethodPost, `/action$`}} {
		for skip := range 2 {
			for name, fault := range faultsOfACloud() {
				c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Extend: 15 * time.Millisecond}})
				id := provisioned(t, c)
				fault.Service, fault.Method, fault.Path, fault.Skip, fault.Count = openstacksim.ServiceManila, call.method, call.path, skip, 1
				c.Faults.Add(fault)
				err := again(t.Context(), func(ctx context.Context) error {
					_, err := c.client.Expand(ctx, id, 2, 0)
					return err
				})
				if s, getErr := c.client.Share(t.Context(), id); err != nil || getErr != nil || s.SizeGiB != 2 {
					t.Errorf("%s %s %d %s: %+v, %v, %v", call.method, call.path, skip, name, s, err, getErr)
				}
			}
		}
	}
}
