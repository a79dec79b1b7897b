// Package kill_test ends the controller's process with SIGKILL, right after Manila has acted on a call and before the answer is
// there: at each call of each RPC of the fault matrix.
package kill_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mooring/pkg/manila/csi/csitest"
	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/peer/process"
)

// controller is a process over a cloud of its own, and the socket that it serves.
type controller struct {
	program, dir string
	cloud        *openstacksim.Cloud
	conn         *grpc.ClientConn
	process      *process.Process
}

func start(t *testing.T, program string) *controller {
	t.Helper()
	cloud, err := openstacksim.Start(openstacksim.Config{Manila: openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{
		Create: 10 * time.Millisecond, Delete: 10 * time.Millisecond, Grant: 10 * time.Millisecond, Extend: 10 * time.Millisecond, Resized: 5 * time.Millisecond,
		Snapshot: 10 * time.Millisecond, SnapshotDelete: 10 * time.Millisecond, CreateFromSnapshot: 10 * time.Millisecond,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	dir, err := os.MkdirTemp("", "kill") //nolint:usetesting // shorter than t.TempDir: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "clouds.yaml"), cloud.CloudsYAML(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &controller{program: program, dir: dir, cloud: cloud}
	t.Cleanup(c.kill)
	return c
}

// run starts the process and waits until it serves.
func (c *controller) run(ctx context.Context) error {
	socket := filepath.Join(c.dir, "csi.sock")
	p, err := process.Start(ctx, "manila-controller", c.program, nil,
		"manila-controller", "--clouds-file="+filepath.Join(c.dir, "clouds.yaml"), "--os-cloud=demo", "--cluster-id=c1", "--endpoint=unix://"+socket)
	if err != nil {
		return err
	}
	c.process = p
	if _, err := p.Listening(ctx, "unix", socket); err != nil {
		return err
	}
	c.conn, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return err
}

// kill ends the process with SIGKILL, if it runs.
func (c *controller) kill() {
	if c.process != nil {
		c.process.Kill()
	}
	if c.conn != nil {
		_ = c.conn.Close() // there is nobody at its other end
	}
	c.process, c.conn = nil, nil
}

// calls runs an RPC that goes well and counts its calls to Manila.
func (c *controller) calls(ctx context.Context, rpc csitest.RPC) (int, error) {
	if err := c.run(ctx); err != nil {
		return 0, err
	}
	do := csitest.Conn(c.conn)
	id, err := rpc.Before(ctx, do)
	if err != nil {
		return 0, err
	}
	c.cloud.Calls.Reset()
	if _, err := do(ctx, rpc.Request(id)); err != nil {
		return 0, err
	}
	return c.cloud.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceManila, Path: `^/v2/.`}), nil
}

// killedAt kills the process at call n of an RPC, sends the request again to a new one, as sidecars do, and cleans up.
func (c *controller) killedAt(ctx context.Context, rpc csitest.RPC, n int) (killed bool, err error) {
	if err := c.run(ctx); err != nil {
		return false, err
	}
	id, err := rpc.Before(ctx, csitest.Conn(c.conn))
	if err != nil {
		return false, err
	}
	var shot atomic.Bool
	running := c.process
	c.cloud.Faults.Add(openstacksim.Fault{
		Service: openstacksim.ServiceManila, Path: `^/v2/.`, Skip: n, Count: 1, DropAfter: true,
		Then: func() { shot.Store(true); running.Kill() },
	})
	_, err = csitest.Conn(c.conn)(ctx, rpc.Request(id))
	if killed = shot.Load(); !killed && err != nil {
		return false, fmt.Errorf("it was not killed, and failed: %w", err)
	}
	c.cloud.Faults.Clear()
	c.kill()
	if err := c.run(ctx); err != nil {
		return killed, err
	}
	do := csitest.Conn(c.conn)
	for range 5 {
		if _, err = do(ctx, rpc.Request(id)); err == nil {
			break
		}
	}
	if got := c.cloud.Manila.Counts(); err != nil || got != openstacksim.ManilaCounts(rpc.Left) {
		return killed, errors.Join(err, fmt.Errorf("there are %+v, want %+v", got, rpc.Left))
	}
	if err := csitest.DeleteAll(ctx, do); err != nil {
		return killed, err
	}
	if got := c.cloud.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		return killed, fmt.Errorf("left: %+v", got)
	}
	return killed, nil
}

