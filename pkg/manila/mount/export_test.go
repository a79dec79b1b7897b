package mount_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/manila/mount"
)

func TestParseNFS(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]mount.NFSExport{
		"10.0.0.1:/volumes/x":           {Host: "10.0.0.1", Path: "/volumes/x"},
		"nfs-1.example.org:/a b":        {Host: "nfs-1.example.org", Path: "/a b"},
		"[fd00::1]:/volumes/_nogroup/x": {Host: "fd00::1", Path: "/volumes/_nogroup/x"},
		"fd00::1:/x":                    {Host: "fd00::1", Path: "/x"},
		"host:/":                        {Host: "host", Path: "/"},
		"host:/a:/b":                    {Host: "host", Path: "/a:/b"},
	} {
		got, err := mount.ParseNFS(location)
		if err != nil || got != want {
			t.Errorf("ParseNFS(%q) = %+v, %v; want %+v", location, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "host", "host:path", ":/x", "[fd00::1:/x", "[10.0.0.1]:/x", "[host]:/x", "ho st:/x", "-h:/x", "h:/a\nb", "h:/../etc", "a,b:/x", "h:/" + strings.Repeat("x", 2000),
	} {
		if got, err := mount.ParseNFS(bad); !errors.Is(err, mount.ErrExport) {
			t.Errorf("ParseNFS(%q) = %+v, %v; want ErrExport", bad, got, err)
		}
	}
}

func TestParseCephFS(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]mount.CephExport{
		"10.77.0.1:6789:/volumes/_nogroup/a/b":    {Monitors: []string{"10.77.0.1:6789"}, Path: "/volumes/_nogroup/a/b"},
		"mon1:6789,mon2:3300:/x":                  {Monitors: []string{"mon1:6789", "mon2:3300"}, Path: "/x"},
		"[fd00::1]:6789,[fd00::2]:6789:/x":        {Monitors: []string{"[fd00::1]:6789", "[fd00::2]:6789"}, Path: "/x"},
		"mon1,[fd00::2]:/x":                       {Monitors: []string{"mon1:6789", "[fd00::2]:6789"}, Path: "/x"},
		"a.example.org:6789,b.example.org:6789:/": {Monitors: []string{"a.example.org:6789", "b.example.org:6789"}, Path: "/"},
	} {
		got, err := mount.ParseCephFS(location)
		if err != nil {
			t.Errorf("ParseCephFS(%q): %v", location, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ParseCephFS(%q) (-want +got):\n%s", location, diff)
		}
	}
	for _, bad := range []string{"", "mon", "mon:6789", ",:/x", "mon:0:/x", "mon:65536:/x", "mon:x:/x", "mon:6789,:/x", "mo n:6789:/x", "mon:6789:/a/../b"} {
		if got, err := mount.ParseCephFS(bad); !errors.Is(err, mount.ErrExport) {
			t.Errorf("ParseCephFS(%q) = %+v, %v; want ErrExport", bad, got, err)
		}
	}
}

// FuzzExports: no input panics, and what is understood is written back in a form that means the same.
func FuzzExports(f *testing.F) {
	for _, seed := range []string{
		"10.254.0.31:/volumes/_nogroup/a/b", "[fd00::1]:/x", "mon1:6789,mon2:6789:/volumes/_nogroup/a/b", "[fd00::1]:6789,[fd00::2]:6789:/x", "::/", "[:/", ",:/", "a:/\x00", "[v2:10.0.0.1:3300/0]:/x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := mount.ParseNFS(s); err == nil {
			again, err := mount.ParseNFS(e.String())
			if err != nil || again != e {
				t.Fatalf("ParseNFS(%q) = %+v, written as %q, read as %+v, %v", s, e, e.String(), again, err)
			}
		}
		if e, err := mount.ParseCephFS(s); err == nil {
			again, err := mount.ParseCephFS(e.String())
			if err != nil || !cmp.Equal(again, e) {
				t.Fatalf("ParseCephFS(%q) = %+v, written as %q, read as %+v, %v", s, e, e.String(), again, err)
			}
		}
	})
}
