package manila_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"mooring/tests/contract/target"
)

func (a *api) snapshot(t *testing.T, share string) object {
	t.Helper()
	made := a.want(t, http.StatusAccepted, http.MethodPost, "snapshots", object{"snapshot": object{"share_id": share, "name": target.Unique(t), "metadata": object{"k": "v"}}}).object("snapshot")
	if made.text("status") != "creating" || made.text("share_id") != share {
		t.Errorf("a new snapshot is %v", made)
	}
	a.cleanUp(t, "snapshots/"+made.text("id"))
	return a.snapshotBecomes(t, made.text("id"), "available")
}

func (a *api) snapshotBecomes(t *testing.T, id, status string) (s object) {
	t.Helper()
	target.Eventually(t, "snapshot "+id+" being "+status, func() bool {
		s = a.want(t, http.StatusOK, http.MethodGet, "snapshots/"+id, nil).object("snapshot")
		return s.text("status") == status
	})
	return s
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	share := a.share(t, nil).text("id")
	s := a.snapshot(t, share)
	id := s.text("id")
	if s.number("size") != 1 || s.number("share_size") != 1 || s.text("share_proto") != "NFS" || s.text("project_id") != a.owner.ProjectID {
		t.Errorf("the snapshot is %v", s)
	}
	if md, _ := s["metadata"].(map[string]any); md["k"] != "v" {
		t.Errorf("its metadata is %v", s["metadata"])
	}
	a.want(t, http.StatusOK, http.MethodDelete, "snapshots/"+id+"/metadata/k", nil)
	a.refused(t, 404, "MetadataItemNotFound: Metadata item is not found.", http.MethodDelete, "snapshots/"+id+"/metadata/k", nil)
	if md, _ := a.want(t, http.StatusOK, http.MethodGet, "snapshots/"+id, nil).object("snapshot")["metadata"].(map[string]any); len(md) != 0 {
		t.Errorf("its metadata is %v, without its only key", md)
	}
	for _, q := range []string{query("share_id", share), query("name", s.text("name"))} {
		if got := ids(a.want(t, http.StatusOK, http.MethodGet, "snapshots/detail"+q, nil).list("snapshots")); !slices.Equal(got, []string{id}) {
			t.Errorf("snapshots%s: %v", q, got)
		}
	}
	a.refused(t, 403, "Invalid share: %(reason)s.", http.MethodDelete, "shares/"+share, nil)

	copied := a.make(t, object{"snapshot_id": id, "size": 2})
	if status := copied.text("status"); copied.text("snapshot_id") != id || status != "creating" && status != "creating_from_snapshot" {
		t.Errorf("a share from a snapshot is %v", copied)
	}
	if done := a.becomes(t, copied.text("id"), "available"); done.number("size") < 1 || done.text("progress") != "100%" {
		t.Errorf("done, it is %v", done)
	}
	body := func(change object) object {
		out := object{"name": target.Unique(t), "share_proto": "NFS", "size": 1, "snapshot_id": id}
		maps.Copy(out, change)
		return object{"share": out}
	}
	a.refused(t, 400, "Invalid input received: Invalid share type specified: the requested share type must match the type of the source share. If a share type is not "+
		"specified when requesting a new share from a snapshot, the share type of the source share will be applied to the new share.", http.MethodPost, "shares", body(object{"share_type": "cephfs"}))

	a.want(t, http.StatusAccepted, http.MethodDelete, "snapshots/"+id, nil)
	a.gone(t, "snapshots/"+id)
	a.refused(t, 404, "The resource could not be found.", http.MethodDelete, "snapshots/"+id, nil)
	a.refused(t, 404, "NotFound: Resource could not be found.", http.MethodPost, "snapshots", object{"snapshot": object{"share_id": nobody}})
}

func TestSmallerThanItsSnapshot(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.snapshot(t, a.share(t, object{"size": 2}).text("id")).text("id")
	a.refused(t, 400, "Invalid input received: Share size '1' must be equal or greater than snapshot size.", http.MethodPost, "shares",
		object{"share": object{"share_proto": "NFS", "size": 1, "snapshot_id": id}})
}

func TestTypes(t *testing.T) {
	t.Parallel()
	cloud, a := open(t)
	types := a.want(t, http.StatusOK, http.MethodGet, "types", nil).list("share_types")
	var names []string
	defaults := 0
	for _, typ := range types {
		names = append(names, typ.text("name"))
		specs, _ := typ["extra_specs"].(map[string]any)
		if specs["snapshot_support"] == nil || specs["share_backend_name"] != nil {
			t.Errorf("a tenant sees extra specs %v", specs)
		}
		if typ["is_default"] == true {
			defaults++
		}
	}
	for _, want := range []string{"cephfs", "cephfs-nfs", "dummy"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no type %s in %v", want, names)
		}
	}
	if defaults != 1 {
		t.Errorf("%d types are the default one", defaults)
	}
	one := a.want(t, http.StatusOK, http.MethodGet, "types/default", nil).object("share_type")
	if one["is_default"] != true {
		t.Errorf("the default type is %v", one)
	}
	a.want(t, http.StatusNotFound, http.MethodGet, "types/"+nobody, nil)
	a.refused(t, 403, "Access was denied to this resource.", http.MethodGet, "services", nil)
	if services := as(t, cloud, "admin").want(t, http.StatusOK, http.MethodGet, "services", nil).list("services"); len(services) < 2 || services[0].text("state") != "up" {
		t.Errorf("the services are %v", services)
	}
	if zones := a.want(t, http.StatusOK, http.MethodGet, "availability-zones", nil).list("availability_zones"); len(zones) != 1 || zones[0].text("name") != "nova" {
		t.Errorf("the zones are %v", zones)
	}
}

func TestShareNetworks(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	a.refused(t, 404, "Share network "+nobody+" could not be found.", http.MethodGet, "share-networks/"+nobody, nil)
	a.want(t, http.StatusOK, http.MethodGet, "share-networks", nil)
}

// TestOrderOfIDs: lists can be sorted by id, and their pages then go on where the last one ended.
func TestOrderOfIDs(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	name := target.Unique(t)
	var shares, snapshots []string
	for i := range 3 {
		shares = append(shares, a.share(t, object{"name": sprintf("%s-%d", name, i)}).text("id"))
		snapshots = append(snapshots, a.snapshot(t, shares[0]).text("id"))
	}
	filters := map[string][]string{"shares": {"name~", name}, "snapshots": {"share_id", shares[0]}} // others make some, too
	for kind, made := range map[string][]string{"shares": shares, "snapshots": snapshots} {
		slices.Sort(made)
		var all []string
		for offset := 0; ; offset++ {
			page := ids(a.want(t, http.StatusOK, http.MethodGet, kind+"/detail"+query(append(filters[kind], "limit", "1", "offset", sprintf("%d", offset), "sort_key", "id", "sort_dir", "asc")...), nil).list(kind))
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
		}
		if !slices.Equal(all, made) {
			t.Errorf("the pages of %s have %v, want %v", kind, all, made)
		}
	}
}
