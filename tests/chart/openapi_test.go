package chart_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mooring/tests/chart/inventory"
)

// api is what a real API server said of the kinds that we use. TestObjects of tests/e2e/kubernetes writes it, with -update.
var api = sync.OnceValues(func() (*inventory.API, error) { return inventory.Load(filepath.Join("testdata", "openapi.json")) })

// check is what is wrong with an object by the server's documents.
func check(t *testing.T, object *unstructured.Unstructured) error {
	t.Helper()
	server, err := api()
	if err != nil {
		t.Fatal(err)
	}
	return server.Validate(object)
}

func parse(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	parsed, err := inventory.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func validate(t *testing.T, text string) {
	t.Helper()
	for _, object := range parse(t, text) {
		if err := check(t, object); err != nil {
			t.Error(err)
		}
	}
}

// Every object that there is, is one that the server would take.
func TestObjectsAreValid(t *testing.T) {
	t.Parallel()
	for name, text := range inventory.All(t, root, setting(t, "MOORING_HELM")) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			validate(t, text)
		})
	}
}

// What is misspelt, missing, of another type or no choice is found wherever it is, in Kubernetes' own kinds and in those of others.
func TestWrongObjectsAreFound(t *testing.T) {
	t.Parallel()
	kinds := map[string]*unstructured.Unstructured{}
	all := inventory.All(t, root, setting(t, "MOORING_HELM"))
	for _, name := range inventory.Sorted(all) {
		for _, object := range parse(t, all[name]) {
			if kinds[object.GetKind()] == nil {
				kinds[object.GetKind()] = object
			}
		}
	}
	const container = "spec.template.spec.containers.0."
	for _, wrong := range []struct {
		kind, path string
		value      any // nil: it is not there
		says       string
	}{
		{"Deployment", "spec.replicaz", int64(2), "replicaz"},
		{"Deployment", "spec.replicas", "two", "spec.replicas"},
		{"Deployment", "spec.selector", nil, "spec.selector"},
		{"Deployment", container + "securityContext.capabilities.dropp", []any{}, "dropp"},
		{"DaemonSet", container + "imagePullPolicy", "Sometimes", "imagePullPolicy"},
		{"DaemonSet", container + "securityContext.privilegd", true, "privilegd"},
		{"DaemonSet", container + "resources.limits.memory", true, "memory"},
		{"Pod", "spec.containers.0.name", nil, "name"},
		{"Job", "spec.backofLimit", int64(1), "backofLimit"},
		{"ClusterRole", "rules.0.verb", []any{"get"}, "verb"},
		{"CSIDriver", "spec.attachRequierd", true, "attachRequierd"},
		{"StorageClass", "reclaimpolicy", "Delete", "reclaimpolicy"},
		{"PersistentVolumeClaim", "spec.resources.request", map[string]any{}, "request"},
		{"NetworkPolicy", "spec.ingress.0.form", []any{}, "form"},
		{"Ingress", "spec.rules.0.http.paths.0.pathType", nil, "pathType"},
		{"ConfigMap", "metadata.label", map[string]any{}, "label"},
		{"VolumeSnapshotClass", "deletionPolicy", "Keep", "deletionPolicy"},
		{"VolumeSnapshot", "spec.source.persistentVolumeClaim", "data", "persistentVolumeClaim"},
		{"DNSEndpoint", "spec.endpoints.0.recordTTl", int64(60), "recordTTl"},
		{"HTTPRoute", "spec.hostnames.0", "not a host name", "hostnames"},
		{"ServiceMonitor", "spec.endpoints.0.intervall", "30s", "intervall"},
		{"PrometheusRule", "spec.groups.0.rules.0.expr", nil, "expr"},
		{"EncryptionConfiguration", "resources", []any{}, "EncryptionConfiguration"}, // of no kind that the server has
	} {
		t.Run(wrong.kind+"/"+wrong.path, func(t *testing.T) {
			t.Parallel()
			object := kinds[wrong.kind]
			if object == nil {
				object = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiserver.config.k8s.io/v1", "kind": wrong.kind}}
			} else if err := check(t, object); err != nil {
				t.Fatal(err)
			}
			object = object.DeepCopy()
			change(t, object.Object, strings.Split(wrong.path, "."), wrong.value)
			if err := check(t, object); err == nil || !strings.Contains(err.Error(), wrong.says) {
				t.Errorf("it is found to be %v", err)
			}
		})
	}
}

// change sets what is at a path, whose numbers are indices.
func change(t *testing.T, in any, path []string, value any) {
	t.Helper()
	switch in := in.(type) {
	case []any:
		if len(in) == 0 || path[0] != "0" {
			t.Fatalf("there is no %v", path)
		}
		if len(path) == 1 {
			in[0] = value
			return
		}
		change(t, in[0], path[1:], value)
	case map[string]any:
		switch {
		case len(path) > 1:
			change(t, in[path[0]], path[1:], value)
		case value == nil:
			delete(in, path[0])
		default:
			in[path[0]] = value
		}
	default:
		t.Fatalf("there is nothing in which %v could be", path)
	}
}
