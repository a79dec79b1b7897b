package manila_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"mooring/tests/contract/target"
)

func TestRulesThatAreRefused(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.share(t, nil).text("id")
	path := "shares/" + id + "/action"
	for _, c := range []struct {
		version, words string
		rule           object
	}{
		{newest, "Only 'ip', 'user', 'cert' or 'cephx' access types are supported.", grant("magic", "x", "rw")},
		{newest, "Invalid access rule: Invalid share access level: rx.", grant("ip", "10.0.0.1", "rx")},
		{newest, "'everybody' does not appear to be an IPv4 or IPv6 network", grant("ip", "everybody", "rw")},
		{newest, "10.0.0.1/8 has host bits set", grant("ip", "10.0.0.1/8", "rw")},
		{newest, "Ceph IDs may not contain periods.", grant("cephx", "client.admin", "rw")},
		{newest, "Ceph IDs may not be empty.", grant("cephx", "", "rw")},
		{"2.37", "Expected 4 octets in 'fd00::1'", grant("ip", "fd00::1", "rw")},
	} {
		a.at(c.version).refused(t, 400, c.words, http.MethodPost, path, object{"allow_access": c.rule})
	}
	a.refused(t, 404, "Share access rule "+nobody+" not found.", http.MethodGet, "share-access-rules/"+nobody, nil)
}

func TestRules(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.share(t, nil).text("id")
	path := "shares/" + id + "/action"
	allow := func(rule object) string {
		t.Helper()
		return a.action(t, http.StatusOK, id, "allow_access", rule).object("access").text("id")
	}
	first := allow(grant("ip", "10.0.0.1", "rw"))
	for _, same := range []string{"10.0.0.1", "10.0.0.1/32"} {
		a.refused(t, 400, "Share access ip:"+same+" exists.", http.MethodPost, path, object{"allow_access": grant("ip", same, "ro")})
	}
	six := allow(grant("ip", "fd00::/64", "ro"))
	level := allow(object{"access_type": "ip", "access_to": "10.1.0.0/16"})
	for _, rule := range []string{first, six, level} {
		a.ruleBecomes(t, rule, "active")
	}
	t.Logf("without a level a rule is %v", a.rule(t, level)["access_level"])
	rules := a.want(t, http.StatusOK, http.MethodGet, "share-access-rules?share_id="+id, nil).list("access_list")
	if got := ids(rules); len(got) != 3 || !slices.Contains(got, six) {
		t.Errorf("the rules are %v", rules)
	}
	if old := a.at("2.44").action(t, http.StatusOK, id, "access_list", nil).list("access_list"); len(old) != 3 {
		t.Errorf("at 2.44 the rules are %v", old)
	}
	a.becomesSynced(t, id)

	a.want(t, http.StatusOK, http.MethodPut, "share-access-rules/"+first+"/metadata", object{"metadata": object{"by": "me"}})
	if md, _ := a.rule(t, first)["metadata"].(map[string]any); md["by"] != "me" {
		t.Errorf("its metadata is %v", md)
	}
	a.action(t, http.StatusAccepted, id, "deny_access", object{"access_id": first})
	a.gone(t, "share-access-rules/"+first)
	a.refused(t, 404, "Resource could not be found.", http.MethodPost, path, object{"deny_access": object{"access_id": first}})
	again := allow(grant("ip", "10.0.0.1", "ro"))
	if r := a.ruleBecomes(t, again, "active"); r.text("access_level") != "ro" {
		t.Errorf("granted anew, the rule is %v", r)
	}
}

func (a *api) becomesSynced(t *testing.T, id string) {
	t.Helper()
	target.Eventually(t, "the rules of share "+id+" being active", func() bool {
		return a.want(t, http.StatusOK, http.MethodGet, "shares/"+id, nil).object("share").text("access_rules_status") == "active"
	})
}

