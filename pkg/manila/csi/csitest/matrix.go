package csitest

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
)

const gib = 1 << 30

// RPC is a request whose calls are spoiled, on a thing that is there before it.
type RPC struct {
	Name string
	// Before makes what has to be there, and gives its id to Request.
	Before  func(context.Context, Invoke) (id string, err error)
	Request func(id string) proto.Message
	// Left is what there is when it has ended well.
	Left Things
}

// Things is how many there are, as the simulator counts them.
type Things struct{ Shares, Snapshots, Rules int }

// Matrix is the RPCs of the fault matrix, those that change something and those that only read: a new one is one line. The controller has
// to attach; the access of volumes is static, but for those that are published.
func Matrix() []RPC {
	return []RPC{
		{"CreateVolume NFS", Volume("NFS"), func(string) proto.Message { return Create("new", "NFS", nil) }, left(2, 0, 2)},
		{"CreateVolume CEPHFS", Volume("NFS"), func(string) proto.Message { return Create("new", "CEPHFS", nil) }, left(2, 0, 2)},
		{"CreateVolume from a volume NFS", Volume("NFS"), func(id string) proto.Message { return Create("new", "NFS", FromVolume(id)) }, left(2, 0, 2)},
		{"CreateVolume from a volume CEPHFS", Volume("CEPHFS"), func(id string) proto.Message { return Create("new", "CEPHFS", FromVolume(id)) }, left(2, 0, 2)},
		{"CreateVolume from a snapshot NFS", Snapshot("NFS"), func(id string) proto.Message { return Create("new", "NFS", FromSnapshot(id)) }, left(2, 1, 2)},
		{"CreateVolume from a snapshot CEPHFS", Snapshot("CEPHFS"), func(id string) proto.Message { return Create("new", "CEPHFS", FromSnapshot(id)) }, left(2, 1, 2)},
		{"DeleteVolume", Volume("NFS"), func(id string) proto.Message { return &csi.DeleteVolumeRequest{VolumeId: id} }, left(0, 0, 0)},
		{"ControllerExpandVolume", Volume("NFS"), func(id string) proto.Message {
			return &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: size(2)}
		}, left(1, 0, 1)},
		{"ControllerModifyVolume", Volume("NFS"), func(id string) proto.Message {
			return &csi.ControllerModifyVolumeRequest{VolumeId: id, MutableParameters: map[string]string{
				"nfs-shareClient": "0.0.0.0/0,10.0.0.1", "accessLevel": "ro", "appendShareMetadata": `{"tier":"gold"}`,
			}}
		}, left(1, 0, 2)},
		{"ControllerModifyVolume to other clients", Volume("NFS"), func(id string) proto.Message {
			return &csi.ControllerModifyVolumeRequest{VolumeId: id, MutableParameters: map[string]string{"nfs-shareClient": "10.0.0.1"}}
		}, left(1, 0, 1)},
		{"CreateSnapshot", Volume("NFS"), func(id string) proto.Message { return &csi.CreateSnapshotRequest{Name: "new", SourceVolumeId: id} }, left(1, 1, 1)},
		{"DeleteSnapshot", Snapshot("NFS"), func(id string) proto.Message { return &csi.DeleteSnapshotRequest{SnapshotId: id} }, left(1, 0, 1)},
		{"ControllerPublishVolume NFS", NodeVolume("NFS"), func(id string) proto.Message { return Publish(id, "n1/10.0.0.1", false) }, left(1, 0, 1)},
		{"ControllerPublishVolume NFS read-only", NodeVolume("NFS"), func(id string) proto.Message { return Publish(id, "n1/10.0.0.1", true) }, left(1, 0, 1)},
		{"ControllerPublishVolume CEPHFS read-only", NodeVolume("CEPHFS"), func(id string) proto.Message { return Publish(id, "n1/10.0.0.1", true) }, left(1, 0, 2)},
		{"ControllerUnpublishVolume", Published("NFS"), func(id string) proto.Message { return Unpublish(id, "n1/10.0.0.1") }, left(1, 0, 1)},
		{"ControllerUnpublishVolume of all nodes", Published("NFS"), func(id string) proto.Message { return Unpublish(id, "") }, left(1, 0, 0)},
		{"ControllerUnpublishVolume CEPHFS", Published("CEPHFS"), func(id string) proto.Message { return Unpublish(id, "") }, left(1, 0, 1)},
		{"ValidateVolumeCapabilities", Volume("NFS"), func(id string) proto.Message {
			return &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: writable()}
		}, left(1, 0, 1)},
		{"ControllerGetVolume", Volume("NFS"), func(id string) proto.Message { return &csi.ControllerGetVolumeRequest{VolumeId: id} }, left(1, 0, 1)},
		{"ListVolumes", Volume("NFS"), func(string) proto.Message { return &csi.ListVolumesRequest{} }, left(1, 0, 1)},
		{"ListSnapshots", Snapshot("NFS"), func(string) proto.Message { return &csi.ListSnapshotsRequest{} }, left(1, 1, 1)},
		{"ListSnapshots by id", Snapshot("NFS"), func(id string) proto.Message { return &csi.ListSnapshotsRequest{SnapshotId: id} }, left(1, 1, 1)},
		{"ControllerGetVolumeHealth", Volume("NFS"), func(id string) proto.Message { return &csi.ControllerGetVolumeHealthRequest{VolumeId: id} }, left(1, 0, 1)},
		{"ControllerListVolumeHealth", Volume("NFS"), func(string) proto.Message { return &csi.ControllerListVolumeHealthRequest{} }, left(1, 0, 1)},
		{"CreateVolume with affinity", Volume("NFS"), func(string) proto.Message {
			r := Create("new", "NFS", nil)
			r.Parameters["affinity"] = "old"
			return r
		}, left(2, 0, 2)},
		{"GetCapacity", Volume("NFS"), func(string) proto.Message { return &csi.GetCapacityRequest{Parameters: parameters("NFS")} }, left(1, 0, 1)},
	}
}

