package kubernetes_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/manila/mount"
	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

// reader reads the file "bytes" of a share as another client than the pod's node, with an access rule of its own.
type reader func(t *testing.T, c *cluster, manila *gophercloud.ServiceClient, share string) []byte

func testNFS(t *testing.T, c *cluster)    { testVolume(t, c, "manila-nfs", "nfs4", readByNFS) }         //nolint:thelper // a test of its own
func testCephFS(t *testing.T, c *cluster) { testVolume(t, c, "manila-cephfs", "ceph", readByCephFuse) } //nolint:thelper // a test of its own

// testVolume follows a claim from nothing to a pod that writes, to another client that reads the same, and back to nothing.
func testVolume(t *testing.T, c *cluster, class, fsType string, read reader) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	c.apply(t, "volume.yaml", map[string]string{"NAMESPACE": namespace, "CLASS": class, "NODE": node})
	t.Logf("pod ready after %v, its share being made meanwhile", c.ready(t, namespace, "writer").Round(100*time.Millisecond))
	volume := c.volume(t, namespace, "data")
	share := c.handle(t, volume)
	c.mountedAs(t, node, volume, share, fsType)

	wrote := strings.Fields(c.kubectl(t, "exec", "writer", "-n", namespace, "--", "sha256sum", "/data/bytes"))[0]
	manila := c.manila(t, "demo")
	data := read(t, c, manila, share)
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != wrote {
		t.Errorf("another client reads %d other bytes", len(data))
	}

	c.kubectl(t, "delete", "pod/writer", "persistentvolumeclaim/data", "-n", namespace, "--wait", "--timeout=90s")
	c.shareGone(t, share)
	eventually(t, "the volume is deleted", func() bool {
		return c.kubectl(t, "get", "persistentvolume", volume, "--ignore-not-found", "-o", "name") == ""
	})
	c.unmountedFrom(t, node, volume, share)
}

// shareGone waits until Manila has deleted a share.
func (c *cluster) shareGone(t *testing.T, share string) {
	t.Helper()
	manila := c.manila(t, "demo")
	eventually(t, "the share is deleted", func() bool {
		_, err := shares.Get(t.Context(), manila, share).Extract()
		return gophercloud.ResponseCodeIs(err, http.StatusNotFound)
	})
}

// mountedAs looks into a node's /proc/mounts: the volume is staged there and in a pod, by the client that makes mounts of that type.
func (c *cluster) mountedAs(t *testing.T, node, volume, share, fsType string) []string {
	t.Helper()
	mounts := c.mountTable(t, node, "/proc/mounts", volume, share)
	for _, m := range mounts {
		t.Log(node, hideSecret(m))
		if got := strings.Fields(m)[2]; got != fsType {
			t.Errorf("the kernel of node %s says %s, not %s", node, got, fsType)
		}
	}
	if len(mounts) < 2 {
		t.Errorf("node %s has %d mounts of %s", node, len(mounts), volume)
	}
	return mounts
}

// unmountedFrom waits until a node has nothing of a volume mounted: kubelet unstages after the last pod is gone.
func (c *cluster) unmountedFrom(t *testing.T, node, volume, share string) {
	t.Helper()
	eventually(t, "nothing of "+volume+" is mounted on "+node, func() bool { return len(c.mountTable(t, node, "/proc/mounts", volume, share)) == 0 })
}

