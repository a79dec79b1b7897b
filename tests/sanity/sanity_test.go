package sanity_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	csisanity "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"

	"mooring/pkg/grpcserver"
	"mooring/pkg/manila"
	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
	"mooring/tests/sanity"
)

// driver is one configuration of the driver, served for one part of the suite.
type driver struct {
	name, shareType string
	protocol        params.Protocol
	twoSockets      bool
	mutable         map[string]string
	topology        bool
	attach          bool

	cloud  *openstacksim.Cloud
	system *mounttest.System
}

// TestSanity runs all configurations over the CSI services, the real mounter and the simulated Manila. What is not real is at the two
// ends: Manila answers from memory, with the delays of a real one, and the kernel's mounts are entries of a table.
func TestSanity(t *testing.T) { //nolint:paralleltest // Ginkgo has global state
	drivers := []*driver{
		{name: "NFS on one socket", protocol: params.NFS, shareType: "cephfs-nfs", mutable: map[string]string{
			"nfs-shareClient": "10.0.0.0/8", "accessLevel": "ro", "appendShareMetadata": `{"tier":"gold"}`,
		}},
		{name: "CEPHFS on two sockets", protocol: params.CEPHFS, shareType: "cephfs", twoSockets: true, attach: true, mutable: map[string]string{"appendShareMetadata": `{"tier":"gold"}`}},
		{name: "NFS with topology", protocol: params.NFS, shareType: "cephfs-nfs", topology: true, attach: true},
	}
	configs := map[string]*csisanity.TestConfig{}
	for _, d := range drivers {
		configs[d.name] = d.start(t)
	}
	sanity.Run(t, "csi-sanity over the simulator", configs)
	for _, d := range drivers {
		d.finish(t)
	}
}

func (d *driver) start(t *testing.T) *csisanity.TestConfig {
	t.Helper()
	cloud, err := openstacksim.Start(openstacksim.Config{Manila: openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{
		Create: 300 * time.Millisecond, Delete: 100 * time.Millisecond, Grant: 100 * time.Millisecond, Extend: 200 * time.Millisecond, Resized: 20 * time.Millisecond,
		Snapshot: 200 * time.Millisecond, SnapshotDelete: 100 * time.Millisecond, CreateFromSnapshot: 200 * time.Millisecond,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	dir, err := os.MkdirTemp("", "sanity") //nolint:usetesting // shorter than t.TempDir: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	clouds := d.clouds(t, cloud, dir)
	d.cloud, d.system = cloud, &mounttest.System{}
	identity := &csi.Identity{Name: csi.DriverName, Version: "test", Topology: d.topology}
	controller := &csi.Controller{Clouds: clouds, ClusterID: "sanity", Topology: d.topology, Attach: d.attach}
	addresses := func(context.Context) []netip.Addr { return []netip.Addr{netip.MustParseAddr("10.0.0.5")} }
	node := &csi.Node{Name: "node-1", Addresses: addresses, Mounter: mount.New(mount.Options{System: d.system}), Clouds: clouds, Condition: d.topology}
	if d.topology {
		node.Zone = func(context.Context) (string, error) { return "nova", nil }
	}

	config := csisanity.NewTestConfig()
	config.TargetPath, config.StagingPath = filepath.Join(dir, "target"), filepath.Join(dir, "staging")
	config.TestVolumeParameters = map[string]string{"protocol": string(d.protocol), "type": d.shareType}
	if d.topology {
		config.TestVolumeParameters["autoTopology"] = "true"
	}
	config.TestVolumeMutableParameters = d.mutable
	config.Address = filepath.Join(dir, "csi.sock")
	if d.twoSockets {
		config.ControllerAddress = filepath.Join(dir, "controller.sock")
		serve(t, config.Address, identity, nil, node)
		serve(t, config.ControllerAddress, identity, controller, nil)
	} else {
		serve(t, config.Address, identity, controller, node)
	}
	return &config
}

func (d *driver) clouds(t *testing.T, cloud *openstacksim.Cloud, dir string) *csi.Clouds {
	t.Helper()
	file := filepath.Join(dir, "clouds.yaml")
	if err := os.WriteFile(file, cloud.CloudsYAML(), 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(string) (string, bool) { return "", false }
	credential, err := openstack.Source{Cloud: "demo", CloudsFile: file, LookupEnv: none, ReadFile: os.ReadFile}.Load()
	if err != nil {
		t.Fatal(err)
	}
	pool := openstack.NewPool(openstack.Options{})
	t.Cleanup(pool.Close)
	return &csi.Clouds{Pool: pool, Own: credential, Options: manila.Options{Poll: poll.Backoff{First: 100 * time.Millisecond, Max: time.Second, Factor: 1.1}}}
}

func serve(t *testing.T, path string, i *csi.Identity, c *csi.Controller, n *csi.Node) {
	t.Helper()
	listener, err := grpcserver.Listen(t.Context(), "unix://"+path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	server := grpcserver.New(grpcserver.Options{Logger: slog.New(slog.DiscardHandler), Drain: time.Second})
	csi.Register(server.GRPC(), i, c, n)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// finish looks for what the suite has left behind, and counts the logins.
func (d *driver) finish(t *testing.T) {
	t.Helper()
	if got := d.cloud.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		t.Errorf("%s: left in Manila: %+v", d.name, got)
	}
	if table, err := d.system.Table(); err != nil || len(table) != 0 {
		t.Errorf("%s: left mounted: %+v, %v", d.name, table, err)
	}
	logins := 0
	for _, call := range d.cloud.Calls.All() {
		if call.Service == openstacksim.ServiceKeystone && strings.HasSuffix(call.Path, "/auth/tokens") && call.Method == http.MethodPost {
			logins++
		}
	}
	if logins != 1 {
		t.Errorf("%s: %d logins, want 1", d.name, logins)
	}
}
