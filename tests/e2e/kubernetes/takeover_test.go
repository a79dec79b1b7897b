package kubernetes_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"mooring/tests/takeover"
)

// testNFSTakeover installs a release under the plugin's driver name for NFS, by the example for it, into a cluster that has a volume and a class of
// the plugin. The port is another one than the chart's: the main release has that.
func testNFSTakeover(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	old := takeover.NewOrigin(t, c.cloud, c.id).Volume(t, "nfs-dynamic")
	server, path := export(t, c.manila(t, "demo"), old.Share)
	written := writeByNFS(t, server, path)
	t.Cleanup(func() { // after its volumes
		ctx := context.WithoutCancel(t.Context())
		if _, err := c.try(ctx, "", "delete", "persistentvolume", old.PV.Name, "--ignore-not-found", "--wait", "--timeout=2m"); err != nil {
			t.Error(err)
		}
		c.uninstallRelease(ctx, t, nfsRelease)
	})
	namespace := c.namespace(t)
	t.Cleanup(func() {
		if _, err := c.try(context.WithoutCancel(t.Context()), "", "delete", "storageclass", takeoverClass, "--ignore-not-found"); err != nil {
			t.Error(err)
		}
	})
	old.PV.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: "old"}
	text, err := yaml.Marshal(old.PV)
	if err != nil {
		t.Fatal(err)
	}
	c.applyText(t, string(text))
	c.apply(t, "takeover.yaml", map[string]string{"CLASS": takeoverClass, "DRIVER": takeover.NFS, "TYPE": "cephfs-nfs", "NAMESPACE": namespace, "VOLUME": old.PV.Name})

	lap := stopwatch(t)
	where := map[string]any{"nodeSelector": map[string]any{"kubernetes.io/hostname": node}, "adminPort": 9829}
	c.installRelease(t, nfsRelease, map[string]any{
		"cloud":  map[string]any{"name": c.cloud.Name("demo")},
		"log":    map[string]any{"level": "debug"},
		"manila": map[string]any{"clusterID": c.id, "controller": map[string]any{"replicas": 1}, "node": where},
	}, "--values", root+"/charts/mooring/examples/takeover-nfs.yaml")
	lap("installed")
	for _, claim := range []string{"old", "new"} {
		c.apply(t, "reader.yaml", map[string]string{"NAMESPACE": namespace, "POD": claim, "CLAIM": claim, "NODE": node})
	}
	c.ready(t, namespace, "old")
	lap("the old volume is mounted")
	if got := c.sh(t, namespace, "old", "date >/data/after && sync /data/after && cat /data/bytes"); got != written {
		t.Errorf("the pod reads %q; %q was written before", got, written)
	}
	c.ready(t, namespace, "new")
	c.sh(t, namespace, "new", "date >/data/new && sync /data/new")
	lap("a new one of the old class is mounted")
	c.kubectl(t, "patch", "persistentvolumeclaim/old", "-n", namespace, "--type=merge", "-p", `{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`)
	eventually(t, "the old volume is grown", func() bool {
		return c.field(t, namespace, "persistentvolumeclaim/old", ".status.capacity.storage") == "2Gi"
	})
	lap("grown")
	made := c.volume(t, namespace, "new")
	c.kubectl(t, "delete", "pods,persistentvolumeclaims", "--all", "-n", namespace, "--wait", "--timeout=90s")
	c.kubectl(t, "wait", "--for=delete", "persistentvolume/"+old.PV.Name, "persistentvolume/"+made, "--timeout=5m")
	if _, err := shares.Get(t.Context(), c.manila(t, "demo"), old.Share).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		t.Errorf("the old share should be deleted, as its volume's policy says: %v", err)
	}
	lap("deleted")
}