// mountTable are the lines about a volume in one of the files by which a node's kernel tells what is mounted: where it is staged, in a directory
// named after its share, and in its pods.
func (c *cluster) mountTable(t *testing.T, node, file, volume, share string) (lines []string) {
	t.Helper()
	if share == "" {
		t.Fatalf("the volume %s has no share", volume)
	}
	sum := sha256.Sum256([]byte(share))
	for line := range strings.Lines(c.on(t, node, "cat "+file)) {
		if strings.Contains(line, volume) || strings.Contains(line, hex.EncodeToString(sum[:])) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// handle is a volume's handle, after which kubelet names the directory where it is staged.
func (c *cluster) handle(t *testing.T, volume string) string {
	t.Helper()
	return c.kubectl(t, "get", "persistentvolume", volume, "--ignore-not-found", "-o", "jsonpath={.spec.csi.volumeHandle}")
}

func hideSecret(mount string) string {
	before, after, found := strings.Cut(mount, "secret=")
	if !found {
		return mount
	}
	_, after, _ = strings.Cut(after, ",")
	return before + "secret=…," + after
}

// allow makes an access rule, and waits until Manila has applied it.
func allow(t *testing.T, manila *gophercloud.ServiceClient, share, kind, who, level string) shares.AccessRight {
	t.Helper()
	made, err := shares.GrantAccess(t.Context(), manila, share, shares.GrantAccessOpts{AccessType: kind, AccessTo: who, AccessLevel: level}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	var rule shares.AccessRight
	eventually(t, "the rule is active", func() bool {
		rules, err := shares.ListAccessRights(t.Context(), manila, share).Extract()
		if err != nil {
			t.Fatal(openstack.Wrap(err))
		}
		for _, r := range rules {
			if r.ID == made.ID {
				rule = r
			}
		}
		return rule.State == "active"
	})
	return rule
}

func export(t *testing.T, manila *gophercloud.ServiceClient, share string) (server, path string) {
	t.Helper()
	locations, err := shares.ListExportLocations(t.Context(), manila, share).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	if len(locations) == 0 {
		t.Fatalf("share %s has no export location", share)
	}
	at := strings.LastIndex(locations[0].Path, ":/")
	return locations[0].Path[:at], locations[0].Path[at+1:]
}

// readByNFS reads with a library's client, from the machine's address.
func readByNFS(t *testing.T, c *cluster, manila *gophercloud.ServiceClient, share string) []byte {
	t.Helper()
	allow(t, manila, share, "ip", c.lab.Nodes["host"], "ro")
	server, path := export(t, manila, share)
	data, err := run(t.Context(), "", "nfs-cat", fmt.Sprintf("nfs://%s%s/bytes?version=4", server, path))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(data)
}

// readByCephFuse reads through ceph-fuse, on the machine.
func readByCephFuse(t *testing.T, _ *cluster, manila *gophercloud.ServiceClient, share string) (data []byte) {
	t.Helper()
	withCephFuse(t, manila, share, "ro", func(dir string) (err error) {
		data, err = os.ReadFile(filepath.Join(dir, "bytes"))
		return err
	})
	return data
}

// writeByCephFuse writes the file "bytes" of a share from the machine, and tells what is in it.
func writeByCephFuse(t *testing.T, manila *gophercloud.ServiceClient, share string) string {
	t.Helper()
	text := "written before, by " + t.Name()
	withCephFuse(t, manila, share, "rw", func(dir string) error { return os.WriteFile(filepath.Join(dir, "bytes"), []byte(text), 0o600) })
	return text
}

// withCephFuse mounts a share on the machine for the time of a call, with an access rule of its own.
func withCephFuse(t *testing.T, manila *gophercloud.ServiceClient, share, level string, use func(dir string) error) {
	t.Helper()
	rule := allow(t, manila, share, "cephx", target.Unique(t), level)
	at, unmount := mountByCephFuse(t, manila, share, rule.AccessTo, rule.AccessKey)
	defer unmount()
	if err := use(at); err != nil {
		t.Fatal(err)
	}
}

// mountByCephFuse mounts a share on the machine, as the node plugin does: by itself ceph-fuse goes to the background, where it may hang.
func mountByCephFuse(t *testing.T, manila *gophercloud.ServiceClient, share, user, key string) (at string, unmount func()) {
	t.Helper()
	server, path := export(t, manila, share)
	from, err := mount.ParseCephFS(server + ":" + path)
	if err != nil {
		t.Fatal(err)
	}
	at = filepath.Join(t.TempDir(), "mount")
	mounter := mount.New(mount.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), target.Patience)
	defer cancel()
	if err := mounter.MountCephFS(ctx, at, mount.CephFS{Export: from, User: user, Key: key, Mounter: mount.CephFuse}); err != nil {
		t.Fatal(err)
	}
	return at, func() {
		if err := mounter.Unmount(context.WithoutCancel(t.Context()), at); err != nil {
			t.Error(err)
		}
	}
}
