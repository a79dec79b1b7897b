package openstacksim

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The states of access rules (manila/common/constants.py).
const (
	ruleQueued   = "queued_to_apply"
	ruleApplying = "applying"
	ruleActive   = "active"
	ruleError    = "error"
	ruleDenying  = "denying"

	ruleQueuedToUpdate = "queued_to_update" // from 2.88 on
)

type manilaRule struct {
	id, share, kind, to, level, state, key string
	metadata                               map[string]string
	created, updated                       time.Time
}

// rulesStatus is the share's access_rules_status: error beats syncing beats active. Before 2.28 "syncing" was called "out_of_sync".
func (m *Manila) rulesStatus(s *manilaShare, v manilaVersion) string {
	status := "active"
	for _, r := range m.rules {
		switch {
		case r.share != s.id || r.state == ruleActive:
		case r.state == ruleError:
			return "error"
		default:
			status = "syncing"
		}
	}
	if status == "syncing" && !v.atLeast(28) {
		return "out_of_sync"
	}
	return status
}

// ruleView follows manila/api/views/share_accesses.py.
func (m *Manila) ruleView(c *manilaCall, r *manilaRule, withShare bool) map[string]any {
	view := map[string]any{"id": r.id, "access_level": r.level, "access_to": r.to, "access_type": r.kind, "state": r.state}
	if withShare {
		view["share_id"] = r.share
	}
	if c.v.atLeast(21) {
		view["access_key"] = manilaNull(r.key)
	}
	if !c.v.atLeast(28) {
		view["state"] = m.rulesStatus(m.shares[r.share], manilaVersion{2, 28})
		if view["state"] == "syncing" {
			view["state"] = "new"
		}
	}
	if c.v.atLeast(33) {
		view["created_at"], view["updated_at"] = manilaTime(r.created), manilaTime(r.updated)
	}
	if c.v.atLeast(45) {
		view["metadata"] = maps.Clone(r.metadata)
	}
	return view
}

// allowAccess follows ShareMixin._allow_access and API.allow_access.
func (m *Manila) allowAccess(c *manilaCall, args map[string]any) (manilaAnswer, error) {
	s, err := m.share(c, "NotFound: "+manilaNoResourceText)
	if err != nil {
		return manilaAnswer{}, err
	}
	r := &manilaRule{
		id: newUUID(), share: s.id, kind: manilaText(args, "access_type"), to: manilaText(args, "access_to"), level: manilaText(args, "access_level"),
		state: ruleQueued, metadata: map[string]string{},
	}
	if c.v.atLeast(45) {
		r.metadata = manilaStrings(args["metadata"])
	}
	if !c.v.atLeast(28) && m.rulesStatus(s, c.v) == "error" {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Access rules cannot be added while the share or any of its replicas or migration copies "+
			"has its access_rules_status set to error. Deny any rules in error state and try again.")
	}
	if err := manilaCheckAccess(c.v, r.kind, r.to); err != nil {
		return manilaAnswer{}, err
	}
	if err := m.checkNewRule(s, r); err != nil {
		return manilaAnswer{}, err
	}
	if r.level == "" {
		r.level = "rw"
	}
	r.created = m.now()
	m.rules[r.id] = r
	view := m.ruleView(c, r, true)
	m.beginGrant(s, r)
	return manilaAnswer{http.StatusOK, map[string]any{"access": view}}, nil
}

func (m *Manila) checkNewRule(s *manilaShare, r *manilaRule) error {
	if !slices.Contains([]string{"rw", "ro", ""}, r.level) {
		return manilaErrorf(http.StatusBadRequest, "Invalid access rule: Invalid share access level: %s.", r.level)
	}
	if err := manilaCheckMetadata(r.metadata); err != nil {
		return err
	}
	for _, other := range m.rules {
		if other.share == s.id && other.kind == r.kind && manilaSameTarget(other.kind, other.to, r.to) {
			return manilaErrorf(http.StatusBadRequest, "Share access %s:%s exists.", r.kind, r.to)
		}
	}
	if s.status != manilaAvailable && !strings.HasSuffix(s.status, "_error") {
		return manilaErrorf(http.StatusBadRequest,
			"New access rules cannot be applied while the share or any of its replicas or migration copies lacks a valid host or is in an invalid state.")
	}
	return nil
}

