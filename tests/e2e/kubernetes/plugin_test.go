package kubernetes_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/tests/contract/target"
)

// testPlugin kills the node's plugin, has helm put another one in its place, and has it uninstall and install the whole release, while a pod writes:
// the mounts are the kernel's, and go on. What is installed at the end knows them, and unmounts them when the pods go.
func testPlugin(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	c.writers(t, namespace, "first")
	before := c.mountIDs(t, namespace)
	if len(before) != 2*len(protocols()) {
		t.Fatalf("%q are mounted, and each volume should be where it is staged and in the pod", before)
	}
	outage := func(what string, of func()) {
		wrote := map[string]int{}
		for _, protocol := range protocols() {
			wrote[protocol] = c.wrote(t, namespace, "first", protocol)
		}
		began := time.Now()
		of()
		for _, protocol := range protocols() {
			more := c.wrote(t, namespace, "first", protocol) - wrote[protocol]
			t.Logf("%s took %v, with %d writes to %s", what, time.Since(began).Round(100*time.Millisecond), more, protocol)
			if more == 0 {
				t.Errorf("%s: %s was not written to meanwhile", what, protocol)
			}
		}
		if diff := cmp.Diff(before, c.mountIDs(t, namespace)); diff != "" {
			t.Errorf("%s: mounts (-before +after):\n%s", what, diff)
		}
	}
	plugin := c.container(t, "manila-node", "")
	outage("the plugin's death", func() {
		c.kill(t, plugin)
		c.revived(t, plugin)
	})
	outage("the upgrade", func() { c.upgrade(t, "manila.node.resources.requests.cpu=11m") })
	if now := c.container(t, "manila-node", ""); now.pod == plugin.pod {
		t.Errorf("helm upgrade has left %s in place", now.pod)
	}
	values := c.values(t)
	outage("the uninstallation", func() {
		c.uninstallRelease(t.Context(), t, release)
		c.nothingOf(t, release)
	})
	outage("the installation", func() { c.installRelease(t, release, values) })

	c.writers(t, namespace, "second")
	c.remove(t.Context(), t, namespace, "first")
	after := c.mountIDs(t, namespace)
	staged := slices.DeleteFunc(slices.Clone(before), func(id string) bool { return !slices.Contains(after, id) })
	if len(after) != len(before) || len(staged) != len(protocols()) {
		t.Errorf("mounts are %q with the next pod, and were %q with the first one: the volumes should be staged as before", after, before)
	}
	for _, protocol := range protocols() {
		c.goesOn(t, namespace, "second", protocol)
		t.Logf("%s has %d numbers of the first pod", protocol, c.holds(t, namespace, "second", protocol, "first"))
	}
	c.remove(t.Context(), t, namespace, "second")
	c.unmounted(t, namespace)
}

// upgrade has helm change values of the release, and waits until what they changed is ready.
func (c *cluster) upgrade(t *testing.T, values ...string) {
	t.Helper()
	if _, err := c.tryHelm(t.Context(), "", "upgrade", release, root+"/charts/mooring", "-n", release, "--reuse-values",
		"--set", strings.Join(values, ","), "--wait", "--timeout", "5m"); err != nil {
		t.Fatal(err)
	}
}

// values are those with which the release is installed.
func (c *cluster) values(t *testing.T) (values map[string]any) {
	t.Helper()
	out, err := c.tryHelm(t.Context(), "", "get", "values", release, "-n", release, "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &values)
	}
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// nothingOf waits until no object has the label of a release.
func (c *cluster) nothingOf(t *testing.T, release string) {
	t.Helper()
	kinds := strings.Join(strings.Fields(c.kubectl(t, "api-resources", "--verbs=list,delete", "-o", "name")), ",")
	target.Eventually(t, "nothing of the release is left", func() bool {
		left := c.kubectl(t, "get", kinds, "--all-namespaces", "-l", "app.kubernetes.io/instance="+release, "-o", "name")
		if left != "" {
			t.Logf("still there: %s", strings.Join(strings.Fields(left), ", "))
		}
		return left == ""
	})
}
