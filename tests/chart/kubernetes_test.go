package chart_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// TestRightsOfTheDriver: what the driver itself may do in the cluster comes with the value that needs it, and is not a verb more; the
// container of ours gets the token then, and its flag is one that the mode takes.
func TestRightsOfTheDriver(t *testing.T) {
	t.Parallel()
	const token = "/var/run/secrets/kubernetes.io/serviceaccount"
	for value, want := range map[string]struct {
		mode  string
		rules []rbacv1.PolicyRule
	}{
		`manila.cephSecretsNamespace="ceph"`: {"manila-controller", []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "get", "patch", "deletecollection"}},
		}},
		`manila.claimAnnotations=true`: {"manila-controller", nil}, // the sidecars' account may get claims already
		`manila.node.removeStartupTaint=true`: {"manila-node", []rbacv1.PolicyRule{
			{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"csinodes"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "patch"}},
		}},
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			before, after := everything(t), everything(t, "--set-json", value)
			had := rulesOf(t, before)
			var more []rbacv1.PolicyRule
			for key, rules := range rulesOf(t, after) {
				if diff := cmp.Diff(had[key], rules); had[key] != nil && diff != "" {
					t.Errorf("%s has changed: %s", key, diff)
				}
				if had[key] == nil {
					more = append(more, rules...)
				}
			}
			if diff := cmp.Diff(want.rules, more); diff != "" {
				t.Errorf("rights (-want +got):\n%s", diff)
			}
			for _, p := range pods(t, after) {
				for i := range p.spec.Containers {
					c := &p.spec.Containers[i]
					if len(c.Args) == 0 || c.Name != c.Args[0] {
						continue
					}
					has := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == token && m.ReadOnly })
					if has != (c.Name == want.mode) {
						t.Errorf("container %s has a token: %v", c.Name, has)
					}
					if c.Name == want.mode {
						taken(t, nil, expand(t, c))
					}
				}
			}
		})
	}
}

// rulesOf are the rules of each role.
func rulesOf(t *testing.T, text string) map[string][]rbacv1.PolicyRule {
	t.Helper()
	out := map[string][]rbacv1.PolicyRule{}
	for _, object := range objects(t, text) {
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			out["ClusterRole "+o.Name] = o.Rules
		case *rbacv1.Role:
			out["Role "+o.Namespace+"/"+o.Name] = o.Rules
		}
	}
	return out
}

// TestKeySecretsInTheClass: with Secrets of the controller's, a class names them, unless it names one of its own.
func TestKeySecretsInTheClass(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string][2]string{"": {"${pv.name}", "ceph"}, "own": {"own", "mooring"}} {
		found := false
		for _, object := range objects(t, everything(t, "--set", "manila.cephSecretsNamespace=ceph,manila.storageClasses.cephfs.nodeStageSecret="+secret)) {
			class, ok := object.(*storagev1.StorageClass)
			if !ok || class.Parameters["protocol"] != "CEPHFS" {
				continue
			}
			found = true
			for _, when := range []string{"stage", "publish"} {
				got := [2]string{class.Parameters["csi.storage.k8s.io/node-"+when+"-secret-name"], class.Parameters["csi.storage.k8s.io/node-"+when+"-secret-namespace"]}
				if got[0] != want[0] || secret == "" && got[1] != want[1] || got[1] == "" {
					t.Errorf("%q: at %s the class names %q", secret, when, got)
				}
			}
		}
		if !found {
			t.Error("there is no class for CephFS")
		}
	}
}
