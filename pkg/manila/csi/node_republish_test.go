package csi_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack/openstacksim"
)

// TestStaleMountIsReplacedAtPublish: kubelet asks for no second stage, so publish does what is needed, once for all pods.
func TestStaleMountIsReplacedAtPublish(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"NFS", "CEPHFS"} {
		d := start(t, openstacksim.ManilaConfig{})
		d.node.Clouds.Own = d.controller.Clouds.Own
		v := d.create(t, protocol)
		stage := d.stage(t, v)
		d.publish(t, v, "pod-1")
		var dead atomic.Bool
		dead.Store(true)
		d.system.Fail = func(c mounttest.Call) error {
			switch {
			case c.Name == "probe" && dead.Load():
				return unix.ESTALE
			case c.Name == "mount" && c.FSType != "":
				dead.Store(false)
			}
			return nil
		}
		d.Calls.Reset()
		before := len(d.system.Calls())
		var wg sync.WaitGroup
		for _, pod := range []string{"pod-2", "pod-3", "pod-4"} {
			wg.Go(func() { d.publish(t, v, pod) })
		}
		wg.Wait()
		mounts := 0
		for _, c := range d.system.Calls()[before:] {
			if c.Name == "mount" && c.FSType != "" && c.Target == stage {
				mounts++
			}
		}
		if mounts != 1 {
			t.Errorf("%s: mounted %d times, want once", protocol, mounts)
		}
		if _, calls := d.counts(); len(calls) != 0 {
			t.Errorf("%s: OpenStack was asked: %q", protocol, calls)
		}
		d.takeAway(t, v, "pod-1", "pod-2", "pod-3", "pod-4")
	}
}

// TestDeadServerIsNotRemounted: a server that does not answer is waited for: a new mount of it would hang as the old one does.
func TestDeadServerIsNotRemounted(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	stage := d.stage(t, v)
	before := len(d.system.Calls())
	d.system.Fail = func(c mounttest.Call) error {
		if c.Name == "probe" {
			return mount.ErrHung
		}
		return nil
	}
	_, err := d.node.NodePublishVolume(t.Context(), &spec.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: stage, TargetPath: filepath.Join(d.dir, "pod"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
	})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	if calls := d.system.Calls()[before:]; len(calls) != 1 {
		t.Errorf("made %+v", calls)
	}
}

// TestDeadFuseIsReplaced runs the real code on the real kernel: a volume of ceph-fuse is staged and published, its daemon is killed with
// the plugin, and the new plugin gives a new pod a live mount. Then all of it, dead and alive, is taken away.
func TestDeadFuseIsReplaced(t *testing.T) {
	t.Parallel()
	system := mounttest.NewFuse(t)
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "CEPHFS", func(r *spec.CreateVolumeRequest) { r.Parameters["cephfs-mounter"] = "fuse" })
	secret := d.secret(t, "")
	stage := filepath.Join(d.dir, "stage")
	t.Cleanup(func() {
		for _, name := range []string{"old", "new", "stage", "stage"} {
			_ = unix.Unmount(filepath.Join(d.dir, name), unix.MNT_DETACH)
		}
	})
	restart := func() {
		d.node = &csi.Node{Name: "node-1", Clouds: d.node.Clouds, Mounter: mount.New(mount.Options{System: system})}
	}
	publish := func(pod string, secret map[string]string) error {
		_, err := d.node.NodePublishVolume(t.Context(), &spec.NodePublishVolumeRequest{
			VolumeId: v.GetVolumeId(), StagingTargetPath: stage, TargetPath: filepath.Join(d.dir, pod), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(), Secrets: secret,
		})
		return err
	}
	stats := func(name string) error {
		got, err := d.node.NodeGetVolumeStats(t.Context(), &spec.NodeGetVolumeStatsRequest{VolumeId: v.GetVolumeId(), VolumePath: filepath.Join(d.dir, name), StagingTargetPath: stage})
		if err == nil && (got.GetUsage()[0].GetTotal() != 1<<30 || got.GetUsage()[0].GetUsed() != 4<<20 || got.GetUsage()[1].GetTotal() != 10) {
			t.Errorf("the stats of %s are %v", name, got)
		}
		return err
	}

	restart()
	if _, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: stage, VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(), Secrets: secret,
	}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(publish("old", nil), stats("old"), stats("stage")); err != nil {
		t.Fatal(err)
	}

	system.Kill()
	restart()
	if _, err := os.Stat(stage); !errors.Is(err, unix.ENOTCONN) {
		t.Fatalf("the staged mount should be dead: %v", err)
	}
	for _, name := range []string{"old", "stage"} {
		if err := stats(name); status.Code(err) != codes.Unavailable {
			t.Errorf("the stats of a dead mount: %v", err)
		}
	}
	health, err := d.node.NodeGetVolumeHealth(t.Context(), &spec.NodeGetVolumeHealthRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: stage})
	if got := reasons(health); err != nil || len(got) != 1 || got[0] != "INACCESSIBLE StaleMount" {
		t.Errorf("the health is %v, %v", health, err)
	}
	if err := publish("new", nil); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "node-publish-secret-name") {
		t.Errorf("without the key: %v", err)
	}
	if err := errors.Join(publish("new", secret), stats("new"), stats("stage")); err != nil {
		t.Fatal(err)
	}
	if err := stats("old"); status.Code(err) != codes.Unavailable {
		t.Errorf("the old pod's mount can't have changed: %v", err)
	}
	if n := system.Daemons(); n != 1 {
		t.Errorf("%d daemons, want the new one", n)
	}

	d.takeAway(t, v, "old", "new")
	table, err := system.Table()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range table {
		if strings.HasPrefix(entry.MountPoint, d.dir) {
			t.Errorf("left mounted: %+v", entry)
		}
	}
}

