package manila

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"

	"mooring/pkg/openstack"
)

// snapshotMetadata is the microversion from which snapshots have metadata.
var snapshotMetadata = openstack.Microversion{Major: 2, Minor: 73} //nolint:gochecknoglobals // a constant

// snapshotBody is a snapshot in an answer; gophercloud's has no metadata.
type snapshotBody struct {
	ID        string                          `json:"id"`
	Name      string                          `json:"name"`
	Status    string                          `json:"status"`
	ShareID   string                          `json:"share_id"`
	Protocol  string                          `json:"share_proto"`
	Size      int                             `json:"size"`
	Metadata  map[string]string               `json:"metadata"`
	CreatedAt gophercloud.JSONRFC3339MilliNoZ `json:"created_at"`
}

// snapshot is nil when the body lacks an id, or has one that must not become a path.
func (b *snapshotBody) snapshot() *Snapshot {
	if b == nil {
		return nil
	}
	if _, ok := openstack.ParseUUID(b.ID); !ok {
		return nil
	}
	return &Snapshot{
		ID: b.ID, Name: b.Name, Status: b.Status, ShareID: b.ShareID, Protocol: strings.ToUpper(b.Protocol), SizeGiB: b.Size, Metadata: b.Metadata, CreatedAt: time.Time(b.CreatedAt),
	}
}

// snapshotCreate has the metadata that gophercloud's options lack.
type snapshotCreate struct {
	ShareID  string            `json:"share_id"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// ToSnapshotCreateMap makes the body of the call.
func (o snapshotCreate) ToSnapshotCreateMap() (map[string]any, error) {
	return gophercloud.BuildRequestBody(o, "snapshot")
}

// createSnapshot asks for a snapshot. ErrNotUsable says that the share's status does not allow one now.
func (a *api) createSnapshot(ctx context.Context, spec *SnapshotSpec) (*Snapshot, error) {
	o := snapshotCreate{ShareID: spec.ShareID, Name: spec.Name}
	if a.has(snapshotMetadata) {
		o.Metadata = spec.metadata()
	}
	var body struct {
		Snapshot *snapshotBody `json:"snapshot"`
	}
	err := wrap(snapshots.Create(ctx, a.client, o).ExtractInto(&body))
	if e, ok := errors.AsType[*openstack.Error](err); ok && e.Status == http.StatusBadRequest && strings.Contains(e.Message, "status must be") {
		err = fmt.Errorf("%w: %w", ErrNotUsable, err)
	}
	made := body.Snapshot.snapshot()
	if err == nil && made == nil {
		err = errNoAnswer("snapshot")
	}
	if err != nil {
		return nil, fmt.Errorf("creating a snapshot of share %s: %w", spec.ShareID, err)
	}
	return made, nil
}

// snapshot reads a snapshot; nil when there is none.
func (a *api) snapshot(ctx context.Context, id string) (*Snapshot, error) {
	var body struct {
		Snapshot *snapshotBody `json:"snapshot"`
	}
	err := wrap(snapshots.Get(ctx, a.client, id).ExtractInto(&body))
	if errors.Is(err, openstack.ErrNotFound) {
		return nil, nil //nolint:nilnil // no snapshot is an answer
	}
	s := body.Snapshot.snapshot()
	if err == nil && (s == nil || s.ID != id) {
		err = errNoAnswer("snapshot")
	}
	if err != nil {
		return nil, fmt.Errorf("reading snapshot %s: %w", id, err)
	}
	return s, nil
}

// snapshotsByName finds the snapshots of exactly this name.
func (a *api) snapshotsByName(ctx context.Context, name string) ([]*Snapshot, error) {
	all, err := a.listSnapshots(ctx, url.Values{"name": {name}})
	if err != nil {
		return nil, err
	}
	var found []*Snapshot
	for _, s := range all {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found, nil
}

// listSnapshots reads one page of snapshots.
func (a *api) listSnapshots(ctx context.Context, query url.Values) ([]*Snapshot, error) {
	var body struct {
		Snapshots []snapshotBody `json:"snapshots"`
	}
	if err := a.read(ctx, "snapshots/detail?"+query.Encode(), &body); err != nil {
		return nil, err
	}
	if body.Snapshots == nil { // without a list nothing is known
		return nil, errNoAnswer("list of snapshots")
	}
	out := make([]*Snapshot, 0, len(body.Snapshots))
	for i := range body.Snapshots {
		if s := body.Snapshots[i].snapshot(); s != nil {
			out = append(out, s)
		}
	}
	return out, nil
}

// read gets a path below /v2/.
func (a *api) read(ctx context.Context, path string, body any) error {
	resp, err := a.client.Get(ctx, a.client.Endpoint+path, body, nil) //nolint:bodyclose // gophercloud does when it decodes
	_, _, err = gophercloud.ParseResponse(resp, err)
	return wrap(err)
}

// deleteSnapshot asks for the deletion. refused is true when Manila won't in the snapshot's current status; that there is none is
// no error.
func (a *api) deleteSnapshot(ctx context.Context, id string) (refused bool, err error) {
	err = wrap(snapshots.Delete(ctx, a.client, id).ExtractErr())
	switch {
	case err == nil || errors.Is(err, openstack.ErrNotFound):
		return false, nil
	case errors.Is(err, openstack.ErrInvalid) || errors.Is(err, openstack.ErrConflict):
		return true, nil
	}
	return false, fmt.Errorf("deleting snapshot %s: %w", id, err)
}

// deleteSnapshotMetadata removes a key. That it is not there is no error. gophercloud lacks it.
func (a *api) deleteSnapshotMetadata(ctx context.Context, id, key string) error {
	response, err := a.client.Delete(ctx, a.client.ServiceURL("snapshots", id, "metadata", key), &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}}) //nolint:bodyclose // gophercloud does when nobody asks for it
	_, _, err = gophercloud.ParseResponse(response, err)
	if err = wrap(err); err != nil && !errors.Is(err, openstack.ErrNotFound) {
		return fmt.Errorf("removing metadata %s of snapshot %s: %w", key, id, err)
	}
	return nil
}

// cleanMetadata leaves out what Manila refuses, and adds the cluster.
func cleanMetadata(from map[string]string, cluster string) map[string]string {
	m := map[string]string{}
	for k, v := range from {
		if k != "" && v != "" {
			m[k] = v
		}
	}
	if cluster != "" {
		m[ClusterKey] = cluster
	}
	return m
}
