package openstacksim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

type manilaNetwork struct {
	id, name, project, neutronNet, neutronSubnet string
	created                                      time.Time
}

type manilaMessage struct {
	id, project, action, detail, kind, resource, request string
	created                                              time.Time
}

func (m *Manila) otherRoutes() []route {
	return []route{
		{pattern: "GET /v2/types", handle: m.handle(0, m.listTypes)},
		{pattern: "GET /v2/types/{id}", handle: m.handle(0, m.showType)},
		{pattern: "GET /v2/types/{id}/extra_specs", handle: m.handle(0, m.showExtraSpecs)},
		{pattern: "GET /v2/limits", handle: m.handle(0, m.limits)},
		{pattern: "GET /v2/quota-sets/{id}", handle: m.handle(7, m.showQuota(false))},
		{pattern: "GET /v2/quota-sets/{id}/detail", handle: m.handle(25, m.showQuota(true))},
		{pattern: "GET /v2/quota-sets/{id}/defaults", handle: m.handle(7, m.showDefaultQuota)},
		{pattern: "PUT /v2/quota-sets/{id}", handle: m.handle(7, m.updateQuota)},
		{pattern: "DELETE /v2/quota-sets/{id}", handle: m.handle(7, m.deleteQuota)},
		{pattern: "GET /v2/messages", handle: m.handle(37, m.listMessages)},
		{pattern: "GET /v2/messages/{id}", handle: m.handle(37, m.showMessage)},
		{pattern: "DELETE /v2/messages/{id}", handle: m.handle(37, m.deleteMessage)},
		{pattern: "GET /v2/availability-zones", handle: m.handle(7, m.listZones)},
		{pattern: "GET /v2/services", handle: m.handle(7, m.listServices)},
		{pattern: "GET /v2/share-networks", handle: m.handle(0, m.listNetworks(false))},
		{pattern: "GET /v2/share-networks/detail", handle: m.handle(0, m.listNetworks(true))},
		{pattern: "POST /v2/share-networks", handle: m.handle(0, m.createNetwork)},
		{pattern: "GET /v2/share-networks/{id}", handle: m.handle(0, m.showNetwork)},
		{pattern: "DELETE /v2/share-networks/{id}", handle: m.handle(0, m.deleteNetwork)},
	}
}

func (m *Manila) typeByName(nameOrID string) *manilaType {
	for _, t := range m.types {
		if t.Name == nameOrID || t.id == nameOrID {
			return t
		}
	}
	return nil
}

// manilaTenantSpecs are the extra specs that everybody may see (ExtraSpecs.TENANT_VISIBLE of manila/common/constants.py).
func manilaTenantSpecs() []string {
	return []string{
		"driver_handles_share_servers", "snapshot_support", "create_share_from_snapshot_support", "revert_to_snapshot_support", "replication_type",
		"mount_snapshot_support", "availability_zones", "provisioning:max_share_size", "provisioning:min_share_size",
	}
}

// typeView follows manila/api/views/types.py.
func typeView(c *manilaCall, t *manilaType) map[string]any {
	specs := map[string]any{}
	for k, v := range t.ExtraSpecs {
		if c.admin() || slices.Contains(manilaTenantSpecs(), k) {
			specs[k] = v
		}
	}
	if c.v.atLeast(24) && !c.admin() {
		for _, k := range []string{"snapshot_support", "create_share_from_snapshot_support", "revert_to_snapshot_support", "mount_snapshot_support"} {
			if _, ok := specs[k]; !ok {
				specs[k] = false
			}
		}
	}
	view := map[string]any{
		"id": t.id, "name": t.Name, "extra_specs": specs,
		"required_extra_specs": map[string]any{"driver_handles_share_servers": t.ExtraSpecs["driver_handles_share_servers"]},
	}
	if c.v.atLeast(7) {
		view["share_type_access:is_public"] = true
	} else {
		view["os-share-type-access:is_public"] = true
	}
	if c.v.atLeast(41) {
		view["description"] = nil
	}
	if c.v.atLeast(46) {
		view["is_default"] = t.Default
	}
	return view
}

