package mount_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"

	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
)

// oneSuperblock is a node whose mounts of one NFS server share a superblock, as the kernel makes them.
type oneSuperblock struct{ *mounttest.System }

func (s oneSuperblock) Table() ([]mountutils.MountInfo, error) {
	table, err := s.System.Table()
	for i := range table {
		table[i].Minor = 0
	}
	return table, err
}

// TestBindFindsAnotherShareOfTheServer: the number of a file system does not tell the shares of one NFS server apart.
func TestBindFindsAnotherShareOfTheServer(t *testing.T) {
	t.Parallel()
	m := mount.New(mount.Options{System: oneSuperblock{&mounttest.System{}}})
	dir := t.TempDir()
	a, b, pod := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "pod")
	for path, export := range map[string]string{a: "/a", b: "/b"} {
		if err := m.MountNFS(t.Context(), path, mount.NFS{Exports: []mount.NFSExport{{Host: "127.0.0.1", Path: export}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Bind(t.Context(), a, pod, false); err != nil {
		t.Fatal(err)
	}
	if err := m.Bind(t.Context(), b, pod, false); !errors.Is(err, mount.ErrOccupied) {
		t.Errorf("got %v, want ErrOccupied: the pod has the other share", err)
	}
}

// lateAnswer is a node whose binds are there before mount(2) returns.
type lateAnswer struct {
	*mounttest.System

	bound, release chan struct{}
}

func (s lateAnswer) Mount(source, target, fstype string, flags uintptr, data string) error {
	err := s.System.Mount(source, target, fstype, flags, data)
	if flags == unix.MS_BIND {
		close(s.bound)
		<-s.release
	}
	return err
}

// TestReadOnlyAfterAnAbandonedBind: the call that makes a bind read-only is not taken for the one that makes it.
func TestReadOnlyAfterAnAbandonedBind(t *testing.T) {
	t.Parallel()
	system := lateAnswer{&mounttest.System{}, make(chan struct{}), make(chan struct{})}
	m := mount.New(mount.Options{System: system})
	staged, pod := filepath.Join(t.TempDir(), "staged"), filepath.Join(t.TempDir(), "pod")
	if err := m.MountNFS(t.Context(), staged, nfs()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-system.bound; cancel() }()
	if err := m.Bind(ctx, staged, pod, true); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	second := make(chan error, 1)
	go func() { second <- m.Bind(t.Context(), staged, pod, true) }()
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	close(system.release)
	table, err := system.Table()
	if err != nil || table[len(table)-1].MountOptions[0] != "ro" {
		t.Errorf("the pod has %+v, %v", table[len(table)-1], err)
	}
}

// TestBindOfASoftMount: a soft mount says itself that its server does not answer.
func TestBindOfASoftMount(t *testing.T) {
	t.Parallel()
	system := &mounttest.System{}
	m := mount.New(mount.Options{System: system})
	staged := filepath.Join(t.TempDir(), "staged")
	if err := m.MountNFS(t.Context(), staged, nfs()); err != nil {
		t.Fatal(err)
	}
	system.Fail = func(c mounttest.Call) error {
		if c.Name == "probe" {
			return unix.ETIMEDOUT
		}
		return nil
	}
	if err := m.Bind(t.Context(), staged, filepath.Join(t.TempDir(), "pod"), false); !errors.Is(err, mount.ErrHung) {
		t.Errorf("got %v, want ErrHung", err)
	}
}
