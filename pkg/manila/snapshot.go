package manila

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// Snapshot is a snapshot as Manila has it.
type Snapshot struct {
	ID, Name, Status, ShareID, Protocol string
	// SizeGiB is the share's when the snapshot was made: a share from it has at least that.
	SizeGiB   int
	Metadata  map[string]string // nil before 2.73, where snapshots have none
	CreatedAt time.Time
}

// Ready says whether a share can be made from the snapshot.
func (s *Snapshot) Ready() bool { return s.Status == "available" }

// SnapshotSpec is a snapshot that is wanted.
type SnapshotSpec struct {
	// Name identifies the snapshot; Cluster, if set, the cluster that owns it.
	Name, Cluster string
	ShareID       string
	Metadata      map[string]string
}

// owns says whether a snapshot of this name belongs to the cluster of the spec. Before 2.73 the name has to do.
func (s *SnapshotSpec) owns(snapshot *Snapshot) bool {
	return mayOwn(s.Cluster, snapshot.Metadata)
}

// SnapshotSeen is what is known of a snapshot.
type SnapshotSeen struct {
	// Snapshot is nil when there is none.
	Snapshot *Snapshot
	// Ours says that this very call made the snapshot: a failure has not been told yet.
	Ours bool
	// Refused says that Manila has refused to delete it in its current status.
	Refused bool
}

// NextSnapshot decides what to do for the snapshot that spec wants; a nil spec wants it gone.
func NextSnapshot(spec *SnapshotSpec, o *SnapshotSeen) Step {
	failed := func(err error) Step { return Step{Action: ActionFail, Err: err} }
	if o.Snapshot == nil {
		if spec == nil {
			return Step{Action: ActionDone}
		}
		return Step{Action: ActionCreate}
	}
	if spec != nil && (o.Snapshot.ShareID != spec.ShareID || !spec.owns(o.Snapshot)) {
		return failed(fmt.Errorf("%w: snapshot %s is one of share %s", ErrIncompatible, o.Snapshot.ID, o.Snapshot.ShareID))
	}
	if o.Refused {
		return failed(ErrSnapshotStuck)
	}
	switch Classify(o.Snapshot.Status) {
	case PhaseReady:
		if spec == nil {
			return Step{Action: ActionDelete}
		}
		return Step{Action: ActionDone}
	case PhaseFailed:
		if spec != nil && o.Ours {
			return failed(ErrSnapshotFailed)
		}
		return Step{Action: ActionDelete} // of an earlier call: make room for a new one
	case PhaseDeleteFailed:
		return failed(ErrSnapshotStuck)
	case PhaseForeign:
		return failed(fmt.Errorf("%w: it is %s", ErrNotUsable, o.Snapshot.Status))
	default:
		return Step{Action: ActionLook}
	}
}

// Snapshot finds or makes the snapshot of a spec and returns when a share can be made from it. It can be called again after any
// error, and then goes on where things stand.
func (c *Client) Snapshot(ctx context.Context, spec *SnapshotSpec) (*Snapshot, error) {
	defer c.options.Metrics.during("snapshot")()
	valid, ok := openstack.ParseUUID(spec.ShareID)
	if !ok {
		return nil, noShareID(spec.ShareID)
	}
	a, err := connect(ctx, c.session)
	if err != nil { // as in Provision
		return nil, pendingSnapshot(spec.Name, err)
	}
	wanted := *spec
	wanted.ShareID = valid
	s, err := c.snapshot(ctx, a, &wanted)
	if err != nil {
		return nil, err
	}
	if err := a.tell(ctx, s); err != nil {
		return nil, pendingSnapshot(spec.Name, err)
	}
	return s, nil
}

// snapshot is Snapshot, for a share's id in Manila's spelling.
func (c *Client) snapshot(ctx context.Context, a *api, spec *SnapshotSpec) (*Snapshot, error) {
	t := &taking{client: c, api: a, spec: spec}
	if err := t.find(ctx); err != nil {
		return nil, pendingSnapshot(spec.Name, err)
	}
	return t.run(ctx)
}

// pendingSnapshot marks an error of a snapshot that exists, or may exist.
func pendingSnapshot(name string, err error) error {
	if errors.Is(err, ErrPending) || errors.Is(err, ErrIncompatible) {
		return err
	}
	return fmt.Errorf("snapshot %q: %w: %w", name, ErrPending, err)
}

// DeleteSnapshot removes a snapshot of the cluster, and before it those of its share and name that come after it and that nobody was told
// of; without a cluster that snapshot alone. It returns when it is gone. One that is not there, or an id that can't be one, is no error.
func (c *Client) DeleteSnapshot(ctx context.Context, id, cluster string) error {
	defer c.options.Metrics.during("delete_snapshot")()
	valid, ok := openstack.ParseUUID(id)
	if !ok {
		return nil
	}
	a, err := connect(ctx, c.session)
	if err != nil {
		return err
	}
	if cluster != "" && a.has(snapshotMetadata) {
		s, err := a.snapshot(ctx, valid)
		if err != nil || s == nil {
			return err
		}
		if err := c.clearSnapshots(ctx, a, s, cluster); err != nil {
			return err
		}
	}
	return c.removeSnapshot(ctx, a, valid)
}

// removeSnapshot removes one snapshot, by its id in Manila's spelling. The first DELETE goes out unseen: mostly it is accepted.
func (c *Client) removeSnapshot(ctx context.Context, a *api, id string) error {
	t := &taking{client: c, api: a, seen: SnapshotSeen{Snapshot: &Snapshot{ID: id, Status: "available"}}}
	_, err := t.run(ctx)
	return err
}