func (m *Manila) listTypes(c *manilaCall) (manilaAnswer, error) {
	views := []any{}
	for _, t := range m.types {
		views = append(views, typeView(c, t))
	}
	return manilaAnswer{http.StatusOK, map[string]any{"share_types": views, "volume_types": views}}, nil
}

func (m *Manila) showType(c *manilaCall) (manilaAnswer, error) {
	for _, t := range m.types {
		if t.id == c.PathValue("id") || (c.PathValue("id") == "default" && t.Default) {
			view := typeView(c, t)
			return manilaAnswer{http.StatusOK, map[string]any{"share_type": view, "volume_type": view}}, nil
		}
	}
	return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "Share type %s could not be found.", c.PathValue("id"))
}

func (m *Manila) showExtraSpecs(c *manilaCall) (manilaAnswer, error) {
	if !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
	}
	t := m.typeByName(c.PathValue("id"))
	if t == nil {
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "Share type %s could not be found.", c.PathValue("id"))
	}
	return manilaAnswer{http.StatusOK, map[string]any{"extra_specs": t.ExtraSpecs}}, nil
}

// quota is the project's own, the small one of the project "quota", or the default.
func (m *Manila) quota(project string) ManilaQuota {
	if q, ok := m.quotas[project]; ok {
		return q
	}
	if m.cloud.Keystone.projectName(project) == "quota" {
		return ManilaQuota{Shares: 2, Gigabytes: 4, Snapshots: 1, SnapshotGigabytes: 2, ShareNetworks: 1, PerShareGigabytes: -1}
	}
	return m.cfg.Quota
}

// manilaUsage is what a project (or, of it, one share type) has.
type manilaUsage struct{ shares, gigabytes, snapshots, snapshotGigabytes, networks int }

func (m *Manila) usage(project, typ string) manilaUsage {
	var u manilaUsage
	for _, s := range m.shares {
		if s.project == project && (typ == "" || s.typ.id == typ) {
			u.shares++
			u.gigabytes += s.size
		}
	}
	for _, s := range m.snapshots {
		if share, ok := m.shares[s.share]; s.project == project && (typ == "" || ok && share.typ.id == typ) {
			u.snapshots++
			u.snapshotGigabytes += s.size
		}
	}
	for _, n := range m.networks {
		if n.project == project {
			u.networks++
		}
	}
	return u
}

// chargeShare checks the quotas of the project and of the share type, gigabytes first (API._check_if_share_quotas_exceeded). Manila
// answers a create with 413 and an extend with 403.
func (m *Manila) chargeShare(project, typ string, shares, gigabytes, status int) error {
	class := func(name string) string { // an error that nobody catches is shown with its class
		if status == http.StatusForbidden {
			return ""
		}
		return name + ": "
	}
	for _, scope := range m.quotaScopes(project, typ) {
		if over(scope.quota.Gigabytes, scope.used.gigabytes+gigabytes, gigabytes) {
			return manilaErrorf(status, "%sRequested share exceeds allowed project/user or share type gigabytes quota.", class("ShareSizeExceedsAvailableQuota"))
		}
		if over(scope.quota.Shares, scope.used.shares+shares, shares) {
			return manilaErrorf(status, "%sMaximum number of shares allowed (%d) either per project/user or share type quota is exceeded.", class("ShareLimitExceeded"),
				scope.quota.Shares)
		}
	}
	return nil
}

