package manila_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// unlimited is a quota without one.
func unlimited() openstacksim.ManilaQuota {
	return openstacksim.ManilaQuota{Shares: -1, Gigabytes: -1, Snapshots: -1, SnapshotGigabytes: -1, ShareNetworks: -1, PerShareGigabytes: -1}
}

// TestPages: pages have everything once and in order, whatever their size, and though things come and go between them.
func TestPages(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Quota: unlimited()})
	var all []string
	for i := range 30 {
		spec := nfsSpec()
		spec.Name, spec.Grants = fmt.Sprintf("pvc-%d", i), nil
		if i%10 == 9 {
			spec.Cluster = "another"
		}
		v, err := c.client.Provision(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if i%10 != 9 {
			all = append(all, v.Share.ID)
		}
	}
	slices.Sort(all)
	for _, limit := range []int{0, 1, 2, 7, 26, 27, 28} {
		var got []string
		for token, pages := "", 0; pages == 0 || token != ""; pages++ {
			page, next, err := c.client.Shares(t.Context(), "c1", token, limit)
			if err != nil || limit > 0 && len(page) > limit {
				t.Fatalf("%d: %d shares, %v", limit, len(page), err)
			}
			for _, s := range page {
				got = append(got, s.ID)
			}
			token = next
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v, want %v", limit, got, all)
		}
	}
	// Between two pages the first of the list go away: what comes next is still next.
	page, token, err := c.client.Shares(t.Context(), "c1", "", 10)
	if err != nil || len(page) != 10 {
		t.Fatal(len(page), err)
	}
	for _, s := range page[:9] {
		if err := c.client.Delete(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
	}
	rest, token, err := c.client.Shares(t.Context(), "c1", token, 0)
	if err != nil || token != "" || len(rest) != len(all)-10 || rest[0].ID != all[10] {
		t.Errorf("after deletions: %d shares, %q, %v", len(rest), token, err)
	}
	for _, bad := range []string{"x", "1", "-1." + all[0], "1.x", "." + all[0], "9223372036854775807." + all[0]} {
		if _, _, err := c.client.Shares(t.Context(), "c1", bad, 0); !errors.Is(err, manila.ErrToken) {
			t.Errorf("token %q: %v", bad, err)
		}
	}
}

// TestManyPages: as many calls as there are thousands.
func TestManyPages(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Quota: unlimited()})
	const many = 2000
	c.Manila.Fill(c.Keystone.User("demo", "demo").ProjectID, many)
	got, next, err := c.client.Shares(t.Context(), "", "", 0)
	if err != nil || next != "" || len(got) != many || !slices.IsSortedFunc(got, func(a, b *manila.Share) int { return strings.Compare(a.ID, b.ID) }) {
		t.Fatalf("%d shares, %q, %v", len(got), next, err)
	}
	if list, _ := c.calls(); len(list) > 3 {
		t.Errorf("%d calls: %q", len(list), list)
	}
}

func TestListOfSnapshots(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	for i := range 3 {
		spec := snapshotOf(id)
		spec.Name = fmt.Sprintf("snapshot-%d", i)
		if i == 2 {
			spec.Name = manila.CloneSnapshotName("pvc-x") // a clone is under way
		}
		if _, err := c.client.Snapshot(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	for share, want := range map[string]int{"": 2, id: 2, "5f0a9e2c-1111-4222-8333-444455556666": 0, "fake": 0} {
		if got, next, err := c.client.Snapshots(t.Context(), share, "c1", "", 0); err != nil || next != "" || len(got) != want {
			t.Errorf("of %q: %d, %q, %v", share, len(got), next, err)
		}
	}
	if got, _, err := c.client.Snapshots(t.Context(), "", "another", "", 0); err != nil || len(got) != 0 {
		t.Errorf("of another cluster: %+v, %v", got, err)
	}
}

// TestEmptyLists: a list without a list in it is no empty list: a name that it lacks would be made once more.
func TestEmptyLists(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := provisioned(t, c)
	for _, body := range []string{"{}", "null", `{"snapshots":null,"shares":null,"share_types":null}`} {
		for name, ask := range map[string]func() error{
			"snapshots/detail": func() error { _, err := c.client.Snapshot(t.Context(), snapshotOf(id)); return err },
			"shares/detail":    func() error { _, _, err := c.client.Shares(t.Context(), "", "", 0); return err },
			"types":            func() error { _, err := c.client.Capacity(t.Context(), "cephfs"); return err },
			"limits":           func() error { _, err := c.client.Capacity(t.Context(), ""); return err },
		} {
			c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Path: "/" + name + "$", Count: 1, Status: http.StatusOK, Body: body})
			if err := ask(); !errors.Is(err, openstack.ErrUnavailable) {
				t.Errorf("%s answered %s: %v", name, body, err)
			}
		}
	}
	if got := c.Manila.Counts(); got.Snapshots != 0 {
		t.Errorf("%+v", got)
	}
}

// TestSmallLimit: a Manila that lists few at once has its pages read to the end.
func TestSmallLimit(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Quota: unlimited(), MaxLimit: 10})
	id := provisioned(t, c)
	for i := range 25 {
		spec := snapshotOf(id)
		spec.Name = fmt.Sprintf("snapshot-%d", i)
		if _, err := c.client.Snapshot(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	if got, next, err := c.client.Snapshots(t.Context(), "", "c1", "", 0); err != nil || next != "" || len(got) != 25 {
		t.Errorf("%d of 25, %q, %v", len(got), next, err)
	}
}
