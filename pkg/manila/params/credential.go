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
		Origin: "the secret", AuthURL: versioned(s.AuthURL), Region: s.Region, Interface: strings.TrimSuffix(s.Interface, "URL"),
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
	return c, nil
}

// versioned adds Keystone's version to a URL that has none: CPO's users have both kinds.
func versioned(url string) string {
	url = strings.TrimRight(url, "/")
	if strings.HasSuffix(url, "/v3") {
		return url
	}
	return strings.TrimSuffix(url, "/v2.0") + "/v3"
}
