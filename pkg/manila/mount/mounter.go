package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"
)

// What went wrong with a mount, for errors.Is.
var (
	// ErrUnsupported says that this node can't mount it: neither its kernel nor its programs.
	ErrUnsupported = errors.New("not supported on this node")
	// ErrHung says that a mount, or the server behind it, does not answer.
	ErrHung = errors.New("does not answer")
	// ErrNotMounted says that nothing is mounted where something should be.
	ErrNotMounted = errors.New("nothing is mounted there")
	// ErrDead says that the file system of a mount has gone: a stale handle, or a fuse daemon that has died.
	ErrDead = errors.New("is dead")
	// ErrOccupied says that something else is mounted there, or the same in another way.
	ErrOccupied = errors.New("something else is mounted there")
	// ErrInUse says that somebody has files of a mount open.
	ErrInUse = errors.New("is in use")
	// ErrNotEmpty says that a path from which all mounts are gone has files of its own.
	ErrNotEmpty = errors.New("is not empty")
	// ErrTarget says that a path can't be a mount point: it is no directory.
	ErrTarget = errors.New("can't be a mount point")
	// ErrDenied says that the server refuses: there is no access rule for this node, or not any more.
	ErrDenied = errors.New("access denied by the server")
)

// Options set up a Mounter.
type Options struct {
	// System is the node; nil means Kernel{}.
	System System
	// Logger gets what is done about dead mounts; nil discards it.
	Logger *slog.Logger
	// Probe bounds a look at a mount; zero means 3 seconds.
	Probe time.Duration
	// Unmount is how long an orderly unmount may take before the mount is detached lazily; zero means 15 seconds.
	Unmount time.Duration
	// Resolver finds the addresses of export hosts; nil means the system's.
	Resolver *net.Resolver
}

// Mounter mounts and unmounts. Its methods are safe for concurrent use; calls for different paths never wait for each other.
type Mounter struct {
	options Options
	calls   bounded
	probes  flights[Usage]
}

