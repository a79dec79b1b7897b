package manila_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mooring/tests/contract/target"
)

func TestMicroversions(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	doc := a.at("").want(t, http.StatusOK, http.MethodGet, "", nil)
	versions := doc.list("versions")
	if len(versions) != 1 || versions[0].text("id") != "v2.0" || versions[0].text("min_version") != "2.0" || !regexp.MustCompile(`^2\.\d+$`).MatchString(versions[0].text("version")) {
		t.Errorf("the version document is %s", doc.raw)
	}
	for _, v := range []string{"2.37", newest} {
		if got := a.at(v).call(t, http.MethodGet, "shares", nil); got.header.Get("X-OpenStack-Manila-API-Version") != v || got.header.Get("Vary") != "X-OpenStack-Manila-API-Version" {
			t.Errorf("%s: the answer's headers are %v", v, got.header)
		}
	}
	if got := a.at("").call(t, http.MethodGet, "shares", nil).header.Get("X-OpenStack-Manila-API-Version"); got != "2.0" {
		t.Errorf("without a version it is %q, want 2.0", got)
	}
	// Manila shows the templates of these messages.
	a.at("2.999").refused(t, http.StatusNotAcceptable, "Version %(req_ver)s is not supported by the API. Minimum is %(min_ver)s and maximum is %(max_ver)s.", http.MethodGet, "shares", nil)
	a.at("new").refused(t, http.StatusBadRequest, "API Version String %(version)s is of invalid format. Must be of format MajorNum.MinorNum.", http.MethodGet, "shares", nil)
}

func TestMicroversionGating(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	const text = "The resource could not be found."
	id := a.share(t, nil).text("id")
	for _, c := range []struct {
		last, first, path string
	}{
		{"2.36", "2.37", "messages"},
		{"2.44", "2.45", "share-access-rules?share_id=" + id},
		{"2.8", "2.9", "shares/" + id + "/export_locations"},
		{"2.24", "2.25", "quota-sets/" + a.owner.ProjectID + "/detail"},
		{"2.6", "2.7", "availability-zones"},
	} {
		a.at(c.last).refused(t, http.StatusNotFound, text, http.MethodGet, c.path, nil)
		a.at(c.first).want(t, http.StatusOK, http.MethodGet, c.path, nil)
	}
	a.at("2.6").refused(t, http.StatusNotFound, text, http.MethodPost, "shares/"+id+"/action", object{"extend": object{"new_size": 2}})
	a.at("2.45").refused(t, http.StatusNotFound, text, http.MethodPost, "shares/"+id+"/action", object{"access_list": nil})
	a.refused(t, http.StatusBadRequest, "There is no such action: dance", http.MethodPost, "shares/"+id+"/action", object{"dance": nil})
	if s := a.at("2.8").want(t, http.StatusOK, http.MethodGet, "shares/"+id, nil).object("share"); s["export_locations"] == nil || s["has_replicas"] != nil {
		t.Errorf("at 2.8 a share is %v", s)
	}
}

