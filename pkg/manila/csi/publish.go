package csi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/params"
)

// The keys of the publish context for the cephx user that the node mounts with, and for the id of its rule. The key of the user is
// not there: a VolumeAttachment shows the publish context to all who may read it.
const (
	publishedUser = "cephxUser"
	publishedRule = "shareAccessID"
)

// readOnlySuffix is what the cephx user of a volume that only reads has after the name of the other one.
const readOnlySuffix = "-ro"

// What is wrong with a node.
var (
	errNode    = errors.New("there is no such node")
	errAddress = errors.New("the node has no address that could be let in")
)

// attachCapabilities are those of a driver for which Kubernetes attaches volumes.
func attachCapabilities() []csi.ControllerServiceCapability_RPC_Type {
	return []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_READONLY,
	}
}

// ControllerPublishVolume lets a node in to a volume with access per node, and returns when it can mount. For other volumes there is
// nothing to do, and no call is made: a pod on a share that anybody may mount starts while OpenStack is away, too.
func (c *Controller) ControllerPublishVolume(ctx context.Context, r *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	if !c.Attach {
		return c.UnimplementedControllerServer.ControllerPublishVolume(ctx, r)
	}
	switch {
	case r.GetVolumeId() == "":
		return nil, answer(bad("the volume id is missing"))
	case r.GetNodeId() == "":
		return nil, answer(bad("the node id is missing"))
	}
	if err := checkCapability(r.GetVolumeCapability()); err != nil {
		return nil, answer(err)
	}
	node, err := ParseNodeID(r.GetNodeId())
	if err != nil {
		return nil, answer(err)
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	v, err := published(ctx, client, r)
	if err != nil {
		return nil, answer(err)
	}
	if v.Access != params.AccessNode {
		return &csi.ControllerPublishVolumeResponse{}, nil
	}
	grant, err := c.nodeGrant(v, &node, r.GetReadonly() || readOnly(r.GetVolumeCapability()))
	if err != nil {
		return nil, answer(err)
	}
	unlock, err := c.lockNode(ctx, r.GetVolumeId(), node.Name, node.Addresses)
	if err != nil {
		return nil, answer(err)
	}
	defer unlock()
	told, err := c.admit(ctx, client, v.ShareID, &manila.Admission{Grant: grant, Cluster: c.ClusterID, Node: node.Name})
	if err != nil {
		return nil, answer(err)
	}
	return &csi.ControllerPublishVolumeResponse{PublishContext: told}, nil
}

// admit lets a node in, and returns what it has to be told: which cephx user to mount as. The nodes of a CephFS volume come as one user:
// who finds no rule for it makes it while no other node does. Each that reads sees to it that the volume's Secret has the user's key.
func (c *Controller) admit(ctx context.Context, client *manila.Client, share string, a *manila.Admission) (map[string]string, error) {
	if a.Kind == manila.KindCephx {
		free := func() {} // who makes the rule has its turn until the key is written, too
		defer func() { free() }()
		a.Alone = func(ctx context.Context) error {
			unlock, err := c.locks.Lock(ctx, "grant "+share+" "+a.To)
			if err != nil {
				return fmt.Errorf("waiting for another node to be let in to volume %s as cephx user %s: %w", share, a.To, err)
			}
			free = unlock
			return nil
		}
	}
	rule, err := client.Admit(ctx, share, a)
	if err != nil || rule.Kind != manila.KindCephx {
		return nil, err
	}
	if rule.Level == "ro" { // the other one is there from the beginning
		if err := c.syncSecret(ctx, client, share, rule.To); err != nil {
			return nil, err
		}
	}
	return map[string]string{publishedUser: rule.To, publishedRule: rule.ID}, nil
}

// published is what is known of a volume. Its context says it; without one the share does.
func published(ctx context.Context, client *manila.Client, r *csi.ControllerPublishVolumeRequest) (*params.Attributes, error) {
	a, err := params.ParseAttributes(r.GetVolumeContext())
	if err != nil || len(r.GetVolumeContext()) > 0 && a.Access != params.AccessNode {
		return &a, err
	}
	switch {
	case a.ShareName != "" || a.ShareID != "" && a.ShareID != r.GetVolumeId(): // the unpublish is told the volume id alone
		return nil, bad("volumeAttributes: access: node needs the share's id as the volume handle, which is %q", r.GetVolumeId())
	case a.Protocol == params.NFS && len(a.Exports) > 0, a.Protocol == params.CEPHFS && a.CephxUser != "":
		a.ShareID = r.GetVolumeId()
		return &a, nil
	}
	share, err := client.Share(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	a.ShareID, a.Protocol = share.ID, params.Protocol(share.Protocol)
	a.Access = cmp.Or(a.Access, params.Access(share.Metadata[manila.AccessKey]))
	a.CephxUser = cmp.Or(a.CephxUser, cephxID(share.Name))
	if a.Access == params.AccessNode && a.Protocol == params.NFS {
		a.Exports, err = exports(ctx, client, share.ID)
	}
	return &a, err
}

// exports are the paths of a share's export locations, the best first.
func exports(ctx context.Context, client *manila.Client, share string) (paths []string, _ error) {
	found, err := client.Exports(ctx, share)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("share %s has no export location: %w", share, manila.ErrNotUsable)
	}
	for _, e := range found {
		paths = append(paths, e.Path)
	}
	return paths, nil
}

// nodeGrant is the rule that lets a node in: for NFS its address, for CephFS the volume's user for the level.
func (c *Controller) nodeGrant(v *params.Attributes, node *NodeID, readOnly bool) (manila.Grant, error) {
	level, suffix := "rw", ""
	if readOnly {
		level, suffix = "ro", readOnlySuffix
	}
	if v.Protocol == params.CEPHFS {
		return manila.Grant{Kind: manila.KindCephx, To: v.CephxUser + suffix, Level: level}, nil
	}
	exports, err := nfsExports(v.Exports, c.Runtime)
	if err != nil {
		return manila.Grant{}, err
	}
	address, err := clientAddress(exports, node)
	return manila.Grant{Kind: manila.KindIP, To: address.String(), Level: level}, err
}

// clientAddress is the address from which a node reaches the first export that it can reach. A host name can be of any family.
func clientAddress(servers []mount.NFSExport, node *NodeID) (netip.Addr, error) {
	var hosts []string
	for _, server := range servers {
		hosts = append(hosts, server.Host)
		host, err := netip.ParseAddr(server.Host)
		fits := func(a netip.Addr) bool { return err != nil || a.Is4() == host.Is4() }
		if i := slices.IndexFunc(node.Addresses, fits); i >= 0 {
			return node.Addresses[i], nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: node %s says that it has %v, and the share is at %s: tell its manila-node with --node-cidr from which network it mounts",
		errAddress, node.Name, node.Addresses, strings.Join(hosts, ", "))
}

// ControllerUnpublishVolume lets a node out of a volume again; without a node id all nodes of this cluster. It is not told how the volume
// was published: what is there is removed.
func (c *Controller) ControllerUnpublishVolume(ctx context.Context, r *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if !c.Attach {
		return c.UnimplementedControllerServer.ControllerUnpublishVolume(ctx, r)
	}
	if r.GetVolumeId() == "" {
		return nil, answer(bad("the volume id is missing"))
	}
	node, err := ParseNodeID(r.GetNodeId())
	if err != nil { // it was never published there, or by the name alone
		node = NodeID{Name: r.GetNodeId()}
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	unlock, err := c.lockNode(ctx, r.GetVolumeId(), node.Name, node.Addresses)
	if err != nil {
		return nil, answer(err)
	}
	defer unlock()
	if err := client.Dismiss(ctx, r.GetVolumeId(), c.ClusterID, node.Name); err != nil {
		return nil, answer(err)
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

// lockNode locks a volume for one node: others of the same volume go on. Who comes for the same node is sent away; another node with
// the same address, which can only be the successor of one that is gone, waits for its turn.
func (c *Controller) lockNode(ctx context.Context, volume, node string, addresses []netip.Addr) (unlock func(), err error) {
	first, ok := c.locks.TryLock("node " + volume + " " + node)
	if !ok {
		return nil, errBusy
	}
	held := []func(){first}
	unlock = func() {
		for _, free := range held {
			free()
		}
	}
	for _, a := range slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare) { // all in one order, or two could wait for each other
		free, err := c.locks.Lock(ctx, "address "+volume+" "+a.String())
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, free)
	}
	return unlock, nil
}
