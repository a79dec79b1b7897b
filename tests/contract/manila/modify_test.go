package manila_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"mooring/pkg/manila"
	"mooring/tests/contract/target"
)

// TestShareMetadata: a POST adds, a PUT replaces, and a key with a slash can be removed only by a PUT of the others.
func TestShareMetadata(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	path := "shares/" + a.share(t, object{"metadata": object{"a": "1"}}).text("id") + "/metadata"
	const slash = "manila.csi.openstack.org/x"
	a.want(t, http.StatusOK, http.MethodPost, path, object{"metadata": object{"b": "2", slash: "3"}})
	got := a.want(t, http.StatusOK, http.MethodPost, path, object{"metadata": object{"a": "4"}}).object("metadata")
	if want := (object{"a": "4", "b": "2", slash: "3"}); !maps.Equal(got, want) {
		t.Errorf("the metadata is %v, want %v", got, want)
	}
	a.refused(t, 400, "Metadata property value is blank.", http.MethodPost, path, object{"metadata": object{"a": ""}})
	a.refused(t, 400, "Metadata property key is blank.", http.MethodPost, path, object{"metadata": object{"": "x"}})
	a.refused(t, 400, "Malformed request body", http.MethodPost, path, object{"a": "b"})
	a.want(t, http.StatusNotFound, http.MethodDelete, path+"/manila.csi.openstack.org%2Fx", nil)
	a.want(t, http.StatusOK, http.MethodDelete, path+"/b", nil)
	a.want(t, http.StatusNotFound, http.MethodDelete, path+"/b", nil)
	a.want(t, http.StatusOK, http.MethodPut, path, object{"metadata": object{"a": "5"}})
	if got := a.want(t, http.StatusOK, http.MethodGet, path, nil).object("metadata"); !maps.Equal(got, object{"a": "5"}) {
		t.Errorf("the metadata is %v", got)
	}
	a.want(t, http.StatusNotFound, http.MethodPost, "shares/"+nobody+"/metadata", object{"metadata": object{"a": "b"}})
}

// TestLevelOfARule: before 2.88 a rule's level can't be changed, and there is no second rule for its client, not even while the first
// one is being removed.
func TestLevelOfARule(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.share(t, nil).text("id")
	rule := a.action(t, http.StatusOK, id, "allow_access", grant("ip", "10.0.0.0/8", "rw")).object("access").text("id")
	a.ruleBecomes(t, rule, "active")
	a.refused(t, 404, "The resource could not be found.", http.MethodPut, "share-access-rules/"+rule, object{"update_access": object{"access_level": "ro"}})
	// A rule within another is one of its own.
	inner := a.action(t, http.StatusOK, id, "allow_access", grant("ip", "10.0.0.1", "ro")).object("access").text("id")
	a.ruleBecomes(t, inner, "active")
	a.action(t, http.StatusAccepted, id, "deny_access", object{"access_id": rule})
	if got := a.call(t, http.MethodPost, "shares/"+id+"/action", object{"allow_access": grant("ip", "10.0.0.0/8", "ro")}); got.status == http.StatusBadRequest {
		a.gone(t, "share-access-rules/"+rule)
		got = a.action(t, http.StatusOK, id, "allow_access", grant("ip", "10.0.0.0/8", "ro"))
		a.ruleBecomes(t, got.object("access").text("id"), "active")
	}
	a.ruleBecomes(t, inner, "active")
}

// TestKeyOfACephxUser: a user that has no rule any more is forgotten with its key, and named again it has another one.
func TestKeyOfACephxUser(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	share := func() string { return a.share(t, object{"share_proto": "CEPHFS", "share_type": "cephfs"}).text("id") }
	user := target.Unique(t)
	allow := func(id, level string) (rule, key string) {
		t.Helper()
		rule = a.action(t, http.StatusOK, id, "allow_access", grant("cephx", user, level)).object("access").text("id")
		return rule, a.ruleBecomes(t, rule, "active").text("access_key")
	}
	deny := func(id, rule string) {
		t.Helper()
		a.action(t, http.StatusAccepted, id, "deny_access", object{"access_id": rule})
		a.gone(t, "share-access-rules/"+rule)
	}
	one, two := share(), share()
	rule, first := allow(one, "rw")
	deny(one, rule)
	rule, second := allow(one, "ro")
	if first == second {
		t.Error("the user has the key of its earlier life")
	}
	if _, key := allow(two, "rw"); key != second {
		t.Error("the user has another key on another share")
	}
	deny(one, rule)
	if _, key := allow(one, "rw"); key != second {
		t.Error("the user has another key, and it has never been without a rule")
	}
}

