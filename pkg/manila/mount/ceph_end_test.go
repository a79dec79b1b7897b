package mount_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"

	"mooring/pkg/logging/logtest"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
)

// mortal is a node whose ceph-fuse ends when the test says so, and on which all file systems have one number, as if it were used again.
type mortal struct {
	mounttest.System

	end  func(error)
	says atomic.Int64 // errno with which every mount answers
	lost atomic.Bool  // nor can the table be read
}

func (m *mortal) CephFuse(ctx context.Context, user, key string, args []string, ended func(error)) (kill func(), err error) {
	m.end = ended
	return m.System.CephFuse(ctx, user, key, args, nil)
}

func (m *mortal) Probe(path string) (mount.Usage, error) {
	if errno := m.says.Load(); errno != 0 {
		return mount.Usage{}, syscall.Errno(errno)
	}
	return m.System.Probe(path)
}

func (m *mortal) Table() ([]mountutils.MountInfo, error) {
	if m.lost.Load() {
		return nil, errors.New("there is no table")
	}
	table, err := m.System.Table()
	for i := range table {
		table[i].Minor = 1
	}
	return table, err
}

// TestEndOfCephFuse: an end that takes a mount from a pod is an error, and names those mounts. Which status it has does not tell: who is
// asked by a signal to end unmounts where it has mounted, but not where that is bound to.
func TestEndOfCephFuse(t *testing.T) {
	t.Parallel()
	killed := errors.New("ceph-fuse: signal: killed: its last words")
	for name, c := range map[string]struct {
		how  error
		do   func(ctx context.Context, m *mount.Mounter, system *mortal, stage, pod string, v mount.CephFS) error
		want []string
		pod  bool // whether the pod's mount is told of
	}{
		"it is killed": {killed, func(_ context.Context, _ *mount.Mounter, system *mortal, _, _ string, _ mount.CephFS) error {
			system.says.Store(int64(unix.ENOTCONN))
			return nil
		}, []string{"level=ERROR", `its last words`, "delete the pods", " dead="}, true},
		"it is killed while somebody looks at the mount": {killed, func(_ context.Context, _ *mount.Mounter, system *mortal, _, _ string, _ mount.CephFS) error {
			system.says.Store(int64(unix.ECONNABORTED))
			return nil
		}, []string{"level=ERROR", `its last words`, "delete the pods", " dead="}, true},
		"it is killed, and its mounts do not answer": {killed, func(_ context.Context, _ *mount.Mounter, system *mortal, _, _ string, _ mount.CephFS) error {
			system.says.Store(int64(unix.ETIMEDOUT))
			return nil
		}, []string{"level=ERROR", `its last words`, "can't be seen", " unknown="}, true},
		"it is asked to end": {mount.ErrExited, func(_ context.Context, _ *mount.Mounter, system *mortal, stage, _ string, _ mount.CephFS) error {
			system.says.Store(int64(unix.ENOTCONN))
			return system.Unmount(stage, unix.MNT_DETACH)
		}, []string{"level=ERROR", "delete the pods"}, true},
		"the mount table can't be read": {killed, func(_ context.Context, _ *mount.Mounter, system *mortal, _, _ string, _ mount.CephFS) error {
			system.lost.Store(true)
			return nil
		}, []string{"level=ERROR", "its last words", "there is no table"}, false},
		"it is unmounted": {mount.ErrExited, func(ctx context.Context, m *mount.Mounter, _ *mortal, stage, pod string, _ mount.CephFS) error {
			return errors.Join(m.Unmount(ctx, pod), m.Unmount(ctx, stage))
		}, []string{"level=INFO"}, false},
		"it is unmounted, and crashes over it": {killed, func(ctx context.Context, m *mount.Mounter, _ *mortal, stage, pod string, _ mount.CephFS) error {
			return errors.Join(m.Unmount(ctx, pod), m.Unmount(ctx, stage))
		}, []string{"level=WARN", "its last words", "may be lost"}, false},
		"it is unmounted, and the share mounted again meanwhile": {mount.ErrExited, func(ctx context.Context, m *mount.Mounter, system *mortal, stage, pod string, v mount.CephFS) error {
			end := system.end
			defer func() { system.end = end }()
			return errors.Join(m.Unmount(ctx, pod), m.Unmount(ctx, stage), m.MountCephFS(ctx, stage, v), m.Bind(ctx, stage, pod, false))
		}, []string{"level=INFO"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			system, log := &mortal{}, &logtest.Buffer{}
			m := mount.New(mount.Options{System: system, Logger: slog.New(slog.NewTextHandler(log, nil))})
			dir := t.TempDir()
			stage, pod := filepath.Join(dir, "stage"), filepath.Join(dir, "pod")
			v := ceph()
			v.Mounter = mount.CephFuse
			ctx, cancel := context.WithCancel(t.Context())
			err := m.MountCephFS(ctx, stage, v)
			cancel() // the call in which it was mounted is long over
			if err := errors.Join(err, m.Bind(t.Context(), stage, pod, false), c.do(t.Context(), m, system, stage, pod, v)); err != nil {
				t.Fatal(err)
			}
			system.end(c.how)
			text := log.String()
			for _, want := range append(c.want, "path="+stage) {
				if strings.Count(text, "level=") != 1 || !strings.Contains(text, want) {
					t.Errorf("want one line with %q, and got\n%s", want, text)
				}
			}
			if strings.Contains(text, pod) != c.pod {
				t.Errorf("of the pod's mount it says\n%s", text)
			}
		})
	}
}

