package mount

import (
	"path/filepath"

	mountutils "k8s.io/mount-utils"
)

// Bound lists where a staged mount is bound to. It reads the mount table only, so it can't hang. What was bound to a dead mount, and is
// not bound to the one that came after it, is not listed.
func (m *Mounter) Bound(source string) ([]string, error) {
	staged, err := m.top(source)
	if err != nil || staged == nil {
		return nil, err
	}
	table, err := m.options.System.Table()
	if err != nil {
		return nil, err
	}
	var paths []string
	for i := range table {
		if table[i].MountPoint != staged.MountPoint && sameMount(&table[i], staged) {
			paths = append(paths, table[i].MountPoint)
		}
	}
	return paths, nil
}

// sameMount says whether two entries are of the same directory of the same file system. NFS mounts of one server may share a file system,
// and all say that they are of its root, but not from where they are.
func sameMount(a, b *mountutils.MountInfo) bool {
	return a.Major == b.Major && a.Minor == b.Minor && a.Root == b.Root && a.Source == b.Source
}

// SamePath says whether two paths are the same, as far as can be said without a look at the last elements: those may be dead mounts.
func SamePath(a, b string) bool { return resolved(a) == resolved(b) }

func resolved(path string) string {
	path = filepath.Clean(path)
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}
