package openstacksim

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Region is the only region of a simulated cloud.
const Region = "RegionOne"

// domainID and domainName are the only domain.
const (
	domainID   = "default"
	domainName = "Default"
)

// Keystone is the simulated identity service, version 3: password, token, application credential and trust logins, project
// scope, token expiry, the catalog.
type Keystone struct {
	cloud *Cloud
	ttl   time.Duration

	mu          sync.Mutex
	users       map[string]*user    // by id
	projects    map[string]*project // by id
	credentials map[string]*applicationCredential
	trusts      map[string]*trust
	tokens      map[string]*token
	hidden      map[string]bool // service types that the catalog leaves out
}

type user struct {
	id, name, password string
	disabled           bool
	roles              map[string][]string // by project id
}

type project struct{ id, name string }

type applicationCredential struct {
	id, name, secret, user, project string
	roles                           []string
	expires                         time.Time // zero: never
}

type trust struct {
	id, trustor, trustee, project string
	roles                         []string
}

type token struct {
	id, user, project, method string
	login                     string // the name of the user or application credential
	roles                     []string
	issued, expires           time.Time
}

// Credential is what a test needs to log in as somebody.
type Credential struct {
	UserID, UserName, Password             string
	ProjectID, ProjectName                 string
	ApplicationCredentialID, AppCredential string // id and secret; only from AddApplicationCredential
}

func newKeystone(c *Cloud, ttl time.Duration) *Keystone {
	k := &Keystone{
		cloud: c, ttl: ttl, users: map[string]*user{}, projects: map[string]*project{}, credentials: map[string]*applicationCredential{},
		trusts: map[string]*trust{}, tokens: map[string]*token{}, hidden: map[string]bool{},
	}
	// One tenant, a second one to show isolation, one whose quotas are tiny, one whose secrets go to the HSM, and the operator.
	for _, name := range []string{"demo", "other", "quota", "hsm"} {
		k.AddUser(name, name+"-password", name, "member", "reader", "creator")
	}
	k.AddUser("admin", "admin-password", "admin", "admin", "member", "reader")
	k.AddApplicationCredential("appcred", "demo", "demo", time.Time{})
	return k
}

// AddUser makes a user, and the project where it isn't there yet, and gives the roles to the user on it. A user that is
// there gets the roles in addition, and the password.
func (k *Keystone) AddUser(name, password, projectName string, roles ...string) Credential {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.projectByName(projectName)
	if p == nil {
		p = &project{newID(), projectName}
		k.projects[p.id] = p
	}
	u := k.userByName(name)
	if u == nil {
		u = &user{id: newID(), name: name, roles: map[string][]string{}}
		k.users[u.id] = u
	}
	u.password = password
	u.roles[p.id] = append(u.roles[p.id], roles...)
	return Credential{UserID: u.id, UserName: u.name, Password: u.password, ProjectID: p.id, ProjectName: p.name}
}

// AddApplicationCredential makes an application credential of a user on a project, with the user's roles there. It never
// expires when expires is zero. It panics when there is no such user or project.
func (k *Keystone) AddApplicationCredential(name, userName, projectName string, expires time.Time) Credential {
	k.mu.Lock()
	defer k.mu.Unlock()
	u, p := k.userByName(userName), k.projectByName(projectName)
	if u == nil || p == nil {
		panic("openstacksim: no user " + userName + " or no project " + projectName)
	}
	a := &applicationCredential{
		id: newID(), name: name, secret: newID(), user: u.id, project: p.id, roles: slices.Clone(u.roles[p.id]), expires: expires,
	}
	k.credentials[a.id] = a
	return Credential{UserID: u.id, UserName: u.name, ProjectID: p.id, ProjectName: p.name, ApplicationCredentialID: a.id, AppCredential: a.secret}
}

// AddTrust lets trustee act as trustor on a project with the trustor's roles, and returns the trust's id. It panics when
// there is no such user or project.
func (k *Keystone) AddTrust(trustor, trustee, projectName string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	from, to, p := k.userByName(trustor), k.userByName(trustee), k.projectByName(projectName)
	if from == nil || to == nil || p == nil {
		panic("openstacksim: no user " + trustor + " or " + trustee + ", or no project " + projectName)
	}
	t := &trust{newID(), from.id, to.id, p.id, slices.Clone(from.roles[p.id])}
	k.trusts[t.id] = t
	return t.id
}

