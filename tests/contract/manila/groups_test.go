package manila_test

import (
	"net/http"
	"testing"

	"mooring/tests/contract/target"
)

// TestShareGroups: a share of a group is deleted with the group's id alone. An administrator makes the type of the group.
func TestShareGroups(t *testing.T) {
	t.Parallel()
	cloud, a := open(t)
	admin := as(t, cloud, "admin")
	typ := a.share(t, nil).text("share_type")
	groupType := admin.want(t, http.StatusOK, http.MethodPost, "share-group-types", object{"share_group_type": object{"name": target.Unique(t), "share_types": []string{typ}}}).
		object("share_group_type").text("id")
	admin.cleanUp(t, "share-group-types/"+groupType)
	a.refused(t, 400, "Must specify a share group type as a default share group type has not been configured.", http.MethodPost, "share-groups", object{"share_group": object{"share_types": []string{typ}}})
	group := a.want(t, http.StatusAccepted, http.MethodPost, "share-groups", object{"share_group": object{
		"name": target.Unique(t), "share_group_type_id": groupType, "share_types": []string{typ},
	}}).object("share_group").text("id")
	a.cleanUp(t, "share-groups/"+group)
	target.Eventually(t, "the share group being there", func() bool {
		return a.want(t, http.StatusOK, http.MethodGet, "share-groups/"+group, nil).object("share_group").text("status") == "available"
	})

	a.refused(t, 404, "Share group %(share_group_id)s could not be found.", http.MethodPost, "shares", object{"share": object{
		"name": target.Unique(t), "share_proto": "NFS", "share_type": "dummy", "size": 1, "share_group_id": nobody,
	}})
	s := a.at("2.31").want(t, http.StatusOK, http.MethodPost, "shares", object{"share": object{ // which is no experiment, unlike groups themselves
		"name": target.Unique(t), "share_proto": "NFS", "share_type": "dummy", "size": 1, "share_group_id": group,
	}}).object("share")
	a.cleanUp(t, "shares/"+s.text("id")+"?share_group_id="+group)
	if s = a.becomes(t, s.text("id"), "available"); s.text("share_group_id") != group {
		t.Errorf("the share is of group %q, want %s", s.text("share_group_id"), group)
	}
	path := "shares/" + s.text("id")
	a.refused(t, 400, "Must provide 'share_group_id' as a request parameter when deleting a share in a share group.", http.MethodDelete, path, nil)
	a.refused(t, 400, "The specified 'share_group_id' does not match the share group id of the share.", http.MethodDelete, path+"?share_group_id="+nobody, nil)
	a.want(t, http.StatusAccepted, http.MethodDelete, path+"?share_group_id="+group, nil)
	a.gone(t, path)
}

// TestSchedulerHints: a share goes to the back end of others, or elsewhere if there is one, and Manila keeps the hints as metadata. Ids of shares
// that are not there are not tried: a real Manila refuses them when it has counted the new share already, and never takes it back.
func TestSchedulerHints(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	first := a.share(t, nil).text("id")
	hinted := func(hint string) object { return object{"scheduler_hints": object{hint: first}} }
	near := a.share(t, hinted("same_host"))
	for id, other := range map[string]string{near.text("id"): first, first: near.text("id")} {
		md, _ := a.want(t, http.StatusOK, http.MethodGet, "shares/"+id, nil).object("share")["metadata"].(map[string]any)
		if md["__affinity_same_host"] != other {
			t.Errorf("the metadata of share %s is %v, want %s in it", id, md, other)
		}
	}
	apart := a.make(t, hinted("different_host")).text("id")
	target.Eventually(t, "share "+apart+" being in error", func() bool {
		return a.want(t, http.StatusOK, http.MethodGet, "shares/"+apart, nil).object("share").text("status") == "error"
	})
	const words = "allocate host: No storage could be allocated for this share request. Trying again with a different size or share type may succeed."
	if got := a.messages(t, apart); len(got) == 0 || got[0] != words {
		t.Errorf("the messages are %q, want %q", got, words)
	}
	a.want(t, http.StatusAccepted, http.MethodDelete, "shares/"+near.text("id"), nil)
	a.gone(t, "shares/"+near.text("id"))
	if md, _ := a.want(t, http.StatusOK, http.MethodGet, "shares/"+first, nil).object("share")["metadata"].(map[string]any); md["__affinity_same_host"] != nil {
		t.Errorf("the metadata of the share that is left is %v", md)
	}
	old := a.at("2.64").want(t, http.StatusOK, http.MethodPost, "shares", object{"share": object{ // hints are ignored silently
		"name": target.Unique(t), "share_proto": "NFS", "share_type": "dummy", "size": 1, "scheduler_hints": object{"different_host": first},
	}}).object("share").text("id")
	a.cleanUp(t, "shares/"+old)
	a.becomes(t, old, "available")
}

// TestReplicas: those of a project are one list, which is empty where nothing is replicated; every share says whether it is.
func TestReplicas(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	s := a.share(t, nil)
	if s["has_replicas"] != false || s["replication_type"] != nil {
		t.Errorf("the share has replicas: %v, of type %v", s["has_replicas"], s["replication_type"])
	}
	for _, query := range []string{"", "?share_id=" + s.text("id"), "?limit=1000&offset=0"} {
		got := a.at("2.56").want(t, http.StatusOK, http.MethodGet, "share-replicas/detail"+query, nil)
		if list, ok := got.body["share_replicas"].([]any); !ok || len(list) != 0 {
			t.Errorf("%s: %s", query, got.raw)
		}
	}
	a.at("2.55").want(t, http.StatusNotFound, http.MethodGet, "share-replicas/detail", nil) // an experiment, which needs a header
}
