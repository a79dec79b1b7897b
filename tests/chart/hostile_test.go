package chart_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// What looks like a number or a truth is a string where Kubernetes wants one, and every release that helm takes has names that a Service takes.
func TestNamesLikeNumbers(t *testing.T) {
	t.Parallel()
	const values = `manila.driverName="0x1f",manila.cephSecretsNamespace="1",manila.secrets=[{"namespace":"2","name":"3"}],manila.snapshots.className="4",` +
		`manila.storageClasses.nfs.name="5",manila.storageClasses.cephfs.name="1e6",manila.volumeAttributesClasses=[{"name":"null","parameters":{"accessLevel":"ro"}}]`
	for release, namespace := range map[string]string{"1234": "5678", "1e5": "true", "a.b": "null", "1.mooring": "1e3", strings.Repeat("1.", 26) + "1": "on"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			out, err := helm(t, "template", release, chart, "--namespace", namespace, "--values", filepath.Join("testdata", "everything.yaml"), "--set-json", values)
			if err != nil {
				t.Fatal(err)
			}
			for _, object := range objects(t, out) {
				if s, ok := object.(*corev1.Service); ok && len(validation.IsDNS1035Label(s.Name)) > 0 {
					t.Errorf("a Service is called %q", s.Name)
				}
			}
		})
	}
}

// null takes a value away: the schema refuses that, or what is rendered is whole without it.
func TestNullIsRefusedOrDoesNoHarm(t *testing.T) { //nolint:tparallel // "each" waits for those in it
	t.Parallel()
	paths := map[string]bool{}
	for _, path := range leaves("", load(t, chart, "values.yaml")) {
		for ; path != ""; path = path[:max(strings.LastIndex(path, "."), 0)] {
			paths[path] = true
		}
	}
	var (
		mu   sync.Mutex
		away []string
	)
	t.Run("each", func(t *testing.T) {
		for _, path := range slices.Sorted(maps.Keys(paths)) {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				args := []string{"--set-json", path + "=null"}
				_, err := template(t, slices.Concat([]string{"--values", filepath.Join("testdata", "everything.yaml")}, args)...)
				if err != nil {
					if !strings.Contains(err.Error(), "specifications of the schema") {
						t.Errorf("the schema takes it, and a template does not: %v", err)
					}
					return
				}
				if strings.HasSuffix(path, ".enabled") { // nothing is left to look at
					return
				}
				mu.Lock()
				defer mu.Unlock()
				away = append(away, args...)
			})
		}
	})
	objects(t, everything(t, away...)) // without all that can be away
}

// A label of the user's that the chart has, too, is there once.
func TestLabelsOfTheUserWin(t *testing.T) {
	t.Parallel()
	const key = "app.kubernetes.io/name"
	args := []string{}
	for _, path := range []string{"manila.prometheusRule", "kms.prometheusRule", "dns.prometheusRule", "monitoring.serviceMonitor", "monitoring.dashboards"} {
		args = append(args, "--set-json", path+`.labels={"`+key+`":"theirs"}`)
	}
	theirs := 0
	for document := range strings.SplitSeq("\n"+everything(t, args...), "\n---\n") {
		var object struct {
			Metadata struct{ Labels map[string]string }
		}
		if err := yaml.UnmarshalStrict([]byte(document), &map[string]any{}); err != nil {
			t.Error(err)
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		if object.Metadata.Labels[key] == "theirs" {
			theirs++
		}
	}
	if theirs != 7 { // three rules, three dashboards and a monitor
		t.Errorf("%d objects have it", theirs)
	}
}

// No object is there twice, whatever Secrets are called: of two roles of one name the last would be all that is left.
func TestObjectsAreThereOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, object := range objects(t, everything(t, "--set-json", `manila.cephSecretsNamespace="default",manila.secrets=[{"namespace":"default","name":"ceph"}]`)) {
		o, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprintf("%T %s/%s", object, o.GetNamespace(), o.GetName())
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		seen[key] = true
	}
}
