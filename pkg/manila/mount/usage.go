package mount

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Usage is how full a file system is.
type Usage struct {
	Bytes Amount
	// Inodes is zero where the file system does not count them: CephFS, and some NFS servers.
	Inodes Amount
}

// Amount is a part of Usage. What is available may be less than what is not used, as some may be kept for root.
type Amount struct{ Total, Used, Available int64 }

// Usage looks how full the mount at path is. It never takes longer than a probe may, and joins one that runs. The errors are those of
// Check.
func (m *Mounter) Usage(ctx context.Context, path string) (Usage, error) {
	top, err := m.top(path)
	if err != nil {
		return Usage{}, err
	}
	if top == nil {
		return Usage{}, fmt.Errorf("%s: %w", path, ErrNotMounted)
	}
	return m.probe(ctx, path, top)
}

// usageOf reads an answer of statfs(2). Blocks are counted in fragments, if the file system has any (statvfs(3)).
func usageOf(s *unix.Statfs_t) Usage {
	unit := uint64(max(0, s.Bsize))
	if s.Frsize > 0 {
		unit = uint64(s.Frsize)
	}
	u := Usage{Bytes: amount(s.Blocks, s.Bfree, s.Bavail, unit)}
	if s.Files > 0 && s.Ffree <= s.Files { // CephFS answers with the number of its objects, and that 2^64-1 are free
		u.Inodes = amount(s.Files, s.Ffree, s.Ffree, 1)
	}
	return u
}

// amount makes numbers that CSI takes: none is negative, whatever a server says.
func amount(total, free, available, unit uint64) Amount {
	free = min(free, total)
	return Amount{Total: times(total, unit), Used: times(total-free, unit), Available: times(min(available, total), unit)}
}

func times(n, unit uint64) int64 {
	if unit > 0 && n > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return int64(n * unit) //nolint:gosec // it fits, see above
}
