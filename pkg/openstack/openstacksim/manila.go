package openstacksim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The share protocols the simulated back ends speak, as Manila's API spells them.
const (
	ManilaNFS    = "NFS"
	ManilaCEPHFS = "CEPHFS"
)

// manilaVersionHeader carries the microversion in requests and answers (manila/api/openstack/wsgi.py).
const manilaVersionHeader = "X-OpenStack-Manila-API-Version"

// ManilaConfig sets up the simulated Manila. The zero value is a Manila as of Zed with the share types of ManilaShareTypes, no delays and
// Manila's default quotas.
type ManilaConfig struct {
	// MaxMicroversion is the newest microversion offered; empty is "2.73" (Zed). MinMicroversion is the oldest; empty is "2.0", as
	// with every Manila so far.
	MaxMicroversion, MinMicroversion string
	// ShareTypes are the public share types; empty is ManilaShareTypes.
	ShareTypes []ManilaShareType
	// AvailabilityZones by name; empty is "nova". The first one takes shares that ask for none.
	AvailabilityZones []string
	// Quota of a project without its own; the zero value is Manila's default.
	Quota ManilaQuota
	// Delays of the asynchronous steps; zero finishes a step right after the request that asked for it.
	Delays ManilaDelays
	// CephFileSystem, if set, is the file system that CephFS shares are in, as later Manilas tell it in a share's metadata.
	CephFileSystem string
	// Monitors are the Ceph monitors in CephFS export locations; empty is three of them.
	Monitors []string
	// NFSHosts are the hosts in NFS export locations, the last one preferred; IPv6 addresses get their brackets. Empty is two hosts.
	NFSHosts []string
	// MaxLimit is osapi_max_limit, above which no list of snapshots goes; zero is 1000. Lists of shares do not keep to it.
	MaxLimit int
}

// ManilaShareType is a share type and what the back end behind it can do.
type ManilaShareType struct {
	Name string
	// ExtraSpecs are what the API shows; a tenant sees only the tenant-visible ones (manila/common/constants.py).
	ExtraSpecs map[string]string
	// Protocols the back end speaks: an access rule of a kind that the protocol does not know turns to error. A share of a protocol that
	// is not here finds no host.
	Protocols []string
	// Default makes it the type of shares that ask for none.
	Default bool
	// Zones are the availability zones that have such a back end; empty is all. The scheduler finds no host elsewhere.
	Zones []string
	// AnyRule makes the back end take access rules of every kind, as Manila's dummy driver does.
	AnyRule bool
}

// ManilaQuota has one value per quota; -1 is unlimited. Sizes are in GiB.
type ManilaQuota struct {
	Shares, Gigabytes, Snapshots, SnapshotGigabytes, ShareNetworks, PerShareGigabytes int
}

// ManilaDelays are the durations of asynchronous steps.
type ManilaDelays struct {
	Create, CreateFromSnapshot, Delete, Extend, Shrink, Grant, Deny, Snapshot, SnapshotDelete time.Duration
	// Resized is for how long a share that was extended or shrunk is available with its old size: a real Manila writes the one after
	// the other. So it does with the status and the message of a share that was not extended.
	Resized time.Duration
}

// ManilaShareTypes are the default share types, named like those of the project's lab, and CPO's "default".
func ManilaShareTypes() []ManilaShareType {
	specs := func(backend string) map[string]string {
		return map[string]string{
			"driver_handles_share_servers": "False", "snapshot_support": "True", "create_share_from_snapshot_support": "True",
			"share_backend_name": backend,
		}
	}
	return []ManilaShareType{
		{Name: "cephfs", ExtraSpecs: specs("CEPHFS1"), Protocols: []string{ManilaCEPHFS}, Default: true},
		{Name: "cephfs-nfs", ExtraSpecs: specs("CEPHFSNFS1"), Protocols: []string{ManilaNFS}},
		{Name: "dummy", ExtraSpecs: specs("DUMMY1"), Protocols: []string{ManilaNFS, ManilaCEPHFS}, AnyRule: true},
		{Name: "default", ExtraSpecs: specs("DEFAULT"), Protocols: []string{ManilaNFS, ManilaCEPHFS}},
	}
}

// manilaDefaultQuota is Manila's own default (manila/quota.py), snapshots and shares 50, sizes 1000 GiB, networks 10.
func manilaDefaultQuota() ManilaQuota {
	return ManilaQuota{Shares: 50, Gigabytes: 1000, Snapshots: 50, SnapshotGigabytes: 1000, ShareNetworks: 10, PerShareGigabytes: -1}
}

// ManilaOperation names the asynchronous step that an injection spoils.
type ManilaOperation string

