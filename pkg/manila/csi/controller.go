package csi

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/keylock"
	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
)

// Controller makes and removes volumes.
type Controller struct {
	csi.UnimplementedControllerServer

	Clouds *Clouds
	// ClusterID, if set, marks the shares of this cluster.
	ClusterID string
	// Protocol is that of classes that do not say; empty: they have to.
	Protocol params.Protocol
	// Topology makes use of the zones that requests want, and tells where volumes can be reached.
	Topology bool
	// KeySecrets, if set, gets the cephx keys of CephFS volumes.
	KeySecrets keySecrets
	// Attach says that Kubernetes attaches volumes, so that nodes can be let in one by one (CSIDriver, attachRequired).
	Attach bool
	// Runtime is what can be changed while the controller runs.
	Runtime params.RuntimeFile
	// Claims reads annotations of claims; nil without Kubernetes: then classes alone count.
	Claims claims

	locks keylock.Locks // per volume name, per volume id, and per volume and node
}

// ControllerGetCapabilities lists what the controller can do.
func (c *Controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	r := &csi.ControllerGetCapabilitiesResponse{}
	all := capabilities()
	if c.Attach {
		all = append(all, attachCapabilities()...)
	}
	for _, can := range all {
		r.Capabilities = append(r.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: can}},
		})
	}
	return r, nil
}

// capabilities are those that are whole.
func capabilities() []csi.ControllerServiceCapability_RPC_Type {
	return []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_GET_VOLUME,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_LIST_VOLUME_HEALTH,
		csi.ControllerServiceCapability_RPC_GET_VOLUME_HEALTH,
		csi.ControllerServiceCapability_RPC_MODIFY_VOLUME,
	}
}

// CreateVolume finds or makes the share of the request's name and returns when it can be mounted.
func (c *Controller) CreateVolume(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	class, spec, err := c.wanted(r)
	if err != nil {
		return nil, answer(err)
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(mayExist(err))
	}
	unlock, ok := c.locks.TryLock("name " + spec.Name)
	if !ok {
		return nil, answer(errBusy)
	}
	defer unlock()
	if err := c.neighbours(ctx, class, spec); err != nil {
		return nil, answer(err)
	}
	volume, err := client.Provision(ctx, spec)
	if err == nil && !volume.Made && len(r.GetMutableParameters()) > 0 {
		err = c.catchUp(ctx, client, volume.Share.ID, r.GetMutableParameters())
	}
	if err != nil {
		return nil, answer(err)
	}
	if volume.Made {
		err = c.putSecret(ctx, &volume.Share, volume.Rules)
	} else { // there may be more of them meanwhile
		err = c.syncSecret(ctx, client, volume.Share.ID, volume.Users()...)
	}
	if err != nil {
		return nil, answer(err)
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: volume.Share.ID, CapacityBytes: int64(volume.Share.SizeGiB) * gib, VolumeContext: volumeContext(class, volume),
		ContentSource: r.GetVolumeContentSource(), AccessibleTopology: accessible(r.GetAccessibilityRequirements(), spec, &volume.Share, c.Topology),
	}}, nil
}

// wanted turns a request into the share it asks for.
func (c *Controller) wanted(r *csi.CreateVolumeRequest) (*params.Class, *manila.Spec, error) {
	if err := checkName(r.GetName()); err != nil {
		return nil, nil, err
	}
	if err := checkCapabilities(r.GetVolumeCapabilities()); err != nil {
		return nil, nil, err
	}
	class, err := params.ParseClass(r.GetParameters())
	if err != nil {
		return nil, nil, err
	}
	if class.Protocol == "" {
		class.Protocol = c.Protocol
	}
	if class.Protocol == "" {
		return nil, nil, bad("StorageClass parameters: protocol is missing (NFS or CEPHFS), and the driver runs without --share-protocol")
	}
	mutable, err := overridden(&class, r.GetMutableParameters())
	if err != nil {
		return nil, nil, err
	}
	if err := class.Settle(c.Attach); err != nil {
		return nil, nil, err
	}
	for _, capability := range r.GetVolumeCapabilities() {
		if _, err := mountFlags(capability, class.Protocol, &class.Ceph); err != nil {
			return nil, nil, err
		}
	}
	size, most, err := sizes(r.GetCapacityRange())
	if err != nil {
		return nil, nil, err
	}
	spec := &manila.Spec{
		Name: r.GetName(), Cluster: c.ClusterID, SizeGiB: size, MaxGiB: most, Protocol: string(class.Protocol), Type: class.Type, Zone: class.Availability,
		NetworkID: class.ShareNetworkID, Metadata: shareMetadata(&class), Grants: grants(r.GetName(), &class, class.Protocol),
		AnyLevel: mutable, PerNode: class.Access == params.AccessNode,
	}
	if spec.SnapshotID, spec.CloneOf, err = source(r.GetVolumeContentSource()); err != nil {
		return nil, nil, err
	}
	if err := c.place(spec, &class, r.GetAccessibilityRequirements()); err != nil {
		return nil, nil, err
	}
	return &class, spec, nil
}

