package openstacksim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The share statuses the simulator moves through (manila/common/constants.py).
const (
	manilaCreating         = "creating"
	manilaCreatingFromSnap = "creating_from_snapshot"
	manilaAvailable        = "available"
	manilaError            = "error"
	manilaDeleting         = "deleting"
	manilaErrorDeleting    = "error_deleting"
	manilaExtending        = "extending"
	manilaExtendingError   = "extending_error"
	manilaShrinking        = "shrinking"
	manilaShrinkingError   = "shrinking_error"
)

type manilaShare struct {
	id, name, description, project, user, proto, status string
	typ                                                 *manilaType
	size                                                int
	group                                               string
	zone, snapshot, network, instance                   string
	metadata                                            map[string]string
	public                                              bool
	created, updated                                    time.Time
	exports                                             []manilaExport
	progress                                            string
	replicas                                            []ManilaReplica
	request                                             string // the last one that asked for something that takes time
}

type manilaExport struct {
	id, path             string
	adminOnly, preferred bool
	created              time.Time
}

func (m *Manila) shareRoutes() []route {
	return []route{
		{pattern: "GET /v2/shares", handle: m.handle(0, m.listShares(false))},
		{pattern: "GET /v2/shares/detail", handle: m.handle(0, m.listShares(true))},
		{pattern: "POST /v2/shares", handle: m.handle(0, m.createShare)},
		{pattern: "GET /v2/shares/{id}", handle: m.handle(0, m.showShare)},
		{pattern: "PUT /v2/shares/{id}", handle: m.handle(0, m.updateShare)},
		{pattern: "DELETE /v2/shares/{id}", handle: m.handle(0, m.deleteShare)},
		{pattern: "POST /v2/shares/{id}/action", handle: m.handle(0, m.shareAction)},
		{pattern: "GET /v2/shares/{id}/export_locations", handle: m.handle(9, m.listExports)},
		{pattern: "GET /v2/shares/{id}/export_locations/{export}", handle: m.handle(9, m.showExport)},
		{pattern: "GET /v2/shares/{id}/metadata", handle: m.handle(0, m.showShareMetadata)},
		{pattern: "POST /v2/shares/{id}/metadata", handle: m.handle(0, m.setShareMetadata(false))},
		{pattern: "PUT /v2/shares/{id}/metadata", handle: m.handle(0, m.setShareMetadata(true))},
		{pattern: "GET /v2/shares/{id}/metadata/{key}", handle: m.handle(0, m.showShareMetadatum)},
		{pattern: "DELETE /v2/shares/{id}/metadata/{key}", handle: m.handle(0, m.deleteShareMetadatum)},
		{pattern: "GET /v2/share-access-rules", handle: m.handle(45, m.listRules)},
		{pattern: "GET /v2/share-access-rules/{id}", handle: m.handle(45, m.showRule)},
		{pattern: "PUT /v2/share-access-rules/{id}", handle: m.handle(88, m.updateRule)},
		{pattern: "PUT /v2/share-access-rules/{id}/metadata", handle: m.handle(45, m.updateRuleMetadata)},
		{pattern: "DELETE /v2/share-access-rules/{id}/metadata/{key}", handle: m.handle(45, m.deleteRuleMetadatum)},
	}
}

// share finds a share of the path that the caller may see. A stranger is told that there is none.
func (m *Manila) share(c *manilaCall, text string) (*manilaShare, error) {
	s, ok := m.shares[c.PathValue("id")]
	if !ok || s.project != c.project && !c.admin() && !s.public {
		return nil, &manilaFaultError{http.StatusNotFound, text}
	}
	return s, nil
}

