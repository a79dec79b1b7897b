package kubernetes_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mooring/pkg/goldentest"
	"mooring/tests/chart/inventory"
)

// TestObjects asks a real API server about every object that there is: it takes them all, strictly, and the record of its OpenAPI documents
// with which the chart is tested elsewhere is what it says. It needs no release.
func TestObjects(t *testing.T) {
	t.Parallel()
	c := openCluster(t)
	c.define(t, snapshotResources(), dnsResources(), gatewayResources(), prometheusResources())
	all := map[string][]*unstructured.Unstructured{}
	for name, text := range inventory.All(t, root, c.helm) {
		parsed, err := inventory.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = parsed
	}
	t.Run("dry run", func(t *testing.T) {
		t.Parallel()
		testDryRun(t, c, all)
	})
	t.Run("OpenAPI", func(t *testing.T) {
		t.Parallel()
		testOpenAPI(t, c, all)
	})
}

// testDryRun has the server take each object in a namespace of its own, and under a name of its own where it has no namespace: what a
// release beside it has can't be changed, and may not be.
func testDryRun(t *testing.T, c *cluster, all map[string][]*unstructured.Unstructured) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	clusterWide := map[string]bool{}
	for line := range strings.Lines(c.kubectl(t, "api-resources", "--namespaced=false", "--no-headers")) {
		fields := strings.Fields(line)
		clusterWide[fields[len(fields)-1]] = true
	}
	ask := func(list ...*unstructured.Unstructured) error {
		var text strings.Builder
		for _, object := range list {
			object = object.DeepCopy()
			if !clusterWide[object.GetKind()] {
				object.SetNamespace(namespace)
			} else if object.GetKind() != "Namespace" {
				object.SetName(namespace + "-" + object.GetName())
			}
			data, err := object.MarshalJSON() // which YAML is, too
			if err != nil {
				return err
			}
			text.WriteString("---\n" + string(data) + "\n")
		}
		_, err := c.try(t.Context(), text.String(), "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
		return err
	}
	accounts := map[string]bool{"default": true}
	for _, list := range all {
		for _, object := range list {
			account, found, _ := unstructured.NestedString(object.Object, "spec", "serviceAccountName")
			if object.GetKind() == "Pod" && found && !accounts[account] { // a pod is only taken when there is its account
				c.kubectl(t, "create", "serviceaccount", account, "-n", namespace)
				accounts[account] = true
			}
		}
	}
	for _, name := range inventory.Sorted(all) {
		if err := ask(all[name]...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	typos := map[string]*unstructured.Unstructured{} // of one object of each kind
	for _, object := range all["everything"] {
		typo := object.DeepCopy()
		typo.Object["typo"] = "x"
		typos[object.GetKind()] = typo
	}
	err := ask(slices.Collect(maps.Values(typos))...)
	for kind := range typos {
		if err == nil || !strings.Contains(err.Error(), "Kind="+kind+"): .typo: field not declared in schema") {
			t.Errorf("%s with a field of which nobody knows: %v", kind, err)
		}
	}
}

// testOpenAPI compares what the server says of the kinds with the record.
func testOpenAPI(t *testing.T, c *cluster, all map[string][]*unstructured.Unstructured) { //nolint:thelper // a test of its own
	var version struct {
		Server struct {
			Version string `json:"gitVersion"`
		} `json:"serverVersion"`
	}
	if err := json.Unmarshal([]byte(c.kubectl(t, "version", "-o", "json")), &version); err != nil {
		t.Fatal(err)
	}
	documents := map[string][]byte{}
	api := inventory.NewAPI(version.Server.Version, func(path string) ([]byte, error) {
		if documents[path] == nil {
			text, err := c.try(t.Context(), "", "get", "--raw", path)
			if err != nil {
				return nil, err
			}
			documents[path] = []byte(text)
		}
		return documents[path], nil
	})
	for _, list := range all {
		for _, object := range list {
			if err := api.Record(object.GroupVersionKind()); err != nil {
				t.Fatal(err)
			}
		}
	}
	goldentest.Compare(t, filepath.Join(root, "tests", "chart", "testdata", "openapi.json"), api.String())
}
