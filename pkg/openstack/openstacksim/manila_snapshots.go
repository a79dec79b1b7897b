package openstacksim

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

type manilaSnap struct {
	id, name, description, share, project, user, proto, status string
	size                                                       int
	metadata                                                   map[string]string
	created                                                    time.Time
}

func (m *Manila) snapshotRoutes() []route {
	return []route{
		{pattern: "GET /v2/snapshots", handle: m.handle(0, m.listSnapshots(false))},
		{pattern: "GET /v2/snapshots/detail", handle: m.handle(0, m.listSnapshots(true))},
		{pattern: "POST /v2/snapshots", handle: m.handle(0, m.createSnapshot)},
		{pattern: "GET /v2/snapshots/{id}", handle: m.handle(0, m.showSnapshot)},
		{pattern: "PUT /v2/snapshots/{id}", handle: m.handle(0, m.updateSnapshot)},
		{pattern: "DELETE /v2/snapshots/{id}", handle: m.handle(0, m.deleteSnapshot)},
		{pattern: "POST /v2/snapshots/{id}/action", handle: m.handle(7, m.snapshotAction)},
		{pattern: "GET /v2/snapshots/{id}/metadata", handle: m.handle(73, m.showSnapshotMetadata)},
		{pattern: "DELETE /v2/snapshots/{id}/metadata/{key}", handle: m.handle(73, m.deleteSnapshotMetadatum)},
		{pattern: "POST /v2/snapshots/{id}/metadata", handle: m.handle(73, m.setSnapshotMetadata(false))},
		{pattern: "PUT /v2/snapshots/{id}/metadata", handle: m.handle(73, m.setSnapshotMetadata(true))},
	}
}

// snapshotView follows manila/api/views/share_snapshots.py.
func (m *Manila) snapshotView(c *manilaCall, s *manilaSnap) map[string]any {
	view := map[string]any{
		"id": s.id, "share_id": s.share, "share_size": s.size, "created_at": manilaTime(s.created), "status": s.status, "name": manilaNull(s.name),
		"description": manilaNull(s.description), "size": s.size, "share_proto": s.proto, "links": m.links(c, "snapshots", s.id),
	}
	if c.v.atLeast(12) && c.admin() {
		view["provider_location"] = nil
	}
	if c.v.atLeast(17) {
		view["user_id"], view["project_id"] = s.user, s.project
	}
	if c.v.atLeast(73) {
		view["metadata"] = maps.Clone(s.metadata)
	}
	return view
}

// snapshot finds the snapshot of the path; strangers are told there is none.
func (m *Manila) snapshot(c *manilaCall, text string) (*manilaSnap, error) {
	s, ok := m.snapshots[c.PathValue("id")]
	if !ok || (s.project != c.project && !c.admin()) {
		return nil, manilaErrorf(http.StatusNotFound, "%s", text)
	}
	return s, nil
}

func (m *Manila) showSnapshot(c *manilaCall) (manilaAnswer, error) {
	s, err := m.snapshot(c, manilaNotFoundText)
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"snapshot": m.snapshotView(c, s)}}, nil
}

func (m *Manila) createSnapshot(c *manilaCall) (manilaAnswer, error) {
	body, ok := c.entity("snapshot")
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusUnprocessableEntity, "Unable to process the contained instructions")
	}
	share, ok := m.shares[manilaText(body, "share_id")]
	switch {
	case !ok || share.project != c.project && !c.admin():
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "NotFound: "+manilaNoResourceText)
	case !share.typ.can("snapshot_support"):
		return manilaAnswer{}, manilaErrorf(http.StatusUnprocessableEntity, "Snapshots cannot be created for share '%s' since it does not have that capability.", share.id)
	case share.status != manilaAvailable && !manilaTrue(manilaText(body, "force")) && body["force"] != true:
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid share: Source share status must be available.")
	}
	s := &manilaSnap{
		id: newUUID(), share: share.id, project: share.project, user: c.user, proto: share.proto, status: manilaCreating, size: share.size,
		name: manilaText(body, "name", "display_name"), description: manilaText(body, "description", "display_description"), metadata: map[string]string{},
	}
	if c.v.atLeast(73) {
		s.metadata = manilaStrings(body["metadata"])
	}
	if err := manilaCheckMetadata(s.metadata); err != nil {
		return manilaAnswer{}, err
	}
	if err := manilaStorable(s.name); err != nil {
		return manilaAnswer{}, err
	}
	if err := m.chargeSnapshot(s.project, share.typ.id, s.size); err != nil {
		return manilaAnswer{}, err
	}
	s.created = m.now()
	m.snapshots[s.id] = s
	view := m.snapshotView(c, s)
	if bad, spoiled := m.spoiled(ManilaSnapshot, s.name, share.typ.Name); !spoiled {
		m.later(m.cfg.Delays.Snapshot, func() { s.status = manilaAvailable })
	} else if !bad.Stuck {
		m.later(m.cfg.Delays.Snapshot, func() { s.status = manilaError })
	}
	return manilaAnswer{http.StatusAccepted, map[string]any{"snapshot": view}}, nil
}

func (m *Manila) updateSnapshot(c *manilaCall) (manilaAnswer, error) {
	body, ok := c.entity("snapshot")
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusUnprocessableEntity, "Unable to process the contained instructions")
	}
	s, err := m.snapshot(c, manilaNotFoundText)
	if err != nil {
		return manilaAnswer{}, err
	}
	if v, ok := body["display_name"].(string); ok {
		s.name = v
	}
	if v, ok := body["display_description"].(string); ok {
		s.description = v
	}
	return manilaAnswer{http.StatusOK, map[string]any{"snapshot": m.snapshotView(c, s)}}, nil
}