// manilaSameTarget compares ip rules as networks: 10.0.0.1 and 10.0.0.1/32 are one.
func manilaSameTarget(kind, a, b string) bool {
	if kind != "ip" {
		return a == b
	}
	pa, errA := manilaPrefix(a)
	pb, errB := manilaPrefix(b)
	return errA == nil && errB == nil && pa == pb
}

func manilaPrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

var (
	manilaUserPattern   = regexp.MustCompile(`^.[^"/\\\[\]:;|=,+*?<>]{3,254}$`)
	manilaPeriodPattern = regexp.MustCompile(`^[\s|.]+$`)
)

// manilaCheckAccess follows validate_access of manila/api/common.py.
func manilaCheckAccess(v manilaVersion, kind, to string) error {
	text := "Only 'ip', 'user' or 'cert' access types are supported."
	switch {
	case kind == "ip":
		return manilaCheckIP(v, to)
	case kind == "user":
		text = manilaCheckUser(to)
	case kind == "cephx" && v.atLeast(13):
		text = manilaCheckCephx(to)
	case v.atLeast(13):
		text = "Only 'ip', 'user', 'cert' or 'cephx' access types are supported."
	}
	if text == "" {
		return nil
	}
	return &manilaFaultError{http.StatusBadRequest, text}
}

// manilaCheckUser says what is wrong with a user; empty: nothing.
func manilaCheckUser(to string) string {
	switch {
	case manilaPeriodPattern.MatchString(to):
		return "Invalid user or group name,cannot consist solely of periods or spaces."
	case !manilaUserPattern.MatchString(to):
		return `Invalid user or group name. Must be 4-255 characters and consist of alphanumeric characters and exclude special characters "/\[]:;|=,+*?<>`
	}
	return ""
}

// manilaCheckCephx says what is wrong with a cephx id; empty: nothing.
func manilaCheckCephx(to string) string {
	switch {
	case to == "":
		return "Ceph IDs may not be empty."
	case strings.ContainsFunc(to, func(r rune) bool { return r > '~' || r < ' ' && !strings.ContainsRune("\t\n\r\v\f", r) }):
		return "Ceph IDs must consist of ASCII printable characters."
	case strings.Contains(to, "."):
		return "Ceph IDs may not contain periods."
	}
	return ""
}

func manilaCheckIP(v manilaVersion, to string) error {
	p, err := manilaPrefix(to)
	switch {
	case err != nil && v.atLeast(38):
		return manilaErrorf(http.StatusBadRequest, "'%s' does not appear to be an IPv4 or IPv6 network", to)
	case err != nil:
		return manilaErrorf(http.StatusBadRequest, "Expected 4 octets in '%s'", to)
	case p.Addr().Is6() && !v.atLeast(38):
		return manilaErrorf(http.StatusBadRequest, "Expected 4 octets in '%s'", to)
	case p.Masked() != p:
		return manilaErrorf(http.StatusBadRequest, "%s has host bits set", to)
	}
	return nil
}

// beginGrant schedules what the back end does with a new rule. A cephx user belongs to the first project that named it, and has one key.
func (m *Manila) beginGrant(s *manilaShare, r *manilaRule) {
	bad, spoiled := m.spoiled(ManilaGrant, s.name, s.typ.Name)
	if spoiled && bad.Stuck {
		return
	}
	fail := func(detail string) {
		r.state = ruleError
		m.message(s.project, s.id, "010", detail)
	}
	half := m.cfg.Delays.Grant / 2
	m.later(half, func() {
		if r.state == ruleQueued {
			r.state = ruleApplying
		}
		m.later(half, func() {
			if m.rules[r.id] != r || r.state != ruleApplying {
				return
			}
			r.updated = m.now()
			switch known, ok := m.cephKeys[r.to]; {
			case spoiled:
				fail(bad.Detail)
			case !s.typ.AnyRule && r.kind != manilaRuleKind(s.proto):
				fail("021")
			case r.kind != "cephx":
				r.state = ruleActive
			case r.to == "manila": // the user that the back end itself is
				fail("020")
			case !ok:
				m.cephKeys[r.to] = manilaCephUser{project: s.project, key: manilaCephKey()}
				r.state, r.key = ruleActive, m.cephKeys[r.to].key
			case known.project != s.project:
				fail("020")
			default:
				r.state, r.key = ruleActive, known.key
			}
		})
	})
}

// manilaRuleKind is the kind of rule that a CephFS back end takes for a protocol.
func manilaRuleKind(proto string) string {
	if proto == ManilaCEPHFS {
		return "cephx"
	}
	return "ip"
}

