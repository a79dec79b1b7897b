package designate_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mooring/tests/contract/designate/conformance"
)

// What docs/explanation/dns-promises.md says that promises are held by is there: tests by their names, cases of the suite in quotes.
func TestPromisesAreHeld(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "explanation", "dns-promises.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := testsBelow(t, filepath.Join(root, "pkg"), filepath.Join(root, "tests"))
	for _, name := range regexp.MustCompile("`(Test[A-Z]\\w*)`").FindAllStringSubmatch(string(text), -1) {
		if !tests[name[1]] {
			t.Errorf("there is no %s", name[1])
		}
	}
	cases := conformance.Cases()
	quoted := 0
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(strings.TrimSpace(line), "|")
		if len(columns) != 5 { // a row of three columns has four bars
			continue
		}
		for _, name := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(columns[3], -1) {
			quoted++
			if !slices.ContainsFunc(cases, func(c conformance.Case) bool { return c.Name == name[1] }) {
				t.Errorf("the suite has no case %q", name[1])
			}
		}
	}
	if quoted < 20 {
		t.Errorf("only %d cases are named: have the tables another form?", quoted)
	}
}

// testsBelow has the names of all tests in some folders.
func testsBelow(t *testing.T, folders ...string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, name := range declared.FindAllSubmatch(source, -1) {
				names[string(name[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}
