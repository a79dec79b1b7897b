package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// texts are the string literals of what is shipped, each on a line.
func texts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join("..", "..", "pkg"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "openstacksim") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil {
					all.WriteString(text + "\n")
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// What docs/how-to/troubleshooting.md quotes (its lines with a bar) is said by the program in just these words, its metrics are in their reference,
// and its alerts are in the chart.
func TestTroubleshootingQuotesTheProgram(t *testing.T) {
	t.Parallel()
	page, said := read(t, "docs", "how-to", "troubleshooting.md"), texts(t)
	quotes := 0
	for line := range strings.Lines(page) {
		quote, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		quotes++
		longest := 0
		for part := range strings.SplitSeq(strings.ReplaceAll(quote, ": ", "…"), "…") { // what differs, and what another error adds
			part = strings.Trim(part, " :,\n")
			longest = max(longest, len(part))
			if !strings.Contains(said, part) {
				t.Errorf("%q: nothing says %q", strings.TrimSpace(quote), part)
			}
		}
		if longest < 8 {
			t.Errorf("%q says too little to be found", strings.TrimSpace(quote))
		}
	}
	if quotes < 40 {
		t.Errorf("only %d quotes were found", quotes)
	}
	metrics := read(t, "docs", "reference", "metrics.md")
	for _, m := range regexp.MustCompile("`mooring_[a-z_]+`").FindAllString(page, -1) {
		if !strings.Contains(metrics, m) {
			t.Errorf("there is no metric %s", m)
		}
	}
	alerts := read(t, "charts", "mooring", "files", "manila-alerts.yaml") + read(t, "charts", "mooring", "files", "kms-alerts.yaml") + read(t, "charts", "mooring", "files", "dns-alerts.yaml")
	for _, m := range regexp.MustCompile("`(Mooring[A-Za-z]+)`").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(alerts, "alert: "+m[1]+"\n") {
			t.Errorf("there is no alert %s", m[1])
		}
	}
}

// anchors are what a link can name in a document, as GitHub makes it from headings: in small letters, with hyphens for spaces and without other
// signs, and with a number when it comes again.
func anchors(document string) (all []string) {
	heading, link, sign := regexp.MustCompile(`^ {0,3}#{1,6} +(.*?)[ #]*\n?$`), regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`), regexp.MustCompile(`[^\p{L}\p{M}\p{N}_ -]`)
	times, fenced := map[string]int{}, false
	for line := range strings.Lines(document) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		m := heading.FindStringSubmatch(line)
		if fenced || m == nil {
			continue
		}
		anchor := strings.ReplaceAll(sign.ReplaceAllString(strings.ToLower(link.ReplaceAllString(m[1], "$1")), ""), " ", "-")
		times[anchor]++
		if n := times[anchor]; n > 1 {
			anchor += "-" + strconv.Itoa(n-1)
		}
		all = append(all, anchor)
	}
	return all
}

func TestAnchors(t *testing.T) {
	t.Parallel()
	got := anchors("# 2. `mooring keys`: what's not-yet there…\n\n    # indented\n```sh\n# fenced\n```\n## By hand ##\n### By [hand](x.md#y)\n#no\n## A — ÄB_c")
	want := []string{"2-mooring-keys-whats-not-yet-there", "by-hand", "by-hand-1", "a--äb_c"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A relative link in a document leads to a file that is there, and to a heading that it has.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#: ]*)(?:#([^)]*))?\)`)
	files, headings := 0, 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "bin" || strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2) {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".md") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to, anchor := path, m[2]
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(path), m[1])
			}
			files++
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if anchor == "" {
				continue
			}
			headings++
			if document, err := os.ReadFile(to); err != nil || !slices.Contains(anchors(string(document)), anchor) {
				t.Errorf("%s: %s has no heading for #%s (%v)", path, to, anchor, err)
			}
		}
		return nil
	})
	if err != nil || files < 50 || headings < 15 {
		t.Errorf("%d links, %d of them to headings, %v", files, headings, err)
	}
}
