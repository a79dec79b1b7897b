package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sizing are the rows of the tables of docs/reference/sizing-and-limits.md, as their cells: those under a heading, or with none all of
// them. What make bench measures is held by tests/bench.
func sizing(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	page := read(t, "docs", "reference", "sizing-and-limits.md")
	if heading != "" {
		_, under, found := strings.Cut(page, "\n## "+heading+"\n")
		if !found {
			t.Fatalf("the page has no %q", heading)
		}
		page, _, _ = strings.Cut(under, "\n## ")
	}
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|\n"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		rows = append(rows, cells)
	}
	return rows
}

// What another test limits, the page has as that test has it.
func TestSizingHasTheLimitsOfTests(t *testing.T) {
	t.Parallel()
	for _, limit := range []struct{ file, code, source, figure string }{
		{"tests/footprint/process_test.go", "maxBinary = 45_000_000", "tests/footprint", "45 MB"},
		{"tests/footprint/process_test.go", "maxIdle   = 40 << 20", "tests/footprint", "40 MiB"},
		{"tests/footprint/process_test.go", "maxStart  = time.Second / 2", "tests/footprint", "0.5 s"},
		{"tests/chart/image_test.go", "size > 50e6", "tests/chart", "50 MB"},
		{"tests/e2e/kubernetes/figures_test.go", "maxMount      = time.Second ", "tests/e2e/kubernetes", "1 s"},
		{"tests/e2e/kubernetes/figures_test.go", "maxNode       = 40 << 20", "tests/e2e/kubernetes", "40 MiB"},
		{"tests/e2e/kubernetes/figures_test.go", "maxController = 50 << 20", "tests/e2e/kubernetes", "50 MiB"},
		{"tests/e2e/openstack/barbican_test.go", "limit = 60 << 20", "tests/e2e/openstack", "60 MiB"},
		{"tests/e2e/openstack/designate_test.go", "rss > 40<<20", "tests/e2e/openstack", "40 MiB"},
	} {
		if !strings.Contains(read(t, limit.file), limit.code) {
			t.Errorf("%s no longer has %q: what the page says of it, %s, has to be what it has now", limit.file, limit.code, limit.figure)
		}
		if !slices.ContainsFunc(sizing(t, ""), func(row []string) bool {
			return len(row) == 4 && row[1] == "`"+limit.source+"`" && row[2] == limit.figure
		}) {
			t.Errorf("the page has no row of %s with %s", limit.source, limit.figure)
		}
	}
}

// A limit that names constants of the code has their numbers, and one that names code names a constant: the same number may stand in that
// code for something else.
func TestSizingHasTheLimitsOfTheCode(t *testing.T) {
	t.Parallel()
	place, name, number := regexp.MustCompile("^(.*) \\(`(pkg/[a-z/_.]+)`\\)$"), regexp.MustCompile("`([A-Za-z]+)`"), regexp.MustCompile(`[0-9]+`)
	inGo := strings.NewReplacer("2³¹", "1<<31")
	thousands := regexp.MustCompile(`(\d) (\d{3})`)
	places := 0
	for _, row := range sizing(t, "Limits") {
		from := row[len(row)-1]
		if strings.HasPrefix(from, "`pkg/") {
			t.Errorf("%s: which constant of %s has the limit?", row[0], from)
		}
		m := place.FindStringSubmatch(from)
		if m == nil || strings.HasPrefix(from, "`Test") {
			continue
		}
		places++
		var code []string
		for _, constant := range name.FindAllStringSubmatch(m[1], -1) {
			code = append(code, number.FindAllString(definition(t, m[2], constant[1]), -1)...)
		}
		said := number.FindAllString(thousands.ReplaceAllString(inGo.Replace(row[1]), "$1$2"), -1)
		if !slices.Equal(said, code) {
			t.Errorf("%s: the page says %v, and %s has %v", row[0], said, from, code)
		}
	}
	if places < 10 {
		t.Errorf("only %d places were found", places)
	}
}

// definition is what a file or a package gives a name, as it stands there but for the underscores of numbers.
func definition(t *testing.T, path, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^\s*(?:const |var )?`+name+`\s+= ([^/\n]*)`).FindAllStringSubmatch(goFiles(t, path, false), -1)
	if len(found) != 1 {
		t.Errorf("%s gives %s a value at %d places", path, name, len(found))
		return ""
	}
	return strings.ReplaceAll(found[0][1], "_", "")
}

// A test that the page names is where it says.
func TestSizingNamesTests(t *testing.T) {
	t.Parallel()
	named, tests := regexp.MustCompile("`(Test[A-Za-z]+)` \\(`([a-z/]+)`\\)"), 0
	for _, row := range sizing(t, "") {
		for _, m := range named.FindAllStringSubmatch(row[len(row)-1], -1) {
			tests++
			if !strings.Contains(goFiles(t, m[2], true), "func "+m[1]+"(") {
				t.Errorf("%s: there is no %s in %s", row[0], m[1], m[2])
			}
		}
	}
	if tests < 5 {
		t.Errorf("only %d tests were found", tests)
	}
}

// goFiles is the code of a file or of a package, of its tests or without them.
func goFiles(t *testing.T, path string, tests bool) string {
	t.Helper()
	files := []string{filepath.Join("..", "..", path)}
	if !strings.HasSuffix(path, ".go") {
		var err error
		if files, err = filepath.Glob(filepath.Join("..", "..", path, "*.go")); err != nil {
			t.Fatal(err)
		}
	}
	var all strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") != tests {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}
