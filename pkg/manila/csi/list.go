package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
)

// toVolume is a share as lists have it: without a context, which only the class that made it can tell.
func toVolume(s *manila.Share) *csi.Volume {
	v := &csi.Volume{VolumeId: s.ID, CapacityBytes: int64(s.SizeGiB) * gib}
	switch {
	case s.Metadata[manila.ClonedFromKey] != "":
		v.ContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: s.Metadata[manila.ClonedFromKey]},
		}}
	case s.SnapshotID != "":
		v.ContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.SnapshotID},
		}}
	}
	return v
}

// ListVolumes lists the shares that can be used by their ids: those of the cluster, and those that no cluster has marked as its own.
func (c *Controller) ListVolumes(ctx context.Context, r *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	if r.GetMaxEntries() < 0 {
		return nil, answer(bad("max_entries is negative"))
	}
	client, err := c.Clouds.client(nil) // the request has no secrets
	if err != nil {
		return nil, answer(err)
	}
	found, next, err := client.Shares(ctx, c.ClusterID, r.GetStartingToken(), int(r.GetMaxEntries()))
	if err != nil {
		return nil, answer(err)
	}
	out := &csi.ListVolumesResponse{NextToken: next}
	for _, s := range found {
		out.Entries = append(out.Entries, &csi.ListVolumesResponse_Entry{Volume: toVolume(s), Status: &csi.ListVolumesResponse_VolumeStatus{}})
	}
	return out, nil
}

// ControllerGetVolume reads one share.
func (c *Controller) ControllerGetVolume(ctx context.Context, r *csi.ControllerGetVolumeRequest) (*csi.ControllerGetVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, answer(bad("the volume id is missing"))
	}
	client, err := c.Clouds.client(nil) // the request has no secrets
	if err != nil {
		return nil, answer(err)
	}
	share, err := client.Share(ctx, r.GetVolumeId())
	if err != nil {
		return nil, answer(err)
	}
	return &csi.ControllerGetVolumeResponse{Volume: toVolume(share), Status: &csi.ControllerGetVolumeResponse_VolumeStatus{}}, nil
}

// GetCapacity says what is left of the project's quota, for the class whose parameters come along.
func (c *Controller) GetCapacity(ctx context.Context, r *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	typ := ""
	if len(r.GetParameters()) > 0 {
		class, err := params.ParseClass(r.GetParameters())
		if err != nil {
			return nil, answer(err)
		}
		typ = class.Type
	}
	for _, capability := range r.GetVolumeCapabilities() {
		if err := checkCapability(capability); err != nil {
			return &csi.GetCapacityResponse{}, nil //nolint:nilerr // of what can't be made, nothing is left
		}
	}
	client, err := c.Clouds.client(nil) // the request has no secrets
	if err != nil {
		return nil, answer(err)
	}
	left, err := client.Capacity(ctx, typ)
	if err != nil {
		return nil, answer(err)
	}
	return &csi.GetCapacityResponse{
		AvailableCapacity: int64(left.Available) * gib, MaximumVolumeSize: wrapperspb.Int64(int64(left.Maximum) * gib), MinimumVolumeSize: wrapperspb.Int64(int64(left.Minimum) * gib),
	}, nil
}