// shareView is the detailed view with its version modifiers (manila/api/views/shares.py).
func (m *Manila) shareView(c *manilaCall, s *manilaShare) map[string]any {
	view := map[string]any{
		"id": s.id, "size": s.size, "availability_zone": manilaNull(s.zone), "created_at": manilaTime(s.created), "status": s.status,
		"name": manilaNull(s.name), "description": manilaNull(s.description), "project_id": s.project, "snapshot_id": manilaNull(s.snapshot),
		"share_network_id": manilaNull(s.network), "share_proto": s.proto, "metadata": maps.Clone(s.metadata), "share_type": s.typ.name(),
		"volume_type": s.typ.name(), "is_public": s.public, "links": m.links(c, "shares", s.id),
	}
	if s.status == manilaCreatingFromSnap && !c.v.atLeast(54) {
		view["status"] = manilaCreating
	}
	if !c.v.atLeast(9) {
		paths := []string{}
		for _, e := range s.exports {
			paths = append(paths, e.path)
		}
		view["export_location"], view["export_locations"] = nil, paths
		if len(paths) > 0 {
			view["export_location"] = paths[0]
		}
	}
	if c.v.atLeast(6) {
		view["share_type"], view["share_type_name"] = s.typ.id, s.typ.name()
	}
	since := []struct {
		minor int
		add   map[string]any
	}{
		{2, map[string]any{"snapshot_support": s.typ.can("snapshot_support")}},
		{5, map[string]any{"task_state": nil}},
		{10, map[string]any{"access_rules_status": m.rulesStatus(s, c.v)}},
		{11, map[string]any{"replication_type": s.replication(), "has_replicas": len(s.replicas) > 0}},
		{16, map[string]any{"user_id": s.user}},
		{24, map[string]any{"create_share_from_snapshot_support": s.typ.can("create_share_from_snapshot_support")}},
		{27, map[string]any{"revert_to_snapshot_support": s.typ.can("revert_to_snapshot_support")}},
		{31, map[string]any{"share_group_id": manilaNull(s.group), "source_share_group_snapshot_member_id": nil}},
		{32, map[string]any{"mount_snapshot_support": s.typ.can("mount_snapshot_support")}},
		{54, map[string]any{"progress": manilaNull(s.progress)}},
		{69, map[string]any{"is_soft_deleted": false, "scheduled_to_be_deleted_at": nil}},
	}
	for _, modifier := range since {
		if c.v.atLeast(modifier.minor) {
			maps.Copy(view, modifier.add)
		}
	}
	if c.admin() {
		view["share_server_id"], view["host"] = nil, "sim@"+strings.ToLower(s.typ.ExtraSpecs["share_backend_name"])+"#pool"
	}
	return view
}

func (s *manilaShare) replication() any {
	if len(s.replicas) > 0 {
		return "readable"
	}
	return nil
}

func manilaNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (t *manilaType) name() string { return t.Name }

func (t *manilaType) can(spec string) bool { return strings.EqualFold(t.ExtraSpecs[spec], "true") }

func (m *Manila) links(c *manilaCall, kind, id string) []any {
	base := "http://" + c.Host + "/share/"
	return []any{
		map[string]any{"rel": "self", "href": base + "v2/" + kind + "/" + id},
		map[string]any{"rel": "bookmark", "href": base + kind + "/" + id},
	}
}

func (m *Manila) showShare(c *manilaCall) (manilaAnswer, error) {
	s, err := m.share(c, manilaNotFoundText)
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"share": m.shareView(c, s)}}, nil
}

// createShare follows ShareMixin._create (manila/api/v1/shares.py) and API.create (manila/share/api.py), check by check in their order.
func (m *Manila) createShare(c *manilaCall) (manilaAnswer, error) {
	body, ok := c.entity("share")
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusUnprocessableEntity, "Unable to process the contained instructions")
	}
	s := &manilaShare{
		id: newUUID(), instance: newUUID(), project: c.project, user: c.user, status: manilaCreating, metadata: manilaStrings(body["metadata"]),
		name: manilaText(body, "name", "display_name"), description: manilaText(body, "description", "display_description"),
		proto: strings.ToUpper(manilaText(body, "share_proto")), network: manilaText(body, "share_network_id"), zone: manilaText(body, "availability_zone"),
		snapshot: manilaText(body, "snapshot_id"),
	}
	if s.zone != "" && !slices.Contains(m.cfg.AvailabilityZones, s.zone) {
		return manilaAnswer{}, &manilaFaultError{http.StatusNotFound, "Availability zone %(id)s could not be found."} // the template, as with a real one
	}
	if err := m.checkSource(c, s); err != nil {
		return manilaAnswer{}, err
	}
	if err := m.resolveType(s, manilaText(body, "share_type", "volume_type")); err != nil {
		return manilaAnswer{}, err
	}
	if err := m.joinGroup(c, s, manilaText(body, "share_group_id")); err != nil {
		return manilaAnswer{}, err
	}
	if err := m.checkNewShare(s, body["size"]); err != nil {
		return manilaAnswer{}, err
	}
	if err := m.chargeShare(s.project, s.typ.id, 1, s.size, http.StatusRequestEntityTooLarge); err != nil {
		return manilaAnswer{}, err
	}
	if err := manilaStorable(s.name); err != nil {
		return manilaAnswer{}, err
	}
	if err := m.hints(c, s, body); err != nil {
		return manilaAnswer{}, err
	}
	s.created, s.request = m.now(), c.id
	if s.snapshot != "" {
		s.status = manilaCreatingFromSnap
		s.progress = "0%"
	}
	m.shares[s.id] = s
	view := m.shareView(c, s)
	m.beginCreate(s)
	return manilaAnswer{http.StatusOK, map[string]any{"share": view}}, nil
}

