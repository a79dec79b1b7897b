package chart_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	apiserver "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"sigs.k8s.io/yaml"
)

// unit is a unit file of systemd: by section, then by name, in order.
type unit map[string]map[string][]string

func parseUnit(t *testing.T, text string) unit {
	t.Helper()
	out, section := unit{}, ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = strings.Trim(line, "[]")
			out[section] = map[string][]string{}
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok || section == "" {
				t.Fatalf("%q is no setting of a section", line)
			}
			out[section][name] = append(out[section][name], value)
		}
	}
	return out
}

func kmsUnit(t *testing.T) (u unit, args []string) {
	t.Helper()
	u = parseUnit(t, file(manifests, "kms", "mooring-kms.service")(t))
	for _, section := range []string{"Unit", "Service", "Install"} {
		if len(u[section]) == 0 {
			t.Errorf("section %s is empty", section)
		}
	}
	start := u["Service"]["ExecStart"]
	if len(start) != 1 {
		t.Fatalf("ExecStart: %q", start)
	}
	args = strings.Fields(start[0])
	if args[0] != "/usr/local/bin/mooring" {
		t.Errorf("it starts %s", args[0])
	}
	return u, args[1:]
}

func TestUnitArgumentsAreTakenByTheRealMode(t *testing.T) {
	t.Parallel()
	u, args := kmsUnit(t)
	taken(t, u["Service"]["Environment"], args)
}

// A restart of the service must leave the directory that kube-apiserver's pod has mounted, and the unit's own file in its place.
func TestUnitKeepsItsDirectories(t *testing.T) {
	t.Parallel()
	u, args := kmsUnit(t)
	directory := filepath.Dir(strings.TrimPrefix(value(args, "endpoint"), "unix://"))
	if want := []string{strings.TrimPrefix(directory, "/run/")}; !slices.Equal(u["Service"]["RuntimeDirectory"], want) {
		t.Errorf("RuntimeDirectory is %q and not %q", u["Service"]["RuntimeDirectory"], want)
	}
	if !slices.Equal(u["Service"]["RuntimeDirectoryPreserve"], []string{"yes"}) {
		t.Error("RuntimeDirectoryPreserve is not yes")
	}
	if got, want := u["Service"]["StateDirectory"], []string{strings.TrimPrefix(filepath.Dir(value(args, "state-file")), "/var/lib/")}; !slices.Equal(got, want) {
		t.Errorf("StateDirectory is %q and not %q: the rest of the file system is read-only", got, want)
	}
}

// kube-apiserver's own reader takes the EncryptionConfiguration.
func TestEncryptionConfigurationIsTakenByKubeAPIServer(t *testing.T) {
	t.Parallel()
	cfg, err := encryptionconfig.LoadEncryptionConfig(t.Context(), filepath.Join(manifests, "kms", "encryption-configuration.yaml"), false, "")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Transformers[schema.GroupResource{Resource: "secrets"}] == nil {
		t.Error("Secrets are not encrypted")
	}
}

// All that names the socket on the node names the same one.
func TestOneSocketOnTheNode(t *testing.T) {
	t.Parallel()
	var config apiserver.EncryptionConfiguration
	if err := yaml.UnmarshalStrict([]byte(file(manifests, "kms", "encryption-configuration.yaml")(t)), &config); err != nil {
		t.Fatal(err)
	}
	want := config.Resources[0].Providers[0].KMS.Endpoint
	_, args := kmsUnit(t)
	if got := value(args, "endpoint"); got != want {
		t.Errorf("the unit serves %s, and kube-apiserver looks at %s", got, want)
	}
	for _, name := range []string{"kms.yaml", filepath.Join("kms", "static-pod.yaml")} {
		if got := socketOnNode(t, name); got != want {
			t.Errorf("%s serves %s, and kube-apiserver looks at %s", name, got, want)
		}
	}
}

// socketOnNode follows a container's endpoint to the host's path.
func socketOnNode(t *testing.T, name string) string {
	t.Helper()
	spec := pods(t, file(manifests, name)(t))[0].spec
	c := spec.Containers[0]
	socket := strings.TrimPrefix(value(c.Args, "endpoint"), "unix://")
	for _, m := range c.VolumeMounts {
		for _, v := range spec.Volumes {
			if m.MountPath == filepath.Dir(socket) && m.Name == v.Name && v.HostPath != nil {
				return "unix://" + filepath.Join(v.HostPath.Path, filepath.Base(socket))
			}
		}
	}
	t.Errorf("%s: %s is in no directory of the node's", name, socket)
	return ""
}
