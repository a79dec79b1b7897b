package kubernetes_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
)

func testNFSLife(t *testing.T, c *cluster)    { testLife(t, c, "nfs") }    //nolint:thelper // a test of its own
func testCephFSLife(t *testing.T, c *cluster) { testLife(t, c, "cephfs") } //nolint:thelper // a test of its own

// testLife applies the examples one after the other to one claim, while a pod uses it: it is kept in a snapshot, restored, copied, written by more
// pods, and grown.
func testLife(t *testing.T, c *cluster, kind string) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	kinds := []string{"-nfs", "-" + kind} // the examples are for NFS, and do for CephFS as well
	claim, writer := "shared-"+kind, "writes-to-"+kind
	lap := stopwatch(t)
	c.example(t, namespace, kind+".yaml")
	c.ready(t, namespace, writer)
	sum := c.sh(t, namespace, writer, "cd /data && dd if=/dev/urandom of=bytes bs=64k count=32 conv=fsync 2>/dev/null && sha256sum bytes")
	lap("made, mounted and written")

	c.example(t, namespace, "snapshot.yaml", kinds...)
	snapshot := "volumesnapshot/shared-" + kind + "-today"
	c.kubectl(t, "wait", "--for=jsonpath={.status.readyToUse}=true", snapshot, "-n", namespace, "--timeout=5m")
	lap("snapshot ready")
	c.sh(t, namespace, writer, "date >/data/after && sync /data/after")
	c.example(t, namespace, "clone.yaml", kinds...)
	c.apply(t, "reader.yaml", map[string]string{"NAMESPACE": namespace, "POD": "reads-clone", "CLAIM": "cloned-" + kind, "NODE": node})

	restored := "reads-restored-" + kind
	c.ready(t, namespace, restored)
	lap("restored and mounted")
	if got := c.sh(t, namespace, restored, "cd /data && sha256sum bytes && ls"); got != sum+"\nbytes\ndates" {
		t.Errorf("restored is %q; in the snapshot was %q", got, sum)
	}
	c.ready(t, namespace, "reads-clone")
	lap("cloned and mounted")
	if got := c.sh(t, namespace, "reads-clone", "cd /data && sha256sum bytes && ls"); got != sum+"\nafter\nbytes\ndates" {
		t.Errorf("the clone has %q; of its source is %q", got, sum)
	}

	c.example(t, namespace, "rwx.yaml", kinds...)
	eventually(t, "two more pods write", func() bool {
		return c.sh(t, namespace, writer, "ls /data | grep -c ^share-"+kind+"- || true") == "2"
	})
	c.kubectl(t, "delete", "deployment/share-"+kind, "-n", namespace, "--cascade=foreground", "--wait", "--timeout=90s")
	lap("written by two more pods, which are gone")

	c.example(t, namespace, "expand.yaml", kinds...)
	eventually(t, "the claim has its new size", func() bool {
		return c.field(t, namespace, "persistentvolumeclaim/"+claim, ".status.capacity.storage") == "2Gi"
	})
	lap("grown")
	size := ""
	eventually(t, "the pod sees the new size", func() bool {
		size = c.sh(t, namespace, writer, "df -Pk /data | awk 'END {print $2}'")
		return size == "2097152"
	})
	lap("seen by the pod")
	share := c.handle(t, c.volume(t, namespace, claim))
	if made, err := shares.Get(t.Context(), c.manila(t, "demo"), share).Extract(); err != nil || made.Size != 2 {
		t.Errorf("Manila says of the grown share: %+v, %v", made, openstack.Wrap(err))
	}

	c.kubectl(t, "delete", "pods", "--all", "-n", namespace, "--wait", "--timeout=90s")
	c.kubectl(t, "delete", snapshot, "-n", namespace, "--wait", "--timeout=90s")
	lap("pods and snapshot deleted")
}

// stopwatch tells how long each step took.
func stopwatch(t *testing.T) func(step string) {
	t.Helper()
	last := time.Now()
	return func(step string) {
		t.Helper()
		t.Logf("%s: %v", step, time.Since(last).Round(100*time.Millisecond))
		last = time.Now()
	}
}

// manila is Manila's API as a tenant sees it. Its microversion is the last one that lists rules in the way that gophercloud asks.
func (c *cluster) manila(t *testing.T, tenant string) *gophercloud.ServiceClient {
	t.Helper()
	client, err := c.cloud.Session(t, tenant).Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = "2.44"
	return client
}

// nothingLeft waits until neither Kubernetes nor Manila has anything of the release's volumes.
func (c *cluster) nothingLeft(t *testing.T) {
	t.Helper()
	for _, tenant := range []string{"demo", "quota"} {
		client := c.manila(t, tenant)
		client.Microversion = "2.73" // from which on snapshots have metadata
		var left struct {
			Shares    []carrier `json:"shares"`
			Snapshots []carrier `json:"snapshots"`
		}
		eventually(t, "all shares and snapshots of the release are deleted", func() bool {
			left.Shares, left.Snapshots = nil, nil
			for _, what := range []string{"shares", "snapshots"} {
				_, err := client.Get(t.Context(), client.ServiceURL(what, "detail"), &left, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}}) //nolint:bodyclose // gophercloud closes it
				if err != nil {
					t.Fatal(openstack.Wrap(err))
				}
			}
			for _, one := range append(left.Shares, left.Snapshots...) {
				if one.Metadata[manila.ClusterKey] == c.id {
					return false
				}
			}
			return true
		})
	}
	eventually(t, "all volumes and attachments are deleted", func() bool {
		return !slices.ContainsFunc(c.volumes(t), func(name string) bool { return !slices.Contains(c.before, name) })
	})
	if left := c.kubectl(t, "get", "secrets", "-n", cephKeys, "-o", "name"); left != "" {
		t.Errorf("Secrets of deleted volumes: %s", left)
	}
}

// volumes are the names of what the cluster has of volumes and attachments.
func (c *cluster) volumes(t *testing.T) []string {
	t.Helper()
	return strings.Fields(c.kubectl(t, "get", "persistentvolumes,volumeattachments", "-o", "name"))
}

// carrier is a share or snapshot with what it carries.
type carrier struct {
	ID       string            `json:"id"`
	Metadata map[string]string `json:"metadata"`
}
