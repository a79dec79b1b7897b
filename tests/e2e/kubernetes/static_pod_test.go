package kubernetes_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// testStaticPod has kubelet run the KMS plugin by its manifest. What it serves is there without kube-apiserver, which only gets to know of the pod.
func testStaticPod(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	const pod, namespace = "mooring-kms-" + fuseNode, "kube-system"
	dir := shortDir(t)
	for _, sub := range []string{"run", "state", "etc"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text := edited(t, "manifests/kms/static-pod.yaml",
		"--cluster-id=my-cluster", "--cluster-id="+c.keys.cluster, "11111111-2222-3333-4444-555555555555", c.keys.made.Keyring,
		"/run/mooring", dir+"/run", "/var/lib/mooring", dir+"/state", "/etc/mooring", dir+"/etc",
		"9810", "9830") // the chart's plugin has that port on the same node
	manifest := filepath.Join(c.lab.StaticPods, "mooring-kms.yaml")
	t.Cleanup(func() {
		if err := os.RemoveAll(manifest); err != nil {
			t.Error(err)
		}
		if _, err := c.try(context.WithoutCancel(t.Context()), "", "wait", "--for=delete", "pod/"+pod, "-n", namespace, "--timeout=90s"); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "etc", "clouds.yaml"), c.clouds(t), 0o600), os.WriteFile(manifest, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "run", "kms.sock")
	eventually(t, "the plugin wraps and unwraps", func() bool { _, err := keysStatus(t, socket); return err == nil })
	c.kubectl(t, "wait", "--for=create", "pod/"+pod, "-n", namespace, "--timeout=90s")
	c.ready(t, namespace, pod)
}