func (m *Manila) checkSource(c *manilaCall, s *manilaShare) error {
	if s.snapshot != "" {
		snap, ok := m.snapshots[s.snapshot]
		if !ok || (snap.project != c.project && !c.admin()) {
			return manilaErrorf(http.StatusNotFound, "ShareSnapshotNotFound: Snapshot %s could not be found.", s.snapshot)
		}
		parent := m.shares[snap.share]
		if s.network != "" && s.network != parent.network {
			return manilaErrorf(http.StatusBadRequest, "Share network ID should be the same as snapshot's parent share's or empty")
		}
		if c.v.atLeast(24) && !parent.typ.can("create_share_from_snapshot_support") {
			return manilaErrorf(http.StatusBadRequest, "A new share may not be created from snapshot '%s', because the snapshot's parent share does not "+
				"have that capability.", s.snapshot)
		}
		s.network = parent.network
		s.typ = parent.typ
		if s.zone != "" && s.zone != parent.zone { // use_scheduler_creating_share_from_snapshot is off by default
			return manilaErrorf(http.StatusBadRequest, "Invalid input received: The specified availability zone must be the same as the parent share when "+
				"creating from snapshot.")
		}
		s.zone = parent.zone
	}
	if s.network != "" {
		if n, ok := m.networks[s.network]; !ok || n.project != s.project {
			return manilaErrorf(http.StatusNotFound, "Share network %s could not be found.", s.network)
		}
	}
	return nil
}

func (m *Manila) resolveType(s *manilaShare, wanted string) error {
	parent := s.typ
	if wanted != "" {
		if s.typ = m.typeByName(wanted); s.typ == nil {
			return manilaErrorf(http.StatusNotFound, "Share type not found.")
		}
	} else if s.typ == nil {
		i := slices.IndexFunc(m.types, func(t *manilaType) bool { return t.Default })
		if i < 0 {
			return manilaErrorf(http.StatusBadRequest, "Invalid input received: No default share type is configured.")
		}
		s.typ = m.types[i]
	}
	if parent != nil && parent != s.typ {
		return manilaErrorf(http.StatusBadRequest, "Invalid input received: Invalid share type specified: the requested share type must match the type of "+
			"the source share. If a share type is not specified when requesting a new share from a snapshot, the share type of the source share will be "+
			"applied to the new share.")
	}
	if s.network == "" && s.snapshot == "" && s.typ.can("driver_handles_share_servers") {
		return manilaErrorf(http.StatusBadRequest, "Share network must be set when the driver_handles_share_servers is true.")
	}
	return nil
}

func (m *Manila) checkNewShare(s *manilaShare, size any) error {
	if err := manilaCheckMetadata(s.metadata); err != nil {
		return err
	}
	var snap *manilaSnap
	if s.snapshot != "" {
		if snap = m.snapshots[s.snapshot]; snap.status != manilaAvailable {
			return manilaErrorf(http.StatusBadRequest, "Invalid share snapshot: status must be 'available'.")
		}
	}
	n, ok := manilaInt(size)
	if !ok || n <= 0 {
		return manilaErrorf(http.StatusBadRequest, "Invalid input received: Share size '%v' must be an integer and greater than 0.", size)
	}
	s.size = n
	if snap != nil && n < snap.size {
		return manilaErrorf(http.StatusBadRequest, "Invalid input received: Share size '%d' must be equal or greater than snapshot size.", n)
	}
	if !slices.Contains([]string{ManilaNFS, "CIFS", ManilaCEPHFS}, s.proto) {
		return manilaErrorf(http.StatusBadRequest, "Invalid input received: Invalid share protocol provided: %s. It is either disabled or unsupported. "+
			"Available protocols: ['NFS', 'CIFS', 'CEPHFS'].", s.proto)
	}
	if limit := m.quota(s.project).PerShareGigabytes; limit >= 0 && n > limit {
		return manilaErrorf(http.StatusRequestEntityTooLarge, "ShareSizeExceedsLimit: Requested share size %d is larger than maximum allowed limit %d.", n, limit)
	}
	return nil
}

