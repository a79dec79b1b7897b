package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/grpcserver"
	"mooring/pkg/hostaddr"
	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/instance"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/params"
	"mooring/pkg/run"
)

func manilaNode() *mode {
	return &mode{
		name:  "manila-node",
		short: "Serves the CSI node: mounts shares of Manila",
		long: "manila-node is the node part of a CSI driver for OpenStack Manila: it mounts shares, NFS and CephFS alike. It runs on every node,\n" +
			"and registers itself with kubelet (--registration-dir). NFS needs no OpenStack credential; CephFS needs one, here or in the node-stage secret of the class, unless\n" +
			"that secret has the cephx key of the volume.",
		cloud:   cloudOptional,
		options: &manilaNodeOptions{},
	}
}

type manilaNodeOptions struct {
	manilaOptions

	nodeID, cephFuse, registrationDir string
	nodeAZ, configDrive               string
	volumeCondition, removeTaint      bool
	cidrs                             []string
	networks                          []netip.Prefix // the cidrs
}

func (o *manilaNodeOptions) flags(f *pflag.FlagSet) {
	o.manilaOptions.flags(f)
	f.StringVar(&o.nodeID, "node-id", "", "the node's name in Kubernetes")
	f.StringSliceVar(&o.cidrs, "node-cidr", nil, "a network from which the node mounts NFS, such as 10.0.0.0/8: the node's addresses in it are let in (access: node), in this order; "+
		"several with commas, or by setting it again. If it is not set, the addresses of the default routes")
	f.StringVar(&o.cephFuse, "ceph-fuse", "", "path of the ceph-fuse program, for kernels without a ceph client; if it is not set, the one in the usual directories")
	f.StringVar(&o.registrationDir, "registration-dir", "", "kubelet's plugins_registry, in which to register the driver; kubelet has to know the endpoint by the same path. If it is not set, node-driver-registrar has to do it")
	f.StringVar(&o.nodeAZ, "node-az", "", "with --topology: the node's availability zone; if it is not set, the config drive's or that of Nova's metadata service")
	f.StringVar(&o.configDrive, "config-drive", "", "with --topology: the directory where the node's config drive (the file system labelled config-2) is mounted; if it is not set, Nova's metadata service alone is asked")
	f.BoolVar(&o.removeTaint, "remove-startup-taint", false, "take the taint "+startupTaint+":"+startupEffect+" off the node when kubelet has registered the driver; needs a service account that may get csinodes, and get and patch nodes")
	f.BoolVar(&o.volumeCondition, "volume-condition", false, "tell the volume condition of CSI 1.12 and before, too, for kubelets with the feature gate CSIVolumeHealth; newer ones ask for a volume's health")
}

func (o *manilaNodeOptions) check(*Env) (wrong []error) {
	wrong = append(o.manilaOptions.check(), gather(required("node-id", o.nodeID, "the node's name in Kubernetes"))...)
	if err := csi.CheckNodeName(o.nodeID); o.nodeID != "" && err != nil {
		wrong = append(wrong, fmt.Errorf("--node-id: %w", err))
	}
	for _, cidr := range o.cidrs {
		network, err := netip.ParsePrefix(strings.TrimSpace(cidr))
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--node-cidr: %q has to be a network, such as 10.0.0.0/8", cidr))
			continue
		}
		o.networks = append(o.networks, network)
	}
	if o.cephFuse != "" && !filepath.IsAbs(o.cephFuse) {
		wrong = append(wrong, fmt.Errorf("--ceph-fuse: %q has to be an absolute path", o.cephFuse))
	}
	if o.registrationDir != "" {
		if err := csi.CheckRegistration(o.registrationDir, o.driverName); err != nil {
			wrong = append(wrong, fmt.Errorf("--registration-dir: %w", err))
		}
	}
	return append(wrong, o.checkTopology()...)
}

