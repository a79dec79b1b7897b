package openstacksim

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

type barbicanContainer struct {
	owned

	id               string
	name             any // string or null
	kind             string
	created, updated time.Time
	secrets          []containerSecret
	former           map[containerSecret]bool // entries that were taken out: their rows stay in the database
	consumers        []containerConsumer
}

type containerSecret struct {
	name any // string or null
	id   string
}

type containerConsumer struct {
	name, url, project string
	created            time.Time
}

func containerSchema() barbicanSchema {
	return barbicanSchema{name: "Container", required: []string{"type"}, fields: map[string]barbicanField{
		"name":        {types: []string{"string", "null"}, max: 255},
		"type":        {types: []string{"string"}, enum: []string{"generic", "rsa", "certificate"}},
		"secret_refs": {types: []string{"array"}},
	}}
}

func containerSecretSchema() barbicanSchema {
	return barbicanSchema{name: "ContainerSecret", required: []string{"secret_ref"}, fields: map[string]barbicanField{
		"name": shortText(), "secret_ref": {types: []string{"string"}, min: 1},
	}}
}

func (b *Barbican) containerRoute(handle func(*reply, *barbicanRequest, *barbicanContainer)) barbicanHandler {
	return func(w *reply, r *barbicanRequest) {
		id := r.PathValue("container")
		if !isBarbicanID(id) {
			barbicanError(w, http.StatusNotFound, "Not Found. Provided container id is invalid.")
			return
		}
		c := b.containers[id]
		if c == nil {
			barbicanError(w, http.StatusNotFound, "Secrets container not found.")
			return
		}
		handle(w, r, c)
	}
}

func (b *Barbican) createContainer(w *reply, r *barbicanRequest) {
	const operation = "Container creation"
	if !r.adminOrCreator() {
		barbicanRefuse(w, operation)
		return
	}
	data, ok := r.jsonBody(w, containerSchema())
	if !ok {
		return
	}
	refs, ok := b.containerRefs(w, data)
	if !ok || b.overQuota(w, r, "containers", operation, countOf(b.containers, func(c *barbicanContainer) bool { return c.project == r.project })) {
		return
	}
	for _, ref := range refs {
		if s := b.live(ref.id); s == nil || s.project != r.project {
			barbicanError(w, http.StatusNotFound, "Secret provided for "+pyRepr(ref.name)+" doesn't exist.")
			return
		}
	}
	now := b.now()
	c := &barbicanContainer{
		owned: owned{project: r.project, creator: r.user}, id: newUUID(), name: data["name"], kind: jsonText(data, "type"),
		created: now, updated: now, secrets: refs, former: map[containerSecret]bool{},
	}
	b.containers[c.id] = c
	ref := b.ref("containers", c.id)
	w.header.Set("Location", ref)
	w.json(http.StatusCreated, map[string]any{"container_ref": ref})
}

// containerRefs validates secret_refs, or answers what is wrong with them.
func (b *Barbican) containerRefs(w *reply, data map[string]any) ([]containerSecret, bool) {
	list, _ := data["secret_refs"].([]any)
	bad := func(reason string) ([]containerSecret, bool) {
		barbicanMismatch(w, "Container", reason, "secret_refs")
		return nil, false
	}
	var refs []containerSecret
	names, ids := map[any]bool{}, map[string]bool{}
	foreign := false
	for _, e := range list {
		entry, isObject := e.(map[string]any)
		if !isObject {
			return bad(pyRepr(e) + " is not of type 'object'")
		}
		ref := barbicanSchema{required: []string{"secret_ref"}, fields: map[string]barbicanField{
			"name": {types: []string{"string", "null"}, max: 255}, "secret_ref": {types: []string{"string"}, min: 1},
		}}
		if reason, _ := ref.check(entry); reason != "" {
			return bad(reason)
		}
		url := jsonText(entry, "secret_ref")
		foreign = foreign || !strings.HasPrefix(url, b.cloud.URL())
		names[entry["name"]], ids[idOfRef(url)] = true, true
		refs = append(refs, containerSecret{entry["name"], idOfRef(url)})
	}
	switch {
	case len(names) != len(refs):
		return bad("Duplicate reference names are not allowed")
	case len(ids) != len(refs):
		return bad("Duplicate secret ids are not allowed")
	case foreign:
		barbicanError(w, http.StatusBadRequest, "Provided field value is not supported")
		return nil, false
	}
	if reason := namesFit(jsonText(data, "type"), names); reason != "" && len(refs) > 0 {
		return bad(reason)
	}
	return refs, true
}