func TestCephFSShare(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	name := target.Unique(t)
	made := a.make(t, object{"name": name, "share_proto": "cephfs", "share_type": "cephfs", "metadata": object{"k": "v"}})
	id := made.text("id")
	if made.text("status") != "creating" || made.text("name") != name || made.text("share_proto") != "CEPHFS" || made.text("share_type_name") != "cephfs" || made.number("size") != 1 {
		t.Errorf("a new share is %v", made)
	}
	s := a.becomes(t, id, "available")
	if s.text("availability_zone") == "" || s.text("access_rules_status") != "active" || s["snapshot_support"] != true || s.text("project_id") != a.owner.ProjectID {
		t.Errorf("the share is %v", s)
	}
	if md, _ := s["metadata"].(map[string]any); md["k"] != "v" {
		t.Errorf("its metadata is %v", s["metadata"])
	}
	exports := a.want(t, http.StatusOK, http.MethodGet, "shares/"+id+"/export_locations", nil).list("export_locations")
	pattern := regexp.MustCompile(`^([0-9.]+:\d+,)*[0-9.]+:\d+:/volumes/_nogroup/[0-9a-f-]{36}/[0-9a-f-]{36}$`)
	if len(exports) != 1 || !pattern.MatchString(exports[0].text("path")) || exports[0]["preferred"] != false || exports[0]["is_admin_only"] != nil {
		t.Errorf("its export locations are %v", exports)
	}

	user := target.Unique(t)
	r := a.action(t, http.StatusOK, id, "allow_access", object{"access_type": "cephx", "access_to": user, "access_level": "rw", "metadata": object{"by": "me"}}).object("access")
	if r.text("state") != "queued_to_apply" || r.text("share_id") != id || r["access_key"] != nil || r.text("access_to") != user {
		t.Errorf("a new rule is %v", r)
	}
	active := a.ruleBecomes(t, r.text("id"), "active")
	if md, _ := active["metadata"].(map[string]any); len(active.text("access_key")) < 40 || md["by"] != "me" {
		t.Errorf("the active rule has key of %d characters, metadata %v", len(active.text("access_key")), active["metadata"])
	}
	if again := a.make(t, object{"share_proto": "CEPHFS", "share_type": "cephfs"}).text("id"); again != "" { // one user has one key, on all shares
		a.becomes(t, again, "available")
		second := a.action(t, http.StatusOK, again, "allow_access", grant("cephx", user, "ro")).object("access")
		if key := a.ruleBecomes(t, second.text("id"), "active").text("access_key"); key != active.text("access_key") {
			t.Error("the same cephx user has another key on another share")
		}
	}

	a.want(t, http.StatusAccepted, http.MethodDelete, "shares/"+id, nil)
	a.gone(t, "shares/"+id)
	a.refused(t, http.StatusNotFound, "Share access rule "+r.text("id")+" not found.", http.MethodGet, "share-access-rules/"+r.text("id"), nil)
}

func TestNFSShare(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.share(t, object{"share_type": "cephfs-nfs"}).text("id")
	exports := a.want(t, http.StatusOK, http.MethodGet, "shares/"+id+"/export_locations", nil).list("export_locations")
	pattern := regexp.MustCompile(`^[0-9.]+:/volumes/_nogroup/[0-9a-f-]{36}/[0-9a-f-]{36}$`)
	if len(exports) == 0 || slices.ContainsFunc(exports, func(e object) bool { return !pattern.MatchString(e.text("path")) }) {
		t.Errorf("its export locations are %v", exports)
	}
	one := a.want(t, http.StatusOK, http.MethodGet, "shares/"+id+"/export_locations/"+exports[0].text("id"), nil).object("export_location")
	if one.text("path") != exports[0].text("path") || one.text("created_at") == "" {
		t.Errorf("one export location is %v", one)
	}
	a.refused(t, http.StatusNotFound, "Export location '"+nobody+"' not found.", http.MethodGet, "shares/"+id+"/export_locations/"+nobody, nil)
	r := a.action(t, http.StatusOK, id, "allow_access", grant("ip", "0.0.0.0/0", "rw")).object("access")
	a.ruleBecomes(t, r.text("id"), "active")
}

func TestShareIsNotThere(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	a.refused(t, http.StatusNotFound, "The resource could not be found.", http.MethodGet, "shares/"+nobody, nil)
	a.refused(t, http.StatusNotFound, "The resource could not be found.", http.MethodDelete, "shares/"+nobody, nil)
	a.refused(t, http.StatusNotFound, "Share '"+nobody+"' not found.", http.MethodGet, "shares/"+nobody+"/export_locations", nil)
	a.refused(t, http.StatusNotFound, "Share not found.", http.MethodGet, "shares/"+nobody+"/metadata", nil)
	a.refused(t, http.StatusBadRequest, "Share "+nobody+" not found.", http.MethodGet, "share-access-rules?share_id="+nobody, nil)
	a.refused(t, http.StatusBadRequest, "The field 'share_id' has to be specified.", http.MethodGet, "share-access-rules", nil)
	a.refused(t, http.StatusNotFound, "NotFound: Resource could not be found.", http.MethodPost, "shares/"+nobody+"/action", object{"allow_access": grant("ip", "10.0.0.1", "rw")})
	a.refused(t, http.StatusNotFound, "Resource could not be found.", http.MethodPost, "shares/"+nobody+"/action", object{"extend": object{"new_size": 2}})
}

