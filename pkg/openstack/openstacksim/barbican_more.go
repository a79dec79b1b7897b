package openstacksim

import (
	"cmp"
	"crypto/rand"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// User metadata of secrets (barbican/api/controllers/secretmeta.py).

func (b *Barbican) getMetadata(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, "Secret metadata retrieval")
		return
	}
	w.json(http.StatusOK, map[string]any{"metadata": s.metadata})
}

// urlSafe says whether a metadata key can stand in a path.
func urlSafe(key string) bool {
	return !strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

func (b *Barbican) putMetadata(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayChange(r) {
		barbicanRefuse(w, "Secret metadata creation")
		return
	}
	data, ok := r.jsonBody(w, barbicanSchema{name: "SecretMetadata", required: []string{"metadata"}, blame: true, fields: map[string]barbicanField{"metadata": {types: []string{"object"}}}})
	if !ok {
		return
	}
	metadata, _ := data["metadata"].(map[string]any)
	next := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		value, isString := metadata[key].(string)
		switch {
		case !urlSafe(key):
			barbicanError(w, http.StatusBadRequest, "Invalid Key. Key must be URL safe.")
			return
		case !isString:
			barbicanError(w, http.StatusBadRequest, "Invalid Metadata. Keys and Values must be Strings.")
			return
		}
		next[strings.ToLower(key)] = value
	}
	s.metadata = next
	w.json(http.StatusCreated, map[string]any{"metadata_ref": b.ref("secrets", s.id) + "/metadata"})
}

// metadatum reads the body of one key and value.
func metadatum(w *reply, r *barbicanRequest) (key, value string, ok bool) {
	data, ok := r.jsonBody(w, barbicanSchema{
		name: "SecretMetadatum", required: []string{"key", "value"}, blame: true, closed: true, fields: map[string]barbicanField{"key": shortText(), "value": shortText()},
	})
	if !ok {
		return "", "", false
	}
	if key = jsonText(data, "key"); !urlSafe(key) {
		barbicanError(w, http.StatusBadRequest, "Invalid Key. Key must be URL safe.")
		return "", "", false
	}
	return strings.ToLower(key), jsonText(data, "value"), true
}

func (b *Barbican) addMetadatum(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayChange(r) {
		barbicanRefuse(w, "Secret metadatum creation")
		return
	}
	key, value, ok := metadatum(w, r)
	if !ok {
		return
	}
	if _, there := s.metadata[key]; there {
		barbicanError(w, http.StatusConflict, "Conflict. Key in request is already in the secret metadata")
		return
	}
	s.metadata[key] = value
	w.header.Set("Location", b.ref("secrets", s.id)+"/metadata/"+key)
	w.json(http.StatusCreated, map[string]any{"key": key, "value": value})
}

func (b *Barbican) getMetadatum(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, "Secret metadatum retrieval")
		return
	}
	key := r.PathValue("key")
	value, ok := s.metadata[key]
	if !ok {
		barbicanError(w, http.StatusNotFound, "Secret metadata not found.")
		return
	}
	w.json(http.StatusOK, map[string]any{"key": key, "value": value})
}

func (b *Barbican) putMetadatum(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayChange(r) {
		barbicanRefuse(w, "Secret metadatum update")
		return
	}
	key, value, ok := metadatum(w, r)
	if !ok {
		return
	}
	wanted := r.PathValue("key")
	if _, there := s.metadata[wanted]; !there {
		barbicanError(w, http.StatusNotFound, "Secret metadata not found.")
		return
	}
	if wanted != key {
		barbicanError(w, http.StatusConflict, "Key in request data does not match key in the ") // cut off there, in Zed
		return
	}
	s.metadata[key] = value
	w.json(http.StatusOK, map[string]any{"key": key, "value": value})
}

func (b *Barbican) deleteMetadatum(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayChange(r) {
		barbicanRefuse(w, "Secret metadatum removal")
		return
	}
	delete(s.metadata, r.PathValue("key"))
	w.noContent(http.StatusNoContent)
}

// Consumers of a secret. The calls work in every microversion; what 1.1 adds is that secrets show them.