// namesFit checks the names that rsa and certificate containers want.
func namesFit(kind string, names map[any]bool) string {
	var required, optional []any
	switch kind {
	case "rsa":
		required, optional = []any{"public_key", "private_key"}, []any{"private_key_passphrase"}
	case "certificate":
		required, optional = []any{"certificate"}, []any{"private_key", "private_key_passphrase", "intermediates"}
	default:
		return ""
	}
	for name := range names {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			return "only certain reference names are allowed for the type " + kind
		}
	}
	for _, name := range required {
		if !names[name] {
			return "the minimum required reference names are missing for the type " + kind
		}
	}
	return ""
}

func (b *Barbican) containerBody(c *barbicanContainer) map[string]any {
	refs, consumers := []any{}, []any{}
	// In the order of random ids, as a join without an order gives them: clients must not rely on any.
	for _, s := range slices.SortedFunc(slices.Values(c.secrets), func(x, y containerSecret) int { return cmp.Compare(x.id, y.id) }) {
		refs = append(refs, map[string]any{"name": s.name, "secret_ref": b.ref("secrets", s.id)})
	}
	for _, x := range c.consumers {
		consumers = append(consumers, map[string]any{"name": x.name, "URL": x.url})
	}
	return map[string]any{
		"created": barbicanTime(c.created), "updated": barbicanTime(c.updated), "status": "ACTIVE", "name": c.name, "type": c.kind,
		"creator_id": c.creator, "secret_refs": refs, "consumers": consumers, "container_ref": b.ref("containers", c.id),
	}
}

func (b *Barbican) getContainer(w *reply, r *barbicanRequest, c *barbicanContainer) {
	if !c.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, "Container retrieval")
		return
	}
	w.json(http.StatusOK, b.containerBody(c))
}

func (b *Barbican) listContainers(w *reply, r *barbicanRequest) {
	if !r.allButAudit() {
		barbicanRefuse(w, "Containers(s) retrieval")
		return
	}
	q := r.URL.Query()
	var found []*barbicanContainer
	for _, c := range b.containers {
		if c.project == r.project && likeAny(c.name, q.Get("name")) && (q.Get("type") == "" || q.Get("type") == c.kind) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(x, y *barbicanContainer) int {
		return cmp.Or(x.created.Compare(y.created), cmp.Compare(x.id, y.id))
	})
	all := make([]any, 0, len(found))
	for _, c := range found {
		all = append(all, b.containerBody(c))
	}
	b.page(w, r, "containers", "containers", all)
}

func (b *Barbican) deleteContainer(w *reply, r *barbicanRequest, c *barbicanContainer) {
	if r.project != c.project || (!r.has("admin") && (!r.has("creator") || r.user != c.creator)) {
		barbicanRefuse(w, "Container deletion")
		return
	}
	delete(b.containers, c.id)
	w.noContent(http.StatusNoContent)
}

func (b *Barbican) addContainerSecret(w *reply, r *barbicanRequest, c *barbicanContainer) {
	if !c.mayChange(r) {
		barbicanRefuse(w, "Container Secret creation")
		return
	}
	if c.kind != "generic" {
		barbicanError(w, http.StatusBadRequest, "Only 'generic' containers can be modified.")
		return
	}
	data, ok := r.jsonBody(w, containerSecretSchema())
	if !ok {
		return
	}
	entry := containerSecret{data["name"], idOfRef(jsonText(data, "secret_ref"))}
	if s := b.live(entry.id); s == nil || s.project != r.project {
		barbicanError(w, http.StatusNotFound, "Secret provided doesn't exist.")
		return
	}
	if slices.Contains(c.secrets, entry) {
		barbicanError(w, http.StatusConflict, "Conflict. A secret with that name and ID is already stored in this container. "+
			"The same secret can exist in a container as long as the name is unique.")
		return
	}
	if c.former[entry] && entry.name != nil { // a unique constraint of the database, which no code expects (barbican/model/models.py)
		barbicanError(w, http.StatusInternalServerError, "Container Secret creation failure seen - please contact site administrator.")
		return
	}
	c.secrets = append(c.secrets, entry)
	ref := b.ref("containers", c.id)
	w.header.Set("Location", ref)
	w.json(http.StatusCreated, map[string]any{"container_ref": ref})
}

