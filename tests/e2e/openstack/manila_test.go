package openstack_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila"
	"mooring/pkg/manila/mount"
	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
	"mooring/tests/peer/process"
)

// csiDriver is the two CSI modes as processes, with clients on their sockets.
type csiDriver struct {
	dir, program string
	tenant       string   // in clouds.yaml
	secrets      []string // that must not be in any log
	cloud        *target.Cloud
	processes    map[string]*process.Process
	controller   csi.ControllerClient
	node         csi.NodeClient
}

// mooringProgram is the program under test: that of MOORING_BIN, which make sets, or one that is built now.
func mooringProgram(t *testing.T, dir string) string {
	t.Helper()
	if bin := os.Getenv("MOORING_BIN"); bin != "" {
		return filepath.Join(bin, "mooring")
	}
	program := filepath.Join(dir, "mooring")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/mooring")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building mooring: %v\n%s", err, out)
	}
	return program
}

// startCSI starts both processes with the tenant demo.
func startCSI(t *testing.T) *csiDriver {
	t.Helper()
	d := newCSI(t, "demo")
	d.start(t, "manila-controller", "--cluster-id", "e2e", "--attach=false")
	d.start(t, "manila-node", "--node-id", "node-1")
	d.connect(t)
	return d
}

// newCSI makes a driver of a tenant, whose processes are not started yet.
func newCSI(t *testing.T, tenant string) *csiDriver {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e") //nolint:usetesting // shorter than t.TempDir: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &csiDriver{dir: dir, tenant: tenant, program: mooringProgram(t, dir), cloud: target.Open(t), processes: map[string]*process.Process{}}
	if !d.cloud.Real {
		t.Skipf("%s does not name the clouds.yaml of a real OpenStack", target.Variable)
	}
	return d
}

func (d *csiDriver) connect(t *testing.T) {
	t.Helper()
	d.controller = csi.NewControllerClient(d.dial(t, "manila-controller"))
	d.node = csi.NewNodeClient(d.dial(t, "manila-node"))
}

func (d *csiDriver) socket(mode string) string { return filepath.Join(d.dir, mode+".sock") }

// start starts a process with the tenant's credential.
func (d *csiDriver) start(t *testing.T, mode string, args ...string) {
	t.Helper()
	d.startWithout(t, mode, append([]string{"--clouds-file", d.cloud.CloudsFile(), "--os-cloud", d.cloud.Name(d.tenant)}, args...)...)
}

// startWithout starts a process, without a credential unless the arguments have one.
func (d *csiDriver) startWithout(t *testing.T, mode string, args ...string) {
	t.Helper()
	args = append([]string{mode, "--endpoint", "unix://" + d.socket(mode), "--log-level", "debug"}, args...)
	p, err := process.Start(t.Context(), mode, d.program, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	d.processes[mode] = p
	t.Cleanup(func() {
		if _, err := p.Stop(15 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", mode, p.Output())
		}
		d.noSecrets(t, p)
	})
	if took, err := p.Listening(t.Context(), "unix", d.socket(mode)); err != nil {
		t.Fatal(err)
	} else {
		t.Logf("%s listens after %v", mode, took.Round(time.Millisecond))
	}
}

// noSecrets looks for the tenant's password and the cephx key in what a process has said at debug level.
func (d *csiDriver) noSecrets(t *testing.T, p *process.Process) {
	t.Helper()
	for _, secret := range append(d.secrets, d.cloud.Credential(t, d.tenant).Password) {
		if strings.Contains(p.Output(), secret) {
			t.Errorf("%s has logged a secret", p.Name)
		}
	}
}

func (d *csiDriver) dial(t *testing.T, mode string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+d.socket(mode), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func rwx() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
	}
}

func (d *csiDriver) create(t *testing.T, protocol, shareType string, change ...func(*csi.CreateVolumeRequest)) *csi.Volume {
	t.Helper()
	begin := time.Now()
	r := &csi.CreateVolumeRequest{
		Name: target.Unique(t), CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30}, VolumeCapabilities: []*csi.VolumeCapability{rwx()},
		Parameters: map[string]string{"type": shareType, "protocol": protocol},
	}
	for _, f := range change {
		f(r)
	}
	created, err := d.controller.CreateVolume(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	v := created.GetVolume()
	t.Logf("CreateVolume of %s took %v: %v", protocol, time.Since(begin).Round(time.Millisecond), v)
	t.Cleanup(func() { // when the test has failed half-way
		_, _ = d.controller.DeleteVolume(context.WithoutCancel(t.Context()), &csi.DeleteVolumeRequest{VolumeId: v.GetVolumeId()})
	})
	return v
}

