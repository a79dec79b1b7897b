package mount

import (
	"context"
	"errors"

	mountutils "k8s.io/mount-utils"
)

// ErrExited is the end of a ceph-fuse that exited with status 0: unmounted, or asked to end.
var ErrExited = errors.New("it ended")

// System is what a node does for this package. Kernel is the real one; tests without root use mounttest.
type System interface {
	// Mount is mount(2).
	Mount(source, target, fstype string, flags uintptr, data string) error
	// Unmount is umount2(2).
	Unmount(target string, flags int) error
	// Table is the mount table of this mount namespace, the oldest mount first.
	Table() ([]mountutils.MountInfo, error)
	// Probe asks the file system at path how full it is, which a dead one can't answer. It may hang.
	Probe(path string) (Usage, error)
	// CephFuse starts ceph-fuse, which mounts at the first of args and serves the mount until it is unmounted, or kill is called, whatever
	// becomes of ctx. Then ended is told, once, with what it ended, which may be ErrExited, and its last words. key is the cephx key of
	// the user.
	CephFuse(ctx context.Context, user, key string, args []string, ended func(error)) (kill func(), err error)
}