// lateAt kills the process while its create is in Manila's API, which carries it out at call n of the next process.
func (c *controller) lateAt(ctx context.Context, request *csi.CreateVolumeRequest, n int) (late bool, err error) {
	if err := c.run(ctx); err != nil {
		return false, err
	}
	held, recorded := make(chan struct{}), make(chan struct{})
	record := sync.OnceFunc(func() { close(held); <-recorded })
	running := c.process
	c.cloud.Faults.Add(openstacksim.Fault{
		Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: `^/v2/shares$`, Count: 1,
		Before: func() { running.Kill(); <-held }, Then: func() { close(recorded) },
	})
	if _, err := csitest.Conn(c.conn)(ctx, request); err == nil {
		return false, errors.New("it was not killed")
	}
	c.kill()
	if err := c.run(ctx); err != nil {
		return false, err
	}
	var during atomic.Bool
	remove := c.cloud.Faults.Add(openstacksim.Fault{
		Service: openstacksim.ServiceManila, Path: `^/v2/.`, Skip: n, Count: 1, Then: func() { during.Store(true); record() },
	})
	do := csitest.Conn(c.conn)
	made, err := do(ctx, request)
	remove()
	late = during.Load()
	if err != nil {
		return late, err
	}
	told, ok := made.(*csi.CreateVolumeResponse)
	if !ok {
		return late, fmt.Errorf("a create was answered with %T", made)
	}
	if _, err := do(ctx, &csi.ControllerGetVolumeRequest{VolumeId: told.GetVolume().GetVolumeId()}); err != nil {
		return late, fmt.Errorf("the volume that was told of: %w", err)
	}
	record()
	if _, err := do(ctx, &csi.DeleteVolumeRequest{VolumeId: told.GetVolume().GetVolumeId()}); err != nil {
		return late, err
	}
	if got := c.cloud.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		return late, fmt.Errorf("left: %+v", got)
	}
	return late, nil
}

// TestKilledInTheAPI: Manila carries out the create of a dead process at each call of its successor, and after them: the share that is
// told of is there, and with it goes all that was made for the volume.
func TestKilledInTheAPI(t *testing.T) {
	t.Parallel()
	program := filepath.Join(process.Programs(t), "mooring")
	for _, protocol := range []string{"NFS", "CEPHFS"} {
		for _, access := range []string{"static", "node"} {
			t.Run(protocol+" "+access, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				request := csitest.Create("new", protocol, nil)
				request.Parameters["access"] = access
				for n := 0; ; n++ {
					late, err := start(t, program).lateAt(ctx, request, n)
					if err != nil {
						t.Errorf("carried out at call %d: %v", n, err)
					}
					if !late { // there are no more calls
						if n < 3 {
							t.Errorf("it was over after %d calls", n)
						}
						return
					}
				}
			})
		}
	}
}

// TestKilledAtEachCall of each RPC, for good: the next process goes on where things stand, nothing is there twice, and nothing is
// left when all that is listed is deleted.
func TestKilledAtEachCall(t *testing.T) {
	t.Parallel()
	program := filepath.Join(process.Programs(t), "mooring")
	for _, rpc := range csitest.Matrix() {
		t.Run(rpc.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // there may be many at once
			defer cancel()
			calls, err := start(t, program).calls(ctx, rpc)
			if err != nil || calls == 0 {
				t.Fatalf("%d calls: %v", calls, err)
			}
			kills := make([]bool, calls)
			var cells errgroup.Group // of processes
			cells.SetLimit(2 * runtime.GOMAXPROCS(0))
			for n := range calls {
				c := start(t, program)
				cells.Go(func() error {
					killed, err := c.killedAt(ctx, rpc, n)
					if err != nil {
						t.Errorf("killed at call %d: %v", n, err)
					}
					kills[n] = killed
					return nil
				})
			}
			_ = cells.Wait() // they tell t
			t.Logf("%d calls, killed at: %v", calls, kills)
			if !kills[0] {
				t.Error("the process was not killed at the first call")
			}
		})
	}
}
