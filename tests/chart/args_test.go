package chart_test

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// Every argument of a container of ours is a flag of its mode, with a value that the mode takes.
func TestArgumentsAreTakenByTheRealMode(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ pod, c *corev1.Container) {
		t.Helper()
		if len(c.Command) > 0 {
			t.Errorf("container %s has a command: the image's entry point is the program", c.Name)
		}
		if len(c.Args) == 0 {
			t.Fatalf("container %s has no mode", c.Name)
		}
		taken(t, nil, expand(t, c))
	})
}

// taken starts the real program with arguments and with one more that no mode has. Because every mistake is listed at once, that
// one has to be the only one.
func taken(t *testing.T, env, args []string) {
	t.Helper()
	args = append(slices.Clone(withClouds(t, args)), "--not-a-flag")
	code, stderr := mooring(t, env, args...)
	command, _, _ := strings.Cut(strings.Join(args, " "), " --") // a mode, or a tool below its parent
	want := fmt.Sprintf("mooring %[1]s: there is no flag --not-a-flag\n\"mooring %[1]s --help\" lists the flags.\n", command)
	if code != 2 || stderr != want {
		t.Errorf("mooring %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
}

// The check above would be worth nothing if it let these through.
func TestWrongArgumentsAreNotTaken(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"designate-webhook", "--os-cloud=openstack", "--clouds-file=/etc/openstack/clouds.yaml", "--no-such-flag=1"},
		{"designate-webhook", "--os-cloud=openstack", "--clouds-file=/etc/openstack/clouds.yaml", "--log-level=loud"},
		{"barbican-kms", "--os-cloud=openstack", "--clouds-file=/etc/openstack/clouds.yaml"},
	} {
		code, stderr := mooring(t, nil, append(withClouds(t, args), "--not-a-flag")...)
		if lines := strings.Count(stderr, "\n"); code != 2 || (lines == 2 && strings.Contains(stderr, "--not-a-flag\n")) {
			t.Errorf("%v: exit code %d\n%s", args, code, stderr)
		}
	}
}

// withClouds lets --clouds-file name a file that is there, with the entry that --os-cloud names.
func withClouds(t *testing.T, args []string) []string {
	t.Helper()
	cloud := value(args, "os-cloud")
	if cloud == "" {
		return args
	}
	path := filepath.Join(t.TempDir(), "clouds.yaml")
	text := fmt.Sprintf("clouds:\n  %s:\n    auth_type: v3applicationcredential\n    auth: {auth_url: 'https://keystone.invalid/v3', "+
		"application_credential_id: id, application_credential_secret: secret}\n", cloud)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if strings.HasPrefix(arg, "--clouds-file=") {
			args[i] = "--clouds-file=" + path
		}
	}
	return args
}

// value is that of a flag, "" without it.
func value(args []string, flag string) string {
	for _, arg := range args {
		if v, ok := strings.CutPrefix(arg, "--"+flag+"="); ok {
			return v
		}
	}
	return ""
}

// expand replaces $(NAME) as kubelet does; every name has to be in the container's environment.
func expand(t *testing.T, c *corev1.Container) []string {
	t.Helper()
	var out []string
	for _, arg := range c.Args {
		out = append(out, regexp.MustCompile(`\$\((\w+)\)`).ReplaceAllStringFunc(arg, func(ref string) string {
			name := ref[2 : len(ref)-1]
			if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name }) {
				t.Errorf("container %s: %s is not in its environment", c.Name, ref)
			}
			return "value-of-" + strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		}))
	}
	return out
}