// manilaCephKey is a key in Ceph's format: type 1, creation time, length 16, then the key.
func manilaCephKey() string {
	key := make([]byte, 28)
	_, _ = rand.Read(key)
	copy(key, []byte{1, 0})
	key[10], key[11] = 16, 0
	return base64.StdEncoding.EncodeToString(key)
}

// manilaNoDeny are the statuses of a share in which rules are not denied: INVALID_SHARE_INSTANCE_STATUSES_FOR_ACCESS_RULE_UPDATES in
// manila/common/constants.py. One in error_deleting has them denied.
func manilaNoDeny() []string {
	return []string{
		"creating", "deleting", "manage_starting", "unmanage_starting", "extending", "shrinking", "migrating", "migrating_to",
		"restoring", "reverting", "server_migrating", "server_migrating_to", "error",
	}
}

// denyAccess follows ShareMixin._deny_access and API.deny_access.
func (m *Manila) denyAccess(c *manilaCall, args map[string]any) (manilaAnswer, error) {
	s, err := m.share(c, "NotFound: "+manilaNoResourceText)
	if err != nil {
		return manilaAnswer{}, err
	}
	r, ok := m.rules[manilaText(args, "access_id")]
	if !ok || r.share != s.id {
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, manilaNoResourceText)
	}
	if slices.Contains(manilaNoDeny(), s.status) {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest,
			"Access rules cannot be denied while the share, any of its replicas or migration copies lacks a valid host or is in an invalid state.")
	}
	r.state = ruleDenying
	m.later(m.cfg.Delays.Deny, func() { m.forgetRule(r) })
	return manilaAnswer{status: http.StatusAccepted}, nil
}

// Access lists who has access to a share, as "10.0.0.1 rw", in order: the rules that are active.
func (m *Manila) Access(share string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, r := range m.rules {
		if r.share == share && r.state == ruleActive {
			out = append(out, r.to+" "+r.level)
		}
	}
	slices.Sort(out)
	return out
}

// forgetRule removes a rule. A cephx user that has no rule any more is gone, with its key: named again it gets another one.
func (m *Manila) forgetRule(r *manilaRule) {
	delete(m.rules, r.id)
	for _, other := range m.rules {
		if other.kind == r.kind && other.to == r.to {
			return
		}
	}
	if r.kind == "cephx" {
		delete(m.cephKeys, r.to)
	}
}

// updateRule follows ShareAccessesController.update: the level is the new one at once, and the back end has it when the rule is
// active again. A cephx user keeps its key.
func (m *Manila) updateRule(c *manilaCall) (manilaAnswer, error) {
	fields, ok := c.entity("update_access")
	level := manilaText(fields, "access_level")
	switch {
	case !ok:
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "The server could not comply with the request since it is either malformed or otherwise incorrect.")
	case level == "":
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid input. Missing 'access_level' in update request.")
	case level != "rw" && level != "ro":
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Invalid or unsupported share access level: %s.", level)
	}
	r, err := m.rule(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	s := m.shares[r.share]
	switch {
	case r.level == level:
		return manilaAnswer{http.StatusOK, map[string]any{"access": m.ruleView(c, r, true)}}, nil
	case s.status != manilaAvailable && !strings.HasSuffix(s.status, "_error") && s.status != "error":
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest,
			"Access rules cannot be updated while the share, any of its replicas or migration copies lacks a valid host or is in an invalid state.")
	}
	r.level, r.state, r.updated = level, ruleQueuedToUpdate, m.now()
	view := m.ruleView(c, r, true)
	bad, spoiled := m.spoiled(ManilaGrant, s.name, s.typ.Name)
	m.later(m.cfg.Delays.Grant, func() {
		switch {
		case r.state != ruleQueuedToUpdate || spoiled && bad.Stuck:
		case spoiled:
			r.state = ruleError
			m.message(s.project, s.id, "010", bad.Detail)
		default:
			r.state = ruleActive
		}
	})
	return manilaAnswer{http.StatusOK, map[string]any{"access": view}}, nil
}

func (m *Manila) rulesOf(c *manilaCall, s *manilaShare, metadata map[string]string) []any {
	rules := []*manilaRule{}
	for _, r := range m.rules {
		if r.share == s.id && manilaSubset(metadata, r.metadata) {
			rules = append(rules, r)
		}
	}
	slices.SortFunc(rules, func(a, b *manilaRule) int { return a.created.Compare(b.created) })
	views := []any{}
	for _, r := range rules {
		views = append(views, m.ruleView(c, r, false))
	}
	return views
}

