package manila_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestShapes compares the fields of answers, name by name: a client that reads one the other does not have works here and fails
// there.
func TestShapes(t *testing.T) {
	t.Parallel()
	cloud, a := open(t)
	admin := as(t, cloud, "admin")
	share := a.share(t, nil)
	id := share.text("id")
	rule := a.action(t, http.StatusOK, id, "allow_access", grant("ip", "10.0.0.1", "rw")).object("access")
	a.ruleBecomes(t, rule.text("id"), "active")
	snapshot := a.snapshot(t, id)

	one := func(b *api, path, key string) object {
		return b.want(t, http.StatusOK, http.MethodGet, path, nil).object(key)
	}
	first := func(b *api, path, key string) object {
		list := b.want(t, http.StatusOK, http.MethodGet, path, nil).list(key)
		if len(list) == 0 {
			t.Fatalf("%s is empty", path)
		}
		return list[0]
	}
	absolute, _ := one(a, "limits", "limits")["absolute"].(map[string]any)
	const (
		old      = "access_rules_status availability_zone created_at description has_replicas id is_public links metadata name project_id replication_type"
		newer    = " revert_to_snapshot_support share_group_id share_network_id share_proto share_type share_type_name size snapshot_id snapshot_support"
		newest   = " source_share_group_snapshot_member_id status task_state user_id volume_type"
		shareKey = old + newer + newest + " create_share_from_snapshot_support mount_snapshot_support progress is_soft_deleted scheduled_to_be_deleted_at"
		ruleKey  = "access_key access_level access_to access_type created_at id metadata state updated_at"
		limitKey = "maxTotalReplicaGigabytes maxTotalShareGigabytes maxTotalShareGroupSnapshots maxTotalShareGroups maxTotalShareNetworks maxTotalShareReplicas " +
			"maxTotalShareSnapshots maxTotalShares maxTotalSnapshotGigabytes totalReplicaGigabytesUsed totalShareGigabytesUsed totalShareGroupSnapshotsUsed " +
			"totalShareGroupsUsed totalShareNetworksUsed totalShareReplicasUsed totalShareSnapshotsUsed totalSharesUsed totalSnapshotGigabytesUsed"
	)
	for name, c := range map[string]struct {
		got  object
		want string
	}{
		"share":             {share, shareKey},
		"share at 2.37":     {one(a.at("2.37"), "shares/"+id, "share"), old + newer + newest + " create_share_from_snapshot_support mount_snapshot_support"},
		"share for admin":   {one(admin, "shares/"+id, "share"), shareKey + " host share_server_id"},
		"share in brief":    {first(a, "shares"+query("name", share.text("name")), "shares"), "id links name"},
		"share in a list":   {first(a, "shares/detail"+query("name", share.text("name")), "shares"), shareKey},
		"new rule":          {rule, ruleKey + " share_id"},
		"rule":              {a.rule(t, rule.text("id")), ruleKey + " share_id"},
		"rule in a list":    {first(a, "share-access-rules?share_id="+id, "access_list"), ruleKey},
		"export":            {first(a, "shares/"+id+"/export_locations", "export_locations"), "id path preferred"},
		"export for admin":  {first(admin, "shares/"+id+"/export_locations", "export_locations"), "id is_admin_only path preferred share_instance_id"},
		"snapshot":          {snapshot, "created_at description id links metadata name project_id share_id share_proto share_size size status user_id"},
		"snapshot in brief": {first(a, "snapshots"+query("share_id", id), "snapshots"), "id links name"},
		"type":              {first(a, "types", "share_types"), "description extra_specs id is_default name required_extra_specs share_type_access:is_public"},
		"limits":            {absolute, limitKey},
		"quota": {
			one(a, "quota-sets/"+a.owner.ProjectID, "quota_set"),
			"gigabytes id per_share_gigabytes replica_gigabytes share_group_snapshots share_groups share_networks share_replicas shares snapshot_gigabytes snapshots",
		},
		"zone":    {first(a, "availability-zones", "availability_zones"), "created_at id name updated_at"},
		"service": {first(admin, "services", "services"), "binary host id state status updated_at zone"},
	} {
		want := strings.Fields(c.want)
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(c.got)); !slices.Equal(got, want) {
			t.Errorf("%s has %v\nwant %v", name, got, want)
		}
	}
}
