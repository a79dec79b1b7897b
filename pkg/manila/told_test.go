package manila_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// perNodeSpec is a share that has no access rules when it is made.
func perNodeSpec() *manila.Spec {
	s := nfsSpec()
	s.Grants, s.PerNode = nil, true
	return s
}

// told provisions and gives the id that it tells.
func (c *cloud) told(t *testing.T, spec *manila.Spec) string {
	t.Helper()
	v, err := c.client.Provision(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return v.Share.ID
}

// others are the shares of the cluster that are not one of these.
func (c *cloud) others(t *testing.T, than ...string) (ids []string) {
	t.Helper()
	all, _, err := c.client.Shares(t.Context(), "c1", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if !slices.Contains(than, s.ID) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func (c *cloud) keeps(t *testing.T, why, id string) {
	t.Helper()
	if _, err := c.client.Share(t.Context(), id); err != nil {
		t.Errorf("%s: a share that somebody was told of: %v", why, err)
	}
}

// at has something done when Manila has acted on the next such call, which has to come.
func (c *cloud) at(t *testing.T, method, path string, do func()) {
	t.Helper()
	var came atomic.Bool
	c.Faults.Add(openstacksim.Fault{
		Service: openstacksim.ServiceManila, Method: method, Path: path, Count: 1,
		Then: func() { came.Store(true); do() },
	})
	t.Cleanup(func() {
		if !came.Load() {
			t.Errorf("there was no %s %s", method, path)
		}
	})
}

// TestToldShareOutlivesItsTwin: no call removes a share that another was told of, whatever the clocks of Manila's API servers say, and whatever
// else has become of its twin.
func TestToldShareOutlivesItsTwin(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]*manila.Spec{"static": nfsSpec(), "per node": perNodeSpec()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("the late twin has an earlier time", func(t *testing.T) {
				t.Parallel()
				c := start(t, openstacksim.ManilaConfig{})
				record := c.lateCreate(t, spec)
				id := c.told(t, spec)
				record()
				for _, twin := range c.others(t, id) {
					c.Manila.SetShareCreated(twin, time.Now().Add(-time.Second))
				}
				second := c.told(t, spec)
				c.keeps(t, "after a repeated call", id)
				if err := c.client.DeleteVolume(t.Context(), second, "c1"); err != nil {
					t.Fatal(err)
				}
				if second != id {
					c.keeps(t, "after the twin was told of and deleted", id)
				}
			})
			t.Run("the lost one is mended", func(t *testing.T) {
				t.Parallel()
				c := start(t, openstacksim.ManilaConfig{})
				record := c.lateCreate(t, spec)
				first := c.told(t, spec)
				record()
				c.Manila.SetShareStatus(first, "error")
				second := c.told(t, spec)
				c.Manila.SetShareStatus(first, "available")
				c.told(t, spec)
				c.keeps(t, "after the other one was mended", second)
				c.keeps(t, "after it was mended", first)
				if err := c.client.DeleteVolume(t.Context(), first, "c1"); err != nil {
					t.Fatal(err)
				}
				c.keeps(t, "after the other one was deleted", second)
			})
			for _, late := range []bool{false, true} {
				t.Run(map[bool]string{true: "its twin", false: "an earlier one"}[late]+" is being deleted", func(t *testing.T) {
					t.Parallel()
					c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Delete: 50 * time.Millisecond}})
					record := c.lateCreate(t, spec)
					first := c.told(t, spec)
					if late {
						record()
					}
					var second string
					c.Faults.Add(openstacksim.Fault{
						Service: openstacksim.ServiceManila, Method: http.MethodDelete, Path: `^/v2/shares/` + first, Count: 1,
						Then: func() { second = c.told(t, spec) },
					})
					if err := c.client.DeleteVolume(t.Context(), first, "c1"); err != nil {
						t.Fatal(err)
					}
					c.keeps(t, "after the deletion", second)
				})
			}
		})
	}
}

// TestUsableOnce: a share that was usable and has lost its rules and its status is nobody's to remove.
func TestUsableOnce(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	record := c.lateCreate(t, perNodeSpec())
	id := c.told(t, perNodeSpec())
	record()
	c.Manila.SetShareStatus(id, "error")
	c.told(t, nfsSpec()) // the class has been made anew, with access for all
	c.keeps(t, "in error", id)
}

