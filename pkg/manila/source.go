package manila

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"mooring/pkg/openstack"
)

// ClonedFromKey is the metadata key of the share that a share was cloned from.
const ClonedFromKey = "manila.csi.openstack.org/cloned-from"

// clonePrefix begins the names of snapshots that exist while a share is cloned.
const clonePrefix = "mooring-clone-"

// CloneSnapshotName is the name of the snapshot that a share of this name is cloned by: the same on every try, so that a try finds
// what an earlier one has made.
func CloneSnapshotName(share string) string {
	const longest = 255
	if len(clonePrefix)+len(share) <= longest {
		return clonePrefix + share
	}
	sum := sha256.Sum256([]byte(share))
	return clonePrefix + hex.EncodeToString(sum[:])
}

// sized is a spec with a source: its share is as large as the source at least.
func sized(spec *Spec, source *Snapshot) (*Spec, error) {
	if !source.Ready() {
		return nil, fmt.Errorf("%w: snapshot %s is %s", ErrNotUsable, source.ID, source.Status)
	}
	if spec.MaxGiB > 0 && source.SizeGiB > spec.MaxGiB {
		return nil, fmt.Errorf("%w: snapshot %s has %d GiB, and the limit is %d GiB", ErrTooLarge, source.ID, source.SizeGiB, spec.MaxGiB)
	}
	out := *spec
	out.SnapshotID, out.SizeGiB = source.ID, max(spec.SizeGiB, source.SizeGiB)
	return &out, nil
}

// resolved is the spec of the share to create: with the snapshot that it is made from, if any, and at least that one's size.
func (p *provision) resolved(ctx context.Context) (*Spec, error) {
	switch {
	case p.spec.CloneOf != "":
		return p.cloneSource(ctx)
	case p.spec.SnapshotID == "":
		return p.spec, nil
	}
	id, ok := openstack.ParseUUID(p.spec.SnapshotID)
	if !ok {
		return nil, fmt.Errorf("snapshot %q: %w", p.spec.SnapshotID, openstack.ErrNotFound)
	}
	source, err := p.api.snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	if source == nil {
		return nil, fmt.Errorf("snapshot %s: %w", id, openstack.ErrNotFound)
	}
	return sized(p.spec, source)
}

// cloneSource finds or makes the snapshot by which a share is cloned.
func (p *provision) cloneSource(ctx context.Context) (*Spec, error) {
	share, ok := openstack.ParseUUID(p.spec.CloneOf)
	if !ok {
		return nil, noShareID(p.spec.CloneOf)
	}
	source, err := p.client.snapshot(ctx, p.api, &SnapshotSpec{Name: CloneSnapshotName(p.spec.Name), Cluster: p.spec.Cluster, ShareID: share})
	if err != nil {
		return nil, err
	}
	p.cloning = source
	return sized(p.spec, source)
}

// abandon removes the snapshot of a clone that Manila has refused for good. If that can't be done now, it is not the end.
func (p *provision) abandon(ctx context.Context, cause error) error {
	if p.cloning == nil {
		return cause
	}
	for _, final := range []error{openstack.ErrQuota, openstack.ErrInvalid, openstack.ErrForbidden, ErrReference, ErrTooLarge, ErrTooOld, ErrZones} {
		if !errors.Is(cause, final) {
			continue
		}
		if err := p.client.removeSnapshot(ctx, p.api, p.cloning.ID); err != nil {
			return errors.Join(cause, pending(p.spec.Name, err))
		}
		p.cloning = nil
		return cause
	}
	return cause
}

// finish removes the snapshot that a share was cloned by, and others that were made for that and recorded late: they have done their
// work. They are told by their name, since snapshots of users stay.
func (p *provision) finish(ctx context.Context) error {
	share := p.seen.Share
	if p.spec.CloneOf == "" || share.SnapshotID == "" {
		return nil
	}
	source, _ := openstack.ParseUUID(p.spec.CloneOf)
	spec := &SnapshotSpec{Name: CloneSnapshotName(p.spec.Name), Cluster: p.spec.Cluster, ShareID: source}
	found, err := p.api.snapshotsByName(ctx, spec.Name)
	if err != nil {
		return fmt.Errorf("looking for snapshot %q: %w", spec.Name, err)
	}
	for _, s := range found {
		if s.ID != share.SnapshotID && !spec.unused(s) {
			continue
		}
		if err := p.client.removeSnapshot(ctx, p.api, s.ID); err != nil {
			return fmt.Errorf("after share %s was cloned: %w", share.ID, err)
		}
		if s.ID == share.SnapshotID {
			p.client.options.Logger.InfoContext(ctx, "share cloned", slog.String("share_id", share.ID), slog.String("source_share_id", p.spec.CloneOf))
		}
	}
	return nil
}
