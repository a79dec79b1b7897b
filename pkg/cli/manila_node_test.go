package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	register "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// kubelet plays its plugin manager: it hears of the files that appear in its directory, and of those that are removed. Like the real one
// it leaves out names with a dot, and does not hear that a file was renamed.
type kubelet struct {
	dir    string
	notify *os.File
}

func newKubelet(t *testing.T) *kubelet {
	t.Helper()
	dir, err := os.MkdirTemp("", "kubelet") //nolint:usetesting // shorter than t.TempDir: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	k := &kubelet{dir: dir, notify: os.NewFile(uintptr(fd), "inotify")}
	t.Cleanup(func() { _ = k.notify.Close(); _ = os.RemoveAll(dir) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE); err != nil {
		t.Fatal(err)
	}
	return k
}

// next waits for the next event that kubelet would act on: + or -, and the file's name.
func (k *kubelet) next(t *testing.T) string {
	t.Helper()
	events := k.events(t, time.Now().Add(10*time.Second))
	if len(events) != 1 {
		t.Fatalf("kubelet hears %q, want one event", events)
	}
	return events[0]
}

// events reads what is there, and waits until a time for the first one.
func (k *kubelet) events(t *testing.T, until time.Time) (events []string) {
	t.Helper()
	if err := k.notify.SetReadDeadline(until); err != nil {
		t.Fatal(err)
	}
	const header = 16 // of struct inotify_event: wd, mask, cookie, len; then the name
	for buf := make([]byte, 4096); len(events) == 0; {
		n, err := k.notify.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		for rest := buf[:n]; len(rest) >= header; {
			mask, size := binary.NativeEndian.Uint32(rest[4:]), int(binary.NativeEndian.Uint32(rest[12:]))
			name := strings.TrimRight(string(rest[header:header+size]), "\x00")
			rest = rest[header+size:]
			sign := "+"
			if mask&unix.IN_DELETE != 0 {
				sign = "-"
			}
			if !strings.HasPrefix(name, ".") {
				events = append(events, sign+name)
			}
		}
	}
	return events
}

func dial(t *testing.T, path string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// register does with a socket what kubelet does, and returns the node's id.
func (k *kubelet) register(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	plugin := register.NewRegistrationClient(dial(t, filepath.Join(k.dir, name)))
	info, err := plugin.GetInfo(ctx, &register.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if info.GetType() != "CSIPlugin" || info.GetName() != "manila.csi.openstack.org" || !slices.Equal(info.GetSupportedVersions(), []string{"1.0.0"}) {
		t.Errorf("the plugin says %v", info)
	}
	node, err := csi.NewNodeClient(dial(t, info.GetEndpoint())).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*register.RegistrationStatus{{Error: "the node is being deleted"}, {PluginRegistered: true}} {
		if _, err := plugin.NotifyRegistrationStatus(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	return node.GetNodeId()
}

const registrationSocket = "manila.csi.openstack.org-reg.sock"

// TestRegistrationWithKubelet: kubelet finds the driver under one name, in place of what a killed process left, and forgets it when
// the driver ends in order.
func TestRegistrationWithKubelet(t *testing.T) {
	t.Parallel()
	k := newKubelet(t)
	left, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(k.dir, registrationSocket))
	if err != nil {
		t.Fatal(err)
	}
	if unix, ok := left.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
	_ = left.Close()
	if got := k.next(t); got != "+"+registrationSocket {
		t.Fatalf("kubelet hears %s", got)
	}

	node := func(id string) (*world, func()) {
		w := newWorld()
		return w, started(t, w, "manila-node", "--node-id="+id, "--node-cidr=127.0.0.0/8,::1/128", "--endpoint=unix://"+filepath.Join(k.dir, "."+id+".sock"), "--registration-dir="+k.dir)
	}
	first, stopFirst := node("node-1")
	if got := k.next(t); got != "+"+registrationSocket { // for kubelet the file of a name that it knows is an update
		t.Fatalf("kubelet hears %s", got)
	}
	if id := k.register(t, registrationSocket); !strings.HasPrefix(id, "node-1/127.0.0.1") {
		t.Errorf("the node is %q", id)
	}
	first.waitFor(t, `level=ERROR msg="kubelet could not register the driver" driver=manila.csi.openstack.org reason="the node is being deleted"`)
	first.waitFor(t, `level=INFO msg="kubelet has registered the driver" driver=manila.csi.openstack.org`)

	// a second one takes over, as in a rolling update with surge: the end of the first one does not take its socket away
	_, stopSecond := node("node-2")
	if got := k.next(t); got != "+"+registrationSocket {
		t.Fatalf("kubelet hears %s", got)
	}
	stopFirst()
	if id := k.register(t, registrationSocket); !strings.HasPrefix(id, "node-2/127.0.0.1") {
		t.Errorf("the node is %q", id)
	}
	stopSecond()
	if got := k.next(t); got != "-"+registrationSocket {
		t.Fatalf("kubelet hears %s", got)
	}
	if more := k.events(t, time.Now().Add(50*time.Millisecond)); len(more) != 0 {
		t.Errorf("kubelet hears %q, too", more)
	}
	entries, err := os.ReadDir(k.dir)
	for _, e := range entries {
		if strings.Contains(e.Name(), "reg.sock") {
			t.Errorf("%s is left (%v)", e.Name(), err)
		}
	}
}

func TestRegistrationIsRefused(t *testing.T) {
	t.Parallel()
	k := newKubelet(t)
	file := filepath.Join(k.dir, registrationSocket)
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"plugins_registry":              `--registration-dir: "plugins_registry" has to be an absolute path`,
		"/" + strings.Repeat("x", 90):   "too long for a unix socket",
		filepath.Join(k.dir, "nothing"): "--registration-dir: the socket",
		k.dir:                           "is there and is no socket: it is not replaced",
	} {
		w := newWorld()
		if code := w.main("manila-node", "--node-id=n", "--endpoint=unix://"+filepath.Join(k.dir, ".csi.sock"), "--registration-dir="+dir); code == exitOK || !strings.Contains(w.errs.String(), want) {
			t.Errorf("%s: exit %d, want %q in\n%s", dir, code, want, w.errs.String())
		}
	}
	if _, err := os.Stat(filepath.Join(k.dir, "."+registrationSocket)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}
