package openstack_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mooring/tests/contract/target"
	"mooring/tests/peer/process"
)

// The ordinary openstack client works against the simulator, as a process of its own: it was written by others, for the
// real services.
func TestOpenStackClientOnTheSimulator(t *testing.T) {
	t.Parallel()
	if os.Getenv(target.Variable) == "" {
		t.Skipf("%s is not set: this is no machine with the lab, which brings the client", target.Variable)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	clouds := filepath.Join(t.TempDir(), "clouds.yaml")
	sim, err := process.Start(ctx, "openstack-sim", filepath.Join(process.Programs(t), "openstack-sim"), nil, "--clouds-file", clouds, "--delay", "50ms")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Kill)
	if _, err := sim.Said(ctx, "OpenStack at "); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ command, want string }{
		{"share create --name a --share-type cephfs --wait -f value -c status CEPHFS 1", "available"},
		{"share list -f value -c Name", "a"},
		{"share access create a cephx bob -f value -c access_to", "bob"},
		{"share delete --wait a", ""},
		{"secret store --name s --payload x -f value -c Name", "s"},
		{"secret list -f value -c Name", "s"},
		{"zone create --email a@b.test client.test. -f value -c name", "client.test."},
		{"zone list -f value -c name", "client.test."},
		{"recordset create client.test. www --type A --record 192.0.2.1 -f value -c records", "192.0.2.1"},
	} {
		cmd := exec.CommandContext(ctx, "/usr/bin/openstack", strings.Fields(step.command)...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + t.TempDir(), "OS_CLIENT_CONFIG_FILE=" + clouds, "OS_CLOUD=demo", "LC_ALL=C.UTF-8"}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), step.want) {
			t.Fatalf("openstack %s: %v: %s", step.command, err, out)
		}
	}
}