// TestTwinInTheWay: a twin that can't be removed holds up neither the volume nor its deletion.
func TestTwinInTheWay(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(c *cloud, id string){
		"stuck": func(c *cloud, id string) { c.Manila.SetShareStatus(id, "creating") },
		"forbidden": func(c *cloud, id string) {
			c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodDelete, Path: `^/v2/shares/` + id, Status: http.StatusForbidden})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, openstacksim.ManilaConfig{})
			record := c.lateCreate(t, nfsSpec())
			id := c.told(t, nfsSpec())
			record()
			for _, twin := range c.others(t, id) {
				spoil(c, twin)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if v, err := c.client.Provision(ctx, nfsSpec()); err != nil || v.Share.ID != id {
				t.Errorf("got %+v, %v", v, err)
			}
			if err := c.client.DeleteVolume(ctx, id, "c1"); err != nil && !errors.Is(err, manila.ErrDeleteFailed) {
				t.Errorf("deleted: %v", err)
			}
			if got := c.Manila.Counts(); got.Shares != 1 {
				t.Errorf("%+v, want the twin alone", got)
			}
		})
	}
}

// TestLateSnapshot: a snapshot whose create was given up is carried out at each moment of the call that follows: there is one that is told
// of, and with it all of its name go.
func TestLateSnapshot(t *testing.T) {
	t.Parallel()
	for name, moment := range map[string]struct{ method, path string }{
		"before the create": {http.MethodGet, `^/v2/snapshots/detail$`}, // so it is the older one
		"after the create":  {http.MethodPost, `^/v2/snapshots$`},
		"while it is told":  {http.MethodDelete, `/metadata/`},
		"afterwards":        {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Snapshot: 20 * time.Millisecond}})
			share := c.told(t, nfsSpec())
			snapshot := func() (*manila.Snapshot, error) { return c.client.Snapshot(t.Context(), snapshotOf(share)) }
			record := c.late(t, `^/v2/snapshots$`, func() error { _, err := snapshot(); return err })
			if moment.path != "" {
				c.at(t, moment.method, moment.path, record)
			}
			s, err := snapshot()
			if err != nil {
				t.Fatal(err)
			}
			record()
			for waits := true; waits; {
				all, _, err := c.client.Snapshots(t.Context(), share, "c1", "", 0)
				if err != nil {
					t.Fatal(err)
				}
				waits = slices.ContainsFunc(all, func(s *manila.Snapshot) bool { return !s.Ready() })
			}
			if again, err := snapshot(); err != nil || again.ID != s.ID {
				t.Errorf("told of %s, and then of %+v, %v", s.ID, again, err)
			}
			if err := c.client.DeleteSnapshot(t.Context(), s.ID, "c1"); err != nil {
				t.Fatal(err)
			}
			if err := c.client.DeleteVolume(t.Context(), share, "c1"); err != nil || c.Manila.Counts() != (openstacksim.ManilaCounts{}) {
				t.Errorf("the volume was deleted with %v, and %+v is left", err, c.Manila.Counts())
			}
		})
	}
}

// TestLateCloneSnapshot: a snapshot by which a share is cloned, and that is recorded late, does not keep the source from being deleted.
func TestLateCloneSnapshot(t *testing.T) {
	t.Parallel()
	for _, moment := range []struct{ method, path string }{{http.MethodGet, `^/v2/snapshots/detail$`}, {http.MethodPost, `^/v2/snapshots$`}, {http.MethodPost, `^/v2/shares$`}} {
		t.Run(moment.method+" "+moment.path, func(t *testing.T) {
			t.Parallel()
			c := start(t, openstacksim.ManilaConfig{})
			share := c.told(t, nfsSpec())
			record := c.late(t, `^/v2/snapshots$`, func() error { _, err := c.client.Provision(t.Context(), cloneOf(share)); return err })
			c.at(t, moment.method, moment.path, record)
			c.told(t, cloneOf(share))
			if got := c.Manila.Counts(); got.Snapshots != 0 {
				t.Errorf("left: %+v", got)
			}
			if err := c.client.DeleteVolume(t.Context(), share, "c1"); err != nil {
				t.Errorf("the source: %v", err)
			}
		})
	}
}

