package mount

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestUsageOf(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for name, c := range map[string]struct {
		statfs unix.Statfs_t
		want   Usage
	}{
		"ordinary": {
			unix.Statfs_t{Bsize: 4096, Frsize: 4096, Blocks: gib / 4096, Bfree: gib / 8192, Bavail: gib / 16384, Files: 100, Ffree: 30},
			Usage{Bytes: Amount{gib, gib / 2, gib / 4}, Inodes: Amount{100, 70, 30}},
		},
		"NFS: big blocks, small fragments": {
			unix.Statfs_t{Bsize: 1 << 20, Frsize: 4096, Blocks: gib / 4096, Bfree: gib / 4096, Bavail: gib / 4096, Files: 9, Ffree: 9},
			Usage{Bytes: Amount{gib, 0, gib}, Inodes: Amount{9, 0, 9}},
		},
		"CephFS: objects for inodes": {
			unix.Statfs_t{Bsize: 4 << 20, Frsize: 4 << 20, Blocks: 256, Bfree: 255, Bavail: 255, Files: 21, Ffree: math.MaxUint64},
			Usage{Bytes: Amount{gib, 4 << 20, gib - 4<<20}},
		},
		"no fragments":              {unix.Statfs_t{Bsize: 512, Blocks: 2, Bfree: 1, Bavail: 1}, Usage{Bytes: Amount{1024, 512, 512}}},
		"over its quota":            {unix.Statfs_t{Bsize: 1, Blocks: 10, Bfree: math.MaxUint64, Bavail: math.MaxUint64}, Usage{Bytes: Amount{10, 0, 10}}},
		"more than there can be":    {unix.Statfs_t{Bsize: 4096, Blocks: math.MaxUint64}, Usage{Bytes: Amount{Total: math.MaxInt64, Used: math.MaxInt64}}},
		"nothing is known":          {unix.Statfs_t{}, Usage{}},
		"a size that can't be real": {unix.Statfs_t{Bsize: -1, Blocks: 5, Bfree: 5, Bavail: 5}, Usage{}},
	} {
		if diff := cmp.Diff(c.want, usageOf(&c.statfs)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