func (b *Barbican) removeContainerSecret(w *reply, r *barbicanRequest, c *barbicanContainer) {
	if !c.mayChange(r) {
		barbicanRefuse(w, "Container Secret deletion")
		return
	}
	data, ok := r.jsonBody(w, containerSecretSchema())
	if !ok {
		return
	}
	url := jsonText(data, "secret_ref")
	entry := containerSecret{data["name"], idOfRef(url)}
	if s := b.live(entry.id); s == nil || s.project != r.project {
		barbicanError(w, http.StatusNotFound, "Secret "+pyRepr(entry.name)+" with reference '"+url+"' doesn't exist.")
		return
	}
	if !slices.Contains(c.secrets, entry) {
		barbicanError(w, http.StatusNotFound, "Secret provided is not in the container")
		return
	}
	c.secrets = slices.DeleteFunc(c.secrets, func(s containerSecret) bool { return s == entry })
	c.former[entry] = true
	w.noContent(http.StatusNoContent)
}

// barbicanACL is what was set for the operation read; nil means nothing was.
type barbicanACL struct {
	projectAccess    bool
	users            []string
	created, updated time.Time
}

func (a *barbicanACL) private() bool { return a != nil && !a.projectAccess }

func (a *barbicanACL) names(user string) bool { return a != nil && slices.Contains(a.users, user) }

func (a *barbicanACL) body() map[string]any {
	if a == nil {
		return map[string]any{"read": map[string]any{"project-access": true}}
	}
	users := a.users
	if users == nil {
		users = []string{}
	}
	return map[string]any{"read": map[string]any{
		"project-access": a.projectAccess, "users": users, "created": barbicanTime(a.created), "updated": barbicanTime(a.updated),
	}}
}

func getACL(w *reply, r *barbicanRequest, o *owned, operation string) {
	if !r.allButAudit() || r.project != o.project {
		barbicanRefuse(w, operation+" retrieval")
		return
	}
	w.json(http.StatusOK, o.acl.body())
}

// setACL is PUT, which replaces, and PATCH, which leaves what the body does not say.
func (b *Barbican) setACL(w *reply, r *barbicanRequest, o *owned, operation, ref string) {
	if !o.mayShare(r) {
		barbicanRefuse(w, operation+" Update")
		return
	}
	data, ok := r.jsonBody(w, barbicanSchema{name: "ACL", closed: true, fields: map[string]barbicanField{"read": {types: []string{"object"}}}})
	if !ok {
		return
	}
	read, given := data["read"].(map[string]any)
	rules := barbicanSchema{closed: true, fields: map[string]barbicanField{"users": {types: []string{"array"}}, "project-access": {types: []string{"boolean"}}}}
	if reason, _ := rules.check(read); reason != "" {
		barbicanMismatch(w, "ACL", reason, "read")
		return
	}
	if len(read) == 0 {
		given = false // the controller skips what is empty
	}
	now := b.now()
	next := &barbicanACL{projectAccess: true, created: now, updated: now}
	if o.acl != nil {
		next.created = o.acl.created
		if r.Method == http.MethodPatch {
			next.projectAccess, next.users = o.acl.projectAccess, o.acl.users
		}
	}
	if access, ok := read["project-access"].(bool); ok {
		next.projectAccess = access
	}
	if users, ok := read["users"].([]any); ok {
		next.users = nil
		for _, u := range users {
			if id, ok := u.(string); ok {
				next.users = append(next.users, id)
			}
		}
	}
	switch {
	case given:
		o.acl = next
	case r.Method == http.MethodPut:
		o.acl = nil
	}
	w.json(http.StatusOK, map[string]any{"acl_ref": ref + "/acl"})
}

func deleteACL(w *reply, r *barbicanRequest, o *owned, operation string) {
	if !o.mayShare(r) {
		barbicanRefuse(w, operation+" deletion")
		return
	}
	o.acl = nil
	w.json(http.StatusOK, nil)
}

