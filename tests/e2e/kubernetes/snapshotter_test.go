package kubernetes_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"mooring/tests/contract/target"
)

// snapshotter is the namespace of the snapshot-controller, and its name.
const snapshotter = "snapshot-controller"

// installSnapshotter gives the cluster what the chart's snapshots want: the custom resources and the controller of external-snapshotter, which goes
// away with the test.
func installSnapshotter(t *testing.T, c *cluster) {
	t.Helper()
	c.define(t, snapshotResources())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), target.Patience)
		defer cancel()
		if _, err := c.try(ctx, "", "delete", "namespace/"+snapshotter, "clusterrole/"+snapshotter, "clusterrolebinding/"+snapshotter, "--wait", "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
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
