package manila_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"mooring/pkg/manila"
)

// TestAdmitAndDismiss: nodes get rules of their own with the level they want, that say for whom they are, and take them along; a rule that
// somebody else made stays.
func TestAdmitAndDismiss(t *testing.T) {
	t.Parallel()
	cloud, a := open(t)
	client := manila.New(cloud.Session(t, "demo"), manila.Options{})
	cluster := fmt.Sprintf("contract-admit-%d", time.Now().UnixNano())
	id := a.share(t, object{"share_type": "cephfs-nfs"}).text("id")
	foreign := a.action(t, http.StatusOK, id, "allow_access", grant("ip", "10.3.9.9", "rw")).object("access").text("id")
	a.ruleBecomes(t, foreign, "active")
	admit := func(node, address, level string) *manila.Rule {
		t.Helper()
		w := &manila.Admission{Grant: manila.Grant{Kind: manila.KindIP, To: address, Level: level}, Cluster: cluster, Node: node}
		r, err := client.Admit(t.Context(), id, w)
		if err != nil {
			t.Fatal(err)
		}
		again, err := client.Admit(t.Context(), id, w)
		if err != nil || again.ID != r.ID {
			t.Errorf("%s asked again: %+v, %v", node, again, err)
		}
		return r
	}
	for node, want := range map[string]struct{ address, level string }{"n1": {"10.3.0.1", "rw"}, "n2": {"10.3.0.2", "ro"}} {
		there := a.rule(t, admit(node, want.address, want.level).ID)
		md, _ := there["metadata"].(map[string]any)
		if there.text("access_to") != want.address || there.text("access_level") != want.level || there.text("state") != "active" || md[manila.NodeKeyPrefix+node] == nil || md[manila.ClusterKey] != cluster {
			t.Errorf("%s has %v", node, there)
		}
	}
	for _, c := range []struct {
		node string
		left int
	}{{"n1", 2}, {"n1", 2}, {"", 1}, {"", 1}} {
		if err := client.Dismiss(t.Context(), id, cluster, c.node); err != nil {
			t.Fatal(err)
		}
		rules := a.want(t, http.StatusOK, http.MethodGet, "share-access-rules?share_id="+id, nil).list("access_list")
		if len(rules) != c.left || a.rule(t, foreign).text("state") != "active" {
			t.Errorf("%q is out: %v", c.node, rules)
		}
	}
}