// beginCreate schedules what the scheduler and the back end do.
func (m *Manila) beginCreate(s *manilaShare) {
	delay := m.cfg.Delays.Create
	if s.snapshot != "" {
		delay = m.cfg.Delays.CreateFromSnapshot
	}
	bad, spoiled := m.spoiled(ManilaCreate, s.name, s.typ.Name)
	if spoiled && bad.Stuck {
		return
	}
	m.later(delay, func() {
		if m.shares[s.id] != s || s.status == manilaDeleting {
			return
		}
		s.updated = m.now()
		switch {
		case spoiled:
			s.status = manilaError
			m.message(s.project, s.id, "002", bad.Detail)
		case !slices.Contains(s.typ.Protocols, s.proto):
			s.status = manilaError
			m.message(s.project, s.id, "001", "008")
		case s.zone != "" && !slices.Contains(m.zonesOf(s.typ), s.zone):
			s.status = manilaError
			m.message(s.project, s.id, "001", "007")
		case !m.hosts(s):
			s.status = manilaError
			m.message(s.project, s.id, "001", "002")
		default:
			s.status, s.progress = manilaAvailable, "100%"
			if s.zone == "" {
				s.zone = m.zonesOf(s.typ)[0]
			}
			s.exports = m.exportLocations(s)
			if fs := m.cfg.CephFileSystem; fs != "" && s.proto == ManilaCEPHFS { // get_optional_share_creation_data of the CephFS driver
				s.metadata["__mount_options"] = "fs=" + fs
			}
		}
	})
}

// zonesOf are the zones that have a back end of a type.
func (m *Manila) zonesOf(t *manilaType) []string {
	if len(t.Zones) > 0 {
		return t.Zones
	}
	return m.cfg.AvailabilityZones
}

func (m *Manila) exportLocations(s *manilaShare) []manilaExport {
	path := "/volumes/_nogroup/" + s.id + "/" + newUUID()
	at := m.now()
	if s.proto == ManilaCEPHFS {
		return []manilaExport{{id: newUUID(), path: strings.Join(m.cfg.Monitors, ",") + ":" + path, created: at}}
	}
	exports := []manilaExport{{id: newUUID(), path: "10.254.1.1:" + path, adminOnly: true, created: at}}
	for i, host := range m.cfg.NFSHosts {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		exports = append(exports, manilaExport{id: newUUID(), path: host + ":" + path, preferred: i == len(m.cfg.NFSHosts)-1, created: at})
	}
	return exports
}

func (m *Manila) updateShare(c *manilaCall) (manilaAnswer, error) {
	body, ok := c.entity("share")
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusUnprocessableEntity, "Unable to process the contained instructions")
	}
	s, err := m.share(c, manilaNotFoundText)
	if err != nil {
		return manilaAnswer{}, err
	}
	if v, ok := body["display_name"].(string); ok {
		s.name = v
	}
	if v, ok := body["display_description"].(string); ok {
		s.description = v
	}
	s.updated = m.now()
	return manilaAnswer{http.StatusOK, map[string]any{"share": m.shareView(c, s)}}, nil
}

func (m *Manila) deleteShare(c *manilaCall) (manilaAnswer, error) {
	s, err := m.share(c, manilaNotFoundText)
	if err != nil {
		return manilaAnswer{}, err
	}
	if err := leaveGroup(c, s); err != nil {
		return manilaAnswer{}, err
	}
	if !slices.Contains([]string{manilaAvailable, manilaError, "inactive"}, s.status) {
		return manilaAnswer{}, &manilaFaultError{http.StatusForbidden, manilaInvalidShareText}
	}
	if err := m.checkDependents(s); err != nil {
		return manilaAnswer{}, err
	}
	m.forgetHints(s)
	s.request = c.id
	m.beginDelete(s, false)
	return manilaAnswer{status: http.StatusAccepted}, nil
}

func (m *Manila) checkDependents(s *manilaShare) error {
	n := 0
	for _, snap := range m.snapshots {
		if snap.share == s.id {
			n++
		}
	}
	if n > 0 {
		return &manilaFaultError{http.StatusForbidden, manilaInvalidShareText}
	}
	return nil
}

