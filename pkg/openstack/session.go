package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// ServiceType is a type of the OpenStack Service Types Authority.
type ServiceType string

// The services that are used.
const (
	Identity         ServiceType = "identity"
	SharedFileSystem ServiceType = "shared-file-system"
	KeyManager       ServiceType = "key-manager"
	DNS              ServiceType = "dns"
	Network          ServiceType = "network"
	LoadBalancer     ServiceType = "load-balancer"
)

// catalogTypes are a service's names in catalogs, the best first. "share" is no alias: in a catalog it is Manila's version 1.
func (t ServiceType) catalogTypes() []string {
	if t == SharedFileSystem {
		return []string{"shared-file-system", "sharev2"}
	}
	return []string{string(t)}
}

// version is the path element of the API version that clients of the service work with.
func (t ServiceType) version() string {
	switch t {
	case SharedFileSystem, DNS:
		return "v2"
	case KeyManager:
		return "v1"
	case Network, LoadBalancer:
		return "v2.0"
	default:
		return "v3"
	}
}

// isVersion says whether a path element is that version: Octavia serves v2.0 as v2, too, and catalogs have either.
func (t ServiceType) isVersion(element string) bool {
	return element == t.version() || element+".0" == t.version()
}

const (
	// refusalHold is how long a refused login is not tried again, so that a wrong password does not lock the account.
	refusalHold = 10 * time.Second
	// renewBefore is how long before its end a token is renewed, at most a tenth of its life.
	renewBefore = 5 * time.Minute
	// refusals is how many tokens services may refuse at once before further ones make no new login; each refusalHold there
	// may be one more. A service that refuses every token (its own trouble with Keystone) must not make a login of each call.
	refusals = 5
)

// Session is one login at one cloud: a token, a catalog and connections, shared by all who use the credential. Its methods
// are safe for concurrent use.
type Session struct {
	credential Credential
	options    *Options
	life       context.Context // the pool's
	base       *http.Transport
	keystone   *http.Transport // for logins
	broken     error           // the credential's TLS settings can't be used

	logins   singleflight.Group
	relogins *rate.Limiter // how often refused tokens make a login
	looks    singleflight.Group

	mu       sync.Mutex
	token    *token
	refused  error // the last login was refused, …
	until    time.Time
	limiters map[ServiceType]*rate.Limiter
	versions map[ServiceType]MicroversionRange
}

// token is what Keystone gave us at a login. It is not changed afterwards.
type token struct {
	id              string
	issued, expires time.Time
	dated           time.Time // Keystone's clock when the token was issued by ours; zero: it told none
	catalog         []tokens.CatalogEntry
	user, project   string
}

// Owner is whom a session acts for.
type Owner struct{ UserID, ProjectID string }

func newSession(life context.Context, c Credential, o *Options) *Session {
	s := &Session{
		credential: c, options: o, life: life, relogins: rate.NewLimiter(rate.Every(refusalHold), refusals),
		limiters: map[ServiceType]*rate.Limiter{}, versions: map[ServiceType]MicroversionRange{},
	}
	s.base, s.broken = baseTransport(&c)
	// Many clouds have all services behind one address. With connections of their own, logins do not queue behind stalled calls.
	if s.keystone, _ = baseTransport(&c); s.keystone != nil {
		s.keystone.DisableKeepAlives = true // nor behind one that died without a word: they are rare
	}
	return s
}

func (s *Session) close() {
	if s.broken == nil {
		s.base.CloseIdleConnections()
		s.keystone.CloseIdleConnections()
	}
}

// Login gets a token if there is none. Its error says what to mend.
func (s *Session) Login(ctx context.Context) error {
	_, err := s.currentToken(ctx)
	return err
}

// Owner returns the user and the project of the token.
func (s *Session) Owner(ctx context.Context) (Owner, error) {
	t, err := s.currentToken(ctx)
	if err != nil {
		return Owner{}, err
	}
	return Owner{UserID: t.user, ProjectID: t.project}, nil
}

// Clock is the time by Keystone's clock, as its last login told it: the best there is for services that do not tell theirs. It makes no call; false means that there was no login yet, or that it told none.
func (s *Session) Clock() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == nil || s.token.dated.IsZero() {
		return time.Time{}, false
	}
	return s.token.dated.Add(time.Since(s.token.issued)), true
}

