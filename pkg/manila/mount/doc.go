// Package mount mounts Manila's shares on a node: NFS and CephFS by mount(2), without helper programs, and CephFS by ceph-fuse
// where the kernel has no ceph client.
//
// Three things are different from a call of mount(8). Nothing here can hang the caller: mounts, unmounts and looks at a mount
// run on a goroutine of their own, the caller waits no longer than its context allows, and the next caller joins what still
// runs, so a dead server costs one stuck thread per mount and not one per try. Everything can be repeated: what is mounted
// already is left alone, a dead mount is replaced. And options are vetted: a name that is not on the list never reaches the
// kernel, because the options that the driver sets itself (addresses, user, key) stand in the same string.
//
// What the kernel takes is described in nfs(5), mount.ceph(8) and fs/ceph/super.c; export locations follow Manila's drivers
// (manila/share/drivers/cephfs/driver.py for CephFS).
package mount
