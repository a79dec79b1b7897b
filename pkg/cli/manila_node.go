package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/params"
)

func manilaNode() *mode {
	return &mode{
		name:  "manila-node",
		short: "Serves the CSI node: mounts shares of Manila",
		long: "manila-node is the node part of a CSI driver for OpenStack Manila: it mounts shares, NFS and CephFS alike. It runs on every node,\n" +
			"beside node-driver-registrar (a sidecar). NFS needs no OpenStack credential; CephFS needs one, here or in the node-stage secret of the class.",
		cloud:   cloudOptional,
		options: &manilaNodeOptions{},
	}
}

type manilaNodeOptions struct {
	manilaOptions

	nodeID, cephFuse string
}

func (o *manilaNodeOptions) flags(f *pflag.FlagSet) {
	o.manilaOptions.flags(f)
	f.StringVar(&o.nodeID, "node-id", "", "the node's name in Kubernetes")
	f.StringVar(&o.cephFuse, "ceph-fuse", "", "path of the ceph-fuse program, for kernels without a ceph client; if it is not set, the one in the usual directories")
}

func (o *manilaNodeOptions) check(*Env) (wrong []error) {
	const longest = 256 // of a node id, CSI specification
	wrong = append(o.manilaOptions.check(), gather(required("node-id", o.nodeID, "the node's name in Kubernetes"), atMost("node-id", o.nodeID, longest))...)
	if o.cephFuse != "" && !filepath.IsAbs(o.cephFuse) {
		wrong = append(wrong, fmt.Errorf("--ceph-fuse: %q has to be an absolute path", o.cephFuse))
	}
	return wrong
}

func (o *manilaNodeOptions) run(ctx context.Context, p *process) error {
	mounter := mount.New(mount.Options{System: mount.Kernel{CephFusePath: o.cephFuse}, Logger: p.logger})
	node := &csi.Node{ID: o.nodeID, Mounter: mounter, Clouds: o.clouds(p), Protocol: params.Protocol(o.protocol)}
	ready := func() error { return nil } // without a login it still mounts NFS
	return o.serve(ctx, p, ready, nil, node)
}
