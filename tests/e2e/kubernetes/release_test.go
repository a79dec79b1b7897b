package kubernetes_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"mooring/tests/contract/target"
)

// testRelease has helm uninstall the release and install it again, while a pod writes. Nothing of the release is left in between, and what is
// installed at the end knows the mounts, and unmounts them when the pods go.
func testRelease(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	e := c.endurance(t)
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
	target.Eventually(t, "nothing of the release is left", func() bool {
		left = c.kubectl(t, "get", kinds, "--all-namespaces", "-l", "app.kubernetes.io/instance="+release, "-o", "name")
		return left == ""
	})
}
