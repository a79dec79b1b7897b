package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mooring/pkg/grpcserver"
	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/peer/process"
)

// rig is a simulated cloud, and what is measured in front of it.
type rig struct {
	*openstacksim.Cloud

	dir    string
	clouds string // path of clouds.yaml
	closes []func() error
}

// withRig makes a cloud with that Manila for do.
func withRig(ctx context.Context, cfg openstacksim.ManilaConfig, do func(context.Context, *rig) error) error {
	cfg.Quota = openstacksim.ManilaQuota{Shares: -1, Gigabytes: -1, Snapshots: -1, SnapshotGigabytes: -1, ShareNetworks: -1, PerShareGigabytes: -1}
	return withCloud(ctx, openstacksim.Config{Manila: cfg}, do)
}

// withCloud makes a cloud for do, and takes all away that was made in front of it.
func withCloud(ctx context.Context, cfg openstacksim.Config, do func(context.Context, *rig) error) (err error) {
	cloud, err := openstacksim.Start(cfg) //nolint:contextcheck // a cloud has a life of its own, which Close ends
	if err != nil {
		return err
	}
	defer cloud.Close()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &rig{Cloud: cloud, dir: dir, clouds: filepath.Join(dir, "clouds.yaml")}
	defer func() {
		for _, end := range slices.Backward(r.closes) {
			err = errors.Join(err, end())
		}
	}()
	if err := os.WriteFile(r.clouds, cloud.CloudsYAML(), 0o600); err != nil {
		return err
	}
	return do(ctx, r)
}

func (r *rig) dial(socket string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		r.closes = append(r.closes, conn.Close)
	}
	return conn, err
}

// controller starts `mooring manila-controller`.
func (r *rig) controller(ctx context.Context, mooring string) (*process.Process, *grpc.ClientConn, error) {
	socket := filepath.Join(r.dir, "controller.sock")
	p, err := process.Start(ctx, "manila-controller", mooring, nil, "manila-controller", "--os-cloud=demo", "--clouds-file="+r.clouds, "--cluster-id=bench", "--attach=false", "--endpoint=unix://"+socket)
	if err != nil {
		return nil, nil, err
	}
	r.closes = append(r.closes, func() error { _, err := p.Stop(15 * time.Second); return err })
	if _, err := p.Listening(ctx, "unix", socket); err != nil {
		return nil, nil, err
	}
	conn, err := r.dial(socket)
	return p, conn, err
}

// node serves the node's part of the driver in this process, as csi-sanity has it: mounts are entries of a table.
func (r *rig) node(ctx context.Context) (*grpc.ClientConn, error) {
	none := func(string) (string, bool) { return "", false }
	credential, err := openstack.Source{Cloud: "demo", CloudsFile: r.clouds, LookupEnv: none, ReadFile: os.ReadFile}.Load()
	if err != nil {
		return nil, err
	}
	pool := openstack.NewPool(openstack.Options{})
	node := &csi.Node{
		Name: "node-1", Mounter: mount.New(mount.Options{System: &mounttest.System{}}),
		Clouds: &csi.Clouds{Pool: pool, Own: credential},
	}
	socket := filepath.Join(r.dir, "node.sock")
	listener, err := grpcserver.Listen(ctx, "unix://"+socket, 0o600)
	if err != nil {
		return nil, err
	}
	server := grpcserver.New(grpcserver.Options{Logger: slog.New(slog.DiscardHandler), Drain: time.Second})
	csi.Register(server.GRPC(), &csi.Identity{Name: csi.DriverName, Version: "bench"}, nil, node)
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- server.Serve(life, listener) }()
	r.closes = append(r.closes, func() error {
		defer pool.Close()
		end()
		return <-done
	})
	return r.dial(socket)
}

// count makes a call, and splits what it asked Manila for.
func (r *rig) count(do func() error) (calls, polls int, err error) {
	r.Calls.Reset()
	err = do()
	calls, polls = split(r.Calls.All())
	return calls, polls, err
}
