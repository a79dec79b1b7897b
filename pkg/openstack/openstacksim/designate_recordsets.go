package openstacksim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const setKeys = "id zone_id project_id name zone_name type records description ttl status action version created_at updated_at"

func (z *dnsZone) find(name, kind string) *dnsRecordset {
	for _, s := range z.byName[strings.ToLower(name)] {
		if s.kind == kind {
			return s
		}
	}
	return nil
}

func (s *dnsRecordset) key() string { return strings.ToLower(s.name) }

// insert adds a recordset that has passed all checks.
func (d *Designate) insert(z *dnsZone, s *dnsRecordset) {
	s.id, s.zone, s.version, s.created = newUUID(), z, 1, d.cloud.now()
	s.status, s.action = "PENDING", "CREATE"
	z.sets = append(z.sets, s)
	z.byName[s.key()] = append(z.byName[s.key()], s)
	z.dirty[s.key()] = true
	d.sets[s.id] = s
}

func (d *Designate) removeSet(s *dnsRecordset) {
	z := s.zone
	is := func(o *dnsRecordset) bool { return o == s }
	z.sets = slices.DeleteFunc(z.sets, is)
	if z.byName[s.key()] = slices.DeleteFunc(z.byName[s.key()], is); len(z.byName[s.key()]) == 0 {
		delete(z.byName, s.key())
	}
	z.dirty[s.key()] = true
	delete(d.sets, s.id)
}

func (d *Designate) setView(s *dnsRecordset) map[string]any {
	v := map[string]any{
		"id": s.id, "zone_id": s.zone.id, "project_id": s.zone.project, "name": s.name, "zone_name": s.zone.name, "type": s.kind,
		"records": s.records, "description": s.description, "ttl": s.ttl, "status": s.status, "action": s.action, "version": s.version,
		"created_at": stamp(s.created), "updated_at": stamp(s.updated),
		"links": map[string]any{"self": d.base() + "/v2/zones/" + s.zone.id + "/recordsets/" + s.id},
	}
	if d.cfg.HideVersion {
		delete(v, "version")
	}
	return v
}

func (d *Designate) setListing(path string) listing[*dnsRecordset] {
	return listing[*dnsRecordset]{
		path: path, collection: "recordsets",
		filters:  []string{"name", "type", "ttl", "data", "status", "description"},
		sortKeys: []string{"created_at", "id", "updated_at", "zone_id", "tenant_id", "name", "type", "ttl", "records"},
		id:       func(s *dnsRecordset) string { return s.id },
		view:     d.setView,
	}
}

func (d *Designate) listZoneRecordsets(w *reply, r *request) error {
	z, err := d.see(r, r.PathValue("zone"))
	if err != nil {
		return err
	}
	return d.setListing("/v2/zones/"+z.id+"/recordsets").answer(d, w, r, z.sets)
}

// listRecordsets is the list over all zones of the project.
func (d *Designate) listRecordsets(w *reply, r *request) error {
	var all []*dnsRecordset
	for _, z := range d.zones {
		if z.project == r.project || allProjects(r) {
			all = append(all, z.sets...)
		}
	}
	return d.setListing("/v2/recordsets").answer(d, w, r, all)
}

func (d *Designate) redirectRecordset(w *reply, r *request) error {
	s := d.sets[r.PathValue("set")]
	if s == nil || s.zone.project != r.project && !allProjects(r) {
		return notFound("RecordSet")
	}
	w.header.Set("Location", d.base()+"/v2/zones/"+s.zone.id+"/recordsets/"+s.id)
	w.noContent(http.StatusMovedPermanently)
	return nil
}

// seeSet looks for the recordset before it looks for the zone, as central's get_recordset does.
func (d *Designate) seeSet(r *request) (*dnsZone, *dnsRecordset, error) {
	for what, id := range map[string]string{"zone_id": r.PathValue("zone"), "recordset_id": r.PathValue("set")} {
		if !isUUID(id) {
			return nil, nil, &designateError{400, "invalid_uuid", "Invalid UUID " + what + ": " + id, nil}
		}
	}
	s := d.sets[r.PathValue("set")]
	if s == nil || s.zone.project != r.project && !allProjects(r) {
		return nil, nil, notFound("RecordSet")
	}
	z, err := d.see(r, r.PathValue("zone"))
	if err != nil {
		return nil, nil, err
	}
	if s.zone != z {
		return nil, nil, notFound("RecordSet")
	}
	return z, s, nil
}

func (d *Designate) getRecordset(w *reply, r *request) error {
	_, s, err := d.seeSet(r)
	if err != nil {
		return err
	}
	w.json(http.StatusOK, d.setView(s))
	return nil
}

type setBody struct {
	Name        *string   `json:"name"`
	Type        *string   `json:"type"`
	TTL         *int      `json:"ttl"`
	Description *string   `json:"description"`
	Records     *[]string `json:"records"`
}

