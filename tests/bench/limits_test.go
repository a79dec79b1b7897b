package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/reference/sizing-and-limits.md has every limit, as it is here, and what was seen kept it.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "sizing-and-limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	all := limits(suites(scanned))
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|") // nothing before the first, and nothing behind the last
		if len(cells) != 6 {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z]+[.][a-z0-9_.…]+)`").FindAllStringSubmatch(cells[2], -1) {
			pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(m[1]), "…", ".*") + "$")
			held := 0
			for name, l := range all {
				if !pattern.MatchString(name) {
					continue
				}
				held++
				said[name] = true
				if bound, ok := leading(cells[3]); !ok || bound != l.bound || strings.Contains(cells[3], "at least") != (l.sign == "≥") {
					t.Errorf("the page has%sfor %s, and the limit is %s", cells[3], name, l)
				}
				if seen, ok := leading(cells[4]); !ok || !l.holds(seen) {
					t.Errorf("the page has seen%sof %s, and the limit is %s", cells[4], name, l)
				}
			}
			if held == 0 {
				t.Errorf("the page has a limit for %s, and there is none", m[1])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !said[name] {
			t.Errorf("the page does not have %s: %s", name, all[name])
		}
	}
}

// However many objects are scanned, the memory for it has a limit.
func TestLimitsOfAnyScan(t *testing.T) {
	t.Parallel()
	for _, objects := range []int{10_000, 100_000, 2_000_000} {
		all, name := limits(suites(objects)), scanName(objects)
		for _, figure := range []string{name + ".rss_mib", name + "_snapshot.rss_mib"} {
			if got := all[figure]; got != atMost(100) {
				t.Errorf("%s: %q", figure, got)
			}
		}
	}
}

// leading is the first number of a text.
func leading(text string) (float64, bool) {
	value, err := strconv.ParseFloat(regexp.MustCompile(`[0-9.]+`).FindString(text), 64)
	return value, err == nil
}