// remove deletes a volume and makes sure that Manila has nothing of it any more.
func (d *csiDriver) remove(t *testing.T, v *csi.Volume) {
	t.Helper()
	begin := time.Now()
	for range 2 { // the second finds nothing, and that is fine
		if _, err := d.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: v.GetVolumeId()}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("DeleteVolume took %v", time.Since(begin).Round(time.Millisecond))
	client := manila.New(d.cloud.Session(t, d.tenant), manila.Options{})
	if _, err := client.Share(t.Context(), v.GetVolumeId()); !errors.Is(err, openstack.ErrNotFound) {
		t.Errorf("the share is still there: %v", err)
	}
}

// TestCephFSVolume takes a CephFS volume through its life on a real Manila and a real Ceph: made by the controller's socket, staged
// and published by the node's, written and read, still read after the node process was killed and came back, and taken away
// without a trace.
func TestCephFSVolume(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	d := startCSI(t)
	v := d.create(t, "CEPHFS", "cephfs")
	staging, pod := filepath.Join(d.dir, "staging", "globalmount"), filepath.Join(d.dir, "pods", "1", "mount")
	t.Cleanup(func() { // when the test has failed half-way
		for _, path := range []string{pod, staging} {
			_ = mount.New(mount.Options{}).Unmount(context.WithoutCancel(t.Context()), path)
		}
	})
	stage := &csi.NodeStageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: staging, VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext()}
	publish := &csi.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: staging, TargetPath: pod, VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
	}
	stageAndPublish(t, d.node, stage, publish)

	rule, err := manila.New(d.cloud.Session(t, "demo"), manila.Options{}).CephxRule(t.Context(), v.GetVolumeId(), "")
	if err != nil {
		t.Fatal(err)
	}
	d.secrets = append(d.secrets, rule.Key)
	for _, line := range cephFuse(t, d.dir) {
		if strings.Contains(line, rule.Key) {
			t.Errorf("the key is in the command line %s", line)
		}
	}

	content := make([]byte, 1<<20)
	_, _ = rand.Read(content)
	if err := os.WriteFile(filepath.Join(pod, "file"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	readBack(t, filepath.Join(staging, "file"), content)

	d.processes["manila-node"].Kill()
	readBack(t, filepath.Join(pod, "file"), content) // a running pod notices nothing
	d.start(t, "manila-node", "--node-id", "node-1")
	stageAndPublish(t, d.node, stage, publish)
	readBack(t, filepath.Join(pod, "file"), content)
	if n := len(cephFuse(t, d.dir)); n != 1 {
		t.Errorf("%d ceph-fuse processes, want the one that was there before", n)
	}
	d.stats(t, v, pod, codes.OK)
	d.fuseDies(t, publish, content)

	for range 2 {
		if _, err := d.node.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.GetVolumeId(), TargetPath: pod}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.node.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: staging}); err != nil {
			t.Fatal(err)
		}
	}
	d.remove(t, v)
	d.nothingMounted(t, staging, pod)
}

// stats asks how full a volume is; it has a quota of 1 GiB.
func (d *csiDriver) stats(t *testing.T, v *csi.Volume, path string, want codes.Code) {
	t.Helper()
	begin := time.Now()
	got, err := d.node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.GetVolumeId(), VolumePath: path})
	if status.Code(err) != want || err == nil && got.GetUsage()[0].GetTotal() != 1<<30 {
		t.Errorf("the stats are %v, %v; want %v", got, err, want)
	}
	t.Logf("NodeGetVolumeStats took %v: %v, %v", time.Since(begin).Round(time.Millisecond), got, err)
}

// fuseDies kills ceph-fuse and gives the volume to another pod: that one gets a live mount with the data, and the first one's is taken away
// dead or alive.
func (d *csiDriver) fuseDies(t *testing.T, publish *csi.NodePublishVolumeRequest, content []byte) {
	t.Helper()
	if len(cephFuse(t, d.dir)) == 0 {
		t.Log("ceph-fuse is not killed: the kernel has mounted")
		return
	}
	killCephFuse(t, d.dir)
	v := &csi.Volume{VolumeId: publish.GetVolumeId()}
	d.stats(t, v, publish.GetTargetPath(), codes.Unavailable)
	health, err := d.node.NodeGetVolumeHealth(t.Context(), &csi.NodeGetVolumeHealthRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: publish.GetStagingTargetPath()})
	if err != nil || len(health.GetVolumeHealth().GetHealthStatuses()) != 1 {
		t.Errorf("the health is %v, %v", health, err)
	}
	second := filepath.Join(d.dir, "pods", "2", "mount")
	t.Cleanup(func() { // when the test has failed half-way
		_ = mount.New(mount.Options{}).Unmount(context.WithoutCancel(t.Context()), second)
	})
	begin := time.Now()
	if _, err := d.node.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: publish.GetStagingTargetPath(), TargetPath: second, VolumeCapability: rwx(), VolumeContext: publish.GetVolumeContext(),
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("NodePublishVolume replaced the dead mount in %v", time.Since(begin).Round(time.Millisecond))
	begin = time.Now()
	readBack(t, filepath.Join(second, "file"), content)
	t.Logf("a file that the dead client had written could be read after %v: Ceph waits for the dead client's session to end", time.Since(begin).Round(time.Millisecond))
	d.stats(t, v, second, codes.OK)
	if _, err := d.node.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.GetVolumeId(), TargetPath: second}); err != nil {
		t.Fatal(err)
	}
}

