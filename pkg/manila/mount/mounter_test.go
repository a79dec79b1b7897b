package mount_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"

	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
)

const key = "AQBBbXlkMAAAABAAAbm9uZSBvZiB5b3VyIGJ1c2luZXNz"

func nfs() mount.NFS {
	return mount.NFS{Exports: []mount.NFSExport{{Host: "127.0.0.1", Path: "/a"}, {Host: "127.0.0.2", Path: "/a"}}, Options: []string{"hard", "noatime"}}
}

func ceph() mount.CephFS {
	return mount.CephFS{Export: mount.CephExport{Monitors: []string{"127.0.0.1:6789"}, Path: "/v/x"}, User: "pvc-1", Key: validKey()}
}

func validKey() string { return key[:44] }

func count(calls []mounttest.Call, name string) (n int) {
	for _, c := range calls {
		if c.Name == name {
			n++
		}
	}
	return n
}

func TestNFSIsMountedOnce(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	target := filepath.Join(t.TempDir(), "stage")
	for range 3 {
		if err := m.MountNFS(t.Context(), target, nfs()); err != nil {
			t.Fatal(err)
		}
	}
	calls := system.Calls()
	if n := count(calls, "mount"); n != 1 {
		t.Fatalf("%d mounts, want 1", n)
	}
	first := calls[0]
	if first.FSType != "nfs4" || first.Source != "127.0.0.1:/a" || first.Data != "vers=4.2,hard,nosharecache,addr=127.0.0.1,clientaddr=127.0.0.1" || first.Flags != unix.MS_NOATIME {
		t.Errorf("mount(2) got %+v", first)
	}
	if err := m.Check(t.Context(), target); err != nil {
		t.Errorf("a live mount: %v", err)
	}
	for range 2 {
		if err := m.Unmount(t.Context(), target); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(target); !os.IsNotExist(err) {
		t.Errorf("the mount point is still there: %v", err)
	}
	if err := m.Check(t.Context(), target); !errors.Is(err, mount.ErrNotMounted) {
		t.Errorf("Check of nothing: %v", err)
	}
}

func TestNFSTriesVersionsThenExports(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{Fail: func(c mounttest.Call) error {
		switch {
		case c.Name == "mount" && strings.HasPrefix(c.Source, "127.0.0.1"):
			return unix.ECONNREFUSED
		case c.Name == "mount" && !strings.HasPrefix(c.Data, "vers=4.0"):
			return unix.EPROTONOSUPPORT
		}
		return nil
	}}
	m := mount.New(mount.Options{System: system})
	if err := m.MountNFS(t.Context(), filepath.Join(t.TempDir(), "stage"), nfs()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range system.Calls() {
		version, _, _ := strings.Cut(c.Data, ",")
		got = append(got, c.Source+" "+version)
	}
	if want := "127.0.0.1:/a vers=4.2|127.0.0.2:/a vers=4.2|127.0.0.2:/a vers=4.1|127.0.0.2:/a vers=4.0"; strings.Join(got, "|") != want {
		t.Errorf("tried %s, want %s", strings.Join(got, "|"), want)
	}
}

func TestMountErrors(t *testing.T) {
	t.Parallel()
	for errno, want := range map[error]error{unix.ENODEV: mount.ErrUnsupported, unix.EACCES: mount.ErrDenied, unix.ETIMEDOUT: mount.ErrHung} {
		m := mount.New(mount.Options{System: &mounttest.System{Fail: func(mounttest.Call) error { return errno }}})
		if err := m.MountNFS(t.Context(), filepath.Join(t.TempDir(), "stage"), nfs()); !errors.Is(err, want) {
			t.Errorf("%v became %v, want %v", errno, err, want)
		}
	}
}

func TestCephFallsBackToFuse(t *testing.T) {
	t.Parallel()
	noKernel := func(c mounttest.Call) error {
		if c.Name == "mount" {
			return unix.ENODEV
		}
		return nil
	}
	system := &mounttest.System{Fail: noKernel}
	m := mount.New(mount.Options{System: system})
	target := filepath.Join(t.TempDir(), "stage")
	v := ceph()
	v.FS, v.FuseOptions, v.ReadOnly = "cephfs", []string{"nonempty", "default_permissions", "fsname=x", "client_cache_size=9"}, true
	if err := m.MountCephFS(t.Context(), target, v); err != nil {
		t.Fatal(err)
	}
	calls := system.Calls()
	started := calls[slices.IndexFunc(calls, func(c mounttest.Call) bool { return c.Name == "ceph-fuse" }):]
	fuse := strings.Join(started[0].Args, " ")
	if want := target + " -m 127.0.0.1:6789 -r /v/x --log-file=/dev/null --admin-socket= --run-dir= --client_fs=cephfs --client_mount_timeout=60 --client_cache_size=9 -o fsname=ceph-fuse:/v/x,subtype=ceph-fuse,default_permissions,ro"; fuse != want {
		t.Errorf("ceph-fuse got\n%s\nwant\n%s", fuse, want)
	}
	for _, c := range calls {
		if strings.Contains(c.Data+strings.Join(c.Args, " "), v.Key) {
			t.Errorf("the key stands in the arguments: %+v", c)
		}
	}
	v.Mounter = mount.CephKernel
	if err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "x"), v); !errors.Is(err, mount.ErrUnsupported) {
		t.Errorf("the class wants the kernel's client, which is not there: %v", err)
	}
}

