// Package inventory is all that the project gives to Kubernetes: what the chart renders, and what is in manifests/. Tests of the chart
// look at it, and a real API server does.
package inventory

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Helm runs a program of helm's, with nobody's plugins and repositories, and returns what it printed; the error has what it complained about.
func Helm(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = []string{"HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// All are the documents of everything there is, by what they come from: the chart with every value that can be set, and all files of
// manifests/ that Kubernetes' API takes. top is the repository, helm the program.
func All(t *testing.T, top, helm string) map[string]string {
	t.Helper()
	chart, everything := filepath.Join(top, "charts", "mooring"), filepath.Join(top, "tests", "chart", "testdata", "everything.yaml")
	all := map[string]string{}
	for name, args := range map[string][]string{
		"everything": {"--values", everything},
		"what excludes something of that": {
			"--values", everything, "--set-json", `manila.cephSecretsNamespace="ceph",manila.claimAnnotations=true,manila.storageClasses.cephfs.nodeStageSecret=""`,
			"--set-json", `manila.storageClasses.nfs.clients=[],manila.node.removeStartupTaint=true,manila.node.adminAddress="0.0.0.0"`,
			"--set-json", `kms.keyring="",kms.allowedCreators=[],kms.keyIDs=["aaaaaaaa-2222-3333-4444-555555555555"],kms.compatWrite=false`,
			"--set-json", `kms.cloudsSecret="clouds",kms.adminAddress="0.0.0.0",image.pullSecrets=[]`,
		},
		"takeover-nfs":    {"--values", filepath.Join(chart, "examples", "takeover-nfs.yaml")},
		"takeover-cephfs": {"--values", filepath.Join(chart, "examples", "takeover-cephfs.yaml")},
	} {
		text, err := Helm(t, helm, append([]string{"template", "mooring", chart, "--namespace", "mooring"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = text
	}
	manifests := os.DirFS(filepath.Join(top, "manifests"))
	for _, pattern := range []string{"*.yaml", "examples/*.yaml", "kms/static-pod.yaml"} {
		files, err := fs.Glob(manifests, pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("manifests/%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			data, err := fs.ReadFile(manifests, file)
			if err != nil {
				t.Fatal(err)
			}
			all["manifests/"+file] = string(data)
		}
	}
	return all
}

var separator = regexp.MustCompile(`(?m)^---$`)

// Parse reads documents of YAML, and refuses a key that is there twice. A document of nothing but comments is none.
func Parse(text string) (all []*unstructured.Unstructured, err error) {
	for _, document := range separator.Split(text, -1) {
		data, err := yaml.YAMLToJSONStrict([]byte(document))
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, document)
		}
		if string(data) == "null" {
			continue
		}
		object := new(unstructured.Unstructured)
		if err := object.UnmarshalJSON(data); err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, document)
		}
		all = append(all, object)
	}
	return all, nil
}

// Sorted are the names of what there is, in order.
func Sorted[T any](all map[string]T) []string { return slices.Sorted(maps.Keys(all)) }
