package openstacksim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// BarbicanConfig sets up the simulated Barbican. The zero value is a Barbican as of Zed: microversion 1.1, the roles of the
// legacy policy (barbican/common/policies), orders that are fulfilled at once, and two secret stores of which the project
// "hsm" prefers the second.
type BarbicanConfig struct {
	// MaxMicroversion is the newest microversion offered, "1.0", "1.1" or "1.2"; empty is "1.1". From 1.1 on secrets show
	// their consumers, from 1.2 on a secret with consumers is deleted only by force.
	MaxMicroversion string
	// OrderDelay is how long an order stays PENDING.
	OrderDelay time.Duration
	// Quota of a project without its own; the zero value is unlimited.
	Quota *BarbicanQuota
}

// BarbicanQuota has one value per quota; -1 is unlimited.
type BarbicanQuota struct {
	Secrets, Orders, Containers, Consumers int
}

// Barbican is the simulated key manager.
type Barbican struct {
	cloud    *Cloud
	cfg      BarbicanConfig
	maxMinor int

	mu          sync.Mutex
	secrets     map[string]*barbicanSecret
	containers  map[string]*barbicanContainer
	orders      map[string]*barbicanOrder
	stores      []*barbicanStore
	preferred   map[string]string         // id of a store by project
	quotas      map[string]map[string]int // by project, then kind; a kind that is not there has the default
	spoilOrders int
}

// The limits of barbican.conf: max_allowed_secret_in_bytes and max_allowed_request_size_in_bytes.
const (
	barbicanMaxSecret  = 20_000
	barbicanMaxRequest = 25_000
)

func newBarbican(c *Cloud, cfg BarbicanConfig) *Barbican {
	b := &Barbican{
		cloud: c, cfg: cfg, maxMinor: 1, secrets: map[string]*barbicanSecret{}, containers: map[string]*barbicanContainer{},
		orders: map[string]*barbicanOrder{}, preferred: map[string]string{}, quotas: map[string]map[string]int{},
	}
	if minor, ok := strings.CutPrefix(cfg.MaxMicroversion, "1."); ok {
		if n, err := strconv.Atoi(minor); err == nil {
			b.maxMinor = n
		}
	}
	if b.cfg.Quota == nil {
		b.cfg.Quota = &BarbicanQuota{-1, -1, -1, -1}
	}
	now := b.now()
	b.stores = []*barbicanStore{
		{id: newUUID(), name: "PKCS11 HSM", crypto: "p11_crypto", created: now},
		{id: newUUID(), name: "Software Only Crypto", crypto: "simple_crypto", global: true, created: now},
	}
	b.preferred[c.Keystone.User("hsm", "hsm").ProjectID] = b.stores[0].id
	b.quotas[c.Keystone.User("quota", "quota").ProjectID] = map[string]int{"secrets": 2, "orders": 2, "containers": 1, "consumers": -1, "cas": -1}
	return b
}

// Payloads returns the payload of every secret: what must not be in any log.
func (b *Barbican) Payloads() [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out [][]byte
	for _, s := range b.secrets {
		if s.payload != nil {
			out = append(out, slices.Clone(s.payload))
		}
	}
	return out
}

// FailOrders lets the next n orders end in ERROR, as with a secret store that is away.
func (b *Barbican) FailOrders(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spoilOrders = n
}

// now is the cloud's time as Barbican's database keeps it: UTC, to the second.
func (b *Barbican) now() time.Time { return b.cloud.now().UTC().Truncate(time.Second) }

// barbicanTime is how Barbican writes a time: ISO 8601 without a zone.
func barbicanTime(t time.Time) string { return t.Format("2006-01-02T15:04:05") }

func barbicanTimeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return barbicanTime(t)
}

// refs are the URLs that Barbican gives its things: they start with host_href of its configuration, whatever the client used.
func (b *Barbican) ref(kind, id string) string {
	return b.cloud.URL() + pathBarbican + "/v1/" + kind + "/" + id
}

// idOfRef is the last element of a ref.
func idOfRef(ref string) string {
	ref = strings.TrimSuffix(ref, "/")
	return ref[strings.LastIndexByte(ref, '/')+1:]
}

// barbicanRequest is a request together with its microversion.
type barbicanRequest struct {
	*request

	minor int // of microversion 1.minor
}

type barbicanHandler func(w *reply, r *barbicanRequest)