// TestEndOfCephFuseOnTheKernel: what a kernel has left in its mount table when we hear of the end.
func TestEndOfCephFuseOnTheKernel(t *testing.T) {
	t.Parallel()
	system, log := mounttest.NewFuse(t), &logtest.Buffer{}
	m := mount.New(mount.Options{System: system, Logger: slog.New(slog.NewTextHandler(log, nil))})
	dir := t.TempDir()
	v := ceph()
	v.Mounter = mount.CephFuse
	for name, c := range map[string]struct {
		end  func(stage, pod string) error
		want string
	}{
		"killed": {func(_, _ string) error { system.Kill(); return nil }, "level=ERROR"},
		"unmounted": {func(stage, pod string) error {
			return errors.Join(m.Unmount(t.Context(), pod), m.Unmount(t.Context(), stage))
		}, "level=INFO"},
	} {
		stage, pod := filepath.Join(dir, name), filepath.Join(dir, name+"-pod")
		t.Cleanup(func() {
			_ = unix.Unmount(pod, unix.MNT_DETACH)
			_ = unix.Unmount(stage, unix.MNT_DETACH)
		})
		if err := errors.Join(m.MountCephFS(t.Context(), stage, v), m.Bind(t.Context(), stage, pod, false), c.end(stage, pod)); err != nil {
			t.Fatal(err)
		}
		until(t, name, func() bool { return strings.Contains(log.String(), "path="+stage) })
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "path="+stage) && (!strings.Contains(line, c.want) || strings.Contains(line, pod) != (name == "killed")) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}

// TestEndOfCephFuseUnderALook: on a real kernel, who looks at a mount when its ceph-fuse dies is told that it is dead, as those who look
// later are.
func TestEndOfCephFuseUnderALook(t *testing.T) {
	t.Parallel()
	var holds atomic.Bool
	asked, answer := make(chan struct{}), make(chan struct{})
	system := mounttest.NewFuse(t)
	system.Statfs = func() {
		if holds.Swap(false) {
			close(asked)
			<-answer
		}
	}
	m := mount.New(mount.Options{System: system, Probe: time.Minute})
	target := filepath.Join(t.TempDir(), "stage")
	v := ceph()
	v.Mounter = mount.CephFuse
	if err := m.MountCephFS(t.Context(), target, v); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(target, unix.MNT_DETACH) //nolint:errcheck // it is dead
	holds.Store(true)
	look := make(chan error, 1)
	go func() { look <- m.Check(t.Context(), target) }()
	select {
	case <-asked:
	case err := <-look:
		t.Fatalf("the look did not come to the file system: %v", err)
	}
	var kill sync.WaitGroup
	kill.Go(system.Kill)
	err := <-look
	close(answer)
	kill.Wait()
	if later := m.Check(t.Context(), target); !errors.Is(err, mount.ErrDead) || !errors.Is(later, mount.ErrDead) {
		t.Errorf("under the look: %v; later: %v", err, later)
	}
}

// idle is a node whose ceph-fuse mounts nothing until it is killed.
type idle struct{ mounttest.System }

func (*idle) CephFuse(_ context.Context, _, _ string, _ []string, ended func(error)) (kill func(), err error) {
	return sync.OnceFunc(func() { go ended(errors.New("ceph-fuse: signal: killed: its last words")) }), nil
}

// TestWhoJoinsACephFuse is told that Ceph does not answer when it did not in the time of the one who has started it.
func TestWhoJoinsACephFuse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := mount.New(mount.Options{System: &idle{}})
		v := ceph()
		v.Mounter = mount.CephFuse
		told := make(chan error, 2)
		call := func(ctx context.Context) { told <- m.MountCephFS(ctx, filepath.Join(dir, "stage"), v) }
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		go call(ctx)
		synctest.Wait()
		go call(t.Context())
		for range cap(told) {
			err := <-told
			if !errors.Is(err, mount.ErrHung) || !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "127.0.0.1:6789:/v/x: Ceph does not answer: "+context.DeadlineExceeded.Error()) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// second is a node whose first ceph-fuse is idle, and the next ones are not. The first one leaves a dead mount.
type second struct {
	mounttest.System

	first, dead atomic.Bool
}

func (s *second) CephFuse(ctx context.Context, user, key string, args []string, ended func(error)) (kill func(), err error) {
	if !s.first.CompareAndSwap(false, true) {
		return s.System.CephFuse(ctx, user, key, args, ended)
	}
	return sync.OnceFunc(func() {
		_, err := s.System.CephFuse(ctx, user, key, args, nil)
		s.dead.Store(true)
		go ended(errors.Join(errors.New("ceph-fuse: signal: killed: its last words"), err))
	}), nil
}

func (s *second) Probe(path string) (mount.Usage, error) {
	if s.dead.Load() {
		return mount.Usage{}, unix.ENOTCONN
	}
	return s.System.Probe(path)
}

func (s *second) Unmount(target string, flags int) error {
	s.dead.Store(false)
	return s.System.Unmount(target, flags)
}

// TestWhoJoinsACephFuseThatIsGivenUp starts another one: who gave the first one up may have done so early, which says nothing about Ceph.
func TestWhoJoinsACephFuseThatIsGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		system := &second{}
		m := mount.New(mount.Options{System: system})
		v := ceph()
		v.Mounter = mount.CephFuse
		target := filepath.Join(dir, "stage")
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp, joined := make(chan error, 1), make(chan error, 1)
		go func() { gaveUp <- m.MountCephFS(ctx, target, v) }()
		synctest.Wait()
		go func() { joined <- m.MountCephFS(t.Context(), target, v) }()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) || !errors.Is(err, mount.ErrHung) {
			t.Errorf("at a deadline that comes as a cancellation: %v, want that Ceph does not answer", err)
		}
		if err := <-joined; err != nil {
			t.Errorf("who had joined is told %v", err)
		}
		if table, err := system.Table(); err != nil || len(table) != 1 {
			t.Errorf("mounted are %+v (%v)", table, err)
		}
	})
}
