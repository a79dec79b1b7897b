package kubernetes_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// customResources are definitions that come with a Go module: what cluster's administrators install, the chart does not.
type customResources struct {
	module string   // with its version, if the module of the tests does not know it
	files  []string // patterns, within the module
}

func snapshotResources() customResources {
	return customResources{"github.com/kubernetes-csi/external-snapshotter/client/v8", []string{"config/crd/snapshot.storage.k8s.io_*.yaml"}}
}

func dnsResources() customResources {
	return customResources{"sigs.k8s.io/external-dns", []string{"config/crd/standard/dnsendpoints.externaldns.k8s.io.yaml"}}
}

func gatewayResources() customResources {
	return customResources{"sigs.k8s.io/gateway-api", []string{
		"config/crd/standard/gateway.networking.k8s.io_gateways.yaml", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
	}}
}

func prometheusResources() customResources {
	return customResources{"github.com/prometheus-operator/prometheus-operator@v0.85.0", []string{
		"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml", "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
	}}
}

// define has the cluster know custom resources. They stay: the next run, and other tests of this one, want the same.
func (c *cluster) define(t *testing.T, all ...customResources) {
	t.Helper()
	args := []string{"apply", "--server-side", "--force-conflicts"}
	for _, resources := range all {
		for _, file := range resources.paths(t) {
			args = append(args, "-f", file)
		}
	}
	c.kubectl(t, args...)
	c.kubectl(t, "wait", "--for=condition=Established", "customresourcedefinitions", "--all", "--timeout=60s")
}

func (r customResources) paths(t *testing.T) (files []string) {
	t.Helper()
	dir := moduleDir(t, r.module)
	for _, pattern := range r.files {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s has no %s: %v", dir, pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

// moduleDir is the directory of a Go module, which has more than Go code.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := run(t.Context(), "", "go", "-C", root+"/tests", "mod", "download", "-json", module)
	if err != nil {
		t.Fatalf("is the module in the cache? There is no network in the lab, and TestCustomResources loads it: %v", err)
	}
	var loaded struct {
		Dir string `json:"Dir"`
	}
	if err := json.Unmarshal([]byte(out), &loaded); err != nil {
		t.Fatal(err)
	}
	return loaded.Dir
}

// TestCustomResources needs no cluster. Run where the module proxy is, it has the modules loaded for tests in the lab.
func TestCustomResources(t *testing.T) {
	t.Parallel()
	for _, resources := range []customResources{snapshotResources(), dnsResources(), gatewayResources(), prometheusResources()} {
		resources.paths(t)
	}
}