func (b *Barbican) routes() []route {
	table := []struct {
		pattern string
		handle  barbicanHandler
	}{
		{"GET /v1", b.version},
		{"GET /v1/{$}", b.version},
		{"POST /v1/secrets", b.createSecret},
		{"GET /v1/secrets", b.listSecrets},
		{"GET /v1/secrets/{secret}", b.secretRoute(b.getSecret)},
		{"PUT /v1/secrets/{secret}", b.secretRoute(b.putPayload)},
		{"DELETE /v1/secrets/{secret}", b.secretRoute(b.deleteSecret)},
		{"GET /v1/secrets/{secret}/payload", b.secretRoute(b.getPayload)},
		{"GET /v1/secrets/{secret}/metadata", b.secretRoute(b.getMetadata)},
		{"PUT /v1/secrets/{secret}/metadata", b.secretRoute(b.putMetadata)},
		{"POST /v1/secrets/{secret}/metadata", b.secretRoute(b.addMetadatum)},
		{"GET /v1/secrets/{secret}/metadata/{key}", b.secretRoute(b.getMetadatum)},
		{"PUT /v1/secrets/{secret}/metadata/{key}", b.secretRoute(b.putMetadatum)},
		{"DELETE /v1/secrets/{secret}/metadata/{key}", b.secretRoute(b.deleteMetadatum)},
		{"GET /v1/secrets/{secret}/acl", b.secretRoute(b.getSecretACL)},
		{"PUT /v1/secrets/{secret}/acl", b.secretRoute(b.setSecretACL)},
		{"PATCH /v1/secrets/{secret}/acl", b.secretRoute(b.setSecretACL)},
		{"DELETE /v1/secrets/{secret}/acl", b.secretRoute(b.deleteSecretACL)},
		{"GET /v1/secrets/{secret}/consumers", b.secretRoute(b.listSecretConsumers)},
		{"POST /v1/secrets/{secret}/consumers", b.secretRoute(b.addSecretConsumer)},
		{"DELETE /v1/secrets/{secret}/consumers", b.secretRoute(b.deleteSecretConsumer)},
		{"POST /v1/containers", b.createContainer},
		{"GET /v1/containers", b.listContainers},
		{"GET /v1/containers/{container}", b.containerRoute(b.getContainer)},
		{"DELETE /v1/containers/{container}", b.containerRoute(b.deleteContainer)},
		{"POST /v1/containers/{container}/secrets", b.containerRoute(b.addContainerSecret)},
		{"DELETE /v1/containers/{container}/secrets", b.containerRoute(b.removeContainerSecret)},
		{"GET /v1/containers/{container}/acl", b.containerRoute(b.getContainerACL)},
		{"PUT /v1/containers/{container}/acl", b.containerRoute(b.setContainerACL)},
		{"PATCH /v1/containers/{container}/acl", b.containerRoute(b.setContainerACL)},
		{"DELETE /v1/containers/{container}/acl", b.containerRoute(b.deleteContainerACL)},
		{"GET /v1/containers/{container}/consumers", b.containerRoute(b.listContainerConsumers)},
		{"POST /v1/containers/{container}/consumers", b.containerRoute(b.addContainerConsumer)},
		{"DELETE /v1/containers/{container}/consumers", b.containerRoute(b.deleteContainerConsumer)},
		{"POST /v1/orders", b.createOrder},
		{"GET /v1/orders", b.listOrders},
		{"PUT /v1/orders", b.updateOrder},
		{"GET /v1/orders/{order}", b.getOrder},
		{"DELETE /v1/orders/{order}", b.deleteOrder},
		{"GET /v1/secret-stores", b.listStores},
		{"GET /v1/secret-stores/{store}", b.getStore}, // global-default and preferred, too
		{"POST /v1/secret-stores/{store}/preferred", b.preferStore},
		{"DELETE /v1/secret-stores/{store}/preferred", b.unpreferStore},
		{"GET /v1/quotas", b.getQuotas},
		{"GET /v1/project-quotas", b.listProjectQuotas},
		{"GET /v1/project-quotas/{project}", b.getProjectQuotas},
		{"PUT /v1/project-quotas/{project}", b.putProjectQuotas},
		{"DELETE /v1/project-quotas/{project}", b.deleteProjectQuotas},
	}
	out := []route{{"GET /{$}", b.serve(b.versions), true}}
	allowed := map[string][]string{}
	for _, e := range table {
		method, path, _ := strings.Cut(e.pattern, " ")
		allowed[path] = append(allowed[path], method)
		out = append(out, route{e.pattern, b.serve(e.handle), false})
		if strings.Count(path, "/") == 2 && !strings.HasSuffix(path, "{$}") { // collections answer with a final slash, too
			out = append(out, route{e.pattern + "/{$}", b.serve(e.handle), false})
		}
	}
	for path, methods := range allowed {
		slices.Sort(methods)
		out = append(out, route{path, b.serve(notAllowed(methods)), false})
	}
	return append(out, route{"/v1/", b.serve(func(w *reply, _ *barbicanRequest) { barbicanError(w, http.StatusNotFound, "") }), false})
}

