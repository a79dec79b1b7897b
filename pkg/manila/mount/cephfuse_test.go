package mount_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"

	"mooring/pkg/logging/logtest"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
)

// player is this machine with a script that plays ceph-fuse, and says by a file when it would have mounted. It is a file of the repository,
// because a file that a test has just written may be busy: another test may be forking while it is open.
type player struct {
	mount.Kernel

	dir   string
	log   logtest.Buffer
	probe func() error // decides what Probe says; nil says that the mount answers
}

func play(t *testing.T) *player {
	t.Helper()
	path, err := filepath.Abs("testdata/ceph-fuse")
	if err != nil {
		t.Fatal(err)
	}
	return &player{Kernel: mount.Kernel{CephFusePath: path}, dir: t.TempDir()}
}

// mount has the script do what is called name.
func (p *player) mount(ctx context.Context, name string) error {
	v := ceph()
	v.Mounter = mount.CephFuse
	return mount.New(mount.Options{System: p, Logger: slog.New(slog.NewTextHandler(&p.log, nil))}).MountCephFS(ctx, filepath.Join(p.dir, name), v)
}

func (p *player) Table() ([]mountutils.MountInfo, error) {
	var table []mountutils.MountInfo
	if _, err := os.Stat(filepath.Join(p.dir, "unreadable")); err == nil {
		return nil, errors.New("there is no table")
	}
	if _, err := os.Stat(filepath.Join(p.dir, "mounted")); err == nil {
		for _, name := range []string{"works", "talks"} {
			table = append(table, mountutils.MountInfo{MountPoint: filepath.Join(p.dir, name)})
		}
	}
	return table, nil
}

func (p *player) Probe(string) (mount.Usage, error) {
	if p.probe == nil {
		return mount.Usage{}, nil
	}
	return mount.Usage{}, p.probe()
}

func (p *player) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// wrote says whether the program has got as far as to write a file.
func (p *player) wrote(name string) bool {
	i, err := os.Stat(filepath.Join(p.dir, name))
	return err == nil && i.Size() > 0
}

// until waits for something that takes a moment.
func until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ask(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestCephFuseProgram: what the program gets, and what it does not get. It is in a session of its own, so that the end of ours is not its
// end, and has nothing of ours open; its first three files are its own for life. We hear of its end, so it stays no zombie.
func TestCephFuseProgram(t *testing.T) {
	t.Parallel()
	p := play(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.mount(ctx, "works"); err != nil {
		t.Fatal(err)
	}
	cancel() // a call's end is not the mount's
	if got, want := p.read(t, "keyring"), "[client.pvc-1]\n\tkey = "+validKey(); got != want {
		t.Errorf("the keyring is %q, want %q", got, want)
	}
	arguments := p.read(t, "arguments")
	if want := "-f -c /dev/null -k /proc/self/fd/3 --id pvc-1 " + filepath.Join(p.dir, "works") + " "; !strings.HasPrefix(arguments, want) {
		t.Errorf("the arguments are %q, want %q at the start", arguments, want)
	}
	if strings.Contains(arguments+p.read(t, "environment"), validKey()) {
		t.Error("the key is in the arguments or in the environment")
	}
	id, session, _ := strings.Cut(p.read(t, "session"), " ")
	if id != session || session == strconv.Itoa(os.Getpid()) {
		t.Errorf("process %s is in session %s, want one of its own", id, session)
	}
	pid, err := strconv.Atoi(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("it has ended with the call: %v", err)
	}
	for file, want := range map[string]string{"0": "/dev/null", "1": "/memfd:output (deleted)", "2": "/memfd:output (deleted)", "3": "/memfd:keyring (deleted)"} {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, file)); got != want {
			t.Errorf("its file %s is %q, %v; want %q", file, got, err, want)
		}
	}
	var files, threads []string
	until(t, "a thread waits for its end", func() bool { files, threads = costs(t, pid); return len(threads) > 0 })
	if len(files) != 2 || len(threads) != 1 {
		t.Errorf("it costs the files %q and the threads %q of ours, want two and one", files, threads)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "its end is heard of", func() bool { return unix.Kill(pid, 0) != nil })
	until(t, "its end, and what it said, are in the log, and not the key", func() bool {
		text := p.log.String()
		return strings.Contains(text, "signal: killed: a complaint, with [redacted]") && !strings.Contains(text, validKey())
	})
}

