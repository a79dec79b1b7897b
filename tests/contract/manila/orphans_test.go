package manila_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
)

// TestOrphans: what carries a cluster's id is found with its age, is told apart from all else, and goes in order.
func TestOrphans(t *testing.T) {
	t.Parallel()
	cloud, a := open(t)
	client := manila.New(cloud.Session(t, "demo"), manila.Options{})
	cluster := fmt.Sprintf("contract-%d", time.Now().UnixNano())
	v, err := client.Provision(t.Context(), &manila.Spec{
		Name: cluster, Cluster: cluster, SizeGiB: 1, Protocol: manila.CEPHFS, Type: "cephfs", Grants: []manila.Grant{{Kind: manila.KindCephx, To: cluster, Level: "rw"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.cleanUp(t, "shares/"+v.Share.ID)
	s, err := client.Snapshot(t.Context(), &manila.SnapshotSpec{Name: cluster, Cluster: cluster, ShareID: v.Share.ID})
	if err != nil {
		t.Fatal(err)
	}
	a.cleanUp(t, "snapshots/"+s.ID)
	have, err := client.Inventory(t.Context(), func(s *manila.Share) bool { return s.Metadata[manila.ClusterKey] == cluster })
	if err != nil {
		t.Fatal(err)
	}
	rules := have.Rules[v.Share.ID]
	if len(have.Rules) != 1 || len(rules) != 1 || rules[0].CreatedAt.IsZero() || time.Since(rules[0].CreatedAt).Abs() > time.Hour {
		t.Errorf("the rules are %+v", rules)
	}
	now := time.Now().Add(time.Minute) // the clocks may differ
	found := manila.Orphans(cluster, have, &manila.Known{}, now, 0)
	var ids []string
	for _, o := range found {
		ids = append(ids, o.ID)
	}
	if !slices.Equal(ids, []string{s.ID, v.Share.ID}) {
		t.Fatalf("the orphans are %+v", found)
	}
	if young := manila.Orphans(cluster, have, &manila.Known{}, now, time.Hour); len(young) > 0 {
		t.Errorf("what is young: %+v", young)
	}
	for i := range found {
		again, err := client.Reread(t.Context(), have, &found[i])
		if err != nil {
			t.Fatal(err)
		}
		if still := manila.Orphans(cluster, again, &manila.Known{}, now, 0); !slices.ContainsFunc(still, func(o manila.Orphan) bool { return o.ID == found[i].ID }) {
			t.Errorf("%s is none when it is read again", found[i].ID)
		}
		if err := client.DeleteOrphan(t.Context(), &found[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Share(t.Context(), v.Share.ID); !errors.Is(err, openstack.ErrNotFound) {
		t.Errorf("the share is still there: %v", err)
	}
}