// User returns how to log in as a user on a project. It panics when there is no such user or project.
func (k *Keystone) User(name, projectName string) Credential {
	k.mu.Lock()
	defer k.mu.Unlock()
	u, p := k.userByName(name), k.projectByName(projectName)
	if u == nil || p == nil {
		panic("openstacksim: no user " + name + " or no project " + projectName)
	}
	return Credential{UserID: u.id, UserName: u.name, Password: u.password, ProjectID: p.id, ProjectName: p.name}
}

// DisableUser makes every further login of a user fail; tokens that it has go on, as with the real Keystone's cache.
func (k *Keystone) DisableUser(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u := k.userByName(name); u != nil {
		u.disabled = true
	}
}

// HideService leaves a service type out of the catalog of all further tokens.
func (k *Keystone) HideService(serviceType string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hidden[serviceType] = true
}

func (k *Keystone) hides(serviceType string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hidden[serviceType]
}

// RevokeTokens makes every token that was given out invalid: the next call with one gets a 401.
func (k *Keystone) RevokeTokens() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.tokens)
}

// Secrets returns every password, application credential secret and valid token: what must not be in any log.
func (k *Keystone) Secrets() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, u := range k.users {
		out = append(out, u.password)
	}
	for _, a := range k.credentials {
		out = append(out, a.secret)
	}
	for id := range k.tokens {
		out = append(out, id)
	}
	return out
}

func (k *Keystone) userByName(name string) *user {
	for _, u := range k.users {
		if u.name == name {
			return u
		}
	}
	return nil
}

func (k *Keystone) projectByName(name string) *project {
	for _, p := range k.projects {
		if p.name == name {
			return p
		}
	}
	return nil
}

// projectName is the name of a project, for services whose defaults depend on it (the tiny quotas of "quota").
func (k *Keystone) projectName(id string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.projects[id]; p != nil {
		return p.name
	}
	return ""
}

// authenticate checks X-Auth-Token as keystonemiddleware does, and says who r is from. It answers with a 401 otherwise.
func (k *Keystone) authenticate(w *reply, r *request) bool {
	k.mu.Lock()
	t := k.valid(r.Header.Get("X-Auth-Token"))
	k.mu.Unlock()
	if t == nil {
		w.header.Set("WWW-Authenticate", "Keystone uri=\""+k.cloud.AuthURL()+"\"")
		keystoneError(w, http.StatusUnauthorized, "The request you have made requires authentication.")
		return false
	}
	r.user, r.project, r.roles = t.user, t.project, t.roles
	return true
}

func (k *Keystone) valid(id string) *token {
	if t := k.tokens[id]; t != nil && k.cloud.now().Before(t.expires) {
		return t
	}
	return nil
}

func keystoneError(w *reply, status int, message string) {
	w.json(status, map[string]any{"error": map[string]any{"code": status, "message": message, "title": http.StatusText(status)}})
}

func (k *Keystone) routes() []route {
	return []route{
		{"GET /{$}", k.versions, true},
		{"GET /v3", k.version, true},
		{"GET /v3/{$}", k.version, true},
		{"POST /v3/auth/tokens", k.createToken, true},
		{"GET /v3/auth/tokens", k.getToken, false},
		{"DELETE /v3/auth/tokens", k.deleteToken, false},
		{"GET /v3/auth/catalog", k.getCatalog, false},
		{"GET /v3/auth/projects", k.listProjects, false},
		{"GET /v3/users/{user}/application_credentials", k.listApplicationCredentials, false},
	}
}

