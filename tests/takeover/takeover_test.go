package takeover_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"mooring/pkg/grpcserver"
	"mooring/pkg/manila"
	driver "mooring/pkg/manila/csi"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
	"mooring/tests/contract/target"
	"mooring/tests/takeover"
)

// cluster is our driver in memory, without a credential of its own, on a simulated cloud.
type cluster struct {
	takeover.Driver

	sim    *openstacksim.Cloud
	origin *takeover.Origin
	system *mounttest.System
}

// start gives a cluster in which the plugin has run with a cluster id, and ours takes over with one.
func start(t *testing.T, name, theirs, ours string) *cluster {
	t.Helper()
	cloud := target.Open(t)
	if cloud.Sim == nil {
		t.Skip("a real OpenStack is for tests/e2e/openstack")
	}
	step := 20 * time.Millisecond
	cloud.Sim.Manila.SetDelays(openstacksim.ManilaDelays{
		Create: step, CreateFromSnapshot: step, Delete: step, Extend: step, Grant: step, Snapshot: step, SnapshotDelete: step,
	})
	c := &cluster{sim: cloud.Sim, origin: takeover.NewOrigin(t, cloud, theirs), system: &mounttest.System{}}
	pool := openstack.NewPool(openstack.Options{})
	t.Cleanup(pool.Close)
	clouds := &driver.Clouds{Pool: pool, Options: manila.Options{Poll: poll.Backoff{First: 10 * time.Millisecond, Max: 50 * time.Millisecond, Factor: 1.1}}}
	protocol := params.NFS
	if name == takeover.CEPHFS {
		protocol = params.CEPHFS
	}
	conn := serve(t, &driver.Identity{Name: name}, &driver.Controller{Clouds: clouds, ClusterID: ours, Protocol: protocol},
		&driver.Node{Name: "node-1", Clouds: clouds, Protocol: protocol, Mounter: mount.New(mount.Options{System: c.system})})
	c.Driver = takeover.Driver{Controller: csi.NewControllerClient(conn), Node: csi.NewNodeClient(conn), System: c.system, Dir: t.TempDir()}
	return c
}

func serve(t *testing.T, i *driver.Identity, c *driver.Controller, n *driver.Node) *grpc.ClientConn {
	t.Helper()
	const buffer = 1 << 16
	listener := bufconn.Listen(buffer)
	server := grpcserver.New(grpcserver.Options{Logger: slog.New(slog.DiscardHandler), Drain: time.Second})
	driver.Register(server.GRPC(), i, c, n)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// TestLife: every PersistentVolume of the plugin lives on, and ends, whatever its share says of a cluster.
func TestLife(t *testing.T) {
	t.Parallel()
	for _, name := range []string{takeover.NFS, takeover.CEPHFS} {
		fixtures := takeover.Fixtures(t, name)
		if len(fixtures) != 3 {
			t.Fatalf("%s: the fixtures are %q", name, fixtures)
		}
		for _, fixture := range fixtures {
			for _, ids := range [][2]string{{"", "c1"}, {"c1", "c1"}, {"kubernetes", "c1"}, {"kubernetes", ""}} {
				t.Run(fixture+" "+ids[0]+" to "+ids[1], func(t *testing.T) {
					t.Parallel()
					c := start(t, name, ids[0], ids[1])
					c.Life(t, c.origin, c.origin.Volume(t, fixture))
				})
			}
		}
	}
}

// TestVolumeThatWasBeingMade: a claim that the plugin had begun with is gone on with when the cluster's name is the same, or was never
// told. The share of another cluster is left alone.
func TestVolumeThatWasBeingMade(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		theirs, ours string
		want         codes.Code
	}{{"c1", "c1", codes.OK}, {"", "c1", codes.OK}, {"c1", "", codes.OK}, {"kubernetes", "c1", codes.AlreadyExists}} {
		d := start(t, takeover.CEPHFS, c.theirs, c.ours)
		name := target.Unique(t)
		metadata := map[string]string{}
		if c.theirs != "" {
			metadata[manila.ClusterKey] = c.theirs
		}
		share := d.origin.Share(t, name, "CEPHFS", "cephfs", metadata)
		got, err := d.Controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
			Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30}, Parameters: map[string]string{"type": "cephfs"}, Secrets: d.origin.Secret(),
			VolumeCapabilities: []*csi.VolumeCapability{{
				AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
				AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
			}},
		})
		if status.Code(err) != c.want || err == nil && got.GetVolume().GetVolumeId() != share || err != nil && !strings.Contains(err.Error(), c.theirs) {
			t.Errorf("%q to %q: %v, %v", c.theirs, c.ours, got, err)
		}
		if n := d.sim.Manila.Counts().Shares; n != 1 {
			t.Errorf("%q to %q: there are %d shares", c.theirs, c.ours, n)
		}
	}
}