func (d *Designate) createRecordset(w *reply, r *request) error {
	var b setBody
	if err := decodeObject(r, &b, "recordset", setKeys, "name type ttl description records"); err != nil {
		return err
	}
	s, err := newSet(&b)
	if err != nil {
		return err
	}
	z, err := d.see(r, r.PathValue("zone"))
	if err != nil {
		return err
	}
	if z.action == "DELETE" {
		return badRequest("Can not update a deleting zone")
	}
	if z.kind != "PRIMARY" && !r.admin() {
		return &designateError{403, "forbidden", "", nil}
	}
	if err := d.checkQuota(z.project, map[string]int{"zone_recordsets": len(z.sets) + 1}); err != nil {
		return err
	}
	if err := d.checkSet(z, s, s.ttl); err != nil {
		return err
	}
	if err := d.checkRecordQuota(z, s); err != nil {
		return err
	}
	if z.find(s.name, s.kind) != nil {
		return &designateError{409, "duplicate_recordset", "Duplicate RecordSet", nil}
	}
	d.insert(z, s)
	w.header.Set("Location", d.base()+"/v2/zones/"+z.id+"/recordsets/"+s.id)
	if len(s.records) == 0 { // nothing to tell the name servers
		s.status, s.action = "ACTIVE", "NONE"
		w.json(http.StatusCreated, d.setView(s))
		return nil
	}
	d.touch(z)
	w.json(http.StatusAccepted, d.setView(s))
	d.publish(z)
	return nil
}

// newSet checks what can be checked without the zone: Designate's RecordSet.validate.
func newSet(b *setBody) (*dnsRecordset, error) {
	s := &dnsRecordset{ttl: b.TTL, description: b.Description, records: []string{}}
	if b.Name != nil {
		s.name = *b.Name
		if complaint := hostField(s.name); complaint != "" {
			return nil, invalidField("%s", complaint)
		}
	}
	if b.Type != nil {
		s.kind = *b.Type
	}
	if b.Records != nil {
		s.records = unique(*b.Records)
	}
	if err := s.checkFields(); err != nil {
		return nil, err
	}
	if b.Name == nil {
		return nil, invalidObject("")
	}
	if s.kind == "SOA" {
		return nil, badRequest("Creating a SOA recordset is not allowed")
	}
	return s, nil
}

func unique(list []string) []string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func (s *dnsRecordset) checkFields() error {
	switch {
	case s.ttl != nil && *s.ttl < 0:
		return invalidField("Value must be >= 0 for field ttl")
	case s.ttl != nil && *s.ttl > 1<<31-1:
		return invalidField("Value too high for ttl")
	case s.description != nil && len([]rune(*s.description)) > 160:
		return invalidField("Value too long for description")
	case s.kind == "":
		return schemaError(validationError{[]any{"recordset", "type"}, "'None' is not a valid record type", "value", []any{nil}})
	case !slices.Contains(designateTypes(), s.kind):
		return schemaError(validationError{[]any{"recordset", "type"}, fmt.Sprintf("'%s' is not a valid record type", s.kind), "value", []string{s.kind}})
	}
	if !s.nameFitsType() {
		return invalidObject("name is invalid")
	}
	var details []validationError
	for i, data := range s.records {
		if !recordFormat(s.kind, data) {
			details = append(details, validationError{[]any{"records", i}, fmt.Sprintf("'%s' is not a '%s' Record", data, s.kind), "format", []string{s.kind}})
		}
	}
	if details != nil {
		return schemaError(details...)
	}
	return nil
}

// nameFitsType checks the names that NS and SRV have rules of their own for.
func (s *dnsRecordset) nameFitsType() bool {
	switch {
	case s.name == "":
		return true
	case s.kind == "NS":
		return validLabels(s.name, false)
	case s.kind == "SRV":
		return serviceName(s.name)
	default:
		return true
	}
}

// checkSet is central's _validate_recordset.
func (d *Designate) checkSet(z *dnsZone, s *dnsRecordset, newTTL *int) error {
	if err := d.checkTTL(newTTL); err != nil {
		return err
	}
	if complaint := d.misplaced(z, s); complaint != "" {
		return &designateError{400, "invalid_recordset_location", complaint, nil}
	}
	if s.kind == "CNAME" && len(s.records) > 1 {
		return badRequest("CNAME recordsets may not have more than 1 record")
	}
	return nil
}

