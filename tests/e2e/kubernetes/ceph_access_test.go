package kubernetes_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/tests/contract/target"
)

// testCephFSReaders has pods on both nodes, of both clients, read a volume that is for reading only: they come as a cephx user of the volume
// that may only read, and who has that user's key can't write, whatever is mounted. The user goes with the share.
func testCephFSReaders(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	namespace, manila := c.namespace(t), c.manila(t, "demo")
	c.apply(t, "class.yaml", map[string]string{"CLASS": namespace, "KEYS": cephKeys, "$": "$"})
	c.deleted(t, "storageclass/"+namespace)
	c.apply(t, "read-only.yaml", map[string]string{"NAMESPACE": namespace, "CLASS": namespace})
	volume := c.bound(t, namespace, "data")
	share := c.handle(t, volume)
	user := string(c.cephSecret(t, volume, share)["userID"])
	writes := fmt.Sprintf("cephx %s rw active", user)
	awaitGranted(t, manila, share, writes)
	bytes := content(t)
	filler := allow(t, manila, share, "cephx", target.Unique(t), "rw")
	fillByCephFuse(t, manila, share, &filler, bytes)

	pods := map[string]string{"first": node, "second": fuseNode}
	for pod, on := range pods {
		c.apply(t, "reader.yaml", map[string]string{"NAMESPACE": namespace, "POD": pod, "NODE": on, "CLAIM": "data"})
	}
	for pod := range pods {
		c.ready(t, namespace, pod)
	}
	reads := fmt.Sprintf("cephx %s-ro ro active", user)
	awaitGranted(t, manila, share, writes, reads, fmt.Sprintf("cephx %s rw active", filler.AccessTo))
	want, err := run(t.Context(), "", "sha256sum", bytes)
	if err != nil {
		t.Fatal(err)
	}
	for pod := range pods {
		if got := c.sh(t, namespace, pod, "sha256sum /data/bytes"); strings.Fields(got)[0] != strings.Fields(want)[0] {
			t.Errorf("%s reads other bytes: %s", pod, got)
		}
		onlyReads(t, c, namespace, pod)
	}
	given := c.secret(t, cephKeys, volume)
	if got := string(given["readOnlyUserID"]); got != user+"-ro" {
		t.Errorf("the Secret's user that only reads is %q", got)
	}
	c.mountedAs(t, fuseNode, volume, share, "fuse.ceph-fuse") // which does not tell as whom
	for _, m := range c.mountedAs(t, node, volume, share, "ceph") {
		if !strings.Contains(m, "name="+user+"-ro,") {
			t.Errorf("node %s does not mount as %s-ro: %s", node, user, hideSecret(m))
		}
	}
	at, unmount := mountByCephFuse(t, manila, share, string(given["readOnlyUserID"]), string(given["readOnlyUserKey"]))
	defer unmount()
	if got, err := os.ReadFile(filepath.Join(at, "bytes")); err != nil || len(got) == 0 {
		t.Errorf("with the key of the nodes %d bytes are read: %v", len(got), err)
	}
	if err := os.WriteFile(filepath.Join(at, "written"), []byte("x"), 0o600); err == nil || !refused(err.Error()) {
		t.Errorf("with the key of the nodes a write is answered: %v", err)
	}
}

// fillByCephFuse copies a file into a share, and lets go of it.
func fillByCephFuse(t *testing.T, manila *gophercloud.ServiceClient, share string, as *shares.AccessRight, path string) {
	t.Helper()
	at, unmount := mountByCephFuse(t, manila, share, as.AccessTo, as.AccessKey)
	defer unmount()
	if _, err := run(t.Context(), "", "cp", path, filepath.Join(at, "bytes")); err != nil {
		t.Fatal(err)
	}
}

// content is a file with bytes for a volume.
func content(t *testing.T) string {
	t.Helper()
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data)
	path := filepath.Join(t.TempDir(), "bytes")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
