package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// TestTopologyOfNode: the zone is what the flag says, or the config drive, and the plugin says that volumes are not everywhere.
func TestTopologyOfNode(t *testing.T) {
	t.Parallel()
	const key = "topology.manila.csi.openstack.org/zone"
	for _, c := range []struct {
		args []string
		zone string
	}{
		{nil, ""},
		{[]string{"--topology", "--node-az=az-1"}, "az-1"},
		{[]string{"--topology", "--config-drive=/mnt/config"}, "az-2"},
		{[]string{"--topology", "--config-drive=/mnt/config", "--node-az=az-1"}, "az-1"},
	} {
		w := newWorld()
		w.files["/mnt/config/openstack/latest/meta_data.json"] = `{"availability_zone": "az-2"}`
		socket := filepath.Join(newKubelet(t).dir, "csi.sock")
		stop := started(t, w, append([]string{"manila-node", "--node-id=n", "--endpoint=unix://" + socket}, c.args...)...)
		w.waitFor(t, "the CSI driver listens")
		conn := dial(t, socket)
		info, err := csi.NewNodeClient(conn).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
		if err != nil || info.GetAccessibleTopology().GetSegments()[key] != c.zone || (info.GetAccessibleTopology() != nil) != (c.zone != "") {
			t.Errorf("%q: %v, %v, want zone %q", c.args, info, err, c.zone)
		}
		can, err := csi.NewIdentityClient(conn).GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
		if err != nil || strings.Contains(can.String(), "VOLUME_ACCESSIBILITY_CONSTRAINTS") != (c.zone != "") {
			t.Errorf("%q: the plugin can %v, %v", c.args, can, err)
		}
		stop()
	}
}

func TestTopologyFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--node-az=a":                        "--node-az: it has no effect without --topology",
		"--config-drive=/a":                  "--config-drive: it has no effect without --topology",
		"--topology --node-az=a/b":           `--node-az: the availability zone "a/b" can't be the label of a node`,
		"--topology --config-drive=mnt/conf": `--config-drive: "mnt/conf" has to be an absolute path`,
	} {
		w := newWorld()
		if code := w.main(append([]string{"manila-node", "--node-id=n"}, strings.Fields(args)...)...); code == exitOK || !strings.Contains(w.errs.String(), want) {
			t.Errorf("%s: exit %d, want %q in\n%s", args, code, want, w.errs.String())
		}
	}
}