func (k *Keystone) versionDocument() map[string]any {
	return map[string]any{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []any{map[string]any{"rel": "self", "href": k.cloud.AuthURL() + "/"}},
		"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

func (k *Keystone) versions(w *reply, _ *request) {
	w.json(http.StatusMultipleChoices, map[string]any{"versions": map[string]any{"values": []any{k.versionDocument()}}})
}

func (k *Keystone) version(w *reply, _ *request) {
	w.json(http.StatusOK, map[string]any{"version": k.versionDocument()})
}

// reference is how Keystone's bodies name a user, project or domain: by id, or by name in a domain.
type reference struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Password string     `json:"password"`
	Domain   *reference `json:"domain"`
}

type authRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User reference `json:"user"`
			} `json:"password"`
			Token struct {
				ID string `json:"id"`
			} `json:"token"`
			ApplicationCredential struct {
				ID     string     `json:"id"`
				Name   string     `json:"name"`
				Secret string     `json:"secret"`
				User   *reference `json:"user"`
			} `json:"application_credential"`
		} `json:"identity"`
		Scope struct {
			Project *reference `json:"project"`
			Trust   *struct {
				ID string `json:"id"`
			} `json:"OS-TRUST:trust"`
		} `json:"scope"`
	} `json:"auth"`
}

const unauthorized = "The request you have made requires authentication."