func (b *Barbican) getSecretACL(w *reply, r *barbicanRequest, s *barbicanSecret) {
	getACL(w, r, &s.owned, "SecretACL(s)")
}

func (b *Barbican) setSecretACL(w *reply, r *barbicanRequest, s *barbicanSecret) {
	b.setACL(w, r, &s.owned, "SecretACL(s)", b.ref("secrets", s.id))
}

func (b *Barbican) deleteSecretACL(w *reply, r *barbicanRequest, s *barbicanSecret) {
	deleteACL(w, r, &s.owned, "SecretACL(s)")
}

func (b *Barbican) getContainerACL(w *reply, r *barbicanRequest, c *barbicanContainer) {
	getACL(w, r, &c.owned, "ContainerACL(s)")
}

func (b *Barbican) setContainerACL(w *reply, r *barbicanRequest, c *barbicanContainer) {
	b.setACL(w, r, &c.owned, "ContainerACL(s)", b.ref("containers", c.id))
}

func (b *Barbican) deleteContainerACL(w *reply, r *barbicanRequest, c *barbicanContainer) {
	deleteACL(w, r, &c.owned, "ContainerACL(s)")
}

// Consumers of a container.

func (b *Barbican) listContainerConsumers(w *reply, r *barbicanRequest, c *barbicanContainer) {
	if !c.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, "ContainerConsumers(s) retrieval")
		return
	}
	all := make([]any, 0, len(c.consumers))
	for _, x := range c.consumers {
		at := barbicanTime(x.created)
		all = append(all, map[string]any{"created": at, "updated": at, "status": "ACTIVE", "name": x.name, "URL": x.url})
	}
	b.page(w, r, "consumers", "containers/"+c.id+"/consumers", all)
}

func containerConsumerSchema() barbicanSchema {
	return barbicanSchema{name: "Consumer", required: []string{"name", "URL"}, fields: map[string]barbicanField{
		"URL": {types: []string{"string"}, max: 255, min: 1}, "name": {types: []string{"string"}, max: 36, min: 1},
	}}
}

func (b *Barbican) addContainerConsumer(w *reply, r *barbicanRequest, c *barbicanContainer) {
	const operation = "ContainerConsumer creation"
	if !c.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, operation)
		return
	}
	data, ok := r.jsonBody(w, containerConsumerSchema())
	if !ok || b.overQuota(w, r, "consumers", operation, b.countConsumers(r.project)) {
		return
	}
	added := containerConsumer{name: jsonText(data, "name"), url: jsonText(data, "URL"), project: r.project, created: b.now()}
	if !slices.ContainsFunc(c.consumers, func(x containerConsumer) bool { return x.name == added.name && x.url == added.url }) {
		c.consumers = append(c.consumers, added)
		c.updated = b.now()
	}
	w.header.Set("Location", b.ref("consumers", c.id)+"/consumers") // as Barbican has it, though nothing is there
	w.json(http.StatusOK, b.containerBody(c))
}

func (b *Barbican) deleteContainerConsumer(w *reply, r *barbicanRequest, c *barbicanContainer) {
	if !c.mayRead(r, r.allUsers()) {
		barbicanRefuse(w, "ContainerConsumer deletion")
		return
	}
	data, ok := r.jsonBody(w, containerConsumerSchema())
	if !ok {
		return
	}
	i := slices.IndexFunc(c.consumers, func(x containerConsumer) bool {
		return x.name == jsonText(data, "name") && x.url == jsonText(data, "URL")
	})
	if i < 0 {
		barbicanError(w, http.StatusNotFound, "Consumer not found.")
		return
	}
	if c.consumers[i].project != r.project && c.project != r.project {
		barbicanError(w, http.StatusForbidden, "Not Allowed. Sorry, only the creator of a consumer can delete it.")
		return
	}
	c.consumers = slices.Delete(c.consumers, i, i+1)
	w.json(http.StatusOK, b.containerBody(c))
}

func (b *Barbican) countConsumers(project string) int {
	n := 0
	for c := range maps.Values(b.containers) {
		for _, x := range c.consumers {
			if x.project == project {
				n++
			}
		}
	}
	for s := range maps.Values(b.secrets) {
		for _, x := range s.consumers {
			if x.project == project {
				n++
			}
		}
	}
	return n
}
