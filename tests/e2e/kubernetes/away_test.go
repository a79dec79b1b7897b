package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// answersWithin is how long kubelet may take to tell the usage of all volumes while a server is away.
const answersWithin = 10 * time.Second

// testAway stops the NFS server, which a pod has mounted: first it hangs, then it is killed, then another one is started.
func testAway(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	c.writers(t, namespace, "first")
	before := c.mountIDs(t, namespace)
	plugin := c.container(t, "manila-node", "")
	server := c.daemon(t, "ganesha")
	t.Cleanup(func() {
		if t.Failed() { // also wakes what is halted
			startCloud(context.WithoutCancel(t.Context()), t)
		}
	})
	signal(t, server, syscall.SIGSTOP)
	hangs := time.Now()

	// CephFS's usage of the same pod is told again and again: NFS does not keep it waiting
	var slowest time.Duration
	for _, since := range []time.Duration{0, 15 * time.Second} {
		eventually(t, "kubelet tells the usage of the CephFS volume", func() bool {
			told, took := c.usage(t, namespace, "first", "cephfs")
			slowest = max(slowest, took)
			return told.After(hangs.Add(since))
		})
	}
	t.Logf("kubelet told the usage within %v, at the slowest", slowest.Round(time.Millisecond))
	c.apply(t, "volume.yaml", map[string]string{"NAMESPACE": namespace, "CLASS": "manila-cephfs", "NODE": node})
	t.Logf("another pod, with a new CephFS volume, was ready after %v", c.ready(t, namespace, "writer").Round(100*time.Millisecond))
	c.goesOn(t, namespace, "first", "cephfs")
	stuck := c.wrote(t, namespace, "first", "nfs")

	signal(t, server, syscall.SIGKILL)
	eventually(t, "the server has ended", func() bool { return syscall.Kill(server, 0) != nil })
	if now := c.wrote(t, namespace, "first", "nfs"); now != stuck {
		t.Errorf("%d writes to the NFS server while it was away", now-stuck)
	}
	startCloud(t.Context(), t)
	back := time.Now()
	c.goesOn(t, namespace, "first", "nfs")
	t.Logf("the server was away for %v; the pod goes on %v after it is back", back.Sub(hangs).Round(time.Second), time.Since(back).Round(100*time.Millisecond))
	if now := c.container(t, "manila-node", ""); now != plugin {
		t.Errorf("the plugin was %+v, and is %+v", plugin, now)
	}

	c.writers(t, namespace, "second")
	for _, protocol := range protocols() {
		t.Logf("%s has %d numbers of the first pod", protocol, c.holds(t, namespace, "second", protocol, "first"))
	}
	if now := c.mountIDs(t, namespace); len(now) != len(before)+len(protocols()) {
		t.Errorf("mounts are %q, and were %q with one pod less", now, before)
	}
	c.remove(t.Context(), t, namespace, "first")
	c.remove(t.Context(), t, namespace, "second")
	c.unmounted(t, namespace)
}

// usage asks kubelet, and says when it looked at a volume of a pod, and how long the answer took.
func (c *cluster) usage(t *testing.T, namespace, pod, volume string) (at time.Time, took time.Duration) {
	t.Helper()
	began := time.Now()
	out := c.kubectl(t, "get", "--request-timeout="+answersWithin.String(), "--raw", "/api/v1/nodes/"+node+"/proxy/stats/summary")
	took = time.Since(began)
	var summary struct {
		Pods []struct {
			PodRef struct {
				Name      string `json:"name"`
				Namespace string `json:"namespace"`
			} `json:"podRef"`
			Volume []struct {
				Name string    `json:"name"`
				Time time.Time `json:"time"`
			} `json:"volume"`
		} `json:"pods"`
	}
	if err := json.Unmarshal([]byte(out), &summary); err != nil {
		t.Fatal(err)
	}
	for _, p := range summary.Pods {
		for _, v := range p.Volume {
			if p.PodRef.Namespace == namespace && p.PodRef.Name == pod && v.Name == volume {
				at = v.Time
			}
		}
	}
	return at, took
}

// daemon is the process of one of the cloud's daemons. A pid file may be older than the machine, but the lab marks its processes.
func (c *cluster) daemon(t *testing.T, name string) int {
	t.Helper()
	data, err := os.ReadFile(c.cloud.Lab(t).Daemons[name])
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if mark, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || !bytes.Contains(mark, []byte("/openstack/"+name+"\x00")) {
		t.Fatalf("process %d should be %s: %v", pid, name, err)
	}
	return pid
}

func signal(t *testing.T, pid int, what syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, what); err != nil {
		t.Fatal(err)
	}
}

// startCloud starts what is not running of the OpenStack.
func startCloud(ctx context.Context, t *testing.T) {
	t.Helper()
	if _, err := run(ctx, "", labScript, "openstack", "up"); err != nil {
		t.Error(err)
	}
}
