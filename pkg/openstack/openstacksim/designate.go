package openstacksim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// designateTime is how Designate writes timestamps (designate/utils.py, DATETIME_FORMAT): UTC, without a zone.
const designateTime = "2006-01-02T15:04:05.000000"

const (
	designatePool           = "794ccc2c-d751-44fe-b57f-8894c9f5c842" // Designate's default default_pool_id
	designateManagedProject = "00000000000000000000000000000000"     // owns the reverse zones of floating IPs
	designateManagedEmail   = "hostmaster@mooring.test"
)

// DesignateConfig sets up the simulated Designate. The zero value is a fast Zed with its default quotas.
type DesignateConfig struct {
	// Delay is how long a write stays PENDING: after it the zone and its recordsets are ACTIVE and the name server answers them. A zone
	// that is deleted is gone after it. Zero is at once.
	Delay time.Duration
	// MinTTL is the lowest TTL that is taken; zero is none.
	MinTTL int
	// DefaultLimit is the page size when none is asked for, MaxLimit what limit=max means; zero is Designate's default, 20 and 1000.
	DefaultLimit, MaxLimit int
	// RefuseLimitMax makes limit=max a 400, RefuseLimitAbove a limit above it: clouds that are older, or behind a proxy that minds.
	RefuseLimitMax   bool
	RefuseLimitAbove int
	// HideVersion leaves the version field out of zones and recordsets.
	HideVersion bool
	// Quota of a project without its own. Zero fields are Designate's defaults, except for the project "quota", whose defaults are tiny.
	Quota DesignateQuota
	// NameServer is the host in the NS and SOA records, with its final dot; empty is "ns1.mooring.test.".
	NameServer string
	// DNSListen is the name server's host:port, on a loopback address; empty is 127.0.0.1:0.
	DNSListen string
}

// DesignateQuota has one value for each of Designate's quotas; -1 is unlimited.
type DesignateQuota struct {
	Zones, ZoneRecordsets, ZoneRecords, RecordsetRecords int
}

// Designate is the simulated DNS service, version 2 of its API, and an authoritative name server for its zones. It follows Designate's
// api/v2 controllers, central/service.py and objects/ as of Zed. Its methods are safe for concurrent use.
type Designate struct {
	cloud *Cloud
	cfg   DesignateConfig
	dns   *dnsServer

	mu    sync.Mutex
	zones []*dnsZone // oldest first
	sets  map[string]*dnsRecordset
	quota map[string]map[string]int // by project, then resource
	fips  []*floatingIP
}

// dnsZone is a zone. Its recordsets are in sets, oldest first; live is what the name server answers.
type dnsZone struct {
	id, pool, project, name, email, kind, status, action string
	description                                          *string
	ttl                                                  int
	serial                                               int64
	version                                              int
	attributes                                           map[string]string
	masters                                              []string
	created, updated                                     time.Time

	sets   []*dnsRecordset
	byName map[string][]*dnsRecordset // by name in lower case: MySQL compares so
	dirty  map[string]bool            // such names, written since the last activation
	live   liveZone
}

type dnsRecordset struct {
	id, name, kind, status, action string
	description                    *string
	zone                           *dnsZone
	ttl                            *int
	records                        []string
	managed                        bool
	version                        int
	created, updated               time.Time
}

func newDesignate(c *Cloud, cfg DesignateConfig) (*Designate, error) {
	if cfg.DefaultLimit == 0 {
		cfg.DefaultLimit = 20
	}
	if cfg.MaxLimit == 0 {
		cfg.MaxLimit = 1000
	}
	if cfg.NameServer == "" {
		cfg.NameServer = "ns1.mooring.test."
	}
	if cfg.DNSListen == "" {
		cfg.DNSListen = "127.0.0.1:0"
	}
	d := &Designate{cloud: c, cfg: cfg, sets: map[string]*dnsRecordset{}, quota: map[string]map[string]int{}}
	server, err := startDNS(d, cfg.DNSListen)
	if err != nil {
		return nil, err
	}
	d.dns = server
	return d, nil
}

func (d *Designate) close() { d.dns.close() }

// DNSAddr is the host:port of the name server, for UDP and TCP.
func (d *Designate) DNSAddr() string { return d.dns.addr }

// SetQuota gives a project quotas of its own; zero fields keep their value.
func (d *Designate) SetQuota(projectName string, q DesignateQuota) {
	project := d.cloud.Keystone.User(projectName, projectName).ProjectID
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setQuotas(project, q.asMap())
}

func (d *Designate) setQuotas(project string, values map[string]int) {
	if d.quota[project] == nil {
		d.quota[project] = map[string]int{}
	}
	maps.Copy(d.quota[project], values)
}

