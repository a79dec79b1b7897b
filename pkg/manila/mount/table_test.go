package mount_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	mountutils "k8s.io/mount-utils"

	"mooring/pkg/manila/mount"
)

func TestParseTable(t *testing.T) {
	t.Parallel()
	got, err := mount.ParseTable(`44 27 0:39 /a\134b /var/lib/my\040kubelet/x\011y rw,nosuid,relatime shared:5 master:1 - nfs4 10.0.0.1:/a\040b rw,vers=4.2
45 27 0:40 / /without\source ro - tmpfs  rw
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []mountutils.MountInfo{
		{
			ID: 44, ParentID: 27, Minor: 39, Root: `/a\b`, MountPoint: "/var/lib/my kubelet/x\ty", MountOptions: []string{"rw", "nosuid", "relatime"},
			OptionalFields: []string{"shared:5", "master:1"}, FsType: "nfs4", Source: "10.0.0.1:/a b", SuperOptions: []string{"rw", "vers=4.2"},
		},
		{
			ID: 45, ParentID: 27, Minor: 40, Root: "/", MountPoint: `/without\source`, MountOptions: []string{"ro"}, OptionalFields: []string{}, FsType: "tmpfs",
			SuperOptions: []string{"rw"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, bad := range []string{"\n", "1 2 0:3 / /x rw\n", "1 2 0:3 / /x rw - nfs4 x\n", "a 2 0:3 / /x rw - nfs4 x rw\n", "1 2 03 / /x rw - nfs4 x rw\n"} {
		if _, err := mount.ParseTable(bad); err == nil {
			t.Errorf("%q is no table", bad)
		}
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add("44 27 0:39 / /a\\040b rw,relatime shared:5 - nfs4 10.0.0.1:/a rw\n")
	f.Add("1 1 0:1 / / rw - tmpfs  rw")
	f.Add("1 1 0:1 \\ \\9 rw - - - -\n\\0")
	f.Fuzz(func(t *testing.T, content string) {
		table, err := mount.ParseTable(content)
		if err != nil && table != nil {
			t.Errorf("both %v and %v", table, err)
		}
	})
}