func (m *Manila) chargeSnapshot(project, typ string, gigabytes int) error {
	for _, scope := range m.quotaScopes(project, typ) {
		if over(scope.quota.SnapshotGigabytes, scope.used.snapshotGigabytes+gigabytes, gigabytes) {
			return manilaErrorf(http.StatusRequestEntityTooLarge, "SnapshotSizeExceedsAvailableQuota: Requested snapshot exceeds allowed project/user or share type gigabytes quota.")
		}
		if over(scope.quota.Snapshots, scope.used.snapshots+1, 1) {
			return manilaErrorf(http.StatusRequestEntityTooLarge,
				"SnapshotLimitExceeded: Maximum number of snapshots allowed (%d) either per project/user or share type quota is exceeded.", scope.quota.Snapshots)
		}
	}
	return nil
}

func over(limit, total, delta int) bool { return limit >= 0 && delta > 0 && total > limit }

type quotaScope struct {
	quota ManilaQuota
	used  manilaUsage
}

func (m *Manila) quotaScopes(project, typ string) []quotaScope {
	scopes := []quotaScope{{m.quota(project), m.usage(project, "")}}
	if q, ok := m.typeQuotas[project][typ]; ok {
		scopes = append(scopes, quotaScope{q, m.usage(project, typ)})
	}
	return scopes
}

func (m *Manila) limits(c *manilaCall) (manilaAnswer, error) {
	q, u := m.quota(c.project), m.usage(c.project, "")
	absolute := map[string]any{
		"maxTotalShares": q.Shares, "maxTotalShareGigabytes": q.Gigabytes, "maxTotalShareSnapshots": q.Snapshots,
		"maxTotalSnapshotGigabytes": q.SnapshotGigabytes, "maxTotalShareNetworks": q.ShareNetworks,
		"totalSharesUsed": u.shares, "totalShareGigabytesUsed": u.gigabytes, "totalShareSnapshotsUsed": u.snapshots,
		"totalSnapshotGigabytesUsed": u.snapshotGigabytes, "totalShareNetworksUsed": u.networks,
	}
	if c.v.atLeast(53) {
		absolute["maxTotalShareReplicas"], absolute["maxTotalReplicaGigabytes"] = 100, 1000
		absolute["totalShareReplicasUsed"], absolute["totalReplicaGigabytesUsed"] = 0, 0
	}
	if c.v.atLeast(58) {
		absolute["maxTotalShareGroups"], absolute["maxTotalShareGroupSnapshots"] = 50, 50
		absolute["totalShareGroupsUsed"], absolute["totalShareGroupSnapshotsUsed"] = 0, 0
	}
	return manilaAnswer{http.StatusOK, map[string]any{"limits": map[string]any{"rate": []any{}, "absolute": absolute}}}, nil
}

// quotaType reads the share_type argument, which only 2.39 and newer know (QuotaSetsMixin._ensure_share_type_arg_is_absent).
func (m *Manila) quotaType(c *manilaCall) (string, error) {
	name := c.URL.Query().Get("share_type")
	if name == "" {
		return "", nil
	}
	if !c.v.atLeast(39) {
		return "", manilaErrorf(http.StatusBadRequest,
			"'share_type' key is not supported by this microversion. Use 2.39 or greater microversion to be able to use 'share_type' quotas.")
	}
	if t := m.typeByName(name); t != nil {
		return t.id, nil
	}
	return "", manilaErrorf(http.StatusNotFound, "Share type with name or id '%s' not found.", name)
}

// quotaView is a flat map of limits, or with usages when detail is asked (manila/api/views/quota_sets.py).
func quotaView(c *manilaCall, project, typ string, q ManilaQuota, u manilaUsage, detail bool) map[string]any {
	value := func(limit, used int) any {
		if detail {
			return map[string]any{"limit": limit, "in_use": used, "reserved": 0}
		}
		return limit
	}
	view := map[string]any{
		"id": project, "shares": value(q.Shares, u.shares), "gigabytes": value(q.Gigabytes, u.gigabytes), "snapshots": value(q.Snapshots, u.snapshots),
		"snapshot_gigabytes": value(q.SnapshotGigabytes, u.snapshotGigabytes),
	}
	if typ == "" {
		view["share_networks"] = value(q.ShareNetworks, u.networks)
	}
	if c.v.atLeast(40) && typ == "" {
		view["share_groups"], view["share_group_snapshots"] = value(50, 0), value(50, 0)
	}
	if c.v.atLeast(53) {
		view["share_replicas"], view["replica_gigabytes"] = value(100, 0), value(1000, 0)
	}
	if c.v.atLeast(62) {
		view["per_share_gigabytes"] = value(q.PerShareGigabytes, 0)
	}
	return map[string]any{"quota_set": view}
}

