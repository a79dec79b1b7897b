package mount_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
)

// TestMonitorsAndFileSystem: several monitors, IPv6 ones in brackets, and the name of the file system reach both clients.
func TestMonitorsAndFileSystem(t *testing.T) {
	t.Parallel()
	for location, monitors := range map[string]string{
		"10.0.0.1:6789,10.0.0.2:6789,10.0.0.3:6789:/v/x": "10.0.0.1:6789,10.0.0.2:6789,10.0.0.3:6789",
		"[fd00::1]:6789,[fd00::2]:6789:/v/x":             "[fd00::1]:6789,[fd00::2]:6789",
		"[fd00::1],mon-2.example.org:/v/x":               "[fd00::1]:6789,mon-2.example.org:6789",
	} {
		export, err := mount.ParseCephFS(location)
		if err != nil {
			t.Fatal(err)
		}
		system := &mounttest.System{}
		m := mount.New(mount.Options{System: system})
		v := ceph()
		v.Export, v.FS = export, "fs-2"
		if err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "kernel"), v); err != nil {
			t.Fatal(err)
		}
		v.Mounter = mount.CephFuse
		if err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "fuse"), v); err != nil {
			t.Fatal(err)
		}
		kernel, fuse := system.Calls()[0], system.Calls()[1]
		if kernel.Source != monitors+":/v/x" || !strings.HasPrefix(kernel.Data, "mds_namespace=fs-2,") {
			t.Errorf("%s: mount(2) got %+v", location, kernel)
		}
		if i := slices.Index(fuse.Args, "-m"); fuse.Args[i+1] != monitors || !slices.Contains(fuse.Args, "--client_fs=fs-2") {
			t.Errorf("%s: ceph-fuse got %q", location, fuse.Args)
		}
		for _, bad := range []string{"a,secret=x", "a b", "a=b", "a/b", "ä"} {
			v.FS = bad
			if err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "bad"), v); !errors.Is(err, mount.ErrOption) {
				t.Errorf("file system %q: %v; want ErrOption", bad, err)
			}
		}
	}
}

// TestFuseMountNamesItsShare: another share at a staging path is not taken for the wanted one. The mount of a ceph-fuse that does not tell,
// because another driver has started it, is.
func TestFuseMountNamesItsShare(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	target := filepath.Join(t.TempDir(), "stage")
	v := ceph()
	v.Mounter = mount.CephFuse
	for range 2 {
		if err := m.MountCephFS(t.Context(), target, v); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/v/y", "/x", "/"} {
		another := v
		another.Export.Path = path
		if err := m.MountCephFS(t.Context(), target, another); !errors.Is(err, mount.ErrOccupied) {
			t.Errorf("%s where /v/x is mounted: %v", path, err)
		}
	}
	if n := count(system.Calls(), "ceph-fuse"); n != 1 {
		t.Errorf("ceph-fuse was started %d times", n)
	}
	foreign := filepath.Join(t.TempDir(), "stage")
	if _, err := system.CephFuse(t.Context(), "u", "", []string{foreign}, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.MountCephFS(t.Context(), foreign, v); err != nil {
		t.Errorf("a mount without a name: %v", err)
	}
}

// TestDirectMountOfAPod: a pod whose NFS mount another driver has made, not as a bind of what is staged, keeps it.
func TestDirectMountOfAPod(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	dir := t.TempDir()
	staged, pod, other := filepath.Join(dir, "stage"), filepath.Join(dir, "pod"), filepath.Join(dir, "other")
	if err := m.MountNFS(t.Context(), staged, nfs()); err != nil {
		t.Fatal(err)
	}
	for path, export := range map[string]mount.NFSExport{pod: {Host: "10.9.9.9", Path: "/a"}, other: {Host: "127.0.0.1", Path: "/b"}} {
		if err := m.MountNFS(t.Context(), path, mount.NFS{Exports: []mount.NFSExport{export}}); err != nil {
			t.Fatal(err)
		}
	}
	before := len(system.Calls())
	if err := m.Bind(t.Context(), staged, pod, false); err != nil {
		t.Errorf("the same share: %v", err)
	}
	if err := m.Bind(t.Context(), staged, other, false); !errors.Is(err, mount.ErrOccupied) {
		t.Errorf("another share: %v", err)
	}
	for _, c := range system.Calls()[before:] {
		if c.Name == "mount" {
			t.Errorf("a mount was made: %+v", c)
		}
	}
	if err := m.Bind(t.Context(), staged, pod, true); err != nil {
		t.Errorf("the same share, read-only: %v", err)
	}
	if last := system.Calls()[len(system.Calls())-1]; last.Flags&(unix.MS_REMOUNT|unix.MS_RDONLY) != unix.MS_REMOUNT|unix.MS_RDONLY {
		t.Errorf("it was not made read-only: %+v", last)
	}
}