// TestToldSnapshotIsKept: with a snapshot goes none that somebody may have been told of.
func TestToldSnapshotIsKept(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	share := c.told(t, nfsSpec())
	client, err := c.session.Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = "2.73"
	s, err := c.client.Snapshot(t.Context(), snapshotOf(share))
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string, metadata map[string]string) string {
		var made struct {
			Snapshot struct {
				ID string `json:"id"`
			} `json:"snapshot"`
		}
		body := map[string]any{"snapshot": map[string]any{"share_id": share, "name": name, "metadata": metadata}}
		if _, err := client.Post(t.Context(), client.ServiceURL("snapshots"), body, &made, nil); err != nil { //nolint:bodyclose // gophercloud does when it decodes
			t.Fatal(err)
		}
		return made.Snapshot.ID
	}
	unused := map[string]string{manila.ClusterKey: "c1", manila.UnusedKey: "true"}
	kept := []string{
		add(s.Name, nil), add(s.Name, map[string]string{manila.ClusterKey: "c1"}), add(s.Name, map[string]string{manila.ClusterKey: "c2", manila.UnusedKey: "true"}), add("another", unused),
	}
	gone := add(s.Name, unused)
	if err := c.client.DeleteSnapshot(t.Context(), s.ID, "c1"); err != nil {
		t.Fatal(err)
	}
	for _, id := range kept {
		if _, err := c.client.SnapshotByID(t.Context(), id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := c.client.SnapshotByID(t.Context(), gone); !errors.Is(err, openstack.ErrNotFound) {
		t.Errorf("the one that nobody was told of: %v", err)
	}
}

// TestToldSharesAtRandom: whatever comes after another, a share that somebody was told of is there until it is deleted.
func TestToldSharesAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			spec := []*manila.Spec{nfsSpec(), perNodeSpec()}[seed%2]
			c := start(t, openstacksim.ManilaConfig{Quota: unlimited()})
			told, log := map[string]bool{}, []string{}
			for range 12 {
				what := []string{"call", "call", "late", "clock", "status", "delete"}[r.IntN(6)]
				log = append(log, what)
				all := c.others(t)
				switch {
				case what == "late":
					c.named(t, spec.Name, nil)
				case what == "call":
					if v, err := c.client.Provision(t.Context(), spec); err == nil { // or it is left to people
						told[v.Share.ID] = true
					}
				case len(all) == 0:
				case what == "clock":
					c.Manila.SetShareCreated(all[r.IntN(len(all))], time.Now().Add(time.Duration(r.IntN(5)-2)*time.Second))
				case what == "status":
					id := all[r.IntN(len(all))]
					c.Manila.SetShareStatus(id, []string{"error", "extending_error", "error_deleting", "creating"}[r.IntN(4)])
					if v, err := c.client.Provision(timeout(t), spec); err == nil {
						told[v.Share.ID] = true
					}
					c.Manila.SetShareStatus(id, "available")
				default:
					id := all[r.IntN(len(all))]
					if told[id] && c.client.DeleteVolume(t.Context(), id, "c1") == nil {
						delete(told, id)
					}
				}
				for id := range told {
					c.keeps(t, strings.Join(log, ", "), id)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// timeout is of a call that may wait for people.
func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestProofGoes: whatever happens to the call that takes the proof away, nobody is told of what still has it.
func TestProofGoes(t *testing.T) {
	t.Parallel()
	for name, fault := range faultsOfACloud() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, openstacksim.ManilaConfig{})
			fault.Service, fault.Method, fault.Path, fault.Count = openstacksim.ServiceManila, http.MethodDelete, `/metadata/`, 1
			c.Faults.Add(fault)
			v, err := c.client.Provision(t.Context(), perNodeSpec())
			if err != nil {
				if !errors.Is(err, manila.ErrPending) {
					t.Errorf("the error is final: %v", err)
				}
				v, err = c.client.Provision(t.Context(), perNodeSpec())
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, err := c.client.Share(t.Context(), v.Share.ID); err != nil || s.Metadata[manila.UnusedKey] != "" || s.Metadata[manila.ClusterKey] != "c1" {
				t.Errorf("it is %+v, %v", s, err)
			}
			c.Faults.Add(fault)
			s, err := c.client.Snapshot(t.Context(), snapshotOf(v.Share.ID))
			if err != nil {
				if !errors.Is(err, manila.ErrPending) {
					t.Errorf("of a snapshot the error is final: %v", err)
				}
				s, err = c.client.Snapshot(t.Context(), snapshotOf(v.Share.ID))
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, err = c.client.SnapshotByID(t.Context(), s.ID); err != nil || s.Metadata[manila.UnusedKey] != "" || s.Metadata[manila.ClusterKey] != "c1" {
				t.Errorf("the snapshot is %+v, %v", s, err)
			}
			if got := c.Manila.Counts(); got.Shares != 1 || got.Snapshots != 1 {
				t.Errorf("%+v, want one of each", got)
			}
		})
	}
}
