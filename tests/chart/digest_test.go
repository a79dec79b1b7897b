package chart_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

const (
	digest     = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	fuseDigest = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

// images are those of all containers, the ones of "helm test" too, by what they are in.
func images(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	add := func(name string, spec *corev1.PodSpec) {
		for _, c := range spec.Containers {
			out[name+" "+c.Name] = c.Image
		}
	}
	for _, p := range pods(t, text) {
		add(p.name, p.spec)
	}
	for name, p := range hooks(t, text) {
		add(name, &p.Spec)
	}
	return out
}

// With its digest an image is that one, whatever tag it has: every container goes by digests, and no other image is left behind.
func TestImagesByDigest(t *testing.T) {
	t.Parallel()
	args := []string{"--set", "image.tag=v1,image.digest=" + digest + ",image.fuseDigest=" + fuseDigest, "--set", "tests.image=busybox@" + digest}
	const ourRepository = "mooring/mooring@"
	want := map[string]string{
		"mooring-manila-controller manila-controller": ourRepository + digest,
		"mooring-manila-node manila-node":             ourRepository + digest,
		"mooring-manila-node-fuse manila-node":        ourRepository + fuseDigest,
		"mooring-kms kms":                             ourRepository + digest,
		"mooring-dns dns":                             ourRepository + digest,
		"mooring-test-manila test":                    ourRepository + digest,
		"mooring-test-kms test":                       ourRepository + digest,
		"mooring-test-dns test":                       "busybox@" + digest,
	}
	for name, reference := range map[string]string{ // with a tag and without, and in a registry with a port
		"provisioner": "registry.k8s.io/sig-storage/csi-provisioner:v1@", "attacher": "registry.example.com:5000/csi-attacher@",
		"resizer": "csi-resizer:v1@", "snapshotter": "csi-snapshotter@",
	} {
		args = append(args, "--set", fmt.Sprintf("manila.sidecars.%s.image=%s%s", name, reference, digest))
		want["mooring-manila-controller "+name] = reference + digest
	}
	if diff := cmp.Diff(want, images(t, everything(t, args...))); diff != "" {
		t.Errorf("wanted (-) and rendered (+):\n%s", diff)
	}
}

// A digest of the one image says nothing of the other one.
func TestOneDigest(t *testing.T) {
	t.Parallel()
	all := images(t, everything(t, "--set", "image.fuseDigest="+fuseDigest))
	for container, image := range all {
		if want := "mooring/mooring@" + fuseDigest; strings.Contains(container, "-fuse ") != (image == want) {
			t.Errorf("%s has %s", container, image)
		}
	}
	if got := all["mooring-manila-node manila-node"]; got != ours {
		t.Errorf("nodes without ceph-fuse have %s", got)
	}
}
