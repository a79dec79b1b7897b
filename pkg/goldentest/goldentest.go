// Package goldentest compares what a test made with a file in the repository, and writes that file with -update.
package goldentest

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the goldens again") //nolint:gochecknoglobals // flags of a test binary are global

// Compare fails the test when the file does not hold exactly got. With -update it writes the file instead.
func Compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what the code makes (-file +code; -update, or make generate, writes it again):\n%s", file, diff)
	}
}