func TestCephKernelArguments(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	v := ceph()
	v.KernelOptions = []string{"wsync", "noatime"}
	if err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "stage"), v); err != nil {
		t.Fatal(err)
	}
	c := system.Calls()[0]
	if c.FSType != "ceph" || c.Source != "127.0.0.1:6789:/v/x" || c.Data != "wsync,name=pvc-1,secret=<hidden>" || c.Flags != unix.MS_NOATIME {
		t.Errorf("mount(2) got %+v", c)
	}
	for _, bad := range []mount.CephFS{{User: "a,secret=x", Key: v.Key}, {User: "", Key: v.Key}, {User: "a", Key: "x,name=admin"}, {User: "a"}} {
		if err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "x"), bad); !errors.Is(err, mount.ErrOption) {
			t.Errorf("user %q: %v; want ErrOption", bad.User, err)
		}
	}
}

func TestBind(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	dir := t.TempDir()
	stage, pod := filepath.Join(dir, "stage"), filepath.Join(dir, "pods", "1", "mount")
	if err := m.Bind(t.Context(), stage, pod, true); !errors.Is(err, mount.ErrNotMounted) {
		t.Fatalf("a bind of what is not staged: %v", err)
	}
	if err := m.MountNFS(t.Context(), stage, nfs()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Bind(t.Context(), stage, pod, true); err != nil {
			t.Fatal(err)
		}
	}
	table, _ := system.Table()
	if len(table) != 2 || table[1].MountOptions[0] != "ro" || table[0].MountOptions[0] != "rw" {
		t.Errorf("the table is %+v, want a writable stage and one read-only bind", table)
	}
}

// TestBindOfAnotherWay: a bind that is there already is as it is wanted, or it is made so, or it is refused.
func TestBindOfAnotherWay(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	dir := t.TempDir()
	stage, other, pod, reader := filepath.Join(dir, "stage"), filepath.Join(dir, "other"), filepath.Join(dir, "pod"), filepath.Join(dir, "reader")
	another := nfs()
	another.Exports = []mount.NFSExport{{Host: "127.0.0.1", Path: "/b"}}
	for path, share := range map[string]mount.NFS{stage: nfs(), other: another} {
		if err := m.MountNFS(t.Context(), path, share); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		from, to string
		readOnly bool
		want     error
	}{
		{stage, pod, false, nil},
		{stage, pod, true, nil},                // as after a kill between the two calls
		{stage, pod, false, mount.ErrOccupied}, // it is read-only now
		{other, pod, true, mount.ErrOccupied},
		{stage, reader, true, nil},
		{stage, other, false, mount.ErrOccupied},
	} {
		if err := m.Bind(t.Context(), c.from, c.to, c.readOnly); !errors.Is(err, c.want) {
			t.Errorf("%s to %s, read-only %v: %v; want %v", filepath.Base(c.from), filepath.Base(c.to), c.readOnly, err, c.want)
		}
	}
	table, _ := system.Table()
	if len(table) != 4 || table[2].MountOptions[0] != "ro" || table[3].MountOptions[0] != "ro" {
		t.Errorf("the table is %+v", table)
	}
}

// TestStageFindsSomethingElse: what is mounted at a staging path is not taken for the share because something is.
func TestStageFindsSomethingElse(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	target := filepath.Join(t.TempDir(), "stage")
	if err := m.MountNFS(t.Context(), target, nfs()); err != nil {
		t.Fatal(err)
	}
	another := mount.NFS{Exports: []mount.NFSExport{{Host: "127.0.0.1", Path: "/b"}}}
	if err := m.MountNFS(t.Context(), target, another); !errors.Is(err, mount.ErrOccupied) {
		t.Errorf("another share: %v", err)
	}
	if err := m.MountCephFS(t.Context(), target, ceph()); !errors.Is(err, mount.ErrOccupied) {
		t.Errorf("CephFS: %v", err)
	}
	moved := mount.NFS{Exports: []mount.NFSExport{{Host: "10.1.1.1", Path: "/a/"}}} // the same share by another address
	if err := m.MountNFS(t.Context(), target, moved); err != nil {
		t.Errorf("the same share by another address: %v", err)
	}
}