// The operations of ManilaInjection.
const (
	ManilaCreate         ManilaOperation = "create"
	ManilaDelete         ManilaOperation = "delete"
	ManilaExtend         ManilaOperation = "extend"
	ManilaExtendSchedule ManilaOperation = "extend_schedule" // from 2.64: the scheduler finds no room
	ManilaShrink         ManilaOperation = "shrink"
	ManilaGrant          ManilaOperation = "grant"
	ManilaSnapshot       ManilaOperation = "snapshot"
	ManilaSnapshotDelete ManilaOperation = "snapshot_delete"
)

// ManilaInjection makes an asynchronous step end badly: the share, snapshot or rule goes to its error state, with a user message where
// Manila writes one.
type ManilaInjection struct {
	Operation ManilaOperation
	// Name of the share (for a snapshot step: of the snapshot) and Type of the share narrow the injection; empty matches all.
	Name, Type string
	// Detail is the id of the user message (manila/message/message_field.py), such as "009" for the capacity filter; empty is "001".
	Detail string
	// Stuck leaves the thing in its transitional state for ever instead.
	Stuck bool
	// Count is how many steps to spoil; 0 is all.
	Count int
}

// Manila is the simulated shared file system service.
type Manila struct {
	cloud *Cloud
	cfg   ManilaConfig
	max   manilaVersion
	min   manilaVersion

	mu         sync.Mutex
	clock      time.Time // last time given out: created_at must sort by order of creation
	deferred   []func()  // steps without delay, run when the handler is done
	held       []func()  // steps that wait for Release
	types      []*manilaType
	shares     map[string]*manilaShare
	rules      map[string]*manilaRule
	snapshots  map[string]*manilaSnap
	networks   map[string]*manilaNetwork
	groups     map[string]*manilaGroup
	groupTypes map[string]*manilaGroupType
	messages   []*manilaMessage
	quotas     map[string]ManilaQuota            // by project
	typeQuotas map[string]map[string]ManilaQuota // by project, then share type id
	cephKeys   map[string]manilaCephUser         // by cephx id
	injections []*ManilaInjection
}

type manilaType struct {
	ManilaShareType

	id string
}

type manilaCephUser struct{ project, key string }

func newManila(c *Cloud, cfg ManilaConfig) *Manila {
	m := &Manila{
		cloud: c, shares: map[string]*manilaShare{}, rules: map[string]*manilaRule{}, snapshots: map[string]*manilaSnap{},
		networks: map[string]*manilaNetwork{}, groups: map[string]*manilaGroup{}, groupTypes: map[string]*manilaGroupType{}, quotas: map[string]ManilaQuota{}, typeQuotas: map[string]map[string]ManilaQuota{},
		cephKeys: map[string]manilaCephUser{},
	}
	if cfg.MaxMicroversion == "" {
		cfg.MaxMicroversion = "2.73"
	}
	if len(cfg.ShareTypes) == 0 {
		cfg.ShareTypes = ManilaShareTypes()
	}
	if len(cfg.AvailabilityZones) == 0 {
		cfg.AvailabilityZones = []string{"nova"}
	}
	if cfg.Quota == (ManilaQuota{}) {
		cfg.Quota = manilaDefaultQuota()
	}
	if len(cfg.Monitors) == 0 {
		cfg.Monitors = []string{"10.254.0.21:6789", "10.254.0.22:6789", "10.254.0.23:6789"}
	}
	if cfg.MaxLimit == 0 {
		cfg.MaxLimit = 1000
	}
	if len(cfg.NFSHosts) == 0 {
		cfg.NFSHosts = []string{"10.254.0.31", "10.254.0.32"}
	}
	m.cfg = cfg
	m.max, _ = parseManilaVersion(cfg.MaxMicroversion)
	m.min, _ = parseManilaVersion(cmp.Or(cfg.MinMicroversion, "2.0"))
	for _, t := range cfg.ShareTypes {
		m.types = append(m.types, &manilaType{ManilaShareType: t, id: newUUID()})
	}
	return m
}

// Inject arranges for an asynchronous step to fail; remove takes the arrangement back.
func (m *Manila) Inject(i ManilaInjection) (remove func()) {
	p := &i
	if i.Count == 0 {
		p.Count = -1
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.injections = append(m.injections, p)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		p.Count = 0
	}
}

// SetQuota gives a project its own quota.
func (m *Manila) SetQuota(project string, q ManilaQuota) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quotas[project] = q
}

// SetDelays changes the durations of steps that begin from now on.
func (m *Manila) SetDelays(d ManilaDelays) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cfg.Delays = d
}

// ManilaCounts is how much of each kind there is, over all projects.
type ManilaCounts struct{ Shares, Snapshots, Rules int }

// Counts says what is left: a test that cleans up ends with the zero value.
func (m *Manila) Counts() ManilaCounts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return ManilaCounts{Shares: len(m.shares), Snapshots: len(m.snapshots), Rules: len(m.rules)}
}