func (m *Manila) showQuota(detail bool) manilaHandler {
	return func(c *manilaCall) (manilaAnswer, error) {
		project := c.PathValue("id")
		if project != c.project && !c.admin() {
			return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
		}
		typ, err := m.quotaType(c)
		if err != nil {
			return manilaAnswer{}, err
		}
		q := m.quota(project)
		if typ != "" {
			own, ok := m.typeQuotas[project][typ]
			if ok {
				q = own
			}
		}
		return manilaAnswer{http.StatusOK, quotaView(c, project, typ, q, m.usage(project, typ), detail)}, nil
	}
}

func (m *Manila) showDefaultQuota(c *manilaCall) (manilaAnswer, error) {
	return manilaAnswer{http.StatusOK, quotaView(c, c.PathValue("id"), "", m.cfg.Quota, manilaUsage{}, false)}, nil
}

func (m *Manila) updateQuota(c *manilaCall) (manilaAnswer, error) {
	if !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
	}
	project := c.PathValue("id")
	body, _ := c.entity("quota_set")
	typ, err := m.quotaType(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	q := m.quota(project)
	if own, ok := m.typeQuotas[project][typ]; ok {
		q = own
	}
	set := false
	for key, to := range map[string]*int{
		"shares": &q.Shares, "gigabytes": &q.Gigabytes, "snapshots": &q.Snapshots, "snapshot_gigabytes": &q.SnapshotGigabytes,
		"share_networks": &q.ShareNetworks, "per_share_gigabytes": &q.PerShareGigabytes,
	} {
		raw, ok := body[key]
		if !ok {
			continue
		}
		n, ok := manilaInt(raw)
		if !ok {
			return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Quota '%v' for %s should be integer.", raw, key)
		}
		if n < -1 {
			return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Quota limit must be -1 or greater.")
		}
		*to, set = n, true
	}
	if !set {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Must supply at least one quota field to update.")
	}
	if typ == "" {
		m.quotas[project] = q
	} else {
		if m.typeQuotas[project] == nil {
			m.typeQuotas[project] = map[string]ManilaQuota{}
		}
		m.typeQuotas[project][typ] = q
	}
	return manilaAnswer{http.StatusOK, quotaView(c, project, typ, q, manilaUsage{}, false)}, nil
}

func (m *Manila) deleteQuota(c *manilaCall) (manilaAnswer, error) {
	if !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
	}
	typ, err := m.quotaType(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	if typ == "" {
		delete(m.quotas, c.PathValue("id"))
		delete(m.typeQuotas, c.PathValue("id"))
	} else {
		delete(m.typeQuotas[c.PathValue("id")], typ)
	}
	return manilaAnswer{status: http.StatusAccepted}, nil
}

// message leaves a user message about a share, as share managers do when an asynchronous step fails.
func (m *Manila) message(project, share, action, detail string) {
	request := newRequestID()
	if s := m.shares[share]; s != nil {
		request = s.request
	}
	m.messages = append(m.messages, &manilaMessage{
		id: newUUID(), project: project, action: action, detail: detail, kind: "SHARE", resource: share, request: request, created: m.now(),
	})
}

// manilaActions and manilaDetails are the texts that tests and users meet most (manila/message/message_field.py).
func manilaActions() map[string]string {
	return map[string]string{
		"001": "allocate host", "002": "create", "003": "delete access rules", "005": "update", "007": "delete", "008": "extend", "009": "shrink",
		"010": "update access rules",
	}
}

