package kubernetes_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testPlugin kills the node's plugin, has helm put another one in its place, uninstall the release and install it again, while a pod writes: the
// mounts are the kernel's, and go on. Nothing of the release is left in between, and what is installed at the end knows the mounts, and unmounts
// them when the pods go.
func testPlugin(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	e := c.endurance(t)
	plugin := c.container(t, "manila-node", "")
	e.goesOn(t, "the plugin's death", func() {
		c.kill(t, plugin)
		c.revived(t, plugin)
	})
	e.goesOn(t, "the upgrade", func() { c.upgrade(t, "manila.node.resources.requests.cpu=11m") })
	if now := c.container(t, "manila-node", ""); now.pod == plugin.pod {
		t.Errorf("helm upgrade has left %s in place", now.pod)
	}
	values := c.values(t)
	t.Cleanup(func() { // before the namespace goes, which wants a driver
		ctx := context.WithoutCancel(t.Context())
		if _, err := c.tryHelm(ctx, "", "status", release, "-n", release); err != nil {
			c.installRelease(t, release, values)
		}
	})
	e.goesOn(t, "the uninstallation", func() {
		c.uninstallRelease(t.Context(), t, release)
		c.nothingOf(t, release)
	})
	e.goesOn(t, "the installation", func() { c.installRelease(t, release, values) })
	e.handOver(t)
}

// endurance is a pod that writes to volumes of both protocols, whatever happens to the driver.
type endurance struct {
	c         *cluster
	namespace string
	before    []string // its mounts
}

func (c *cluster) endurance(t *testing.T) *endurance {
	t.Helper()
	e := &endurance{c: c, namespace: c.namespace(t)}
	c.writers(t, e.namespace, "first")
	e.before = c.mountIDs(t, e.namespace)
	if len(e.before) != 2*len(protocols()) {
		t.Fatalf("%q are mounted, and each volume should be where it is staged and in the pod", e.before)
	}
	return e
}

// goesOn does something, meanwhile the pod writes without an error, and all is mounted that was.
func (e *endurance) goesOn(t *testing.T, what string, do func()) {
	t.Helper()
	wrote := map[string]int{}
	for _, protocol := range protocols() {
		wrote[protocol] = e.c.wrote(t, e.namespace, "first", protocol)
	}
	began := time.Now()
	do()
	for _, protocol := range protocols() {
		more := e.c.wrote(t, e.namespace, "first", protocol) - wrote[protocol]
		t.Logf("%s took %v, with %d writes to %s", what, time.Since(began).Round(100*time.Millisecond), more, protocol)
		if more == 0 {
			t.Errorf("%s: %s was not written to meanwhile", what, protocol)
		}
	}
	if diff := cmp.Diff(e.before, e.c.mountIDs(t, e.namespace)); diff != "" {
		t.Errorf("%s: mounts (-before +after):\n%s", what, diff)
	}
}

// handOver starts another pod with the volumes, ends the first one, and in the end both: the driver knows what was mounted before its time.
func (e *endurance) handOver(t *testing.T) {
	t.Helper()
	c := e.c
	c.writers(t, e.namespace, "second")
	c.remove(t.Context(), t, e.namespace, "first")
	after := c.mountIDs(t, e.namespace)
	staged := slices.DeleteFunc(slices.Clone(e.before), func(id string) bool { return !slices.Contains(after, id) })
	if len(after) != len(e.before) || len(staged) != len(protocols()) {
		t.Errorf("mounts are %q with the next pod, and were %q with the first one: the volumes should be staged as before", after, e.before)
	}
	for _, protocol := range protocols() {
		c.goesOn(t, e.namespace, "second", protocol)
		t.Logf("%s has %d numbers of the first pod", protocol, c.holds(t, e.namespace, "second", protocol, "first"))
	}
	c.remove(t.Context(), t, e.namespace, "second")
	c.unmounted(t, e.namespace)
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
	left := ""
	defer func() {
		if t.Failed() {
			t.Logf("still there: %s", left)
		}
	}()
	eventually(t, "nothing of the release is left", func() bool {
		left = c.kubectl(t, "get", kinds, "--all-namespaces", "-l", "app.kubernetes.io/instance="+release, "-o", "name")
		return left == ""
	})
}
