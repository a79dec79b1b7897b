package kubernetes_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"mooring/tests/contract/target"
)

// snapshotter is the namespace of the snapshot-controller, and its name.
const snapshotter = "snapshot-controller"

// installSnapshotter gives the cluster what the chart's snapshots want: the custom resources and the controller of external-snapshotter. The
// controller goes away with the test, and so do the resources if they were not there before.
func installSnapshotter(t *testing.T, c *cluster) {
	t.Helper()
	module, err := run(t.Context(), "", "go", "-C", root+"/tests", "list", "-m", "-f", "{{.Dir}}", "github.com/kubernetes-csi/external-snapshotter/client/v8")
	if err != nil {
		t.Fatal(err)
	}
	resources, err := filepath.Glob(filepath.Join(strings.TrimSpace(module), "config/crd/snapshot.storage.k8s.io_*.yaml"))
	if err != nil || len(resources) != 3 {
		t.Fatalf("the custom resources of snapshots are %v, %v", resources, err)
	}
	crds := "-f=" + strings.Join(resources, ",")
	there := c.kubectl(t, "get", crds, "--ignore-not-found", "-o", "name") != ""
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), target.Patience)
		defer cancel()
		if _, err := c.try(ctx, "", "delete", "namespace/"+snapshotter, "clusterrole/"+snapshotter, "clusterrolebinding/"+snapshotter, "--wait", "--timeout=60s"); err != nil {
			t.Error(err)
		}
		if there {
			return
		}
		if _, err := c.try(ctx, "", "delete", crds, "--wait", "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
	c.kubectl(t, "apply", "--server-side", crds)
	c.kubectl(t, "wait", "--for=condition=Established", crds, "--timeout=60s")
	c.apply(t, "snapshot-controller.yaml", map[string]string{"NAME": snapshotter, "IMAGE": snapshotterImage(t)})
	c.kubectl(t, "rollout", "status", "deployment/"+snapshotter, "-n", snapshotter, "--timeout=120s")
}

// snapshotterImage is of the version that the chart's sidecar has: both are one project's.
func snapshotterImage(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(root + "/charts/mooring/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Manila struct {
			Sidecars struct {
				Snapshotter struct {
					Image string `json:"image"`
				} `json:"snapshotter"`
			} `json:"sidecars"`
		} `json:"manila"`
	}
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(values.Manila.Sidecars.Snapshotter.Image, "csi-snapshotter", "snapshot-controller", 1)
}
