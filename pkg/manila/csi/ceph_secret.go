package csi

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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

// syncSecret makes the Secret of a CephFS volume hold the keys that its share has, rather those of users. It does nothing for a
// share that this cluster's driver did not make. Of those who come at once one after the other reads the keys and writes them: Kubernetes
// would refuse what overlaps.
func (c *Controller) syncSecret(ctx context.Context, client *manila.Client, id string, users ...string) error {
	if c.KeySecrets == nil {
		return nil
	}
	unlock, err := c.locks.Lock(ctx, "secret "+id)
	if err != nil {
		return fmt.Errorf("waiting for another call to write the Secret of volume %s: %w", id, err)
	}
	defer unlock()
	share, err := client.Share(ctx, id)
	if err != nil || share.Protocol != manila.CEPHFS || share.Metadata[manila.AccessKey] == "" || share.Metadata[manila.ClusterKey] != c.ClusterID {
		return err
	}
	user := cephxID(share.Name)
	rules, err := client.CephxRules(ctx, id, c.ClusterID, append(users, user, user+readOnlySuffix)...)
	if err != nil {
		return err
	}
	return c.putSecret(ctx, share, rules)
}

// putSecret writes the Secret of a CephFS volume: named like the PersistentVolume, so that a class can name it ${pv.name}, and owned by
// the share. It has the first of the rules for each level. Until it is there the volume is not finished.
func (c *Controller) putSecret(ctx context.Context, share *manila.Share, rules []manila.Rule) error {
	values := map[string]string{}
	for i := range rules {
		r, user, key := &rules[i], params.CephUser, params.CephKey
		if r.Level == "ro" {
			user, key = params.CephReadUser, params.CephReadKey
		}
		if values[key] == "" {
			values[user], values[key] = r.To, r.Key
		}
	}
	if c.KeySecrets == nil || share.Protocol != manila.CEPHFS || len(values) == 0 {
		return nil
	}
	if err := c.KeySecrets.Put(ctx, cmp.Or(share.Metadata[manila.VolumeKey], share.Name), share.ID, values); err != nil {
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

// givenRule is the cephx user and key in a node-stage secret: of the user that the volume was published for, or else of the one that may do
// most; nil when there is none in it. With one the node asks nobody.
func givenRule(v *staged) (*manila.Rule, error) {
	if v.secret[params.CephUser]+v.secret[params.CephKey]+v.secret[params.CephReadUser]+v.secret[params.CephReadKey] == "" {
		return nil, nil //nolint:nilnil // no key is an answer
	}
	s, err := params.ParseSecret(v.secret)
	if err != nil {
		return nil, err
	}
	if v.user == "" && v.rule != "" && len(v.attributes.AccessIDs) > 0 && !slices.Contains(v.attributes.AccessIDs, v.rule) {
		return nil, fmt.Errorf("%w of access rule %s, for which the volume was published: delete its VolumeAttachment, so that it is published again", errNoKey, v.rule)
	}
	for _, r := range []manila.Rule{{To: s.CephUser, Key: s.CephKey, Level: "rw"}, {To: s.CephReadUser, Key: s.CephReadKey, Level: "ro"}} {
		if r.Key != "" && (v.user == "" || v.user == r.To) {
			r.Kind = manila.KindCephx
			return &r, nil
		}
	}
	return nil, fmt.Errorf("%w %q, for which the volume was published: delete its VolumeAttachment, so that it is published again, or put that user and its key into the Secret", errNoKey, v.user)
}