// costs are the files and the threads of ours that there are for a process: what it says goes to one, and by the other we wait for it.
func costs(t *testing.T, pid int) (files, threads []string) {
	t.Helper()
	said, err := os.Stat(fmt.Sprintf("/proc/%d/fd/2", pid))
	if err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all { // those of other tests come and go
		info, _ := os.Stat("/proc/self/fd/" + f.Name())
		about, _ := os.ReadFile("/proc/self/fdinfo/" + f.Name())
		waits := strings.Contains(string(about), fmt.Sprintf("Pid:\t%d\n", pid))
		if !waits && (info == nil || !os.SameFile(info, said)) {
			continue
		}
		files = append(files, f.Name())
		number, _ := strconv.Atoi(f.Name())
		tasks, err := filepath.Glob("/proc/self/task/*/syscall")
		if err != nil || !waits {
			continue
		}
		for _, task := range tasks {
			call, _ := os.ReadFile(task)
			if strings.HasPrefix(string(call), fmt.Sprintf("%d 0x%x 0x%x ", unix.SYS_WAITID, unix.P_PIDFD, number)) {
				threads = append(threads, task)
			}
		}
	}
	return files, threads
}

// TestCephFuseComesToNothing: whatever happens between the mount and its first answer, no error is lost, and no program goes on that nobody
// knows of.
func TestCephFuseComesToNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		probe func(dir string, pid int) error
		want  []string
	}{
		"it unmounts, so the directory below answers": {func(dir string, pid int) error {
			return errors.Join(os.Remove(filepath.Join(dir, "mounted")), unix.Kill(pid, unix.SIGTERM))
		}, []string{"signal: terminated: a complaint"}},
		"the mount is dead": {func(string, int) error { return unix.ENOTCONN }, []string{unix.ENOTCONN.Error(), "signal: killed: a complaint"}},
		"the mount table can't be read": {func(dir string, _ int) error {
			return os.WriteFile(filepath.Join(dir, "unreadable"), nil, 0o600)
		}, []string{"there is no table", "signal: killed: a complaint"}},
	} {
		p := play(t)
		var pid int
		p.probe = func() error {
			id, _, _ := strings.Cut(p.read(t, "session"), " ")
			var err error
			if pid, err = strconv.Atoi(id); err != nil {
				return err
			}
			return c.probe(p.dir, pid)
		}
		err := p.mount(t.Context(), "works")
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", name, err, want)
			}
		}
		until(t, name+", and the program has ended", func() bool { return unix.Kill(pid, 0) != nil })
		if text := p.log.String(); text != "" {
			t.Errorf("%s: the log tells of it, and so will the error: %s", name, text)
		}
	}
}

// TestCephFuseTalks: a program that complains without end neither waits for a reader nor fills the memory.
func TestCephFuseTalks(t *testing.T) {
	t.Parallel()
	p := play(t)
	if err := p.mount(t.Context(), "talks"); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(p.read(t, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Kill(-pid, unix.SIGKILL) }()
	until(t, "it is rid of all it had to say", func() bool { _, err := os.Stat(filepath.Join(p.dir, "said")); return err == nil })
	if info, err := os.Stat(fmt.Sprintf("/proc/%d/fd/2", pid)); err != nil || info.Size() != 64<<10 {
		t.Errorf("what it said is kept in %v, %v", info, err)
	}
}

func TestCephFuseFails(t *testing.T) {
	t.Parallel()
	endOfKey := validKey()[len(validKey())-8:]
	for name, c := range map[string]struct {
		want error
		text string
	}{
		"denied":  {mount.ErrDenied, "Operation not permitted"},
		"lost":    {mount.ErrHung, "failed to fetch mon config"},
		"tells":   {nil, "[client.pvc-1] key = [redacted]"},
		"murmurs": {nil, "exit status 5: "},
		"silent":  {nil, "exit status 4: no output"},
		"idle":    {nil, "it ended: no output"},
	} {
		err := play(t).mount(t.Context(), name)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), endOfKey) {
			t.Errorf("%s: %v; want %v with %q and without the key", name, err, c.want, c.text)
		}
	}
	m := mount.New(mount.Options{System: mount.Kernel{CephFusePath: filepath.Join(t.TempDir(), "nothing")}})
	v := ceph()
	v.Mounter = mount.CephFuse
	if err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), "target"), v); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the program: %v", err)
	}
}

