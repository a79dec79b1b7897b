// Package kubernetes_test proves the suite on a real Kubernetes with a real OpenStack behind it: what helm installs from the chart is
// used by kubelet, kube-apiserver and ExternalDNS. See tests/lab.
package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"mooring/tests/contract/target"
)

// variable names the lab.json of the running Kubernetes.
const variable = "MOORING_E2E_KUBERNETES"

const (
	root      = "../../.."
	labScript = root + "/tests/lab/lab"
	release   = "mooring" // of helm, and its namespace
	cephKeys  = "mooring-ceph"
	node      = "uml"  // the one whose kernel has clients of NFS and Ceph
	fuseNode  = "host" // the one whose kernel has neither
	taint     = "manila.csi.openstack.org/agent-not-ready"

	// What volumes of cloud-provider-openstack name.
	takeoverSecret = "csi-manila-secrets"
)

// cluster is the running Kubernetes, and the cloud of the release in it.
type cluster struct {
	cloud *target.Cloud
	keys  *keys
	lab   struct {
		Programs    string            `json:"programs"`
		Kubeconfig  string            `json:"kubeconfig"`
		Etcd        string            `json:"etcd"`
		Nodes       map[string]string `json:"nodes"`
		ExternalDNS string            `json:"external_dns"`
		AuditLog    string            `json:"audit_log"`
		StaticPods  string            `json:"static_pods"` // of the node whose kernel is the machine's
	}
	helm   string
	id     string   // of the release's cluster: what its shares carry
	before []string // volumes and attachments that runs left that were killed
	began  time.Time
}

func openCluster(t *testing.T) *cluster {
	t.Helper()
	described := os.Getenv(variable)
	if described == "" {
		t.Skipf("%s does not name the lab.json of a real Kubernetes", variable)
	}
	c := &cluster{cloud: target.Open(t), helm: os.Getenv("MOORING_HELM"), id: target.Unique(t), began: time.Now()}
	if !c.cloud.Real || c.helm == "" {
		t.Fatalf("%s is set, and %s or MOORING_HELM is not", variable, target.Variable)
	}
	data, err := os.ReadFile(described)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &c.lab); err != nil {
		t.Fatal(err)
	}
	c.before = c.volumes(t)
	return c
}

// atMost is how long a program may take: longer than any that is told to wait.
const atMost = 10 * time.Minute

// run runs a program and returns what it says.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// eventually waits until ask says yes, asking ever less often, up to once in a second: most questions are a process each, and the machine has few
// processors. The text says what was awaited.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	pause, end := 100*time.Millisecond, time.Now().Add(target.Patience)
	for ; !ask(); pause = min(pause*3/2, time.Second) {
		time.Sleep(pause)
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, target.Patience)
		}
		if err := t.Context().Err(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// try is kubectl as the cluster's administrator.
func (c *cluster) try(ctx context.Context, stdin string, args ...string) (string, error) {
	return run(ctx, stdin, filepath.Join(c.lab.Programs, "kubectl"), append([]string{"--kubeconfig", c.lab.Kubeconfig}, args...)...)
}

func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies a file of testdata, in which ${NAME} stands for what values say.
func (c *cluster) apply(t *testing.T, file string, values map[string]string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	c.applyText(t, os.Expand(string(data), func(name string) string {
		value, ok := values[name]
		if !ok {
			t.Fatalf("%s wants ${%s}", file, name)
		}
		return value
	}))
}

func (c *cluster) applyText(t *testing.T, text string) {
	t.Helper()
	if _, err := c.try(t.Context(), text, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// edited is a file of the project as its reader would edit it: pairs of what stands there, which it has to, and what takes its place.
func edited(t *testing.T, file string, edits ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("%s does not have %q", file, edits[i])
		}
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	return text
}

// clouds is a clouds.yaml with the tenant under the name that the project's examples have.
func (c *cluster) clouds(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(c.cloud.CloudsFile())
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Clouds map[string]any `json:"clouds"`
	}
	if err := yaml.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	one, err := yaml.Marshal(map[string]any{"clouds": map[string]any{"openstack": all.Clouds[c.cloud.Name("demo")]}})
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// cloudSecret is the Secret that examples have.
func (c *cluster) cloudSecret(t *testing.T, namespace string) {
	t.Helper()
	if _, err := c.try(t.Context(), string(c.clouds(t)), "create", "secret", "generic", "mooring-cloud", "-n", namespace, "--from-file=clouds.yaml=/dev/stdin"); err != nil {
		t.Fatal(err)
	}
}

// tenantSecret makes a Secret with a tenant's credential, in the words of cloud-provider-openstack. It goes by stdin: arguments are in errors.
func (c *cluster) tenantSecret(t *testing.T, namespace, name, tenant string) {
	t.Helper()
	var text strings.Builder
	for key, value := range c.cloud.Secret(t, tenant) {
		fmt.Fprintf(&text, "%s=%s\n", key, value)
	}
	if _, err := c.try(t.Context(), text.String(), "create", "secret", "generic", name, "-n", namespace, "--from-env-file=/dev/stdin"); err != nil {
		t.Fatal(err)
	}
}

// logsIfFailed shows what pods of a namespace said.
func (c *cluster) logsIfFailed(t *testing.T, namespace string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			out, err := c.try(context.WithoutCancel(t.Context()), "", "logs", "-n", namespace, "-l", "app.kubernetes.io/name", "--all-containers", "--prefix", "--tail=40")
			t.Log(out, err)
		}
	})
}