func manilaDetails() map[string]string {
	filter := func(name string) string {
		return "No storage could be allocated for this share request, " + name + " filter didn't succeed."
	}
	return map[string]string{
		"001": "An unknown error occurred.",
		"002": "No storage could be allocated for this share request. Trying again with a different size or share type may succeed.",
		"007": filter("AvailabilityZone"), "008": filter("Capabilities"), "009": filter("Capacity"),
		"015": "Share Driver failed to extend share, The share status has been set to extending_error. This action cannot be re-attempted until the status " +
			"has been rectified. Contact your administrator to determine the cause of this failure.",
		"017": "Share Driver has failed to create the share from snapshot. This operation can be re-attempted by creating a new share. Contact your " +
			"administrator to determine the cause of this failure.",
		"019": "Share Driver does not support shrinking shares. Shrinking share operation failed.",
		"020": "Failed to grant access to client. The client ID used may be forbidden. You may try again with a different client identifier.",
		"021": "Failed to grant access to client. The access level or type may be unsupported. You may try again with a different access level or access type.",
	}
}

func messageView(m *Manila, c *manilaCall, msg *manilaMessage) map[string]any {
	action, ok := manilaActions()[msg.action]
	if !ok {
		action = "unknown action"
	}
	detail, ok := manilaDetails()[msg.detail]
	if !ok {
		detail = manilaDetails()["001"]
	}
	return map[string]any{
		"id": msg.id, "project_id": msg.project, "action_id": msg.action, "detail_id": msg.detail, "message_level": "ERROR",
		"created_at": manilaTime(msg.created), "expires_at": manilaTime(msg.created.Add(30 * 24 * time.Hour)), "request_id": msg.request,
		"links": m.links(c, "messages", msg.id), "resource_type": msg.kind, "resource_id": msg.resource, "user_message": action + ": " + detail,
	}
}

func (m *Manila) listMessages(c *manilaCall) (manilaAnswer, error) {
	q := c.URL.Query()
	page, err := manilaPaging(q)
	if err != nil {
		return manilaAnswer{}, err
	}
	found := []*manilaMessage{}
	for _, msg := range m.messages {
		if (msg.project == c.project || c.admin()) && manilaExact(q, map[string]string{
			"resource_id": msg.resource, "resource_type": msg.kind, "action_id": msg.action, "detail_id": msg.detail, "request_id": msg.request, "message_level": "ERROR",
		}) {
			found = append(found, msg)
		}
	}
	slices.SortFunc(found, func(a, b *manilaMessage) int {
		return manilaOrder(q, manilaSortable{id: a.id, created: a.created}, manilaSortable{id: b.id, created: b.created})
	})
	views := []any{}
	for _, msg := range manilaSlice(found, page) {
		views = append(views, messageView(m, c, msg))
	}
	return manilaAnswer{http.StatusOK, map[string]any{"messages": views}}, nil
}

func (m *Manila) findMessage(c *manilaCall) (int, error) {
	i := slices.IndexFunc(m.messages, func(msg *manilaMessage) bool {
		return msg.id == c.PathValue("id") && (msg.project == c.project || c.admin())
	})
	if i < 0 {
		return 0, manilaErrorf(http.StatusNotFound, "Message %s could not be found.", c.PathValue("id"))
	}
	return i, nil
}

func (m *Manila) showMessage(c *manilaCall) (manilaAnswer, error) {
	i, err := m.findMessage(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"message": messageView(m, c, m.messages[i])}}, nil
}

