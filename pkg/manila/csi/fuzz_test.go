package csi_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"mooring/pkg/manila"
	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/csi/csitest"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
)

// asked is what the driver asks Manila for: ids in paths are UUIDs, whatever stood in the request.
var asked = regexp.MustCompile(`^/v2/(|limits|types|availability-zones|quota-sets/[0-9a-f]{32}(/detail)?|messages|share-access-rules|(shares|snapshots)(/detail|/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/action|/export_locations|/metadata)?)?)$`)

// fuzzed is a driver that all inputs of a fuzz target share.
func fuzzed(f *testing.F) (d *driver, volume string) {
	f.Helper()
	sim, err := openstacksim.Start(openstacksim.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(sim.Close)
	own, err := load(sim, "demo")
	if err != nil {
		f.Fatal(err)
	}
	const unbounded = 1e9 // the budget would be all that is measured
	pool := openstack.NewPool(openstack.Options{Rate: unbounded, Burst: unbounded})
	f.Cleanup(pool.Close)
	d = &driver{Cloud: sim, system: &mounttest.System{}, dir: f.TempDir()}
	clouds := &csi.Clouds{Pool: pool, Own: own, Options: manila.Options{Poll: poll.Backoff{First: time.Millisecond, Max: 5 * time.Millisecond, Factor: 1.1}}}
	d.controller = &csi.Controller{Clouds: clouds, ClusterID: "c1"}
	d.node = &csi.Node{Name: "node-1", Clouds: clouds, Mounter: mount.New(mount.Options{System: d.system, Logger: slog.New(slog.DiscardHandler)})}
	if volume, err = csitest.Volume("NFS")(f.Context(), csitest.Server(d.controller)); err != nil {
		f.Fatal(err)
	}
	return d, volume
}

// check looks at what a request has led to: a code that is defined, calls that Manila has, and nothing that has changed.
func (d *driver) check(t *testing.T, what, input string, err error) {
	t.Helper()
	if code := status.Code(err); code == codes.Internal || code == codes.Unknown {
		t.Fatalf("%s(%q): %v: %v", what, input, code, err)
	}
	for _, c := range d.Calls.All(openstacksim.CallFilter{Service: openstacksim.ServiceManila}) {
		if !asked.MatchString(c.Path) {
			t.Fatalf("%s(%q) asked Manila for %s %q", what, input, c.Method, c.Path)
		}
	}
	d.Calls.Reset()
	if got := d.Manila.Counts(); got.Shares != 1 {
		t.Fatalf("%s(%q) left %+v", what, input, got)
	}
}

// FuzzVolumeIDs: no id, in whatever place of whatever request, makes the driver panic, ask Manila for what is no share or snapshot, or
// touch a path that is not its own.
func FuzzVolumeIDs(f *testing.F) {
	d, volume := fuzzed(f)
	for _, seed := range []string{
		"", "fake-vol-id", "../../types", "%2e%2e%2flimits", "5f0a9e2c-1111-4222-8333-444455556666", "5F0A9E2C-1111-4222-8333-444455556666", "5f0a9e2c11114222833344445555666",
		"{5f0a9e2c-1111-4222-8333-444455556666}", "a/../../b", "?all_tenants=1", "x#y", "\x00", "\n", strings.Repeat("a", 300), "\U0001F600", "5f0a9e2c-1111-4222-8333-444455556666/action",
	} {
		for which := range len(requests("", volume, d.dir)) {
			f.Add(seed, byte(which))
		}
	}
	f.Fuzz(func(t *testing.T, id string, which byte) {
		if openID, ok := openstack.ParseUUID(id); ok && openID == volume {
			t.Skip("the volume that is there")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		all := requests(id, volume, d.dir)
		r := all[int(which)%len(all)]
		if err := d.ask(ctx, r); status.Code(err) != codes.Unimplemented {
			d.check(t, string(r.ProtoReflect().Descriptor().Name()), id, err)
		}
		for _, c := range d.system.Calls() {
			if !strings.HasPrefix(c.Target, d.dir+"/") {
				t.Fatalf("id %q: %+v", id, c)
			}
		}
		if left, err := os.ReadDir(d.dir); err != nil || len(left) > 0 {
			t.Fatalf("id %q left %v, %v", id, left, err)
		}
	})
}

// requests are those in which an id can stand, beside the id of a volume that is there.
func requests(id, volume, dir string) []proto.Message {
	stage := filepath.Join(dir, "stage")
	return []proto.Message{
		&spec.DeleteVolumeRequest{VolumeId: id},
		&spec.DeleteSnapshotRequest{SnapshotId: id},
		&spec.ControllerGetVolumeRequest{VolumeId: id},
		&spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &spec.CapacityRange{RequiredBytes: 1}},
		&spec.CreateSnapshotRequest{Name: "s", SourceVolumeId: id},
		&spec.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: []*spec.VolumeCapability{rwx()}},
		&spec.ListSnapshotsRequest{SnapshotId: id},
		&spec.ListSnapshotsRequest{SourceVolumeId: id},
		csitest.Create("new", "NFS", csitest.FromSnapshot(id)),
		csitest.Create("new", "NFS", csitest.FromVolume(id)),
		&spec.ControllerPublishVolumeRequest{VolumeId: id, NodeId: "node-1", VolumeCapability: rwx()},
		&spec.ControllerPublishVolumeRequest{VolumeId: volume, NodeId: id, VolumeCapability: rwx()},
		&spec.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: "node-1"},
		&spec.ControllerModifyVolumeRequest{VolumeId: id, MutableParameters: map[string]string{"appendShareMetadata": `{"a":"b"}`}},
		&spec.ControllerGetVolumeHealthRequest{VolumeId: id},
		&spec.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: stage, VolumeCapability: rwx(), VolumeContext: map[string]string{"protocol": "CEPHFS"}},
		&spec.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: stage, VolumeCapability: rwx(), VolumeContext: map[string]string{"protocol": "NFS", "shareID": id}},
		&spec.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: stage, VolumeCapability: rwx(), VolumeContext: map[string]string{"protocol": "CEPHFS", "shareName": id}},
		&spec.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: stage, VolumeCapability: rwx(), VolumeContext: map[string]string{"protocol": "CEPHFS", "shareID": volume, "shareAccessIDs": id}},
		&spec.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: stage},
	}
}

