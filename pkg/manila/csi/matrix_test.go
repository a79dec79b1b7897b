package csi_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila/csi"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// matrixRPC is an RPC of the fault matrix, on the volume that is there before it.
type matrixRPC struct {
	name string
	call func(ctx context.Context, c *csi.Controller, volume string) error
	left openstacksim.ManilaCounts // when it has ended well
}

func matrix() []matrixRPC {
	create := func(change ...func(*spec.CreateVolumeRequest)) func(context.Context, *csi.Controller, string) error {
		return func(ctx context.Context, c *csi.Controller, _ string) error {
			_, err := c.CreateVolume(ctx, request("NFS", append(change, func(r *spec.CreateVolumeRequest) { r.Name = "new" })...))
			return err
		}
	}
	two := openstacksim.ManilaCounts{Shares: 2, Rules: 2}
	return []matrixRPC{
		{"CreateVolume NFS", create(), two},
		{"CreateVolume CEPHFS", create(func(r *spec.CreateVolumeRequest) { r.Parameters = request("CEPHFS").GetParameters() }), two},
		{"CreateVolume from a volume", func(ctx context.Context, c *csi.Controller, volume string) error {
			return create(func(r *spec.CreateVolumeRequest) { r.VolumeContentSource = fromVolume(volume) })(ctx, c, volume)
		}, two},
		{"ControllerExpandVolume", func(ctx context.Context, c *csi.Controller, volume string) error {
			r, err := c.ControllerExpandVolume(ctx, &spec.ControllerExpandVolumeRequest{VolumeId: volume, CapacityRange: &spec.CapacityRange{RequiredBytes: 2 << 30}})
			if err == nil && r.GetCapacityBytes() != 2<<30 {
				return fmt.Errorf("expanded to %v", r)
			}
			return err
		}, openstacksim.ManilaCounts{Shares: 1, Rules: 1}},
		{"CreateSnapshot", func(ctx context.Context, c *csi.Controller, volume string) error {
			_, err := c.CreateSnapshot(ctx, &spec.CreateSnapshotRequest{Name: "snapshot", SourceVolumeId: volume})
			return err
		}, openstacksim.ManilaCounts{Shares: 1, Rules: 1, Snapshots: 1}},
		{"DeleteVolume", func(ctx context.Context, c *csi.Controller, volume string) error {
			_, err := c.DeleteVolume(ctx, &spec.DeleteVolumeRequest{VolumeId: volume})
			return err
		}, openstacksim.ManilaCounts{}},
	}
}

// TestFaultMatrix spoils each call of each RPC once, in each way that a cloud has; the calls are those in the log of an RPC that
// goes well, so that new ones are in the matrix by themselves. Then a new process gets the same request again and again: it ends
// well, nothing is there twice, and it leaves nothing when all that is listed is deleted. No answer on the way is Internal.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	delays := openstacksim.ManilaDelays{Create: 10 * time.Millisecond, Grant: 10 * time.Millisecond, Extend: 10 * time.Millisecond, Snapshot: 10 * time.Millisecond, CreateFromSnapshot: 10 * time.Millisecond}
	faults := map[string]openstacksim.Fault{"dropped before": {Drop: true}, "dropped after": {DropAfter: true}, "slow": {Delay: 350 * time.Millisecond}}
	for _, code := range []int{401, 403, 404, 409, 413, 429, 500, 503} {
		faults[strconv.Itoa(code)] = openstacksim.Fault{Status: code}
	}
	for _, rpc := range matrix() {
		good := start(t, openstacksim.ManilaConfig{Delays: delays})
		volume := good.create(t, "NFS").GetVolumeId()
		good.Calls.Reset()
		if err := rpc.call(t.Context(), good.controller, volume); err != nil {
			t.Fatalf("%s: %v", rpc.name, err)
		}
		_, calls := good.counts()
		for n := range calls {
			for name, fault := range faults {
				t.Run(fmt.Sprintf("%s call %d %s", rpc.name, n, name), func(t *testing.T) {
					t.Parallel()
					d := start(t, openstacksim.ManilaConfig{Delays: delays})
					volume := d.create(t, "NFS").GetVolumeId()
					fault.Service, fault.Path, fault.Skip, fault.Count = openstacksim.ServiceManila, `^/v2/.`, n, 1
					d.Faults.Add(fault)
					d.converge(t, rpc, volume)
				})
			}
		}
	}
}

// converge calls an RPC until it ends well, each time in a process that knows nothing of the one before, and cleans up.
func (d *driver) converge(t *testing.T, rpc matrixRPC, volume string) {
	t.Helper()
	var err error
	for range 12 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		pool := openstack.NewPool(openstack.Options{})
		c := &csi.Controller{ClusterID: d.controller.ClusterID, Clouds: &csi.Clouds{Pool: pool, Own: d.controller.Clouds.Own, Options: d.controller.Clouds.Options}}
		err = rpc.call(ctx, c, volume)
		cancel()
		pool.Close()
		if err == nil {
			break
		}
		if code := status.Code(err); slices.Contains([]codes.Code{codes.Internal, codes.Unknown}, code) {
			t.Errorf("%v: %v", code, err)
		}
	}
	if got := d.Manila.Counts(); err != nil || got != rpc.left {
		t.Fatalf("%+v, want %+v: %v", got, rpc.left, err)
	}
	d.Faults.Clear() // it had fewer polls than the good one, and the fault is still to come
	snapshots, err := d.controller.ListSnapshots(t.Context(), &spec.ListSnapshotsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range snapshots.GetEntries() {
		if _, err := d.controller.DeleteSnapshot(t.Context(), &spec.DeleteSnapshotRequest{SnapshotId: e.GetSnapshot().GetSnapshotId()}); err != nil {
			t.Error(err)
		}
	}
	volumes, err := d.controller.ListVolumes(t.Context(), &spec.ListVolumesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range volumes.GetEntries() {
		if _, err := d.controller.DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: e.GetVolume().GetVolumeId()}); err != nil {
			t.Error(err)
		}
	}
	if got := d.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		t.Errorf("left: %+v", got)
	}
}
