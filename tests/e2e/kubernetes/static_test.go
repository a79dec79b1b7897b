package kubernetes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
	"mooring/tests/takeover"
)

// testStatic gives a pod a share that somebody has made by hand, by the example for it. It outlives its volume, with its access rules.
func testStatic(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	name, manila := target.Unique(t), c.manila(t, "demo")
	share := takeover.NewOrigin(t, c.cloud, "").Share(t, name, "NFS", "cephfs-nfs", nil)
	allow(t, manila, share, "ip", c.lab.Nodes[node], "rw")
	allow(t, manila, share, "ip", c.lab.Nodes["host"], "rw")
	server, path := export(t, manila, share)
	written := writeByNFS(t, server, path)

	namespace := c.namespace(t)
	c.deleted(t, "persistentvolume/"+name)
	c.example(t, namespace, "static.yaml",
		"10.0.0.5:/shares/share-11111111-2222-3333-4444-555555555555", server+":"+path, "11111111-2222-3333-4444-555555555555", share, "by-hand", name)
	pod := "uses-" + name
	c.ready(t, namespace, pod)
	if got := c.sh(t, namespace, pod, "cat /data/bytes"); got != written {
		t.Errorf("the pod reads %q; %q was written before", got, written)
	}
	date := c.sh(t, namespace, pod, "sync /data/dates; cat /data/dates")

	c.kubectl(t, "delete", "pod/"+pod, "persistentvolumeclaim/"+name, "-n", namespace, "--wait", "--timeout=90s")
	c.kubectl(t, "delete", "persistentvolume", name, "--wait", "--timeout=60s")
	made, err := shares.Get(t.Context(), manila, share).Extract()
	if err != nil || made.Status != "available" {
		t.Fatalf("the share is %+v after its volume: %v", made, openstack.Wrap(err))
	}
	if rules, err := shares.ListAccessRights(t.Context(), manila, share).Extract(); err != nil || len(rules) != 2 {
		t.Errorf("the share's rules are %+v, %v; two were made by hand", rules, openstack.Wrap(err))
	}
	if got, err := run(t.Context(), "", "nfs-cat", "nfs://"+server+path+"/dates?version=4"); err != nil || strings.TrimSpace(got) != date {
		t.Errorf("the share has %q, %v; the pod has written %q", got, err, date)
	}
}

// writeByNFS writes the file "bytes" of a share from the machine, and tells what is in it.
func writeByNFS(t *testing.T, server, path string) string {
	t.Helper()
	text := "written before, by " + t.Name()
	file := filepath.Join(t.TempDir(), "bytes")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), "", "nfs-cp", file, "nfs://"+server+path+"/bytes?version=4"); err != nil {
		t.Fatal(err)
	}
	return text
}
