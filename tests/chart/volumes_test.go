package chart_test

import (
	"slices"
	"testing"

	snapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"mooring/pkg/designate"
	"mooring/pkg/manila/params"
)

// known to the examples: the class and the claim of nfs.yaml, beside which the others are applied.
const base = "nfs.yaml"

// What an example of volumes names is in it, or in the one that it says comes before; and what is for the driver, the driver takes.
func TestVolumeExamplesAreWhole(t *testing.T) {
	t.Parallel()
	for _, name := range []string{base, "nfs-node.yaml", "cephfs.yaml", "rwx.yaml", "snapshot.yaml", "clone.yaml", "expand.yaml", "volume-attributes-class.yaml", "static.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := objects(t, file(manifests, "examples", name)(t))
			there := map[string]bool{" ": true}
			for _, object := range append(objects(t, file(manifests, "examples", base)(t)), own...) {
				there[nameOf(t, object)] = true
			}
			for _, object := range own {
				for _, wanted := range references(t, object) {
					if !there[wanted] {
						t.Errorf("%s names %s, which is not there", nameOf(t, object), wanted)
					}
				}
				checkForDriver(t, object)
			}
		})
	}
}

// nameOf is kind and name of an object.
func nameOf(t *testing.T, object runtime.Object) string {
	t.Helper()
	m, err := meta.Accessor(object)
	if err != nil {
		t.Fatal(err)
	}
	return object.GetObjectKind().GroupVersionKind().Kind + " " + m.GetName()
}

// references are kind and name of what an object needs.
func references(t *testing.T, object runtime.Object) (all []string) {
	t.Helper()
	switch o := object.(type) {
	case *corev1.PersistentVolumeClaim:
		if class := o.Spec.StorageClassName; class == nil {
			t.Errorf("claim %s leaves its class to the cluster", o.Name)
		} else if *class != "" {
			all = append(all, "StorageClass "+*class)
		}
		if source := o.Spec.DataSource; source != nil {
			all = append(all, source.Kind+" "+source.Name)
		}
		if class := o.Spec.VolumeAttributesClassName; class != nil {
			all = append(all, "VolumeAttributesClass "+*class)
		}
		if o.Spec.VolumeName != "" {
			all = append(all, "PersistentVolume "+o.Spec.VolumeName)
		}
	case *snapshot.VolumeSnapshot:
		all = append(all, "VolumeSnapshotClass "+*o.Spec.VolumeSnapshotClassName, "PersistentVolumeClaim "+*o.Spec.Source.PersistentVolumeClaimName)
	case *corev1.Pod:
		all = claimsOf(&o.Spec)
	case *appsv1.Deployment:
		all = claimsOf(&o.Spec.Template.Spec)
	}
	return all
}

func claimsOf(spec *corev1.PodSpec) (all []string) {
	for _, v := range spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			all = append(all, "PersistentVolumeClaim "+v.PersistentVolumeClaim.ClaimName)
		}
	}
	return all
}

// checkForDriver has the driver's own table read what an object says to it.
func checkForDriver(t *testing.T, object runtime.Object) {
	t.Helper()
	const driver = "manila.csi.openstack.org"
	var name string
	var err error
	switch o := object.(type) {
	case *storagev1.StorageClass: // its parameters: see TestClassesAndSecretsAreTheDriversOwn
		name = o.Provisioner
		if !is(o.AllowVolumeExpansion) {
			t.Errorf("volumes of the class %s can't grow", o.Name)
		}
	case *storagev1.VolumeAttributesClass:
		name = o.DriverName
		_, err = params.ParseMutable(o.Parameters)
	case *snapshot.VolumeSnapshotClass:
		name = o.Driver
		_, err = params.ParseSnapshotClass(o.Parameters)
	case *corev1.PersistentVolume:
		name = o.Spec.CSI.Driver
		var attributes params.Attributes
		if attributes, err = params.ParseAttributes(o.Spec.CSI.VolumeAttributes); err == nil && attributes.Protocol == "" {
			t.Errorf("%s says no protocol", nameOf(t, object))
		}
	default:
		return
	}
	if err != nil || name != driver {
		t.Errorf("%s is for %s: %v", nameOf(t, object), name, err)
	}
}

// Every object of names.yaml asks for names, and those are ones that Designate takes.
func TestNameExamples(t *testing.T) {
	t.Parallel()
	const hostname = "external-dns.alpha.kubernetes.io/hostname"
	var names []string
	for _, object := range objects(t, file(manifests, "examples", "names.yaml")(t)) {
		switch o := object.(type) {
		case *corev1.Service:
			names = append(names, o.Annotations[hostname])
		case *networkingv1.Ingress:
			names = append(names, o.Spec.Rules[0].Host)
		case *gateway.HTTPRoute:
			names = append(names, string(o.Spec.Hostnames[0]))
		case *gateway.Gateway:
		default:
			t.Errorf("%s is no source", nameOf(t, object))
		}
	}
	for _, name := range names {
		r := designate.Record{Name: name, Type: "A", Targets: []string{"192.0.2.1"}}
		if canonical, err := r.Canonical(0); err != nil || canonical.Name != name {
			t.Errorf("%q becomes %+v, %v", name, canonical, err)
		}
	}
	if want := []string{"www.example.com", "*.apps.example.com", "shop.example.com", "api.example.com"}; !slices.Equal(names, want) {
		t.Errorf("the names are %q", names)
	}
}
