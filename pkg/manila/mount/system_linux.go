package mount

import (
	"context"
	"errors"
	"fmt"
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

// CephFuse starts ceph-fuse in a session of its own, so that no signal to our process group reaches the daemon, and with
// nothing of ours open, so that the daemon does not notice our end. The key is in memory only: the keyring is a memfd, which
// the child knows by its number.
func (k Kernel) CephFuse(ctx context.Context, user, key string, args []string) error {
	path, err := k.cephFuse()
	if err != nil {
		return err
	}
	keyring, err := memoryFile("keyring", fmt.Sprintf("[client.%s]\n\tkey = %s\n", user, key))
	if err != nil {
		return fmt.Errorf("a keyring in memory: %w", err)
	}
	defer keyring.Close() //nolint:errcheck // it is memory
	output, err := memoryFile("output", "")
	if err != nil {
		return fmt.Errorf("a file in memory: %w", err)
	}
	defer output.Close() //nolint:errcheck // it is memory
	args = append([]string{"-c", os.DevNull, "-k", fmt.Sprintf("/proc/self/fd/%d", keyringFD), "--id", user}, args...)
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the program is the operator's, the arguments are vetted and no shell reads them
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{keyring}
	cmd.Stdout, cmd.Stderr = output, output // files and no pipes: Wait would wait for the daemon to close them
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) } // with the child that it forked
	err = cmd.Run()
	if cmd.Process != nil {
		go reap(cmd.Process.Pid)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("ceph-fuse: %w: %s", err, tail(output, key))
	}
	return nil
}

// reap waits for the processes of a group whose first one has ended, as far as they have become our children. In a container we may be
// the first process, the one that inherits a daemon: then nobody else would hear of its end, and it would stay as a zombie. Elsewhere
// there are none, and nothing is waited for.
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
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteString(content); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// maxOutput is how much, in bytes, of a failed program's last words stands in an error.
const maxOutput = 400

// tail returns the last words of a program on one line, without the key if it should ever stand there.
func tail(f *os.File, key string) string {
	info, err := f.Stat()
	if err != nil {
		return "no output"
	}
	from := max(0, info.Size()-maxOutput)
	buf := make([]byte, info.Size()-from)
	n, _ := f.ReadAt(buf, from) // what could be read will do
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(buf[:n]), "")), " ")
	if key != "" {
		text = strings.ReplaceAll(text, key, "[redacted]")
	}
	if text == "" {
		return "no output"
	}
	return text
}