func (m *Manila) deleteSnapshot(c *manilaCall) (manilaAnswer, error) {
	s, err := m.snapshot(c, manilaNotFoundText)
	if err != nil {
		return manilaAnswer{}, err
	}
	if s.status != manilaAvailable && s.status != manilaError {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid share snapshot: Share Snapshot status must be one of ('available', 'error').")
	}
	m.beginSnapshotDelete(s, false)
	return manilaAnswer{status: http.StatusAccepted}, nil
}

func (m *Manila) beginSnapshotDelete(s *manilaSnap, force bool) {
	s.status = manilaDeleting
	typ := ""
	if share, ok := m.shares[s.share]; ok {
		typ = share.typ.Name
	}
	bad, spoiled := m.spoiled(ManilaSnapshotDelete, s.name, typ)
	if spoiled && bad.Stuck && !force {
		return
	}
	m.later(m.cfg.Delays.SnapshotDelete, func() {
		if spoiled && !force {
			s.status = manilaErrorDeleting
			return
		}
		delete(m.snapshots, s.id)
	})
}

func (m *Manila) snapshotAction(c *manilaCall) (manilaAnswer, error) {
	for name, args := range c.body {
		if name != "force_delete" && name != "reset_status" {
			return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "There is no such action: %s", name)
		}
		if !c.admin() {
			return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
		}
		s, err := m.snapshot(c, "Snapshot "+c.PathValue("id")+" could not be found.")
		if err != nil {
			return manilaAnswer{}, err
		}
		if name == "force_delete" {
			m.beginSnapshotDelete(s, true)
			return manilaAnswer{status: http.StatusAccepted}, nil
		}
		fields, _ := args.(map[string]any)
		status := manilaText(fields, "status")
		if !slices.Contains([]string{manilaCreating, manilaAvailable, manilaDeleting, manilaError, manilaErrorDeleting}, status) {
			return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid state. Valid states: creating, available, deleting, error, error_deleting.")
		}
		s.status = status
		return manilaAnswer{status: http.StatusAccepted}, nil
	}
	return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Malformed request body")
}

func (m *Manila) listSnapshots(detail bool) manilaHandler {
	return func(c *manilaCall) (manilaAnswer, error) {
		q := c.URL.Query()
		page, err := manilaPaging(q)
		if err != nil {
			return manilaAnswer{}, err
		}
		page.limit = min(page.limit, m.cfg.MaxLimit)
		metadata := map[string]string{}
		if c.v.atLeast(73) {
			if metadata, err = manilaDict(q.Get("metadata")); err != nil {
				return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid value for metadata filter.")
			}
		}
		found := []*manilaSnap{}
		for _, s := range m.snapshots {
			visible := s.project == c.project || c.admin() && manilaTrue(q.Get("all_tenants"))
			like := !c.v.atLeast(36) || !q.Has("name~") || strings.Contains(s.name, q.Get("name~"))
			if visible && like && manilaSubset(metadata, s.metadata) && manilaExact(q, map[string]string{"name": s.name, "display_name": s.name, "status": s.status, "share_id": s.share}) {
				found = append(found, s)
			}
		}
		slices.SortFunc(found, func(a, b *manilaSnap) int {
			return manilaOrder(q, manilaSortable{a.id, a.name, a.created}, manilaSortable{b.id, b.name, b.created})
		})
		views := []any{}
		for _, s := range manilaSlice(found, page) {
			if detail {
				views = append(views, m.snapshotView(c, s))
			} else {
				views = append(views, map[string]any{"id": s.id, "name": manilaNull(s.name), "links": m.links(c, "snapshots", s.id)})
			}
		}
		return manilaAnswer{http.StatusOK, map[string]any{"snapshots": views}}, nil
	}
}

func manilaExact(q map[string][]string, values map[string]string) bool {
	for key, value := range values {
		if want, ok := q[key]; ok && want[0] != value {
			return false
		}
	}
	return true
}

func (m *Manila) showSnapshotMetadata(c *manilaCall) (manilaAnswer, error) {
	s, err := m.snapshot(c, "Share_snapshot not found.")
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"metadata": maps.Clone(s.metadata)}}, nil
}

func (m *Manila) deleteSnapshotMetadatum(c *manilaCall) (manilaAnswer, error) {
	s, err := m.snapshot(c, "Share_snapshot not found.")
	if err != nil {
		return manilaAnswer{}, err
	}
	return deleteMetadatum(c, s.metadata, "MetadataItemNotFound: Metadata item is not found.")
}

func (m *Manila) setSnapshotMetadata(replace bool) manilaHandler {
	return func(c *manilaCall) (manilaAnswer, error) {
		fields, ok := c.entity("metadata")
		if !ok {
			return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Malformed request body")
		}
		md := manilaStrings(fields)
		if err := manilaCheckMetadata(md); err != nil {
			return manilaAnswer{}, err
		}
		s, err := m.snapshot(c, "Share_snapshot not found.")
		if err != nil {
			return manilaAnswer{}, err
		}
		if replace {
			s.metadata = map[string]string{}
		}
		maps.Copy(s.metadata, md)
		return manilaAnswer{http.StatusOK, map[string]any{"metadata": maps.Clone(s.metadata)}}, nil
	}
}
