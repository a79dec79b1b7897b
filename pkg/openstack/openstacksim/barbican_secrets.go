package openstacksim

import (
	"cmp"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The media types of payloads (barbican/plugin/util/mime_types.py).
const (
	mimeText   = "text/plain"
	mimeBinary = "application/octet-stream"
	mimePKCS8  = "application/pkcs8"
)

type barbicanSecret struct {
	owned

	id                    string
	name, algorithm, mode any // string or null
	kind                  string
	bits                  any // float64 or null
	created, updated      time.Time
	expires               time.Time // zero: never
	payload               []byte    // nil: none yet
	mime                  string    // of the payload
	metadata              map[string]string
	consumers             []secretConsumer
}

type secretConsumer struct {
	service, resourceType, resourceID, project string
	created                                    time.Time
}

func secretSchema() barbicanSchema {
	return barbicanSchema{name: "Secret", fields: map[string]barbicanField{
		"name":                     {types: []string{"string", "null"}, max: 255},
		"algorithm":                shortText(),
		"mode":                     shortText(),
		"bit_length":               {types: []string{"integer"}, low: 1},
		"expiration":               shortText(),
		"payload":                  {types: []string{"string"}},
		"secret_type":              {types: []string{"string"}, max: 80, enum: []string{"symmetric", "passphrase", "private", "public", "certificate", "opaque"}},
		"payload_content_type":     {types: []string{"string", "null"}, max: 255},
		"payload_content_encoding": {types: []string{"string"}, max: 255, enum: []string{"base64"}},
		"transport_key_needed":     {types: []string{"string"}, enum: []string{"true", "false"}},
		"transport_key_id":         {types: []string{"string"}},
	}}
}

// live is the secret if it can be seen: expired ones can't.
func (b *Barbican) live(id string) *barbicanSecret {
	s := b.secrets[id]
	if s == nil || (!s.expires.IsZero() && !b.cloud.now().Before(s.expires)) {
		return nil
	}
	return s
}

// isBarbicanID says whether id is what Barbican takes for an id: a version 4 UUID in lower case.
func isBarbicanID(id string) bool {
	const length = 36
	if len(id) != length || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) {
		return false
	}
	for i, c := range id {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || (!dash && !strings.ContainsRune("0123456789abcdef", c)) {
			return false
		}
	}
	return true
}

// secretRoute looks the secret up, before policies are asked: strangers learn by the code that it exists.
func (b *Barbican) secretRoute(handle func(*reply, *barbicanRequest, *barbicanSecret)) barbicanHandler {
	return func(w *reply, r *barbicanRequest) {
		id := r.PathValue("secret")
		if !isBarbicanID(id) {
			barbicanError(w, http.StatusNotFound, "Not Found. Provided secret id is invalid.")
			return
		}
		s := b.live(id)
		if s == nil {
			barbicanError(w, http.StatusNotFound, "Secret not found.")
			return
		}
		handle(w, r, s)
	}
}

func (b *Barbican) createSecret(w *reply, r *barbicanRequest) {
	const operation = "Secret creation"
	if !r.adminOrCreator() {
		barbicanRefuse(w, operation)
		return
	}
	data, ok := r.jsonBody(w, secretSchema())
	if !ok {
		return
	}
	s, status, problem := b.newSecret(data, "Secret", false)
	if problem != "" {
		if status == http.StatusRequestEntityTooLarge {
			barbicanError(w, status, problem)
			return
		}
		barbicanError(w, http.StatusBadRequest, problem)
		return
	}
	if b.overQuota(w, r, "secrets", operation, countOf(b.secrets, func(s *barbicanSecret) bool { return s.project == r.project && b.live(s.id) != nil })) {
		return
	}
	s.project, s.creator = r.project, r.user
	b.secrets[s.id] = s
	ref := b.ref("secrets", s.id)
	w.header.Set("Location", ref)
	w.json(http.StatusCreated, map[string]any{"secret_ref": ref})
}

// newSecret makes a secret of a body that fits the schema. In an order a content type may stand without a payload.
func (b *Barbican) newSecret(data map[string]any, schemaName string, order bool) (s *barbicanSecret, status int, problem string) {
	bad := func(reason, property string) (*barbicanSecret, int, string) {
		return nil, http.StatusBadRequest, mismatchText(schemaName, reason, property)
	}
	now := b.now()
	s = &barbicanSecret{
		id: newUUID(), name: data["name"], algorithm: data["algorithm"], mode: data["mode"], bits: data["bit_length"],
		kind: cmp.Or(jsonText(data, "secret_type"), "opaque"), created: now, updated: now, metadata: map[string]string{},
	}
	if raw := jsonText(data, "expiration"); raw != "" {
		at, ok := parseISO(raw)
		if !ok {
			return bad("Invalid date for 'expiration'", "expiration")
		}
		if !at.After(b.cloud.now()) {
			return bad("'expiration' is before current time", "expiration")
		}
		s.expires = at
	}
	_, typed := data["payload_content_type"]
	if _, hasPayload := data["payload"]; !hasPayload {
		if typed && !order {
			return bad("payload must be provided when payload_content_type is specified", "payload")
		}
		return s, 0, ""
	}
	if len(jsonText(data, "payload")) > barbicanMaxSecret {
		return nil, http.StatusRequestEntityTooLarge, "Provided information too large to process"
	}
	if reason, property := s.takePayload(data); reason != "" {
		return bad(reason, property)
	}
	return s, 0, ""
}