func (k *Keystone) createToken(w *reply, r *request) {
	var body authRequest
	if err := r.decode(&body); err != nil {
		keystoneError(w, http.StatusBadRequest, "Expecting to find auth in request body. "+err.Error())
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.login(&body)
	if t == nil {
		keystoneError(w, http.StatusUnauthorized, unauthorized)
		return
	}
	now := k.cloud.now()
	t.id, t.issued, t.expires = "gAAAAA"+newID()+newID(), now, now.Add(k.ttl)
	k.tokens[t.id] = t
	r.login = t.login
	w.header.Set("X-Subject-Token", t.id)
	w.json(http.StatusCreated, map[string]any{"token": k.tokenBody(t)})
}

// login finds out who logs in and on what; nil means no. Keystone does not tell its callers why, and neither does this.
func (k *Keystone) login(body *authRequest) *token {
	if len(body.Auth.Identity.Methods) != 1 {
		return nil
	}
	method := body.Auth.Identity.Methods[0]
	if method == "application_credential" {
		return k.loginApplicationCredential(body)
	}
	u := k.identify(method, body)
	if u == nil || u.disabled {
		return nil
	}
	if t := body.Auth.Scope.Trust; t != nil {
		found := k.trusts[t.ID]
		if found == nil || found.trustee != u.id {
			return nil
		}
		return &token{user: found.trustor, project: found.project, method: method, roles: found.roles, login: u.name}
	}
	if body.Auth.Scope.Project == nil {
		return &token{user: u.id, method: method, login: u.name} // unscoped: no catalog, no roles
	}
	p := k.findProject(body.Auth.Scope.Project)
	if p == nil || len(u.roles[p.id]) == 0 {
		return nil
	}
	return &token{user: u.id, project: p.id, method: method, roles: u.roles[p.id], login: u.name}
}

func (k *Keystone) identify(method string, body *authRequest) *user {
	switch method {
	case "password":
		u := k.findUser(&body.Auth.Identity.Password.User)
		if u != nil && subtle.ConstantTimeCompare([]byte(u.password), []byte(body.Auth.Identity.Password.User.Password)) == 1 {
			return u
		}
	case "token":
		if t := k.valid(body.Auth.Identity.Token.ID); t != nil {
			return k.users[t.user]
		}
	}
	return nil
}

func (k *Keystone) loginApplicationCredential(body *authRequest) *token {
	in := body.Auth.Identity.ApplicationCredential
	a := k.credentials[in.ID]
	if in.ID == "" && in.User != nil {
		u := k.findUser(in.User)
		for _, c := range k.credentials {
			if u != nil && c.user == u.id && c.name == in.Name {
				a = c
			}
		}
	}
	// An application credential carries its scope: asking for another one is refused.
	if a == nil || a.secret != in.Secret || k.users[a.user].disabled || body.Auth.Scope.Project != nil || body.Auth.Scope.Trust != nil ||
		(!a.expires.IsZero() && !k.cloud.now().Before(a.expires)) {
		return nil
	}
	return &token{user: a.user, project: a.project, method: "application_credential", roles: a.roles, login: a.name}
}

func (ref *reference) inDomain() bool {
	return ref.Domain != nil && (ref.Domain.ID == domainID || strings.EqualFold(ref.Domain.Name, domainName))
}

func (k *Keystone) findUser(ref *reference) *user {
	if ref.ID != "" {
		return k.users[ref.ID]
	}
	if !ref.inDomain() {
		return nil
	}
	return k.userByName(ref.Name)
}

func (k *Keystone) findProject(ref *reference) *project {
	if ref.ID != "" {
		return k.projects[ref.ID]
	}
	if !ref.inDomain() {
		return nil
	}
	return k.projectByName(ref.Name)
}

func (k *Keystone) tokenBody(t *token) map[string]any {
	domain := map[string]any{"id": domainID, "name": domainName}
	out := map[string]any{
		"methods": []string{t.method}, "issued_at": t.issued.UTC().Format("2006-01-02T15:04:05.000000Z"),
		"expires_at": t.expires.UTC().Format("2006-01-02T15:04:05.000000Z"), "audit_ids": []string{newID()[:22]},
		"user": map[string]any{"id": t.user, "name": k.users[t.user].name, "domain": domain, "password_expires_at": nil},
	}
	if p := k.projects[t.project]; p != nil {
		roles := []any{}
		for _, name := range t.roles {
			roles = append(roles, map[string]any{"id": "role-" + name, "name": name})
		}
		out["project"] = map[string]any{"id": p.id, "name": p.name, "domain": domain}
		out["is_domain"], out["roles"], out["catalog"] = false, roles, k.catalog()
	}
	return out
}

func (k *Keystone) catalog() []any {
	out := []any{}
	for _, s := range []struct{ kind, name, path string }{
		{"identity", "keystone", pathKeystone},
		{"sharev2", "manilav2", pathManila + "/v2"},
		{"key-manager", "barbican", pathBarbican},
		{"dns", "designate", pathDesignate},
		{"network", "neutron", pathNeutron},
		{"load-balancer", "octavia", pathOctavia},
	} {
		if k.hidden[s.kind] {
			continue
		}
		endpoints := []any{}
		for _, i := range []string{"public", "internal", "admin"} {
			endpoints = append(endpoints, map[string]any{"id": s.name + "-" + i, "interface": i, "region": Region, "region_id": Region, "url": k.cloud.URL() + s.path})
		}
		out = append(out, map[string]any{"id": s.name, "type": s.kind, "name": s.name, "endpoints": endpoints})
	}
	return out
}

// subject is the token that X-Subject-Token names: one's own, or anybody's for an admin.
func (k *Keystone) subject(w *reply, r *request) *token {
	t := k.valid(r.Header.Get("X-Subject-Token"))
	if t == nil || (t.user != r.user && !r.admin()) {
		keystoneError(w, http.StatusNotFound, "Could not find token.")
		return nil
	}
	return t
}

func (k *Keystone) getToken(w *reply, r *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.subject(w, r); t != nil {
		w.header.Set("X-Subject-Token", t.id)
		w.json(http.StatusOK, map[string]any{"token": k.tokenBody(t)})
	}
}

func (k *Keystone) deleteToken(w *reply, r *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.subject(w, r); t != nil {
		delete(k.tokens, t.id)
		w.noContent(http.StatusNoContent)
	}
}

func (k *Keystone) getCatalog(w *reply, _ *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w.json(http.StatusOK, map[string]any{"catalog": k.catalog(), "links": map[string]any{"self": k.cloud.AuthURL() + "/auth/catalog", "next": nil, "previous": nil}})
}

func (k *Keystone) listProjects(w *reply, r *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := []any{}
	for id := range k.users[r.user].roles {
		out = append(out, map[string]any{"id": id, "name": k.projects[id].name, "domain_id": domainID, "enabled": true})
	}
	w.json(http.StatusOK, map[string]any{"projects": out, "links": map[string]any{"self": k.cloud.AuthURL() + "/auth/projects", "next": nil, "previous": nil}})
}

func (k *Keystone) listApplicationCredentials(w *reply, r *request) {
	if r.PathValue("user") != r.user {
		keystoneError(w, http.StatusForbidden, "You are not authorized to perform the requested action: identity:list_application_credentials.")
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	out := []any{}
	for _, a := range k.credentials {
		if a.user == r.user {
			out = append(out, map[string]any{"id": a.id, "name": a.name, "project_id": a.project, "expires_at": nil, "unrestricted": false})
		}
	}
	w.json(http.StatusOK, map[string]any{"application_credentials": out})
}
