package kubernetes_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

// testAttributes has a claim go to a class for reading only, and back, while a pod uses it, by the example for it. The volume has two clients: an
// export that has none for a moment goes, and comes again as another one. See docs/how-to/volume-attributes-class.md.
func testAttributes(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	classes := target.Unique(t)
	to := func(level string) string { return classes + "-" + level }
	for _, object := range []string{"storageclass/" + classes, "volumeattributesclass/" + to("read-only"), "volumeattributesclass/" + to("read-write")} {
		c.deleted(t, object) // after the claim, which keeps its own
	}
	namespace := c.namespace(t)
	class, _, _ := strings.Cut(edited(t, "manifests/examples/nfs.yaml",
		"manila-nfs", classes, "type: default", "type: cephfs-nfs", "10.0.0.0/24", c.lab.Nodes[node]+","+c.lab.Nodes[fuseNode]), "\n---\n")
	c.applyText(t, class)
	c.example(t, namespace, "volume-attributes-class.yaml", "manila-nfs", classes, "manila-read-", to("read-"))
	const claim, pod = "archive-nfs", "uses-archive"
	c.apply(t, "reader.yaml", map[string]string{"NAMESPACE": namespace, "POD": pod, "NODE": node, "CLAIM": claim})
	c.ready(t, namespace, pod)
	share := c.handle(t, c.volume(t, namespace, claim))
	has := func(level, tier string) {
		t.Helper()
		awaitGranted(t, c.manila(t, "demo"), share, fmt.Sprintf("ip %s %s active", c.lab.Nodes[node], level), fmt.Sprintf("ip %s %s active", c.lab.Nodes[fuseNode], level))
		if got, err := shares.Get(t.Context(), c.manila(t, "demo"), share).Extract(); err != nil || got.Metadata["tier"] != tier {
			t.Errorf("the share should be of the tier %q: %+v, %v", tier, got, openstack.Wrap(err))
		}
	}
	change := func(level string) {
		t.Helper()
		c.kubectl(t, "patch", "persistentvolumeclaim/"+claim, "-n", namespace, "--type=merge", "-p", fmt.Sprintf(`{"spec":{"volumeAttributesClassName":%q}}`, to(level)))
		c.kubectl(t, "wait", "--for=jsonpath={.status.currentVolumeAttributesClassName}="+to(level), "persistentvolumeclaim/"+claim, "-n", namespace, "--timeout=2m")
	}
	has("rw", "live")
	c.sh(t, namespace, pod, "date >/data/first && sync /data/first")

	change("read-only")
	has("ro", "archive")
	onlyReads(t, c, namespace, pod)

	change("read-write")
	has("rw", "live")
	c.sh(t, namespace, pod, "date >/data/second && sync /data/second")
}