// SetShareStatus puts a share into a status, as an operator's reset-status or another tenant's doing would; false when there is none.
func (m *Manila) SetShareStatus(id, status string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.shares[id]
	if ok {
		s.status = status
	}
	return ok
}

// SetShareCreated gives a share another created_at, as an API server whose clock is wrong would; false when there is none.
func (m *Manila) SetShareCreated(id string, at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.shares[id]
	if ok {
		s.created = at.UTC()
	}
	return ok
}

// spoiled finds and uses up an injection for a step.
func (m *Manila) spoiled(op ManilaOperation, name, typ string) (ManilaInjection, bool) {
	for _, i := range m.injections {
		if i.Count == 0 || i.Operation != op || (i.Name != "" && i.Name != name) || (i.Type != "" && i.Type != typ) {
			continue
		}
		if i.Count > 0 {
			i.Count--
		}
		found := *i
		if found.Detail == "" {
			found.Detail = "001"
		}
		return found, true
	}
	return ManilaInjection{}, false
}

// later runs f under the lock, after d; without a delay as soon as the current handler has made its answer.
func (m *Manila) later(d time.Duration, f func()) {
	if d <= 0 {
		m.deferred = append(m.deferred, f)
		return
	}
	if d == Held {
		m.held = append(m.held, f)
		return
	}
	m.cloud.after(d, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		f()
		m.settle()
	})
}

// Release ends the steps that are held.
func (m *Manila) Release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deferred = append(m.deferred, m.held...)
	m.held = nil
	m.settle()
}

func (m *Manila) settle() {
	for len(m.deferred) > 0 {
		f := m.deferred[0]
		m.deferred = m.deferred[1:]
		f()
	}
}

// now is the time, later than every time given out before.
func (m *Manila) now() time.Time {
	t := m.cloud.now().UTC().Truncate(time.Microsecond)
	if !t.After(m.clock) {
		t = m.clock.Add(time.Microsecond)
	}
	m.clock = t
	return t
}

func manilaTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Format("2006-01-02T15:04:05.000000")
}

// manilaVersion is a microversion.
type manilaVersion struct{ major, minor int }

func parseManilaVersion(s string) (manilaVersion, bool) {
	a, b, ok := strings.Cut(s, ".")
	major, err1 := strconv.Atoi(a)
	minor, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || major < 1 || minor < 0 {
		return manilaVersion{}, false
	}
	return manilaVersion{major, minor}, true
}

func (v manilaVersion) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v manilaVersion) atLeast(minor int) bool {
	return v.major > 2 || v.major == 2 && v.minor >= minor
}

// manilaFaultError is an error answer of the API.
type manilaFaultError struct {
	status  int
	message string
}

func (f *manilaFaultError) Error() string { return fmt.Sprintf("%d: %s", f.status, f.message) }

func manilaErrorf(status int, format string, args ...any) error {
	if len(args) == 0 {
		return &manilaFaultError{status: status, message: format}
	}
	return &manilaFaultError{status: status, message: fmt.Sprintf(format, args...)}
}

// The texts of bare webob errors, which Manila raises where it has nothing to add.
const (
	manilaNotFoundText  = "The resource could not be found."
	manilaForbiddenText = "Access was denied to this resource."
)

// manilaNoResourceText is the text of Manila's own NotFound; where nobody catches it, its class stands before it.
const manilaNoResourceText = "Resource could not be found."

// manilaInvalidShareText is what a refused delete says: Manila shows the message's template, not the message.
const manilaInvalidShareText = "Invalid share: %(reason)s."

// manilaFaultName follows Fault._fault_names of manila/api/openstack/wsgi.py.
func manilaFaultName(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "badRequest"
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusNotFound:
		return "itemNotFound"
	case http.StatusConflict:
		return "conflictingRequest"
	case http.StatusRequestEntityTooLarge:
		return "overLimit"
	default:
		return "computeFault"
	}
}

// manilaCall is one request with its negotiated microversion and its decoded body.
type manilaCall struct {
	*request

	v    manilaVersion
	body map[string]any
}

// entity is the object under a name in the body; ok is false when it is not there or no object.
func (c *manilaCall) entity(name string) (map[string]any, bool) {
	e, ok := c.body[name].(map[string]any)
	return e, ok
}

// manilaAnswer is a status and a body; a nil body sends none.
type manilaAnswer struct {
	status int
	body   any
}

type manilaHandler func(*manilaCall) (manilaAnswer, error)

// handle wraps a handler: microversion, body, lock, error shape.
func (m *Manila) handle(since int, h manilaHandler) func(*reply, *request) {
	return m.handleBetween(since, 1<<30, h)
}

