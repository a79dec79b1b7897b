// Package mounttest has a node whose mounts are entries of a table: what tests without root put below the real code.
package mounttest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"

	"mooring/pkg/manila/mount"
)

// Call is one call that reached the node. A cephx key in Data or in Args is replaced.
type Call struct {
	Name, Source, Target, FSType, Data string
	Flags                              uintptr
	Args                               []string
}

// System is a node in memory. The zero value mounts everything at once.
type System struct {
	// Fail, if set, decides about every call before it acts; it may block, to play a dead server.
	Fail func(Call) error

	mu    sync.Mutex
	table []mountutils.MountInfo
	calls []Call
}

var _ mount.System = (*System)(nil)

// Calls returns what was called so far.
func (s *System) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Mount adds an entry. Like the kernel it refuses a target that is not there.
func (s *System) Mount(source, target, fstype string, flags uintptr, data string) error {
	if before, _, ok := strings.Cut(data, "secret="); ok {
		data = before + "secret=<hidden>"
	}
	if err := s.note(Call{Name: "mount", Source: source, Target: target, FSType: fstype, Flags: flags, Data: data}); err != nil {
		return err
	}
	if _, err := os.Stat(target); err != nil {
		return unix.ENOENT
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if flags&unix.MS_REMOUNT != 0 {
		return s.remount(target)
	}
	entry := mountutils.MountInfo{Source: source, MountPoint: realPath(target), FsType: fstype, Root: "/", MountOptions: []string{"rw"}, ID: len(s.calls), Minor: len(s.calls)}
	if flags&unix.MS_RDONLY != 0 {
		entry.MountOptions = []string{"ro"}
	}
	if flags&unix.MS_BIND != 0 {
		from := slices.IndexFunc(s.table, func(e mountutils.MountInfo) bool { return e.MountPoint == realPath(source) })
		if from < 0 {
			return unix.EINVAL
		}
		entry.FsType, entry.Source, entry.Minor = s.table[from].FsType, s.table[from].Source, s.table[from].Minor
	}
	s.table = append(s.table, entry)
	return nil
}

func (s *System) remount(target string) error {
	for i, entry := range slices.Backward(s.table) {
		if entry.MountPoint == realPath(target) {
			s.table[i].MountOptions = []string{"ro"}
			return nil
		}
	}
	return unix.EINVAL
}

// Unmount takes away the topmost entry at target.
func (s *System) Unmount(target string, flags int) error {
	if err := s.note(Call{Name: "unmount", Target: target, Flags: uintptr(flags)}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, entry := range slices.Backward(s.table) {
		if entry.MountPoint == realPath(target) {
			s.table = slices.Delete(s.table, i, i+1)
			return nil
		}
	}
	return unix.EINVAL
}

// Table returns the entries.
func (s *System) Table() ([]mountutils.MountInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.table), nil
}

// Probe answers at once unless Fail says otherwise: an empty GiB.
func (s *System) Probe(path string) (mount.Usage, error) {
	const gib = 1 << 30
	return mount.Usage{Bytes: mount.Amount{Total: gib, Available: gib}}, s.note(Call{Name: "probe", Target: path})
}

// CephFuse adds an entry as ceph-fuse does.
func (s *System) CephFuse(_ context.Context, user, _ string, args []string, _ func(error)) (kill func(), err error) {
	if err := s.note(Call{Name: "ceph-fuse", Source: user, Target: args[0], Args: args}); err != nil {
		return nil, err
	}
	source, kind := "ceph-fuse", "fuse.ceph-fuse"
	if _, name, ok := strings.Cut(strings.Join(args, " "), "fsname="); ok { // libfuse leaves out the subtype by itself then
		source, name, _ = strings.Cut(name, ",")
		if kind = "fuse"; strings.HasPrefix(name, "subtype=ceph-fuse") {
			kind = "fuse.ceph-fuse"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = append(s.table, mountutils.MountInfo{Source: source, MountPoint: realPath(args[0]), FsType: kind, Root: "/", Minor: len(s.calls)})
	return func() {}, nil
}

func (s *System) note(c Call) error {
	s.mu.Lock()
	s.calls = append(s.calls, c)
	fail := s.Fail
	s.mu.Unlock()
	if fail != nil {
		return fail(c)
	}
	return nil
}

func realPath(path string) string {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}