// TestAnyStatus: a pod starts while its share is extended, backed up, migrated or checked, and after that has failed. The plugin wants
// available.
func TestAnyStatus(t *testing.T) {
	t.Parallel()
	for _, name := range []string{takeover.NFS, takeover.CEPHFS} {
		for _, fixture := range takeover.Fixtures(t, name) {
			c := start(t, name, "", "")
			v := c.origin.Volume(t, fixture)
			for _, s := range []string{
				"extending", "shrinking", "ensuring", "backup_creating", "backup_restoring", "migrating", "migrating_to", "reverting", "replication_change",
				"network_change", "server_migrating", "extending_error", "shrinking_error", "reverting_error", "awaiting_transfer",
			} {
				c.sim.Manila.SetShareStatus(v.Share, s)
				if err := c.Stage(t.Context(), v); err != nil {
					t.Errorf("%s, %s: %v", fixture, s, err)
				}
				if err := c.Publish(t.Context(), v, "a"); err != nil {
					t.Errorf("%s, %s: %v", fixture, s, err)
				}
				c.takeAway(t, v)
			}
		}
	}
}

func (c *cluster) takeAway(t *testing.T, v *takeover.Volume) {
	t.Helper()
	if err := c.Unpublish(t.Context(), v, "a"); err != nil {
		t.Error(err)
	}
	if err := c.Unstage(t.Context(), v); err != nil {
		t.Error(err)
	}
	if table, err := c.system.Table(); err != nil || len(table) != 0 {
		t.Errorf("still mounted: %+v, %v", table, err)
	}
}

