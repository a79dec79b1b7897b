package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// program is this test's own, which is linked from modules like any other.
func program(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// inventoryOf runs the command, with the modules that this test was linked from.
func inventoryOf(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	modcache, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "sbom.json")
	if err := run(append([]string{"-out", out, "-version", "1.2.3", "-modcache", strings.TrimSpace(string(modcache))}, args...), io.Discard); err != nil {
		return nil, err
	}
	if info, err := os.Stat(out); err != nil || info.Mode() != 0o644 {
		t.Errorf("the file is %v (%v), and everybody should be able to read it", info, err)
	}
	return os.ReadFile(out)
}

func TestModules(t *testing.T) {
	t.Parallel()
	data, err := inventoryOf(t, program(t))
	if err != nil {
		t.Fatal(err)
	}
	again, err := inventoryOf(t, program(t))
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("the same program gives another list (%v)", err)
	}
	var bom cdx.BOM
	if err := json.Unmarshal(data, &bom); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	if top := bom.Metadata.Component; top.Version != "1.2.3" || top.Licenses != nil || bom.SerialNumber != "" || bom.Metadata.Timestamp != "1970-01-01T00:00:00Z" {
		t.Errorf("%+v", bom.Metadata)
	}
	if len(*bom.Components) != len(info.Deps)+1 || len(*(*bom.Dependencies)[0].Dependencies) != len(info.Deps)+1 {
		t.Errorf("%d components of %d modules and Go's own library", len(*bom.Components), len(info.Deps))
	}
	i := slices.IndexFunc(*bom.Components, func(c cdx.Component) bool { return c.Name == "github.com/CycloneDX/cyclonedx-go" })
	if i < 0 {
		t.Fatal("a module that this is linked from is missing")
	}
	own := (*bom.Components)[i]
	if want := "pkg:golang/" + own.Name + "@" + own.Version; own.PackageURL != want {
		t.Errorf("%s is not %s", own.PackageURL, want)
	}
	if (*own.Licenses)[0].License.ID != "Apache-2.0" || len((*own.Hashes)[0].Value) != 64 {
		t.Errorf("%+v", own)
	}
}

func TestPackages(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "packages.tsv")
	if err := os.WriteFile(file, []byte("libstdc++6\t12.2.0-14\tamd64\tgcc-12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := inventoryOf(t, "-packages", file, program(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := `"purl": "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64\u0026upstream=gcc-12"`; !strings.Contains(string(data), want) {
		t.Errorf("%s is not in %s", want, data[len(data)/2:])
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "packages.tsv")
	if err := os.WriteFile(broken, []byte("libc6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"one program":         {},
		"main_test.go":        {"main_test.go"},
		"is not a package":    {"-packages", broken, program(t)},
		"no licence":          {"-modcache", t.TempDir(), program(t)},
		"no such file":        {"-packages", broken + "x", program(t)},
		"nonexistent/program": {"nonexistent/program"},
	} {
		if _, err := inventoryOf(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}
