package mount

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"

	"mooring/pkg/poll"
)

// CephMounter is which client mounts CephFS.
type CephMounter string

// The clients. CephAuto takes the kernel's, and ceph-fuse where the kernel has none.
const (
	CephAuto   CephMounter = ""
	CephKernel CephMounter = "kernel"
	CephFuse   CephMounter = "fuse"
)

// CephFS is a CephFS share to mount.
type CephFS struct {
	Export  CephExport
	User    string // cephx id, without "client."
	Key     string // its key: a secret
	FS      string // name of the file system; empty is the cluster's default one
	Mounter CephMounter
	// KernelOptions and FuseOptions are vetted ones (KindCephKernel, KindCephFuse).
	KernelOptions, FuseOptions []string
	ReadOnly                   bool
}

// LogValue keeps the key out of logs.
func (v CephFS) LogValue() slog.Value {
	return slog.GroupValue(slog.String("export", v.Export.String()), slog.String("user", v.User), slog.String("mounter", string(v.Mounter)))
}

// MountCephFS mounts a CephFS share at target, unless it is mounted there already. Who joins another caller's ceph-fuse is told that Ceph
// does not answer (ErrHung) when the other one's deadline has passed, and starts anew when the other one was cancelled: it may have given up
// early, which says nothing about Ceph.
func (m *Mounter) MountCephFS(ctx context.Context, target string, v CephFS) error {
	if err := errors.Join(checkCephx(v.User, v.Key), checkFS(v.FS)); err != nil {
		return err
	}
	check := func(_ context.Context, top *mountutils.MountInfo) error {
		return holds(top, []string{"ceph", fuseType}, []string{v.Export.Path})
	}
	for {
		err := m.ensure(ctx, target, check, func(ctx context.Context) error { return m.mountCeph(ctx, target, v) })
		if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
			return err
		}
	}
}

func (m *Mounter) mountCeph(ctx context.Context, target string, v CephFS) error {
	if v.Mounter == CephFuse {
		return m.mountCephFuse(ctx, target, v)
	}
	err := m.mountCephKernel(ctx, target, v)
	if v.Mounter != CephAuto || !errors.Is(err, ErrUnsupported) {
		return err
	}
	if hasContext(v.KernelOptions) {
		return fmt.Errorf("%w, and ceph-fuse can't mount with an SELinux context", err)
	}
	m.options.Logger.DebugContext(ctx, "this kernel has no ceph client: using ceph-fuse", slog.String("path", target))
	fuse := m.mountCephFuse(ctx, target, v)
	if errors.Is(fuse, ErrUnsupported) {
		return errors.Join(err, fuse)
	}
	return fuse
}

// checkCephx looks for what would break out of the option string or the keyring.
func checkCephx(user, key string) error {
	if user == "" || strings.ContainsFunc(user, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(",=[]#;\\\"'", r) }) {
		return fmt.Errorf("%w: %q is no cephx user", ErrOption, user)
	}
	if _, err := base64.StdEncoding.DecodeString(key); err != nil || key == "" {
		return fmt.Errorf("%w: the key of cephx user %q is no base64 text", ErrOption, user)
	}
	return nil
}

// checkFS takes the names that Ceph gives file systems (src/mon/FSCommands.cc), and an empty one.
func checkFS(name string) error {
	if strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(hostCharacters+".", r) }) {
		return fmt.Errorf("%w: %q is no name of a CephFS file system", ErrOption, name)
	}
	return nil
}

func (m *Mounter) mountCephKernel(ctx context.Context, target string, v CephFS) error {
	flags, data := split(v.KernelOptions)
	if v.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	if v.FS != "" {
		data = append(data, "mds_namespace="+v.FS)
	}
	data = append(data, "name="+v.User, "secret="+v.Key)
	return m.call(ctx, v.Export.String(), target, "ceph", flags, strings.Join(data, ","))
}

// fuseHasNo are options that libfuse 3 refuses to hear, because it does them anyway or can't.
func fuseHasNo() []string {
	return []string{"nonempty", "big_writes", "defaults", "_netdev", "rw", "relatime", "norelatime", "strictatime", "lazytime"}
}

// fuseType is the type of a ceph-fuse mount in the mount table.
const fuseType = "fuse.ceph-fuse"

// fuseName is the source that a ceph-fuse mount of a path has in the mount table. By itself ceph-fuse says "ceph-fuse" for every share.
func fuseName(path string) string { return "ceph-fuse:" + path }

