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

// A successor is a release beside the main one that goes on under one of the plugin's driver names, by the example for it.
type successor struct {
	release, driver, class string
	shareType, parameter   string // of the class, as it was written for the plugin
	example, fixture       string
	adminPort              int // another one than those of the other releases
	write                  func(t *testing.T, manila *gophercloud.ServiceClient, share string) (text string)
}

func successors() map[string]successor {
	return map[string]successor{
		"NFS": {
			release + "-nfs", takeover.NFS, "csi-manila-nfs", "cephfs-nfs", "nfs-shareClient: 10.0.0.0/8", "takeover-nfs.yaml", "nfs-dynamic", 9829,
			func(t *testing.T, manila *gophercloud.ServiceClient, share string) string { //nolint:thelper // what it writes is a part of the case
				server, path := export(t, manila, share)
				return writeByNFS(t, server, path)
			},
		},
		"CephFS": {release + "-cephfs", takeover.CEPHFS, "csi-manila-cephfs", "cephfs", "cephfs-mounter: kernel", "takeover-cephfs.yaml", "cephfs-dynamic-old", 9839, writeByCephFuse},
	}
}

func testNFSTakeover(t *testing.T, c *cluster)    { testTakeover(t, c, successors()["NFS"]) }    //nolint:thelper // a test of its own
func testCephFSTakeover(t *testing.T, c *cluster) { testTakeover(t, c, successors()["CephFS"]) } //nolint:thelper // a test of its own

// testTakeover installs a successor into a cluster that has a volume and a class of the plugin: pods go on with the one, and get more by the other.
func testTakeover(t *testing.T, c *cluster, s successor) { //nolint:thelper // a test of its own
	old := takeover.NewOrigin(t, c.cloud, c.id).Volume(t, s.fixture)
	written := s.write(t, c.manila(t, "demo"), old.Share)
	t.Cleanup(func() { c.uninstallRelease(context.WithoutCancel(t.Context()), t, s.release) }) // after its volumes
	c.deleted(t, "persistentvolume/"+old.PV.Name)
	namespace := c.namespace(t)
	c.deleted(t, "storageclass/"+s.class)
	old.PV.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: "old"}
	text, err := yaml.Marshal(old.PV)
	if err != nil {
		t.Fatal(err)
	}
	c.applyText(t, string(text))
	c.apply(t, "takeover.yaml", map[string]string{
		"CLASS": s.class, "DRIVER": s.driver, "TYPE": s.shareType, "PARAMETER": s.parameter, "NAMESPACE": namespace, "VOLUME": old.PV.Name,
	})

	lap := stopwatch(t)
	where := map[string]any{"nodeSelector": map[string]any{"kubernetes.io/hostname": node}, "adminPort": s.adminPort}
	c.installRelease(t, s.release, map[string]any{
		"cloud":  map[string]any{"name": c.cloud.Name("demo")},
		"log":    map[string]any{"level": "debug"},
		"manila": map[string]any{"clusterID": c.id, "controller": map[string]any{"replicas": 1}, "node": where},
	}, "--values", root+"/charts/mooring/examples/"+s.example)
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
