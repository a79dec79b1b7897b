package csi

import (
	"context"
	"errors"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/encoding/protowire"

	"mooring/pkg/manila/mount"
)

// The volume condition that CSI had up to 1.12, and that a kubelet built on it reads. 1.13 has taken it out of the types and reserved
// its numbers, so that nothing else will ever have them: docs/adr/0010-old-volume-condition.md.
const (
	oldCondition csi.NodeServiceCapability_RPC_Type = 4 // NodeServiceCapability.RPC.Type.VOLUME_CONDITION

	oldConditionField protowire.Number = 2 // NodeGetVolumeStatsResponse.volume_condition
	oldAbnormalField  protowire.Number = 1 // VolumeCondition.abnormal, a bool
	oldMessageField   protowire.Number = 2 // VolumeCondition.message
)

// stats answers NodeGetVolumeStats. With the old condition a volume whose server or mount is dead is an answer: abnormal, and how full it
// is nobody knows.
func (n *Node) stats(ctx context.Context, path string) (*csi.NodeGetVolumeStatsResponse, error) {
	usage, err := n.Mounter.Usage(ctx, path)
	dead := ctx.Err() == nil && (errors.Is(err, mount.ErrHung) || errors.Is(err, mount.ErrDead))
	if dead && n.Condition {
		return withCondition(&csi.NodeGetVolumeStatsResponse{}, true, illnessOf(err)+": "+err.Error()), nil
	}
	if err != nil {
		return nil, err
	}
	r := &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{volumeUsage(csi.VolumeUsage_BYTES, usage.Bytes)}}
	if usage.Inodes != (mount.Amount{}) {
		r.Usage = append(r.Usage, volumeUsage(csi.VolumeUsage_INODES, usage.Inodes))
	}
	if n.Condition {
		withCondition(r, false, "the volume is mounted, and its server answers")
	}
	return r, nil
}

// withCondition adds the condition as a field that our types do not know.
func withCondition(r *csi.NodeGetVolumeStatsResponse, abnormal bool, message string) *csi.NodeGetVolumeStatsResponse {
	var condition []byte
	condition = protowire.AppendTag(condition, oldAbnormalField, protowire.VarintType)
	condition = protowire.AppendVarint(condition, protowire.EncodeBool(abnormal))
	condition = protowire.AppendTag(condition, oldMessageField, protowire.BytesType)
	condition = protowire.AppendString(condition, message)
	r.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, oldConditionField, protowire.BytesType), condition))
	return r
}
