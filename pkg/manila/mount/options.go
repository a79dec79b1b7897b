package mount

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrOption says that a mount option is unknown, dangerous or malformed.
var ErrOption = errors.New("mount option not allowed")

// Kind is a way to mount, each with its own options.
type Kind string

// The ways to mount.
const (
	KindNFS        Kind = "NFS"
	KindCephKernel Kind = "CephFS by the kernel"
	KindCephFuse   Kind = "ceph-fuse"
)

// Vet checks options of a kind, given one by one or as comma lists, and returns them one by one. The error names every one
// that is refused.
func Vet(kind Kind, options ...string) ([]string, error) {
	var out []string
	var errs []error
	for _, list := range options {
		for _, option := range elements(list) {
			option, err := vetOne(kind, option)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out = append(out, option)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

func vetOne(kind Kind, option string) (string, error) {
	if value, ok := strings.CutPrefix(option, "context="); ok {
		return vetContext(kind, value)
	}
	return option, vetPlain(kind, option)
}

func vetPlain(kind Kind, option string) error {
	name, value, hasValue := strings.Cut(option, "=")
	if strings.ContainsFunc(option, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' || r == '"' || r == '\'' }) {
		return fmt.Errorf("%w: %q: spaces, quotes, backslashes and non-ASCII characters are refused", ErrOption, option)
	}
	if strings.Contains(name, "-") { // to ceph-fuse client_mount-uid is client_mount_uid
		return fmt.Errorf("%w: %q is no known option of %s: no name has a hyphen", ErrOption, name, kind)
	}
	if _, ok := flagOptions()[name]; ok && !hasValue {
		return nil
	}
	if reason, ok := reserved(kind)[name]; ok {
		return fmt.Errorf("%w: %q: %s", ErrOption, name, reason)
	}
	takesValue, ok := known(kind)[name]
	if !ok && kind == KindCephFuse && strings.HasPrefix(name, "client_") && hasValue {
		takesValue, ok = true, true // Ceph's own client settings
	}
	return checkForm(kind, name, value, ok, takesValue, hasValue)
}

func checkForm(kind Kind, name, value string, ok, takesValue, hasValue bool) error {
	switch {
	case !ok:
		return fmt.Errorf("%w: %q is no known option of %s; known are %s", ErrOption, name, kind, strings.Join(names(kind), " "))
	case takesValue && value == "":
		return fmt.Errorf("%w: %q needs a value", ErrOption, name)
	case !takesValue && hasValue:
		return fmt.Errorf("%w: %q takes no value", ErrOption, name)
	case kind == KindNFS:
		return checkNFSValue(name, value)
	}
	return nil
}

// flag is what an option does to the flags of mount(2).
type flag struct{ set, clear uintptr }

// flagOptions are the options of mount(8) that are flags of mount(2), for every file system.
func flagOptions() map[string]flag {
	return map[string]flag{
		"ro": {set: unix.MS_RDONLY}, "rw": {clear: unix.MS_RDONLY},
		"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
		"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID},
		"nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
		"noatime": {set: unix.MS_NOATIME}, "atime": {clear: unix.MS_NOATIME},
		"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
		"relatime": {set: unix.MS_RELATIME}, "norelatime": {clear: unix.MS_RELATIME},
		"strictatime": {set: unix.MS_STRICTATIME}, "lazytime": {set: unix.MS_LAZYTIME},
		"sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS}, "dirsync": {set: unix.MS_DIRSYNC},
		"defaults": {}, "_netdev": {},
	}
}

// known are the file system's own options, with whether they take a value.
func known(kind Kind) map[string]bool {
	switch kind {
	case KindNFS: // nfs(5)
		return map[string]bool{
			"vers": true, "nfsvers": true, "minorversion": true, "proto": true, "port": true, "rsize": true, "wsize": true, "timeo": true,
			"retrans": true, "acregmin": true, "acregmax": true, "acdirmin": true, "acdirmax": true, "actimeo": true, "sec": true,
			"lookupcache": true, "nconnect": true, "max_connect": true, "local_lock": true, "xprtsec": true, "write": true, "trunkdiscovery": false,
			"soft": false, "softerr": false, "hard": false, "intr": false, "nointr": false, "ac": false, "noac": false, "cto": false, "nocto": false,
			"mountport": true, "sharecache": false, "nosharecache": false, "resvport": false, "noresvport": false, "lock": false, "nolock": false, "acl": false,
			"noacl": false, "rdirplus": false, "nordirplus": false, "softreval": false, "nosoftreval": false, "fsc": false, "nofsc": false,
			"migration": false, "nomigration": false, "fg": false, "tcp": false,
		}
	case KindCephKernel: // fs/ceph/super.c, net/ceph/ceph_common.c
		return map[string]bool{
			"mount_timeout": true, "osd_idle_ttl": true, "osdkeepalive": true, "osd_request_timeout": true, "read_from_replica": true,
			"crush_location": true, "ms_mode": true, "wsize": true, "rsize": true, "rasize": true, "caps_max": true, "caps_wanted_delay_min": true,
			"caps_wanted_delay_max": true, "readdir_max_entries": true, "readdir_max_bytes": true, "congestion_kb": true, "snapdirname": true,
			"recover_session": true, "dirstat": false, "nodirstat": false, "rbytes": false, "norbytes": false, "asyncreaddir": false,
			"noasyncreaddir": false, "dcache": false, "nodcache": false, "ino32": false, "noino32": false, "fsc": false, "nofsc": false,
			"poolperm": false, "nopoolperm": false, "require_active_mds": false, "norequire_active_mds": false, "quotadf": false, "noquotadf": false,
			"copyfrom": false, "nocopyfrom": false, "wsync": false, "nowsync": false, "acl": false, "noacl": false, "crc": false, "nocrc": false,
			"tcp_nodelay": false, "notcp_nodelay": false, "share": false, "noshare": false, "abort_on_full": false,
		}
	default: // mount.fuse3(8); Ceph's client_… settings are let through by name
		return map[string]bool{
			"allow_other": false, "default_permissions": false, "kernel_cache": false, "auto_cache": false, "nonempty": false, "big_writes": false,
			"max_read": true, "max_write": true, "max_background": true, "congestion_threshold": true, "entry_timeout": true, "attr_timeout": true,
			"fsname": true, "subtype": true, // they are taken, and have no effect: fsname names the share (fuseName)
		}
	}
}

// reserved are the options that the driver sets itself, or that would give somebody else's rights; with the reason.
func reserved(kind Kind) map[string]string {
	const own = "the driver sets it"
	switch kind {
	case KindNFS:
		return map[string]string{
			"addr": own, "clientaddr": own, "mountaddr": own, "mounthost": own, "retry": "it belongs to mount.nfs, which is not used",
			"bg": "a mount in the background can't be waited for", "udp": "NFS 4 has no UDP, and NFS 3 can lose data over it",
		}
	case KindCephKernel:
		return map[string]string{
			"name": own, "secret": own, "secretfile": own, "key": own, "mon_addr": own, "fsid": own, "fs": own, "mds_namespace": own, "ip": own, "conf": own,
		}
	default:
		return map[string]string{
			"client_mountpoint": own, "client_mds_namespace": own, "client_fs": own, "client_mount_timeout": own, "client_keyring": own,
			"client_trace":     "it writes to any file of the node",
			"client_mount_uid": "it gives another user's rights", "client_mount_gid": "it gives another user's rights",
		}
	}
}

func names(kind Kind) []string {
	all := slices.Collect(maps.Keys(known(kind)))
	all = slices.AppendSeq(all, maps.Keys(flagOptions()))
	slices.Sort(all)
	return all
}

// Generic returns those of vetted options that every file system knows, such as noexec.
func Generic(options []string) (out []string) {
	for _, o := range options {
		if _, ok := flagOptions()[o]; ok {
			out = append(out, o)
		}
	}
	return out
}

// split sorts vetted options into the flags of mount(2) and what goes into its data.
func split(options []string) (flags uintptr, data []string) {
	for _, o := range options {
		if f, ok := flagOptions()[o]; ok {
			flags = flags&^f.clear | f.set
			continue
		}
		data = append(data, o)
	}
	return flags, data
}
