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
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"

	"mooring/pkg/goldentest"
	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// TestGoldenSnapshots writes down what is decided about a snapshot in every status.
func TestGoldenSnapshots(t *testing.T) {
	t.Parallel()
	spec := &manila.SnapshotSpec{Name: "n", ShareID: "s", Cluster: "c1"}
	decide := func(spec *manila.SnapshotSpec, status string, o manila.SnapshotSeen) string {
		o.Snapshot = &manila.Snapshot{ID: "x", ShareID: "s", Status: status}
		step := manila.NextSnapshot(spec, &o)
		if step.Err != nil {
			return string(step.Action) + ": " + step.Err.Error()
		}
		return string(step.Action)
	}
	var b strings.Builder
	b.WriteString("# Written by TestGoldenSnapshots: status | wanted, by the call that made it | by a later call | refused | gone wanted | gone wanted, refused\n")
	for _, status := range append(slices.Sorted(maps.Keys(manila.Statuses())), "some_status_of_the_future") {
		fmt.Fprintf(&b, "%s | %s | %s | %s | %s | %s\n", status, decide(spec, status, manila.SnapshotSeen{Ours: true}), decide(spec, status, manila.SnapshotSeen{}),
			decide(spec, status, manila.SnapshotSeen{Refused: true}), decide(nil, status, manila.SnapshotSeen{}), decide(nil, status, manila.SnapshotSeen{Refused: true}))
	}
	goldentest.Compare(t, "testdata/snapshots.golden", b.String())
	for name, s := range map[string]*manila.Snapshot{"of another share": {ShareID: "other", Status: "available"}, "of another cluster": {ShareID: "s", Status: "error", Metadata: map[string]string{manila.ClusterKey: "c2"}}} {
		if step := manila.NextSnapshot(spec, &manila.SnapshotSeen{Snapshot: s}); !errors.Is(step.Err, manila.ErrIncompatible) {
			t.Errorf("%s: %+v", name, step)
		}
	}
	if manila.NextSnapshot(spec, &manila.SnapshotSeen{}).Action != manila.ActionCreate || manila.NextSnapshot(nil, &manila.SnapshotSeen{}).Action != manila.ActionDone {
		t.Error("no snapshot is to be made, or is gone already")
	}
}

func snapshotOf(share string) *manila.SnapshotSpec {
	return &manila.SnapshotSpec{Name: "snapshot-1", Cluster: "c1", ShareID: share, Metadata: map[string]string{"csi.storage.k8s.io/volumesnapshot/name": "daily", "empty": ""}}
}

func (c *cloud) wants(t *testing.T, what string, want ...string) {
	t.Helper()
	if list, _ := c.calls(); !cmp.Equal(list, want) {
		t.Errorf("%s made %q, want %q", what, list, want)
	}
	c.Calls.Reset()
}

// TestCallsOfASnapshot: a list by name, the create, looks, and the mark that goes; a repetition is the list. A delete is a look at those of
// its name, the DELETE, and looks.
func TestCallsOfASnapshot(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	made, err := c.client.Snapshot(t.Context(), snapshotOf(id))
	if err != nil || made.ShareID != id || made.SizeGiB != 1 || !made.Ready() || made.CreatedAt.IsZero() {
		t.Fatalf("got %+v, %v", made, err)
	}
	if diff := cmp.Diff(map[string]string{manila.ClusterKey: "c1", "csi.storage.k8s.io/volumesnapshot/name": "daily"}, made.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	c.wants(t, "Snapshot", "GET snapshots/detail", "POST snapshots", "GET snapshots/detail", "DELETE snapshots/ID/metadata/"+manila.UnusedKey)
	again, err := c.client.Snapshot(t.Context(), snapshotOf(strings.ToUpper(id)))
	if err != nil || again.ID != made.ID {
		t.Fatalf("got %+v, %v", again, err)
	}
	c.wants(t, "the repetition", "GET snapshots/detail")
	for _, want := range [][]string{{"GET snapshots/ID", "GET snapshots/detail", "DELETE snapshots/ID", "GET snapshots/ID"}, {"GET snapshots/ID"}} {
		if err := c.client.DeleteSnapshot(t.Context(), made.ID, "c1"); err != nil {
			t.Fatal(err)
		}
		c.wants(t, "DeleteSnapshot", want...)
	}
	if err := c.client.DeleteSnapshot(t.Context(), "fake", "c1"); err != nil {
		t.Error(err)
	}
	if got := c.Manila.Counts(); got.Snapshots != 0 {
		t.Errorf("left: %+v", got)
	}
}

func TestSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Quota: openstacksim.ManilaQuota{Shares: 9, Gigabytes: 99, Snapshots: 1, SnapshotGigabytes: 9, ShareNetworks: 1, PerShareGigabytes: -1}})
	id := provisioned(t, c)
	for _, share := range []string{"fake-vol-id", "5f0a9e2c-1111-4222-8333-444455556666"} {
		if _, err := c.client.Snapshot(t.Context(), snapshotOf(share)); !errors.Is(err, openstack.ErrNotFound) {
			t.Errorf("%s: %v", share, err)
		}
	}
	c.Manila.SetShareStatus(id, "extending")
	if _, err := c.client.Snapshot(t.Context(), snapshotOf(id)); !errors.Is(err, manila.ErrNotUsable) {
		t.Errorf("a busy share: %v", err)
	}
	c.Manila.SetShareStatus(id, "available")
	first, err := c.client.Snapshot(t.Context(), snapshotOf(id))
	if err != nil {
		t.Fatal(err)
	}
	other := snapshotOf("5f0a9e2c-1111-4222-8333-444455556666")
	if _, err := c.client.Snapshot(t.Context(), other); !errors.Is(err, manila.ErrIncompatible) {
		t.Errorf("the name is taken: %v", err)
	}
	second := snapshotOf(id)
	second.Name = "snapshot-2"
	if _, err := c.client.Snapshot(t.Context(), second); !errors.Is(err, openstack.ErrQuota) || errors.Is(err, manila.ErrPending) {
		t.Errorf("over quota: %v", err)
	}
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaSnapshotDelete, Count: 1})
	for range 2 {
		if err := c.client.DeleteSnapshot(t.Context(), first.ID, "c1"); !errors.Is(err, manila.ErrSnapshotStuck) {
			t.Errorf("error_deleting: %v", err)
		}
	}
}