// ask asks the controller or the node.
func (d *driver) ask(ctx context.Context, r proto.Message) (err error) {
	switch r := r.(type) {
	case *spec.NodeStageVolumeRequest:
		_, err = d.node.NodeStageVolume(ctx, r)
	case *spec.NodeUnstageVolumeRequest:
		_, err = d.node.NodeUnstageVolume(ctx, r)
	default:
		_, err = csitest.Server(d.controller)(ctx, r)
	}
	return err
}

// FuzzListTokens: a token that no list gave is refused as the specification says, and never more than that.
func FuzzListTokens(f *testing.F) {
	d, volume := fuzzed(f)
	for _, seed := range []string{"", "0", "1", "-1", "999999999999999999999", "a", "1:" + volume, volume, "1/" + volume, "&all_tenants=1", "\x00"} {
		f.Add(seed, int32(1))
	}
	f.Fuzz(func(t *testing.T, token string, most int32) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for _, r := range []proto.Message{&spec.ListVolumesRequest{StartingToken: token, MaxEntries: most}, &spec.ListSnapshotsRequest{StartingToken: token, MaxEntries: most}} {
			_, err := csitest.Server(d.controller)(ctx, r)
			if code := status.Code(err); !slices.Contains([]codes.Code{codes.OK, codes.Aborted, codes.InvalidArgument}, code) {
				t.Fatalf("token %q, %d: %v", token, most, err)
			}
			d.check(t, "list", token, err)
		}
	})
}