func TestSharesThatAreRefused(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	for _, c := range []struct {
		status int
		words  string
		change object
	}{
		{404, "Share type not found.", object{"share_type": "no-such-type"}},
		{404, "Share type not found.", object{"share_type": nobody}},
		{404, "Availability zone %(id)s could not be found.", object{"availability_zone": "mars"}},
		{404, "Share network " + nobody + " could not be found.", object{"share_network_id": nobody}},
		{404, "ShareSnapshotNotFound: Snapshot " + nobody + " could not be found.", object{"snapshot_id": nobody}},
		{400, "Invalid input received: Share size '0' must be an integer and greater than 0.", object{"size": 0}},
		{400, "Invalid input received: Share size '1.5' must be an integer and greater than 0.", object{"size": 1.5}},
		{400, "Invalid input received: Invalid share protocol provided: HDFS. It is either disabled or unsupported. Available protocols: ['NFS', 'CIFS', 'CEPHFS'].", object{"share_proto": "hdfs"}},
		{400, "Metadata property value is blank.", object{"metadata": object{"k": ""}}},
		{400, "Metadata property key is greater than 255 characters.", object{"metadata": object{strings.Repeat("k", 256): "v"}}},
		{400, "Metadata property value is greater than 1023 characters.", object{"metadata": object{"k": strings.Repeat("v", 1024)}}},
	} {
		body := object{"name": target.Unique(t), "share_proto": "NFS", "share_type": "dummy", "size": 1}
		maps.Copy(body, c.change)
		a.refused(t, c.status, c.words, http.MethodPost, "shares", object{"share": body})
	}
	a.refused(t, 422, "Unable to process the contained instructions", http.MethodPost, "shares", object{"chair": object{}})
}

func TestQuota(t *testing.T) {
	t.Parallel()
	cloud, _ := open(t)
	a := as(t, cloud, "quota")
	limits := object(a.want(t, http.StatusOK, http.MethodGet, "limits", nil).object("limits")["absolute"].(map[string]any))
	size := limits.number("maxTotalShareGigabytes")
	body := func(size int) object {
		return object{"share": object{"name": target.Unique(t), "share_proto": "NFS", "share_type": "dummy", "size": size}}
	}
	a.refused(t, 413, "ShareSizeExceedsAvailableQuota: Requested share exceeds allowed project/user or share type gigabytes quota.", http.MethodPost, "shares", body(size+1))
	first := a.share(t, nil).text("id")
	a.refused(t, 403, "Requested share exceeds allowed project/user or share type gigabytes quota.", http.MethodPost, "shares/"+first+"/action", object{"extend": object{"new_size": size + 1}})
	for range limits.number("maxTotalShares") - 1 {
		a.share(t, nil)
	}
	a.refused(t, 413, sprintf("ShareLimitExceeded: Maximum number of shares allowed (%d) either per project/user or share type quota is exceeded.", limits.number("maxTotalShares")),
		http.MethodPost, "shares", body(1))
	used := object(a.want(t, http.StatusOK, http.MethodGet, "limits", nil).object("limits")["absolute"].(map[string]any))
	if used.number("totalSharesUsed") != limits.number("maxTotalShares") || used.number("totalShareGigabytesUsed") != limits.number("maxTotalShares") {
		t.Errorf("the limits say %v", used)
	}
	detail := a.want(t, http.StatusOK, http.MethodGet, "quota-sets/"+a.owner.ProjectID+"/detail", nil).object("quota_set")
	if shares, _ := detail["shares"].(map[string]any); object(shares).number("in_use") != limits.number("maxTotalShares") || object(shares).number("limit") != limits.number("maxTotalShares") {
		t.Errorf("the quota's detail is %v", detail)
	}
	if perShare, _ := detail["per_share_gigabytes"].(map[string]any); object(perShare).number("limit") != -1 {
		t.Errorf("the quota has no limit of a share's size: %v", detail)
	}
	own := a.at("2.39").want(t, http.StatusOK, http.MethodGet, "quota-sets/"+a.owner.ProjectID+"/detail?share_type=dummy", nil).object("quota_set")
	if _, ok := own["shares"].(map[string]any); !ok || own["share_networks"] != nil {
		t.Errorf("the share type's quota is %v", own)
	}
	a.at("2.38").refused(t, 400, "'share_type' key is not supported by this microversion. Use 2.39 or greater microversion to be able to use 'share_type' quotas.",
		http.MethodGet, "quota-sets/"+a.owner.ProjectID+"?share_type=dummy", nil)
}

