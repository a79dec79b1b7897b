package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"mooring/pkg/openstack/openstacksim"
)

// usual are delays in which every step is waited for.
func usual() openstacksim.ManilaConfig {
	return openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 700 * time.Millisecond, Grant: 300 * time.Millisecond, Delete: 400 * time.Millisecond}}
}

func measureCSI(ctx context.Context, b *bench) error {
	for _, measure := range []func(context.Context, *bench) error{measureCalls, measureStages, measureCrowds, measureNotice, measureMany} {
		if err := measure(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func capability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
	}
}

func create(ctx context.Context, conn *grpc.ClientConn, protocol, name string) (*csi.Volume, error) {
	types := map[string]string{"NFS": "cephfs-nfs", "CEPHFS": "cephfs"}
	created, err := csi.NewControllerClient(conn).CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30}, VolumeCapabilities: []*csi.VolumeCapability{capability()},
		Parameters: map[string]string{"protocol": protocol, "type": types[protocol]},
	})
	return created.GetVolume(), err
}

// workers is how many creates external-provisioner has under way at most, by default.
const workers = 100

// atOnce calls do n times, up to as many at the same time as there are workers. Its error is the first.
func atOnce(n int, do func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(workers)
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	return group.Wait()
}

// measureCalls counts what one create and one delete cost.
func measureCalls(ctx context.Context, b *bench) error {
	return withRig(ctx, usual(), func(ctx context.Context, r *rig) error {
		_, conn, err := r.controller(ctx, b.mooring)
		if err != nil {
			return err
		}
		first, err := create(ctx, conn, "NFS", "first") // logs in, and finds the microversion
		if err != nil {
			return err
		}
		for _, protocol := range []string{"NFS", "CEPHFS"} {
			calls, polls, err := r.count(func() error { _, err := create(ctx, conn, protocol, "one-"+protocol); return err })
			if err := errors.Join(err, b.calls("csi.create_"+strings.ToLower(protocol), calls, polls)); err != nil {
				return err
			}
		}
		calls, polls, err := r.count(func() error {
			_, err := csi.NewControllerClient(conn).DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: first.GetVolumeId()})
			return err
		})
		return errors.Join(err, b.calls("csi.delete", calls, polls))
	})
}

func (b *bench) calls(name string, calls, polls int) error {
	return errors.Join(b.record(name+".calls", float64(calls), "calls"), b.record(name+".polls", float64(polls), "calls"))
}

// measureStages counts what a stage costs, and times many with a slow cloud.
func measureStages(ctx context.Context, b *bench) error {
	const parallel, latency = 30, 100 * time.Millisecond
	return withRig(ctx, openstacksim.ManilaConfig{}, func(ctx context.Context, r *rig) error {
		_, controller, err := r.controller(ctx, b.mooring)
		if err != nil {
			return err
		}
		node, err := r.node(ctx)
		if err != nil {
			return err
		}
		volumes := make([]*csi.Volume, parallel)
		err = atOnce(parallel, func(i int) (err error) {
			volumes[i], err = create(ctx, controller, "CEPHFS", fmt.Sprint("ceph-", i))
			return err
		})
		if err != nil {
			return err
		}
		nfs, err := create(ctx, controller, "NFS", "nfs")
		if err != nil {
			return err
		}
		stage := func(v *csi.Volume) error {
			_, err := csi.NewNodeClient(node).NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
				VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(r.dir, v.GetVolumeId()), VolumeCapability: capability(), VolumeContext: v.GetVolumeContext(),
			})
			return err
		}
		// the 30 come first: the node has no login yet, and no microversion
		slow := r.Faults.Add(openstacksim.Fault{Delay: latency})
		begin := time.Now()
		err = atOnce(parallel, func(i int) error { return stage(volumes[i]) })
		took := time.Since(begin)
		slow()
		if err := errors.Join(err, b.record("csi.stage_30_parallel.seconds", took.Seconds(), "seconds")); err != nil {
			return err
		}
		calls, _, err := r.count(func() error { return stage(nfs) })
		if err := errors.Join(err, b.record("csi.stage_nfs.calls", float64(calls), "calls")); err != nil {
			return err
		}
		another, err := create(ctx, controller, "CEPHFS", "another")
		if err != nil {
			return err
		}
		calls, _, err = r.count(func() error { return stage(another) })
		return errors.Join(err, b.record("csi.stage_cephfs.calls", float64(calls), "calls"))
	})
}