// TestMountPointIsNoDirectory: a link is not followed to where no unmount finds the mount again, and a file is not removed.
func TestMountPointIsNoDirectory(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	dir := t.TempDir()
	elsewhere, link, file := filepath.Join(dir, "elsewhere"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := errors.Join(os.Mkdir(elsewhere, 0o750), os.Symlink(elsewhere, link), os.WriteFile(file, []byte("data"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, file} {
		if err := m.MountNFS(t.Context(), path, nfs()); !errors.Is(err, mount.ErrTarget) {
			t.Errorf("mounting at a %s: %v", filepath.Base(path), err)
		}
		if err := m.Unmount(t.Context(), path); !errors.Is(err, mount.ErrTarget) {
			t.Errorf("unmounting a %s: %v", filepath.Base(path), err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the %s has gone: %v", filepath.Base(path), err)
		}
	}
	if n := len(system.Calls()); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

// TestDeadMountIsReplaced: after the fuse daemon died, statfs says ENOTCONN; the next stage mounts again.
func TestDeadMountIsReplaced(t *testing.T) {
	t.Parallel()
	var dead atomic.Bool
	system := &mounttest.System{Fail: func(c mounttest.Call) error {
		switch {
		case c.Name == "probe" && dead.Load():
			return unix.ENOTCONN
		case c.Name == "unmount" && c.Flags&unix.MNT_DETACH != 0:
			dead.Store(false)
		}
		return nil
	}}
	m := mount.New(mount.Options{System: system})
	target := filepath.Join(t.TempDir(), "stage")
	if err := m.MountNFS(t.Context(), target, nfs()); err != nil {
		t.Fatal(err)
	}
	dead.Store(true)
	if err := m.Check(t.Context(), target); !errors.Is(err, unix.ENOTCONN) || !errors.Is(err, mount.ErrDead) {
		t.Fatalf("Check of a dead mount: %v", err)
	}
	if err := m.MountNFS(t.Context(), target, nfs()); err != nil {
		t.Fatal(err)
	}
	if n := count(system.Calls(), "mount"); n != 2 {
		t.Errorf("%d mounts, want 2", n)
	}
}

// TestHungServer: however often somebody looks at a mount of a dead server, one probe hangs, everybody else gets an answer
// in time, and the unmount turns lazy.
func TestHungServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := atomic.Bool{}
		system := &mounttest.System{Fail: func(c mounttest.Call) error {
			if hang.Load() && (c.Name == "probe" || c.Name == "unmount" && c.Flags&unix.MNT_DETACH == 0) {
				<-release
			}
			return nil
		}}
		m := mount.New(mount.Options{System: system})
		target := filepath.Join(dir, "stage")
		if err := m.MountNFS(t.Context(), target, nfs()); err != nil {
			t.Fatal(err)
		}
		hang.Store(true)
		begin := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := m.Check(t.Context(), target); !errors.Is(err, mount.ErrHung) {
					t.Errorf("a look at a hung mount: %v", err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("20 looks took %v, want the bound of one", took)
		}
		if n := count(system.Calls(), "probe"); n != 1 {
			t.Errorf("%d probes hang, want 1", n)
		}
		begin = time.Now()
		if err := m.Unmount(t.Context(), target); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 15*time.Second {
			t.Errorf("the unmount took %v", took)
		}
		close(release)
		synctest.Wait()
	})
}

// TestHungMountIsBusy: who hangs in a mount keeps the kernel from unmounting it. It is detached, and what is mounted at its place
// does not wait for those who hang.
func TestHungMountIsBusy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang, busy := atomic.Bool{}, atomic.Bool{}
		system := &mounttest.System{Fail: func(c mounttest.Call) error {
			switch {
			case c.Name == "probe" && hang.Load():
				<-release
			case c.Name == "unmount" && c.Flags&unix.MNT_DETACH == 0 && busy.Load():
				return unix.EBUSY
			}
			return nil
		}}
		m := mount.New(mount.Options{System: system})
		target := filepath.Join(dir, "stage")
		if err := m.MountNFS(t.Context(), target, nfs()); err != nil {
			t.Fatal(err)
		}
		busy.Store(true)
		if err := m.Unmount(t.Context(), target); !errors.Is(err, mount.ErrInUse) {
			t.Errorf("the unmount of what answers and is in use: %v", err)
		}
		hang.Store(true)
		if err := m.Check(t.Context(), target); !errors.Is(err, mount.ErrHung) {
			t.Errorf("a look at a hung mount: %v", err)
		}
		if err := m.Unmount(t.Context(), target); err != nil {
			t.Errorf("the unmount of a hung mount: %v", err)
		}
		hang.Store(false)
		busy.Store(false)
		if err := m.MountNFS(t.Context(), target, nfs()); err != nil {
			t.Error(err)
		}
		if err := m.Check(t.Context(), target); err != nil {
			t.Errorf("a look at the new mount: %v", err)
		}
		if err := m.Unmount(t.Context(), target); err != nil {
			t.Error(err)
		}
		close(release)
		synctest.Wait()
	})
}

func TestMountEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		system := &mounttest.System{Fail: func(mounttest.Call) error { <-release; return nil }}
		m := mount.New(mount.Options{System: system})
		for range 3 { // as kubelet tries again
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			err := m.MountNFS(ctx, filepath.Join(dir, "stage"), nfs())
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, mount.ErrHung) {
				t.Errorf("got %v, want a hung server within the deadline", err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := m.MountNFS(ctx, filepath.Join(dir, "stage"), nfs()); !errors.Is(err, context.Canceled) || !errors.Is(err, mount.ErrHung) {
			t.Errorf("at a deadline that comes as a cancellation: %v, want a hung server", err)
		}
		if n := count(system.Calls(), "mount"); n != 1 {
			t.Errorf("%d mounts hang, want 1", n)
		}
		close(release)
		synctest.Wait()
	})
}

// TestRealBind runs the real code on the real kernel: a tmpfs, a read-only bind of it, an unmount of both.
func TestRealBind(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mount(2) needs root")
	}
	dir := t.TempDir()
	stage, pod := filepath.Join(dir, "the stage"), filepath.Join(dir, "pod")
	if err := os.Mkdir(stage, 0o750); err != nil {
		t.Fatal(err)
	}
	kernel := mount.Kernel{}
	if err := kernel.Mount("", stage, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, "size=1m"); errors.Is(err, unix.EPERM) {
		t.Skip("mount(2) needs CAP_SYS_ADMIN")
	} else if err != nil {
		t.Fatal(err)
	}
	m := mount.New(mount.Options{})
	t.Cleanup(func() {
		_ = kernel.Unmount(pod, unix.MNT_DETACH)
		_ = kernel.Unmount(stage, unix.MNT_DETACH)
	})
	if err := os.WriteFile(filepath.Join(stage, "file"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Bind(t.Context(), stage, pod, true); err != nil {
			t.Fatal(err)
		}
	}
	table, err := kernel.Table()
	if err != nil {
		t.Fatal(err)
	}
	bind := slices.IndexFunc(table, func(e mountutils.MountInfo) bool { return e.MountPoint == pod })
	if got := strings.Join(table[bind].MountOptions, ","); got != "ro,nosuid,nodev,noexec,noatime" {
		t.Errorf("the pod's mount has %s, and not all that the stage has", got)
	}
	if data, err := os.ReadFile(filepath.Join(pod, "file")); err != nil || string(data) != "hello" {
		t.Fatalf("read %q, %v", data, err)
	}
	if err := os.WriteFile(filepath.Join(pod, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a write through a read-only bind: %v", err)
	}
	for _, path := range []string{pod, stage, pod} {
		if err := m.Unmount(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if mounted, err := m.Mounted(path); err != nil || mounted {
			t.Fatalf("%s is still mounted (%v)", path, err)
		}
	}
	if err := m.MountNFS(t.Context(), stage, mount.NFS{Exports: []mount.NFSExport{{Host: "127.0.0.1", Path: "/none"}}, Options: []string{"soft", "timeo=1", "retrans=1"}}); err == nil {
		t.Error("an NFS server that is not there was mounted")
	} else {
		t.Logf("the kernel on NFS: %v", err)
	}
}

func TestLocalAddressFollowsTheServer(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	if err := m.MountNFS(t.Context(), filepath.Join(t.TempDir(), "s"), mount.NFS{Exports: []mount.NFSExport{{Host: "::1", Path: "/a"}}}); err != nil {
		t.Fatal(err)
	}
	c := system.Calls()[0]
	_, client, _ := strings.Cut(c.Data, "clientaddr=")
	if addr, err := netip.ParseAddr(client); err != nil || !addr.Is6() || c.Source != "[::1]:/a" {
		t.Errorf("an IPv6 server: mount(2) got %+v", c)
	}
}
