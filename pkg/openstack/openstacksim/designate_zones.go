package openstacksim

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

const zoneKeys = "id pool_id project_id name email description ttl serial status action version attributes type masters created_at updated_at transferred_at"

// see returns a zone of the caller's project, or of any for an admin who asks for all.
func (d *Designate) see(r *request, id string) (*dnsZone, error) {
	if !isUUID(id) {
		return nil, &designateError{400, "invalid_uuid", "Invalid UUID zone_id: " + id, nil}
	}
	for _, z := range d.zones {
		if z.id == id && (z.project == r.project || allProjects(r)) {
			return z, nil
		}
	}
	return nil, notFound("Zone")
}

func isUUID(s string) bool {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`).MatchString(s)
}

func (d *Designate) zoneView(z *dnsZone) map[string]any {
	v := map[string]any{
		"id": z.id, "pool_id": z.pool, "project_id": z.project, "name": z.name, "email": z.email, "description": z.description, "ttl": z.ttl,
		"serial": z.serial, "status": z.status, "action": z.action, "version": z.version, "attributes": z.attributes, "type": z.kind,
		"masters": z.masters, "created_at": stamp(z.created), "updated_at": stamp(z.updated), "transferred_at": nil,
		"links": map[string]any{"self": d.base() + "/v2/zones/" + z.id},
	}
	if d.cfg.HideVersion {
		delete(v, "version")
	}
	return v
}

// stamp is null for something that was never updated.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Truncate(time.Second).Format(designateTime) // the database keeps whole seconds
}

func (d *Designate) listZones(w *reply, r *request) error {
	var all []*dnsZone
	for _, z := range d.zones {
		if z.project == r.project || allProjects(r) {
			all = append(all, z)
		}
	}
	l := listing[*dnsZone]{
		path: "/v2/zones", collection: "zones",
		filters:  []string{"name", "type", "email", "status", "description", "ttl"},
		sortKeys: []string{"created_at", "id", "updated_at", "name", "tenant_id", "serial", "ttl", "status"},
		id:       func(z *dnsZone) string { return z.id },
		view:     d.zoneView,
	}
	return l.answer(d, w, r, all)
}

func (d *Designate) getZone(w *reply, r *request) error {
	z, err := d.see(r, r.PathValue("zone"))
	if err != nil {
		return err
	}
	w.json(http.StatusOK, d.zoneView(z))
	return nil
}

func (d *Designate) getNameservers(w *reply, r *request) error {
	if _, err := d.see(r, r.PathValue("zone")); err != nil {
		return err
	}
	w.json(http.StatusOK, map[string]any{"nameservers": d.nsRecords()})
	return nil
}

type zoneBody struct {
	Name        *string           `json:"name"`
	Email       *string           `json:"email"`
	Description *string           `json:"description"`
	TTL         *int              `json:"ttl"`
	Type        *string           `json:"type"`
	Masters     []string          `json:"masters"`
	Attributes  map[string]string `json:"attributes"`
}

func (d *Designate) createZone(w *reply, r *request) error {
	var b zoneBody
	if err := decodeObject(r, &b, "zone", zoneKeys, "name email description ttl type masters attributes"); err != nil {
		return err
	}
	kind := "PRIMARY"
	if b.Type != nil {
		kind = *b.Type
	}
	if err := checkZone(&b, kind); err != nil {
		return err
	}
	if err := d.checkNewZone(r.project, *b.Name, b.TTL); err != nil {
		return err
	}
	z := d.newZone(r.project, *b.Name, kind, b)
	w.header.Set("Location", d.base()+"/v2/zones/"+z.id)
	w.json(http.StatusAccepted, d.zoneView(z))
	d.publish(z)
	return nil
}

func checkZone(b *zoneBody, kind string) error {
	if b.Name == nil {
		return schemaError(validationError{[]any{"name"}, "'name' is a required property", "required", "name"})
	}
	if complaint := domainField(*b.Name); complaint != "" {
		return invalidField("%s", complaint)
	}
	switch kind {
	case "PRIMARY":
		if b.Email == nil {
			return schemaError(validationError{[]any{"type", "email"}, "'email' is a required property", "required", "email"})
		}
		if strings.Count(*b.Email, "@") != 1 {
			return invalidField("%s is not an email", *b.Email)
		}
		if !validLabels(strings.Replace(*b.Email, "@", ".", 1)+".", false) {
			return invalidField("Email %s is invalid", *b.Email)
		}
	case "SECONDARY":
		if len(b.Masters) == 0 {
			return schemaError(validationError{[]any{"type", "masters"}, "'masters' is a required property", "required", []string{"masters"}})
		}
	default:
		return invalidField("Field value %s is invalid", kind)
	}
	if b.TTL != nil && (*b.TTL < 0 || *b.TTL > 1<<31-1) {
		return invalidField("Value must be >= 0 for field ttl")
	}
	return nil
}

// checkNewZone is central's create_zone before anything is written.
func (d *Designate) checkNewZone(project, name string, ttl *int) error {
	mine := 0
	for _, z := range d.zones {
		if z.project == project {
			mine++
		}
	}
	if err := d.checkQuota(project, map[string]int{"zones": mine + 1}); err != nil {
		return err
	}
	if strings.Count(name, ".") < 2 {
		return &designateError{400, "invalid_zone_name", "More than one label is required", nil}
	}
	if err := d.checkTTL(ttl); err != nil {
		return err
	}
	for _, z := range d.zones {
		switch {
		case strings.EqualFold(z.name, name) && z.project != project:
			return &designateError{409, "duplicate_zone", "Zone already exists, owned by a different tenant", nil}
		case strings.EqualFold(z.name, name):
			return &designateError{409, "duplicate_zone", "Duplicate Zone", nil}
		case z.project == project:
		case strings.HasSuffix(name, "."+z.name):
			return &designateError{403, "illegal_child", "Unable to create subzone in another tenants zone", nil}
		case strings.HasSuffix(z.name, "."+name):
			return &designateError{403, "illegal_parent", "Unable to create zone because another tenant owns a subzone of the zone", nil}
		}
	}
	return nil
}

func (d *Designate) checkTTL(ttl *int) error {
	if ttl != nil && *ttl < d.cfg.MinTTL {
		return &designateError{400, "invalid_ttl", fmt.Sprintf("TTL is below the minimum: %d", d.cfg.MinTTL), nil}
	}
	return nil
}

func (d *Designate) newZone(project, name, kind string, b zoneBody) *dnsZone {
	now := d.cloud.now()
	z := &dnsZone{
		id: newUUID(), pool: designatePool, project: project, name: name, kind: kind, status: "PENDING", action: "CREATE", ttl: 3600,
		serial: now.Unix(), version: 1, attributes: map[string]string{}, masters: []string{}, created: now, description: b.Description,
		byName: map[string][]*dnsRecordset{}, dirty: map[string]bool{}, live: newLiveZone(),
	}
	if b.TTL != nil {
		z.ttl = *b.TTL
	}
	if b.Email != nil {
		z.email = *b.Email
	}
	if b.Masters != nil {
		z.masters = b.Masters
	}
	maps.Copy(z.attributes, b.Attributes)
	d.zones = append(d.zones, z)
	if kind == "PRIMARY" {
		d.insert(z, &dnsRecordset{name: name, kind: "SOA", records: []string{d.soa(z)}, managed: true})
		d.insert(z, &dnsRecordset{name: name, kind: "NS", records: []string{d.cfg.NameServer}, managed: true})
	} else {
		z.email = designateManagedEmail
	}
	return z
}

// Fill makes an ACTIVE zone for a project, with as many recordsets as are wanted in all: SOA, NS, addresses of h0, h1, … and CNAMEs of the given
// names for the rest, made a day ago. It asks for no quota, and returns the zone's id.
func (d *Designate) Fill(projectName, name string, recordsets int, aliases ...string) string {
	project := d.cloud.Keystone.User(projectName, projectName).ProjectID
	d.mu.Lock()
	defer d.mu.Unlock()
	z := d.newZone(project, name, "PRIMARY", zoneBody{Email: new("hostmaster@" + strings.TrimSuffix(name, "."))})
	for _, alias := range aliases {
		d.insert(z, &dnsRecordset{name: alias, kind: "CNAME", records: []string{"elsewhere.example.net."}})
	}
	for i := range recordsets - len(z.sets) {
		d.insert(z, &dnsRecordset{name: fmt.Sprintf("h%d.%s", i, name), kind: "A", records: []string{fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff)}})
	}
	z.created = z.created.AddDate(0, 0, -1)
	for _, s := range z.sets {
		s.created = z.created
	}
	d.activate(z, z.serial)
	return z.id
}

func (d *Designate) soa(z *dnsZone) string {
	return fmt.Sprintf("%s %s. %d 3600 600 86400 3600", d.cfg.NameServer, strings.Replace(z.email, "@", ".", 1), z.serial)
}

func (d *Designate) patchZone(w *reply, r *request) error {
	z, err := d.see(r, r.PathValue("zone"))
	if err != nil {
		return err
	}
	if z.action == "DELETE" {
		return badRequest("Can not update a deleting zone")
	}
	var b zoneBody
	given, err := decodeKeys(r, &b, "zone", zoneKeys)
	if err != nil {
		return err
	}
	for key := range given {
		if !slices.Contains([]string{"email", "description", "ttl", "masters"}, key) {
			return badKeys("zone", key)
		}
	}
	if err := d.checkTTL(b.TTL); err != nil {
		return err
	}
	if b.Email != nil {
		z.email = *b.Email
	}
	if b.Description != nil {
		z.description = b.Description
	}
	if b.TTL != nil {
		z.ttl = *b.TTL
	}
	if b.Masters != nil {
		z.masters = b.Masters
	}
	d.touch(z)
	z.dirty[strings.ToLower(z.name)] = true
	w.json(http.StatusAccepted, d.zoneView(z))
	d.publish(z)
	return nil
}

func (d *Designate) deleteZone(w *reply, r *request) error {
	z, err := d.see(r, r.PathValue("zone"))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(d.zones, func(o *dnsZone) bool { return strings.HasSuffix(o.name, "."+z.name) }) {
		return &designateError{400, "zone_has_sub_zone", "Please delete any subzones before deleting this zone", nil}
	}
	z.action, z.status, z.updated = "DELETE", "PENDING", d.cloud.now()
	z.version++
	w.json(http.StatusAccepted, d.zoneView(z))
	d.later(func() { d.dropZone(z) })
	return nil
}

func (d *Designate) dropZone(z *dnsZone) {
	for _, s := range z.sets {
		delete(d.sets, s.id)
	}
	d.zones = slices.DeleteFunc(d.zones, func(o *dnsZone) bool { return o == z })
}

// touch is what every write does to its zone: a new serial, a new version, PENDING.
func (d *Designate) touch(z *dnsZone) {
	z.serial = max(z.serial+1, d.cloud.now().Unix())
	z.version++
	z.status, z.updated = "PENDING", d.cloud.now()
	if z.action != "CREATE" {
		z.action = "UPDATE"
	}
	if soa := z.find(z.name, "SOA"); soa != nil {
		soa.records = []string{d.soa(z)}
		soa.version++
		soa.updated, soa.status, soa.action = z.updated, "PENDING", "UPDATE"
		z.dirty[strings.ToLower(z.name)] = true
	}
}

// publish makes what was written ACTIVE and lets the name server answer it, now or after the delay. What is written meanwhile waits
// for its own turn: a serial tells.
func (d *Designate) publish(z *dnsZone) {
	serial := z.serial
	d.later(func() { d.activate(z, serial) })
}

// later runs f under the lock after the delay, at once when there is none.
func (d *Designate) later(f func()) {
	if d.cfg.Delay <= 0 {
		f()
		return
	}
	d.cloud.after(d.cfg.Delay, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		f()
	})
}

func (d *Designate) activate(z *dnsZone, serial int64) {
	if z.action == "DELETE" {
		return
	}
	if serial < z.serial { // a newer write will activate the zone, but the report of this one raises the version all the same
		z.version++
		z.updated = d.cloud.now()
		return
	}
	for name := range z.dirty {
		for _, s := range z.byName[name] {
			if len(s.rrs(z)) != len(s.records) {
				return // Designate takes some data that it then can't transfer: the zone stays as it was until that is gone
			}
		}
	}
	z.status, z.action = "ACTIVE", "NONE"
	z.version++
	z.updated = d.cloud.now()
	for name := range z.dirty {
		for _, s := range z.byName[name] {
			s.status, s.action = "ACTIVE", "NONE"
		}
		z.live.put(z, name, z.byName[name])
	}
	clear(z.dirty)
}