func secretConsumerSchema() barbicanSchema {
	return barbicanSchema{name: "Secret Consumer", required: []string{"service", "resource_type", "resource_id"}, fields: map[string]barbicanField{
		"service": {types: []string{"string"}, max: 255, min: 1}, "resource_type": {types: []string{"string"}, max: 255, min: 1},
		"resource_id": {types: []string{"string"}, min: 1},
	}}
}

func (b *Barbican) listSecretConsumers(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, "SecretConsumers(s) retrieval")
		return
	}
	all := make([]any, 0, len(s.consumers))
	for _, c := range s.consumers {
		at := barbicanTime(c.created)
		all = append(all, map[string]any{
			"created": at, "updated": at, "status": "ACTIVE", "service": c.service, "resource_type": c.resourceType, "resource_id": c.resourceID,
		})
	}
	b.page(w, r, "consumers", "secrets/"+s.id+"/consumers", all)
}

// consumersBody is the secret as the calls about consumers show it: with them, without content types.
func (b *Barbican) consumersBody(s *barbicanSecret) map[string]any {
	out := b.secretBody(s, 1)
	delete(out, "content_types")
	return out
}

func (b *Barbican) addSecretConsumer(w *reply, r *barbicanRequest, s *barbicanSecret) {
	const operation = "SecretConsumer creation"
	if !s.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, operation)
		return
	}
	data, ok := r.jsonBody(w, secretConsumerSchema())
	if !ok || b.overQuota(w, r, "consumers", operation, b.countConsumers(r.project)) {
		return
	}
	added := secretConsumer{jsonText(data, "service"), jsonText(data, "resource_type"), jsonText(data, "resource_id"), r.project, b.now()}
	if slices.IndexFunc(s.consumers, added.same) < 0 {
		s.consumers = append(s.consumers, added)
		s.updated = b.now()
	}
	w.header.Set("Location", b.ref("consumers", s.id)+"/consumers") // as Barbican has it, though nothing is there
	w.json(http.StatusOK, b.consumersBody(s))
}

func (c secretConsumer) same(d secretConsumer) bool {
	return c.service == d.service && c.resourceType == d.resourceType && c.resourceID == d.resourceID
}

func (b *Barbican) deleteSecretConsumer(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, "SecretConsumer deletion")
		return
	}
	data, ok := r.jsonBody(w, secretConsumerSchema())
	if !ok {
		return
	}
	i := slices.IndexFunc(s.consumers, secretConsumer{service: jsonText(data, "service"), resourceType: jsonText(data, "resource_type"), resourceID: jsonText(data, "resource_id")}.same)
	if i < 0 {
		barbicanError(w, http.StatusNotFound, "Consumer not found.")
		return
	}
	if s.consumers[i].project != r.project && s.project != r.project {
		barbicanError(w, http.StatusForbidden, "Not Allowed. Sorry, only the creator of a consumer can delete it.")
		return
	}
	s.consumers = slices.Delete(s.consumers, i, i+1)
	w.json(http.StatusOK, b.consumersBody(s))
}

// Orders.

type barbicanOrder struct {
	project, creator string
	id, kind, status string
	meta             map[string]any
	created, updated time.Time
	secret           string
	errorCode        string
	errorReason      string
}

func orderSchema() barbicanSchema {
	return barbicanSchema{name: "Order", required: []string{"meta", "type"}, blame: true, fields: map[string]barbicanField{
		"meta": {types: []string{"object"}}, "type": {types: []string{"string"}, enum: []string{"key", "asymmetric", "certificate"}},
	}}
}

func (b *Barbican) createOrder(w *reply, r *barbicanRequest) {
	const operation = "Order creation"
	if !r.adminOrCreator() {
		barbicanRefuse(w, operation)
		return
	}
	data, ok := r.jsonBody(w, orderSchema())
	if !ok {
		return
	}
	meta, _ := data["meta"].(map[string]any)
	kind := jsonText(data, "type")
	if kind == "key" {
		if problem := b.checkKeyMeta(meta); problem != "" {
			barbicanError(w, http.StatusBadRequest, problem)
			return
		}
	}
	if b.overQuota(w, r, "orders", operation, countOf(b.orders, func(o *barbicanOrder) bool { return o.project == r.project })) {
		return
	}
	for _, key := range []string{"name", "expiration"} { // the validator adds what is not there as null
		if _, there := meta[key]; !there {
			meta[key] = nil
		}
	}
	now := b.now()
	o := &barbicanOrder{
		project: r.project, creator: r.user, id: newUUID(), kind: kind, status: "PENDING", meta: meta, created: now, updated: now,
	}
	b.orders[o.id] = o
	if b.cfg.OrderDelay == 0 {
		b.fulfil(o)
	} else {
		b.cloud.after(b.cfg.OrderDelay, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.fulfil(o)
		})
	}
	ref := b.ref("orders", o.id)
	w.header.Set("Location", ref)
	w.json(http.StatusAccepted, map[string]any{"order_ref": ref})
}

