package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/tests/contract/target"
)

// testShared has pods on both nodes write to one volume: what the kernel's client writes on one, ceph-fuse reads on the other, and the other
// way round. The key comes to both in the volume's Secret, which goes with the volume.
func testShared(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	types := map[string]string{node: "ceph", fuseNode: "fuse.ceph-fuse"}
	c.apply(t, "claim.yaml", map[string]string{"NAMESPACE": namespace, "CLASS": "manila-cephfs", "CLAIM": "data", "SIZE": "1Gi"})
	for name := range types {
		c.apply(t, "reader.yaml", map[string]string{"NAMESPACE": namespace, "POD": name, "NODE": name, "CLAIM": "data"})
	}
	for name := range types {
		c.ready(t, namespace, name)
	}
	volume := c.volume(t, namespace, "data")
	share := c.handle(t, volume)
	for name, fsType := range types {
		c.mountedAs(t, name, volume, share, fsType)
	}
	c.cephSecret(t, volume, share)

	bytesCross(t, c, namespace)
	locksHold(t, c, namespace, volume, share)
	groupWrites(t, c, namespace)

	c.kubectl(t, "delete", "pods", "--all", "-n", namespace, "--wait", "--timeout=90s")
	for name := range types {
		c.unmountedFrom(t, name, volume, share)
	}
	c.kubectl(t, "delete", "persistentvolumeclaim", "data", "-n", namespace, "--wait", "--timeout=90s")
	c.shareGone(t, share)
	eventually(t, "the Secret is deleted", func() bool {
		return c.kubectl(t, "get", "secret", volume, "-n", cephKeys, "--ignore-not-found", "-o", "name") == ""
	})
}

// cephSecret is the Secret of a CephFS volume: it has the user and the key of an access rule of the share.
func (c *cluster) cephSecret(t *testing.T, volume, share string) map[string][]byte {
	t.Helper()
	data := c.secret(t, cephKeys, volume)
	rules, err := shares.ListAccessRights(t.Context(), c.manila(t, "demo"), share).Extract()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.AccessType == "cephx" && r.AccessLevel == "rw" && r.AccessTo == string(data["userID"]) && r.AccessKey != "" && r.AccessKey == string(data["userKey"]) {
			return data
		}
	}
	t.Errorf("no rule of the share is for the Secret's user %q with its key", data["userID"])
	return data
}

// bytesCross writes a file on each node, both at once, and reads it on the other one.
func bytesCross(t *testing.T, c *cluster, namespace string) {
	t.Helper()
	type written struct{ by, sum string }
	sums := make(chan written, 2)
	for _, by := range []string{node, fuseNode} {
		go func() {
			out, err := c.try(t.Context(), "", "exec", by, "-n", namespace, "--", "sh", "-c",
				fmt.Sprintf("dd if=/dev/urandom of=/data/%[1]s bs=64k count=64 conv=fsync 2>/dev/null && sha256sum </data/%[1]s", by))
			if err != nil {
				t.Error(err)
			}
			sums <- written{by, strings.TrimSpace(out)}
		}()
	}
	readers := map[string]string{node: fuseNode, fuseNode: node}
	for range readers {
		w := <-sums
		if got := c.sh(t, namespace, readers[w.by], "sha256sum </data/"+w.by); w.sum == "" || got != w.sum {
			t.Errorf("%s has written %q, and %s reads %q", w.by, w.sum, readers[w.by], got)
		}
	}
}

// groupWrites has a pod on each node whose user has its rights from its fsGroup alone: ceph-fuse decides by itself what that user may do, and
// has to find out the groups of the process that asks.
func groupWrites(t *testing.T, c *cluster, namespace string) {
	t.Helper()
	for _, on := range []string{node, fuseNode} {
		pod := "group-" + on
		c.apply(t, "group.yaml", map[string]string{"NAMESPACE": namespace, "POD": pod, "NODE": on, "CLAIM": "data"})
		c.ready(t, namespace, pod)
		if got := c.sh(t, namespace, pod, "echo it is ours >/data/"+pod+" && stat -c '%u %g' /data/"+pod); got != "1000 2000" {
			t.Errorf("the file of a pod with fsGroup on %s belongs to %q, want 1000 2000", on, got)
		}
	}
}

// locksHold takes a lock through the kernel's client, which keeps ceph-fuse out until it is given back. Busybox has no flock, the nodes do.
func locksHold(t *testing.T, c *cluster, namespace, volume, share string) {
	t.Helper()
	lock := func(node string) string {
		mounts := c.mountTable(t, node, "/proc/mounts", volume, share)
		if len(mounts) == 0 {
			t.Fatalf("node %s does not mount %s", node, volume)
		}
		return strings.Fields(mounts[0])[1] + "/lock"
	}
	here, there := lock(node), lock(fuseNode)
	holder := make(chan error, 1)
	go func() {
		// its own end is bounded, should the test fail before it is told to go
		_, err := run(t.Context(), "", labScript, "kubernetes", "on", node,
			fmt.Sprintf("flock %[1]s timeout %[2]d sh -c 'touch %[1]s.held; until [ -e %[1]s.go ]; do sleep 0.2; done'", here, int(target.Patience.Seconds())))
		holder <- err
	}()
	eventually(t, "the lock is held on "+node, func() bool {
		return c.sh(t, namespace, fuseNode, "ls /data | grep -c lock.held || true") == "1"
	})
	if out := c.on(t, fuseNode, "flock -n "+there+" echo taken || echo refused"); strings.TrimSpace(out) != "refused" {
		t.Errorf("the lock of %s on %s is %s", node, fuseNode, out)
	}
	c.sh(t, namespace, fuseNode, "touch /data/lock.go")
	if err := <-holder; err != nil {
		t.Error(err)
	}
	began := time.Now()
	if out := c.on(t, fuseNode, fmt.Sprintf("flock -w %d %s echo taken || echo refused", int(target.Patience.Seconds()), there)); strings.TrimSpace(out) != "taken" {
		t.Errorf("the lock that %s gave back is %s", node, out)
	}
	t.Logf("a lock goes from node to node in %v", time.Since(began).Round(time.Millisecond))
}

// secret is what a Secret holds.
func (c *cluster) secret(t *testing.T, namespace, name string) (data map[string][]byte) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.kubectl(t, "get", "secret", name, "-n", namespace, "-o", "jsonpath={.data}")), &data); err != nil {
		t.Fatal(err)
	}
	return data
}