// shareMetadata tells operators whose share it is, in the words of Kubernetes.
func shareMetadata(class *params.Class) map[string]string {
	m := maps.Clone(class.Metadata)
	if m == nil {
		m = map[string]string{}
	}
	maps.Copy(m, map[string]string{
		"csi.storage.k8s.io/pvc/name": class.PVCName, "csi.storage.k8s.io/pvc/namespace": class.PVCNamespace, manila.VolumeKey: class.PVName,
		manila.AccessKey: string(class.Access),
	})
	return m
}

// volumeContext is what the node has to know. There is no secret in it: it stands in the PersistentVolume for all to read.
func volumeContext(class *params.Class, v *manila.Volume) map[string]string {
	a := params.Attributes{ShareID: v.Share.ID, Protocol: class.Protocol, FileSystem: v.Share.FileSystem(), Ceph: class.Ceph, Access: class.Access}
	for _, e := range v.Exports {
		a.Exports = append(a.Exports, e.Path)
	}
	for i := range v.Rules {
		a.AccessIDs = append(a.AccessIDs, v.Rules[i].ID)
	}
	if class.Access == params.AccessNode && class.Protocol == params.CEPHFS {
		a.CephxUser = v.Rules[0].To
	}
	return a.Map()
}

// DeleteVolume removes a share and returns when it is gone.
func (c *Controller) DeleteVolume(ctx context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, answer(bad("the volume id is missing"))
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	unlock, ok := c.locks.TryLock("id " + r.GetVolumeId())
	if !ok {
		return nil, answer(errBusy)
	}
	defer unlock()
	if err := client.DeleteVolume(ctx, r.GetVolumeId(), c.ClusterID); err != nil {
		return nil, answer(err)
	}
	if err := c.deleteSecret(ctx, r.GetVolumeId()); err != nil {
		return nil, answer(err)
	}
	return &csi.DeleteVolumeResponse{}, nil
}

// ValidateVolumeCapabilities says whether a share that exists can be used in the ways of the request.
func (c *Controller) ValidateVolumeCapabilities(ctx context.Context, r *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, answer(bad("the volume id is missing"))
	}
	if len(r.GetVolumeCapabilities()) == 0 {
		return nil, answer(bad("the volume capabilities are missing"))
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	share, err := shareOf(ctx, client, r.GetVolumeId(), r.GetVolumeContext())
	if err != nil {
		return nil, answer(err)
	}
	if err := confirm(r, share); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil //nolint:nilerr // that it can't be confirmed is an answer and no failure
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext: r.GetVolumeContext(), VolumeCapabilities: r.GetVolumeCapabilities(), Parameters: r.GetParameters(),
		MutableParameters: r.GetMutableParameters(),
	}}, nil
}

// shareOf reads the share of a volume: the one that its context names, if it was made by hand, or else that of its id.
func shareOf(ctx context.Context, client *manila.Client, id string, volumeContext map[string]string) (*manila.Share, error) {
	a, err := params.ParseAttributes(volumeContext)
	if err == nil && a.ShareName != "" {
		return client.ShareByName(ctx, a.ShareName)
	}
	return client.Share(ctx, cmp.Or(a.ShareID, id))
}

func confirm(r *csi.ValidateVolumeCapabilitiesRequest, share *manila.Share) error {
	if err := checkCapabilities(r.GetVolumeCapabilities()); err != nil {
		return err
	}
	if _, err := params.ParseAttributes(r.GetVolumeContext()); err != nil {
		return err
	}
	class, err := params.ParseClass(r.GetParameters())
	if err != nil {
		return err
	}
	if class.Protocol != "" && string(class.Protocol) != share.Protocol {
		return fmt.Errorf("share %s is %s and not %s", share.ID, share.Protocol, class.Protocol)
	}
	return confirmMutable(r.GetMutableParameters(), share)
}