// taking is one call of Snapshot, or of DeleteSnapshot when there is no spec.
type taking struct {
	client           *Client
	api              *api
	spec             *SnapshotSpec
	seen             SnapshotSeen
	waited, refusals int

	named []*Snapshot // all of its name, as they were when it was looked at last
	spare string      // the one that this call has made before it went on with another
}

// find picks the snapshot of the spec among those of its name: one of its share, as inOrder does.
func (t *taking) find(ctx context.Context) error {
	found, err := t.api.snapshotsByName(ctx, t.spec.Name)
	if err != nil {
		return fmt.Errorf("looking for snapshot %q: %w", t.spec.Name, err)
	}
	if len(found) == 0 {
		return nil
	}
	t.spec.inOrder(found)
	t.seen.Snapshot = found[0]
	return nil
}

func (t *taking) run(ctx context.Context) (*Snapshot, error) {
	for {
		step := NextSnapshot(t.spec, &t.seen)
		var only bool
		var err error
		if step.Action == ActionDone {
			only, err = t.only(ctx)
		} else {
			err = t.act(ctx, step)
		}
		if only && err == nil {
			return t.seen.Snapshot, nil
		}
		if err != nil {
			if t.spec != nil && t.seen.Snapshot != nil {
				err = pendingSnapshot(t.spec.Name, err)
			}
			return nil, err
		}
	}
}

func (t *taking) act(ctx context.Context, step Step) error {
	switch step.Action {
	case ActionCreate:
		return t.create(ctx)
	case ActionDelete:
		return t.remove(ctx)
	case ActionLook:
		id := t.seen.Snapshot.ID
		if err := poll.Sleep(ctx, t.client.options.Poll.Wait(t.waited)); err != nil {
			return fmt.Errorf("waiting for snapshot %s, which is %s: %w", id, t.seen.Snapshot.Status, err)
		}
		t.waited++
		return t.look(ctx)
	default:
		s := t.seen.Snapshot
		if errors.Is(step.Err, ErrIncompatible) {
			return step.Err
		}
		return fmt.Errorf("%w: snapshot %s is %s: %s", step.Err, s.ID, s.Status, orNoMessage(t.api.message(ctx, s.ID)))
	}
}

func (t *taking) look(ctx context.Context) error {
	before := t.seen.Snapshot
	now, err := t.reread(ctx)
	if err != nil {
		return err
	}
	if now == nil && t.spec != nil && Classify(before.Status) != PhaseDeleting {
		return fmt.Errorf("snapshot %s has vanished: %w", before.ID, openstack.ErrNotFound)
	}
	t.seen.Snapshot, t.seen.Refused = now, false
	return nil
}

// reread reads the snapshot again: one that this call has made with those of its name, to see whether there are others.
func (t *taking) reread(ctx context.Context) (*Snapshot, error) {
	id := t.seen.Snapshot.ID
	if t.seen.Ours {
		var err error
		if t.named, err = t.api.snapshotsByName(ctx, t.spec.Name); err != nil {
			return nil, fmt.Errorf("looking at snapshot %q: %w", t.spec.Name, err)
		}
		if i := slices.IndexFunc(t.named, func(s *Snapshot) bool { return s.ID == id }); i >= 0 {
			return t.named[i], nil
		}
	}
	return t.api.snapshot(ctx, id)
}

// create waits for its answer even when the caller does not any more, as that of a share does.
func (t *taking) create(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	made, err := t.api.createSnapshot(bound, t.spec)
	if err != nil {
		return t.notCreated(ctx, err)
	}
	t.seen = SnapshotSeen{Snapshot: made, Ours: true}
	t.client.options.Logger.InfoContext(ctx, "snapshot created", slog.String("snapshot_id", made.ID), slog.String("name", made.Name), slog.String("share_id", made.ShareID))
	return nil
}

// notCreated looks for the name once more before a refusal is the end, as that of a share does.
func (t *taking) notCreated(ctx context.Context, cause error) error {
	if unfinished(cause) || errors.Is(cause, ErrNotUsable) {
		return cause
	}
	if err := t.find(ctx); err != nil {
		return pendingSnapshot(t.spec.Name, errors.Join(cause, err))
	}
	if t.seen.Snapshot == nil {
		return cause
	}
	return nil
}

// remove asks for the deletion. When Manila refuses for the snapshot's status, that is looked at; when it does not tell why, it is
// asked once more, since it may have changed between the two calls.
func (t *taking) remove(ctx context.Context) error {
	s := t.seen.Snapshot
	if t.spec != nil {
		t.client.options.Logger.WarnContext(ctx, "replacing a snapshot in error", slog.String("snapshot_id", s.ID), slog.String("reason", t.api.message(ctx, s.ID)))
	}
	refused, err := t.api.deleteSnapshot(ctx, s.ID)
	switch {
	case err != nil:
		return err
	case !refused:
		s.Status = "deleting"
		return nil
	}
	t.refusals++
	s.Status = "deleting" // so that it may have vanished
	if err := t.look(ctx); err != nil || t.seen.Snapshot == nil {
		return err
	}
	now := t.seen.Snapshot
	t.seen.Refused = t.refusals > 1 && (now.Ready() || Classify(now.Status) == PhaseFailed)
	return nil
}

// SnapshotByID reads a snapshot. The error is openstack.ErrNotFound when there is none.
func (c *Client) SnapshotByID(ctx context.Context, id string) (*Snapshot, error) {
	valid, ok := openstack.ParseUUID(id)
	if !ok {
		return nil, fmt.Errorf("snapshot %q: %w", id, openstack.ErrNotFound)
	}
	a, err := connect(ctx, c.session)
	if err != nil {
		return nil, err
	}
	s, err := a.snapshot(ctx, valid)
	if err == nil && s == nil {
		err = fmt.Errorf("snapshot %s: %w", id, openstack.ErrNotFound)
	}
	return s, err
}
