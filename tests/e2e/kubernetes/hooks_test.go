package kubernetes_test

import (
	"context"
	"strings"
	"testing"
	"time"
)

// testHooks has "helm test" ask the release whether it works, which it says of each mode, and leaves nothing behind.
func testHooks(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	pods := []string{"mooring-test-dns", "mooring-test-kms", "mooring-test-manila"}
	t.Cleanup(func() {
		for _, pod := range pods {
			if t.Failed() {
				out, err := c.try(context.WithoutCancel(t.Context()), "", "logs", pod, "-n", release)
				t.Log(out, err)
			}
		}
	})
	began := time.Now()
	out, err := c.tryHelm(t.Context(), "", "test", release, "-n", release, "--timeout", "3m")
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		_, after, found := strings.Cut(out, pod+"\n")
		if suite, _, _ := strings.Cut(after, "TEST SUITE:"); !found || !strings.Contains(suite, "Succeeded") {
			t.Errorf("%s did not succeed:\n%s", pod, out)
		}
	}
	t.Logf("helm test: %v", time.Since(began).Round(time.Second))
	if left := c.kubectl(t, append([]string{"get", "pods", "-n", release, "--ignore-not-found", "-o", "name"}, pods...)...); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