func (m *Manila) beginDelete(s *manilaShare, force bool) {
	s.status = manilaDeleting
	bad, spoiled := m.spoiled(ManilaDelete, s.name, s.typ.Name)
	if spoiled && bad.Stuck && !force {
		return
	}
	m.later(m.cfg.Delays.Delete, func() {
		if m.shares[s.id] != s {
			return
		}
		if spoiled && !force {
			s.status = manilaErrorDeleting
			m.message(s.project, s.id, "007", bad.Detail)
			return
		}
		delete(m.shares, s.id)
		for _, r := range m.rules {
			if r.share == s.id {
				m.forgetRule(r)
			}
		}
	})
}

// shareAction dispatches on the one key of the body, as wsgi.Resource.get_method does.
func (m *Manila) shareAction(c *manilaCall) (manilaAnswer, error) {
	type action struct {
		since, until int
		do           func(*manilaCall, map[string]any) (manilaAnswer, error)
	}
	const forever = 1 << 30
	actions := map[string]action{
		"allow_access": {7, forever, m.allowAccess}, "os-allow_access": {0, 6, m.allowAccess},
		"deny_access": {7, forever, m.denyAccess}, "os-deny_access": {0, 6, m.denyAccess},
		"access_list": {7, 44, m.accessList}, "os-access_list": {0, 6, m.accessList},
		"extend": {7, forever, m.extend}, "os-extend": {0, 6, m.extend},
		"shrink": {7, forever, m.shrink}, "os-shrink": {0, 6, m.shrink},
		"force_delete": {7, forever, m.forceDelete}, "reset_status": {7, forever, m.resetStatus},
		"migration_start": {29, forever, m.startMigration},
	}
	for name, args := range c.body {
		a, ok := actions[name]
		if !ok {
			return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "There is no such action: %s", name)
		}
		if !c.v.atLeast(a.since) || c.v.minor > a.until {
			return manilaAnswer{}, manilaErrorf(http.StatusNotFound, manilaNotFoundText)
		}
		fields, _ := args.(map[string]any)
		return a.do(c, fields)
	}
	return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Malformed request body")
}

// startMigration is for administrators alone, and experimental. What it does for them is not simulated.
func (m *Manila) startMigration(c *manilaCall, args map[string]any) (manilaAnswer, error) {
	switch {
	case !strings.EqualFold(c.Header.Get("X-OpenStack-Manila-API-Experimental"), "true"):
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, manilaNotFoundText)
	case !c.admin():
		return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
	case len(args) == 0:
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Request is missing body.")
	}
	return manilaAnswer{}, manilaErrorf(http.StatusNotImplemented, "The simulated Manila migrates nothing.")
}

// extend answers quota with 403, not 413 (ShareMixin._extend).
func (m *Manila) extend(c *manilaCall, args map[string]any) (manilaAnswer, error) {
	s, err := m.share(c, manilaNoResourceText)
	if err != nil {
		return manilaAnswer{}, err
	}
	size, ok := manilaInt(args["new_size"])
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "New share size must be specified as an integer.")
	}
	force, err := manilaForced(c, args)
	if err != nil {
		return manilaAnswer{}, err
	}
	if s.status != manilaAvailable {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid share: Share %s status must be 'available' to extend, but current status is: %s.", s.id, s.status)
	}
	if size <= s.size {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid input received: New size for extend must be greater than current size. (current: %d, extended: %d).", s.size, size)
	}
	if err := m.chargeShare(s.project, s.typ.id, 0, size-s.size, http.StatusForbidden); err != nil {
		return manilaAnswer{}, err
	}
	s.request = c.id
	if _, refused := m.spoiled(ManilaExtendSchedule, s.name, s.typ.Name); refused && !force && c.v.atLeast(64) {
		s.status = manilaExtending
		m.later(m.cfg.Delays.Extend, func() { // the scheduler has found no room: all is as it was
			s.status = manilaAvailable
			m.later(m.cfg.Delays.Resized, func() { m.message(s.project, s.id, "008", "002") })
		})
		return manilaAnswer{status: http.StatusAccepted}, nil
	}
	m.resize(s, size, resizeSteps{ManilaExtend, manilaExtending, manilaExtendingError, m.cfg.Delays.Extend, "008", "015"})
	return manilaAnswer{status: http.StatusAccepted}, nil
}

