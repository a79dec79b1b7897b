package chart_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// rights are what a container of ours may do more than nothing.
type rights struct {
	privileged, root, hostNetwork bool
}

// modeRights is the whole of it: mounts that other pods see are for privileged containers only, and root's directories for root.
var modeRights = map[string]rights{
	"manila-controller": {},
	"manila-node":       {privileged: true, root: true, hostNetwork: true},
	"barbican-kms":      {root: true, hostNetwork: true},
	"designate-webhook": {},
	"dns":               {},
}

func TestContainersHaveTheRightsTheyNeed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p pod, c *corev1.Container) {
		t.Helper()
		want := modeRights[c.Args[0]]
		s := c.SecurityContext
		if s == nil {
			t.Fatalf("container %s has no securityContext", c.Name)
		}
		if !is(s.ReadOnlyRootFilesystem) {
			t.Errorf("container %s: the root file system can be written to", c.Name)
		}
		if is(s.Privileged) != want.privileged {
			t.Errorf("container %s: privileged is %v", c.Name, is(s.Privileged))
		}
		dropped := s.Capabilities != nil && slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) && len(s.Capabilities.Add) == 0
		if !want.privileged && (!dropped || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation) {
			t.Errorf("container %s: it keeps capabilities, or may gain some: %+v", c.Name, s)
		}
		pod := p.spec.SecurityContext
		if nonRoot := is(s.RunAsNonRoot) || pod != nil && is(pod.RunAsNonRoot); nonRoot == want.root {
			t.Errorf("container %s: runAsNonRoot is %v", c.Name, nonRoot)
		}
		if want.root && (s.RunAsUser == nil || *s.RunAsUser != 0) {
			t.Errorf("container %s: the image's user is not root, and it needs to be", c.Name)
		}
		if pod == nil || pod.SeccompProfile == nil || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: seccomp is not RuntimeDefault", p.name)
		}
		fuse := c.Args[0] == "manila-node" && strings.HasSuffix(c.Image, "-fuse") // it has to see the processes whose groups it looks up
		if p.spec.HostNetwork != want.hostNetwork || p.spec.HostPID != fuse || p.spec.HostIPC {
			t.Errorf("%s: hostNetwork %v, hostPID %v, hostIPC %v", p.name, p.spec.HostNetwork, p.spec.HostPID, p.spec.HostIPC)
		}
	})
}

func is(b *bool) bool { return b != nil && *b }

// The sidecars have Kubernetes' API and not the cloud, the mode beside it has the cloud and not the API. No other pod has a token.
func TestNobodyHasBothCloudAndCluster(t *testing.T) {
	t.Parallel()
	tokens := 0
	for _, p := range pods(t, everything(t)) {
		if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
			t.Errorf("%s: every container gets a token", p.name)
		}
		kind := map[string]string{}
		for _, v := range p.spec.Volumes {
			switch {
			case v.Projected != nil:
				kind[v.Name] = "cluster"
			case v.Secret != nil:
				kind[v.Name] = "cloud"
			}
		}
		for i := range p.spec.Containers {
			c := &p.spec.Containers[i]
			has := map[string]bool{}
			for _, m := range c.VolumeMounts {
				has[kind[m.Name]] = true
			}
			if has["cluster"] {
				tokens++
			}
			if has["cluster"] && (has["cloud"] || value(c.Args, "csi-address") == "") {
				t.Errorf("container %s of %s has Kubernetes' API; the cloud: %v", c.Name, p.name, has["cloud"])
			}
		}
	}
	if tokens != 4 {
		t.Errorf("%d containers have a token", tokens)
	}
}

// Rights in the cluster are spelt out, and none of them reads Secrets but those that are named.
func TestRulesAreNarrow(t *testing.T) {
	t.Parallel()
	rules := 0
	for _, object := range objects(t, everything(t)) {
		var list []rbacv1.PolicyRule
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			list = o.Rules
		case *rbacv1.Role:
			list = o.Rules
		}
		rules += len(list)
		for _, r := range list {
			for _, word := range slices.Concat(r.APIGroups, r.Resources, r.Verbs) {
				named := word == "secrets" && len(r.ResourceNames) > 0 && slices.Equal(r.Verbs, []string{"get"})
				if word == "*" || word == "secrets" && !named || word == "escalate" || word == "bind" || word == "impersonate" {
					t.Errorf("a rule has %q: %+v", word, r)
				}
			}
		}
	}
	if rules == 0 {
		t.Error("there is no rule at all: does the test look at the right objects?")
	}
}

// The webhook asks nobody who they are, so its Service comes with a policy that does.
func TestTheWebhookIsForExternalDNSAlone(t *testing.T) {
	t.Parallel()
	for _, object := range objects(t, file(manifests, "dns.yaml")(t)) {
		policy, ok := object.(*networkingv1.NetworkPolicy)
		if !ok {
			continue
		}
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				if port.Port.StrVal == "webhook" && len(rule.From) == 0 {
					t.Error("everybody may connect to the webhook")
				}
			}
		}
		return
	}
	t.Error("there is no NetworkPolicy")
}
