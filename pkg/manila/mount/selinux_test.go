package mount_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
)

const selinuxContext = `context="system_u:object_r:container_file_t:s0:c1,c2"`

// TestSuperblockOfNFS: a mount has a superblock that no other mount of the server has, or else kubelet could not tell them apart. The kernel gets an
// SELinux context in its quotes.
func TestSuperblockOfNFS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options    []string
		wants, not string
	}{
		{[]string{selinuxContext}, selinuxContext + ",nosharecache", ""},
		{[]string{selinuxContext, "nosharecache"}, selinuxContext + ",nosharecache", "nosharecache,nosharecache"},
		{[]string{selinuxContext, "sharecache"}, selinuxContext + ",sharecache", "nosharecache"},
		{[]string{"hard"}, "hard,nosharecache", ""},
		{nil, "nosharecache", ""},
		{[]string{"sharecache"}, "sharecache", "nosharecache"},
	} {
		system := &mounttest.System{}
		v := nfs()
		v.Options = c.options
		if err := mount.New(mount.Options{System: system}).MountNFS(t.Context(), filepath.Join(t.TempDir(), "stage"), v); err != nil {
			t.Fatal(err)
		}
		if data := system.Calls()[0].Data; !strings.Contains(data, c.wants) || c.not != "" && strings.Contains(data, c.not) {
			t.Errorf("%q: mount(2) got %s", c.options, data)
		}
	}
}

// TestContextOfCephFS: the kernel's client takes it. Where the kernel has none, ceph-fuse does not mount without it: the pod could not
// use the files.
func TestContextOfCephFS(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	v := ceph()
	v.KernelOptions = []string{selinuxContext}
	if err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "stage"), v); err != nil {
		t.Fatal(err)
	}
	if data := system.Calls()[0].Data; !strings.HasPrefix(data, selinuxContext+",") {
		t.Errorf("mount(2) got %s", data)
	}
	system.Fail = func(mounttest.Call) error { return unix.ENODEV }
	err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "stage"), v)
	if !errors.Is(err, mount.ErrUnsupported) || !strings.Contains(err.Error(), "SELinux") || count(system.Calls(), "ceph-fuse") != 0 {
		t.Errorf("without the kernel's client: %v", err)
	}
}
