package cli

import (
	"strings"
	"testing"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	var w strings.Builder
	p := &progress{w: &w}
	p.show(1, 2, "half")
	p.show(0, 0, "é")
	p.clear()
	p.clear()
	const half = "[###############...............]  50% half"
	if want := "\r" + half + "\ré" + strings.Repeat(" ", len(half)-1) + "\r" + " " + "\r"; w.String() != want {
		t.Errorf("%q, want %q", w.String(), want)
	}
	(&progress{}).show(1, 2, "nobody looks")
	for _, done := range []int64{-1, 0, 5, 10, 11} {
		if got := bar(done, 10); len(got) != len("[] 100%")+30 {
			t.Errorf("%d of 10: %q", done, got)
		}
	}
}
