// Package house_test holds the architecture: which package may import which, what the shipped binary links, that every
// package says what it is for. See docs/explanation/architecture.md.
package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mooring/pkg/goldentest"
)

const module = "mooring"

type pkg struct {
	ImportPath string   `json:"ImportPath"`
	Doc        string   `json:"Doc"`
	Standard   bool     `json:"Standard"`
	Imports    []string `json:"Imports"`
	Module     *struct {
		Path string `json:"Path"`
	} `json:"Module"`
}

// list asks the go command about packages of the shipped module.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Doc,Standard,Imports,Module"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var packages []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// floor is how high up a package stands: imports go down, never up and never sideways between modes.
func floor(path string) (level int, mode string) {
	path = strings.TrimPrefix(path, module+"/")
	parts := strings.Split(path, "/")
	switch {
	case parts[0] == "cmd":
		return 0, ""
	case path == "pkg/cli":
		return 1, ""
	case path == "pkg/doctor":
		return 2, "doctor"
	case len(parts) == 3 && slices.Contains([]string{"csi", "kms", "externaldns"}, parts[2]):
		return 2, parts[1]
	case slices.Contains([]string{"manila", "barbican", "designate"}, parts[1]):
		return 3, parts[1]
	case path == "pkg/openstack" || path == "pkg/kubernetes":
		return 4, ""
	case strings.HasPrefix(path, "pkg/openstack/"):
		return 5, "openstack" // the simulator knows nothing of the client it serves
	case strings.HasSuffix(path, "test"):
		return 7, "" // what only tests use
	default:
		return 6, "" // leaves
	}
}

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	packages := list(t, "./...")
	if len(packages) < 15 {
		t.Fatalf("only %d packages were listed", len(packages))
	}
	for _, p := range packages {
		level, mode := floor(p.ImportPath)
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, module+"/") {
				continue
			}
			below, other := floor(i)
			inside := mode != "" && mode == other && level == below // parts of one mode may know each other
			simulator := p.ImportPath == module+"/cmd/openstack-sim"
			if below <= level && !inside || (below == 5 && !simulator) || (mode != "" && other != "" && mode != other) {
				t.Errorf("%s imports %s: imports go cmd → cli → edges → domains → openstack → leaves, never sideways between modes", p.ImportPath, i)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		if len(p.Doc) < 20 {
			t.Errorf("%s has no package doc", p.ImportPath)
		}
	}
}

// The golden makes a new dependency of the shipped binary visible in review.
func TestGoldenLinkedPackages(t *testing.T) {
	t.Parallel()
	modules := map[string]bool{}
	for _, p := range list(t, "-deps", "./cmd/mooring") {
		for _, banned := range []string{
			module + "/pkg/openstack/openstacksim", "testing", "net/http/httptest", "github.com/google/go-cmp", "github.com/sirupsen/logrus",
			"k8s.io/component-base", "k8s.io/api", "k8s.io/client-go/kubernetes", "k8s.io/client-go/informers", "k8s.io/client-go/tools/cache", "k8s.io/client-go/dynamic",
		} {
			if p.ImportPath == banned || strings.HasPrefix(p.ImportPath, banned+"/") {
				t.Errorf("mooring links %s", p.ImportPath)
			}
		}
		switch {
		case p.Standard:
		case p.Module == nil || p.Module.Path == module:
			modules[p.ImportPath] = true
		default:
			modules[p.Module.Path] = true
		}
	}
	var lines []string
	for m := range modules {
		lines = append(lines, m)
	}
	slices.Sort(lines)
	goldentest.Compare(t, filepath.Join("testdata", "linked.txt"), strings.Join(lines, "\n")+"\n")
}
