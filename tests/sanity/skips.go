package sanity

import (
	"cmp"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	csisanity "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// capabilities are those that specs are skipped for, by what csi-sanity says then.
func capabilities() map[string]string {
	return map[string]string{
		"NodeExpandVolume not supported":                       "node EXPAND_VOLUME",
		"ControllerPublishVolume not supported":                "controller PUBLISH_UNPUBLISH_VOLUME",
		"ControllerUnpublishVolume not supported":              "controller PUBLISH_UNPUBLISH_VOLUME",
		"Controller Publish, UnpublishVolume not supported":    "controller PUBLISH_UNPUBLISH_VOLUME",
		"ControllerPublishVolume.readonly field not supported": "controller PUBLISH_READONLY",
		"ControllerModifyVolume not supported":                 "controller MODIFY_VOLUME",
		"Modify volume not supported":                          "controller MODIFY_VOLUME",
		"Modify Volume not supported":                          "controller MODIFY_VOLUME",
		"ControllerGetVolumeHealth not supported":              "controller GET_VOLUME_HEALTH",
		"ControllerListVolumeHealth not supported":             "controller LIST_VOLUME_HEALTH",
		"GetSnapshot not supported":                            "controller GET_SNAPSHOT",
		"SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported":     "plugin SNAPSHOT_ACCESSIBILITY_CONSTRAINTS",
		"GroupControllerService not supported":                 "plugin GROUP_CONTROLLER_SERVICE",
		"node does not report accessible topology":             "plugin VOLUME_ACCESSIBILITY_CONSTRAINTS",
		"testnodevolumeattachlimit not enabled":                "node max_volumes_per_node",
		"No MaxVolumesPerNode":                                 "node max_volumes_per_node",
	}
}

// declared asks a driver for its capabilities.
func declared(t *testing.T, config *csisanity.TestConfig) map[string]bool {
	t.Helper()
	dial := func(address string) *grpc.ClientConn {
		conn, err := grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	node, controller := dial(config.Address), dial(cmp.Or(config.ControllerAddress, config.Address))
	out := map[string]bool{}
	ofNode, err := csi.NewNodeClient(node).NodeGetCapabilities(t.Context(), &csi.NodeGetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range ofNode.GetCapabilities() {
		out["node "+c.GetRpc().GetType().String()] = true
	}
	info, err := csi.NewNodeClient(node).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	out["node max_volumes_per_node"] = info.GetMaxVolumesPerNode() != 0
	ofController, err := csi.NewControllerClient(controller).ControllerGetCapabilities(t.Context(), &csi.ControllerGetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range ofController.GetCapabilities() {
		out["controller "+c.GetRpc().GetType().String()] = true
	}
	ofPlugin, err := csi.NewIdentityClient(controller).GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range ofPlugin.GetCapabilities() {
		out["plugin "+c.GetService().GetType().String()] = true
	}
	return out
}

// lacking says which capability a spec was skipped for. Each has to be one that the driver does not declare.
func lacking(t *testing.T, driver string, declared map[string]bool, skipped map[string]int) {
	t.Helper()
	for message, n := range skipped {
		switch capability, known := capabilities()[message]; {
		case !known:
			t.Errorf("%s: %d specs skipped for another reason than an undeclared capability: %s", driver, n, message)
		case declared[capability]:
			t.Errorf("%s: %d specs skipped, and %s is declared: %s", driver, n, capability, message)
		default:
			t.Logf("%s: %d specs skipped, since %s is not declared", driver, n, capability)
		}
	}
}