// TestDeadFuseIsTakenAway: what is dead is unpublished and unstaged as everything else.
func TestDeadFuseIsTakenAway(t *testing.T) {
	t.Parallel()
	system := mounttest.NewFuse(t)
	m := mount.New(mount.Options{System: system})
	dir := t.TempDir()
	stage, pod := filepath.Join(dir, "stage"), filepath.Join(dir, "pod")
	t.Cleanup(func() {
		_ = unix.Unmount(pod, unix.MNT_DETACH)
		_ = unix.Unmount(stage, unix.MNT_DETACH)
	})
	v := mount.CephFS{Export: mount.CephExport{Monitors: []string{"127.0.0.1:6789"}, Path: "/v"}, User: "u", Key: "AAAA", Mounter: mount.CephFuse}
	if err := errors.Join(m.MountCephFS(t.Context(), stage, v), m.Bind(t.Context(), stage, pod, false)); err != nil {
		t.Fatal(err)
	}
	system.Kill()
	if err := m.Check(t.Context(), pod); !errors.Is(err, mount.ErrDead) {
		t.Fatalf("the mount should be dead: %v", err)
	}
	node := &csi.Node{Mounter: m}
	for range 2 {
		if _, err := node.NodeUnpublishVolume(t.Context(), &spec.NodeUnpublishVolumeRequest{VolumeId: "v", TargetPath: pod}); err != nil {
			t.Fatal(err)
		}
		if _, err := node.NodeUnstageVolume(t.Context(), &spec.NodeUnstageVolumeRequest{VolumeId: "v", StagingTargetPath: stage}); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestLostMountIsReplaced: a mount that could not be replaced, as the server was away, is made at the next publish. What was unstaged, or
// never staged, stays so.
func TestLostMountIsReplaced(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	stage := d.stage(t, v)
	publish := func() error {
		_, err := d.node.NodePublishVolume(t.Context(), &spec.NodePublishVolumeRequest{
			VolumeId: v.GetVolumeId(), StagingTargetPath: stage, TargetPath: filepath.Join(d.dir, "pod"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
		})
		return err
	}
	var dead atomic.Bool
	dead.Store(true)
	d.system.Fail = func(c mounttest.Call) error {
		switch {
		case c.Name == "probe" && dead.Load():
			return unix.ESTALE
		case c.Name == "mount" && dead.Load():
			return unix.ECONNREFUSED
		}
		return nil
	}
	for range 2 {
		if err := publish(); status.Code(err) != codes.Unavailable {
			t.Errorf("while the server is away: %v", err)
		}
	}
	dead.Store(false)
	if err := publish(); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	d.takeAway(t, v, "pod")
	if err := publish(); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("after unstage: %v", err)
	}
}