// What an argument names is mounted: the socket and the state where the mode can write, the clouds.yaml where it need not.
func TestPathsAreMounted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ pod, c *corev1.Container) {
		t.Helper()
		mounted := func(path string, readOnly bool) bool {
			return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
				return m.MountPath == filepath.Dir(path) && m.ReadOnly == readOnly
			})
		}
		if socket := strings.TrimPrefix(value(c.Args, "endpoint"), "unix://"); socket != "" && !mounted(socket, false) {
			t.Errorf("container %s: nothing is mounted to write to at the directory of %s", c.Name, socket)
		}
		if state := value(c.Args, "state-file"); state != "" && !mounted(state, false) {
			t.Errorf("container %s: nothing is mounted to write to at the directory of %s", c.Name, state)
		}
		if runtime := value(c.Args, "runtime-config-file"); runtime != "" && !mounted(runtime, true) {
			t.Errorf("container %s: nothing is mounted read-only at the directory of %s", c.Name, runtime)
		}
		if clouds := value(c.Args, "clouds-file"); clouds != "" && !mounted(clouds, true) {
			t.Errorf("container %s: nothing is mounted read-only at the directory of %s", c.Name, clouds)
		}
	})
}

// A sidecar looks for the socket where the mode beside it makes it.
func TestSidecarsFindTheSocket(t *testing.T) {
	t.Parallel()
	sidecars := 0
	for _, p := range pods(t, everything(t)) {
		endpoint := ""
		for i := range p.spec.Containers {
			endpoint = cmp.Or(endpoint, value(p.spec.Containers[i].Args, "endpoint"))
		}
		for i := range p.spec.Containers {
			c := &p.spec.Containers[i]
			if address := value(c.Args, "csi-address"); address != "" {
				sidecars++
				if endpoint != "unix://"+address {
					t.Errorf("%s: %s looks at %s, and the mode serves %s", p.name, c.Name, address, endpoint)
				}
			}
		}
	}
	if sidecars != 4 {
		t.Errorf("there are %d sidecars", sidecars)
	}
}

// The node plugin registers itself: it writes to kubelet's directory, and what it tells of there, its socket, is found on the node by the
// same path.
func TestKubeletFindsTheNodePlugin(t *testing.T) {
	t.Parallel()
	plugins := 0
	for _, p := range pods(t, everything(t)) {
		for i := range p.spec.Containers {
			c := &p.spec.Containers[i]
			dir := value(c.Args, "registration-dir")
			if dir == "" {
				continue
			}
			plugins++
			if !strings.HasSuffix(dir, "/plugins_registry") {
				t.Errorf("container %s registers in %s", c.Name, dir)
			}
			for _, path := range []string{dir, strings.TrimPrefix(value(c.Args, "endpoint"), "unix://")} {
				if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
					return strings.HasPrefix(path, m.MountPath+"/") && !m.ReadOnly && hostPath(p, m.Name) == m.MountPath
				}) {
					t.Errorf("container %s: %s is not the same on the node", c.Name, path)
				}
			}
		}
	}
	if plugins == 0 {
		t.Error("nobody registers with kubelet")
	}
}

// hostPath is the directory of the node that a volume is; empty when it is something else.
func hostPath(p pod, name string) string {
	for _, v := range p.spec.Volumes {
		if v.Name == name && v.HostPath != nil {
			return v.HostPath.Path
		}
	}
	return ""
}

// Probes ask the admin endpoint: at its port, and on its address.
func TestProbesAskTheAdminEndpoint(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p pod, c *corev1.Container) {
		t.Helper()
		if p.spec.RestartPolicy == corev1.RestartPolicyOnFailure {
			return // it ends by itself, and its exit code says how it went
		}
		host, port, err := net.SplitHostPort(value(c.Args, "admin-listen"))
		if err != nil {
			t.Fatalf("container %s: --admin-listen: %v", c.Name, err)
		}
		if p.spec.HostNetwork == (host == "") {
			t.Errorf("container %s listens on %q, with hostNetwork: %v: a port of the node's is for the node alone", c.Name, host, p.spec.HostNetwork)
		}
		for path, probe := range map[string]*corev1.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Host != host || number(c, probe) != port {
				t.Errorf("container %s: the probe of %s is %+v", c.Name, path, probe)
			}
		}
	})
}

// number is the number of a probe's port, which may be a name.
func number(c *corev1.Container, probe *corev1.Probe) string {
	for _, port := range c.Ports {
		if probe.HTTPGet.Port.StrVal == port.Name {
			return strconv.Itoa(int(port.ContainerPort))
		}
	}
	return probe.HTTPGet.Port.String()
}
