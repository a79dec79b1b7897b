package kubernetes_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// What the driver may cost. It is measured while nothing else goes on.
const (
	maxMount      = time.Second // NodeStageVolume and NodePublishVolume of a pod's volume
	maxNode       = 40 << 20    // bytes resident
	maxController = 50 << 20
)

// testFigures measures the driver's share of a pod's start, and its memory.
func testFigures(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	best := map[string]time.Duration{"nfs": time.Hour, "cephfs": time.Hour}
	// the machine may be busy with something else: the best of some pods counts
	for _, pod := range []string{"first", "second", "third", "fourth"} {
		if max(best["nfs"], best["cephfs"]) <= maxMount {
			break
		}
		since := time.Now()
		c.writers(t, namespace, pod)
		for _, protocol := range protocols() {
			handle := c.handle(t, c.volume(t, namespace, protocol))
			stage, staged := c.took(t, "manila-node", "NodeStageVolume", handle, since)
			publish, published := c.took(t, "manila-node", "NodePublishVolume", handle, since)
			attach, _ := c.took(t, "manila-controller", "ControllerPublishVolume", handle, since) // none for a node that is still let in
			t.Logf("%s: %v staged, %v published; before that, %v in which Manila let the node in", protocol, stage, publish, attach)
			if !staged || !published {
				t.Errorf("the logs do not have all calls for %s", handle)
			}
			best[protocol] = min(best[protocol], stage+publish)
		}
		c.remove(t.Context(), t, namespace, pod)
		c.unmounted(t, namespace)
	}
	for protocol, took := range best {
		t.Logf("%s: %v to stage and publish at best, at most %v", protocol, took, maxMount)
		if took > maxMount {
			t.Errorf("%s takes %v", protocol, took)
		}
	}
	for component, limit := range map[string]int{"manila-node": maxNode, "manila-controller": maxController} {
		for _, one := range c.containers(t, component) {
			has := c.resident(t, one)
			t.Logf("%s on %s holds %.1f MiB, at most %d", component, one.node, float64(has)/(1<<20), limit>>20)
			if has > limit {
				t.Errorf("%s holds %d bytes", one.pod, has)
			}
		}
	}
}

// took is how long the calls of a method took for a volume, as the logs of a component say, if they do.
func (c *cluster) took(t *testing.T, component, method, handle string, since time.Time) (sum time.Duration, found bool) {
	t.Helper()
	logs := c.kubectl(t, "logs", "-n", release, "-l", labels(component), "-c", component, "--tail=-1", "--since-time="+since.UTC().Format(time.RFC3339Nano))
	for line := range strings.Lines(logs) {
		var call struct {
			Method  string `json:"method"`
			Took    string `json:"took"`
			Request string `json:"request"`
		}
		if json.Unmarshal([]byte(line), &call) != nil || !strings.HasSuffix(call.Method, "/"+method) || !strings.Contains(call.Request, handle) {
			continue
		}
		took, err := time.ParseDuration(call.Took)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		sum, found = sum+took, true
	}
	return sum, found
}
