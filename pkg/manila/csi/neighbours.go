package csi

import (
	"context"
	"fmt"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
)

// claims reads PersistentVolumeClaims from Kubernetes.
type claims interface {
	// ClaimAnnotations are those of a claim. A claim that is gone has none, and that is no error: what was begun for it has to be ended.
	ClaimAnnotations(ctx context.Context, namespace, name string) (map[string]string, error)
}

// neighbours says near which shares the share goes: what the class says, or the annotations of the claim, where they can be read and
// external-provisioner names the claim (--extra-create-metadata).
func (c *Controller) neighbours(ctx context.Context, class *params.Class, spec *manila.Spec) error {
	if c.Claims != nil && class.PVCName != "" && class.PVCNamespace != "" {
		annotations, err := c.Claims.ClaimAnnotations(ctx, class.PVCNamespace, class.PVCName)
		if err != nil {
			return fmt.Errorf("%w: %s/%s: %w", errClaim, class.PVCNamespace, class.PVCName, err)
		}
		if err := class.OverrideByClaim(annotations); err != nil {
			return mayExist(err) // unlike a class, annotations change
		}
	}
	spec.GroupID, spec.SameHost, spec.DifferentHost = class.GroupID, class.Affinity, class.AntiAffinity
	return nil
}
