package chart_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// members are the files of a tar.
func members(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for in := tar.NewReader(r); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeDir {
			delete(files, header.Name)
		}
	}
}

// image is what the layer of the static image has in it.
func image(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for name, data := range members(t, strings.NewReader(file(setting(t, "MOORING_BIN"), "mooring.tar")(t))) {
		layer, err := gzip.NewReader(bytes.NewReader(data))
		if !strings.HasPrefix(name, "blobs/") || err != nil {
			continue // a description
		}
		maps.Copy(files, members(t, layer))
	}
	return files
}

// The static image is the program, the certificates and the list of what is in the program, and is small: 50 MB, unpacked.
func TestImage(t *testing.T) {
	t.Parallel()
	files, size := image(t), 0
	for _, data := range files {
		size += len(data)
	}
	for _, name := range []string{"mooring", "mooring.cdx.json", "etc/ssl/certs/ca-certificates.crt"} {
		if len(files[name]) == 0 {
			t.Errorf("%s is not in the image", name)
		}
	}
	if len(files) != 3 || size > 50e6 {
		t.Errorf("%d files of %d bytes", len(files), size)
	}
	t.Logf("%.1f MB", float64(size)/1e6)
}

// The SBOM lists exactly what the linker says that it has put into the program: Go's own library and modules, by their versions.
func TestSBOM(t *testing.T) {
	t.Parallel()
	var sbom struct {
		Components []struct {
			Name     string `json:"name"`
			Version  string `json:"version"`
			PURL     string `json:"purl"`
			Licenses []struct {
				License struct {
					ID string `json:"id"`
				} `json:"license"`
			} `json:"licenses"`
		} `json:"components"`
	}
	text := image(t)["mooring.cdx.json"]
	if err := json.Unmarshal(text, &sbom); err != nil {
		t.Fatal(err)
	}
	if beside := file(setting(t, "MOORING_BIN"), "mooring.cdx.json")(t); beside != string(text) {
		t.Error("the list beside the image is another one than that in it")
	}
	info, err := buildinfo.Read(bytes.NewReader(image(t)["mooring"]))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"stdlib": strings.TrimPrefix(info.GoVersion, "go")}
	for _, m := range info.Deps {
		want[m.Path] = m.Version
	}
	got := map[string]string{}
	for _, c := range sbom.Components {
		got[c.Name] = c.Version
		if len(c.Licenses) == 0 || c.Licenses[0].License.ID == "" || !strings.HasPrefix(c.PURL, "pkg:golang/") {
			t.Errorf("%+v", c)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(sbom.Components) != len(want) {
		t.Errorf("modules of the program (-) and of the SBOM (+):\n%s", diff)
	}
}

// Whoever builds the image of a commit, in whatever directory, with or without flags of their own for Go and with any umask, gets the same bytes.
func TestImageIsReproducible(t *testing.T) {
	t.Parallel()
	bin, again := setting(t, "MOORING_BIN"), t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask 077; exec make "$@"`, "sh", "-s", "-C", root, "image-tar", "BIN="+again, "TOOLS="+filepath.Join(bin, "tools"))
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MAKE") && !strings.HasPrefix(variable, "MFLAGS=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "GOFLAGS=", "GOENV=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"mooring", "mooring.cdx.json", "mooring.tar"} {
		if file(bin, name)(t) != file(again, name)(t) {
			t.Errorf("%s is another one the second time", name)
		}
	}
}

// instructions are the Dockerfile's, continued lines joined.
func instructions(t *testing.T) (out [][]string) {
	t.Helper()
	for line := range strings.Lines(strings.ReplaceAll(file(root, "Dockerfile")(t), "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, strings.Fields(line))
		}
	}
	return out
}

// No container engine is at hand where this runs, so what can be told from the text is: the compiler is the one that go.mod asks
// for, everything that is copied is there and not ignored, the licence too, which the SBOM tells, and both images run as the user the chart expects.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	ignored := strings.Split(file(root, ".dockerignore")(t), "\n")
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(file(root, "go.mod")(t))[1]
	stage := ""
	users := map[string]string{}
	copied := map[string]bool{}
	for _, i := range instructions(t) {
		switch i[0] {
		case "FROM":
			stage = i[len(i)-1]
			if image, ok := strings.CutPrefix(i[1], "golang:"); ok && !strings.HasPrefix(image, language+".") {
				t.Errorf("the compiler is %s, and go.mod asks for %s", i[1], language)
			}
		case "COPY":
			if strings.HasPrefix(i[1], "--from=") {
				continue
			}
			for _, path := range i[1 : len(i)-1] {
				copied[path] = true
				if _, err := os.Stat(filepath.Join(root, path)); err != nil {
					t.Error(err)
				}
				if !strings.Contains(strings.Join(ignored, "\n")+"\n", "\n!"+path+"\n") {
					t.Errorf(".dockerignore leaves out %s", path)
				}
			}
		case "USER":
			users[stage] = i[1]
		}
	}
	for _, target := range []string{"fuse", "static"} {
		if users[target] != "65532:65532" {
			t.Errorf("the image %s runs as %q", target, users[target])
		}
	}
	if !copied["LICENSE"] {
		t.Error("the SBOM would have no licence for mooring itself")
	}
	if stage != "static" {
		t.Errorf("the image that is built without a target is %s", stage)
	}
}

// The examples name the image of the chart's version.
func TestOneVersion(t *testing.T) {
	t.Parallel()
	var meta struct{ AppVersion string }
	if err := yaml.Unmarshal([]byte(file(chart, "Chart.yaml")(t)), &meta); err != nil {
		t.Fatal(err)
	}
	if ours != "mooring/mooring:"+meta.AppVersion {
		t.Errorf("the chart's appVersion is %s, and the manifests have %s", meta.AppVersion, ours)
	}
}
