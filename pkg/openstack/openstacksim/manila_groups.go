package openstacksim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// The metadata keys under which Manila keeps the scheduler's hints (AFFINITY_KEY and ANTI_AFFINITY_KEY of manila/share/api.py).
const (
	manilaSameHostKey      = "__affinity_same_host"
	manilaDifferentHostKey = "__affinity_different_host"
)

type manilaGroup struct {
	id, name, project, groupType string
	types                        []string
	zone                         string
	created                      time.Time
}

type manilaGroupType struct {
	id, name string
	types    []string
}

// groupRoutes are those of share groups and their types from 2.55 on, where they are no experiment any more.
func (m *Manila) groupRoutes() []route {
	const graduated = 55
	return []route{
		{pattern: "POST /v2/share-group-types", handle: m.handle(graduated, m.createGroupType)},
		{pattern: "DELETE /v2/share-group-types/{id}", handle: m.handle(graduated, m.deleteGroupType)},
		{pattern: "POST /v2/share-groups", handle: m.handle(graduated, m.createGroup)},
		{pattern: "GET /v2/share-groups/{id}", handle: m.handle(graduated, m.showGroup)},
		{pattern: "DELETE /v2/share-groups/{id}", handle: m.handle(graduated, m.deleteGroup)},
	}
}

func manilaTexts(v any) (out []string) {
	items, _ := v.([]any)
	for _, item := range items {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// createGroupType follows manila/api/v2/share_group_types.py: administrators make them, for share types by id.
func (m *Manila) createGroupType(c *manilaCall) (manilaAnswer, error) {
	if !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusForbidden, "Policy doesn't allow share_group_type:create to be performed.")
	}
	body, ok := c.entity("share_group_type")
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Malformed request body")
	}
	t := &manilaGroupType{id: newUUID(), name: manilaText(body, "name"), types: manilaTexts(body["share_types"])}
	for _, id := range t.types {
		if m.typeByName(id) == nil {
			return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "Share type %s could not be found.", id)
		}
	}
	m.groupTypes[t.id] = t
	return manilaAnswer{http.StatusOK, map[string]any{"share_group_type": map[string]any{
		"id": t.id, "name": t.name, "is_public": true, "share_types": t.types, "group_specs": map[string]any{}, "is_default": false,
	}}}, nil
}

func (m *Manila) deleteGroupType(c *manilaCall) (manilaAnswer, error) {
	if _, ok := m.groupTypes[c.PathValue("id")]; !ok || !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "Share group type %s could not be found.", c.PathValue("id"))
	}
	delete(m.groupTypes, c.PathValue("id"))
	return manilaAnswer{status: http.StatusNoContent}, nil
}

// createGroup follows _create of manila/api/v2/share_groups.py, with the checks that a tenant meets. The group is there at once.
func (m *Manila) createGroup(c *manilaCall) (manilaAnswer, error) {
	body, ok := c.entity("share_group")
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Missing required element 'share_group' in request body.")
	}
	g := &manilaGroup{
		id: newUUID(), name: manilaText(body, "name"), project: c.project, groupType: manilaText(body, "share_group_type_id"), types: manilaTexts(body["share_types"]),
		zone: manilaText(body, "availability_zone"), created: m.now(),
	}
	t, ok := m.groupTypes[g.groupType]
	switch {
	case g.groupType == "":
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Must specify a share group type as a default share group type has not been configured.")
	case !ok:
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Share group type %s could not be found.", g.groupType)
	}
	for _, id := range g.types {
		if !slices.Contains(t.types, id) {
			return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "The specified share types must be supported by the share group type.")
		}
	}
	if g.zone == "" {
		g.zone = m.cfg.AvailabilityZones[0]
	}
	m.groups[g.id] = g
	return manilaAnswer{http.StatusAccepted, map[string]any{"share_group": m.groupView(g)}}, nil
}

func (m *Manila) groupView(g *manilaGroup) map[string]any {
	return map[string]any{
		"id": g.id, "name": manilaNull(g.name), "status": manilaAvailable, "project_id": g.project, "share_group_type_id": g.groupType, "share_types": g.types,
		"availability_zone": g.zone, "created_at": manilaTime(g.created),
	}
}

func (m *Manila) group(c *manilaCall, id string) (*manilaGroup, error) {
	g, ok := m.groups[id]
	if !ok || g.project != c.project && !c.admin() {
		return nil, manilaErrorf(http.StatusNotFound, "Share group %s could not be found.", id)
	}
	return g, nil
}

func (m *Manila) showGroup(c *manilaCall) (manilaAnswer, error) {
	g, err := m.group(c, c.PathValue("id"))
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"share_group": m.groupView(g)}}, nil
}

