package csi

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
)

// ControllerModifyVolume gives a volume what a VolumeAttributesClass asks for, and returns when it has it. The volume may be in use.
// Keys that the class does not have change nothing.
func (c *Controller) ControllerModifyVolume(ctx context.Context, r *csi.ControllerModifyVolumeRequest) (*csi.ControllerModifyVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, answer(bad("the volume id is missing"))
	}
	mutable, err := params.ParseMutable(r.GetMutableParameters())
	if err != nil {
		return nil, answer(err)
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	if err := c.modify(ctx, client, r.GetVolumeId(), &mutable); err != nil {
		return nil, answer(err)
	}
	if err := c.syncSecret(ctx, client, r.GetVolumeId()); err != nil {
		return nil, answer(err)
	}
	return &csi.ControllerModifyVolumeResponse{}, nil
}

func (c *Controller) modify(ctx context.Context, client *manila.Client, id string, m *params.Mutable) error {
	unlock, ok := c.locks.TryLock("id " + id)
	if !ok {
		return errBusy
	}
	defer unlock()
	return client.Modify(ctx, id, &manila.Change{Cluster: c.ClusterID, Type: m.Type, Metadata: m.Metadata, Clients: m.NFSClients, Level: m.AccessLevel})
}

// catchUp gives a volume that an earlier request has made what this one asks for, whose VolumeAttributesClass may be another one.
func (c *Controller) catchUp(ctx context.Context, client *manila.Client, id string, parameters map[string]string) error {
	mutable, err := params.ParseMutable(parameters)
	if err != nil {
		return err
	}
	if err := c.modify(ctx, client, id, &mutable); err != nil {
		return fmt.Errorf("%w: the volume is there, and its VolumeAttributesClass: %w", manila.ErrPending, err)
	}
	return nil
}

// overridden puts a VolumeAttributesClass before the StorageClass, and says whether there is one.
func overridden(class *params.Class, parameters map[string]string) (bool, error) {
	mutable, err := params.ParseMutable(parameters)
	if err != nil {
		return false, err
	}
	if mutable.NFSClients != nil && class.Protocol != params.NFS {
		return false, bad("%s: nfs-shareClient is for NFS, and the volume is %s", params.PlaceAttributesClass, class.Protocol)
	}
	class.Override(&mutable)
	return len(parameters) > 0, nil
}

// confirmMutable says whether a share that exists can have what a VolumeAttributesClass asks for.
func confirmMutable(parameters map[string]string, share *manila.Share) error {
	mutable, err := params.ParseMutable(parameters)
	switch {
	case err != nil:
		return err
	case mutable.Type != "" && mutable.Type != share.Type && mutable.Type != share.TypeID:
		return fmt.Errorf("share %s is of type %s and not %s", share.ID, share.Type, mutable.Type)
	case mutable.NFSClients != nil && share.Protocol != manila.NFS:
		return fmt.Errorf("share %s is %s, and nfs-shareClient is for NFS", share.ID, share.Protocol)
	}
	return nil
}