// takePayload reads a payload that comes with the secret, or says what is wrong with which property.
func (s *barbicanSecret) takePayload(data map[string]any) (reason, property string) {
	payload := jsonText(data, "payload")
	_, encoded := data["payload_content_encoding"]
	kind := normalMIME(jsonText(data, "payload_content_type"))
	switch {
	case data["payload_content_type"] == nil:
		return "If 'payload' is supplied, 'payload_content_type' must also be supplied.", "payload_content_type"
	case kind == "":
		return "payload_content_type is not one of [" + pyList(supportedMIME()) + "]", "payload_content_type"
	case kind == mimeText && encoded:
		return "payload_content_encoding is not one of None", "payload_content_encoding"
	case kind != mimeText && !encoded:
		return "payload_content_encoding is not one of ['base64', 'binary']", "payload_content_encoding"
	case payload == "":
		return "If 'payload' specified, must be non empty", "payload"
	}
	s.mime, s.payload = kind, []byte(payload)
	if encoded { // base64 is the only one
		decoded, ok := lenientBase64(payload)
		if !ok {
			return "Invalid payload for payload_content_encoding", "payload"
		}
		s.payload = decoded
	}
	return "", ""
}

// lenientBase64 decodes as Python's b64decode does: characters outside the alphabet are ignored.
func lenientBase64(text string) ([]byte, bool) {
	clean := strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') || r == '+' || r == '/' || r == '=' {
			return r
		}
		return -1
	}, text)
	out, err := base64.StdEncoding.DecodeString(clean)
	return out, err == nil
}

func supportedMIME() []string {
	return []string{mimeText, "text/plain;charset=utf-8", "text/plain; charset=utf-8", mimeBinary, mimePKCS8}
}

// normalMIME is a supported media type without its charset, or "".
func normalMIME(kind string) string {
	base, charset, has := strings.Cut(strings.ToLower(kind), ";")
	base = strings.TrimSpace(base)
	if has && strings.ReplaceAll(charset, " ", "") != "charset=utf-8" {
		return ""
	}
	if slices.Contains([]string{mimeText, mimeBinary, mimePKCS8}, base) {
		return base
	}
	return ""
}

// parseISO reads the ISO 8601 forms that clients send; without a zone it is UTC.
func parseISO(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

func (b *Barbican) secretBody(s *barbicanSecret, minor int) map[string]any {
	out := map[string]any{
		"created": barbicanTime(s.created), "updated": barbicanTime(s.updated), "status": "ACTIVE", "name": s.name, "secret_type": s.kind,
		"expiration": barbicanTimeOrNull(s.expires), "algorithm": s.algorithm, "bit_length": s.bits, "mode": s.mode, "creator_id": s.creator,
		"secret_ref": b.ref("secrets", s.id),
	}
	if s.payload != nil {
		out["content_types"] = map[string]any{"default": s.mime}
	}
	if minor >= 1 {
		consumers := []any{}
		for _, c := range s.consumers {
			consumers = append(consumers, map[string]any{"service": c.service, "resource_type": c.resourceType, "resource_id": c.resourceID})
		}
		out["consumers"] = consumers
	}
	return out
}

func (b *Barbican) getSecret(w *reply, r *barbicanRequest, s *barbicanSecret) {
	accept := r.Header.Get("Accept")
	if accept != "" && accept != "application/json" && accept != "*/*" {
		b.sendPayload(w, r, s, "Secret retrieval") // the old way to the payload, still there
		return
	}
	if !s.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, "Secret retrieval")
		return
	}
	w.json(http.StatusOK, b.secretBody(s, r.minor))
}

func (b *Barbican) getPayload(w *reply, r *barbicanRequest, s *barbicanSecret) {
	b.sendPayload(w, r, s, "Secret payload retrieval")
}

