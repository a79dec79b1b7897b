package mounttest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"mooring/pkg/manila/mount"
)

// Fuse is the kernel of this machine, with a small file system in place of ceph-fuse: its mounts are real ones, and so is their death.
// It needs root and /dev/fuse.
type Fuse struct {
	mount.Kernel

	// Statfs, if it is set before something is mounted, is called before a look at that mount is answered.
	Statfs func()

	mu      sync.Mutex
	daemons []*fuseDaemon
}

var _ mount.System = (*Fuse)(nil)

// NewFuse makes a Fuse. It skips a test that may not mount, and ends the daemons with it.
func NewFuse(t *testing.T) *Fuse {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mount(2) needs root")
	}
	f := &Fuse{}
	dir := t.TempDir()
	if _, err := f.CephFuse(t.Context(), "", "", []string{dir}, func(error) {}); err != nil {
		t.Skipf("FUSE can't be mounted here: %v", err)
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Kill)
	return f
}

// CephFuse mounts at the first argument, with the type and the source that ceph-fuse has.
func (f *Fuse) CephFuse(_ context.Context, _, _ string, args []string, ended func(error)) (kill func(), err error) {
	// Not blocking, so that Close ends a read that waits.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w", err)
	}
	err = unix.Mount("ceph-fuse", args[0], "fuse.ceph-fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd))
	if err != nil {
		return nil, fmt.Errorf("a FUSE mount: %w", errors.Join(err, unix.Close(fd)))
	}
	// Only now: the poller hears nothing of a file that was not mounted when it was added.
	d := &fuseDaemon{statfs: f.Statfs, file: os.NewFile(uintptr(fd), "/dev/fuse"), ended: make(chan struct{})}
	go func() {
		ended(d.serve())
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.daemons = append(f.daemons, d)
	return d.end, nil
}

// Kill ends all daemons as kill -9 would: the kernel finds their files closed.
func (f *Fuse) Kill() {
	f.mu.Lock()
	daemons := f.daemons
	f.daemons = nil
	f.mu.Unlock()
	for _, d := range daemons {
		d.end()
	}
}

// Daemons says how many there are.
func (f *Fuse) Daemons() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.daemons)
}

type fuseDaemon struct {
	file   *os.File
	ended  chan struct{}
	statfs func()
}

func (d *fuseDaemon) end() {
	_ = d.file.Close()
	<-d.ended
}

// serve answers the requests of include/uapi/linux/fuse.h that an empty directory needs.
func (d *fuseDaemon) serve() error {
	defer close(d.ended)
	const (
		headerIn, headerOut = 40, 16
		largest             = 1 << 17
		getattr, statfs     = 3, 17
		open, initialise    = 27, 26
		release, forget     = 29, 2
	)
	request := make([]byte, largest)
	for {
		n, err := d.file.Read(request)
		if errors.Is(err, os.ErrClosed) {
			return err
		}
		if err != nil { // ENODEV, or what Go's poller makes of it
			return fmt.Errorf("%w, for it was unmounted: %w", mount.ErrExited, err)
		}
		if n < headerIn {
			continue
		}
		var answer []byte
		var failure uint32
		switch binary.NativeEndian.Uint32(request[4:]) {
		case initialise:
			answer = make([]byte, 64)
			binary.NativeEndian.PutUint32(answer[0:], 7)
			binary.NativeEndian.PutUint32(answer[4:], 31)
			binary.NativeEndian.PutUint32(answer[20:], largest/2) // max_write
		case getattr:
			answer = make([]byte, 104)
			binary.NativeEndian.PutUint64(answer[16:], 1)       // inode
			binary.NativeEndian.PutUint32(answer[76:], 0o40755) // mode
			binary.NativeEndian.PutUint32(answer[80:], 2)       // links
		case statfs:
			if d.statfs != nil {
				d.statfs()
			}
			answer = make([]byte, 80)
			binary.NativeEndian.PutUint64(answer[0:], 256)  // blocks
			binary.NativeEndian.PutUint64(answer[8:], 255)  // free
			binary.NativeEndian.PutUint64(answer[16:], 255) // available
			binary.NativeEndian.PutUint64(answer[24:], 10)  // files
			binary.NativeEndian.PutUint64(answer[32:], 9)   // free
			binary.NativeEndian.PutUint32(answer[40:], 4<<20)
			binary.NativeEndian.PutUint32(answer[48:], 4<<20)
		case open, release:
			answer = make([]byte, 16)
		case forget: // is not answered
			continue
		default:
			failure = ^uint32(unix.ENOSYS) + 1 // negative
		}
		out := make([]byte, headerOut, headerOut+len(answer))
		binary.NativeEndian.PutUint32(out[0:], uint32(headerOut+len(answer))) //nolint:gosec // it is small
		binary.NativeEndian.PutUint32(out[4:], failure)
		copy(out[8:16], request[8:16]) // unique
		if _, err := d.file.Write(append(out, answer...)); err != nil {
			return err
		}
	}
}