// New makes a Mounter.
func New(o Options) *Mounter {
	if o.System == nil {
		o.System = Kernel{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Probe == 0 {
		o.Probe = 3 * time.Second
	}
	if o.Unmount == 0 {
		o.Unmount = 15 * time.Second
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return &Mounter{options: o}
}

// Mounted says whether something is mounted at path. It reads the mount table only, so it can't hang.
func (m *Mounter) Mounted(path string) (bool, error) {
	layers, err := m.layers(path)
	return len(layers) > 0, err
}

// Check looks whether the mount at path answers: nil, ErrNotMounted, ErrHung, ErrDead (with ESTALE, ENOTCONN or their like), or
// what else statfs(2) says.
func (m *Mounter) Check(ctx context.Context, path string) error {
	_, err := m.Usage(ctx, path)
	return err
}

func (m *Mounter) probe(ctx context.Context, path string, top *mountutils.MountInfo) (Usage, error) {
	bound, cancel := context.WithTimeout(ctx, m.options.Probe)
	defer cancel()
	usage, err := m.probes.do(bound, onMount("probe", path, top), func() (Usage, error) { return m.options.System.Probe(path) })
	switch {
	case ctx.Err() != nil:
		return Usage{}, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return Usage{}, fmt.Errorf("the mount at %s %w (for %v)", path, ErrHung, m.options.Probe)
	case errors.Is(err, unix.ETIMEDOUT): // of a mount that is soft
		return Usage{}, fmt.Errorf("the mount at %s: its server %w: %w", path, ErrHung, err)
	case mountutils.IsCorruptedMnt(err), top.FsType == fuseType && errors.Is(err, unix.ECONNABORTED): // the answer to who asks while ceph-fuse dies
		return Usage{}, fmt.Errorf("the mount at %s %w: %w", path, ErrDead, err)
	case err != nil:
		return Usage{}, fmt.Errorf("the mount at %s: %w", path, err)
	}
	return usage, nil
}

// onMount is the key of a call on one mount: the kernel gives a mount's id to no other one while somebody hangs at it.
func onMount(what, path string, top *mountutils.MountInfo) string {
	return fmt.Sprintf("%s %d %s", what, top.ID, path)
}

// ensure makes the directory, takes away a dead mount, and mounts, unless a live mount is there: then check says whether that is
// the right one.
func (m *Mounter) ensure(ctx context.Context, target string, check func(context.Context, *mountutils.MountInfo) error, mount func(context.Context) error) error {
	top, err := m.top(target)
	if err != nil {
		return err
	}
	if top != nil {
		_, err := m.probe(ctx, target, top)
		if err == nil {
			return check(ctx, top)
		}
		if !errors.Is(err, ErrDead) {
			return err
		}
		m.options.Logger.WarnContext(ctx, "replacing a dead mount", slog.String("path", target), slog.Any("error", err))
		if err := m.detach(ctx, target); err != nil {
			return err
		}
	}
	if err := directory(target); err != nil {
		return err
	}
	return mount(ctx)
}

// directory makes a mount point. A symbolic link would lead mount(2) to a place where no unmount of target finds the mount again.
func directory(target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return fmt.Errorf("the mount point: %w", err)
	}
	if err := os.Mkdir(target, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the mount point: %w", err)
	}
	info, err := os.Lstat(target)
	if err != nil {
		return fmt.Errorf("the mount point: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s %w: it is no directory (%s)", target, ErrTarget, info.Mode().Type())
	}
	return nil
}

// holds says whether a mount is one of a share: of one of the types, and of a source that ends in one of the paths in the share's
// file system. A ceph-fuse that another driver has started, or an earlier version of this one, does not tell its path.
func holds(top *mountutils.MountInfo, types, paths []string) error {
	if !slices.Contains(types, top.FsType) {
		return fmt.Errorf("%w: a mount of %s on %s, which is no %s", ErrOccupied, orNone(top.Source), top.MountPoint, strings.Join(types, " or "))
	}
	if top.FsType == fuseType && top.Source == "ceph-fuse" {
		return nil
	}
	for _, path := range paths {
		before, ok := strings.CutSuffix(strings.TrimRight(top.Source, "/"), strings.TrimRight(path, "/"))
		if ok && (strings.HasSuffix(before, ":") || strings.HasSuffix(before, "=")) { // user@fsid.fs=/path is how newer mount.ceph writes it
			return nil
		}
	}
	return fmt.Errorf("%w: %s on %s", ErrOccupied, orNone(top.Source), top.MountPoint)
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// timeUp says whether the time of a call was up. The deadline of a gRPC client mostly comes as a cancellation: at its end the client resets
// the stream, and that is here before the server's own timer ends.
func timeUp(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// call runs one mount(2) at target, bounded by ctx. A second caller of a target joins the first; but who remounts what is there does
// not join who mounts it.
func (m *Mounter) call(ctx context.Context, source, target, fstype string, flags uintptr, data string) error {
	key := "mount " + target
	if flags&unix.MS_REMOUNT != 0 {
		key = "remount " + target
	}
	err := m.calls.do(ctx, key, func() error { return m.options.System.Mount(source, target, fstype, flags, data) })
	switch {
	case err == nil:
		return nil
	case timeUp(err):
		return fmt.Errorf("%s: the server %w: %w", source, ErrHung, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: this kernel has no %s file system", ErrUnsupported, fstype)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("mounting %s: %w: %w", source, ErrDenied, err)
	case errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENETUNREACH):
		return fmt.Errorf("mounting %s: the server %w: %w", source, ErrHung, err)
	}
	return fmt.Errorf("mounting %s: %w", source, err)
}

// Bind mounts a staged volume for one pod. A read-only bind of a writable mount is read-only for that pod alone. What protects the
// node from the volume, such as noexec, holds for the bind, too.
func (m *Mounter) Bind(ctx context.Context, source, target string, readOnly bool) error {
	if err := m.Check(ctx, source); err != nil {
		return err
	}
	staged, err := m.top(source)
	if err != nil {
		return err
	}
	if staged == nil {
		return fmt.Errorf("%s: %w", source, ErrNotMounted)
	}
	readOnly = readOnly || slices.Contains(staged.MountOptions, "ro")
	finish := func(ctx context.Context, top *mountutils.MountInfo) error {
		return m.finishBind(ctx, staged, top, target, readOnly)
	}
	return m.ensure(ctx, target, finish, func(ctx context.Context) error {
		if err := m.call(ctx, source, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		top, err := m.top(target)
		if err == nil && top == nil {
			err = fmt.Errorf("%s: %w", target, ErrNotMounted)
		}
		if err == nil { // an unstage may have been faster: then it is the empty directory below that is bound now
			err = finish(ctx, top)
		}
		if err != nil {
			return errors.Join(err, m.Unmount(ctx, target))
		}
		return nil
	})
}

// finishBind makes sure that the mount at target is a bind of what is staged, read-only if that is wanted. The kernel ignores other
// flags with MS_BIND, so that takes a second call (mount(2)); a process that was killed in between has not made it. A pod that
// writes already keeps the kernel from doing so.
func (m *Mounter) finishBind(ctx context.Context, staged, top *mountutils.MountInfo, target string, readOnly bool) error {
	if !sameMount(top, staged) && !sameExport(top, staged) {
		return fmt.Errorf("%w: %s on %s", ErrOccupied, orNone(top.Source), target)
	}
	switch has := slices.Contains(top.MountOptions, "ro"); {
	case has == readOnly:
		return nil
	case has:
		return fmt.Errorf("%w: it is read-only at %s, and writing is wanted", ErrOccupied, target)
	}
	err := m.call(ctx, "", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|inherited(staged.MountOptions), "")
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: it is writable at %s and in use, and read-only is wanted: %w", ErrOccupied, target, err)
	}
	return err
}

// sameExport says whether a mount is one of the same NFS export with other options, so that it has a superblock of its own: drivers that
// stage nothing mount like that for each pod, and their pods go on to run under this one.
func sameExport(a, b *mountutils.MountInfo) bool {
	isNFS := func(e *mountutils.MountInfo) bool { return e.FsType == "nfs" || e.FsType == "nfs4" }
	path := func(e *mountutils.MountInfo) string {
		_, path, _ := strings.Cut(e.Source, ":/")
		return strings.TrimRight(path, "/")
	}
	return isNFS(a) && isNFS(b) && path(a) == path(b) && a.Root == b.Root
}

// maxLayers is how many mounts on top of each other are taken away in one call.
const maxLayers = 32

// Unmount takes away everything that is mounted at target, and the empty directory. What is not there is no error. An unmount
// that takes longer than its bound, because the server is dead, is made lazy: the path is free at once, the kernel lets go
// of the rest when it can.
func (m *Mounter) Unmount(ctx context.Context, target string) error {
	for n := 0; ; n++ {
		top, err := m.top(target)
		if err != nil {
			return err
		}
		if top == nil {
			break
		}
		if n == maxLayers {
			return fmt.Errorf("%s is still mounted after %d unmounts", target, n)
		}
		if err := m.unmountOne(ctx, target, top); err != nil {
			return err
		}
	}
	switch err := unix.Rmdir(target); { // a file or a link is not of our making
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%s %w: it is no directory", target, ErrTarget)
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("nothing is mounted at %s any more, and the directory %w: somebody wrote into it while nothing was; move those files away", target, ErrNotEmpty)
	case errors.Is(err, unix.EBUSY): // in the mount namespace of another process
		return fmt.Errorf("the mount point %s %w: %w", target, ErrInUse, err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the mount point %s: %w", target, err)
	}
	return nil
}

func (m *Mounter) unmountOne(ctx context.Context, target string, top *mountutils.MountInfo) error {
	bound, cancel := context.WithTimeout(ctx, m.options.Unmount)
	defer cancel()
	err := m.calls.do(bound, onMount("unmount", target, top), func() error { return m.options.System.Unmount(target, unix.UMOUNT_NOFOLLOW) })
	switch {
	case err == nil, errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // the latter: somebody else was faster
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, unix.EBUSY):
		// Who hangs in a mount keeps it busy, a probe of ours for one: there is no use in waiting for that.
		if _, probed := m.probe(ctx, target, top); !errors.Is(probed, ErrHung) && !errors.Is(probed, ErrDead) {
			return fmt.Errorf("unmounting %s: it %w: %w", target, ErrInUse, err)
		}
	}
	m.options.Logger.WarnContext(ctx, "detaching a mount that can't be unmounted in order", slog.String("path", target), slog.Any("error", err))
	return m.detach(ctx, target)
}

func (m *Mounter) detach(ctx context.Context, target string) error {
	bound, cancel := context.WithTimeout(ctx, m.options.Unmount)
	defer cancel()
	err := m.calls.do(bound, "detach "+target, func() error { return m.options.System.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) })
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("detaching %s: %w", target, err)
	}
	return nil
}

// layers are the mounts at exactly this path. The kernel's table has real paths, and a look at the last element of ours could
// hang on a dead mount, so only the directory it is in is resolved.
func (m *Mounter) layers(path string) ([]mountutils.MountInfo, error) {
	path, canonical := filepath.Clean(path), resolved(path)
	table, err := m.options.System.Table()
	if err != nil {
		return nil, fmt.Errorf("the mount table: %w", err)
	}
	var found []mountutils.MountInfo
	for _, entry := range table {
		if entry.MountPoint == path || entry.MountPoint == canonical {
			found = append(found, entry)
		}
	}
	return found, nil
}

// top is the mount that is seen at a path; nil when there is none.
func (m *Mounter) top(path string) (*mountutils.MountInfo, error) {
	layers, err := m.layers(path)
	if err != nil || len(layers) == 0 {
		return nil, err
	}
	return &layers[len(layers)-1], nil
}

// isErrno says whether err holds one of the numbers.
func isErrno(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}