// checkKeyMeta validates the meta of an order for a key: that of a secret without a payload, then what a generator needs.
func (b *Barbican) checkKeyMeta(meta map[string]any) string {
	const within = "Secret' within 'Order"
	if reason, property := secretSchema().check(meta); reason != "" {
		return mismatchText(within, reason, property)
	}
	if _, _, problem := b.newSecret(meta, within, true); problem != "" {
		return problem
	}
	bits, _ := meta["bit_length"].(float64)
	const byteBits = 8
	switch {
	case meta["payload"] != nil:
		return mismatchText("Order", "'payload' not allowed for key type order", "meta")
	case jsonText(meta, "algorithm") == "":
		return mismatchText("Order", "'algorithm' is required field for key type order", "meta")
	case bits == 0:
		return mismatchText("Order", "'bit_length' is required field for key type order", "meta")
	case int(bits)%byteBits != 0:
		return "Provided field value is not supported"
	}
	return ""
}

// fulfil is what Barbican's worker does with an order.
func (b *Barbican) fulfil(o *barbicanOrder) {
	if b.orders[o.id] == nil {
		return
	}
	o.updated = b.now()
	bits, _ := o.meta["bit_length"].(float64)
	const largestKey, byteBits = 256, 8
	aes := strings.EqualFold(jsonText(o.meta, "algorithm"), "aes")
	switch {
	case b.spoilOrders > 0:
		b.spoilOrders--
		o.fail("500", "Process TypeOrder failure seen - please contact site administrator.")
		return
	case o.kind != "key" || (!aes && !generated.MatchString(jsonText(o.meta, "algorithm"))):
		o.fail("400", "Process TypeOrder issue seen - Secret generate supported plugin not found..")
		return
	case aes && bits > largestKey:
		o.fail("500", "Process TypeOrder failure seen - please contact site administrator.")
		return
	}
	s, _, problem := b.newSecret(o.meta, "Secret", true)
	if problem != "" {
		o.fail("400", problem)
		return
	}
	s.payload = make([]byte, int(bits)/byteBits)
	_, _ = rand.Read(s.payload)
	s.mime, s.kind, s.project, s.creator = mimeBinary, "symmetric", o.project, o.creator
	b.secrets[s.id] = s
	o.status, o.secret = "ACTIVE", s.id
}

// generated are the algorithms besides AES that the crypto plugins make keys for.
var generated = regexp.MustCompile(`(?i)^(des|3des|desede|hmacsha1|hmacsha256|hmacsha384|hmacsha512)$`)

func (o *barbicanOrder) fail(code, reason string) {
	o.status, o.errorCode, o.errorReason = "ERROR", code, reason
}

func (b *Barbican) orderBody(o *barbicanOrder) map[string]any {
	out := map[string]any{
		"created": barbicanTime(o.created), "updated": barbicanTime(o.updated), "status": o.status, "type": o.kind, "meta": o.meta,
		"creator_id": o.creator, "order_ref": b.ref("orders", o.id),
	}
	switch o.status {
	case "ERROR":
		out["error_status_code"], out["error_reason"] = o.errorCode, o.errorReason
	case "ACTIVE":
		out["sub_status"], out["sub_status_message"], out["secret_ref"] = "Unknown", "Unknown", b.ref("secrets", o.secret)
	}
	return out
}