func (m *Manila) accessList(c *manilaCall, _ map[string]any) (manilaAnswer, error) {
	s, err := m.share(c, "NotFound: "+manilaNoResourceText)
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"access_list": m.rulesOf(c, s, nil)}}, nil
}

func (m *Manila) listRules(c *manilaCall) (manilaAnswer, error) {
	q := c.URL.Query()
	if !q.Has("share_id") {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "The field 'share_id' has to be specified.")
	}
	metadata, err := manilaDict(q.Get("metadata"))
	if err != nil {
		return manilaAnswer{}, err
	}
	s, ok := m.shares[q.Get("share_id")]
	if !ok || s.project != c.project && !c.admin() {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Share %s not found.", q.Get("share_id"))
	}
	return manilaAnswer{http.StatusOK, map[string]any{"access_list": m.rulesOf(c, s, metadata)}}, nil
}

func (m *Manila) rule(c *manilaCall) (*manilaRule, error) {
	r, ok := m.rules[c.PathValue("id")]
	if ok {
		if s := m.shares[r.share]; s.project == c.project || c.admin() {
			return r, nil
		}
	}
	return nil, manilaErrorf(http.StatusNotFound, "Share access rule %s not found.", c.PathValue("id"))
}

func (m *Manila) showRule(c *manilaCall) (manilaAnswer, error) {
	r, err := m.rule(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	return manilaAnswer{http.StatusOK, map[string]any{"access": m.ruleView(c, r, true)}}, nil
}

func (m *Manila) updateRuleMetadata(c *manilaCall) (manilaAnswer, error) {
	r, err := m.rule(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	fields, ok := c.entity("metadata")
	if !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusBadRequest, "Malformed request body")
	}
	md := manilaStrings(fields)
	if err := manilaCheckMetadata(md); err != nil {
		return manilaAnswer{}, err
	}
	maps.Copy(r.metadata, md)
	return manilaAnswer{http.StatusOK, map[string]any{"metadata": maps.Clone(r.metadata)}}, nil
}

func (m *Manila) deleteRuleMetadatum(c *manilaCall) (manilaAnswer, error) {
	r, err := m.rule(c)
	if err != nil {
		return manilaAnswer{}, err
	}
	if _, ok := r.metadata[c.PathValue("key")]; !ok {
		return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "Share access rule metadata does not exist.")
	}
	delete(r.metadata, c.PathValue("key"))
	return manilaAnswer{status: http.StatusOK}, nil
}

// exportView follows manila/api/views/export_locations.py: a tenant never sees is_admin_only, and no admin-only location.
func exportView(c *manilaCall, s *manilaShare, e manilaExport, detail bool) map[string]any {
	view := map[string]any{"id": e.id, "path": e.path}
	if c.v.atLeast(14) {
		view["preferred"] = e.preferred
	}
	if c.admin() {
		view["share_instance_id"], view["is_admin_only"] = s.instance, e.adminOnly
	}
	if detail {
		view["created_at"], view["updated_at"] = manilaTime(e.created), nil
	}
	return view
}

func (m *Manila) listExports(c *manilaCall) (manilaAnswer, error) {
	s, err := m.share(c, "Share '"+c.PathValue("id")+"' not found.")
	if err != nil {
		return manilaAnswer{}, err
	}
	views := []any{}
	for _, e := range s.exports {
		if !e.adminOnly || c.admin() {
			views = append(views, exportView(c, s, e, false))
		}
	}
	return manilaAnswer{http.StatusOK, map[string]any{"export_locations": views}}, nil
}

func (m *Manila) showExport(c *manilaCall) (manilaAnswer, error) {
	s, err := m.share(c, "Share '"+c.PathValue("id")+"' not found.")
	if err != nil {
		return manilaAnswer{}, err
	}
	for _, e := range s.exports {
		switch {
		case e.id != c.PathValue("export"):
		case e.adminOnly && !c.admin():
			return manilaAnswer{}, manilaErrorf(http.StatusForbidden, manilaForbiddenText)
		default:
			return manilaAnswer{http.StatusOK, map[string]any{"export_location": exportView(c, s, e, true)}}, nil
		}
	}
	return manilaAnswer{}, manilaErrorf(http.StatusNotFound, "Export location '%s' not found.", c.PathValue("export"))
}
