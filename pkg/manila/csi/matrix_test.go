package csi_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/csi/csitest"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// ways are the ways in which a cloud spoils a call.
func ways() map[string]openstacksim.Fault {
	faults := map[string]openstacksim.Fault{"dropped before": {Drop: true}, "dropped after": {DropAfter: true}, "slow": {Delay: 350 * time.Millisecond}}
	for _, code := range []int{401, 403, 404, 409, 413, 429, 500, 503} {
		faults[strconv.Itoa(code)] = openstacksim.Fault{Status: code}
	}
	return faults
}

// TestFaultMatrix spoils each call of each RPC once, in each way that a cloud has; the calls are those in the log of an RPC that
// goes well, so that new ones are in the matrix by themselves. Then a new process gets the same request again and again: it ends
// well, nothing is there twice, and it leaves nothing when all that is listed is deleted. No answer on the way is Internal.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	cfg := threeZones()
	cfg.Delays = openstacksim.ManilaDelays{
		Create: 10 * time.Millisecond, Grant: 10 * time.Millisecond, Extend: 10 * time.Millisecond, Snapshot: 10 * time.Millisecond, CreateFromSnapshot: 10 * time.Millisecond,
	}
	elsewhere := csitest.RPC{Name: "CreateVolume in another zone", Before: csitest.Volume("NFS"), Left: csitest.Things{Shares: 2, Rules: 2}}
	elsewhere.Request = func(string) proto.Message {
		r := csitest.Create("new", "NFS", nil)
		auto("c", "b")(r)
		return r
	}
	running := make(chan struct{}, 8*runtime.GOMAXPROCS(0)) // of all RPCs together; they mostly wait, so there are more at a time than processors
	for _, rpc := range append(csitest.Matrix(), elsewhere) {
		t.Run(rpc.Name, func(t *testing.T) {
			t.Parallel()
			good := start(t, cfg)
			good.controller.Topology, good.controller.Attach = true, true
			id := good.before(t, rpc)
			good.Calls.Reset()
			if _, err := csitest.Server(good.controller)(t.Context(), rpc.Request(id)); err != nil {
				t.Fatal(err)
			}
			_, calls := good.counts()
			var cells sync.WaitGroup
			for n := range calls {
				for name, fault := range ways() {
					d := start(t, cfg)
					d.controller.Attach = true
					id := d.before(t, rpc)
					fault.Service, fault.Path, fault.Skip, fault.Count = openstacksim.ServiceManila, `^/v2/.`, n, 1
					d.Faults.Add(fault)
					running <- struct{}{}
					cells.Go(func() {
						defer func() { <-running }()
						if err := d.converge(t.Context(), rpc, id); err != nil {
							t.Errorf("call %d %s: %v", n, name, err)
						}
					})
				}
			}
			cells.Wait()
		})
	}
}

func (d *driver) before(t *testing.T, rpc csitest.RPC) (id string) {
	t.Helper()
	id, err := rpc.Before(t.Context(), csitest.Server(d.controller))
	if err != nil {
		t.Fatalf("%s: %v", rpc.Name, err)
	}
	return id
}

// process is a controller that knows nothing of the one before it.
func (d *driver) process() (c *csi.Controller, end func()) {
	pool := openstack.NewPool(openstack.Options{})
	return &csi.Controller{ClusterID: d.controller.ClusterID, Topology: true, Attach: true, Clouds: &csi.Clouds{Pool: pool, Own: d.controller.Clouds.Own, Options: d.controller.Clouds.Options}}, pool.Close
}

// converge calls an RPC until it ends well, each time in a process that knows nothing of the one before, and cleans up. A process whose
// time is up is no sign of trouble, for the machine may be slow: the next one has more of it. One that fails by itself is.
func (d *driver) converge(ctx context.Context, rpc csitest.RPC, id string) (wrong error) {
	const failures, longest = 6, 40 * time.Second
	err := errors.New("never called")
	for failed, patience := 0, 300*time.Millisecond; err != nil && failed < failures && patience < longest; {
		bound, cancel := context.WithTimeout(ctx, patience)
		c, end := d.process()
		_, err = csitest.Server(c)(bound, rpc.Request(id))
		if bound.Err() != nil {
			patience *= 2
		} else {
			failed++
		}
		cancel()
		end()
		if code := status.Code(err); code == codes.Internal || code == codes.Unknown {
			wrong = errors.Join(wrong, fmt.Errorf("code %v: %w", code, err))
		}
	}
	if got := d.Manila.Counts(); err != nil || got != openstacksim.ManilaCounts(rpc.Left) {
		return errors.Join(wrong, fmt.Errorf("there are %+v, want %+v: %w", got, rpc.Left, err))
	}
	d.Faults.Clear() // it had fewer polls than the good one, and the fault is still to come
	if err := csitest.DeleteAll(ctx, csitest.Server(d.controller)); err != nil {
		wrong = errors.Join(wrong, err)
	}
	if got := d.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		wrong = errors.Join(wrong, fmt.Errorf("left: %+v", got))
	}
	return wrong
}
