package csi

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/keylock"
	"mooring/pkg/manila"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/params"
)

// mounter is what a node does with its mounts; *mount.Mounter does it.
type mounter interface {
	MountNFS(ctx context.Context, target string, v mount.NFS) error
	MountCephFS(ctx context.Context, target string, v mount.CephFS) error
	Bind(ctx context.Context, source, target string, readOnly bool) error
	Unmount(ctx context.Context, target string) error
	looker
}

// looker is how a node looks at them.
type looker interface {
	Usage(ctx context.Context, path string) (mount.Usage, error)
	Bound(source string) ([]string, error)
}

// Node mounts volumes on one node.
type Node struct {
	csi.UnimplementedNodeServer

	// Name is the node's name in Kubernetes.
	Name string
	// Addresses finds those that servers see the node come from, in order of preference; nil: none is known.
	Addresses func(context.Context) []netip.Addr
	Mounter   mounter
	Clouds    *Clouds
	// Protocol is that of volumes that do not say, such as CPO's.
	Protocol params.Protocol
	// Zone waits for the node's availability zone; nil without topology.
	Zone func(context.Context) (string, error)
	// Runtime is what can be changed while the node runs.
	Runtime params.RuntimeFile
	// Condition answers kubelets that ask for the volume condition of CSI 1.12 and before.
	Condition bool

	locks   keylock.Locks // per volume id, and per target path
	volumes volumes

	mu   sync.Mutex
	keys map[mountedAs]*manila.Rule
}

// mountedAs is a volume, and the id of the cephx rule it is mounted with; empty: any.
type mountedAs struct{ volume, rule string }

// NodeGetInfo gives the node's name and its addresses, and with topology its zone.
func (n *Node) NodeGetInfo(ctx context.Context, _ *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	topology, err := n.topology(ctx)
	if err != nil {
		return nil, answer(err)
	}
	id := NodeID{Name: n.Name}
	if n.Addresses != nil {
		id.Addresses = n.Addresses(ctx)
	}
	return &csi.NodeGetInfoResponse{NodeId: id.String(), AccessibleTopology: topology}, nil
}

// NodeGetCapabilities lists what the node can do.
func (n *Node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	r := &csi.NodeGetCapabilitiesResponse{}
	can := []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_GET_VOLUME_HEALTH, csi.NodeServiceCapability_RPC_GET_STORAGE_HEALTH,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if n.Condition {
		can = append(can, oldCondition)
	}
	for _, c := range can {
		r.Capabilities = append(r.Capabilities, &csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: c}}})
	}
	return r, nil
}

