package kubernetes_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/openstack"
)

// testNFSReaders has two pods of one node read a volume that is for reading only. Manila lets the node in, to read, when the first one
// comes, and until the last one has gone. The server refuses to write, whatever the mount says.
func testNFSReaders(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	namespace, manila := c.namespace(t), c.manila(t, "demo")
	c.apply(t, "read-only.yaml", map[string]string{"NAMESPACE": namespace, "CLASS": "manila-nfs"})
	volume := c.bound(t, namespace, "data")
	share := c.handle(t, volume)
	if got := granted(t, manila, share); len(got) > 0 {
		t.Errorf("before there is a pod, the share has the rules %q", got)
	}
	for _, pod := range []string{"first", "second"} {
		c.apply(t, "reader.yaml", map[string]string{"NAMESPACE": namespace, "POD": pod, "NODE": node, "CLAIM": "data"})
	}
	c.ready(t, namespace, "first")
	c.ready(t, namespace, "second")
	ofNode := fmt.Sprintf("ip %s ro active", c.lab.Nodes[node])
	awaitGranted(t, manila, share, ofNode)
	onlyReads(t, c, namespace, "first")
	// the very node, from the very address, without "ro"
	server, path := export(t, manila, share)
	out := c.on(t, node, fmt.Sprintf(`at=$(mktemp -d) && mount -i -t nfs4 -o rw,vers=4.2,addr=%[1]s,clientaddr=%[2]s %[1]s:%[3]s $at && { ls -d $at/.; grep " $at " /proc/mounts; touch $at/written 2>&1; umount $at; }; rmdir $at`,
		server, c.lab.Nodes[node], path))
	if !strings.Contains(out, " rw,") || !strings.Contains(out, "/.\n") || !refused(out) {
		t.Errorf("the server takes a write from the node, or does not let it read: %s", out)
	}

	c.kubectl(t, "delete", "pod", "first", "-n", namespace, "--wait", "--timeout=90s")
	onlyReads(t, c, namespace, "second")
	if got := granted(t, manila, share); !slices.Equal(got, []string{ofNode}) {
		t.Errorf("one pod is left, and the rules are %q", got)
	}
	c.kubectl(t, "delete", "pod", "second", "-n", namespace, "--wait", "--timeout=90s")
	awaitGranted(t, manila, share)
}

// bound waits until a claim has a volume, and returns its name.
func (c *cluster) bound(t *testing.T, namespace, claim string) string {
	t.Helper()
	c.kubectl(t, "wait", "--for=jsonpath={.status.phase}=Bound", "persistentvolumeclaim/"+claim, "-n", namespace, "--timeout=5m")
	return c.volume(t, namespace, claim)
}

// onlyReads holds a pod to reading.
func onlyReads(t *testing.T, c *cluster, namespace, pod string) {
	t.Helper()
	c.sh(t, namespace, pod, "ls -l /data")
	if out := c.sh(t, namespace, pod, "touch /data/written 2>&1 || true"); !refused(out) {
		t.Errorf("%s writes: %s", pod, out)
	}
}

// refused knows how the kernel and servers say that nothing may be written.
func refused(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc([]string{"read-only file system", "permission denied", "operation not permitted"}, func(words string) bool { return strings.Contains(text, words) })
}

// granted are the access rules that a share has, in order.
func granted(t *testing.T, manila *gophercloud.ServiceClient, share string) (rules []string) {
	t.Helper()
	list, err := shares.ListAccessRights(t.Context(), manila, share).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	for _, r := range list {
		rules = append(rules, fmt.Sprintf("%s %s %s %s", r.AccessType, r.AccessTo, r.AccessLevel, r.State))
	}
	slices.Sort(rules)
	return rules
}

// awaitGranted waits until a share has these rules and no other one.
func awaitGranted(t *testing.T, manila *gophercloud.ServiceClient, share string, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	defer func() {
		if t.Failed() {
			t.Logf("the share has the rules %q", got)
		}
	}()
	eventually(t, fmt.Sprintf("the share has the rules %q", want), func() bool {
		got = granted(t, manila, share)
		return slices.Equal(got, want)
	})
}