func (m *Manila) deleteGroup(c *manilaCall) (manilaAnswer, error) {
	g, err := m.group(c, c.PathValue("id"))
	if err != nil {
		return manilaAnswer{}, err
	}
	for _, s := range m.shares {
		if s.group == g.id {
			return manilaAnswer{}, manilaErrorf(http.StatusConflict, "Cannot delete a share group with shares")
		}
	}
	delete(m.groups, g.id)
	return manilaAnswer{status: http.StatusAccepted}, nil
}

// joinGroup follows what _create of manila/api/v1/shares.py and create of manila/share/api.py do about a new share's group.
func (m *Manila) joinGroup(c *manilaCall, s *manilaShare, wanted string) error {
	if wanted == "" || !c.v.atLeast(31) {
		return nil
	}
	g, err := m.group(c, wanted)
	switch {
	case err != nil:
		return &manilaFaultError{http.StatusNotFound, "Share group %(share_group_id)s could not be found."} // the template, as with a real one
	case s.zone != "" && s.zone != g.zone:
		return manilaErrorf(http.StatusBadRequest, "Invalid input received: Share cannot have AZ ('%s') different than share group's one (%s).", s.zone, g.zone)
	case !slices.Contains(g.types, s.typ.id):
		return manilaErrorf(http.StatusBadRequest, "The specified share type (%s) is not supported by the specified share group (%s).", s.typ.id, g.id)
	}
	s.group, s.zone = g.id, g.zone
	return nil
}

// leaveGroup says why a share of a group is not deleted without the group's id (delete in manila/api/v1/shares.py).
func leaveGroup(c *manilaCall, s *manilaShare) error {
	said := c.URL.Query().Get("share_group_id")
	switch {
	case s.group == "":
		return nil
	case said == "":
		return manilaErrorf(http.StatusBadRequest, "Must provide 'share_group_id' as a request parameter when deleting a share in a share group.")
	case said != s.group:
		return manilaErrorf(http.StatusBadRequest, "The specified 'share_group_id' does not match the share group id of the share.")
	}
	return nil
}

// hints follows save_scheduler_hints of manila/share/api.py. A real Manila has made the new share by then, and
// a mistake leaves it behind without an instance, on the quota and in no list; here it is gone.
func (m *Manila) hints(c *manilaCall, s *manilaShare, body map[string]any) error {
	wanted, _ := body["scheduler_hints"].(map[string]any)
	if !c.v.atLeast(65) {
		return nil
	}
	for _, h := range []struct{ hint, key string }{{"same_host", manilaSameHostKey}, {"different_host", manilaDifferentHostKey}} {
		text, _ := wanted[h.hint].(string)
		if text == "" {
			continue
		}
		for id := range strings.SplitSeq(text, ",") {
			other, ok := m.shares[id]
			switch {
			case !isUUID(id):
				return manilaErrorf(http.StatusBadRequest, "%s is not a valid uuid.", id)
			case !ok || other.project != c.project:
				return manilaErrorf(http.StatusNotFound, "ShareNotFound: Share %s could not be found.", id)
			}
			other.metadata[h.key] = strings.Trim(other.metadata[h.key]+","+s.id, ",")
		}
		s.metadata[h.key] = text
	}
	return nil
}

// hosts says whether the hints leave a host: a share type is a back end, so shares of one type are on one host.
func (m *Manila) hosts(s *manilaShare) bool {
	for key, same := range map[string]bool{manilaSameHostKey: true, manilaDifferentHostKey: false} {
		for id := range strings.SplitSeq(s.metadata[key], ",") {
			if other, ok := m.shares[id]; ok && (other.typ == s.typ) != same {
				return false
			}
		}
	}
	return true
}

// forgetHints takes a share out of the hints of others (delete_scheduler_hints).
func (m *Manila) forgetHints(s *manilaShare) {
	for _, key := range []string{manilaSameHostKey, manilaDifferentHostKey} {
		for id := range strings.SplitSeq(s.metadata[key], ",") {
			other, ok := m.shares[id]
			if !ok {
				continue
			}
			left := slices.DeleteFunc(strings.Split(other.metadata[key], ","), func(v string) bool { return v == s.id })
			if other.metadata[key] = strings.Join(left, ","); other.metadata[key] == "" {
				delete(other.metadata, key)
			}
		}
		delete(s.metadata, key)
	}
}

// AddGroup gives a project a share group for a share type, past the API, and returns its id; empty when there is no such type.
func (m *Manila) AddGroup(project, shareType string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.typeByName(shareType)
	if t == nil {
		return ""
	}
	g := &manilaGroup{id: newUUID(), project: project, types: []string{t.id}, zone: m.zonesOf(t)[0], created: m.now()}
	m.groups[g.id] = g
	return g.id
}

// GroupOf is the share group of a share; empty when it is in none.
func (m *Manila) GroupOf(share string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.shares[share]; ok {
		return s.group
	}
	return ""
}

// ShareNamed is the id of a share of a name; empty when there is none.
func (m *Manila) ShareNamed(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.shares {
		if s.name == name {
			return s.id
		}
	}
	return ""
}