func (b *Barbican) sendPayload(w *reply, r *barbicanRequest, s *barbicanSecret, operation string) {
	if !s.mayRead(r, r.allButAudit()) {
		barbicanRefuse(w, operation)
		return
	}
	if s.payload == nil {
		barbicanError(w, http.StatusNotFound, "Not Found. Sorry but your secret has no payload.")
		return
	}
	accept := cmp.Or(r.Header.Get("Accept"), mimeBinary)
	mime := normalMIME(accept)
	if accept != "*/*" && (mime == "" || (mime == mimeText && !utf8.Valid(s.payload))) {
		barbicanIssue(w, http.StatusNotAcceptable, operation, "Wrong payload content-type")
		return
	}
	if len(s.payload) == 0 {
		w.noContent(http.StatusNoContent)
		return
	}
	if mime == mimeText {
		accept = "text/plain; charset=UTF-8"
	}
	w.raw(http.StatusOK, accept, slices.Clone(s.payload))
}

func (b *Barbican) putPayload(w *reply, r *barbicanRequest, s *barbicanSecret) {
	const operation = "Secret update"
	if r.project != s.project || !r.adminOrCreator() {
		barbicanRefuse(w, operation)
		return
	}
	mime := contentType(r.request)
	if mime != mimeText && mime != mimeBinary {
		barbicanError(w, http.StatusUnsupportedMediaType, "Unexpected content type. Expected content types are: ['application/octet-stream', 'text/plain']")
		return
	}
	body, err := io.ReadAll(r.Body)
	encoding := r.Header.Get("Content-Encoding")
	switch {
	case err != nil || len(body) > barbicanMaxSecret:
		barbicanIssue(w, http.StatusRequestEntityTooLarge, operation, "Provided information too large to process")
		return
	case len(body) == 0:
		barbicanIssue(w, http.StatusBadRequest, operation, "No data supplied to process.")
		return
	case s.payload != nil:
		barbicanError(w, http.StatusConflict, "Secret already has data, cannot modify it.")
		return
	case mime == mimeBinary && encoding == "base64":
		decoded, ok := lenientBase64(string(body))
		if !ok {
			barbicanIssue(w, http.StatusBadRequest, operation, "Problem decoding payload")
			return
		}
		body = decoded
	case mime == mimeBinary && encoding != "":
		barbicanIssue(w, http.StatusBadRequest, operation, "Text-based binary secret payloads must specify a content-encoding of 'base64'")
		return
	}
	s.payload, s.mime, s.updated = body, mime, b.now()
	w.noContent(http.StatusNoContent)
}

func (b *Barbican) deleteSecret(w *reply, r *barbicanRequest, s *barbicanSecret) {
	if !s.mayDelete(r) {
		barbicanRefuse(w, "Secret deletion")
		return
	}
	const guarded = 2 // the microversion that minds consumers
	if force, _ := strconv.ParseBool(r.URL.Query().Get("force")); r.minor >= guarded && len(s.consumers) > 0 && !force {
		barbicanError(w, http.StatusConflict, "Secret has consumers and cannot be deleted.")
		return
	}
	delete(b.secrets, s.id)
	for _, c := range b.containers {
		c.secrets = slices.DeleteFunc(c.secrets, func(ref containerSecret) bool { return ref.id == s.id })
	}
	w.noContent(http.StatusNoContent)
}

func (b *Barbican) listSecrets(w *reply, r *barbicanRequest) {
	if !r.allButAudit() {
		barbicanRefuse(w, "Secret(s) retrieval")
		return
	}
	match, ok := secretFilter(r)
	if !ok {
		barbicanError(w, http.StatusBadRequest, "URI provided invalid query string parameters.")
		return
	}
	var found []*barbicanSecret
	for _, id := range slices.Sorted(maps.Keys(b.secrets)) { // in the order of random ids: without a sort key there is none
		s := b.live(id)
		if s == nil || !match(s) {
			continue
		}
		found = append(found, s)
	}
	if !sortSecrets(found, r.URL.Query().Get("sort")) {
		barbicanError(w, http.StatusBadRequest, "URI provided invalid query string parameters.")
		return
	}
	all := make([]any, 0, len(found))
	for _, s := range found {
		all = append(all, b.secretBody(s, r.minor))
	}
	b.page(w, r, "secrets", "secrets", all)
}

// secretFilter makes the test of a list's query; false means a malformed date.
func secretFilter(r *barbicanRequest) (func(*barbicanSecret) bool, bool) {
	q := r.URL.Query()
	bits, _ := strconv.Atoi(q.Get("bits"))
	dates, ok := dateFilters(q)
	if !ok {
		return nil, false
	}
	aclOnly := strings.EqualFold(q.Get("acl_only"), "true")
	return func(s *barbicanSecret) bool {
		if aclOnly {
			if !s.acl.names(r.user) {
				return false
			}
		} else if s.project != r.project {
			return false
		}
		return dates(s) && likeAny(s.name, q.Get("name")) && likeAny(s.algorithm, q.Get("alg")) && likeAny(s.mode, q.Get("mode")) &&
			(bits <= 0 || s.bits == float64(bits)) && (q.Get("secret_type") == "" || q.Get("secret_type") == s.kind)
	}, true
}