// killCephFuse ends the ceph-fuse processes of a directory, as when a node plugin's container ends, and waits until they are gone.
func killCephFuse(t *testing.T, dir string) {
	t.Helper()
	for _, line := range cephFuse(t, dir) {
		pid, err := strconv.Atoi(strings.Fields(line)[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	target.Eventually(t, "the end of ceph-fuse", func() bool { return len(cephFuse(t, dir)) == 0 })
}

func stageAndPublish(t *testing.T, node csi.NodeClient, stage *csi.NodeStageVolumeRequest, publish *csi.NodePublishVolumeRequest) {
	t.Helper()
	for range 2 {
		begin := time.Now()
		if _, err := node.NodeStageVolume(t.Context(), stage); err != nil {
			t.Fatal(err)
		}
		t.Logf("NodeStageVolume took %v", time.Since(begin).Round(time.Millisecond))
		if _, err := node.NodePublishVolume(t.Context(), publish); err != nil {
			t.Fatal(err)
		}
	}
}

func readBack(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes of %s, %v; want the %d that were written", len(got), path, err, len(want))
	}
}

// nothingMounted looks for mounts, directories and processes that the driver has left.
func (d *csiDriver) nothingMounted(t *testing.T, paths ...string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(table, []byte(d.dir)) {
		t.Errorf("something is still mounted (%v):\n%s", err, table)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	target.Eventually(t, "the end of ceph-fuse", func() bool { return len(cephFuse(t, d.dir)) == 0 })
}

// cephFuse finds the ceph-fuse processes whose command line has a path below dir: number and command line of each.
func cephFuse(t *testing.T, dir string) (found []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil { // it has ended
			continue
		}
		if args := strings.Split(string(line), "\x00"); strings.HasSuffix(args[0], "ceph-fuse") && strings.Contains(string(line), dir) {
			found = append(found, filepath.Base(filepath.Dir(path))+" "+strings.Join(args, " "))
		}
	}
	return found
}

// TestNFSVolume makes and removes an NFS volume; mounting it needs a kernel with an NFS client.
func TestNFSVolume(t *testing.T) {
	t.Parallel()
	d := startCSI(t)
	v := d.create(t, "NFS", "cephfs-nfs")
	if exports := v.GetVolumeContext()["exportLocations"]; !strings.Contains(exports, ":/") {
		t.Errorf("the node would have no export location: %q", exports)
	}
	kernel, err := os.ReadFile("/proc/filesystems")
	if err == nil && bytes.Contains(kernel, []byte("\tnfs4\n")) && os.Geteuid() == 0 {
		d.mountNFS(t, v)
	} else {
		t.Log("not mounted: this is not root, or the kernel has no NFS client")
	}
	d.remove(t, v)
}

func (d *csiDriver) mountNFS(t *testing.T, v *csi.Volume) {
	t.Helper()
	staging := filepath.Join(d.dir, "staging", "nfs")
	if _, err := d.node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: staging, VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(staging, "file"), []byte("hello"), 0o600); err != nil {
		t.Error(err)
	}
	if _, err := d.node.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: staging}); err != nil {
		t.Error(err)
	}
	d.nothingMounted(t, staging)
}

// TestRefusedVolumes: what a real Manila refuses has the code that external-provisioner acts on.
func TestRefusedVolumes(t *testing.T) {
	t.Parallel()
	d := startCSI(t)
	for name, c := range map[string]struct {
		size int64
		typ  string
		want codes.Code
	}{
		"unknown type": {1 << 30, "no-such-type", codes.InvalidArgument},
		"quota":        {1 << 50, "cephfs", codes.ResourceExhausted},
	} {
		_, err := d.controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
			Name: target.Unique(t), CapacityRange: &csi.CapacityRange{RequiredBytes: c.size}, VolumeCapabilities: []*csi.VolumeCapability{rwx()},
			Parameters: map[string]string{"type": c.typ, "protocol": "CEPHFS"},
		})
		if status.Code(err) != c.want {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
		t.Logf("%s: %v", name, err)
	}
}