func notAllowed(methods []string) barbicanHandler {
	return func(w *reply, _ *barbicanRequest) {
		w.header.Set("Allow", strings.Join(methods, ", "))
		barbicanError(w, http.StatusMethodNotAllowed, "")
	}
}

const barbicanVersionHeader = "OpenStack-API-Version"

// serve settles the microversion (microversion_parse.middleware) and takes the lock.
func (b *Barbican) serve(handle barbicanHandler) func(*reply, *request) {
	return func(w *reply, r *request) {
		minor, problem := b.microversion(r.Header.Get(barbicanVersionHeader))
		if problem != "" {
			barbicanVersionError(w, r, problem)
			return
		}
		w.header.Set(barbicanVersionHeader, "key-manager 1."+strconv.Itoa(minor))
		w.header.Set("Vary", barbicanVersionHeader)
		b.mu.Lock()
		defer b.mu.Unlock()
		handle(w, &barbicanRequest{r, minor})
	}
}

// microversion reads the header, which may speak to several services: "compute 2.1, key-manager 1.1".
func (b *Barbican) microversion(header string) (minor int, problem string) {
	for entry := range strings.SplitSeq(header, ",") {
		name, version, _ := strings.Cut(strings.TrimSpace(entry), " ")
		if name != "key-manager" {
			continue
		}
		if version == "latest" {
			return b.maxMinor, ""
		}
		major, rest, ok := strings.Cut(version, ".")
		minor, err := strconv.Atoi(rest)
		if _, errMajor := strconv.Atoi(major); !ok || err != nil || errMajor != nil {
			return 0, "invalid version string: " + version
		}
		if major != "1" || minor < 0 || minor > b.maxMinor {
			return 0, "Unacceptable version header: " + version
		}
		return minor, ""
	}
	return 0, ""
}

// barbicanVersionError is WebOb's answer, in the three shapes that it has.
func barbicanVersionError(w *reply, r *request, problem string) {
	status, text := http.StatusBadRequest, "The server could not comply with the request since it is either malformed or otherwise incorrect."
	if strings.HasPrefix(problem, "Unacceptable") {
		status = http.StatusNotAcceptable
		text = fmt.Sprintf("The resource could not be generated that was acceptable to your browser\n(content of type %s.", r.Header.Get("Accept"))
	}
	line := strconv.Itoa(status) + " " + http.StatusText(status)
	text += " <br /><br />\nInvalid microversion: " + problem
	switch accept := r.Header.Get("Accept"); {
	case strings.Contains(accept, "json"):
		w.json(status, map[string]any{"message": text, "code": line, "title": http.StatusText(status)})
	case accept == "":
		w.raw(status, "text/plain; charset=UTF-8", []byte(line+"\n\n"+strings.ReplaceAll(text, " <br /><br />", " \n\n")))
	default:
		w.raw(status, "text/html; charset=UTF-8", []byte("<html>\n <head>\n  <title>"+line+"</title>\n </head>\n <body>\n  <h1>"+line+"</h1>\n  "+text+"\n </body>\n</html>"))
	}
}

// barbicanError answers in Barbican's shape of an error.
func barbicanError(w *reply, status int, description string) {
	title := http.StatusText(status)
	w.json(status, map[string]any{"code": status, "title": title, "description": description})
}

// barbicanRefuse is what a policy says no with; the operation is in the words of the controllers: "Secret retrieval".
func barbicanRefuse(w *reply, operation string) {
	barbicanError(w, http.StatusForbidden, operation+" attempt not allowed - please review your user/project privileges")
}

// barbicanIssue is an error of an operation that started.
func barbicanIssue(w *reply, status int, operation, reason string) {
	barbicanError(w, status, operation+" issue seen - "+reason+".")
}