// dateFilters are the tests of the query's dates, all in one.
func dateFilters(q url.Values) (func(*barbicanSecret) bool, bool) {
	var tests []func(*barbicanSecret) bool
	for name, of := range map[string]func(*barbicanSecret) time.Time{
		"created": func(s *barbicanSecret) time.Time { return s.created }, "updated": func(s *barbicanSecret) time.Time { return s.updated },
		"expiration": func(s *barbicanSecret) time.Time { return s.expires },
	} {
		if q.Get(name) == "" {
			continue
		}
		test, ok := dateFilter(q.Get(name))
		if !ok {
			return nil, false
		}
		tests = append(tests, func(s *barbicanSecret) bool { return !of(s).IsZero() && test(of(s)) })
	}
	return func(s *barbicanSecret) bool {
		return !slices.ContainsFunc(tests, func(test func(*barbicanSecret) bool) bool { return !test(s) })
	}, true
}

// likeAny is SQL's LIKE, in MySQL's way without regard to case. An empty pattern is no filter.
func likeAny(v any, pattern string) bool {
	if pattern == "" {
		return true
	}
	s, ok := v.(string)
	return ok && sqlLike([]rune(strings.ToLower(s)), []rune(strings.ToLower(pattern)))
}

func sqlLike(s, pattern []rune) bool {
	if len(pattern) == 0 {
		return len(s) == 0
	}
	switch pattern[0] {
	case '%':
		return sqlLike(s, pattern[1:]) || (len(s) > 0 && sqlLike(s[1:], pattern))
	case '_':
		return len(s) > 0 && sqlLike(s[1:], pattern[1:])
	default:
		return len(s) > 0 && s[0] == pattern[0] && sqlLike(s[1:], pattern[1:])
	}
}

// dateFilter reads "gt:2026-01-01T00:00:00,lte:…".
func dateFilter(text string) (func(time.Time) bool, bool) {
	var tests []func(time.Time) bool
	for part := range strings.SplitSeq(text, ",") {
		op, raw := "eq", part
		for _, known := range []string{"gte", "gt", "lte", "lt"} {
			if rest, ok := strings.CutPrefix(part, known+":"); ok {
				op, raw = known, rest
				break
			}
		}
		bound, ok := parseISO(raw)
		if !ok {
			return nil, false
		}
		tests = append(tests, func(t time.Time) bool {
			switch c := t.Compare(bound); op {
			case "gt":
				return c > 0
			case "gte":
				return c >= 0
			case "lt":
				return c < 0
			case "lte":
				return c <= 0
			default:
				return c == 0
			}
		})
	}
	return func(t time.Time) bool {
		return !slices.ContainsFunc(tests, func(test func(time.Time) bool) bool { return !test(t) })
	}, true
}

// sortSecrets orders by "name:desc,created"; false means an unknown key, an unknown direction, or a key twice.
func sortSecrets(secrets []*barbicanSecret, keys string) bool {
	if keys == "" {
		return true
	}
	get := map[string]func(*barbicanSecret) string{
		"algorithm":   func(s *barbicanSecret) string { return textOf(s.algorithm) },
		"bit_length":  func(s *barbicanSecret) string { return textOf(s.bits) },
		"created":     func(s *barbicanSecret) string { return barbicanTime(s.created) },
		"expiration":  func(s *barbicanSecret) string { return textOf(barbicanTimeOrNull(s.expires)) },
		"mode":        func(s *barbicanSecret) string { return textOf(s.mode) },
		"name":        func(s *barbicanSecret) string { return textOf(s.name) },
		"secret_type": func(s *barbicanSecret) string { return s.kind },
		"status":      func(*barbicanSecret) string { return "ACTIVE" },
		"updated":     func(s *barbicanSecret) string { return barbicanTime(s.updated) },
	}
	type order struct {
		of   func(*barbicanSecret) string
		sign int
	}
	var orders []order
	seen := map[string]bool{}
	for part := range strings.SplitSeq(keys, ",") {
		key, direction, has := strings.Cut(part, ":")
		if !has {
			direction = "asc"
		}
		if get[key] == nil || seen[key] || (direction != "asc" && direction != "desc") {
			return false
		}
		seen[key] = true
		sign := 1
		if direction == "desc" {
			sign = -1
		}
		orders = append(orders, order{get[key], sign})
	}
	slices.SortStableFunc(secrets, func(x, y *barbicanSecret) int {
		for _, o := range orders {
			if c := o.sign * cmp.Compare(o.of(x), o.of(y)); c != 0 {
				return c
			}
		}
		return 0
	})
	return true
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		const digits = 6 // so that numbers sort by value: bit lengths have at most five
		s := strconv.Itoa(int(v))
		return strings.Repeat("0", max(0, digits-len(s))) + s
	default:
		return ""
	}
}