func TestSnapshotInErrorIsToldAndReplaced(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaSnapshot, Count: 1})
	if _, err := c.client.Snapshot(t.Context(), snapshotOf(id)); !errors.Is(err, manila.ErrSnapshotFailed) || !errors.Is(err, manila.ErrPending) {
		t.Fatalf("got %v", err)
	}
	if s, err := c.client.Snapshot(t.Context(), snapshotOf(id)); err != nil || !s.Ready() {
		t.Errorf("the retry: %+v, %v", s, err)
	}
	if got := c.Manila.Counts(); got.Snapshots != 1 {
		t.Errorf("%+v, want one snapshot", got)
	}
}

func restore(snapshot string) *manila.Spec {
	s := nfsSpec()
	s.Name, s.SnapshotID = "pvc-restored", snapshot
	return s
}

func TestRestore(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{CreateFromSnapshot: 30 * time.Millisecond}})
	id := provisioned(t, c)
	if _, err := c.client.Expand(t.Context(), id, 3, 0); err != nil {
		t.Fatal(err)
	}
	snapshot, err := c.client.Snapshot(t.Context(), snapshotOf(id))
	if err != nil {
		t.Fatal(err)
	}
	small := restore(snapshot.ID)
	small.MaxGiB = 2
	if _, err := c.client.Provision(t.Context(), small); !errors.Is(err, manila.ErrTooLarge) || errors.Is(err, manila.ErrPending) {
		t.Errorf("a limit below the snapshot's size: %v", err)
	}
	for _, none := range []string{"fake", "5f0a9e2c-1111-4222-8333-444455556666"} {
		if _, err := c.client.Provision(t.Context(), restore(none)); !errors.Is(err, openstack.ErrNotFound) || errors.Is(err, manila.ErrPending) {
			t.Errorf("from %s: %v", none, err)
		}
	}
	v, err := c.client.Provision(t.Context(), restore(snapshot.ID))
	if err != nil || v.Share.SnapshotID != snapshot.ID || v.Share.SizeGiB != 3 {
		t.Fatalf("got %+v, %v", v, err)
	}
	// The share stands when its snapshot has gone, and is found again.
	if err := c.client.DeleteSnapshot(t.Context(), snapshot.ID, "c1"); err != nil {
		t.Fatal(err)
	}
	if again, err := c.client.Provision(t.Context(), restore(strings.ToUpper(snapshot.ID))); err != nil || again.Share.ID != v.Share.ID {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	if _, err := c.client.Provision(t.Context(), restore("5f0a9e2c-1111-4222-8333-444455556666")); !errors.Is(err, manila.ErrIncompatible) {
		t.Errorf("another snapshot: %v", err)
	}
}

func cloneOf(share string) *manila.Spec {
	s := nfsSpec()
	s.Name, s.CloneOf = "pvc-clone", share
	return s
}