func TestLists(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	name := target.Unique(t)
	var all []string
	for i, md := range []object{{"team": "a"}, {"team": "b"}, {"team": "a", "x": "y"}} {
		s := a.share(t, object{"name": sprintf("%s-%d", name, i), "metadata": md})
		all = append(all, s.text("id"))
		time.Sleep(1100 * time.Millisecond) // a real Manila orders by seconds
	}
	newestFirst := slices.Clone(all)
	slices.Reverse(newestFirst)
	typeID := a.want(t, http.StatusOK, http.MethodGet, "shares/"+all[0], nil).object("share").text("share_type")
	for _, c := range []struct {
		query string
		want  []string
	}{
		{query("name~", name), newestFirst},
		{query("name", name), nil},
		{query("name", name+"-1"), all[1:2]},
		{query("name", strings.ToUpper(name)+"-1"), all[1:2]}, // the database has no regard for case
		{query("name~", name, "metadata", "{'team': 'a'}"), []string{all[2], all[0]}},
		{query("name~", name, "metadata", "{'team': 'a', 'x': 'y'}"), all[2:]},
		{query("name~", name, "status", "error"), nil},
		{query("name~", name, "status", "available", "share_type_id", typeID), newestFirst},
		{query("name~", name, "share_type_id", nobody), nil},
		{query("name~", name, "limit", "2"), newestFirst[:2]},
		{query("name~", name, "limit", "2", "offset", "2"), newestFirst[2:]},
		{query("name~", name, "sort_key", "created_at", "sort_dir", "asc"), all},
	} {
		for _, path := range []string{"shares", "shares/detail"} {
			if got := ids(a.want(t, http.StatusOK, http.MethodGet, path+c.query, nil).list("shares")); !slices.Equal(got, c.want) {
				t.Errorf("%s%s: %v, want %v", path, c.query, got, c.want)
			}
		}
	}
	for _, s := range a.want(t, http.StatusOK, http.MethodGet, "shares"+query("name~", name), nil).list("shares") {
		if got := slices.Sorted(maps.Keys(s)); !slices.Equal(got, []string{"id", "links", "name"}) {
			t.Errorf("a list without details tells %v", got)
		}
	}
	counted := a.want(t, http.StatusOK, http.MethodGet, "shares/detail"+query("name~", name, "limit", "1", "with_count", "true"), nil)
	if object(counted.body).number("count") != 3 || len(counted.list("shares")) != 1 || counted.body["shares_links"] == nil {
		t.Errorf("a counted page is %s", counted.raw)
	}
	// Before 2.36 there is no search by a part of the name: the filter is ignored.
	if got := a.at("2.35").want(t, http.StatusOK, http.MethodGet, "shares"+query("name~", "nobody-has-this"), nil).list("shares"); len(got) < 3 {
		t.Errorf("at 2.35 name~ filters: %v", got)
	}
	a.refused(t, 400, "limit param must be an integer", http.MethodGet, "shares?limit=x", nil)
	a.refused(t, 400, "offset param must be positive", http.MethodGet, "shares?offset=-1", nil)
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	path := "shares/" + a.share(t, object{"metadata": object{"a": "1"}}).text("id") + "/metadata"
	set := func(method string, md, want object) {
		t.Helper()
		a.want(t, http.StatusOK, method, path, object{"metadata": md})
		if got := a.want(t, http.StatusOK, http.MethodGet, path, nil).object("metadata"); len(got) != len(want) || slices.ContainsFunc(keys(want), func(k string) bool { return got[k] != want[k] }) {
			t.Errorf("%s %v makes %v, want %v", method, md, got, want)
		}
	}
	set(http.MethodPost, object{"b": "2"}, object{"a": "1", "b": "2"})
	set(http.MethodPost, object{"a": "3"}, object{"a": "3", "b": "2"})
	set(http.MethodPut, object{"c": "4"}, object{"c": "4"})
	a.want(t, http.StatusOK, http.MethodDelete, path+"/c", nil)
	a.refused(t, 400, "Metadata property value is blank.", http.MethodPost, path, object{"metadata": object{"x": ""}})
	a.refused(t, 400, "Malformed request body", http.MethodPost, path, object{"data": object{}})
}

