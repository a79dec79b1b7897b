package csi_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"mooring/pkg/manila/csi/csitest"
	"mooring/pkg/openstack/openstacksim"
)

var (
	chaosSeed = flag.Uint64("chaos.seed", 0, "seed of TestChaos; 0: another one each time")
	chaosRuns = flag.Uint64("chaos.runs", 1, "how many seeds TestChaos takes, one after the other")
)

// unfinished are the codes after which external-provisioner calls again; after any other it gives up, and forgets a volume whose
// claim has been deleted meanwhile.
func unfinished() []codes.Code {
	return []codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.Aborted}
}

// TestChaos makes volumes over a cloud in which calls go wrong at random, by processes that are ended at random, as
// external-provisioner would: it sends the same request until that ends well or with a final code, and of what has ended with a
// final code it knows nothing any more. All that it knows it deletes. Then there is nothing left. The seed is in the name;
// -chaos.seed repeats a run, and -chaos.runs makes more than one.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed := cmp.Or(*chaosSeed, uint64(time.Now().UnixNano()))
	for i := range *chaosRuns {
		t.Run(fmt.Sprintf("seed %d", seed+i), func(t *testing.T) {
			t.Parallel()
			chaos(t, seed+i)
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	t.Helper()
	const volumes, troubled = 8, 3 * time.Second
	d := start(t, openstacksim.ManilaConfig{
		Delays: openstacksim.ManilaDelays{
			Create: 20 * time.Millisecond, CreateFromSnapshot: 20 * time.Millisecond, Delete: 20 * time.Millisecond, Grant: 10 * time.Millisecond, Extend: 10 * time.Millisecond,
			Snapshot: 20 * time.Millisecond, SnapshotDelete: 10 * time.Millisecond, Resized: 5 * time.Millisecond,
		},
		Quota: openstacksim.ManilaQuota{Shares: 10, Gigabytes: 14, Snapshots: 6, SnapshotGigabytes: 20, ShareNetworks: 1, PerShareGigabytes: -1}, // it is met now and then
	})
	source, err := csitest.Volume("NFS")(t.Context(), csitest.Server(d.controller))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), troubled)
	defer cancel()
	var all errgroup.Group
	all.Go(func() error { d.trouble(ctx, rand.New(rand.NewPCG(seed, 0))); return nil })
	for n := range uint64(volumes) {
		s := &sidecar{d: d, r: rand.New(rand.NewPCG(seed, n+1)), trouble: ctx}
		all.Go(func() error {
			if err := s.life(t.Context(), fmt.Sprintf("v%d", n), source); err != nil {
				t.Errorf("seed %d, volume %d: %v", seed, n, err)
			}
			return nil
		})
	}
	_ = all.Wait() // they tell t
	if _, err := csitest.Server(d.controller)(t.Context(), &spec.DeleteVolumeRequest{VolumeId: source}); err != nil {
		t.Errorf("seed %d: the source: %v", seed, err)
	}
	if got := d.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		t.Errorf("seed %d: left over: %+v", seed, got)
	}
}

// trouble adds a fault every few milliseconds, for a few calls, until ctx ends.
func (d *driver) trouble(ctx context.Context, r *rand.Rand) {
	defer d.Faults.Clear()
	for ctx.Err() == nil {
		fault := openstacksim.Fault{Service: openstacksim.ServiceManila, Path: `^/v2/.`, Skip: r.IntN(6), Count: 1 + r.IntN(3)}
		switch r.IntN(4) {
		case 0:
			fault.Drop = true
		case 1:
			fault.DropAfter = true
		case 2:
			fault.Delay = time.Duration(r.IntN(150)) * time.Millisecond
		default:
			fault.Status = []int{401, 403, 404, 409, 413, 429, 500, 502, 503, 504}[r.IntN(10)]
		}
		if r.IntN(20) == 0 {
			fault.Service, fault.Path = openstacksim.ServiceKeystone, `/auth/tokens$`
		}
		remove := d.Faults.Add(fault)
		timer := time.NewTimer(time.Duration(5+r.IntN(40)) * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		remove()
	}
}

// sidecar sends the requests of one volume.
type sidecar struct {
	d       *driver
	r       *rand.Rand
	trouble context.Context //nolint:containedctx // it says how long there is trouble
}

// life makes a volume, perhaps from another one, perhaps grows it and snapshots it, and deletes all that.
func (s *sidecar) life(ctx context.Context, name, source string) error {
	from := []*spec.VolumeContentSource{nil, nil, csitest.FromVolume(source)}[s.r.IntN(3)]
	protocol := "NFS"
	if from == nil && s.r.IntN(2) == 0 {
		protocol = "CEPHFS"
	}
	made, err := s.until(ctx, csitest.Create(name, protocol, from))
	if err != nil {
		return nil //nolint:nilerr // it has ended with a final code: the claim is deleted, and the volume forgotten
	}
	created, _ := made.(*spec.CreateVolumeResponse)
	id := created.GetVolume().GetVolumeId()
	if s.r.IntN(2) == 0 {
		_, _ = s.until(ctx, &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &spec.CapacityRange{RequiredBytes: 2 << 30}}) // it stays as it is then
	}
	if s.r.IntN(2) == 0 {
		if taken, err := s.until(ctx, &spec.CreateSnapshotRequest{Name: "s-" + name, SourceVolumeId: id}); err == nil {
			snapshot, _ := taken.(*spec.CreateSnapshotResponse)
			if err := s.delete(ctx, &spec.DeleteSnapshotRequest{SnapshotId: snapshot.GetSnapshot().GetSnapshotId()}); err != nil {
				return err
			}
		}
	}
	return s.delete(ctx, &spec.DeleteVolumeRequest{VolumeId: id})
}

// until sends a request until it ends well or with a final code. A final one tempts only while there is trouble: a claim that stays
// is tried again for ever.
func (s *sidecar) until(ctx context.Context, request proto.Message) (proto.Message, error) {
	for {
		answer, err := s.once(ctx, request)
		if err == nil || !slices.Contains(unfinished(), status.Code(err)) || ctx.Err() != nil {
			return answer, err
		}
	}
}

// delete sends a request until it ends well, whatever the code: volumes whose deletion has failed are tried again. Without trouble
// it has to go well soon.
func (s *sidecar) delete(ctx context.Context, request proto.Message) error {
	for after := 0; ; {
		_, err := s.once(ctx, request)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if s.trouble.Err() != nil {
			after++
		}
		if after > 5 {
			return err
		}
	}
}

// once sends a request to a process of its own, which is ended before its time now and then.
func (s *sidecar) once(ctx context.Context, request proto.Message) (proto.Message, error) {
	patience := time.Duration(20+s.r.IntN(400)) * time.Millisecond
	if s.trouble.Err() != nil {
		patience = time.Minute // so that a slow machine does not count
	}
	bound, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, end := s.d.process()
	defer end()
	if s.r.IntN(4) == 0 && s.trouble.Err() == nil { // its calls are cut off, and its sessions closed under it
		timer := time.AfterFunc(time.Duration(s.r.IntN(60))*time.Millisecond, end)
		defer timer.Stop()
	}
	return csitest.Server(c)(bound, request)
}
