package chart_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// said is what values.yaml says about a key: the comment above it.
type said struct {
	path, comment string
	leaf          bool
}

var keyLine = regexp.MustCompile(`^( *)([A-Za-z][A-Za-z0-9./-]*):`)

// comments are the keys of values.yaml in their order, with their comments.
func comments(t *testing.T) (all []said) {
	t.Helper()
	isLeaf := map[string]bool{}
	for _, path := range leaves("", load(t, chart, "values.yaml")) {
		isLeaf[path] = true
	}
	var path, comment []string
	for line := range strings.Lines(file(chart, "values.yaml")(t)) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimSpace(line)
		if text == "" {
			comment = nil
			continue
		}
		if rest, ok := strings.CutPrefix(text, "#"); ok {
			comment = append(comment, strings.TrimSpace(rest))
			continue
		}
		key := keyLine.FindStringSubmatch(line)
		if key == nil || len(key[1])/2 > len(path) {
			continue // within a value
		}
		path = append(path[:len(key[1])/2], key[2])
		full := strings.Join(path, ".")
		all = append(all, said{full, strings.Join(comment, " "), isLeaf[full]})
		comment = nil
		if isLeaf[full] {
			path = path[:len(path)-1]
		}
	}
	return all
}

// at is the value at a path.
func at(values map[string]any, path string) any {
	var v any = values
	for key := range strings.SplitSeq(path, ".") {
		v = v.(map[string]any)[key]
	}
	return v
}

// docs/reference/values.md is made of the comments in values.yaml. What is said once about a key is not said again where it comes back.
func TestGoldenValuesReference(t *testing.T) {
	t.Parallel()
	values := load(t, chart, "values.yaml")
	var b strings.Builder
	b.WriteString("# Values of the chart\n\n<!-- Made from charts/mooring/values.yaml by `make manifests`. -->\n\n" +
		"Nothing is installed by default. `cloud.existingSecret` and one switch are enough to begin; `kms.enabled` wants its `kms.clusterID` and `kms.keyring`, too.\n" +
		"`values.schema.json` refuses a key that is not here.\n")
	last := map[string]string{}
	table := ""
	for _, s := range comments(t) {
		if !s.leaf {
			if strings.Count(s.path, ".") == 0 {
				fmt.Fprintf(&b, "\n## %s\n", s.path)
			} else {
				fmt.Fprintf(&b, "\n### %s\n", s.path)
			}
			if s.comment != "" {
				fmt.Fprintf(&b, "\n%s\n", s.comment)
			}
			continue
		}
		parent, key := s.path[:strings.LastIndex(s.path, ".")], s.path[strings.LastIndex(s.path, ".")+1:]
		if table != parent {
			table = parent
			b.WriteString("\n| value | default | meaning |\n|---|---|---|\n")
		}
		if s.comment == "" {
			if s.comment = last[key]; s.comment == "" {
				t.Errorf("values.yaml says nothing about %s", s.path)
			}
		} else {
			last[key] = "As `" + s.path + "`."
		}
		value, err := json.Marshal(at(values, s.path))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", s.path, value, strings.ReplaceAll(s.comment, "|", `\|`))
	}
	goldenFile(t, filepath.Join(root, "docs", "reference", "values.md"), b.String())
}

// The reference has every value, and values.yaml no key that it hides.
func TestEveryValueIsInTheReference(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, s := range comments(t) {
		if s.leaf {
			said[s.path] = true
		}
	}
	for _, path := range leaves("", load(t, chart, "values.yaml")) {
		if !said[path] {
			t.Errorf("%s is not found by its line", path)
		}
	}
}