func keys(o object) (out []string) {
	for k := range o {
		out = append(out, k)
	}
	return out
}

func TestExtendAndShrink(t *testing.T) {
	t.Parallel()
	_, a := open(t)
	id := a.share(t, nil).text("id")
	a.action(t, http.StatusAccepted, id, "extend", object{"new_size": 3})
	a.resized(t, id, 3)
	path := "shares/" + id + "/action"
	a.refused(t, 400, "Invalid input received: New size for extend must be greater than current size. (current: 3, extended: 3).", http.MethodPost, path, object{"extend": object{"new_size": 3}})
	a.refused(t, 400, "New share size must be specified as an integer.", http.MethodPost, path, object{"extend": object{"new_size": "much"}})
	// From 2.64 an extend asks the scheduler, unless an administrator forces it.
	a.refused(t, 403, "Policy doesn't allow share:force_extend to be performed.", http.MethodPost, path, object{"extend": object{"new_size": 4, "force": true}})
	a.refused(t, 400, "Invalid boolean force : perhaps", http.MethodPost, path, object{"extend": object{"new_size": 4, "force": "perhaps"}})
	a.action(t, http.StatusAccepted, id, "shrink", object{"new_size": 2})
	a.resized(t, id, 2)
	a.refused(t, 400, "Invalid input received: New size for shrink must be less than current size and greater than 0 (current: 2, new: 2).", http.MethodPost, path, object{"shrink": object{"new_size": 2}})
}

// TestStatuses has an operator set statuses, to see what Manila refuses in them.
func TestStatuses(t *testing.T) {
	t.Parallel()
	cloud, a := open(t)
	admin := as(t, cloud, "admin")
	id := a.share(t, nil).text("id")
	a.refused(t, 403, "Access was denied to this resource.", http.MethodPost, "shares/"+id+"/action", object{"reset_status": object{"status": "error"}})
	a.refused(t, 403, "Access was denied to this resource.", http.MethodPost, "shares/"+id+"/action", object{"force_delete": nil})
	reset := func(status string) {
		t.Helper()
		admin.action(t, http.StatusAccepted, id, "reset_status", object{"status": status})
		a.becomes(t, id, status)
	}
	for _, status := range []string{"error_deleting", "migrating"} {
		reset(status)
		a.refused(t, 403, "Invalid share: %(reason)s.", http.MethodDelete, "shares/"+id, nil)
		a.refused(t, 400, sprintf("Invalid share: Share %s status must be 'available' to extend, but current status is: %s.", id, status), http.MethodPost, "shares/"+id+"/action", object{"extend": object{"new_size": 2}})
	}
	reset("error")
	a.refused(t, 400, "New access rules cannot be applied while the share or any of its replicas or migration copies lacks a valid host or is in an invalid state.",
		http.MethodPost, "shares/"+id+"/action", object{"allow_access": grant("ip", "10.0.0.1", "rw")})
	reset("error_deleting")
	admin.action(t, http.StatusAccepted, id, "force_delete", nil)
	a.gone(t, "shares/"+id)
}

func TestOtherProject(t *testing.T) {
	t.Parallel()
	cloud, a := open(t)
	other := as(t, cloud, "other")
	s := a.share(t, nil)
	const text = "The resource could not be found."
	other.refused(t, 404, text, http.MethodGet, "shares/"+s.text("id"), nil)
	other.refused(t, 404, text, http.MethodDelete, "shares/"+s.text("id"), nil)
	other.refused(t, 400, "Share "+s.text("id")+" not found.", http.MethodGet, "share-access-rules?share_id="+s.text("id"), nil)
	if got := other.want(t, http.StatusOK, http.MethodGet, "shares"+query("name", s.text("name")), nil).list("shares"); len(got) != 0 {
		t.Errorf("another project sees %v", got)
	}
	a.becomes(t, s.text("id"), "available")
}