func (b *Barbican) versionDocument(minor int) map[string]any {
	doc := map[string]any{
		"id": "v1", "status": "stable",
		"links": []any{
			map[string]any{"rel": "self", "href": b.cloud.URL() + pathBarbican + "/v1/"},
			map[string]any{"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
		},
	}
	if minor == 0 { // a client that knows nothing of microversions is not told of them
		doc["media-types"] = []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.key-manager-v1+json"}}
		return doc
	}
	doc["status"], doc["min_version"], doc["max_version"] = "CURRENT", "1.0", "1."+strconv.Itoa(b.maxMinor)
	return doc
}

func (b *Barbican) versions(w *reply, r *barbicanRequest) {
	if r.minor == 0 {
		w.json(http.StatusMultipleChoices, map[string]any{"versions": map[string]any{"values": []any{b.versionDocument(0)}}})
		return
	}
	w.json(http.StatusMultipleChoices, map[string]any{"versions": []any{b.versionDocument(r.minor)}})
}

func (b *Barbican) version(w *reply, r *barbicanRequest) {
	w.json(http.StatusOK, map[string]any{"version": b.versionDocument(r.minor)})
}

// The roles of the legacy policy, which is in force as long as enforce_new_defaults is off (barbican/common/policies/base.py).

func (r *barbicanRequest) has(roles ...string) bool {
	return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(r.roles, role) })
}

func (r *barbicanRequest) allButAudit() bool { return r.has("admin", "observer", "creator") }

func (r *barbicanRequest) allUsers() bool {
	return r.has("admin", "observer", "creator", "audit", "key-manager:service-admin")
}

func (r *barbicanRequest) adminOrCreator() bool { return r.has("admin", "creator") }

// owned is what policies look at: to whom a secret or container belongs.
type owned struct {
	project, creator string
	acl              *barbicanACL
}

// mayRead is secret:get, secret:decrypt and container:get; readers says which roles may read what is not private.
func (o *owned) mayRead(r *barbicanRequest, readers bool) bool {
	mine := r.project == o.project
	return (mine && ((readers && !o.acl.private()) || (r.has("creator") && r.user == o.creator) || r.has("admin"))) || o.acl.names(r.user)
}

// mayDelete is secret:delete.
func (o *owned) mayDelete(r *barbicanRequest) bool {
	return r.project == o.project && (r.has("admin") || (r.has("creator") && (r.user == o.creator || !o.acl.private())))
}

// mayChange is secret_meta:put and container_secret:post.
func (o *owned) mayChange(r *barbicanRequest) bool { return o.mayDelete(r) }

// mayShare is secret_acls:put_patch. The controller of ACLs does not tell the policy that the thing is private, so every
// creator of the project may make it public again: that is how Zed is, and an operator has to know it.
func (o *owned) mayShare(r *barbicanRequest) bool {
	return r.project == o.project && r.adminOrCreator()
}

// barbicanPaging reads limit and offset as clean_paging_values does: nonsense counts as not given, and nothing is an error.
func barbicanPaging(r *barbicanRequest) (offset, limit int) {
	const defaultLimit, maxLimit = 10, 100
	limit = defaultLimit
	query := r.URL.Query()
	if n, err := strconv.Atoi(query.Get("offset")); err == nil {
		offset = max(n, 0)
	}
	if n, err := strconv.Atoi(query.Get("limit")); err == nil {
		limit = min(max(n, 1), maxLimit)
	}
	return offset, limit
}

// page answers with a part of all, under key, with the links that clients follow. path is what the links name.
func (b *Barbican) page(w *reply, r *barbicanRequest, key, path string, all []any) {
	offset, limit := barbicanPaging(r)
	total := len(all)
	part := all[min(offset, total):min(offset+limit, total)]
	out := map[string]any{key: part, "total": total}
	if len(part) == 0 {
		out[key] = []any{}
		w.json(http.StatusOK, out)
		return
	}
	link := func(offset int) string {
		return fmt.Sprintf("%s%s/v1/%s?limit=%d&offset=%d", b.cloud.URL(), pathBarbican, path, limit, offset)
	}
	if offset > 0 {
		out["previous"] = link(max(0, offset-limit))
	}
	if total > offset+limit {
		out["next"] = link(offset + limit)
	}
	w.json(http.StatusOK, out)
}

// overQuota says whether a project may have no more of a kind, and answers if so.
func (b *Barbican) overQuota(w *reply, r *barbicanRequest, kind, operation string, used int) bool {
	quota := b.effectiveQuota(r.project)[kind]
	if quota < 0 || used < quota {
		return false
	}
	barbicanIssue(w, http.StatusForbidden, operation, "Creation not allowed because a quota has been reached")
	return true
}

func countOf[T any](all map[string]T, yes func(T) bool) int {
	n := 0
	for _, v := range all {
		if yes(v) {
			n++
		}
	}
	return n
}
