package chart_test

import (
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"

	"mooring/pkg/manila/params"
)

// find is the one object of a kind.
func find[T any](t *testing.T, text string) (found T) {
	t.Helper()
	n := 0
	for _, object := range objects(t, text) {
		if o, ok := object.(T); ok {
			found = o
			n++
		}
	}
	if n != 1 {
		t.Fatalf("there are %d objects of the kind %T", n, found)
	}
	return found
}

// attachRequired is what the driver and its sidecars do, for a driver of its own and for those that were taken over.
func TestAttachIsTheSameForAll(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		driver, attach string
		want           bool
	}{
		{"manila.csi.openstack.org", "auto", true},
		{"manila.csi.openstack.org", "false", false},
		{"nfs.manila.csi.openstack.org", "auto", false},
		{"cephfs.manila.csi.openstack.org", "auto", false},
		{"nfs.manila.csi.openstack.org", "true", true},
	} {
		t.Run(c.driver+" "+c.attach, func(t *testing.T) {
			t.Parallel()
			text := everything(t, "--set", "manila.driverName="+c.driver+",manila.attach="+c.attach)
			driver := find[*storagev1.CSIDriver](t, text)
			if driver.Name != c.driver || is(driver.Spec.AttachRequired) != c.want {
				t.Errorf("CSIDriver %s has attachRequired %v", driver.Name, is(driver.Spec.AttachRequired))
			}
			if there := sidecars(t, text)["attacher"] != nil; there != c.want {
				t.Errorf("the attacher is there: %v", there)
			}
			for _, p := range pods(t, text) {
				for i := range p.spec.Containers {
					if args := p.spec.Containers[i].Args; args[0] == "manila-controller" && value(args, "attach") != strconv.FormatBool(c.want) {
						t.Errorf("the driver has %v", args)
					}
				}
			}
		})
	}
}

// One of several controllers may be evicted at a time; a single one must not keep a node from being drained.
func TestControllersAreEvictedOneByOne(t *testing.T) {
	t.Parallel()
	budget := find[*policyv1.PodDisruptionBudget](t, everything(t))
	if budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("the budget is %+v", budget.Spec)
	}
	for _, object := range objects(t, everything(t, "--set", "manila.controller.replicas=1")) {
		if _, ok := object.(*policyv1.PodDisruptionBudget); ok {
			t.Error("a single controller has a budget")
		}
	}
}

// What a VolumeAttributesClass says is what the driver takes.
func TestVolumeAttributesClassesAreTheDriversOwn(t *testing.T) {
	t.Parallel()
	class := find[*storagev1.VolumeAttributesClass](t, everything(t))
	if class.DriverName != find[*storagev1.CSIDriver](t, everything(t)).Name {
		t.Errorf("the class is of the driver %s", class.DriverName)
	}
	if _, err := params.ParseMutable(class.Parameters); err != nil {
		t.Error(err)
	}
}

// The file of --runtime-config-file is one that the driver reads, and both modes have it.
func TestRuntimeConfigurationIsTheDriversOwn(t *testing.T) {
	t.Parallel()
	text := everything(t, "--set", "monitoring.dashboards.enabled=false")
	config := find[*corev1.ConfigMap](t, text)
	runtime, err := params.ParseRuntime([]byte(config.Data["config.json"]))
	if err != nil || runtime.NFSLocations.String() != "10.0.0.0/8" {
		t.Errorf("%s is read as %+v, %v", config.Data, runtime, err)
	}
	having := 0
	for _, p := range pods(t, text) {
		for _, v := range p.spec.Volumes {
			if v.ConfigMap != nil && v.ConfigMap.Name == config.Name {
				having++
			}
		}
	}
	if having != 3 { // the controller, and both plugins of nodes
		t.Errorf("%d pods have it", having)
	}
}
