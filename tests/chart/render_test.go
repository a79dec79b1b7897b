package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"mooring/pkg/manila/params"
)

// manifests/ is what the chart renders with the values in manifests/values.
func TestGoldenManifests(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"manila.yaml", "kms.yaml", "dns.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			goldenManifest(t, name, "# Rendered from charts/mooring with manifests/values/"+name+" by \"make manifests\"; namespace.yaml comes before it.\n"+
				rendered(t, "--skip-tests", "--values", filepath.Join(manifests, "values", name)))
		})
	}
}

// What ExternalDNS's own chart makes of our values for it.
func TestGoldenSidecar(t *testing.T) {
	t.Parallel()
	goldenManifest(t, filepath.Join("examples", "external-dns.yaml"),
		"# Rendered from ExternalDNS's own chart with charts/mooring/examples/external-dns-sidecar.yaml by \"make manifests\".\n"+externalDNS(t))
}

func goldenManifest(t *testing.T, name, got string) {
	t.Helper()
	goldenFile(t, filepath.Join(manifests, name), got)
}

func goldenFile(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what the chart renders (make manifests writes it again):\n%s", golden, diff)
	}
}

// Every object in the repository is one that Kubernetes decodes strictly.
func TestObjectsAreKnown(t *testing.T) {
	t.Parallel()
	for _, s := range sources() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			objects(t, s.text(t))
		})
	}
	t.Run("namespace.yaml", func(t *testing.T) {
		t.Parallel()
		objects(t, file(manifests, "namespace.yaml")(t))
	})
}

// No line that is rendered ends with blanks, but for empty ones of indented text.
func TestNothingTrails(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--set", "image.pullSecrets=null"}} {
		for line := range strings.Lines(everything(t, args...)) {
			line = strings.TrimSuffix(line, "\n")
			if said := strings.TrimRight(line, " \t"); said != "" && said != line {
				t.Errorf("%v: %q", args, line)
			}
		}
	}
}

func TestChartIsLinted(t *testing.T) {
	t.Parallel()
	for _, values := range []string{filepath.Join("testdata", "everything.yaml"), filepath.Join(chart, "values.yaml")} {
		if _, err := helm(t, "lint", "--strict", chart, "--values", values); err != nil {
			t.Error(err)
		}
	}
}

func TestNothingIsInstalledByDefault(t *testing.T) {
	t.Parallel()
	if out := strings.TrimSpace(rendered(t)); out != "" {
		t.Errorf("the chart renders without any switch:\n%s", out)
	}
}

// What a class or a Secret says is what the driver takes, by the driver's own table.
func TestClassesAndSecretsAreTheDriversOwn(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]func(*testing.T) string{
		"everything": func(t *testing.T) string { t.Helper(); return everything(t) },
		"nfs":        file(manifests, "examples", "nfs.yaml"), "nfs-node": file(manifests, "examples", "nfs-node.yaml"), "cephfs": file(manifests, "examples", "cephfs.yaml"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			classes := 0
			for _, object := range objects(t, text(t)) {
				switch o := object.(type) {
				case *storagev1.StorageClass:
					classes++
					checkClass(t, o)
				case *corev1.Secret:
					if _, err := params.ParseSecret(o.StringData); err != nil {
						t.Errorf("Secret %s: %v", o.Name, err)
					}
				}
			}
			if classes == 0 {
				t.Error("there is no StorageClass")
			}
		})
	}
}

func checkClass(t *testing.T, class *storagev1.StorageClass) {
	t.Helper()
	parameters := map[string]string{}
	for key, value := range class.Parameters {
		// external-provisioner keeps these to itself
		if !strings.HasPrefix(key, "csi.storage.k8s.io/node-stage-secret-") && !strings.HasPrefix(key, "csi.storage.k8s.io/node-publish-secret-") {
			parameters[key] = value
		}
	}
	parsed, err := params.ParseClass(parameters)
	if err != nil {
		t.Errorf("StorageClass %s: %v", class.Name, err)
		return
	}
	if parsed.Protocol == "" {
		t.Errorf("StorageClass %s says no protocol", class.Name)
	}
	secret := class.Parameters["csi.storage.k8s.io/node-stage-secret-name"]
	if (parsed.Protocol == params.CEPHFS) != (secret != "") {
		t.Errorf("StorageClass %s is %s and has the node-stage secret %q: CephFS alone needs one", class.Name, parsed.Protocol, secret)
	}
	for _, what := range []string{"name", "namespace"} { // with it a dead mount is replaced at the next publish
		stage, publish := class.Parameters["csi.storage.k8s.io/node-stage-secret-"+what], class.Parameters["csi.storage.k8s.io/node-publish-secret-"+what]
		if stage != publish {
			t.Errorf("StorageClass %s: the %s of the node-publish secret is %q, that of the node-stage secret %q", class.Name, what, publish, stage)
		}
	}
}

// A long release name still gives names that Kubernetes takes.
func TestLongReleaseName(t *testing.T) {
	t.Parallel()
	const longest = 53 // that helm allows
	out, err := helm(t, "template", strings.Repeat("x", longest), chart, "--values", filepath.Join("testdata", "everything.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods(t, out) {
		if wrong := validation.IsDNS1123Label(p.name); len(wrong) > 0 || len(p.name) > 63-11 { // the pods' names get a suffix
			t.Errorf("%q: %v", p.name, wrong)
		}
	}
}