// Client returns a client of a service; it is the caller's own, so that its Microversion can be set. The first call of a
// session logs in. The error is ErrNoService when the catalog does not have the service.
func (s *Session) Client(ctx context.Context, t ServiceType) (*gophercloud.ServiceClient, error) {
	tok, err := s.currentToken(ctx)
	if err != nil {
		return nil, err
	}
	endpoint, err := s.endpoint(tok, t)
	if err != nil {
		return nil, err
	}
	provider := &gophercloud.ProviderClient{HTTPClient: http.Client{Transport: s.transport(t, endpoint), CheckRedirect: followRedirect}}
	provider.UserAgent.Prepend(s.options.UserAgent)
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: endpoint.String(), Type: t.catalogTypes()[len(t.catalogTypes())-1]}, nil
}

func (s *Session) transport(t ServiceType, endpoint *url.URL) *serviceTransport {
	return &serviceTransport{
		service: t, endpoint: endpoint, token: s.currentToken, reject: s.reject, limiter: s.limiter(t), policy: defaultRetryPolicy(),
		metrics: s.options.Metrics, logger: s.options.Logger, base: s.base,
	}
}

func (s *Session) limiter(t ServiceType) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limiters[t]
	if l == nil {
		l = rate.NewLimiter(s.options.Rate, s.options.Burst)
		s.limiters[t] = l
	}
	return l
}

// endpoint finds a service in the catalog. Catalogs have URLs with and without the version, with and without a final slash.
func (s *Session) endpoint(tok *token, t ServiceType) (*url.URL, error) {
	wanted := s.credential.Interface
	if wanted == "" {
		wanted = "public"
	}
	for _, name := range t.catalogTypes() {
		for _, entry := range tok.catalog {
			if entry.Type != name {
				continue
			}
			for _, e := range entry.Endpoints {
				region := s.credential.Region
				if e.Interface == wanted && (region == "" || e.Region == region || e.RegionID == region) {
					return versioned(e.URL, t)
				}
			}
		}
	}
	return nil, s.noService(tok, t, wanted)
}

func versioned(raw string, t ServiceType) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || !usable(u) {
		return nil, fmt.Errorf("%w: the catalog's URL of %s, %q, is no http or https URL", ErrNoService, t, raw)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if !slices.ContainsFunc(strings.Split(u.Path, "/"), t.isVersion) {
		u.Path += "/" + t.version()
	}
	u.Path += "/"
	return u, nil
}

// usable says whether a URL can be called at all.
func usable(u *url.URL) bool {
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return false
	}
	_, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil || u.Port() == ""
}

func (s *Session) noService(tok *token, t ServiceType, wanted string) error {
	var has []string
	for _, e := range tok.catalog {
		if len(e.Endpoints) > 0 {
			has = append(has, e.Type)
		}
	}
	slices.Sort(has)
	where := ""
	if s.credential.Region != "" {
		where = " in region " + s.credential.Region
	}
	return fmt.Errorf("%w: %s offers no %s service (%s) on its %s interface%s; it has: %s", ErrNoService, s.credential.Origin, t,
		strings.Join(t.catalogTypes(), " or "), wanted, where, strings.Join(slices.Compact(has), ", "))
}

// currentToken returns the session's token, after a login if there is none. One that ends soon is renewed in the background: a
// Keystone that is away keeps nobody waiting who has a token. Everybody who needs a new one waits for the same login, each no
// longer than its own context allows; the login itself goes on.
func (s *Session) currentToken(ctx context.Context) (*token, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	old, renew, err := s.held(time.Now())
	if !renew {
		return old, err
	}
	result := s.logins.DoChan("", func() (any, error) { return s.login() }) //nolint:contextcheck // many callers wait for it: it lives longer than each of them
	if old != nil {
		return old, nil
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a login at %s: %w", s.credential.AuthURL, ctx.Err())
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		t, ok := r.Val.(*token)
		if !ok {
			return nil, errors.New("openstack: a login returned no token")
		}
		return t, nil
	}
}