// manilaForced reads the flag that 2.64 brought, and that only administrators may set.
func manilaForced(c *manilaCall, args map[string]any) (bool, error) {
	raw, ok := args["force"]
	if !ok || !c.v.atLeast(64) {
		return false, nil
	}
	text := strings.ToLower(fmt.Sprint(raw))
	if !manilaTrue(text) && !slices.Contains([]string{"0", "f", "false", "off", "n", "no"}, text) {
		return false, manilaErrorf(http.StatusBadRequest, "Invalid boolean force : %v", raw)
	}
	if manilaTrue(text) && !c.admin() {
		return false, manilaErrorf(http.StatusForbidden, "Policy doesn't allow share:force_extend to be performed.")
	}
	return manilaTrue(text), nil
}

func (m *Manila) shrink(c *manilaCall, args map[string]any) (manilaAnswer, error) {
	s, err := m.share(c, manilaNoResourceText)
	if err != nil {
		return manilaAnswer{}, err
	}
	size, ok := manilaInt(args["new_size"])
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "New share size must be specified as an integer.")
	}
	if s.status != manilaAvailable {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest,
			"Invalid share: Share %s status must in (available, shrinking_possible_data_loss_error) to shrink, but current status is: %s.", s.id, s.status)
	}
	if size >= s.size || size <= 0 {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest,
			"Invalid input received: New size for shrink must be less than current size and greater than 0 (current: %d, new: %d).", s.size, size)
	}
	m.resize(s, size, resizeSteps{ManilaShrink, manilaShrinking, manilaShrinkingError, m.cfg.Delays.Shrink, "009", "019"})
	return manilaAnswer{status: http.StatusAccepted}, nil
}

type resizeSteps struct {
	op             ManilaOperation
	during, failed string
	delay          time.Duration
	action, detail string
}

func (m *Manila) resize(s *manilaShare, size int, steps resizeSteps) {
	s.status = steps.during
	bad, spoiled := m.spoiled(steps.op, s.name, s.typ.Name)
	if spoiled && bad.Stuck {
		return
	}
	m.later(steps.delay, func() {
		switch {
		case m.shares[s.id] != s || s.status != steps.during:
		case spoiled:
			s.status = steps.failed
			m.message(s.project, s.id, steps.action, steps.detail)
		default:
			s.status, s.updated = manilaAvailable, m.now()
			m.later(m.cfg.Delays.Resized, func() { s.size = size })
		}
	})
}

func (m *Manila) forceDelete(c *manilaCall, _ map[string]any) (manilaAnswer, error) {
	if !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
	}
	s, err := m.share(c, manilaNoResourceText)
	if err != nil {
		return manilaAnswer{}, err
	}
	if err := m.checkDependents(s); err != nil {
		return manilaAnswer{}, err
	}
	s.request = c.id
	m.beginDelete(s, true)
	return manilaAnswer{status: http.StatusAccepted}, nil
}

func (m *Manila) resetStatus(c *manilaCall, args map[string]any) (manilaAnswer, error) {
	if !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
	}
	s, err := m.share(c, manilaNoResourceText)
	if err != nil {
		return manilaAnswer{}, err
	}
	status, ok := args["status"].(string)
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Must specify 'status'")
	}
	if !slices.Contains([]string{manilaCreating, manilaAvailable, manilaDeleting, manilaError, manilaErrorDeleting, "migrating", "migrating_to", "server_migrating"}, status) {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid state. Valid states: creating, available, deleting, error, error_deleting, migrating, migrating_to, server_migrating.")
	}
	s.status = status
	return manilaAnswer{status: http.StatusAccepted}, nil
}

// listShares follows ShareMixin._get_shares: filters, newest first, then offset and limit.
func (m *Manila) listShares(detail bool) manilaHandler {
	return func(c *manilaCall) (manilaAnswer, error) {
		q := c.URL.Query()
		page, err := manilaPaging(q)
		if err != nil {
			return manilaAnswer{}, err
		}
		metadata, err := manilaDict(q.Get("metadata"))
		if err != nil {
			return manilaAnswer{}, err
		}
		found := m.findShares(c, q, metadata)
		count := len(found)
		views := []any{}
		for _, s := range manilaSlice(found, page) {
			if detail {
				views = append(views, m.shareView(c, s))
			} else {
				views = append(views, map[string]any{"id": s.id, "name": manilaNull(s.name), "links": m.links(c, "shares", s.id)})
			}
		}
		body := map[string]any{"shares": views}
		if manilaTrue(q.Get("with_count")) && (detail || c.v.atLeast(42)) {
			body["count"] = count
		}
		if page.limit > 0 && page.limit == len(views) {
			body["shares_links"] = []any{map[string]any{"rel": "next", "href": "http://" + c.Host + "/share/v2/shares?" + q.Encode()}}
		}
		return manilaAnswer{http.StatusOK, body}, nil
	}
}

