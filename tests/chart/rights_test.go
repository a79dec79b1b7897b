package chart_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"mooring/tests/chart/inventory"
)

// unseen are rights of which no test on a cluster makes use, and why they are granted nevertheless.
var unseen = map[string]string{
	"manila-controller * nodes list":                                 "external-provisioner, with manila.topology: the nodes of the tests are in no zones",
	"manila-controller * nodes watch":                                "as list",
	"manila-controller * persistentvolumeclaims get":                 "the driver, with manila.claimAnnotations",
	"manila-controller * storage.k8s.io/volumeattributesclasses get": "external-provisioner, for a new claim that names a VolumeAttributesClass",
}

// grants are the rights that roles of the chart grant, each with the scopes in which a use of it counts.
func grants(t *testing.T, text string) map[inventory.Right][]string {
	t.Helper()
	out := map[inventory.Right][]string{}
	add := func(component string, rules []rbacv1.PolicyRule, scopes ...string) {
		for _, rule := range rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						right := inventory.Right{Component: component, Group: group, Resource: resource, Verb: verb}
						out[right] = append(out[right], scopes...)
					}
				}
			}
		}
	}
	for _, object := range objects(t, text) {
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			add(o.Labels["app.kubernetes.io/component"], o.Rules, inventory.Cluster, inventory.Own, inventory.Elsewhere)
		case *rbacv1.Role:
			scopes := []string{inventory.Elsewhere}
			if o.Namespace == "mooring" {
				scopes = []string{inventory.Own}
			} else if len(o.Rules[0].ResourceNames) > 0 { // a Secret may be anywhere
				scopes = append(scopes, inventory.Own)
			}
			add(o.Labels["app.kubernetes.io/component"], o.Rules, scopes...)
		}
	}
	return out
}

// unused compares what is granted with what was used: rights that nobody needed, and uses that nothing grants.
func unused(granted map[inventory.Right][]string, used []string) (needless, ungranted []string) {
	covered := map[string]bool{}
	for right, scopes := range granted {
		found := false
		for _, scope := range scopes {
			right.Scope = scope
			if slices.Contains(used, right.String()) {
				found, covered[right.String()] = true, true
			}
			// clients list where a server does not send what there is at the beginning of a watch, as those of the tests do
			watch := right
			watch.Verb = "watch"
			found = found || right.Verb == "list" && slices.Contains(used, watch.String())
		}
		if right.Scope = "*"; !found {
			needless = append(needless, right.String())
		}
	}
	for _, use := range used {
		if !covered[use] {
			ungranted = append(ungranted, use)
		}
	}
	slices.Sort(needless)
	return needless, ungranted
}

// Every right that the chart can grant was used when the tests ran on a real cluster (TestCluster/rights of tests/e2e/kubernetes recorded it),
// and everything that was used is granted.
func TestEveryRightWasUsed(t *testing.T) {
	t.Parallel()
	used := strings.Split(strings.TrimSpace(file("testdata", "rights.txt")(t)), "\n")
	granted := map[inventory.Right][]string{}
	for name, text := range inventory.All(t, root, setting(t, "MOORING_HELM")) {
		if !strings.HasPrefix(name, "manifests/examples/") {
			for right, scopes := range grants(t, text) {
				granted[right] = append(granted[right], scopes...)
			}
		}
	}
	needless, ungranted := unused(granted, used)
	for _, right := range needless {
		if unseen[right] == "" {
			t.Errorf("nobody used: %s", right)
		}
	}
	for right := range maps.Keys(unseen) {
		if !slices.Contains(needless, right) {
			t.Errorf("it was used, or is not granted, and so is no exception: %s", right)
		}
	}
	for _, right := range ungranted {
		t.Errorf("it was used, and the chart does not grant it: %s", right)
	}
}

func TestNeedlessRightsAreFound(t *testing.T) {
	t.Parallel()
	text := file("testdata", "audit.jsonl")(t)
	used, refused, err := inventory.Used(strings.NewReader(text+`{"verb":`), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{
		"manila-controller cluster persistentvolumes watch", "manila-controller elsewhere persistentvolumeclaims/status patch", "manila-controller own coordination.k8s.io/leases update",
	}; !slices.Equal(used, want) {
		t.Errorf("used: %q", used)
	}
	if want := []string{"manila-node cluster nodes get"}; !slices.Equal(refused, want) {
		t.Errorf("refused: %q", refused)
	}
	all := []string{inventory.Cluster, inventory.Own, inventory.Elsewhere}
	right := func(group, resource, verb string) inventory.Right {
		return inventory.Right{Component: "manila-controller", Group: group, Resource: resource, Verb: verb}
	}
	needless, ungranted := unused(map[inventory.Right][]string{
		right("", "persistentvolumes", "watch"):             all,
		right("", "persistentvolumes", "list"):              all,
		right("", "persistentvolumes", "delete"):            all,
		right("coordination.k8s.io", "leases", "update"):    {inventory.Elsewhere},
		right("", "persistentvolumeclaims/status", "patch"): all,
	}, used)
	if want := []string{"manila-controller * coordination.k8s.io/leases update", "manila-controller * persistentvolumes delete"}; !slices.Equal(needless, want) {
		t.Errorf("needless: %q", needless)
	}
	if want := []string{"manila-controller own coordination.k8s.io/leases update"}; !slices.Equal(ungranted, want) {
		t.Errorf("not granted: %q", ungranted)
	}
}
