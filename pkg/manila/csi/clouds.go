package csi

import (
	"fmt"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
)

// Clouds finds the login of a request: the credential in the request's secret, or the driver's own. Sessions are shared by all
// requests with the same credential.
type Clouds struct {
	Pool *openstack.Pool
	// Own is the driver's own credential; nil when it has none.
	Own *openstack.Credential
	// Files reads what a secret only names.
	Files params.Files
	// Options are those of every client.
	Options manila.Options

	together manila.Together
}

func (c *Clouds) client(secret map[string]string) (*manila.Client, error) {
	s, err := params.ParseSecret(secret)
	if err != nil {
		return nil, err
	}
	credential := c.Own
	if !s.Empty() {
		if credential, err = s.Credential(c.Files); err != nil {
			return nil, err
		}
	}
	if credential == nil {
		return nil, fmt.Errorf("%w: the request has none in its secret, and the driver has none of its own (--os-cloud)", errNoCredential)
	}
	options := c.Options
	options.Together = &c.together
	return manila.New(c.Pool.Session(credential), options), nil
}
