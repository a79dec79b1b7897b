package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A container of the release, in the life that it had when it was looked at.
type container struct {
	pod, name, node, id string
	restarts            int
	ready               bool
}

// containers are those of a component that have its name.
func (c *cluster) containers(t *testing.T, component string) (found []container) {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name string  `json:"name"`
				Ends *string `json:"deletionTimestamp"`
			} `json:"metadata"`
			Spec struct {
				Node string `json:"nodeName"`
			} `json:"spec"`
			Status struct {
				Containers []struct {
					Name     string `json:"name"`
					ID       string `json:"containerID"`
					Restarts int    `json:"restartCount"`
					Ready    bool   `json:"ready"`
				} `json:"containerStatuses"`
			} `json:"status"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(c.kubectl(t, "get", "pods", "-n", release, "-l", labels(component), "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, pod := range list.Items {
		for _, s := range pod.Status.Containers {
			if s.Name == component && pod.Metadata.Ends == nil {
				_, id, _ := strings.Cut(s.ID, "://")
				found = append(found, container{pod.Metadata.Name, s.Name, pod.Spec.Node, id, s.Restarts, s.Ready})
			}
		}
	}
	return found
}

// labels select a component of the release, and not those of a release beside it.
func labels(component string) string {
	return "app.kubernetes.io/instance=" + release + ",app.kubernetes.io/component=" + component
}

// container is the only one of a component, or the one of a pod.
func (c *cluster) container(t *testing.T, component, pod string) container {
	t.Helper()
	for _, one := range c.containers(t, component) {
		if pod == "" || one.pod == pod {
			return one
		}
	}
	t.Fatalf("no pod %s of %s", pod, component)
	return container{}
}

// process is the id of the container's process on its node.
func (c *cluster) process(t *testing.T, of container) string {
	t.Helper()
	found := strings.Fields(c.on(t, of.node, "grep -ls /"+of.id+" /proc/[0-9]*/cgroup; true"))
	if len(found) != 1 {
		t.Fatalf("%s on %s: processes %q, and it should be one", of.pod, of.node, found)
	}
	return strings.Split(found[0], "/")[2]
}

// resident is how much memory a process has, in bytes.
func (c *cluster) resident(t *testing.T, of container) int {
	t.Helper()
	line := c.on(t, of.node, "grep VmRSS /proc/"+c.process(t, of)+"/status")
	var kib int
	if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return kib << 10
}

// kill ends a container as the kernel does when memory is short, and does not wait for the next life.
func (c *cluster) kill(t *testing.T, one container) {
	t.Helper()
	c.on(t, one.node, "kill -KILL "+c.process(t, one))
}

// revived waits until a container that was killed is ready again.
func (c *cluster) revived(t *testing.T, one container) {
	t.Helper()
	eventually(t, one.pod+" is ready again, after "+strconv.Itoa(one.restarts)+" restarts before", func() bool {
		now := c.container(t, one.name, one.pod)
		return now.ready && now.restarts > one.restarts
	})
}
