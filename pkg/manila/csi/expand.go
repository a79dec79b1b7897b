package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// ControllerExpandVolume makes a share have at least the required size, and returns when it has. The share may be in use: clients
// see its new size without a call to the node.
func (c *Controller) ControllerExpandVolume(ctx context.Context, r *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	size, most, err := expandable(r)
	if err != nil {
		return nil, answer(err)
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
	share, err := client.Expand(ctx, r.GetVolumeId(), size, most)
	if err != nil {
		return nil, answer(err)
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: int64(share.SizeGiB) * gib, NodeExpansionRequired: false}, nil
}

func expandable(r *csi.ControllerExpandVolumeRequest) (size, most int, err error) {
	switch {
	case r.GetVolumeId() == "":
		return 0, 0, bad("the volume id is missing")
	case r.GetCapacityRange() == nil:
		return 0, 0, bad("the capacity range is missing")
	}
	if capability := r.GetVolumeCapability(); capability != nil { // it is optional
		if err := checkCapability(capability); err != nil {
			return 0, 0, err
		}
	}
	return sizes(r.GetCapacityRange())
}