func (m *Manila) deleteMessage(c *manilaCall) (manilaAnswer, error) {
	i, err := m.findMessage(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	m.messages = slices.Delete(m.messages, i, i+1)
	return manilaAnswer{status: http.StatusNoContent}, nil
}

func (m *Manila) listZones(*manilaCall) (manilaAnswer, error) {
	views := []any{}
	for _, name := range m.cfg.AvailabilityZones {
		views = append(views, map[string]any{"id": "az-" + name, "name": name, "created_at": nil, "updated_at": nil})
	}
	return manilaAnswer{http.StatusOK, map[string]any{"availability_zones": views}}, nil
}

func (m *Manila) listServices(c *manilaCall) (manilaAnswer, error) {
	if !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
	}
	views := []any{map[string]any{
		"id": 1, "binary": "manila-scheduler", "host": "sim", "zone": m.cfg.AvailabilityZones[0], "status": "enabled", "state": "up", "updated_at": manilaTime(m.now()),
	}}
	for i, t := range m.types {
		views = append(views, map[string]any{
			"id": i + 2, "binary": "manila-share", "host": "sim@" + strings.ToLower(t.ExtraSpecs["share_backend_name"]), "zone": m.cfg.AvailabilityZones[0],
			"status": "enabled", "state": "up", "updated_at": manilaTime(m.now()),
		})
	}
	return manilaAnswer{http.StatusOK, map[string]any{"services": views}}, nil
}

func (m *Manila) networkView(n *manilaNetwork) map[string]any {
	return map[string]any{
		"id": n.id, "name": manilaNull(n.name), "project_id": n.project, "neutron_net_id": manilaNull(n.neutronNet),
		"neutron_subnet_id": manilaNull(n.neutronSubnet), "created_at": manilaTime(n.created), "updated_at": nil, "description": nil, "status": "active",
	}
}

func (m *Manila) network(c *manilaCall) (*manilaNetwork, error) {
	n, ok := m.networks[c.PathValue("id")]
	if !ok || (n.project != c.project && !c.admin()) {
		return nil, manilaErrorf(http.StatusNotFound, "Share network %s could not be found.", c.PathValue("id"))
	}
	return n, nil
}

func (m *Manila) listNetworks(detail bool) manilaHandler {
	return func(c *manilaCall) (manilaAnswer, error) {
		found := []*manilaNetwork{}
		for _, n := range m.networks {
			if n.project == c.project {
				found = append(found, n)
			}
		}
		slices.SortFunc(found, func(a, b *manilaNetwork) int { return a.created.Compare(b.created) })
		views := []any{}
		for _, n := range found {
			if detail {
				views = append(views, m.networkView(n))
			} else {
				views = append(views, map[string]any{"id": n.id, "name": manilaNull(n.name)})
			}
		}
		return manilaAnswer{http.StatusOK, map[string]any{"share_networks": views}}, nil
	}
}

func (m *Manila) createNetwork(c *manilaCall) (manilaAnswer, error) {
	body, ok := c.entity("share_network")
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusUnprocessableEntity, "Unable to process the contained instructions")
	}
	if limit := m.quota(c.project).ShareNetworks; over(limit, m.usage(c.project, "").networks+1, 1) {
		return manilaAnswer{}, manilaErrorf(http.StatusRequestEntityTooLarge, "ShareNetworksLimitExceeded: Maximum number of share-networks allowed (%d) exceeded.", limit)
	}
	n := &manilaNetwork{
		id: newUUID(), name: manilaText(body, "name"), project: c.project, neutronNet: manilaText(body, "neutron_net_id"),
		neutronSubnet: manilaText(body, "neutron_subnet_id"), created: m.now(),
	}
	m.networks[n.id] = n
	return manilaAnswer{http.StatusOK, map[string]any{"share_network": m.networkView(n)}}, nil
}

func (m *Manila) showNetwork(c *manilaCall) (manilaAnswer, error) {
	n, err := m.network(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"share_network": m.networkView(n)}}, nil
}

func (m *Manila) deleteNetwork(c *manilaCall) (manilaAnswer, error) {
	n, err := m.network(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	for _, s := range m.shares {
		if s.network == n.id {
			return manilaAnswer{}, manilaErrorf(http.StatusConflict, "Can not delete share network %s, it has 1 share(s).", n.id)
		}
	}
	delete(m.networks, n.id)
	return manilaAnswer{status: http.StatusAccepted}, nil
}
