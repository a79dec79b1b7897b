package kubernetes_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// protocols are the containers of a pod of writers, and the claims that they write to.
func protocols() []string { return []string{"nfs", "cephfs"} }

// writers starts a pod that writes to a volume of each protocol, of claims that are made with the first one in a namespace.
func (c *cluster) writers(t *testing.T, namespace, pod string) {
	t.Helper()
	c.apply(t, "writers.yaml", map[string]string{"NAMESPACE": namespace, "POD": pod, "NODE": node, "$": "$"})
	t.Logf("pod %s ready after %v", pod, c.ready(t, namespace, pod).Round(100*time.Millisecond))
}

// wrote is the last number that a writer has written. It is an error if any write failed, or a number is missing.
func (c *cluster) wrote(t *testing.T, namespace, pod, protocol string) int {
	t.Helper()
	lines := strings.Fields(c.kubectl(t, "logs", pod, "-c", protocol, "-n", namespace))
	count(t, pod+" says of "+protocol, lines)
	return len(lines)
}

// holds is how many numbers a volume has of a writer, as another pod reads them.
func (c *cluster) holds(t *testing.T, namespace, reader, protocol, writer string) int {
	t.Helper()
	lines := strings.Fields(c.kubectl(t, "exec", reader, "-c", protocol, "-n", namespace, "--", "cat", "/data/"+writer))
	count(t, protocol+" has of "+writer, lines)
	return len(lines)
}

func count(t *testing.T, what string, lines []string) {
	t.Helper()
	for i, line := range lines {
		if line != strconv.Itoa(i+1) {
			t.Fatalf("%s %q after %d numbers", what, strings.Join(lines[i:min(i+20, len(lines))], " "), i)
		}
	}
}

// goesOn waits until a writer has written some more.
func (c *cluster) goesOn(t *testing.T, namespace, pod, protocol string) {
	t.Helper()
	before := c.wrote(t, namespace, pod, protocol)
	eventually(t, pod+" goes on writing to "+protocol, func() bool { return c.wrote(t, namespace, pod, protocol) >= before+3 })
}

// volume is the name of a claim's PersistentVolume.
func (c *cluster) volume(t *testing.T, namespace, claim string) string {
	t.Helper()
	return c.kubectl(t, "get", "persistentvolumeclaim", claim, "-n", namespace, "-o", "jsonpath={.spec.volumeName}")
}

// mountIDs are the kernel's numbers of the mounts of both volumes: a mount that was made again has another one.
func (c *cluster) mountIDs(t *testing.T, namespace string) (ids []string) {
	t.Helper()
	for _, protocol := range protocols() {
		volume := c.volume(t, namespace, protocol)
		for _, line := range c.mountTable(t, node, "/proc/1/mountinfo", volume, c.handle(t, volume)) {
			ids = append(ids, protocol+" "+strings.Fields(line)[0])
		}
	}
	slices.Sort(ids)
	return ids
}

// remove deletes a pod, and waits until it is gone.
func (c *cluster) remove(ctx context.Context, t *testing.T, namespace, pod string) {
	t.Helper()
	if _, err := c.try(ctx, "", "delete", "pod", pod, "-n", namespace, "--wait", "--timeout=2m"); err != nil {
		t.Fatal(err)
	}
}

// unmounted waits until nothing of the volumes is mounted: kubelet unstages after the last pod is gone.
func (c *cluster) unmounted(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, "all is unmounted", func() bool { return len(c.mountIDs(t, namespace)) == 0 })
}
