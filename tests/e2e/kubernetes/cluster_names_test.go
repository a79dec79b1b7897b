package kubernetes_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/tests/contract/target"
)

// testClusterNames runs manifests/examples/cluster-dns-job.yaml, which makes the names of another cluster, and the same Job to delete them. What is right
// already is not written.
func testClusterNames(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	z := c.zone(t, target.Unique(t)+".test")
	namespace := c.namespace(t)
	c.cloudSecret(t, namespace)
	c.logsIfFailed(t, namespace)
	api, apps := "api.c1."+z.name, "console.apps.c1."+z.name
	job := func(edits ...string) string {
		return edited(t, "manifests/examples/cluster-dns-job.yaml", append(edits, "namespace: mooring", "namespace: "+namespace, "example.org", z.name)...)
	}
	ensure := job()
	c.job(t, namespace, ensure)
	z.answers(t, api, "A", "192.0.2.10")
	z.answers(t, apps, "A", "192.0.2.20")
	again := func(job string) {
		t.Helper()
		before := z.settled(t)
		said := c.job(t, namespace, job)
		if diff := cmp.Diff(before, z.settled(t)); diff != "" {
			t.Errorf("the second run wrote (-before +after):\n%s\nit said:\n%s", diff, said)
		}
	}
	again(ensure)

	c.job(t, namespace, job("192.0.2.20", "192.0.2.21"))
	z.answers(t, apps, "A", "192.0.2.21")
	z.answers(t, api, "A", "192.0.2.10")

	const line = "            - "
	remove := job(line+"ensure\n", line+"delete\n", line+"--api=192.0.2.10\n", "", line+"--apps=192.0.2.20\n", "")
	c.job(t, namespace, remove)
	z.answers(t, api, "A")
	z.answers(t, apps, "A")
	z.empty(t)
	again(remove)
}

// job runs the one of a manifest to its end, deletes it, and returns what it said.
func (c *cluster) job(t *testing.T, namespace, manifest string) string {
	t.Helper()
	began := time.Now()
	c.applyText(t, manifest)
	c.kubectl(t, "wait", "--for=condition=Complete", "job", "--all", "-n", namespace, "--timeout=3m")
	said := c.kubectl(t, "logs", "-n", namespace, "job/cluster-dns-c1")
	t.Logf("a Job of %v: %s", time.Since(began).Round(100*time.Millisecond), strings.TrimSpace(said))
	c.kubectl(t, "delete", "job", "--all", "-n", namespace, "--wait", "--timeout=60s")
	return said
}