// TestRulesInError: a CephFS back end takes cephx rules only, and not the user that Manila itself is.
func TestRulesInError(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.share(t, object{"share_proto": "CEPHFS", "share_type": "cephfs"}).text("id")
	for _, c := range []struct {
		rule object
		want string
	}{
		{grant("ip", "10.0.0.1", "rw"), "update access rules: Failed to grant access to client. The access level or type may be unsupported. You may try again with a different access level or access type."},
		{grant("cephx", "manila", "rw"), "update access rules: Failed to grant access to client. The client ID used may be forbidden. You may try again with a different client identifier."},
	} {
		r := a.action(t, http.StatusOK, id, "allow_access", c.rule).object("access")
		a.ruleBecomes(t, r.text("id"), "error")
		if got := a.messages(t, id); len(got) == 0 || got[0] != c.want {
			t.Errorf("%v: the messages are %q, want %q first", c.rule, got, c.want)
		}
		target.Eventually(t, "the rules of share "+id+" being in error, and the share available", func() bool {
			s := a.want(t, http.StatusOK, http.MethodGet, "shares/"+id, nil).object("share")
			return s.text("access_rules_status") == "error" && s.text("status") == "available"
		})
		a.action(t, http.StatusAccepted, id, "deny_access", object{"access_id": r.text("id")})
		a.gone(t, "share-access-rules/"+r.text("id"))
	}
	a.becomesSynced(t, id)
}

// TestMessages: a share for which no back end is good enough goes to error, and Manila says why.
func TestMessages(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	s := a.make(t, object{"share_type": "cephfs", "share_proto": "NFS"})
	id := s.text("id")
	var status string
	target.Eventually(t, "an end of share "+id, func() bool {
		status = a.want(t, http.StatusOK, http.MethodGet, "shares/"+id, nil).object("share").text("status")
		return status != "creating"
	})
	t.Logf("an NFS share of a type for CEPHFS is %s: %q", status, a.messages(t, id))
	if status != "error" {
		t.Fatalf("it is %s", status)
	}
	all := a.want(t, http.StatusOK, http.MethodGet, "messages"+query("resource_id", id), nil).list("messages")
	if len(all) != 1 || !strings.Contains(all[0].text("user_message"), ": ") || all[0].text("resource_type") != "SHARE" || all[0].text("message_level") != "ERROR" || all[0].text("detail_id") == "" {
		t.Fatalf("its messages are %v", all)
	}
	one := a.want(t, http.StatusOK, http.MethodGet, "messages/"+all[0].text("id"), nil).object("message")
	if one.text("user_message") != all[0].text("user_message") {
		t.Errorf("one message is %v", one)
	}
	a.want(t, http.StatusNoContent, http.MethodDelete, "messages/"+all[0].text("id"), nil)
	a.refused(t, 404, "Message "+all[0].text("id")+" could not be found.", http.MethodGet, "messages/"+all[0].text("id"), nil)
	// A share in error has no export locations and can be deleted.
	if exports := a.want(t, http.StatusOK, http.MethodGet, "shares/"+id+"/export_locations", nil).list("export_locations"); len(exports) != 0 {
		t.Errorf("it has export locations: %v", exports)
	}
	a.want(t, http.StatusAccepted, http.MethodDelete, "shares/"+id, nil)
	a.gone(t, "shares/"+id)
}

// TestRulesTogether: when a share says that its rules are active, each of them is, also those that were granted a moment ago.
func TestRulesTogether(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.share(t, object{"share_type": "cephfs-nfs"}).text("id")
	for _, to := range []string{"10.1.0.1", "10.1.0.2", "10.1.0.3"} {
		r := a.action(t, http.StatusOK, id, "allow_access", grant("ip", to, "rw")).object("access")
		target.Eventually(t, "the rules being active", func() bool {
			for _, s := range a.want(t, http.StatusOK, http.MethodGet, "shares/detail", nil).list("shares") {
				if s.text("id") != id || s.text("access_rules_status") != "active" {
					continue
				}
				if state := a.rule(t, r.text("id")).text("state"); state != "active" {
					t.Errorf("the rules are active, and the one for %s is %s", to, state)
				}
				return true
			}
			return false
		})
	}
}