// held returns the token that still works, if there is one, and whether it is time for a new one. There is none to be had while
// a login that was refused is held back: without a token, that refusal is the error.
func (s *Session) held(now time.Time) (t *token, renew bool, refused error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != nil && now.Before(s.token.expires) {
		t = s.token
	}
	if !now.After(s.until) {
		refused = s.refused
	}
	switch {
	case t == nil:
		return nil, refused == nil, refused
	case refused != nil:
		return t, false, nil
	default:
		return t, t.endsSoon(now), nil
	}
}

// reject forgets a token that a service refused; a newer one stays. It says whether the call may be tried with another.
func (s *Session) reject(t *token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != t {
		return true
	}
	if !s.relogins.Allow() {
		return false
	}
	s.token = nil
	return true
}

func (t *token) endsSoon(now time.Time) bool {
	return now.After(t.expires.Add(-min(renewBefore, t.expires.Sub(t.issued)/10)))
}

// result is what gophercloud's two ways to a token have in common.
type result interface {
	ExtractToken() (*tokens.Token, error)
	ExtractServiceCatalog() (*tokens.ServiceCatalog, error)
	ExtractUser() (*tokens.User, error)
	ExtractProject() (*tokens.Project, error)
	ExtractInto(v any) error
}

func extract(r result, header http.Header, known string) (*token, error) {
	t, err := r.ExtractToken()
	if err != nil {
		return nil, Wrap(err)
	}
	catalog, catalogErr := r.ExtractServiceCatalog()
	user, userErr := r.ExtractUser()
	project, projectErr := r.ExtractProject()
	if err := errors.Join(catalogErr, userErr, projectErr); err != nil {
		return nil, Wrap(err)
	}
	now := time.Now()
	dated := clock(r, header, known == "")
	out := &token{id: t.ID, issued: now, dated: dated, expires: ends(t.ExpiresAt, dated, now), catalog: catalog.Entries}
	if known != "" {
		out.id = known
	}
	if user != nil {
		out.user = user.ID
	}
	if project != nil {
		out.project = project.ID
	}
	if out.id == "" || len(out.catalog) == 0 {
		return nil, &Error{Class: ErrInvalid, Operation: "login", Message: "Keystone's answer has no token or no catalog: is the login scoped to a project?"}
	}
	return out, nil
}

// clock is Keystone's clock when it answered, by the date of its answer or else (some servers set none) by what a new token says of
// its birth; zero: neither tells.
func clock(r result, header http.Header, isNew bool) time.Time {
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		return date
	}
	var body struct {
		IssuedAt time.Time `json:"issued_at"`
	}
	if err := r.ExtractInto(&body); err != nil || !isNew {
		return time.Time{}
	}
	return body.IssuedAt
}

// ends is when a token ends by our clock. Keystone's may differ; what it told tells by how much. A new token that
// has ended already says that a clock is wrong, not that it does not work: it is kept for a minute, and a service that
// refuses it makes us log in again.
func ends(expires, dated, now time.Time) time.Time {
	const (
		tolerance = 2 * time.Second // the date has whole seconds, and the answer took a while
		unknown   = time.Minute
	)
	if ahead := now.Sub(dated); !dated.IsZero() && ahead.Abs() > tolerance {
		expires = expires.Add(ahead)
	}
	if !expires.After(now) {
		return now.Add(unknown)
	}
	return expires
}

// loginError says what a failed login means to the one who wrote the credential.
func (s *Session) loginError(err error) error {
	what := "logging in at " + s.credential.AuthURL + " with " + s.credential.Origin
	switch {
	case errors.Is(err, ErrUnauthorized) && s.credential.ApplicationCredentialSecret != "":
		return fmt.Errorf("%s: the application credential is refused: its id or secret is wrong, or it has expired or was deleted: %w", what, err)
	case errors.Is(err, ErrUnauthorized) && s.credential.Token != "":
		return fmt.Errorf("%s: the token is refused: it has expired or was revoked: %w", what, err)
	case errors.Is(err, ErrUnauthorized):
		return fmt.Errorf("%s: the user, password or project is refused: %w", what, err)
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%s: there is no Keystone at this auth_url: %w", what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}
