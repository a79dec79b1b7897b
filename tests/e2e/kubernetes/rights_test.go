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

// testRights asks the audit log which rights were used since the tests began. Nobody asked for more than he has. With -update they become the record
// with which the chart's roles are compared, after some of the tests beside what is there. Without it, what differs is told: it may differ from
// run to run, as watches and elections go.
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
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	before := strings.Split(strings.TrimSpace(string(text)), "\n")
	t.Logf("used, and not in the record: %q", without(used, before))
	if flag.Lookup("test.run").Value.String() != "" {
		used = slices.Sorted(slices.Values(append(used, without(before, used)...)))
	} else {
		t.Logf("in the record, and not used: %q", without(before, used))
	}
	if flag.Lookup("update").Value.String() == "true" {
		goldentest.Compare(t, record, strings.Join(used, "\n")+"\n")
	}
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return slices.Contains(some, one) })
}
