package openstack

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
)

// Credential is one way to log in to one cloud. Exactly one of the ways is set: a password, an application credential, or
// a token; a trust is a password or a token together with TrustID.
type Credential struct {
	// Origin says where the credential came from, for error messages: `cloud "demo" of /etc/openstack/clouds.yaml`. It is
	// not part of the identity.
	Origin string

	AuthURL   string // with its version: https://keystone.example.org/v3
	Region    string // empty: the only one of the catalog
	Interface string // public, internal or admin; empty: public

	UserID, Username, Password    string
	UserDomainID, UserDomainName  string
	ProjectID, ProjectName        string
	ProjectDomainID               string
	ProjectDomainName             string
	ApplicationCredentialID       string
	ApplicationCredentialName     string
	ApplicationCredentialSecret   string
	Token                         string
	TrustID                       string
	CACert, ClientCert, ClientKey []byte // PEM
	Insecure                      bool   // do not verify the server's certificate
}

// Key identifies a credential: SHA-256 over every field but Origin. Credentials with one key share a session.
func (c *Credential) Key() [sha256.Size]byte {
	h := sha256.New()
	for _, field := range []string{
		c.AuthURL, c.Region, c.Interface, c.UserID, c.Username, c.Password, c.UserDomainID, c.UserDomainName, c.ProjectID, c.ProjectName,
		c.ProjectDomainID, c.ProjectDomainName, c.ApplicationCredentialID, c.ApplicationCredentialName, c.ApplicationCredentialSecret,
		c.Token, c.TrustID, string(c.CACert), string(c.ClientCert), string(c.ClientKey), strconv.FormatBool(c.Insecure),
	} {
		var length [8]byte // so that no two lists of fields have the same bytes
		binary.BigEndian.PutUint64(length[:], uint64(len(field)))
		h.Write(length[:])
		h.Write([]byte(field))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// LogValue keeps secrets out of logs.
func (c *Credential) LogValue() slog.Value {
	return slog.GroupValue(slog.String("origin", c.Origin), slog.String("auth_url", c.AuthURL), slog.String("region", c.Region), slog.String("method", c.method()))
}

// String is what fmt prints: no secrets.
func (c *Credential) String() string { return c.Origin + " (" + c.method() + " at " + c.AuthURL + ")" }

func (c *Credential) method() string {
	switch {
	case c.ApplicationCredentialSecret != "":
		return "application credential"
	case c.Token != "":
		return "token"
	default:
		return "password"
	}
}

// Naming says what a field of clouds.yaml's auth section (and interface, cacert, cert, key) is called where the user wrote it:
// "password" is "auth.password" in the file and "OS_PASSWORD" in the environment.
type Naming func(field string) string

// Complete brings what people write to one form (AuthURL with its version, Interface without URL) and returns every mistake,
// a line each. No mistake repeats a value, which may be a password in the wrong place. Whoever makes a credential calls it last.
func (c *Credential) Complete(name Naming) error {
	c.AuthURL, c.Interface = normalizeAuthURL(c.AuthURL), normalizeInterface(c.Interface)
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.AuthURL == "" {
		mistake("%s is missing: it is Keystone's URL, such as https://keystone.example.org/v3", name("auth_url"))
	} else if u, err := url.Parse(c.AuthURL); err == nil && u.User != nil {
		mistake("%s holds a user or password: they belong in their own settings", name("auth_url"))
	} else if err != nil || !usable(u) {
		mistake("%s has to be an http or https URL", name("auth_url"))
	}
	switch c.Interface {
	case "", "public", "internal", "admin":
	default:
		mistake("%s has to be public, internal or admin", name("interface"))
	}
	errs = append(errs, c.validateLogin(name)...)
	if (len(c.ClientCert) == 0) != (len(c.ClientKey) == 0) {
		mistake("%s and %s go together: one of them is missing", name("cert"), name("key"))
	} else if _, err := c.tlsConfig(); err != nil {
		mistake("%s, %s, %s: %w", name("cacert"), name("cert"), name("key"), err)
	}
	return errors.Join(errs...)
}

// validateLogin checks what the chosen way of logging in needs.
func (c *Credential) validateLogin(name Naming) (errs []error) {
	need := func(missing bool, field, why string) {
		if missing {
			errs = append(errs, fmt.Errorf("%s is missing%s", name(field), why))
		}
	}
	noUser := c.UserID == "" && c.Username == ""
	switch {
	case c.ApplicationCredentialID != "" || c.ApplicationCredentialName != "" || c.ApplicationCredentialSecret != "":
		noID := c.ApplicationCredentialID == ""
		need(c.ApplicationCredentialSecret == "", "application_credential_secret", ": an application credential needs it")
		need(noID && c.ApplicationCredentialName == "", "application_credential_id", ": an application credential needs it")
		need(noID && c.ApplicationCredentialName != "" && noUser, "username", ": an application credential given by its name needs its user")
	case c.Token != "":
	default:
		need(noUser, "username", fmt.Sprintf(" (or %s, or %s)", name("application_credential_id"), name("token")))
		need(c.Password == "", "password", "")
		need(c.UserID == "" && c.Username != "" && c.UserDomainID+c.UserDomainName == "", "user_domain_name", ": a user name is unique only in a domain (often Default)")
		if c.TrustID == "" {
			errs = append(errs, c.validateProject(name)...)
		}
	}
	return errs
}

func (c *Credential) validateProject(name Naming) []error {
	switch {
	case c.ProjectID != "":
		return nil
	case c.ProjectName == "":
		return []error{fmt.Errorf("%s is missing (or %s): the services are given per project", name("project_name"), name("project_id"))}
	case c.ProjectDomainID+c.ProjectDomainName == "":
		return []error{fmt.Errorf("%s is missing: a project name is unique only in a domain (often Default)", name("project_domain_name"))}
	default:
		return nil
	}
}

// authOptions is what Keystone is asked for. Re-login is the session's own affair, so AllowReauth stays off.
func (c *Credential) authOptions() *gophercloud.AuthOptions {
	o := &gophercloud.AuthOptions{
		IdentityEndpoint: c.AuthURL, UserID: c.UserID, Username: c.Username, Password: c.Password, TokenID: c.Token,
		ApplicationCredentialID: c.ApplicationCredentialID, ApplicationCredentialName: c.ApplicationCredentialName,
		ApplicationCredentialSecret: c.ApplicationCredentialSecret,
	}
	if c.UserID == "" && c.Token == "" && c.ApplicationCredentialID == "" { // gophercloud refuses a domain that isn't needed
		o.DomainID = c.UserDomainID
		if o.DomainID == "" {
			o.DomainName = c.UserDomainName
		}
	}
	if c.ApplicationCredentialID != "" {
		o.UserID, o.Username = "", ""
	}
	switch {
	case c.ApplicationCredentialSecret != "": // it carries its scope
	case c.TrustID != "":
		o.Scope = &gophercloud.AuthScope{TrustID: c.TrustID}
	case c.ProjectID != "":
		o.Scope = &gophercloud.AuthScope{ProjectID: c.ProjectID}
	case c.ProjectName != "":
		o.Scope = &gophercloud.AuthScope{ProjectName: c.ProjectName, DomainID: c.ProjectDomainID}
		if c.ProjectDomainID == "" {
			o.Scope.DomainName = c.ProjectDomainName
		}
	}
	return o
}

func (c *Credential) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Insecure} //nolint:gosec // the user's wish, with a warning in the log
	if len(c.CACert) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(c.CACert) {
			return nil, errors.New("the CA certificate is not PEM, or holds no certificate")
		}
	}
	if len(c.ClientCert) > 0 {
		pair, err := tls.X509KeyPair(c.ClientCert, c.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("the client certificate can't be used: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// versionSuffix is Keystone's version at the end of an auth_url.
var versionSuffix = regexp.MustCompile(`/v\d+(\.\d+)?$`)

// normalizeAuthURL makes auth_url name version 3: people write it with and without, and /v2.0 in very old files.
func normalizeAuthURL(u string) string {
	u = strings.TrimRight(strings.TrimSpace(u), "/")
	if u == "" {
		return ""
	}
	return versionSuffix.ReplaceAllString(u, "") + "/v3"
}