// handleBetween wraps a handler that exists from one minor version to another, both included. Outside it answers as if the method were
// not there (manila/api/openstack/wsgi.py, dispatch).
func (m *Manila) handleBetween(since, until int, h manilaHandler) func(*reply, *request) {
	return func(w *reply, r *request) {
		v, err := m.negotiate(r)
		if err != nil {
			m.fail(w, err)
			return
		}
		w.header.Set(manilaVersionHeader, v.String())
		w.header.Set("Vary", manilaVersionHeader)
		if !v.atLeast(since) || v.minor > until {
			m.fail(w, manilaErrorf(http.StatusNotFound, manilaNotFoundText))
			return
		}
		call := &manilaCall{request: r, v: v}
		if r.Method == http.MethodPost || r.Method == http.MethodPut {
			if err := json.NewDecoder(r.Body).Decode(&call.body); err != nil && !errors.Is(err, io.EOF) {
				m.fail(w, manilaErrorf(http.StatusBadRequest, "Malformed request body"))
				return
			}
		}
		answer, err := m.locked(h, call)
		switch {
		case err != nil:
			m.fail(w, err)
		case answer.body == nil:
			w.raw(answer.status, "text/html; charset=UTF-8", nil)
		default:
			w.json(answer.status, answer.body)
		}
	}
}

func (m *Manila) locked(h manilaHandler, call *manilaCall) (manilaAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answer, err := h(call)
	m.settle()
	return answer, err
}

// negotiate follows set_api_version_request of manila/api/openstack/wsgi.py. Where Manila raises a webob error with an exception's
// message, that is the message's template, here as there.
func (m *Manila) negotiate(r *request) (manilaVersion, error) {
	text := r.Header.Get(manilaVersionHeader)
	if text == "" {
		return m.min, nil
	}
	v, ok := parseManilaVersion(text)
	if !ok {
		return v, &manilaFaultError{http.StatusBadRequest, "API Version String %(version)s is of invalid format. Must be of format MajorNum.MinorNum."}
	}
	if v.major != 2 || v.minor > m.max.minor || !v.atLeast(m.min.minor) {
		return v, &manilaFaultError{http.StatusNotAcceptable, "Version %(req_ver)s is not supported by the API. Minimum is %(min_ver)s and maximum is %(max_ver)s."}
	}
	return v, nil
}

func (m *Manila) fail(w *reply, err error) {
	f := &manilaFaultError{status: http.StatusInternalServerError, message: "The server has either erred or is incapable of performing the requested operation."}
	errors.As(err, &f)
	detail := map[string]any{"code": f.status, "message": f.message}
	if f.status == http.StatusRequestEntityTooLarge {
		w.header.Set("Retry-After", "0")
		detail["retryAfter"] = "0"
	}
	w.json(f.status, map[string]any{manilaFaultName(f.status): detail})
}

// routes lists what the simulated Manila answers.
func (m *Manila) routes() []route {
	rs := []route{
		{pattern: "GET /{$}", handle: m.versions(http.StatusMultipleChoices, true), public: true},
		{pattern: "GET /v2/{$}", handle: m.versions(http.StatusOK, false)},
		{pattern: "GET /v2", handle: m.versions(http.StatusOK, false)},
	}
	rs = append(rs, m.shareRoutes()...)
	rs = append(rs, m.snapshotRoutes()...)
	rs = append(rs, m.replicaRoutes()...)
	rs = append(rs, m.groupRoutes()...)
	return append(rs, m.otherRoutes()...)
}

// versions is the version document (manila/api/versions.py).
func (m *Manila) versions(status int, all bool) func(*reply, *request) {
	return func(w *reply, r *request) {
		base := "http://" + r.Host + "/share/"
		doc := func(id, state, version, lowest, path string) map[string]any {
			return map[string]any{
				"id": id, "status": state, "version": version, "min_version": lowest, "updated": "2015-08-27T11:33:21Z",
				"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.share+json;version=1"}},
				"links": []any{
					map[string]any{"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
					map[string]any{"rel": "self", "href": base + path + "/"},
				},
			}
		}
		docs := []any{}
		if all {
			docs = append(docs, doc("v1.0", "DEPRECATED", "", "", "v1"))
		}
		w.json(status, map[string]any{"versions": append(docs, doc("v2.0", "CURRENT", m.max.String(), m.min.String(), "v2"))})
	}
}

// Fill gives a project n NFS shares of 1 GiB that are available, past the API and its quota: for lists that are long.
func (m *Manila) Fill(project string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range n {
		s := &manilaShare{
			id: newUUID(), instance: newUUID(), project: project, status: manilaAvailable, metadata: map[string]string{}, name: fmt.Sprintf("fill-%d", i),
			proto: ManilaNFS, typ: m.types[0], size: 1, zone: m.cfg.AvailabilityZones[0], created: m.now(),
		}
		s.exports = m.exportLocations(s)
		m.shares[s.id] = s
	}
}