// TestNodeWithPodsOfNFS: the plugin stages no NFS share; it mounts it for each pod. Kubelet believes the volume staged all the same, so
// a new pod's publish comes without a stage, and the pods that run keep their mounts until they end.
func TestNodeWithPodsOfNFS(t *testing.T) {
	t.Parallel()
	c := start(t, takeover.NFS, "", "c1")
	v := c.origin.Volume(t, "nfs-dynamic")
	running := c.Target(v, "a")
	for _, path := range []string{running, c.Staging(v)} {
		if err := os.MkdirAll(path, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.system.Mount("192.0.2.1:"+v.Export, running, "nfs4", 0, "vers=4.1"); err != nil {
		t.Fatal(err)
	}
	for _, pod := range []string{"b", "a"} { // a's is what kubelet does for pods that run, when it starts again
		if err := c.Publish(t.Context(), v, pod); err != nil {
			t.Errorf("pod %s: %v", pod, err)
		}
	}
	if table, _ := c.system.Table(); len(table) != 3 || table[0].Source != "192.0.2.1:"+v.Export {
		t.Errorf("the mounts are %+v", table)
	}
	if err := c.Unpublish(t.Context(), v, "b"); err != nil {
		t.Error(err)
	}
	c.takeAway(t, v)
}

// TestNodeWithPodsOfCephFS: ceph-fuse of the plugin's partner, which tells no share, has staged the volume. It is taken as it is while
// it lives, and replaced at the next publish when it has gone with its pod.
func TestNodeWithPodsOfCephFS(t *testing.T) {
	t.Parallel()
	c := start(t, takeover.CEPHFS, "", "c1")
	v := c.origin.Volume(t, "cephfs-dynamic")
	if err := os.MkdirAll(c.Staging(v), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := c.system.CephFuse(t.Context(), v.PV.Name, "", []string{c.Staging(v)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Stage(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	dead := slices.Clone(c.system.Calls())
	c.system.Fail = func(call mounttest.Call) error {
		started := slices.ContainsFunc(c.system.Calls()[len(dead):], func(x mounttest.Call) bool { return x.Name == "ceph-fuse" })
		if call.Name == "probe" && call.Target == c.Staging(v) && !started {
			return unix.ENOTCONN
		}
		return nil
	}
	if err := c.Publish(t.Context(), v, "a"); err != nil {
		t.Fatal(err)
	}
	table, _ := c.system.Table()
	if len(table) != 2 || !strings.HasSuffix(table[0].Source, v.Export) {
		t.Errorf("the mounts are %+v", table)
	}
	c.takeAway(t, v)
}

// TestSecretIsNeeded: without a secret and a credential of the node the error says what to do.
func TestSecretIsNeeded(t *testing.T) {
	t.Parallel()
	c := start(t, takeover.CEPHFS, "", "")
	v := c.origin.Volume(t, "cephfs-static-by-name")
	v.PV.Spec.CSI.NodeStageSecretRef = nil
	if err := c.Stage(t.Context(), v); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "--os-cloud") {
		t.Errorf("without a secret: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(c.Staging(v))); err == nil {
		t.Error("a directory was made")
	}
}

// TestMissingRule: an access rule that somebody has removed is one volume's error, which names it, and the node goes on with others.
func TestMissingRule(t *testing.T) {
	t.Parallel()
	c := start(t, takeover.CEPHFS, "", "")
	v, other := c.origin.Volume(t, "cephfs-dynamic"), c.origin.Volume(t, "cephfs-dynamic-old")
	v.PV.Spec.CSI.VolumeAttributes["shareAccessIDs"] = "c2b9b7f0-6a0a-4f0e-8f5a-0d9a1f6c5a11"
	if err := c.Stage(t.Context(), v); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "c2b9b7f0-") {
		t.Errorf("without its rule: %v", err)
	}
	if err := c.Stage(t.Context(), other); err != nil {
		t.Errorf("another volume: %v", err)
	}
	c.takeAway(t, other)
}

// TestHungManila: while Manila does not answer for one volume, others are unstaged, and staged when nothing has to be asked.
func TestHungManila(t *testing.T) {
	t.Parallel()
	c := start(t, takeover.CEPHFS, "", "")
	v, other := c.origin.Volume(t, "cephfs-dynamic"), c.origin.Volume(t, "cephfs-dynamic-old")
	if err := c.Stage(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	c.sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodGet, Path: v.Share, Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	hung := make(chan error, 1)
	go func() { hung <- c.Stage(ctx, v) }()
	target.Eventually(t, "a stage that hangs", func() bool { return c.busy(t, v) })
	if err := c.Publish(t.Context(), other, "a"); err != nil {
		t.Error(err)
	}
	c.takeAway(t, other)
	select {
	case err := <-hung:
		t.Errorf("it did not hang: %v", err)
	default:
	}
	cancel()
	if err := <-hung; status.Code(err) != codes.Canceled {
		t.Errorf("a caller that gives up: %v", err)
	}
}

// busy says whether a call for a volume is under way: another one for it is refused.
func (c *cluster) busy(t *testing.T, v *takeover.Volume) bool {
	t.Helper()
	return status.Code(c.Unstage(t.Context(), v)) == codes.Aborted
}
