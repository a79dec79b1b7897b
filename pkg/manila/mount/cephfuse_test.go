package mount_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mooring/pkg/manila/mount"
)

// program is a script that plays ceph-fuse. It is a file of the repository, because a file that a test has just written may be
// busy: another test may be forking while it is open.
func program(t *testing.T) mount.Kernel {
	t.Helper()
	path, err := filepath.Abs("testdata/ceph-fuse")
	if err != nil {
		t.Fatal(err)
	}
	return mount.Kernel{CephFusePath: path}
}

// TestCephFuseProgram: what the program gets, and what it does not get. The daemon it leaves behind is in a session of its own,
// so that the end of ours is not its end, and holds nothing that our side would wait for.
func TestCephFuseProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "works")
	begin := time.Now()
	if err := program(t).CephFuse(t.Context(), "pvc-1", validKey(), []string{target, "-r", "/x"}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v: it waited for the daemon", took)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
	if got, want := read("keyring"), "[client.pvc-1]\n\tkey = "+validKey(); got != want {
		t.Errorf("the keyring is %q, want %q", got, want)
	}
	if got, want := read("arguments"), "-c /dev/null -k /proc/self/fd/3 --id pvc-1 "+target+" -r /x"; got != want {
		t.Errorf("the arguments are %q, want %q", got, want)
	}
	if strings.Contains(read("arguments")+read("environment"), validKey()) {
		t.Error("the key is in the arguments or in the environment")
	}
	pid, session, _ := strings.Cut(read("session"), " ")
	if pid != session || session == strconv.Itoa(os.Getpid()) {
		t.Errorf("process %s is in session %s, want one of its own", pid, session)
	}
	daemon, err := strconv.Atoi(read("daemon"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(daemon)
	if err != nil || p.Kill() != nil {
		t.Errorf("the daemon has ended with its parent: %v", err)
	}
}

// TestCephFuseIsReaped: the first process of a container inherits the daemon, and has to hear of its end.
func TestCephFuseIsReaped(t *testing.T) {
	t.Parallel()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil { // it inherits as the first process does
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := program(t).CephFuse(t.Context(), "pvc-1", validKey(), []string{filepath.Join(dir, "works")}); err != nil {
		t.Fatal(err)
	}
	daemon, err := os.ReadFile(filepath.Join(dir, "daemon"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(daemon)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); unix.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the daemon has ended, and stays as a zombie")
		}
	}
}

func TestCephFuseFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want error
		text string
	}{
		"denied": {mount.ErrDenied, "Operation not permitted"},
		"lost":   {mount.ErrHung, "failed to fetch mon config"},
		"tells":  {nil, "[client.pvc-1] key = [redacted]"},
		"silent": {nil, "exit status 4: no output"},
	} {
		m := mount.New(mount.Options{System: program(t)})
		v := ceph()
		v.Mounter = mount.CephFuse
		err := m.MountCephFS(t.Context(), filepath.Join(t.TempDir(), name), v)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), validKey()) {
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

// TestCephFuseIsCutOff: a program that hangs is ended with all its children when the caller's time is up.
func TestCephFuseIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	m := mount.New(mount.Options{System: program(t)})
	v := ceph()
	v.Mounter = mount.CephFuse
	begin := time.Now()
	if err := m.MountCephFS(ctx, filepath.Join(dir, "hangs"), v); !errors.Is(err, mount.ErrHung) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	child, err := os.ReadFile(filepath.Join(dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, err := os.ReadFile("/proc/" + strings.TrimSpace(string(child)) + "/status")
		if err != nil || bytes.Contains(status, []byte("State:\tZ")) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the child still runs:\n%s", status)
		}
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