// findShares are the shares that the caller may see and the query asks for, in its order.
func (m *Manila) findShares(c *manilaCall, q url.Values, metadata map[string]string) []*manilaShare {
	found := []*manilaShare{}
	if manilaTrue(q.Get("is_soft_deleted")) && c.v.atLeast(69) {
		return found // the recycle bin is always empty here
	}
	for _, s := range m.shares {
		visible := s.project == c.project || c.admin() && manilaTrue(q.Get("all_tenants")) || s.public && manilaTrue(q.Get("is_public"))
		if visible && m.shareMatches(c, s, q) && manilaSubset(metadata, s.metadata) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *manilaShare) int {
		return manilaOrder(q, manilaSortable{a.id, a.name, a.created}, manilaSortable{b.id, b.name, b.created})
	})
	return found
}

func (m *Manila) shareMatches(c *manilaCall, s *manilaShare, q url.Values) bool {
	exact := []struct {
		keys  []string
		value string
	}{
		{[]string{"name", "display_name"}, s.name}, // as the database compares: without regard to case
		{[]string{"status"}, s.status},
		{[]string{"share_type_id", "volume_type_id"}, s.typ.id},
		{[]string{"snapshot_id"}, s.snapshot},
		{[]string{"share_network_id"}, s.network},
		{[]string{"project_id"}, s.project},
	}
	for _, f := range exact {
		for _, key := range f.keys {
			if q.Has(key) && (key != "project_id" || c.admin()) && !strings.EqualFold(q.Get(key), f.value) {
				return false
			}
		}
	}
	if !c.v.atLeast(36) {
		return true
	}
	like := func(key, value string) bool { return !q.Has(key) || strings.Contains(value, q.Get(key)) }
	return like("name~", s.name) && like("display_name~", s.name) && like("description~", s.description) && like("display_description~", s.description) &&
		(!q.Has("description") || q.Get("description") == s.description)
}

// manilaSortable is what lists are sorted by.
type manilaSortable struct {
	id, name string
	created  time.Time
}

type manilaPage struct{ limit, offset int }

func manilaPaging(q url.Values) (manilaPage, error) {
	var p manilaPage
	for _, f := range []struct {
		name string
		to   *int
	}{{"offset", &p.offset}, {"limit", &p.limit}} {
		if !q.Has(f.name) {
			continue
		}
		n, err := strconv.Atoi(q.Get(f.name))
		if err != nil {
			return p, manilaErrorf(http.StatusBadRequest, "%s param must be an integer", f.name)
		}
		if n < 0 {
			return p, manilaErrorf(http.StatusBadRequest, "%s param must be positive", f.name)
		}
		*f.to = n
	}
	return p, nil
}

func manilaSlice[T any](items []T, p manilaPage) []T {
	items = items[min(p.offset, len(items)):]
	if p.limit > 0 {
		items = items[:min(p.limit, len(items))]
	}
	return items
}

// manilaOrder sorts newest first unless the query says otherwise; created_at, id and name are known as keys.
func manilaOrder(q url.Values, a, b manilaSortable) int {
	order := a.created.Compare(b.created)
	switch key := q.Get("sort_key"); {
	case strings.HasSuffix(key, "name"):
		order = cmp.Compare(a.name, b.name)
	case key == "id":
		order = cmp.Compare(a.id, b.id)
	}
	if q.Get("sort_dir") == "asc" {
		return order
	}
	return -order
}

func manilaTrue(s string) bool {
	return slices.Contains([]string{"1", "t", "true", "on", "y", "yes"}, strings.ToLower(s))
}

// manilaDict reads a Python literal of a dict of strings, as clients send it in the metadata filter.
func manilaDict(s string) (map[string]string, error) {
	out := map[string]string{}
	if s == "" {
		return out, nil
	}
	wrong := manilaErrorf(http.StatusBadRequest, "Invalid input received: Wrong metadata filter provided: %s.", s)
	inner, ok := strings.CutPrefix(strings.TrimSpace(s), "{")
	inner, ok2 := strings.CutSuffix(inner, "}")
	if !ok || !ok2 {
		return nil, wrong
	}
	for inner = strings.TrimSpace(inner); inner != ""; {
		key, rest, ok1 := manilaQuoted(inner)
		rest, ok2 := strings.CutPrefix(strings.TrimSpace(rest), ":")
		value, rest, ok3 := manilaQuoted(strings.TrimSpace(rest))
		if !ok1 || !ok2 || !ok3 {
			return nil, wrong
		}
		out[key] = value
		inner = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), ","))
	}
	return out, nil
}

