package kubernetes_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// example applies a file of manifests/examples as a user would who has read its comments: the names of things that are there already are
// theirs, as pairs of old and new say, and classes and their Secrets are the release's.
func (c *cluster) example(t *testing.T, namespace, file string, pairs ...string) {
	t.Helper()
	data, err := os.ReadFile(root + "/manifests/examples/" + file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(append(pairs,
		"namespace: default", "namespace: "+namespace,
		"image: busybox:1.37", "image: lab.local/busybox:1",
	)...).Replace(string(data))
	text = regexp.MustCompile(`(?m)^( +)automountServiceAccountToken: false\n`).
		ReplaceAllString(text, "${0}${1}terminationGracePeriodSeconds: 1\n${1}nodeSelector: {kubernetes.io/hostname: "+node+"}\n")
	objects := slices.DeleteFunc(strings.Split(text, "\n---\n"), func(object string) bool {
		return strings.Contains(object, "\nkind: StorageClass\n") || strings.Contains(object, "\nkind: VolumeSnapshotClass\n") || strings.Contains(object, "\nkind: Secret\n")
	})
	c.applyText(t, strings.Join(objects, "\n---\n"))
}

// sh runs a command in a pod.
func (c *cluster) sh(t *testing.T, namespace, pod, command string) string {
	t.Helper()
	return strings.TrimSpace(c.kubectl(t, "exec", pod, "-n", namespace, "--", "/bin/sh", "-c", command))
}

// field is what a JSON path says of an object; nothing if it is not there.
func (c *cluster) field(t *testing.T, namespace, object, path string) string {
	t.Helper()
	return c.kubectl(t, "get", object, "-n", namespace, "--ignore-not-found", "-o", "jsonpath={"+path+"}")
}
