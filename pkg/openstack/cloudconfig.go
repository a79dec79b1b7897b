package openstack

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/gcfg.v1"
	"gopkg.in/warnings.v0"
)

// CloudConfig is what a configuration file of cloud-provider-openstack ("cloud.conf") says.
type CloudConfig struct {
	// Credential is the login of its section Global.
	Credential *Credential
	// KeyID is key-id of its section KeyManager: the UUID of barbican-kms-plugin's secret, as it is spelled there; empty if it is not there.
	KeyID string
	// Ignored are settings that have no effect, each with why. They name keys, never values.
	Ignored []string
}

// cloudConfig has the sections and keys that are read, in cloud-provider-openstack's names (its pkg/client, AuthOpts).
type cloudConfig struct {
	Global     cloudConfigGlobal
	KeyManager struct {
		KeyID string `gcfg:"key-id"`
	}
}

type cloudConfigGlobal struct {
	AuthURL          string `gcfg:"auth-url"`
	UserID           string `gcfg:"user-id"`
	Username         string
	Password         string
	TenantID         string `gcfg:"tenant-id"`
	TenantName       string `gcfg:"tenant-name"`
	TrustID          string `gcfg:"trust-id"`
	TrusteeID        string `gcfg:"trustee-id"`
	TrusteePassword  string `gcfg:"trustee-password"`
	DomainID         string `gcfg:"domain-id"`
	DomainName       string `gcfg:"domain-name"`
	TenantDomainID   string `gcfg:"tenant-domain-id"`
	TenantDomainName string `gcfg:"tenant-domain-name"`
	UserDomainID     string `gcfg:"user-domain-id"`
	UserDomainName   string `gcfg:"user-domain-name"`
	Region           string
	EndpointType     string `gcfg:"os-endpoint-type"`
	CAFile           string `gcfg:"ca-file"`
	CertFile         string `gcfg:"cert-file"`
	KeyFile          string `gcfg:"key-file"`
	TLSInsecure      string `gcfg:"tls-insecure"`
	UseClouds        bool   `gcfg:"use-clouds"`
	CloudsFile       string `gcfg:"clouds-file"`
	Cloud            string

	ApplicationCredentialID     string `gcfg:"application-credential-id"`
	ApplicationCredentialName   string `gcfg:"application-credential-name"`
	ApplicationCredentialSecret string `gcfg:"application-credential-secret"`
}

// CloudConfig reads a configuration file of cloud-provider-openstack and checks the credential in it. It is in git's config
// format (sections, key = value, quotes, # and ; for comments; names in upper or lower case). As there, sections that are for
// other programs are ignored, and with use-clouds an entry of a clouds.yaml gives what the file does not: the one that cloud
// names (or OS_CLOUD), of the file that clouds-file names (or as Load finds it). The error names file, section and key of every
// mistake, and no secret. Unlike there, os-endpoint-type counts, and a clouds.yaml does not switch off the check of certificates.
func (s Source) CloudConfig(path string) (*CloudConfig, error) {
	data, err := s.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file cloudConfig
	ignored, err := parseCloudConfig(data, &file)
	if err != nil {
		return nil, prefixed(path+": ", err)
	}
	g := &file.Global
	if v := g.TLSInsecure; v != "" && v != "true" && v != "false" {
		ignored = append(ignored, "[Global] tls-insecure: it is neither true nor false, so that certificates are verified")
	}
	c, err := s.fromCloudConfig(g)
	if err != nil {
		return nil, prefixed(path+": ", err)
	}
	c.Origin = path
	if err := c.Complete(cloudConfigName); err != nil {
		return nil, prefixed(path+": ", err)
	}
	return &CloudConfig{Credential: c, KeyID: strings.TrimSpace(file.KeyManager.KeyID), Ignored: ignored}, nil
}