func (q DesignateQuota) asMap() map[string]int {
	m := map[string]int{"zones": q.Zones, "zone_recordsets": q.ZoneRecordsets, "zone_records": q.ZoneRecords, "recordset_records": q.RecordsetRecords}
	maps.DeleteFunc(m, func(_ string, v int) bool { return v == 0 })
	return m
}

// quotas returns the quotas in force for a project.
func (d *Designate) quotas(project string) map[string]int {
	q := map[string]int{"zones": 10, "zone_recordsets": 500, "zone_records": 500, "recordset_records": 20, "api_export_size": 1000}
	if d.cloud.Keystone.projectName(project) == "quota" {
		q = map[string]int{"zones": 2, "zone_recordsets": 5, "zone_records": 10, "recordset_records": 3, "api_export_size": 1000}
	} else {
		maps.Copy(q, d.cfg.Quota.asMap())
	}
	maps.Copy(q, d.quota[project])
	return q
}

// check returns Designate's 413 when one of the values is above its quota (designate/quota/base.py).
func (d *Designate) checkQuota(project string, values map[string]int) error {
	quotas := d.quotas(project)
	var exceeded []string
	for _, resource := range slices.Sorted(maps.Keys(values)) {
		if limit := quotas[resource]; limit >= 0 && values[resource] > limit {
			exceeded = append(exceeded, resource)
		}
	}
	if len(exceeded) > 0 {
		return &designateError{413, "over_quota", "Quota exceeded for " + strings.Join(exceeded, ", ") + ".", nil}
	}
	return nil
}

// designateError is an error as Designate's fault wrapper and validation middleware write it (designate/api/middleware.py).
type designateError struct {
	status  int
	kind    string
	message string
	details []validationError
}

// validationError is one finding of Designate's schema checks.
type validationError struct {
	Path           []any  `json:"path"`
	Message        string `json:"message"`
	Validator      string `json:"validator"`
	ValidatorValue any    `json:"validator_value"`
}

func (e *designateError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.kind, e.message) }

func badRequest(message string) error { return &designateError{400, "bad_request", message, nil} }

func invalidObject(message string) error {
	return &designateError{400, "invalid_object", message, nil}
}

// invalidField is what a value of the wrong form ends in: the setter of the object raises a ValueError.
func invalidField(format string, args ...any) error {
	return invalidObject("Provided object is not valid. Got a ValueError error with message " + fmt.Sprintf(format, args...))
}

func schemaError(details ...validationError) error {
	return &designateError{400, "invalid_object", "", details}
}

func notFound(object string) error {
	return &designateError{404, strings.ToLower(object) + "_not_found", "Could not find " + object, nil}
}

// designateHandler is a handler that fails with a designateError.
type designateHandler func(w *reply, r *request) error

// locked wraps a handler: it runs under the lock, knows whose data to see, and has its error written in Designate's shape.
func (d *Designate) locked(h designateHandler) func(w *reply, r *request) {
	return func(w *reply, r *request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if allProjects(r) && !r.admin() {
			w.raw(http.StatusForbidden, "text/html; charset=utf-8", nil) // the middleware refuses without a body
			return
		}
		if err := h(w, r); err != nil {
			w.designateError(r, err)
		}
	}
}

func (w *reply) designateError(r *request, err error) {
	e, ok := err.(*designateError) //nolint:errorlint // handlers return it bare
	if !ok {
		e = &designateError{500, "unknown", err.Error(), nil}
	}
	body := map[string]any{"code": e.status, "type": e.kind, "request_id": r.id}
	if e.message != "" {
		body["message"] = e.message
	}
	if e.details != nil {
		body["errors"] = map[string]any{"errors": e.details}
	}
	w.json(e.status, body)
}

// allProjects reports whether an admin asks for the data of every project.
func allProjects(r *request) bool {
	q := r.URL.Query()
	for _, v := range []string{r.Header.Get("X-Auth-All-Projects"), q.Get("all_projects"), q.Get("all_tenants")} {
		switch strings.ToLower(v) {
		case "1", "t", "true", "on", "y", "yes":
			return true
		}
	}
	return false
}

