package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila/mount"
)

// NodeGetVolumeStats tells how full a volume is. Kubelet asks every minute for every volume of every pod, so this never waits for a
// dead server longer than a probe may take.
func (n *Node) NodeGetVolumeStats(ctx context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	switch {
	case r.GetVolumeId() == "":
		return nil, answer(bad("the volume id is missing"))
	case r.GetVolumePath() == "":
		return nil, answer(bad("the volume path is missing"))
	}
	response, err := n.stats(ctx, r.GetVolumePath())
	if errors.Is(err, mount.ErrNotMounted) {
		return nil, answer(fmt.Errorf("%w: volume %s: %w", errGone, r.GetVolumeId(), err))
	}
	if err != nil {
		return nil, answer(err)
	}
	if path := r.GetStagingTargetPath(); path != "" {
		n.volumes.seen(r.GetVolumeId(), path)
	}
	return response, nil
}

func volumeUsage(unit csi.VolumeUsage_Unit, a mount.Amount) *csi.VolumeUsage {
	return &csi.VolumeUsage{Unit: unit, Total: a.Total, Used: a.Used, Available: a.Available}
}
