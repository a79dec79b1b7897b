package chart_test

import (
	"path/filepath"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// takeover renders the release that takes over the volumes of a protocol.
func takeover(t *testing.T, protocol string) string {
	t.Helper()
	text, err := helm(t, "template", "mooring-"+protocol, chart, "--namespace", "mooring", "--values", filepath.Join(chart, "examples", "takeover-"+protocol+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Each has the driver's name as the volumes have it, does not attach, and may read the Secret that they name: no more.
func TestTakeoverIsInPlace(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"nfs", "cephfs"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			text := takeover(t, protocol)
			driver := find[*storagev1.CSIDriver](t, text)
			if driver.Name != protocol+".manila.csi.openstack.org" || is(driver.Spec.AttachRequired) || *driver.Spec.FSGroupPolicy != storagev1.NoneFSGroupPolicy {
				t.Errorf("the CSIDriver is %s, %+v", driver.Name, driver.Spec)
			}
			if sidecars(t, text)["attacher"] != nil {
				t.Error("there is an attacher")
			}
			read := 0
			for _, object := range objects(t, text) {
				role, ok := object.(*rbacv1.Role)
				if !ok || role.Namespace != "default" {
					continue
				}
				read++
				if r := role.Rules[0]; len(role.Rules) != 1 || !slices.Equal(r.ResourceNames, []string{"csi-manila-secrets"}) || !slices.Equal(r.Verbs, []string{"get"}) {
					t.Errorf("%s has the rules %+v", role.Name, role.Rules)
				}
			}
			if read != 1 {
				t.Errorf("there are %d roles beside the release's namespace", read)
			}
		})
	}
}

// Both can be there at once: nothing of a node's, and no object, is in both.
func TestTakeoversLiveSideBySide(t *testing.T) {
	t.Parallel()
	taken := map[string]bool{}
	for _, protocol := range []string{"nfs", "cephfs"} {
		for _, p := range pods(t, takeover(t, protocol)) {
			for i := range p.spec.Containers {
				args := p.spec.Containers[i].Args
				if args[0] != "manila-node" {
					continue
				}
				for _, own := range []string{p.name, value(args, "endpoint"), value(args, "admin-listen"), value(args, "driver-name")} {
					if taken[own] {
						t.Errorf("both have %s", own)
					}
					taken[own] = true
				}
			}
		}
	}
	if len(taken) != 8 {
		t.Errorf("found only %v", taken)
	}
}