func (d *Designate) routes() []route {
	list := []route{
		{pattern: "GET /{$}", handle: d.versions, public: true},
	}
	for pattern, h := range map[string]designateHandler{
		"GET /v2/limits":                           d.getLimits,
		"GET /v2/zones":                            d.listZones,
		"POST /v2/zones":                           d.createZone,
		"GET /v2/zones/{zone}":                     d.getZone,
		"PATCH /v2/zones/{zone}":                   d.patchZone,
		"DELETE /v2/zones/{zone}":                  d.deleteZone,
		"GET /v2/zones/{zone}/nameservers":         d.getNameservers,
		"GET /v2/zones/{zone}/recordsets":          d.listZoneRecordsets,
		"POST /v2/zones/{zone}/recordsets":         d.createRecordset,
		"GET /v2/zones/{zone}/recordsets/{set}":    d.getRecordset,
		"PUT /v2/zones/{zone}/recordsets/{set}":    d.putRecordset,
		"DELETE /v2/zones/{zone}/recordsets/{set}": d.deleteRecordset,
		"GET /v2/recordsets":                       d.listRecordsets,
		"GET /v2/recordsets/{set}":                 d.redirectRecordset,
		"GET /v2/pools":                            d.listPools,
		"GET /v2/quotas":                           d.getQuotas,
		"GET /v2/quotas/{project}":                 d.getQuotas,
		"PATCH /v2/quotas/{project}":               d.patchQuotas,
		"DELETE /v2/quotas/{project}":              d.resetQuotas,
		"GET /v2/reverse/floatingips":              d.listFloatingIPs,
		"GET /v2/reverse/floatingips/{fip}":        d.getFloatingIP,
		"PATCH /v2/reverse/floatingips/{fip}":      d.patchFloatingIP,
	} {
		list = append(list, route{pattern: pattern, handle: d.locked(h)})
	}
	return list
}

// versions is the version document (designate/api/versions.py). There is none below /v2.
func (d *Designate) versions(w *reply, _ *request) {
	document := func(id, status string) map[string]any {
		return map[string]any{
			"id": id, "status": status, "updated": "2022-06-29T00:00:00Z", "links": []any{
				map[string]any{"rel": "self", "href": d.base() + "/v2"}, map[string]any{"rel": "help", "href": "https://docs.openstack.org/api-ref/dns"},
			},
		}
	}
	w.json(http.StatusOK, map[string]any{"versions": []any{document("v2", "SUPPORTED"), document("v2.0", "CURRENT")}})
}

// base is the URL that links start with.
func (d *Designate) base() string { return d.cloud.URL() + pathDesignate }

func (d *Designate) getLimits(w *reply, r *request) error {
	q := d.quotas(r.project)
	w.json(http.StatusOK, map[string]any{
		"max_zones": q["zones"], "max_zone_recordsets": q["zone_recordsets"], "max_zone_records": q["zone_records"],
		"max_recordset_records": q["recordset_records"], "min_ttl": orNull(d.cfg.MinTTL), "max_zone_name_length": 255,
		"max_recordset_name_length": 255, "max_page_limit": d.cfg.MaxLimit,
	})
	return nil
}

func orNull(v int) any {
	if v == 0 {
		return nil
	}
	return v
}

func (d *Designate) getQuotas(w *reply, r *request) error {
	project := r.PathValue("project")
	if project == "" {
		project = r.project
	}
	if project != r.project && !allProjects(r) {
		return &designateError{403, "forbidden", "", nil}
	}
	w.json(http.StatusOK, d.quotas(project))
	return nil
}

func (d *Designate) patchQuotas(w *reply, r *request) error {
	if !r.admin() || r.PathValue("project") != r.project && !allProjects(r) {
		return &designateError{403, "forbidden", "", nil}
	}
	var values map[string]int
	if err := decodeBody(r, &values); err != nil {
		return err
	}
	d.setQuotas(r.PathValue("project"), values)
	w.json(http.StatusOK, d.quotas(r.PathValue("project")))
	return nil
}

func (d *Designate) resetQuotas(w *reply, r *request) error {
	if !r.admin() {
		return &designateError{403, "forbidden", "", nil}
	}
	delete(d.quota, r.PathValue("project"))
	w.noContent(http.StatusNoContent)
	return nil
}

func (d *Designate) listPools(w *reply, r *request) error {
	if !r.admin() {
		return &designateError{403, "forbidden", "", nil}
	}
	w.json(http.StatusOK, map[string]any{
		"pools": []any{map[string]any{
			"id": designatePool, "name": "default", "description": nil, "attributes": map[string]any{}, "ns_records": d.nsRecords(),
			"links": map[string]any{"self": d.base() + "/v2/pools/" + designatePool},
		}},
		"links": map[string]any{"self": d.base() + "/v2/pools"},
	})
	return nil
}

func (d *Designate) nsRecords() []any {
	return []any{map[string]any{"hostname": d.cfg.NameServer, "priority": 1}}
}

// decodeBody reads a JSON object as Designate does (designate/api/v2/patches.py).
func decodeBody(r *request, v any) error {
	contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if contentType != "application/json" {
		return &designateError{415, "unsupported_content_type", "Content-type must be application/json", nil}
	}
	if r.ContentLength == 0 {
		return &designateError{400, "empty_request_body", "Request Body is empty", nil}
	}
	if err := r.decode(v); err != nil {
		return &designateError{400, "invalid_json", err.Error(), nil}
	}
	return nil
}
