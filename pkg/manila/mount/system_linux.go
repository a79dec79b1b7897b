package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"
)

// Kernel is the System of the machine we run on.
type Kernel struct {
	// CephFusePath is the ceph-fuse program; empty means the first one in the usual directories.
	CephFusePath string
}

var _ System = Kernel{}

// Mount is mount(2).
func (Kernel) Mount(source, target, fstype string, flags uintptr, data string) error {
	return unix.Mount(source, target, fstype, flags, data)
}

// Unmount is umount2(2).
func (Kernel) Unmount(target string, flags int) error { return unix.Unmount(target, flags) }

// Table reads /proc/self/mountinfo, which no file system can delay.
func (Kernel) Table() ([]mountutils.MountInfo, error) {
	content, err := readTable()
	if err != nil {
		return nil, err
	}
	return parseTable(string(content))
}

// Probe is statfs(2): unlike stat(2), no attribute cache answers it.
func (Kernel) Probe(path string) (Usage, error) {
	var buf unix.Statfs_t
	if err := unix.Statfs(path, &buf); err != nil {
		return Usage{}, err
	}
	return usageOf(&buf), nil
}

// keyringFD is the number that the first of exec.Cmd.ExtraFiles has in the child.
const keyringFD = 3

// CephFuse starts ceph-fuse in a session of its own, so that no signal to our process group reaches it, and with nothing of ours open,
// so that it does not notice our end. It stays in the foreground (-f): when it goes to the background it closes the first three files,
// and libfuse and Ceph's messenger open theirs in those places. From then on what it says about errors, or the mount(8) that it runs,
// goes in between the kernel's requests, which are lost, and who made them hangs.
//
// The key is in memory only: the keyring is a memfd, which the child knows by its number.
func (k Kernel) CephFuse(ctx context.Context, user, key string, args []string, ended func(error)) (kill func(), err error) {
	path, err := k.cephFuse()
	if err != nil {
		return nil, err
	}
	keyring, err := memoryFile("keyring", fmt.Sprintf("[client.%s]\n\tkey = %s\n", user, key))
	if err != nil {
		return nil, fmt.Errorf("a keyring in memory: %w", err)
	}
	defer keyring.Close() //nolint:errcheck // it is memory
	output, err := outputFile()
	if err != nil {
		return nil, fmt.Errorf("a file in memory: %w", err)
	}
	args = append([]string{"-f", "-c", os.DevNull, "-k", fmt.Sprintf("/proc/self/fd/%d", keyringFD), "--id", user}, args...)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...) //nolint:gosec // the program is the operator's, the arguments are vetted and no shell reads them
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{keyring}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("ceph-fuse: %w", err), output.Close())
	}
	go func() {
		defer output.Close() //nolint:errcheck // it is memory
		how := cmd.Wait()
		if how == nil {
			how = ErrExited
		}
		ended(fmt.Errorf("ceph-fuse: %w: %s", how, tail(output, key)))
		reap(cmd.Process.Pid)
	}()
	return func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }, nil // with what it has started
}

// reap waits for what the first process of a group has left behind, such as the mount(8) that ceph-fuse runs, as far as it has become
// ours: the first process of a container inherits it, and nobody else would hear of its end. Elsewhere nothing is waited for.
func reap(group int) {
	for {
		if _, err := unix.Wait4(-group, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (k Kernel) cephFuse() (string, error) {
	if k.CephFusePath != "" {
		return k.CephFusePath, nil
	}
	for _, dir := range []string{"/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin"} {
		path := dir + "/ceph-fuse"
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: there is no ceph-fuse program", ErrUnsupported)
}

func memoryFile(name, content string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteString(content); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// outputSize bounds, in bytes, what a program can say in its life.
const outputSize = 64 << 10

// outputFile is a file in memory that does not grow: who writes to it never has to wait, and what is too much is not kept.
func outputFile() (*os.File, error) {
	f, err := memoryFile("output", "")
	if err != nil {
		return nil, err
	}
	err = f.Truncate(outputSize)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// maxOutput is how much, in bytes, of a failed program's last words stands in an error.
const maxOutput = 400

// tail returns the last words of a program on one line, without the key if it should ever stand there.
func tail(f *os.File, key string) string {
	size, err := f.Seek(0, io.SeekCurrent) // where the program, which has the same open file, would write on
	if err != nil {
		return "no output"
	}
	buf := make([]byte, size)
	n, _ := f.ReadAt(buf, 0) // what could be read will do
	text := string(buf[:n])
	if key != "" {
		text = strings.ReplaceAll(text, key, "[redacted]") // before the text is cut, which could be in the key
	}
	text = text[max(0, len(text)-maxOutput):]
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if text == "" {
		return "no output"
	}
	return text
}
