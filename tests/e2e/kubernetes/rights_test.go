package kubernetes_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mooring/pkg/goldentest"
	"mooring/tests/chart/inventory"
)

// expectedRefusals are rights that a program asks for and does well without.
func expectedRefusals() map[string]string {
	return map[string]string{
		"manila-controller cluster groupsnapshot.storage.k8s.io/volumegroupsnapshotcontents list": "csi-snapshotter asks whether there are group snapshots, and goes on without them",
	}
}

// testRights asks the audit log which rights were used since the tests began. All of them are in the record, with which the chart's roles are
// compared; -update records those of a run of all tests, or those of some tests beside what is there. Nobody asked for more than he has.
func testRights(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	log, err := os.Open(c.lab.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	used, refused, err := inventory.Used(log, c.began)
	if err != nil {
		t.Fatal(err)
	}
	if len(used) == 0 {
		t.Fatalf("%s knows of no right that was used", c.lab.AuditLog)
	}
	for _, right := range refused {
		if expectedRefusals()[right] == "" {
			t.Errorf("asked for, and not granted: %s", right)
		}
	}
	record := filepath.Join(root, "tests", "chart", "testdata", "rights.txt")
	if flag.Lookup("test.run").Value.String() != "" || flag.Lookup("update").Value.String() == "false" {
		before, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		used = append(used, strings.Split(strings.TrimSpace(string(before)), "\n")...)
		slices.Sort(used)
		used = slices.Compact(used)
	}
	goldentest.Compare(t, record, strings.Join(used, "\n")+"\n")
}
