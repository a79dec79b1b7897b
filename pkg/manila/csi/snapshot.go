package csi

import (
	"context"
	"errors"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
)

// source is what a new volume is filled with: a snapshot, another volume, or neither.
func source(from *csi.VolumeContentSource) (snapshot, volume string, err error) {
	switch from.GetType().(type) {
	case nil:
		if from != nil {
			return "", "", bad("the volume content source is neither a snapshot nor a volume")
		}
		return "", "", nil
	case *csi.VolumeContentSource_Snapshot:
		if snapshot = from.GetSnapshot().GetSnapshotId(); snapshot == "" {
			return "", "", bad("the snapshot id of the volume content source is missing")
		}
		return snapshot, "", nil
	case *csi.VolumeContentSource_Volume:
		if volume = from.GetVolume().GetVolumeId(); volume == "" {
			return "", "", bad("the volume id of the volume content source is missing")
		}
		return "", volume, nil
	default:
		return "", "", bad("volume content sources of this kind are not known")
	}
}

// CreateSnapshot finds or makes the snapshot of the request's name and returns when a volume can be made from it.
func (c *Controller) CreateSnapshot(ctx context.Context, r *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	spec, err := c.wantedSnapshot(r)
	if err != nil {
		return nil, answer(err)
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(mayExist(err))
	}
	unlock, ok := c.locks.TryLock("snapshot name " + spec.Name)
	if !ok {
		return nil, answer(errBusy)
	}
	defer unlock()
	snapshot, err := client.Snapshot(ctx, spec)
	if err != nil {
		return nil, answer(err)
	}
	return &csi.CreateSnapshotResponse{Snapshot: toSnapshot(snapshot)}, nil
}

func (c *Controller) wantedSnapshot(r *csi.CreateSnapshotRequest) (*manila.SnapshotSpec, error) {
	if err := checkName(r.GetName()); err != nil {
		return nil, err
	}
	if r.GetSourceVolumeId() == "" {
		return nil, bad("the source volume id is missing")
	}
	class, err := params.ParseSnapshotClass(r.GetParameters())
	if err != nil {
		return nil, err
	}
	return &manila.SnapshotSpec{Name: r.GetName(), Cluster: c.ClusterID, ShareID: r.GetSourceVolumeId(), Metadata: class.Metadata}, nil
}

func toSnapshot(s *manila.Snapshot) *csi.Snapshot {
	return &csi.Snapshot{
		SnapshotId: s.ID, SourceVolumeId: s.ShareID, SizeBytes: int64(s.SizeGiB) * gib, CreationTime: timestamppb.New(s.CreatedAt), ReadyToUse: s.Ready(),
	}
}

// DeleteSnapshot removes a snapshot and returns when it is gone.
func (c *Controller) DeleteSnapshot(ctx context.Context, r *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if r.GetSnapshotId() == "" {
		return nil, answer(bad("the snapshot id is missing"))
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	unlock, ok := c.locks.TryLock("snapshot id " + r.GetSnapshotId())
	if !ok {
		return nil, answer(errBusy)
	}
	defer unlock()
	if err := client.DeleteSnapshot(ctx, r.GetSnapshotId(), c.ClusterID); err != nil {
		return nil, answer(err)
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// ListSnapshots lists snapshots by their ids: all of the cluster, those of one volume, or one.
func (c *Controller) ListSnapshots(ctx context.Context, r *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	if r.GetMaxEntries() < 0 {
		return nil, answer(bad("max_entries is negative"))
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	if id := r.GetSnapshotId(); id != "" {
		s, err := client.SnapshotByID(ctx, id)
		switch {
		case errors.Is(err, openstack.ErrNotFound):
			return &csi.ListSnapshotsResponse{}, nil
		case err != nil:
			return nil, answer(err)
		case r.GetSourceVolumeId() != "" && r.GetSourceVolumeId() != s.ShareID:
			return &csi.ListSnapshotsResponse{}, nil
		}
		return &csi.ListSnapshotsResponse{Entries: []*csi.ListSnapshotsResponse_Entry{{Snapshot: toSnapshot(s)}}}, nil
	}
	found, next, err := client.Snapshots(ctx, r.GetSourceVolumeId(), c.ClusterID, r.GetStartingToken(), int(r.GetMaxEntries()))
	if err != nil {
		return nil, answer(err)
	}
	out := &csi.ListSnapshotsResponse{NextToken: next}
	for _, s := range found {
		out.Entries = append(out.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: toSnapshot(s)})
	}
	return out, nil
}
