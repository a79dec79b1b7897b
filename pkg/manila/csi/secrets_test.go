package csi_test

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mooring/pkg/grpcserver"
	"mooring/pkg/logging/logtest"
	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/csi/csitest"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack/openstacksim"
)

// dial serves the driver on a socket, with a log of everything, and connects to it.
func (d *driver) dial(t *testing.T, log *logtest.Buffer) *grpc.ClientConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "csi") //nolint:usetesting // shorter than t.TempDir: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := grpcserver.Listen(t.Context(), "unix://"+filepath.Join(dir, "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	server := grpcserver.New(grpcserver.Options{
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Drain: time.Second, Describe: csi.Describe, Annotate: csi.Annotate,
	})
	csi.Register(server.GRPC(), &csi.Identity{Name: csi.DriverName, Version: "test"}, d.controller, d.node)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, "s"), grpc.WithTransportCredentials(insecure.NewCredentials()))
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

// TestNothingSecretIsLogged looks for every secret of a whole life of a CephFS volume, with all that can go wrong in it, in
// everything that is logged at debug and in every error: passwords, good and wrong ones, in places where they do not belong, tokens,
// and cephx keys.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	var log logtest.Buffer
	conn := d.dial(t, &log)
	node := spec.NewNodeClient(conn)
	var said []string
	tell := func(_ any, err error) {
		if err != nil {
			said = append(said, err.Error())
		}
	}
	good := d.secret(t, "")
	misplaced := map[string]string{"os-authURL": good["os-authURL"], "os-passwd": "hunter2-key", "os-TLSInsecure": "hunter2-flag", "os-certAuthority": "hunter2-pem"}
	inURL := maps.Clone(good)
	inURL["os-authURL"] = strings.Replace(good["os-authURL"], "://", "://u:hunter2-url@", 1)
	inURL["os-password"] = "hunter2-other"
	secrets := []map[string]string{d.secret(t, "hunter2-wrong"), misplaced, inURL, nil, good}
	create := csitest.Create("pvc", "CEPHFS", nil)
	var volume *spec.Volume
	for _, secret := range secrets {
		create.Secrets = secret
		answer, err := spec.NewControllerClient(conn).CreateVolume(t.Context(), create)
		tell(answer, err)
		volume = answer.GetVolume()
	}
	stage := &spec.NodeStageVolumeRequest{VolumeId: volume.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: volume.GetVolumeContext()}
	for _, secret := range secrets {
		stage.Secrets = secret
		for _, errno := range []error{unix.EPERM, unix.EINVAL, unix.ENODEV, unix.EIO} {
			d.system.Fail = func(mounttest.Call) error { return errno }
			tell(node.NodeStageVolume(t.Context(), stage))
		}
	}
	d.system.Fail = nil
	publish := &spec.NodePublishVolumeRequest{
		VolumeId: volume.GetVolumeId(), StagingTargetPath: stage.GetStagingTargetPath(), TargetPath: filepath.Join(d.dir, "pod"), VolumeCapability: rwx(),
		VolumeContext: volume.GetVolumeContext(), Secrets: secrets[0],
	}
	tell(node.NodePublishVolume(t.Context(), publish)) // nothing is staged
	if _, err := node.NodeStageVolume(t.Context(), stage); err != nil {
		t.Fatal(err)
	}
	if _, err := node.NodePublishVolume(t.Context(), publish); err != nil {
		t.Fatal(err)
	}
	d.takeAway(t, volume, "pod")
	for _, secret := range secrets {
		tell(spec.NewControllerClient(conn).DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: volume.GetVolumeId(), Secrets: secret}))
	}
	all := log.String() + d.log.String() + strings.Join(said, "\n")
	if !strings.Contains(all, volume.GetVolumeId()) || len(said) < 20 {
		t.Fatalf("too little was logged (%d bytes), or went wrong (%d errors)", len(all), len(said))
	}
	known := d.Secrets()
	if len(known) < 3 {
		t.Fatalf("only %d secrets are known", len(known))
	}
	for _, secret := range append(slices.Clone(known), "hunter2", good["os-password"]) {
		for line := range strings.Lines(all) {
			if strings.Contains(line, secret) {
				t.Errorf("it says %q: %s", secret, line)
			}
		}
	}
}