// measureCrowds counts what 100 creates at the same time cost in all, from the start of the process on.
func measureCrowds(ctx context.Context, b *bench) error {
	const volumes = 100
	delays := openstacksim.ManilaDelays{Create: 1500 * time.Millisecond, Grant: 300 * time.Millisecond}
	for _, c := range []struct{ protocol, name string }{{"NFS", "csi.create_100_parallel"}, {"CEPHFS", "csi.create_100_parallel_cephfs"}} {
		err := withRig(ctx, openstacksim.ManilaConfig{Delays: delays}, func(ctx context.Context, r *rig) error {
			_, conn, err := r.controller(ctx, b.mooring)
			if err != nil {
				return err
			}
			begin := time.Now()
			err = atOnce(volumes, func(i int) error { _, err := create(ctx, conn, c.protocol, fmt.Sprint("crowd-", i)); return err })
			took := time.Since(begin)
			if got := r.Manila.Counts(); err == nil && got.Shares != volumes {
				err = fmt.Errorf("%d shares, want %d", got.Shares, volumes)
			}
			return errors.Join(err,
				b.record(c.name+".calls", float64(r.Calls.Count()), "calls"),
				b.record(c.name+".logins", float64(r.Calls.Logins()), "calls"),
				b.record(c.name+".seconds", took.Seconds(), "seconds"))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// measureNotice times what passes between the moment in which a share can be used and the answer to its create, the grant of its
// access rule included, which this cloud carries out at once. It is the worst of several.
func measureNotice(ctx context.Context, b *bench) error {
	const ready, times = 1500 * time.Millisecond, 3
	return withRig(ctx, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: ready}}, func(ctx context.Context, r *rig) error {
		_, conn, err := r.controller(ctx, b.mooring)
		if err != nil {
			return err
		}
		var worst time.Duration
		for i := range times {
			r.Calls.Reset()
			if _, err := create(ctx, conn, "NFS", fmt.Sprint("slow-", i)); err != nil {
				return err
			}
			answered := time.Now()
			posts := r.Calls.All(openstacksim.CallFilter{Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: `^/v2/shares$`})
			if len(posts) != 1 {
				return fmt.Errorf("%d shares were created for one volume", len(posts))
			}
			worst = max(worst, answered.Sub(posts[0].Time.Add(ready)))
		}
		return b.record("csi.ready_1500ms_noticed.seconds", worst.Seconds(), "seconds")
	})
}

// measureMany takes the memory of a controller that has listed 2,000 volumes again and again, as external-attacher and
// external-health-monitor do, and made some.
func measureMany(ctx context.Context, b *bench) error {
	const volumes, made = 2000, 300
	return withRig(ctx, openstacksim.ManilaConfig{}, func(ctx context.Context, r *rig) error {
		p, conn, err := r.controller(ctx, b.mooring)
		if err != nil {
			return err
		}
		if _, err := create(ctx, conn, "NFS", "one"); err != nil {
			return err
		}
		r.Manila.Fill(r.Keystone.User("demo", "demo").ProjectID, volumes-made)
		if err := atOnce(made-1, func(i int) error { _, err := create(ctx, conn, "CEPHFS", fmt.Sprint("many-", i)); return err }); err != nil {
			return err
		}
		for _, size := range []int32{0, 1000, 100} {
			err := atOnce(4, func(int) error {
				found, err := list(ctx, conn, size)
				if err == nil && found != volumes {
					err = fmt.Errorf("pages of %d list %d volumes, want %d", size, found, volumes)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		peak, err := p.PeakRSS()
		return errors.Join(err, b.record("csi.controller_2000_volumes.rss_mib", float64(peak)/(1<<20), "MiB"))
	})
}

// list reads all pages and counts the volumes.
func list(ctx context.Context, conn *grpc.ClientConn, size int32) (found int, err error) {
	seen := map[string]bool{}
	request := &csi.ListVolumesRequest{MaxEntries: size}
	for {
		page, err := csi.NewControllerClient(conn).ListVolumes(ctx, request)
		if err != nil {
			return 0, err
		}
		for _, e := range page.GetEntries() {
			seen[e.GetVolume().GetVolumeId()] = true
		}
		if request.StartingToken = page.GetNextToken(); request.GetStartingToken() == "" {
			return len(seen), nil
		}
	}
}