// NodeStageVolume mounts the share, once per node.
func (n *Node) NodeStageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if err := checkPaths(r.GetVolumeId(), "staging target path", r.GetStagingTargetPath()); err != nil {
		return nil, answer(err)
	}
	if err := checkCapability(r.GetVolumeCapability()); err != nil {
		return nil, answer(err)
	}
	v, err := n.volume(r)
	if err != nil {
		return nil, answer(err)
	}
	unlock, ok := n.locks.TryLock("id " + v.id)
	if !ok {
		return nil, answer(errBusy)
	}
	defer unlock()
	if err := n.stage(ctx, v); err != nil {
		return nil, answer(err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (n *Node) stage(ctx context.Context, v *staged) (err error) {
	if last, _ := n.volumes.get(v.id); last.hung {
		n.relocate(ctx, v)
	}
	if v.attributes.Protocol == params.NFS {
		err = n.stageNFS(ctx, v)
	} else {
		err = n.stageCephFS(ctx, v)
	}
	n.volumes.tried(v.id, v.path, err)
	return err
}

// staged is a volume to stage.
type staged struct {
	id, path   string
	attributes params.Attributes
	flags      []string
	secret     map[string]string
	user, rule string // the cephx user to mount with, and the id of its rule; empty: any
}

func (n *Node) volume(r *csi.NodeStageVolumeRequest) (*staged, error) {
	a, err := params.ParseAttributes(r.GetVolumeContext())
	if err != nil {
		return nil, err
	}
	if a.Protocol == "" {
		a.Protocol = n.Protocol
	}
	if a.Protocol == "" {
		return nil, bad("volumeAttributes: protocol is missing (NFS or CEPHFS), and the driver runs without --share-protocol")
	}
	if a.ShareID == "" && a.ShareName == "" {
		a.ShareID = r.GetVolumeId()
	}
	flags, err := mountFlags(r.GetVolumeCapability(), a.Protocol, &a.Ceph)
	if err != nil {
		return nil, err
	}
	v := &staged{id: r.GetVolumeId(), path: r.GetStagingTargetPath(), attributes: a, flags: flags, secret: r.GetSecrets()}
	v.user, v.rule = r.GetPublishContext()[publishedUser], r.GetPublishContext()[publishedRule]
	if v.rule == "" && len(a.AccessIDs) > 0 {
		v.rule = a.AccessIDs[0]
	}
	return v, nil
}

// stageNFS needs no call to OpenStack: the exports stand in the volume context. Only for volumes that were made by hand or by CPO
// they are asked for.
func (n *Node) stageNFS(ctx context.Context, v *staged) error {
	if err := n.locate(ctx, v); err != nil {
		return err
	}
	exports, err := nfsExports(v.attributes.Exports, n.Runtime)
	if err != nil {
		return err
	}
	return n.Mounter.MountNFS(ctx, v.path, mount.NFS{Options: v.flags, Exports: exports})
}

// readable are the export locations that can be understood. It is an error when none can.
func readable[T any](paths []string, parse func(string) (T, error)) (exports []T, _ error) {
	var errs []error
	for _, path := range paths {
		export, err := parse(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		exports = append(exports, export)
	}
	if len(exports) == 0 {
		return nil, errors.Join(errs...)
	}
	return exports, nil
}

func (n *Node) stageCephFS(ctx context.Context, v *staged) error {
	if err := n.locate(ctx, v); err != nil {
		return err
	}
	exports, err := readable(v.attributes.Exports, mount.ParseCephFS)
	if err != nil {
		return err
	}
	rule, err := n.cephxRule(ctx, v)
	if err != nil {
		return err
	}
	ceph := mount.CephFS{
		Export: exports[0], User: rule.To, Key: rule.Key, FS: v.attributes.FileSystem, Mounter: v.attributes.Ceph.Mounter, KernelOptions: v.attributes.Ceph.KernelOptions,
		FuseOptions: v.attributes.Ceph.FuseOptions, ReadOnly: rule.Level == "ro",
	}
	if ceph.Mounter == mount.CephFuse {
		ceph.FuseOptions = append(ceph.FuseOptions, v.flags...)
	} else { // should the kernel have no client, ceph-fuse gets what it can understand: noexec and its like must not be lost
		ceph.KernelOptions = append(ceph.KernelOptions, v.flags...)
		ceph.FuseOptions = append(ceph.FuseOptions, mount.Generic(v.flags)...)
	}
	err = n.Mounter.MountCephFS(ctx, v.path, ceph)
	if err != nil && !errors.Is(err, mount.ErrHung) {
		n.forget(v.id) // the key may have been replaced, and clients have many words for that: the next try asks again
	}
	return err
}

// locate asks Manila where the share of a volume is that does not tell, since somebody else has made it. In which status the share is
// does not matter: it can be mounted while it is extended, or backed up.
func (n *Node) locate(ctx context.Context, v *staged) error {
	if len(v.attributes.Exports) > 0 {
		return nil
	}
	client, share, err := n.share(ctx, v)
	if err != nil {
		return err
	}
	if v.attributes.Exports, err = exports(ctx, client, share.ID); err != nil {
		return err
	}
	if v.attributes.FileSystem == "" {
		v.attributes.FileSystem = share.FileSystem()
	}
	return nil
}

// share finds the client and the share of a volume. Of a share whose id the volume has it reads nothing, unless that is needed to mount.
func (n *Node) share(ctx context.Context, v *staged) (*manila.Client, *manila.Share, error) {
	client, err := n.Clouds.client(v.secret)
	if err != nil {
		return nil, nil, err
	}
	if v.attributes.ShareID == "" {
		share, err := client.ShareByName(ctx, v.attributes.ShareName)
		if err == nil {
			v.attributes.ShareID = share.ID
		}
		return client, share, err
	}
	if v.attributes.Protocol == params.CEPHFS && len(v.attributes.Exports) == 0 {
		share, err := client.Share(ctx, v.attributes.ShareID)
		return client, share, err
	}
	return client, &manila.Share{ID: v.attributes.ShareID}, nil
}

// cephxRule asks Manila for the volume's cephx user and key, once: a pod that comes back does not ask again. The key is kept in
// memory until the volume is unstaged.
func (n *Node) cephxRule(ctx context.Context, v *staged) (*manila.Rule, error) {
	as := mountedAs{v.id, v.rule}
	rule, err := givenRule(v)
	if err != nil {
		return nil, err
	}
	if rule != nil {
		n.remember(as, rule) // for a publish without a secret that finds the mount dead
		return rule, nil
	}
	n.mu.Lock()
	rule = n.keys[as]
	n.mu.Unlock()
	if rule != nil {
		return rule, nil
	}
	client, share, err := n.share(ctx, v)
	if err != nil {
		return nil, err
	}
	if rule, err = client.CephxRule(ctx, share.ID, v.rule); err != nil {
		return nil, err
	}
	n.remember(as, rule)
	return rule, nil
}

func (n *Node) remember(as mountedAs, rule *manila.Rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys == nil {
		n.keys = map[mountedAs]*manila.Rule{}
	}
	n.keys[as] = rule
}

func (n *Node) forget(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.keys, func(as mountedAs, _ *manila.Rule) bool { return as.volume == id })
}

// NodeUnstageVolume unmounts the share from the node.
func (n *Node) NodeUnstageVolume(ctx context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if err := checkPaths(r.GetVolumeId(), "staging target path", r.GetStagingTargetPath()); err != nil {
		return nil, answer(err)
	}
	unlock, ok := n.locks.TryLock("id " + r.GetVolumeId())
	if !ok {
		return nil, answer(errBusy)
	}
	defer unlock()
	if err := n.Mounter.Unmount(ctx, r.GetStagingTargetPath()); err != nil {
		return nil, answer(err)
	}
	n.forget(r.GetVolumeId())
	n.volumes.forget(r.GetVolumeId())
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// NodePublishVolume gives a staged share to a pod.
func (n *Node) NodePublishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if err := checkPaths(r.GetVolumeId(), "target path", r.GetTargetPath()); err != nil {
		return nil, answer(err)
	}
	if err := checkCapability(r.GetVolumeCapability()); err != nil {
		return nil, answer(err)
	}
	if r.GetStagingTargetPath() == "" {
		return nil, answer(errNotStaged)
	}
	if err := checkPaths(r.GetVolumeId(), "staging target path", r.GetStagingTargetPath()); err != nil {
		return nil, answer(err)
	}
	unlock, ok := n.locks.TryLock("path " + filepath.Clean(r.GetTargetPath()))
	if !ok {
		return nil, answer(errBusy)
	}
	defer unlock()
	if err := n.publish(ctx, r); err != nil {
		return nil, answer(err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume takes a share from a pod.
func (n *Node) NodeUnpublishVolume(ctx context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := checkPaths(r.GetVolumeId(), "target path", r.GetTargetPath()); err != nil {
		return nil, answer(err)
	}
	unlock, ok := n.locks.TryLock("path " + filepath.Clean(r.GetTargetPath()))
	if !ok {
		return nil, answer(errBusy)
	}
	defer unlock()
	if err := n.Mounter.Unmount(ctx, r.GetTargetPath()); err != nil {
		return nil, answer(err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func checkPaths(id, what, path string) error {
	switch {
	case id == "":
		return bad("the volume id is missing")
	case path == "":
		return bad("the %s is missing", what)
	case !filepath.IsAbs(path):
		return bad("the %s %q is not absolute", what, path)
	case filepath.Clean(path) == "/":
		return bad("the %s is /", what)
	case slices.Contains(strings.Split(path, "/"), ".."): // behind a link it means one place to us and another to the kernel
		return bad("the %s %q has .. in it", what, path)
	case strings.ContainsRune(path, 0):
		return bad("the %s %q has a zero byte in it", what, path)
	}
	return nil
}