// TestClone: an internal snapshot comes and goes.
func TestClone(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	v, err := c.client.Provision(t.Context(), cloneOf(id))
	if err != nil || v.Share.ID == id || v.Share.Metadata[manila.ClonedFromKey] != id {
		t.Fatalf("got %+v, %v", v, err)
	}
	c.wants(t, "a clone", "GET shares/detail", "GET snapshots/detail", "POST snapshots", "GET snapshots/detail", "POST shares", "GET shares/ID/export_locations", "POST shares/ID/action",
		"GET shares/detail", "GET snapshots/detail", "DELETE snapshots/ID", "GET snapshots/ID")
	if got := c.Manila.Counts(); got.Shares != 2 || got.Snapshots != 0 {
		t.Errorf("%+v, want two shares and no snapshot", got)
	}
	if again, err := c.client.Provision(t.Context(), cloneOf(id)); err != nil || again.Share.ID != v.Share.ID {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	c.wants(t, "the repetition", "GET shares/detail", "GET shares/ID/export_locations", "GET share-access-rules", "GET snapshots/detail")
	for name, spec := range map[string]*manila.Spec{"another source": cloneOf(v.Share.ID), "no source": func() *manila.Spec { s := nfsSpec(); s.Name = "pvc-clone"; return s }()} {
		if _, err := c.client.Provision(t.Context(), spec); !errors.Is(err, manila.ErrIncompatible) {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing := cloneOf("5f0a9e2c-1111-4222-8333-444455556666")
	missing.Name = "pvc-of-nothing"
	if _, err := c.client.Provision(t.Context(), missing); !errors.Is(err, openstack.ErrNotFound) || errors.Is(err, manila.ErrPending) {
		t.Errorf("no source: %v", err)
	}
}

// TestRefusedCloneLeavesNothing: what Manila refuses for good takes its snapshot with it; when that can't be, it is not the end.
func TestRefusedCloneLeavesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	large := cloneOf(id)
	large.SizeGiB = 5000
	if _, err := c.client.Provision(t.Context(), large); !errors.Is(err, openstack.ErrQuota) || errors.Is(err, manila.ErrPending) {
		t.Errorf("over quota: %v", err)
	}
	if got := c.Manila.Counts(); got.Snapshots != 0 || got.Shares != 1 {
		t.Errorf("left: %+v", got)
	}
	remove := c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodDelete, Path: `^/v2/snapshots/`, Status: 403})
	if _, err := c.client.Provision(t.Context(), large); !errors.Is(err, manila.ErrPending) {
		t.Errorf("over quota, and the snapshot stays: %v", err)
	}
	remove()
	if _, err := c.client.Provision(t.Context(), cloneOf(id)); err != nil {
		t.Fatal(err)
	}
	if got := c.Manila.Counts(); got.Snapshots != 0 || got.Shares != 2 {
		t.Errorf("left: %+v", got)
	}
}

// TestCloneMeetsTrouble spoils each call of a clone, which are taken from the log of a good one, in each way; called again it ends
// well, and nothing is left over.
func TestCloneMeetsTrouble(t *testing.T) {
	t.Parallel()
	good := start(t, openstacksim.ManilaConfig{})
	source := provisioned(t, good)
	if _, err := good.client.Provision(t.Context(), cloneOf(source)); err != nil {
		t.Fatal(err)
	}
	for n := range good.manilaCalls() {
		for name, fault := range faultsOfACloud() {
			t.Run(fmt.Sprintf("call %d %s", n, name), func(t *testing.T) {
				t.Parallel()
				c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Snapshot: 15 * time.Millisecond, CreateFromSnapshot: 15 * time.Millisecond}})
				id := provisioned(t, c)
				fault.Service, fault.Skip, fault.Count = openstacksim.ServiceManila, n, 1
				c.Faults.Add(fault)
				var v *manila.Volume
				err := again(t.Context(), func(ctx context.Context) (err error) {
					v, err = c.client.Provision(ctx, cloneOf(id))
					return err
				})
				if got := c.Manila.Counts(); err != nil || got.Shares != 2 || got.Snapshots != 0 || got.Rules != 2 {
					t.Fatalf("%+v, %v", got, err)
				}
				for _, share := range []string{id, v.Share.ID} {
					if err := c.client.Delete(t.Context(), share); err != nil {
						t.Error(err)
					}
				}
				if got := c.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
					t.Errorf("left: %+v", got)
				}
			})
		}
	}
}

func (c *cloud) manilaCalls() []openstacksim.Call {
	return slices.DeleteFunc(c.Calls.All(), func(call openstacksim.Call) bool { return call.Service != openstacksim.ServiceManila })
}

// TestTwinSnapshots: a snapshot that is usable is taken before an older one of its name that is not.
func TestTwinSnapshots(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaSnapshot, Count: 1})
	client, err := c.session.Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = "2.73"
	var last string
	for range 2 {
		s, err := snapshots.Create(t.Context(), client, snapshots.CreateOpts{ShareID: id, Name: snapshotOf(id).Name}).Extract()
		if err != nil {
			t.Fatal(err)
		}
		last = s.ID
	}
	if s, err := c.client.Snapshot(t.Context(), snapshotOf(id)); err != nil || s.ID != last {
		t.Errorf("got %+v, %v; want %s", s, err, last)
	}
}

// TestMetadataOfAClass: a class can't make a share look like a clone.
func TestMetadataOfAClass(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	spec := nfsSpec()
	spec.Metadata = map[string]string{manila.ClonedFromKey: "x"}
	for range 2 {
		if _, err := c.client.Provision(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
}
