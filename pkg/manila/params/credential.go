package params

import (
	"cmp"
	"fmt"
	"strings"

	"mooring/pkg/openstack"
)

// Files reads what a secret only names.
type Files struct {
	// ReadFile is os.ReadFile, or a test's.
	ReadFile func(path string) ([]byte, error)
	// Clouds loads an entry of a clouds.yaml; empty arguments mean the usual places and the only entry.
	Clouds func(cloud, file string) (*openstack.Credential, error)
}

// Credential makes the login that a secret describes.
func (s *Secret) Credential(files Files) (*openstack.Credential, error) {
	if s.UseClouds {
		c, err := files.Clouds(s.Cloud, s.CloudsFile)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", &Error{PlaceSecret, []string{"os-useClouds: the clouds.yaml can't be used"}}, err)
		}
		return c, nil
	}
	c := &openstack.Credential{
		Origin: "the secret", AuthURL: s.AuthURL, Region: s.Region, Interface: s.Interface,
		UserID: s.UserID, Username: s.UserName, Password: s.Password, Token: s.Token, ProjectID: s.ProjectID, ProjectName: s.ProjectName,
		UserDomainID: cmp.Or(s.UserDomainID, s.DomainID), UserDomainName: cmp.Or(s.UserDomainName, s.DomainName),
		ProjectDomainID: cmp.Or(s.ProjectDomainID, s.DomainID), ProjectDomainName: cmp.Or(s.ProjectDomainName, s.DomainName),
		ApplicationCredentialID: s.ApplicationCredentialID, ApplicationCredentialName: s.ApplicationCredentialName,
		ApplicationCredentialSecret: s.ApplicationCredentialSecret, CACert: []byte(s.CACert), Insecure: s.Insecure,
	}
	if s.TrustID != "" {
		c.TrustID, c.UserID, c.Username, c.Password = s.TrustID, s.TrusteeID, "", s.TrusteePassword
		c.ProjectID, c.ProjectName = "", "" // a trust has its own project
	}
	for _, f := range []struct {
		key, path string
		to        *[]byte
	}{
		{"os-certAuthorityPath", s.CACertPath, &c.CACert}, {"os-clientCertPath", s.ClientCertPath, &c.ClientCert}, {"os-clientKeyPath", s.ClientKeyPath, &c.ClientKey},
	} {
		if f.path == "" {
			continue
		}
		data, err := files.ReadFile(f.path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", &Error{PlaceSecret, []string{f.key + " can't be read"}}, err)
		}
		*f.to = data
	}
	if err := c.Complete(keyOf(s)); err != nil {
		return nil, &Error{PlaceSecret, strings.Split(err.Error(), "\n")}
	}
	return c, nil
}

// keyOf says which key of the secret has a field of the credential.
func keyOf(s *Secret) openstack.Naming {
	keys := map[string]string{
		"auth_url": "os-authURL", "interface": "os-endpointType", "username": "os-userName", "password": "os-password", "token": "os-token",
		"user_domain_name": "os-userDomainName", "project_id": "os-projectID", "project_name": "os-projectName", "project_domain_name": "os-projectDomainName",
		"application_credential_id": "os-applicationCredentialID", "application_credential_secret": "os-applicationCredentialSecret",
		"cacert": "os-certAuthority", "cert": "os-clientCertPath", "key": "os-clientKeyPath",
	}
	if s.TrustID != "" {
		keys["username"], keys["password"] = "os-trusteeID", "os-trusteePassword"
	}
	return func(field string) string { return keys[field] }
}
