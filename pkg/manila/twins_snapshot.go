package manila

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"

	"mooring/pkg/openstack"
)

// Snapshots have twins as shares have, and one that is left keeps its share from being deleted. They have no access rules: where they
// have metadata (2.73), the proof that nobody was told of one goes before somebody is.

// metadata is what a new snapshot gets.
func (s *SnapshotSpec) metadata() map[string]string {
	m := cleanMetadata(s.Metadata, s.Cluster)
	if s.Cluster != "" {
		m[UnusedKey] = "true"
	}
	return m
}

// inOrder puts the one of several snapshots of the spec's name first that every call picks: one of its share, as inOrder of shares does.
func (s *SnapshotSpec) inOrder(found []*Snapshot) {
	rank := func(x *Snapshot) int {
		if x.ShareID != s.ShareID || !s.owns(x) {
			return math.MaxInt
		}
		return loss(x.Status)
	}
	slices.SortFunc(found, func(x, y *Snapshot) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), x.CreatedAt.Compare(y.CreatedAt), cmp.Compare(x.ID, y.ID))
	})
}

// unused says whether there is proof that nobody was told of a snapshot of the spec.
func (s *SnapshotSpec) unused(x *Snapshot) bool {
	return x.ShareID == s.ShareID && x.Metadata[ClusterKey] == s.Cluster && x.Metadata[UnusedKey] != ""
}

// only sees to it that the snapshot is the first of its name, when this call has made it, as that of a share does. When another one is,
// the call goes on with that, and removes its own in the end.
func (t *taking) only(ctx context.Context) (bool, error) {
	mine := t.seen.Snapshot
	if t.spare != "" {
		return true, t.clear(ctx)
	}
	if t.spec == nil || !t.seen.Ours || t.spec.Cluster == "" || len(t.named) == 0 {
		return true, nil
	}
	t.spec.inOrder(t.named)
	if first := t.named[0]; first.ID != mine.ID {
		t.seen, t.spare = SnapshotSeen{Snapshot: first}, mine.ID
		return false, nil
	}
	return true, nil
}

// clear removes the snapshot that this call has made, unless another call has found it, and told of it.
func (t *taking) clear(ctx context.Context) error {
	spare, err := t.api.snapshot(ctx, t.spare)
	if err != nil || spare == nil || !t.spec.unused(spare) {
		return err
	}
	return t.client.discard(ctx, t.api, spare)
}

// tell takes the proof away that nobody was told of a snapshot.
func (a *api) tell(ctx context.Context, s *Snapshot) error {
	if s.Metadata[UnusedKey] == "" {
		return nil
	}
	delete(s.Metadata, UnusedKey)
	return a.deleteSnapshotMetadata(ctx, s.ID, UnusedKey)
}

// clearSnapshots removes those twins of a snapshot that come after it and that nobody was told of: as long as it is there and ready, no
// create takes one of them.
func (c *Client) clearSnapshots(ctx context.Context, a *api, used *Snapshot, cluster string) error {
	if cluster == "" || used.Metadata[ClusterKey] != cluster || used.Name == "" || !used.Ready() {
		return nil
	}
	named, err := a.snapshotsByName(ctx, used.Name)
	if err != nil {
		return err
	}
	spec := &SnapshotSpec{Name: used.Name, Cluster: cluster, ShareID: used.ShareID}
	own := append(slices.DeleteFunc(named, func(s *Snapshot) bool { return s.ID == used.ID || !spec.unused(s) }), used)
	spec.inOrder(own)
	for _, twin := range own[slices.Index(own, used)+1:] {
		err = errors.Join(err, c.discard(ctx, a, twin))
	}
	return err
}

// discard removes a snapshot that nobody was told of. One that Manila does not remove is left.
func (c *Client) discard(ctx context.Context, a *api, twin *Snapshot) error {
	logger := c.options.Logger.With(slog.String("snapshot_id", twin.ID), slog.String("name", twin.Name))
	logger.WarnContext(ctx, "removing a second snapshot of this name, that nobody was told of")
	refused, err := a.deleteSnapshot(ctx, twin.ID)
	if refused || errors.Is(err, openstack.ErrForbidden) {
		logger.WarnContext(ctx, "the second snapshot of this name can't be removed", slog.Any("error", err))
		return nil
	}
	return err
}