// parseCloudConfig reads the format. What it does not know it ignores; of that it returns the keys of the sections that it reads.
func parseCloudConfig(data []byte, into *cloudConfig) (ignored []string, err error) {
	err = gcfg.ReadInto(into, bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	if fatal := gcfg.FatalOnly(err); fatal != nil {
		return nil, errors.New(oneShortLine(strings.TrimPrefix(fatal.Error(), ":")))
	}
	for _, w := range warnings.WarningsOnly(err) {
		section, key, found := strings.Cut(w.Error(), `, variable "`)
		for _, known := range []string{"Global", "KeyManager"} {
			if found && strings.HasSuffix(strings.ToLower(section), strings.ToLower(`section "`+known+`"`)) {
				ignored = append(ignored, fmt.Sprintf("[%s] %s: it is not known here", known, strings.TrimSuffix(key, `"`)))
			}
		}
	}
	return ignored, nil
}

// fromCloudConfig makes a credential of the section Global, and of what clouds.yaml adds.
func (s Source) fromCloudConfig(g *cloudConfigGlobal) (*Credential, error) {
	c := &Credential{
		AuthURL: g.AuthURL, Region: g.Region, Interface: g.EndpointType,
		UserID: g.UserID, Username: g.Username, Password: g.Password,
		UserDomainID: g.UserDomainID, UserDomainName: g.UserDomainName,
		ProjectID: g.TenantID, ProjectName: g.TenantName,
		ProjectDomainID: g.TenantDomainID, ProjectDomainName: g.TenantDomainName,
		ApplicationCredentialID: g.ApplicationCredentialID, ApplicationCredentialName: g.ApplicationCredentialName,
		ApplicationCredentialSecret: g.ApplicationCredentialSecret, TrustID: g.TrustID, Insecure: g.TLSInsecure == "true",
	}
	pair(&c.UserDomainID, &c.UserDomainName, g.DomainID, g.DomainName)
	pair(&c.ProjectDomainID, &c.ProjectDomainName, g.DomainID, g.DomainName)
	if c.TrustID != "" && (g.TrusteeID != "" || g.TrusteePassword != "") {
		c.UserID, c.Password = cmp.Or(g.TrusteeID, c.UserID), cmp.Or(g.TrusteePassword, c.Password)
	}
	err := errors.Join(
		s.readPEM(cloudConfigName("cacert"), g.CAFile, &c.CACert),
		s.readPEM(cloudConfigName("cert"), g.CertFile, &c.ClientCert),
		s.readPEM(cloudConfigName("key"), g.KeyFile, &c.ClientKey))
	if err != nil || !g.UseClouds {
		return c, err
	}
	under, _, err := s.cloud(cmp.Or(g.Cloud, s.env("OS_CLOUD")), cmp.Or(g.CloudsFile, s.env("OS_CLIENT_CONFIG_FILE")))
	if err != nil {
		return nil, prefixed("[Global] use-clouds: ", err)
	}
	c.fill(under)
	return c, nil
}

// pair sets an id and a name that mean the same thing, unless one of them is set.
func pair(id, name *string, otherID, otherName string) {
	if *id == "" && *name == "" {
		*id, *name = otherID, otherName
	}
}

// fill takes from another credential what this one does not say, except whether certificates are verified.
func (c *Credential) fill(under *Credential) {
	pair(&c.UserID, &c.Username, under.UserID, under.Username)
	pair(&c.UserDomainID, &c.UserDomainName, under.UserDomainID, under.UserDomainName)
	pair(&c.ProjectID, &c.ProjectName, under.ProjectID, under.ProjectName)
	pair(&c.ProjectDomainID, &c.ProjectDomainName, under.ProjectDomainID, under.ProjectDomainName)
	pair(&c.ApplicationCredentialID, &c.ApplicationCredentialName, under.ApplicationCredentialID, under.ApplicationCredentialName)
	for _, f := range []struct{ into, from *string }{
		{&c.AuthURL, &under.AuthURL},
		{&c.Region, &under.Region},
		{&c.Interface, &under.Interface},
		{&c.Password, &under.Password},
		{&c.ApplicationCredentialSecret, &under.ApplicationCredentialSecret},
		{&c.Token, &under.Token},
		{&c.TrustID, &under.TrustID},
	} {
		*f.into = cmp.Or(*f.into, *f.from)
	}
	if len(c.CACert) == 0 {
		c.CACert = under.CACert
	}
	if len(c.ClientCert) == 0 && len(c.ClientKey) == 0 {
		c.ClientCert, c.ClientKey = under.ClientCert, under.ClientKey
	}
}

// cloudConfigName is what a field is called in the file.
func cloudConfigName(field string) string {
	name := map[string]string{
		"project_id": "tenant-id", "project_name": "tenant-name", "project_domain_id": "tenant-domain-id", "project_domain_name": "tenant-domain-name",
		"interface": "os-endpoint-type", "cacert": "ca-file", "cert": "cert-file", "key": "key-file",
		"token": "use-clouds", // the other way to log in that it has
	}[field]
	return "[Global] " + cmp.Or(name, strings.ReplaceAll(field, "_", "-"))
}