func (o *manilaNodeOptions) checkTopology() (wrong []error) {
	if o.nodeAZ != "" && !o.topology {
		wrong = append(wrong, errors.New("--node-az: it has no effect without --topology"))
	}
	if o.configDrive != "" && !o.topology {
		wrong = append(wrong, errors.New("--config-drive: it has no effect without --topology"))
	}
	if o.nodeAZ != "" {
		if err := instance.Check(o.nodeAZ); err != nil {
			wrong = append(wrong, fmt.Errorf("--node-az: %w", err))
		}
	}
	if o.configDrive != "" && !filepath.IsAbs(o.configDrive) {
		wrong = append(wrong, fmt.Errorf("--config-drive: %q has to be an absolute path", o.configDrive))
	}
	return wrong
}

// zone is how the node finds out its zone, and the part that does it; both nil where there is nothing to do.
func (o *manilaNodeOptions) zone(p *process) (func(context.Context) (string, error), []run.Part) {
	switch {
	case !o.topology:
		return nil, nil
	case o.nodeAZ != "":
		return func(context.Context) (string, error) { return o.nodeAZ, nil }, nil
	}
	zone := instance.NewZone(instance.Options{ConfigDrive: o.configDrive, ReadFile: p.env.ReadFile, Logger: p.logger})
	return zone.Get, []run.Part{{Name: "the node's availability zone", Run: zone.Run}}
}

func (o *manilaNodeOptions) run(ctx context.Context, p *process) error {
	mounter := mount.New(mount.Options{System: mount.Kernel{CephFusePath: o.cephFuse}, Logger: p.logger})
	addresses := func(ctx context.Context) []netip.Addr { return o.addresses(ctx, p.logger) }
	node := &csi.Node{Name: o.nodeID, Addresses: addresses, Mounter: mounter, Clouds: o.clouds(p), Protocol: params.Protocol(o.protocol), Runtime: o.runtime(p)}
	ready := func() error { return nil } // without a login it still mounts NFS
	zone, parts := o.zone(p)
	node.Zone, node.Condition = zone, o.volumeCondition
	if o.registrationDir != "" {
		parts = append(parts, run.Part{Name: "registration with kubelet", Run: func(ctx context.Context) error { return o.register(ctx, p) }})
	}
	if o.removeTaint {
		client, err := p.cluster("remove-startup-taint")
		if err != nil {
			return err
		}
		parts = append(parts, o.untaint(client, p.logger))
	}
	return o.serve(ctx, p, ready, nil, node, parts...)
}

// addresses are found when they are asked for, for a node may get them after its pods.
func (o *manilaNodeOptions) addresses(ctx context.Context, logger *slog.Logger) []netip.Addr {
	found := hostaddr.Routed(ctx)
	if len(o.networks) > 0 {
		host, err := net.InterfaceAddrs()
		if err != nil {
			logger.ErrorContext(ctx, "the node's addresses can't be read", slog.Any("error", err))
		}
		found = hostaddr.Within(o.networks, host)
	}
	if len(found) == 0 {
		logger.WarnContext(ctx, "the node has no default route, or no address in --node-cidr: it can't mount NFS shares that let in nodes one by one (access: node)", slog.Any("node_cidr", o.cidrs))
	}
	return found
}

// register answers kubelet until ctx ends. It begins when the driver's own socket is there, because kubelet goes on to that one at once.
func (o *manilaNodeOptions) register(ctx context.Context, p *process) error {
	socket, err := grpcserver.Path(o.endpoint)
	if err != nil {
		return err // it was checked
	}
	listener, remove, err := csi.ListenForKubelet(ctx, o.registrationDir, o.driverName)
	if err != nil {
		return fmt.Errorf("--registration-dir: %w", err)
	}
	server := grpcserver.New(grpcserver.Options{Logger: p.logger, Drain: time.Second})
	(&csi.Registration{Driver: o.driverName, Socket: socket, Logger: p.logger}).Register(server.GRPC())
	p.logger.InfoContext(ctx, "waiting for kubelet to register the driver", slog.String("directory", o.registrationDir))
	err = server.Serve(ctx, listener)
	return errors.Join(err, remove())
}
