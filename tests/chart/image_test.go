package chart_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

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
// for, everything that is copied is there and not ignored, and both images run as the user the chart expects.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	ignored := strings.Split(file(root, ".dockerignore")(t), "\n")
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(file(root, "go.mod")(t))[1]
	stage := ""
	users := map[string]string{}
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
