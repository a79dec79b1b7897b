package openstack_test

import (
	"os"
	"testing"

	"mooring/pkg/manila/mount"
	"mooring/tests/takeover"
)

// TestTakeover takes over CephFS volumes of cloud-provider-openstack's plugin: our processes under its driver's name, the node without a
// credential of its own, and PersistentVolumes as the plugin writes them.
func TestTakeover(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	d := newCSI(t, "demo")
	flags := []string{"--driver-name", takeover.CEPHFS, "--share-protocol", "CEPHFS"} // no --attach: of that name it is false
	d.start(t, "manila-controller", append(flags, "--cluster-id", "e2e")...)
	d.startWithout(t, "manila-node", append(flags, "--node-id", "node-1")...)
	d.connect(t)
	for _, fixture := range takeover.Fixtures(t, takeover.CEPHFS) {
		t.Run(fixture, func(t *testing.T) {
			t.Parallel()
			origin := takeover.NewOrigin(t, d.cloud, "kubernetes")
			ours := &takeover.Driver{Controller: d.controller, Node: d.node, System: mount.Kernel{}, Dir: d.dir, Real: true}
			ours.Life(t, origin, origin.Volume(t, fixture))
		})
	}
}
