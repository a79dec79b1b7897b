// Package chart_test holds the chart to what it promises: the real helm lints and renders it, every object is one that Kubernetes
// knows, every argument is one that the real mode takes, every value does something and none can be misspelt. The same goes for
// what is in manifests/ beside the rendered files.
//
// It takes helm from MOORING_HELM (make chart sets it) and mooring from MOORING_BIN.
package chart_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	snapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"mooring/tests/chart/inventory"
)

var update = flag.Bool("update", false, "render manifests/ again")

// ours is the image that the chart and the manifests name.
const ours = "mooring/mooring:0.1.0"

var (
	root      = filepath.Join("..", "..")
	chart     = filepath.Join(root, "charts", "mooring")
	manifests = filepath.Join(root, "manifests")
)

// setting is a variable that make chart sets.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run make chart", name)
	}
	return value
}

// helm runs the real helm and returns what it printed; the error has what it complained about.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return inventory.Helm(t, setting(t, "MOORING_HELM"), args...)
}

// template renders the chart as the release mooring in the namespace mooring.
func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return helm(t, append([]string{"template", "mooring", chart, "--namespace", "mooring"}, args...)...)
}

func rendered(t *testing.T, args ...string) string {
	t.Helper()
	out, err := template(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// everything renders all there is in the chart.
func everything(t *testing.T, args ...string) string {
	t.Helper()
	return rendered(t, append([]string{"--values", filepath.Join("testdata", "everything.yaml")}, args...)...)
}

// objects decodes documents of YAML as Kubernetes does when it is strict: an unknown kind, an unknown or a doubled field is an error. So is
// what a real API server does not allow, by its own documents.
func objects(t *testing.T, text string) []runtime.Object {
	t.Helper()
	validate(t, text)
	decoder := serializer.NewCodecFactory(known(t), serializer.EnableStrict).UniversalDeserializer()
	var out []runtime.Object
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		if onlyComments(document) || strings.Contains(document, "\napiVersion: monitoring.coreos.com/v1\n") { // not Kubernetes' own; see prometheusRule and serviceMonitor
			continue
		}
		object, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Errorf("%v\n%s", err, document)
			continue
		}
		out = append(out, object)
	}
	if len(out) == 0 {
		t.Fatal("there is no object")
	}
	return out
}

// known are the kinds of Kubernetes, and of those who extend it.
func known(t *testing.T) *runtime.Scheme {
	t.Helper()
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, snapshot.AddToScheme, gateway.Install} {
		if err := add(kinds); err != nil {
			t.Fatal(err)
		}
	}
	return kinds
}

func onlyComments(document string) bool {
	return !slices.ContainsFunc(strings.Split(document, "\n"), func(line string) bool {
		line = strings.TrimSpace(line)
		return line != "" && !strings.HasPrefix(line, "#") && line != "---"
	})
}

// pod is a pod or the template of pods, with the name of what it stands in.
type pod struct {
	name string
	spec *corev1.PodSpec
}

func pods(t *testing.T, text string) []pod {
	t.Helper()
	var out []pod
	for _, object := range objects(t, text) {
		switch o := object.(type) {
		case *corev1.Pod:
			if o.Annotations["helm.sh/hook"] == "" { // see hooks
				out = append(out, pod{o.Name, &o.Spec})
			}
		case *appsv1.Deployment:
			out = append(out, pod{o.Name, &o.Spec.Template.Spec})
		case *appsv1.DaemonSet:
			out = append(out, pod{o.Name, &o.Spec.Template.Spec})
		case *batchv1.Job:
			out = append(out, pod{o.Name, &o.Spec.Template.Spec})
		}
	}
	if len(out) == 0 {
		t.Fatal("there is no pod")
	}
	return out
}

// source is something with pods in it, and how many containers of ours those have.
type source struct {
	name  string
	text  func(t *testing.T) string
	count int
}

func file(path ...string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

// sources are all places where a container of ours is described.
func sources() []source {
	return []source{
		{name: "manila.yaml", text: file(manifests, "manila.yaml"), count: 2},
		{name: "kms.yaml", text: file(manifests, "kms.yaml"), count: 1},
		{name: "dns.yaml", text: file(manifests, "dns.yaml"), count: 1},
		{name: "cluster-dns-job.yaml", text: file(manifests, "examples", "cluster-dns-job.yaml"), count: 1},
		{name: "static-pod.yaml", text: file(manifests, "kms", "static-pod.yaml"), count: 1},
		{name: "everything", text: func(t *testing.T) string { t.Helper(); return everything(t) }, count: 5},
		{name: "first step of a takeover", text: func(t *testing.T) string {
			t.Helper()
			return everything(t, "--set-json", `kms.keyring="",kms.allowedCreators=[]`)
		}, count: 5},
		{name: "takeover of NFS", text: func(t *testing.T) string { t.Helper(); return takeover(t, "nfs") }, count: 2},
		{name: "takeover of CephFS", text: func(t *testing.T) string { t.Helper(); return takeover(t, "cephfs") }, count: 2},
		{name: "sidecar of ExternalDNS", text: externalDNS, count: 1},
	}
}

// each runs check for every container of ours.
func each(t *testing.T, check func(t *testing.T, p pod, c *corev1.Container)) {
	t.Helper()
	for _, s := range sources() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			found := 0
			for _, p := range pods(t, s.text(t)) {
				for i := range p.spec.Containers {
					if c := &p.spec.Containers[i]; strings.TrimSuffix(c.Image, "-fuse") == ours {
						found++
						check(t, p, c)
					}
				}
			}
			if found != s.count {
				t.Errorf("%d containers are ours, and not %d", found, s.count)
			}
		})
	}
}

// externalDNS renders ExternalDNS's own chart, which comes with its Go module, with our example of values.
func externalDNS(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/external-dns").Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(strings.TrimSpace(string(out)), "charts", "external-dns")
	text, err := helm(t, "template", "external-dns", theirs, "--namespace", "mooring", "--values", filepath.Join(chart, "examples", "external-dns-sidecar.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// mooring runs the real binary with nothing but env in its environment.
func mooring(t *testing.T, env []string, args ...string) (code int, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(setting(t, "MOORING_BIN"), "mooring"), args...)
	cmd.Env = append([]string{}, env...)
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}
