package kubernetes_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"mooring/tests/contract/target"
)

// testRelease has helm go over to another version of the chart, uninstall the release, and install it again, while a pod writes to volumes of
// both protocols. Nothing of that unmounts them, and what is installed at the end does, when the pod goes.
func testRelease(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	c.apply(t, "release.yaml", map[string]string{"NAMESPACE": namespace, "NODE": node})
	c.ready(t, namespace, "writer")
	uid := c.kubectl(t, "get", "pod", "writer", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
	mounted := func() (lines []string) {
		for line := range strings.Lines(c.on(t, node, "cat /proc/mounts")) {
			if strings.Contains(line, uid) && strings.Contains(line, "kubernetes.io~csi") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	mounts := func() string {
		return c.kubectl(t, "exec", "writer", "-n", namespace, "--", "grep", "-E", " /(nfs|cephfs) ", "/proc/self/mountinfo")
	}
	before := mounts()
	if n := len(strings.Split(strings.TrimSpace(before), "\n")); n != 2 || len(mounted()) != 2 {
		t.Fatalf("the pod sees %d mounts, and the node has %d of it", n, len(mounted()))
	}
	goesOn := func(after string) {
		for _, volume := range []string{"nfs", "cephfs"} {
			began := c.lines(t, namespace, volume)
			target.Eventually(t, "the pod goes on writing to "+volume+" after the "+after, func() bool { return c.lines(t, namespace, volume) > began })
		}
		if phase := c.kubectl(t, "get", "pod", "writer", "-n", namespace, "-o", "jsonpath={.status.phase}"); phase != "Running" {
			t.Errorf("after the %s the pod is %s", after, phase)
		}
		if now := mounts(); now != before {
			t.Errorf("after the %s other things are mounted:\n%s\nand before it\n%s", after, now, before)
		}
	}

	values := c.helmed(t, "", "get", "values", release, "-n", release, "-o", "yaml")
	c.helmed(t, "", "upgrade", release, c.otherVersion(t), "-n", release, "--reuse-values", "--set", "image.tag="+chartVersion(t), "--wait", "--timeout", "5m")
	goesOn("upgrade")

	c.helmed(t, "", "uninstall", release, "-n", release, "--wait", "--timeout", "3m")
	kinds := strings.Join(strings.Fields(c.kubectl(t, "api-resources", "--verbs=list,delete", "-o", "name")), ",")
	target.Eventually(t, "nothing of the release is left", func() bool {
		left := c.kubectl(t, "get", kinds, "--all-namespaces", "-l", "app.kubernetes.io/instance="+release, "-o", "name")
		if left != "" {
			t.Logf("still there: %s", strings.Join(strings.Fields(left), ", "))
		}
		return left == ""
	})
	goesOn("uninstallation")

	c.helmed(t, values, "install", release, root+"/charts/mooring", "-n", release, "--values", "-", "--wait", "--timeout", "5m")
	goesOn("new installation")
	c.kubectl(t, "delete", "pod", "writer", "-n", namespace, "--wait", "--timeout=3m")
	if left := mounted(); len(left) > 0 {
		t.Errorf("the node still has %d mounts of the pod", len(left))
	}
	volumes := strings.Fields(c.kubectl(t, "get", "persistentvolumeclaims", "-n", namespace, "-o", "jsonpath={.items[*].spec.volumeName}"))
	c.kubectl(t, "delete", "persistentvolumeclaims", "--all", "-n", namespace, "--wait", "--timeout=90s")
	target.Eventually(t, "the volumes are deleted", func() bool {
		return c.kubectl(t, append([]string{"get", "persistentvolumes", "--ignore-not-found", "-o", "name"}, volumes...)...) == ""
	})
}

// lines is how often the pod has written to a volume.
func (c *cluster) lines(t *testing.T, namespace, volume string) int {
	t.Helper()
	out := strings.Fields(c.kubectl(t, "exec", "writer", "-n", namespace, "--", "wc", "-l", "/"+volume+"/lines"))
	n, err := strconv.Atoi(out[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// helmed is what helm says.
func (c *cluster) helmed(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	began := time.Now()
	out, err := run(t.Context(), stdin, c.helm, append([]string{"--kubeconfig", c.lab.Kubeconfig}, args...)...)
	if err != nil {
		t.Fatal(err, c.kubectl(t, "get", "pods,events", "-n", release, "-o", "wide"))
	}
	t.Logf("helm %s: %v", args[0], time.Since(began).Round(time.Second))
	return out
}

// otherVersion is a package of the chart under another version, which all its objects bear on their labels.
func (c *cluster) otherVersion(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	c.helmed(t, "", "package", root+"/charts/mooring", "--version", "99.0.0", "--app-version", "99.0.0", "--destination", dir)
	return filepath.Join(dir, "mooring-99.0.0.tgz")
}

// chartVersion is the version of mooring that the chart installs.
func chartVersion(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(root + "/charts/mooring/Chart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		AppVersion string `json:"appVersion"`
	}
	if err := yaml.Unmarshal(data, &chart); err != nil {
		t.Fatal(err)
	}
	return chart.AppVersion
}
