package chart_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// hooks are the pods of "helm test".
func hooks(t *testing.T, text string) map[string]*corev1.Pod {
	t.Helper()
	out := map[string]*corev1.Pod{}
	for _, object := range objects(t, text) {
		if p, ok := object.(*corev1.Pod); ok && p.Annotations["helm.sh/hook"] == "test" {
			out[p.Name] = p
		}
	}
	return out
}

// "helm test" has one pod for each mode. What it runs of ours takes its arguments, and it leaves nothing when it went well.
func TestHooksAreTakenByTheRealProgram(t *testing.T) {
	t.Parallel()
	all := hooks(t, everything(t))
	if len(all) != 3 {
		t.Errorf("there are %d", len(all))
	}
	for name, p := range all {
		if policy := p.Annotations["helm.sh/hook-delete-policy"]; policy != "before-hook-creation,hook-succeeded" || p.Spec.RestartPolicy != corev1.RestartPolicyNever {
			t.Errorf("%s has the policies %s and %s", name, policy, p.Spec.RestartPolicy)
		}
		c := &p.Spec.Containers[0]
		if s := c.SecurityContext; s == nil || !is(s.ReadOnlyRootFilesystem) || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Capabilities == nil {
			t.Errorf("%s may do too much: %+v", name, s)
		}
		if c.Image != ours {
			continue
		}
		args := append(withClouds(t, c.Args), "--not-a-flag")
		if c.Args[0] == "shares" { // it finds the cluster by the pod that it runs in
			args = append(args, "--kubeconfig="+kubeconfig(t))
		}
		code, stderr := mooring(t, nil, args...)
		if mode := strings.Join(c.Args[:2], " "); code != 2 || !strings.HasPrefix(stderr, "mooring "+mode+": there is no flag --not-a-flag\n") || strings.Count(stderr, "\n") != 2 {
			t.Errorf("%s: exit code %d\n%s", name, code, stderr)
		}
	}
}

// kubeconfig is a file that names a cluster.
func kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: 'https://cluster.invalid'}}]}"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The test of the KMS plugin asks the socket that the plugin serves, and that of the webhook is let in.
func TestHooksReachTheirModes(t *testing.T) {
	t.Parallel()
	text := everything(t)
	all := hooks(t, text)
	kms := pod{"test", &all["mooring-test-kms"].Spec}
	socket := strings.TrimPrefix(value(kms.spec.Containers[0].Args, "endpoint"), "unix://")
	for _, p := range pods(t, text) {
		if p.name != "mooring-kms" {
			continue
		}
		served := strings.TrimPrefix(value(p.spec.Containers[0].Args, "endpoint"), "unix://")
		if served != socket || hostPath(p, "socket") != hostPath(kms, "socket") || kms.spec.Containers[0].VolumeMounts[0].MountPath != filepath.Dir(socket) {
			t.Errorf("the test asks %s in %s, and the plugin serves %s in %s", socket, hostPath(kms, "socket"), served, hostPath(p, "socket"))
		}
	}
	asked, served := false, false
	for _, object := range objects(t, text) {
		// what kubelet puts into the environment of pods for a Service
		if service, ok := object.(*corev1.Service); ok && service.Name == "mooring-dns" {
			spec := &all["mooring-test-dns"].Spec
			served = is(spec.EnableServiceLinks) && service.Spec.Ports[0].Name == "webhook" && strings.Contains(spec.Containers[0].Args[0], "$MOORING_DNS_SERVICE_HOST ")
		}
		if policy, ok := object.(*networkingv1.NetworkPolicy); ok && policy.Name == "mooring-dns" {
			asked = true
			if !slices.ContainsFunc(policy.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
				return len(rule.From) == 1 && covers(all["mooring-test-dns"].Labels, rule.From[0].PodSelector.MatchLabels)
			}) {
				t.Errorf("the webhook's policy does not let in %v", all["mooring-test-dns"].Labels)
			}
		}
	}
	if !asked || !served {
		t.Errorf("there is a policy of the webhook: %t; its test asks its Service: %t", asked, served)
	}
}
