package csi_test

import (
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack/openstacksim"
)

// stage stages a volume at the path that publish and takeAway use.
func (d *driver) stage(t *testing.T, v *spec.Volume) string {
	t.Helper()
	path := filepath.Join(d.dir, "stage")
	if _, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: path, VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
	}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVolumeStats(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	stage := d.stage(t, v)
	d.publish(t, v, "pod")
	request := func(path string) *spec.NodeGetVolumeStatsRequest {
		return &spec.NodeGetVolumeStatsRequest{VolumeId: v.GetVolumeId(), VolumePath: path, StagingTargetPath: stage}
	}
	for _, path := range []string{stage, filepath.Join(d.dir, "pod")} {
		got, err := d.node.NodeGetVolumeStats(t.Context(), request(path))
		if err != nil {
			t.Fatal(err)
		}
		// no inodes: this file system does not count them
		want := &spec.NodeGetVolumeStatsResponse{Usage: []*spec.VolumeUsage{{Unit: spec.VolumeUsage_BYTES, Total: 1 << 30, Available: 1 << 30}}}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for errno, want := range map[error]codes.Code{unix.ESTALE: codes.Unavailable, unix.ENOTCONN: codes.Unavailable, unix.ENOSYS: codes.Internal} {
		d.system.Fail = func(mounttest.Call) error { return errno }
		if _, err := d.node.NodeGetVolumeStats(t.Context(), request(stage)); status.Code(err) != want {
			t.Errorf("%v: %v; want %v", errno, err, want)
		}
	}
	d.system.Fail = nil
	for name, c := range map[string]struct {
		r    *spec.NodeGetVolumeStatsRequest
		want codes.Code
	}{
		"no id":           {&spec.NodeGetVolumeStatsRequest{VolumePath: stage}, codes.InvalidArgument},
		"no path":         {&spec.NodeGetVolumeStatsRequest{VolumeId: "x"}, codes.InvalidArgument},
		"a relative path": {request("some/path"), codes.NotFound},
		"nothing there":   {request(filepath.Join(d.dir, "other")), codes.NotFound},
		"no mount point":  {request(d.dir), codes.NotFound},
	} {
		if _, err := d.node.NodeGetVolumeStats(t.Context(), c.r); status.Code(err) != c.want {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
	}
	d.takeAway(t, v, "pod")
}

func reasons(r *spec.NodeGetVolumeHealthResponse) (out []string) {
	for _, e := range r.GetVolumeHealth().GetHealthStatuses() {
		out = append(out, e.GetStatus().String()+" "+e.GetReason())
	}
	return out
}

// TestVolumeHealth follows a volume's health: not here, could not be staged, healthy, dead, gone.
func TestVolumeHealth(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	staging := filepath.Join(d.dir, "stage")
	full := &spec.NodeGetVolumeHealthRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: staging, VolumePublishPath: filepath.Join(d.dir, "pod")}
	short := &spec.NodeGetVolumeHealthRequest{VolumeId: v.GetVolumeId()}
	expect := func(when string, code codes.Code, want ...string) {
		t.Helper()
		for _, r := range []*spec.NodeGetVolumeHealthRequest{full, short} {
			got, err := d.node.NodeGetVolumeHealth(t.Context(), r)
			if r == short && code == codes.NotFound { // without a path, that nothing is known is all that can be said
				code = codes.OK
			}
			if status.Code(err) != code || err == nil && got.GetVolumeHealth().GetVolumeId() != v.GetVolumeId() {
				t.Errorf("%s: %v, %v; want %v", when, got, err, code)
			}
			if diff := cmp.Diff(want, reasons(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
	}
	expect("before", codes.NotFound)
	d.system.Fail = func(mounttest.Call) error { return unix.EACCES }
	stage := &spec.NodeStageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: staging, VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext()}
	if _, err := d.node.NodeStageVolume(t.Context(), stage); status.Code(err) != codes.PermissionDenied {
		t.Fatal(err)
	}
	expect("refused by the server", codes.OK, "INACCESSIBLE StagingFailed")
	d.system.Fail = nil
	d.stage(t, v)
	d.publish(t, v, "pod")
	expect("healthy", codes.OK)
	d.system.Fail = func(mounttest.Call) error { return unix.ESTALE }
	expect("stale", codes.OK, "INACCESSIBLE StaleMount")
	d.system.Fail = func(mounttest.Call) error { return unix.ENOSYS }
	expect("strange", codes.OK, "INACCESSIBLE MountFailing")
	d.system.Fail = nil
	d.takeAway(t, v, "pod")
	expect("after", codes.NotFound)
	for _, r := range []*spec.NodeGetVolumeHealthRequest{{}, {VolumeId: "x", VolumePublishPath: "some/path"}} {
		if _, err := d.node.NodeGetVolumeHealth(t.Context(), r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", r, err)
		}
	}
}

// TestHealthOfADeadServer: ten volumes of a server that does not answer cost the bound of one probe, not of ten, and one that answers
// makes the storage degraded instead of unreachable. A node that was restarted learns its volumes from the calls for their stats.
func TestHealthOfADeadServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var dead sync.Map
		release := make(chan struct{})
		system := &mounttest.System{Fail: func(c mounttest.Call) error {
			if _, ok := dead.Load(filepath.Base(c.Target)); ok {
				<-release
			}
			return nil
		}}
		mounter := mount.New(mount.Options{System: system})
		node := &csi.Node{Mounter: mounter}
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
			path := filepath.Join(dir, name)
			if err := mounter.MountNFS(t.Context(), path, mount.NFS{Exports: []mount.NFSExport{{Host: "127.0.0.1", Path: "/" + name}}}); err != nil {
				t.Fatal(err)
			}
			r := &spec.NodeGetVolumeStatsRequest{VolumeId: name, VolumePath: path, StagingTargetPath: path}
			if _, err := node.NodeGetVolumeStats(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		look := func(want ...spec.StorageHealthErrorType) {
			t.Helper()
			begin := time.Now()
			got, err := node.NodeGetStorageHealth(t.Context(), nil)
			if err != nil || len(got.GetBackendHealth()) != len(want) || time.Since(begin) > 3*time.Second {
				t.Fatalf("after %v: %v, %v; want %v", time.Since(begin), got, err, want)
			}
			for i, e := range got.GetBackendHealth() {
				if e.GetStatus() != want[i] || e.GetReason() != "ServerNotResponding" || e.GetMessage() == "" {
					t.Errorf("%v, want %v", e, want[i])
				}
			}
		}
		look()
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
			dead.Store(name, true)
		}
		look(spec.StorageHealthErrorType_STORAGE_DEGRADED)
		dead.Store("j", true)
		look(spec.StorageHealthErrorType_STORAGE_UNREACHABLE)
		probes := len(system.Calls())
		look(spec.StorageHealthErrorType_STORAGE_UNREACHABLE)
		if n := len(system.Calls()); n != probes {
			t.Errorf("%d probes more hang at mounts that have one already", n-probes)
		}
		close(release)
		synctest.Wait()
	})
}