// fuseOptions are the arguments for a share's options: settings of Ceph's client, and options of FUSE. libfuse reads a backslash before
// a character as that character, and leaves out the subtype by itself when there is an fsname.
func fuseOptions(v CephFS) (args []string) {
	fuse := []string{"fsname=" + strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(fuseName(v.Export.Path)), "subtype=ceph-fuse"}
	for _, o := range v.FuseOptions {
		switch {
		case strings.HasPrefix(o, "client_"):
			args = append(args, "--"+o)
		case slices.Contains(fuseHasNo(), o), strings.HasPrefix(o, "fsname="), strings.HasPrefix(o, "subtype="):
		default:
			fuse = append(fuse, o)
		}
	}
	if v.ReadOnly {
		fuse = append(fuse, "ro")
	}
	return append(args, "-o", strings.Join(fuse, ","))
}

func (m *Mounter) mountCephFuse(ctx context.Context, target string, v CephFS) error {
	// It writes nothing outside of the mount: on a root that is read-only it would abort for want of its run-dir.
	args := []string{target, "-m", strings.Join(v.Export.Monitors, ","), "-r", v.Export.Path, "--log-file=" + "/dev/null", "--admin-socket=", "--run-dir="}
	if v.FS != "" {
		args = append(args, "--client_fs="+v.FS)
	}
	// Without a bound of its own ceph-fuse tries for five minutes.
	bound := 60 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		bound = min(bound, time.Until(deadline))
	}
	args = append(args, fmt.Sprintf("--client_mount_timeout=%d", int(math.Max(1, bound.Seconds()))))
	args = append(args, fuseOptions(v)...)
	err := m.calls.do(ctx, "mount "+target, func() error { return m.runCephFuse(ctx, target, v, args) })
	switch {
	case err == nil:
		return nil
	case timeUp(err), strings.Contains(err.Error(), "failed to fetch mon config"), strings.Contains(err.Error(), "timed out"):
		return fmt.Errorf("%s: Ceph %w: %w", v.Export, ErrHung, err)
	case strings.Contains(err.Error(), "Permission denied") || strings.Contains(err.Error(), "Operation not permitted"):
		return fmt.Errorf("mounting %s: %w: %w", v.Export, ErrDenied, err)
	}
	return fmt.Errorf("mounting %s: %w", v.Export, err)
}

// runCephFuse starts ceph-fuse, and waits until what it has mounted answers. If that does not come to pass before it ends or ctx does, it
// is killed, with what it may have started.
func (m *Mounter) runCephFuse(ctx context.Context, target string, v CephFS, args []string) error {
	before, err := m.layers(target)
	if err != nil {
		return err
	}
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	serves := make(chan *mountutils.MountInfo, 1)
	kill, err := m.options.System.CephFuse(ctx, v.User, v.Key, args, func(err error) {
		end(err)
		if served := <-serves; served != nil {
			m.tellEnd(context.WithoutCancel(ctx), target, served, err)
		}
	})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, kill)
	served, err := m.comesUp(life, target, len(before))
	if !stop() {
		served = nil
	}
	serves <- served
	if served != nil {
		return nil
	}
	kill()
	words, cancel := context.WithTimeout(life, time.Second) // one that the kernel keeps may take long
	defer cancel()
	<-words.Done()
	return errors.Join(ctx.Err(), err, context.Cause(life))
}

// comesUp waits until there are more mounts at target than before, and they answer; or until the life of the program that mounts ends:
// then there is none to give.
func (m *Mounter) comesUp(life context.Context, target string, before int) (*mountutils.MountInfo, error) {
	if top, err := m.appears(life, target, before); top == nil {
		return nil, err
	}
	// Until it answers, it may still find out that it can't work; and should it hang, it is killed.
	if _, err := m.options.System.Probe(target); err != nil {
		return nil, err
	}
	// A program that can't work unmounts: then it was the directory below that has answered.
	return m.appears(life, target, before)
}

// appears asks ever less often: the mount table of a large node takes milliseconds to read.
func (m *Mounter) appears(life context.Context, target string, before int) (*mountutils.MountInfo, error) {
	pause := poll.Backoff{First: 20 * time.Millisecond, Factor: 1.5, Max: 250 * time.Millisecond}
	for n := 0; ; n++ {
		now, err := m.layers(target)
		switch {
		case err != nil || life.Err() != nil:
			return nil, err
		case len(now) > before:
			return &now[len(now)-1], nil
		}
		_ = poll.Sleep(life, pause.Wait(n)) // which the end of life cuts short
	}
}