// TestCephFuseIsCutOff: a program that hangs is ended with all its children when the caller's time is up. The first process of a container
// inherits those, and has to hear of their end.
func TestCephFuseIsCutOff(t *testing.T) {
	t.Parallel()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil { // it inherits as the first process does
		t.Fatal(err)
	}
	p := play(t)
	for patience := 500 * time.Millisecond; ; patience *= 2 { // until there was time enough for a child
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := p.mount(ctx, "hangs")
		cancel()
		if !errors.Is(err, mount.ErrHung) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if p.wrote("child") {
			break
		}
		if patience > time.Minute {
			t.Fatalf("in %v it has started no child", patience)
		}
	}
	child, err := strconv.Atoi(p.read(t, "child"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the child's end is heard of", func() bool { return unix.Kill(child, 0) != nil })
}

// mute is a kernel whose first ceph-fuse mounts, and never answers.
type mute struct {
	*mounttest.Fuse

	once sync.Once
}

func (m *mute) CephFuse(ctx context.Context, user, key string, args []string, ended func(error)) (kill func(), err error) {
	first := false
	m.once.Do(func() { first = true })
	if !first {
		return m.Fuse.CephFuse(ctx, user, key, args, ended)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("ceph-fuse", args[0], "fuse.ceph-fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return sync.OnceFunc(func() { ended(errors.Join(errors.New("killed"), unix.Close(fd))) }), nil
}

// TestCephFuseNeverAnswers: on a real kernel, who looks at a mount that does not answer waits until the program is killed. That is when the
// caller's time is up; what it leaves is replaced by the next call.
func TestCephFuseNeverAnswers(t *testing.T) {
	t.Parallel()
	m := mount.New(mount.Options{System: &mute{Fuse: mounttest.NewFuse(t)}})
	target := filepath.Join(t.TempDir(), "target")
	v := ceph()
	v.Mounter = mount.CephFuse
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := m.MountCephFS(ctx, target, v); !errors.Is(err, mount.ErrHung) {
		t.Errorf("got %v", err)
	}
	until(t, "the next call mounts", func() bool { return m.MountCephFS(t.Context(), target, v) == nil })
	if err := m.Check(t.Context(), target); err != nil {
		t.Error(err)
	}
	if err := m.Unmount(t.Context(), target); err != nil {
		t.Error(err)
	}
}

// TestRealCephFuseGivesUp: the real program, with monitors that are not there, is told how long it may try and leaves nothing.
func TestRealCephFuseGivesUp(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/bin/ceph-fuse"); err != nil {
		t.Skip("there is no ceph-fuse here")
	}
	target := filepath.Join(t.TempDir(), "target")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	m := mount.New(mount.Options{})
	v := ceph()
	v.Mounter, v.Export.Monitors = mount.CephFuse, []string{"127.0.0.1:1"}
	begin := time.Now()
	err := m.MountCephFS(ctx, target, v)
	if err == nil || strings.Contains(err.Error(), validKey()) {
		t.Errorf("got %v", err)
	}
	t.Logf("after %v: %v", time.Since(begin).Round(time.Millisecond), err)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if mounted, err := m.Mounted(target); err != nil || mounted {
		t.Errorf("something is mounted (%v)", err)
	}
}
