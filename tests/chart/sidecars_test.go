package chart_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// sidecars are the containers beside the controller, by name.
func sidecars(t *testing.T, text string) map[string]*corev1.Container {
	t.Helper()
	out := map[string]*corev1.Container{}
	for _, p := range pods(t, text) {
		for i := range p.spec.Containers {
			if c := &p.spec.Containers[i]; value(c.Args, "csi-address") != "" {
				out[c.Name] = c
			}
		}
	}
	return out
}

// Every argument of a sidecar is a flag of the program in its image: the image's tag is the version of a module, and its code has the flag.
func TestSidecarsKnowTheirArguments(t *testing.T) {
	t.Parallel()
	image := regexp.MustCompile(`^registry\.k8s\.io/sig-storage/csi-([a-z]+):(v(\d+)\.\d+\.\d+)$`)
	for name, c := range sidecars(t, everything(t)) {
		m := image.FindStringSubmatch(c.Image)
		if m == nil || m[1] != name {
			t.Errorf("%s has the image %s", name, c.Image)
			continue
		}
		dir := module(t, "github.com/kubernetes-csi/external-"+m[1]+"/v"+m[3]+"@"+m[2])
		flags := flagsOf(t, filepath.Join(dir, "cmd", "csi-"+name))
		library := regexp.MustCompile(`github.com/kubernetes-csi/csi-lib-utils (v\S+)`).FindStringSubmatch(file(dir, "go.mod")(t))
		flags = append(flags, flagsOf(t, filepath.Join(module(t, "github.com/kubernetes-csi/csi-lib-utils@"+library[1]), "standardflags"))...)
		for _, arg := range c.Args {
			flag, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
			if !slices.Contains(flags, flag) {
				t.Errorf("%s %s has no flag --%s; there are %v", name, m[2], flag, flags)
			}
		}
	}
}

// module is the directory with the code of module@version.
func module(t *testing.T, version string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", version).Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", version, err, out)
	}
	var m struct {
		Dir string `json:"Dir"`
	}
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m.Dir
}

// flagsOf are the names of the flags that the code in a directory declares.
func flagsOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	declared := regexp.MustCompile(`(?:[fF]lags?|flag\.CommandLine)\.(?:Bool|Int|Uint|Float32|Float64|String|Duration)(?:Var)?\([^"\n]*"([a-z-]+)"`)
	files, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no code: %v", dir, err)
	}
	for _, name := range files {
		for _, m := range declared.FindAllStringSubmatch(file(dir, name)(t), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// A sidecar that the driver has no use for is not there, and neither are its rights.
func TestSidecarsComeWithTheirUse(t *testing.T) {
	t.Parallel()
	for set, missing := range map[string]string{"manila.attach=false": "attacher", "manila.snapshots.enabled=false": "snapshotter"} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			text := everything(t, "--set", set)
			if there := sidecars(t, text); len(there) != 3 || there[missing] != nil {
				t.Errorf("there are %d sidecars, %s: %v", len(there), missing, there[missing] != nil)
			}
			for role, rules := range rulesOf(t, text) {
				for _, r := range rules {
					for _, resource := range r.Resources {
						if missing == "attacher" && strings.HasPrefix(resource, "volumeattachments") || missing == "snapshotter" && strings.HasPrefix(resource, "volumesnapshot") {
							t.Errorf("%s still has %s", role, resource)
						}
					}
				}
			}
		})
	}
}

// The tags in values.yaml are the versions with which the lab runs the chart.
func TestSidecarsAreThoseOfTheLab(t *testing.T) {
	t.Parallel()
	programs := file(root, "tests", "lab", "kubernetes", "programs", "go.mod")(t) + file(root, "tests", "lab", "kubernetes", "provisioner", "go.mod")(t)
	built := map[string]string{}
	for _, m := range regexp.MustCompile(`\tgithub\.com/kubernetes-csi/external-([a-z]+)/v\d+ (v\S+)`).FindAllStringSubmatch(programs, -1) {
		built[m[1]] = m[2]
	}
	for name, c := range sidecars(t, everything(t)) {
		if _, tag, _ := strings.Cut(c.Image, ":"); tag != built[name] {
			t.Errorf("%s is %s, and the lab has %q", name, c.Image, built[name])
		}
	}
}