func manilaQuoted(s string) (value, rest string, ok bool) {
	for _, prefix := range []string{"u'", "'", `"`, `u"`} {
		body, found := strings.CutPrefix(s, prefix)
		if !found {
			continue
		}
		value, rest, ok = strings.Cut(body, prefix[len(prefix)-1:])
		return value, rest, ok
	}
	return "", s, false
}

func manilaSubset(want, have map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func manilaText(m map[string]any, keys ...string) string {
	for _, k := range keys {
		if s, ok := m[k].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// manilaStorable refuses characters beyond the basic multilingual plane as Manila's database does, whose tables are utf8mb3: nobody
// catches that error on its way.
func manilaStorable(texts ...string) error {
	for _, text := range texts {
		if strings.ContainsFunc(text, func(r rune) bool { return r > 0xffff }) {
			return errors.New("incorrect string value") // a 500
		}
	}
	return nil
}

func manilaStrings(v any) map[string]string {
	out := map[string]string{}
	if m, ok := v.(map[string]any); ok {
		for k, value := range m {
			out[k] = fmt.Sprint(value)
		}
	}
	return out
}

func manilaInt(v any) (int, bool) {
	switch n := v.(type) {
	case float64:
		return int(n), n == float64(int(n))
	case string:
		i, err := strconv.Atoi(n)
		return i, err == nil
	default:
		return 0, false
	}
}

// manilaCheckMetadata follows _check_metadata_properties of manila/api/common.py.
func manilaCheckMetadata(md map[string]string) error {
	for k, v := range md {
		if err := manilaStorable(k, v); err != nil {
			return err
		}
		switch {
		case k == "":
			return manilaErrorf(http.StatusBadRequest, "Metadata property key is blank.")
		case len(k) > 255:
			return manilaErrorf(http.StatusBadRequest, "Metadata property key is greater than 255 characters.")
		case v == "":
			return manilaErrorf(http.StatusBadRequest, "Metadata property value is blank.")
		case len(v) > 1023:
			return manilaErrorf(http.StatusBadRequest, "Metadata property value is greater than 1023 characters.")
		}
	}
	return nil
}

func (m *Manila) showShareMetadata(c *manilaCall) (manilaAnswer, error) {
	s, err := m.share(c, "Share not found.")
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"metadata": maps.Clone(s.metadata)}}, nil
}

func (m *Manila) setShareMetadata(replace bool) manilaHandler {
	return func(c *manilaCall) (manilaAnswer, error) {
		fields, ok := c.entity("metadata")
		if !ok {
			return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Malformed request body")
		}
		md := manilaStrings(fields)
		if err := manilaCheckMetadata(md); err != nil {
			return manilaAnswer{}, err
		}
		s, err := m.share(c, "Share not found.")
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

// showShareMetadatum and deleteShareMetadatum do not know a key with a slash, however it is escaped: it is a path that is not there.
func (m *Manila) showShareMetadatum(c *manilaCall) (manilaAnswer, error) {
	if strings.Contains(c.PathValue("key"), "/") {
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, manilaNotFoundText)
	}
	s, err := m.share(c, "Share not found.")
	if err != nil {
		return manilaAnswer{}, err
	}
	v, ok := s.metadata[c.PathValue("key")]
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "Metadata item is not found.")
	}
	return manilaAnswer{http.StatusOK, map[string]any{"meta": map[string]any{c.PathValue("key"): v}}}, nil
}

func (m *Manila) deleteShareMetadatum(c *manilaCall) (manilaAnswer, error) {
	s, err := m.share(c, "Share not found.")
	if err != nil {
		return manilaAnswer{}, err
	}
	return deleteMetadatum(c, s.metadata, "Metadata item is not found.")
}

// deleteMetadatum takes one key out; missing says that it is not there. Manila has no route for a key with a slash.
func deleteMetadatum(c *manilaCall, metadata map[string]string, missing string) (manilaAnswer, error) {
	key := c.PathValue("key")
	if strings.Contains(key, "/") {
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, manilaNotFoundText)
	}
	if _, ok := metadata[key]; !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "%s", missing)
	}
	delete(metadata, key)
	return manilaAnswer{status: http.StatusOK}, nil
}
