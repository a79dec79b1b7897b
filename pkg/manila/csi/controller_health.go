package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila"
)

// ControllerListVolumeHealth lists the shares that are ill, of this cluster and of none. Shares on their way in or out are not among them.
func (c *Controller) ControllerListVolumeHealth(ctx context.Context, r *csi.ControllerListVolumeHealthRequest) (*csi.ControllerListVolumeHealthResponse, error) {
	if r.GetMaxEntries() < 0 {
		return nil, answer(bad("max_entries is negative"))
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	found, next, err := client.ListHealth(ctx, c.ClusterID, r.GetStartingToken(), int(r.GetMaxEntries()))
	if err != nil {
		return nil, answer(err)
	}
	out := &csi.ControllerListVolumeHealthResponse{NextToken: next}
	for i := range found {
		out.Entries = append(out.Entries, toHealth(&found[i]))
	}
	return out, nil
}

// ControllerGetVolumeHealth says what is wrong with one share. An empty answer says that nothing bad is known.
func (c *Controller) ControllerGetVolumeHealth(ctx context.Context, r *csi.ControllerGetVolumeHealthRequest) (*csi.ControllerGetVolumeHealthResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, answer(bad("the volume id is missing"))
	}
	client, err := c.Clouds.client(r.GetSecrets())
	if err != nil {
		return nil, answer(err)
	}
	found, err := client.ShareHealth(ctx, r.GetVolumeId())
	if err != nil {
		return nil, answer(err)
	}
	return &csi.ControllerGetVolumeHealthResponse{VolumeHealth: toHealth(found)}, nil
}

func toHealth(h *manila.Health) *csi.VolumeHealth {
	out := &csi.VolumeHealth{VolumeId: h.ShareID}
	for _, i := range h.Illnesses {
		out.HealthStatuses = append(out.HealthStatuses, &csi.VolumeHealth_VolumeHealthEntry{Status: toSeverity(i.Severity), Reason: i.Reason, Message: i.Message})
	}
	return out
}

func toSeverity(s manila.Severity) csi.VolumeHealthErrorType {
	switch s {
	case manila.Inaccessible:
		return csi.VolumeHealthErrorType_INACCESSIBLE
	case manila.DataLoss:
		return csi.VolumeHealthErrorType_DATA_LOSS
	default:
		return csi.VolumeHealthErrorType_DEGRADED
	}
}
