package manila_test

import (
	"net/http"
	"testing"
)

// TestMarks: keys of a rule's metadata come and go one by one, also those with a colon, and the level ro is granted.
func TestMarks(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.share(t, object{"share_type": "cephfs-nfs"}).text("id")
	rule := grant("ip", "10.2.0.1", "ro")
	rule["metadata"] = object{"mooring-node:n1": "published"}
	r := a.action(t, http.StatusOK, id, "allow_access", rule).object("access").text("id")
	if level := a.ruleBecomes(t, r, "active").text("access_level"); level != "ro" {
		t.Errorf("its level is %s", level)
	}
	path := "share-access-rules/" + r + "/metadata"
	a.want(t, http.StatusOK, http.MethodPut, path, object{"metadata": object{"mooring-node:n2.example": "published"}})
	if md, _ := a.rule(t, r)["metadata"].(map[string]any); len(md) != 2 {
		t.Errorf("a key more: %v", md)
	}
	a.want(t, http.StatusOK, http.MethodDelete, path+"/mooring-node:n1", nil)
	if md, _ := a.rule(t, r)["metadata"].(map[string]any); len(md) != 1 || md["mooring-node:n2.example"] == nil {
		t.Errorf("a key less: %v", md)
	}
	if again := a.call(t, http.MethodDelete, path+"/mooring-node:n1", nil); again.status != http.StatusNotFound {
		t.Errorf("a key that is gone: %d %s", again.status, again.raw)
	}
	if lost := a.call(t, http.MethodGet, "share-access-rules?share_id="+nobody, nil); lost.status != http.StatusBadRequest && lost.status != http.StatusNotFound {
		t.Errorf("the rules of no share: %d %s", lost.status, lost.raw)
	}
}