// TestRetypeIsForAdministrators: a tenant may not change the type of a share.
func TestRetypeIsForAdministrators(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	path := "shares/" + a.share(t, nil).text("id") + "/action"
	body := object{"migration_start": object{
		"host": "h@b#p", "new_share_type_id": nobody, "preserve_metadata": true, "writable": true, "nondisruptive": true, "preserve_snapshots": true,
	}}
	a.refused(t, 404, "The resource could not be found.", http.MethodPost, path, body)
	a.experimental = true
	a.refused(t, 403, "Access was denied to this resource.", http.MethodPost, path, body)
}

// TestModify changes shares as the driver does: an NFS share, with its clients and their level, and one of CephFS, whose user keeps
// its key.
func TestModify(t *testing.T) {
	t.Parallel()
	cloud, a := open(t)
	client := manila.New(cloud.Session(t, "demo"), manila.Options{})
	provision := func(protocol, shareType string, grants ...manila.Grant) string {
		t.Helper()
		v, err := client.Provision(t.Context(), &manila.Spec{
			Name: target.Unique(t), Cluster: "contract", SizeGiB: 1, Protocol: protocol, Type: shareType, Grants: grants, Metadata: map[string]string{manila.AccessKey: "static"},
		})
		if err != nil {
			t.Fatal(err)
		}
		a.cleanUp(t, "shares/"+v.Share.ID)
		return v.Share.ID
	}
	nfs := provision(manila.NFS, "cephfs-nfs", manila.Grant{Kind: manila.KindIP, To: "10.0.0.1", Level: "rw"}, manila.Grant{Kind: manila.KindIP, To: "10.0.0.2", Level: "rw"})
	for _, c := range []struct {
		change manila.Change
		want   []string
	}{
		{manila.Change{Clients: []string{"10.0.0.2", "10.0.0.3"}, Metadata: map[string]string{"tier": "gold"}}, []string{"10.0.0.2 rw", "10.0.0.3 rw"}},
		{manila.Change{Level: "ro"}, []string{"10.0.0.2 ro", "10.0.0.3 ro"}},
		{manila.Change{Clients: []string{"10.0.0.0/24"}, Level: "rw"}, []string{"10.0.0.0/24 rw"}},
	} {
		c.change.Cluster = "contract"
		began := time.Now()
		if err := client.Modify(t.Context(), nfs, &c.change); err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v took %v", c.change, time.Since(began).Round(time.Millisecond))
		var got []string
		for _, r := range a.want(t, http.StatusOK, http.MethodGet, "share-access-rules?share_id="+nfs, nil).list("access_list") {
			got = append(got, r.text("access_to")+" "+r.text("access_level"))
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%+v: access %q, want %q", c.change, got, c.want)
		}
	}
	md := a.want(t, http.StatusOK, http.MethodGet, "shares/"+nfs, nil).object("share")["metadata"]
	if got, _ := md.(map[string]any); got["tier"] != "gold" || len(got) != 4 {
		t.Errorf("the metadata is %v", md)
	}

	user := target.Unique(t)
	ceph := provision(manila.CEPHFS, "cephfs", manila.Grant{Kind: manila.KindCephx, To: user, Level: "rw"})
	if err := client.Modify(t.Context(), ceph, &manila.Change{Cluster: "contract", Level: "ro"}); !errors.Is(err, manila.ErrUnchangeable) {
		t.Errorf("the level of a cephx user: %v", err)
	}
	if err := client.Modify(t.Context(), nfs, &manila.Change{Cluster: "contract", Type: "cephfs"}); !errors.Is(err, manila.ErrUnchangeable) {
		t.Errorf("another type: %v", err)
	}
}
