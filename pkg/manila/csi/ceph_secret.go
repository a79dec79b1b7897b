package csi

import (
	"cmp"
	"context"
	"fmt"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
)

// keySecrets keeps the Secrets from which nodes get the cephx keys of volumes.
type keySecrets interface {
	// Put makes the Secret of a name hold the values, for an owner.
	Put(ctx context.Context, name, owner string, values map[string]string) error
	// DeleteOf removes the Secrets of an owner; that there is none is no error.
	DeleteOf(ctx context.Context, owner string) error
}

// putSecret writes the Secret of a CephFS volume: named like the PersistentVolume, so that a class can name it ${pv.name}, and owned by
// the share. Until it is there the volume is not finished.
func (c *Controller) putSecret(ctx context.Context, name string, class *params.Class, v *manila.Volume) error {
	if c.KeySecrets == nil || class.Protocol != params.CEPHFS || len(v.Rules) == 0 {
		return nil
	}
	rule := &v.Rules[0]
	values := map[string]string{params.CephUser: rule.To, params.CephKey: rule.Key}
	if err := c.KeySecrets.Put(ctx, cmp.Or(class.PVName, name), v.Share.ID, values); err != nil {
		return fmt.Errorf("%w: %w", errKeySecret, err)
	}
	return nil
}

// deleteSecret removes the Secret of a volume whose share is gone.
func (c *Controller) deleteSecret(ctx context.Context, volume string) error {
	share, ok := openstack.ParseUUID(volume)
	if c.KeySecrets == nil || !ok {
		return nil
	}
	if err := c.KeySecrets.DeleteOf(ctx, share); err != nil {
		return fmt.Errorf("%w: %w", errKeySecret, err)
	}
	return nil
}

// givenRule is the cephx user and key in a node-stage secret; nil when there is none in it. With one the node asks nobody.
func givenRule(secret map[string]string) (*manila.Rule, error) {
	if secret[params.CephUser] == "" && secret[params.CephKey] == "" {
		return nil, nil //nolint:nilnil // no key is an answer
	}
	s, err := params.ParseSecret(secret)
	if err != nil {
		return nil, err
	}
	return &manila.Rule{Kind: manila.KindCephx, To: s.CephUser, Key: s.CephKey, Level: "rw"}, nil
}