// tryHelm is helm as the cluster's administrator.
func (c *cluster) tryHelm(ctx context.Context, stdin string, args ...string) (string, error) {
	return run(ctx, stdin, c.helm, append([]string{"--kubeconfig", c.lab.Kubeconfig}, args...)...)
}

// namespace makes one that goes away with the test, and its pods before the volumes they use.
func (c *cluster) namespace(t *testing.T) string {
	t.Helper()
	name := target.Unique(t)
	c.kubectl(t, "create", "namespace", name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), atMost) // each command has a bound of its own
		defer cancel()
		if t.Failed() {
			for _, what := range []string{"events", "pods,persistentvolumeclaims,persistentvolumes,volumeattachments,volumesnapshots"} {
				out, err := c.try(ctx, "", "get", what, "-n", name, "-o", "wide")
				t.Log(out, err)
			}
		}
		for _, what := range []string{"pods", "volumesnapshots", "persistentvolumeclaims"} {
			if _, err := c.try(ctx, "", "delete", what, "--all", "-n", name, "--wait", "--timeout=90s"); err != nil {
				t.Error(err)
			}
		}
		// after a restart of the API server, controllers may take a minute to come back to their watches
		if _, err := c.try(ctx, "", "delete", "namespace", name, "--wait", "--timeout=3m"); err != nil {
			t.Error(err)
		}
	})
	return name
}

// deleted has an object that is in no namespace deleted when the test ends.
func (c *cluster) deleted(t *testing.T, object string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := c.try(context.WithoutCancel(t.Context()), "", "delete", object, "--ignore-not-found", "--wait", "--timeout=2m"); err != nil {
			t.Error(err)
		}
	})
}

// ready waits for a pod, and says how long it took.
func (c *cluster) ready(t *testing.T, namespace, pod string) time.Duration {
	t.Helper()
	began := time.Now()
	c.kubectl(t, "wait", "--for=condition=Ready", "pod/"+pod, "-n", namespace, "--timeout=5m")
	return time.Since(began)
}

// on runs a command on a node.
func (c *cluster) on(t *testing.T, node, command string) string {
	t.Helper()
	out, err := run(t.Context(), "", labScript, "kubernetes", "on", node, command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// install has helm install the chart, with values beside those that all tests share, and uninstall it at the end.
func (c *cluster) install(t *testing.T, values map[string]any) {
	t.Helper()
	c.uninstall(t.Context(), t) // what a run that was killed has left
	for _, namespace := range []string{release, cephKeys} {
		c.kubectl(t, "create", "namespace", namespace)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), atMost)
		defer cancel()
		if t.Failed() {
			for _, component := range []string{"manila-controller", "manila-node", "manila-node-fuse", "kms", "dns"} {
				out, err := c.try(ctx, "", "logs", "-n", release, "-l", "app.kubernetes.io/component="+component, "--all-containers", "--prefix", "--tail=60")
				t.Log(out, err)
			}
		}
		c.uninstall(ctx, t)
	})
	// one node is like those that autoscalers make: nothing but DaemonSets comes there before the node plugin has taken the taint off
	c.kubectl(t, "taint", "node", node, taint+":NoSchedule", "--overwrite")
	c.kubectl(t, "create", "secret", "generic", "mooring-cloud", "-n", release, "--from-file=clouds.yaml="+c.cloud.CloudsFile())
	c.tenantSecret(t, "default", takeoverSecret, "demo")
	c.installRelease(t, release, values)
	eventually(t, "the startup taint is off the node", func() bool {
		return !strings.Contains(c.kubectl(t, "get", "node", node, "-o", "jsonpath={.spec.taints[*].key}"), taint)
	})
}

// installRelease has helm install the chart once more, or for the first time, and waits until all of it is ready.
func (c *cluster) installRelease(t *testing.T, name string, values map[string]any, args ...string) {
	t.Helper()
	data, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	args = append([]string{"install", name, root + "/charts/mooring", "-n", release, "--wait", "--timeout", "5m"}, append(args, "--values", "-")...)
	if _, err := c.tryHelm(context.WithoutCancel(t.Context()), string(data), args...); err != nil {
		pods, _ := c.try(context.WithoutCancel(t.Context()), "", "get", "pods,events", "-n", release, "-o", "wide")
		t.Fatal(err, pods)
	}
	t.Logf("helm install %s: %v until all is ready", name, time.Since(began).Round(time.Second))
}

func (c *cluster) uninstallRelease(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if _, err := c.tryHelm(ctx, "", "uninstall", name, "-n", release, "--ignore-not-found", "--wait", "--timeout", "2m"); err != nil {
		t.Error(err)
	}
}

func (c *cluster) uninstall(ctx context.Context, t *testing.T) {
	t.Helper()
	left := [][]string{{"namespace", release, cephKeys}, {"secret", takeoverSecret, "-n", "default"}}
	for _, s := range successors() {
		c.uninstallRelease(ctx, t, s.release)
		left = append(left, []string{"storageclass", s.class})
	}
	c.uninstallRelease(ctx, t, release)
	for _, left := range left {
		if _, err := c.try(ctx, "", append([]string{"delete", "--ignore-not-found", "--wait", "--timeout=90s"}, left...)...); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.try(ctx, "", "taint", "node", node, taint+"-"); err != nil && !strings.Contains(err.Error(), "not found") {
		t.Error(err)
	}
}