// misplaced says why a recordset can't be where it is, or nothing.
func (d *Designate) misplaced(z *dnsZone, s *dnsRecordset) string {
	if s.name != z.name && !strings.HasSuffix(s.name, "."+z.name) {
		return "RecordSet is not contained within it's parent zone"
	}
	if s.kind == "CNAME" && s.name == z.name {
		return "CNAME recordsets may not be created at the zone apex"
	}
	if slices.ContainsFunc(z.byName[s.key()], func(o *dnsRecordset) bool { return o.id != s.id && (s.kind == "CNAME" || o.kind == "CNAME") }) {
		return "CNAME recordsets may not share a name with any other records"
	}
	if s.name == z.name {
		return ""
	}
	for _, child := range d.zones {
		if strings.HasSuffix(child.name, "."+z.name) && (s.name == child.name || strings.HasSuffix(s.name, "."+child.name)) {
			return "RecordSet belongs in a child zone: " + child.name
		}
	}
	return ""
}

func (d *Designate) checkRecordQuota(z *dnsZone, s *dnsRecordset) error {
	records := len(s.records)
	for _, o := range z.sets {
		if !o.managed && o.id != s.id {
			records += len(o.records)
		}
	}
	if err := d.checkQuota(z.project, map[string]int{"zone_records": records}); err != nil {
		return err
	}
	return d.checkQuota(z.project, map[string]int{"recordset_records": len(s.records)})
}

func (d *Designate) putRecordset(w *reply, r *request) error {
	z, s, err := d.seeSet(r)
	if err != nil {
		return err
	}
	if s.managed {
		return badRequest("Managed records may not be updated")
	}
	if s.kind == "NS" && s.name == z.name {
		return badRequest("Updating a root zone NS record is not allowed")
	}
	var b setBody
	given, err := decodeKeys(r, &b, "recordset", setKeys)
	if err != nil {
		return err
	}
	next := *s
	if err := next.change(&b, given); err != nil {
		return err
	}
	if z.action == "DELETE" {
		return badRequest("Can not update a deleting zone")
	}
	if err := d.checkSet(z, &next, b.TTL); err != nil {
		return err
	}
	if err := d.checkRecordQuota(z, &next); err != nil {
		return err
	}
	*s = next
	s.version++
	s.status, s.action, s.updated = "PENDING", "UPDATE", d.cloud.now()
	z.dirty[s.key()] = true
	d.touch(z)
	w.json(http.StatusAccepted, d.setView(s))
	d.publish(z)
	return nil
}

// change applies the fields of a PUT: name and type may be repeated but not changed.
func (s *dnsRecordset) change(b *setBody, given map[string]json.RawMessage) error {
	if b.Name != nil && *b.Name != s.name {
		return badKeys("recordset", "name")
	}
	if b.Type != nil && *b.Type != s.kind {
		return badKeys("recordset", "type")
	}
	if _, ok := given["ttl"]; ok {
		s.ttl = b.TTL
	}
	if _, ok := given["description"]; ok {
		s.description = b.Description
	}
	if b.Records != nil {
		s.records = unique(*b.Records)
	}
	return s.checkFields()
}

func (d *Designate) deleteRecordset(w *reply, r *request) error {
	z, s, err := d.seeSet(r)
	if err != nil {
		return err
	}
	if s.kind == "SOA" {
		return badRequest("Deleting a SOA recordset is not allowed")
	}
	if z.action == "DELETE" {
		return badRequest("Can not update a deleting zone")
	}
	if s.managed {
		return badRequest("Managed records may not be deleted")
	}
	// The recordset is gone from the API at once; only the name server answers it a while longer.
	d.removeSet(s)
	d.touch(z)
	s.status, s.action, s.updated = "PENDING", "DELETE", d.cloud.now()
	s.version++
	w.json(http.StatusAccepted, d.setView(s))
	d.publish(z)
	return nil
}

// decodeObject reads a JSON object and refuses unknown keys, and known ones that a client may not set.
func decodeObject(r *request, v any, object, known, settable string) error {
	given, err := decodeKeys(r, v, object, known)
	if err != nil {
		return err
	}
	for key := range given {
		if !slices.Contains(strings.Fields(settable), key) {
			return invalidObject("Provided object is not valid. Got an AttributeError with message Designate object '" + object + "' has noattribute '" + key + "'")
		}
	}
	return nil
}

func decodeKeys(r *request, v any, object, known string) (map[string]json.RawMessage, error) {
	var given map[string]json.RawMessage
	if err := decodeBody(r, &given); err != nil {
		return nil, err
	}
	for key := range given {
		if !slices.Contains(strings.Fields(known), key) {
			return nil, badKeys(object, key)
		}
	}
	if string(given["records"]) == "null" {
		return nil, schemaError(validationError{[]any{"records"}, "'None' is not a valid list of records", "type", []string{"list"}})
	}
	raw, err := json.Marshal(given)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, invalidObject("Provided object is not valid. Got a TypeError with message " + err.Error())
	}
	return given, nil
}

func badKeys(object string, keys ...string) error {
	return invalidObject(fmt.Sprintf("Provided object does not match schema. Keys ['%s'] are not valid for %s", strings.Join(keys, "', '"), object))
}