func (b *Barbican) listOrders(w *reply, r *barbicanRequest) {
	if !r.allButAudit() {
		barbicanRefuse(w, "Order(s) retrieval")
		return
	}
	var found []*barbicanOrder
	for _, o := range b.orders {
		if o.project == r.project {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(x, y *barbicanOrder) int { return cmp.Or(x.created.Compare(y.created), cmp.Compare(x.id, y.id)) })
	all := make([]any, 0, len(found))
	for _, o := range found {
		all = append(all, b.orderBody(o))
	}
	b.page(w, r, "orders", "orders", all)
}

func (b *Barbican) updateOrder(w *reply, r *barbicanRequest) {
	if !r.adminOrCreator() {
		barbicanRefuse(w, "Order update")
		return
	}
	barbicanError(w, http.StatusMethodNotAllowed, "Order update is not supported.")
}

// order finds an order of the caller's project: those of others do not exist.
func (b *Barbican) order(w *reply, r *barbicanRequest) *barbicanOrder {
	o := b.orders[r.PathValue("order")]
	if o == nil || o.project != r.project {
		barbicanError(w, http.StatusNotFound, "Order not found.")
		return nil
	}
	return o
}

func (b *Barbican) getOrder(w *reply, r *barbicanRequest) {
	o := b.order(w, r)
	if o == nil {
		return
	}
	if !r.allUsers() {
		barbicanRefuse(w, "Order retrieval")
		return
	}
	w.json(http.StatusOK, b.orderBody(o))
}

func (b *Barbican) deleteOrder(w *reply, r *barbicanRequest) {
	o := b.order(w, r)
	if o == nil {
		return
	}
	if !r.has("admin") {
		barbicanRefuse(w, "Order deletion")
		return
	}
	delete(b.orders, o.id)
	w.noContent(http.StatusNoContent)
}

// Secret stores.

type barbicanStore struct {
	id, name, crypto string
	global           bool
	created          time.Time
}

func (b *Barbican) storeBody(s *barbicanStore) map[string]any {
	at := barbicanTime(s.created)
	return map[string]any{
		"created": at, "updated": at, "status": "ACTIVE", "crypto_plugin": s.crypto, "global_default": s.global, "name": s.name,
		"secret_store_plugin": "store_crypto", "secret_store_ref": b.ref("secret-stores", s.id),
	}
}

func (b *Barbican) listStores(w *reply, r *barbicanRequest) {
	if !r.allUsers() {
		barbicanRefuse(w, "List available secret stores")
		return
	}
	all := []any{}
	for _, s := range b.stores {
		all = append(all, b.storeBody(s))
	}
	w.json(http.StatusOK, map[string]any{"secret_stores": all})
}

func (b *Barbican) defaultStore(w *reply, r *barbicanRequest) {
	if !r.allUsers() {
		barbicanRefuse(w, "Retrieve global default secret store")
		return
	}
	i := slices.IndexFunc(b.stores, func(s *barbicanStore) bool { return s.global })
	w.json(http.StatusOK, b.storeBody(b.stores[i]))
}

func (b *Barbican) store(id string) *barbicanStore {
	i := slices.IndexFunc(b.stores, func(s *barbicanStore) bool { return s.id == id })
	if i < 0 {
		return nil
	}
	return b.stores[i]
}

const noPreferredStore = "Not Found. No preferred secret store defined for this project."

func (b *Barbican) preferredStore(w *reply, r *barbicanRequest) {
	if !r.allUsers() {
		barbicanRefuse(w, "Retrieve project preferred store")
		return
	}
	s := b.store(b.preferred[r.project])
	if s == nil {
		barbicanError(w, http.StatusNotFound, noPreferredStore)
		return
	}
	w.json(http.StatusOK, b.storeBody(s))
}

func (b *Barbican) getStore(w *reply, r *barbicanRequest) {
	id := r.PathValue("store")
	s := b.store(id)
	switch {
	case id == "global-default":
		b.defaultStore(w, r)
	case id == "preferred":
		b.preferredStore(w, r)
	case s == nil:
		barbicanError(w, http.StatusNotFound, "Not Found. Secret store not found.")
	case !r.allUsers():
		barbicanRefuse(w, "Secret store retrieval")
	default:
		w.json(http.StatusOK, b.storeBody(s))
	}
}

func (b *Barbican) preferStore(w *reply, r *barbicanRequest) {
	s := b.store(r.PathValue("store"))
	switch {
	case s == nil:
		barbicanError(w, http.StatusNotFound, "Not Found. Secret store not found.")
	case !r.has("admin"):
		barbicanRefuse(w, "Setting preferred secret store")
	default:
		b.preferred[r.project] = s.id
		w.noContent(http.StatusNoContent)
	}
}

func (b *Barbican) unpreferStore(w *reply, r *barbicanRequest) {
	switch {
	case b.store(r.PathValue("store")) == nil:
		barbicanError(w, http.StatusNotFound, "Not Found. Secret store not found.")
	case !r.has("admin"):
		barbicanRefuse(w, "Removing preferred secret store")
	case b.preferred[r.project] == "":
		barbicanError(w, http.StatusNotFound, noPreferredStore)
	default:
		delete(b.preferred, r.project)
		w.noContent(http.StatusNoContent)
	}
}

// Quotas.

func quotaKinds() []string { return []string{"secrets", "orders", "containers", "consumers", "cas"} }

func (b *Barbican) effectiveQuota(project string) map[string]int {
	q := b.cfg.Quota
	out := map[string]int{"secrets": q.Secrets, "orders": q.Orders, "containers": q.Containers, "consumers": q.Consumers, "cas": -1}
	maps.Copy(out, b.quotas[project])
	return out
}

func (b *Barbican) getQuotas(w *reply, r *barbicanRequest) {
	if !r.allUsers() {
		barbicanRefuse(w, "Quotas")
		return
	}
	w.json(http.StatusOK, map[string]any{"quotas": b.effectiveQuota(r.project)})
}

// quotaAdmin is the policy of project quotas: the role key-manager:service-admin, which the operator has here.
func quotaAdmin(w *reply, r *barbicanRequest) bool {
	if r.has("admin", "key-manager:service-admin") {
		return true
	}
	barbicanRefuse(w, "Project Quotas")
	return false
}

func (b *Barbican) projectQuota(project string) map[string]any {
	out := map[string]any{}
	for _, kind := range quotaKinds() {
		out[kind] = nil
		if n, ok := b.quotas[project][kind]; ok {
			out[kind] = n
		}
	}
	return out
}

func (b *Barbican) listProjectQuotas(w *reply, r *barbicanRequest) {
	if !quotaAdmin(w, r) {
		return
	}
	all := []any{}
	for _, project := range slices.Sorted(maps.Keys(b.quotas)) {
		all = append(all, map[string]any{"project_id": project, "project_quotas": b.projectQuota(project)})
	}
	b.page(w, r, "project_quotas", "project-quotas", all)
}

func (b *Barbican) getProjectQuotas(w *reply, r *barbicanRequest) {
	if !quotaAdmin(w, r) {
		return
	}
	project := r.PathValue("project")
	if b.quotas[project] == nil {
		barbicanError(w, http.StatusNotFound, "Project quotas not found.")
		return
	}
	w.json(http.StatusOK, map[string]any{"project_quotas": b.projectQuota(project)})
}

func (b *Barbican) putProjectQuotas(w *reply, r *barbicanRequest) {
	if !quotaAdmin(w, r) {
		return
	}
	data, ok := r.jsonBody(w, barbicanSchema{name: "Project Quota", required: []string{"project_quotas"}, fields: map[string]barbicanField{"project_quotas": {types: []string{"object"}}}})
	if !ok {
		return
	}
	wanted, _ := data["project_quotas"].(map[string]any)
	next := map[string]int{}
	for kind, v := range wanted {
		if reason := (barbicanField{types: []string{"integer"}}).check(v); reason != "" {
			barbicanMismatch(w, "Project Quota", reason, "project_quotas")
			return
		}
		n, _ := v.(float64)
		if slices.Contains(quotaKinds(), kind) {
			next[kind] = int(n)
		}
	}
	b.quotas[r.PathValue("project")] = next
	w.noContent(http.StatusNoContent)
}

func (b *Barbican) deleteProjectQuotas(w *reply, r *barbicanRequest) {
	if !quotaAdmin(w, r) {
		return
	}
	project := r.PathValue("project")
	if b.quotas[project] == nil {
		barbicanError(w, http.StatusNotFound, "Project quotas not found.")
		return
	}
	delete(b.quotas, project)
	w.noContent(http.StatusNoContent)
}
