// Package takeover takes volumes over from cloud-provider-openstack's Manila CSI plugin. It makes shares as that plugin makes them, has
// the PersistentVolumes that it writes for them (testdata), and turns those into the CSI calls that kubelet and the sidecars make. The
// same life of a volume runs on the simulator and on a real OpenStack.
package takeover

import (
	"context"
	"embed"
	"os"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

//go:embed testdata/*.yaml
var fixtures embed.FS

// The driver names of the plugin's chart.
const (
	NFS    = "nfs.manila.csi.openstack.org"
	CEPHFS = "cephfs.manila.csi.openstack.org"
)

// microversion is the one that the plugin speaks.
const microversion = "2.37"

// clusterKey is the metadata key of the plugin's --cluster-id.
const clusterKey = "manila.csi.openstack.org/cluster"

// Origin is the plugin that was there before: its calls to Manila.
type Origin struct {
	client *gophercloud.ServiceClient
	// Cluster is its --cluster-id; empty: shares carry none.
	Cluster string
	secret  map[string]string
}

// NewOrigin logs in as the plugin does, with the credential of the class's secret.
func NewOrigin(t *testing.T, cloud *target.Cloud, cluster string) *Origin {
	t.Helper()
	client, err := cloud.Session(t, "demo").Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = microversion
	return &Origin{client: client, Cluster: cluster, secret: cloud.Secret(t, "demo")}
}

// Secret is the one that all of the plugin's classes name.
func (o *Origin) Secret() map[string]string { return o.secret }

// Volume is a PersistentVolume and the share behind it.
type Volume struct {
	PV *corev1.PersistentVolume
	// Share is the share's id, Export where it is, as it was at 2.37.
	Share, Export string
	secret        map[string]string
}

// Volume makes a share as the plugin does, or its administrator did, and writes the fixture's PersistentVolume for it.
func (o *Origin) Volume(t *testing.T, fixture string) *Volume {
	t.Helper()
	name := target.Unique(t)
	kind := o.render(t, fixture, map[string]string{"NAME": name})
	proto, shareType, rule := "NFS", "cephfs-nfs", shares.GrantAccessOpts{AccessType: "ip", AccessTo: "0.0.0.0/0", AccessLevel: "rw"}
	if kind.Spec.CSI.Driver == CEPHFS {
		proto, shareType, rule = "CEPHFS", "cephfs", shares.GrantAccessOpts{AccessType: "cephx", AccessTo: name, AccessLevel: "rw"}
	}
	metadata := map[string]string{}
	if kind.Annotations["pv.kubernetes.io/provisioned-by"] != "" && o.Cluster != "" {
		metadata[clusterKey] = o.Cluster
	}
	id := o.Share(t, name, proto, shareType, metadata)
	access := ""
	target.Eventually(t, "access to the share", func() bool { // Manila refuses while the share's status lags behind
		right, err := shares.GrantAccess(t.Context(), o.client, id, rule).Extract()
		if err == nil {
			access = right.ID
		}
		return err == nil
	})
	target.Eventually(t, "an active access rule", func() bool { return o.usable(t, id, access) })
	locations, err := shares.ListExportLocations(t.Context(), o.client, id).Extract()
	if err != nil {
		t.Fatal(err)
	}
	v := &Volume{PV: o.render(t, fixture, map[string]string{"NAME": name, "SHARE_ID": id, "ACCESS_ID": access}), Share: id, secret: o.secret}
	for _, l := range locations {
		_, path, _ := strings.Cut(l.Path, ":/")
		v.Export = "/" + path
	}
	return v
}

// Share makes a share and waits for it.
func (o *Origin) Share(t *testing.T, name, proto, shareType string, metadata map[string]string) (id string) {
	t.Helper()
	share, err := shares.Create(t.Context(), o.client, shares.CreateOpts{Name: name, ShareProto: proto, ShareType: shareType, Size: 1, Metadata: metadata}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // when the test has failed half-way
		_ = shares.Delete(context.WithoutCancel(t.Context()), o.client, share.ID).ExtractErr()
	})
	target.Eventually(t, "a share of the plugin", func() bool {
		now, err := shares.Get(t.Context(), o.client, share.ID).Extract()
		return err == nil && now.Status == "available"
	})
	return share.ID
}

func (o *Origin) usable(t *testing.T, share, rule string) bool {
	t.Helper()
	rights, err := shares.ListAccessRights(t.Context(), o.client, share).Extract()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rights {
		if r.ID == rule {
			return r.State == "active" && (r.AccessType != "cephx" || r.AccessKey != "")
		}
	}
	return false
}

// render reads a fixture as an API server does: a key that PersistentVolume does not have is a mistake.
func (o *Origin) render(t *testing.T, fixture string, values map[string]string) *corev1.PersistentVolume {
	t.Helper()
	text, err := fixtures.ReadFile("testdata/" + fixture + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	pv := &corev1.PersistentVolume{}
	if err := yaml.UnmarshalStrict([]byte(os.Expand(string(text), func(key string) string { return values[key] })), pv); err != nil {
		t.Fatalf("%s: %v", fixture, err)
	}
	return pv
}

// Fixtures are the names of all PersistentVolumes of a driver.
func Fixtures(t *testing.T, driver string) (names []string) {
	t.Helper()
	entries, err := fixtures.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if prefix, _, _ := strings.Cut(driver, "."); strings.HasPrefix(e.Name(), prefix+"-") {
			names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
		}
	}
	return names
}

// Dynamic says whether the plugin has made the share itself: then the handle is the share's id.
func (v *Volume) Dynamic() bool { return v.PV.Spec.CSI.VolumeHandle == v.Share }

// secretOf is what a sidecar or kubelet reads for a reference.
func (v *Volume) secretOf(ref *corev1.SecretReference) map[string]string {
	if ref == nil {
		return nil
	}
	return v.secret
}

// deletionSecret is what external-provisioner reads when it deletes: the class may have gone by then. It deletes no volume that was made
// by hand; whoever calls all the same brings the class's.
func (v *Volume) deletionSecret() map[string]string {
	if v.Dynamic() && v.PV.Annotations["volume.kubernetes.io/provisioner-deletion-secret-name"] == "" {
		return nil
	}
	return v.secret
}

// capability is what kubelet and the sidecars make of a PersistentVolume's access modes for a driver that does not have
// SINGLE_NODE_MULTI_WRITER or has it, in the words that both understand.
func (v *Volume) capability() *csi.VolumeCapability {
	mode := csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	for _, m := range v.PV.Spec.AccessModes {
		switch m {
		case corev1.ReadWriteMany:
			mode = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
		case corev1.ReadOnlyMany:
			mode = csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
		case corev1.ReadWriteOnce, corev1.ReadWriteOncePod: // the first; the plugin does not know the second
		}
	}
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: v.PV.Spec.CSI.FSType, MountFlags: v.PV.Spec.MountOptions}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
	}
}
