package csi_test

import (
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"mooring/pkg/manila/csi/csitest"
	"mooring/pkg/openstack/openstacksim"
)

// TestHandlesMadeByHand: a PersistentVolume that somebody has made may have any handle, and its share in its attributes. Calls that are told
// those work. Calls that are told the handle alone say why they can't, and leave the share as it is.
func TestHandlesMadeByHand(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	d.controller.Attach = true
	static := func(r *spec.CreateVolumeRequest) { r.Parameters["access"] = "static" }
	of := d.create(t, "NFS", static)
	before := d.Manila.Counts()
	for handle, why := range map[string]string{"data-of-team-a": "is a UUID", "5f0a9e2c-1111-4222-8333-444455556666": "5f0a9e2c"} {
		for key, share := range map[string]string{"shareName": "pvc-nfs", "shareID": of.GetVolumeId()} {
			told := map[string]string{key: share, "protocol": "NFS"}
			for _, c := range []struct {
				r    proto.Message
				want codes.Code
			}{
				{&spec.ValidateVolumeCapabilitiesRequest{VolumeId: handle, VolumeContext: told, VolumeCapabilities: []*spec.VolumeCapability{rwx()}}, codes.OK},
				{&spec.ControllerPublishVolumeRequest{VolumeId: handle, VolumeContext: told, NodeId: "node-1/10.0.0.1", VolumeCapability: rwx()}, codes.OK},
				{&spec.ControllerUnpublishVolumeRequest{VolumeId: handle, NodeId: "node-1/10.0.0.1"}, codes.OK},
				{&spec.ControllerPublishVolumeRequest{VolumeId: handle, VolumeContext: map[string]string{key: share, "access": "node"}, NodeId: "node-1/10.0.0.1", VolumeCapability: rwx()}, codes.InvalidArgument},
				{&spec.ControllerPublishVolumeRequest{VolumeId: handle, NodeId: "node-1/10.0.0.1", VolumeCapability: rwx()}, codes.NotFound},
				{&spec.ValidateVolumeCapabilitiesRequest{VolumeId: handle, VolumeCapabilities: []*spec.VolumeCapability{rwx()}}, codes.NotFound},
				{&spec.ControllerExpandVolumeRequest{VolumeId: handle, CapacityRange: &spec.CapacityRange{RequiredBytes: 2 << 30}}, codes.NotFound},
				{&spec.ControllerModifyVolumeRequest{VolumeId: handle, MutableParameters: map[string]string{"accessLevel": "ro"}}, codes.NotFound},
				{&spec.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle}, codes.NotFound},
				{&spec.ControllerGetVolumeRequest{VolumeId: handle}, codes.NotFound},
				{csitest.Create("clone", "NFS", csitest.FromVolume(handle)), codes.NotFound},
				{&spec.DeleteVolumeRequest{VolumeId: handle}, codes.OK}, // as the specification wants it of what is not there
			} {
				_, err := csitest.Server(d.controller)(t.Context(), c.r)
				if status.Code(err) != c.want || c.want == codes.NotFound && !strings.Contains(err.Error(), why) {
					t.Errorf("%T of %s by %s: %v; want %v, %q", c.r, handle, key, err, c.want, why)
				}
			}
		}
	}
	if got := d.Manila.Counts(); got != before {
		t.Errorf("there are %+v, and before %+v", got, before)
	}
}