func left(shares, snapshots, rules int) Things {
	return Things{Shares: shares, Snapshots: snapshots, Rules: rules}
}

func size(n int64) *csi.CapacityRange { return &csi.CapacityRange{RequiredBytes: n * gib} }

func parameters(protocol string) map[string]string {
	types := map[string]string{"NFS": "cephfs-nfs", "CEPHFS": "cephfs"}
	return map[string]string{"protocol": protocol, "type": types[protocol], "access": "static"}
}

func writable() []*csi.VolumeCapability {
	return []*csi.VolumeCapability{{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
	}}
}

// Create asks for a volume of 1 GiB.
func Create(name, protocol string, from *csi.VolumeContentSource) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{Name: name, CapacityRange: size(1), VolumeCapabilities: writable(), Parameters: parameters(protocol), VolumeContentSource: from}
}

// FromSnapshot is the content of a snapshot.
func FromSnapshot(id string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: id}}}
}

// FromVolume is the content of another volume.
func FromVolume(id string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: id}}}
}

// Volume makes a volume called "old".
func Volume(protocol string) func(context.Context, Invoke) (string, error) {
	return func(ctx context.Context, do Invoke) (string, error) {
		made, err := call[*csi.CreateVolumeResponse](ctx, do, Create("old", protocol, nil))
		return made.GetVolume().GetVolumeId(), err
	}
}

// NodeVolume makes one that lets nodes in one by one.
func NodeVolume(protocol string) func(context.Context, Invoke) (string, error) {
	return func(ctx context.Context, do Invoke) (string, error) {
		r := Create("old", protocol, nil)
		r.Parameters["access"] = "node"
		made, err := call[*csi.CreateVolumeResponse](ctx, do, r)
		return made.GetVolume().GetVolumeId(), err
	}
}

// Published makes such a volume and publishes it to two nodes.
func Published(protocol string) func(context.Context, Invoke) (string, error) {
	return func(ctx context.Context, do Invoke) (string, error) {
		id, err := NodeVolume(protocol)(ctx, do)
		for _, node := range []string{"n1/10.0.0.1", "n2/10.0.0.2"} {
			if err == nil {
				_, err = do(ctx, Publish(id, node, false))
			}
		}
		return id, err
	}
}

// Publish is without a volume context, so that the controller has to ask for all that it needs.
func Publish(id, node string, readOnly bool) *csi.ControllerPublishVolumeRequest {
	return &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: writable()[0], Readonly: readOnly}
}

// Unpublish is from a node, or from all.
func Unpublish(id, node string) *csi.ControllerUnpublishVolumeRequest {
	return &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: node}
}

// Snapshot makes such a volume and a snapshot of it.
func Snapshot(protocol string) func(context.Context, Invoke) (string, error) {
	return func(ctx context.Context, do Invoke) (string, error) {
		volume, err := Volume(protocol)(ctx, do)
		if err != nil {
			return "", err
		}
		made, err := call[*csi.CreateSnapshotResponse](ctx, do, &csi.CreateSnapshotRequest{Name: "old", SourceVolumeId: volume})
		return made.GetSnapshot().GetSnapshotId(), err
	}
}

// DeleteAll deletes what the lists of snapshots and volumes have in them, after it was unpublished, as users do who know no more than those.
func DeleteAll(ctx context.Context, do Invoke) error {
	snapshots, err := call[*csi.ListSnapshotsResponse](ctx, do, &csi.ListSnapshotsRequest{})
	if err != nil {
		return fmt.Errorf("listing snapshots: %w", err)
	}
	var errs []error
	remove := func(id string, request proto.Message) {
		if _, err := do(ctx, request); err != nil {
			errs = append(errs, fmt.Errorf("deleting %s: %w", id, err))
		}
	}
	for _, e := range snapshots.GetEntries() {
		id := e.GetSnapshot().GetSnapshotId()
		remove(id, &csi.DeleteSnapshotRequest{SnapshotId: id})
	}
	volumes, err := call[*csi.ListVolumesResponse](ctx, do, &csi.ListVolumesRequest{})
	if err != nil {
		return fmt.Errorf("listing volumes: %w", err)
	}
	for _, e := range volumes.GetEntries() {
		id := e.GetVolume().GetVolumeId()
		remove(id, Unpublish(id, ""))
		remove(id, &csi.DeleteVolumeRequest{VolumeId: id})
	}
	return errors.Join(errs...)
}
