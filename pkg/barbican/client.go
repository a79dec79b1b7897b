package barbican

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"mooring/pkg/openstack"
)

// octets is the content type of a key.
const octets = "application/octet-stream"

// Client fetches from Barbican with one session.
type Client struct {
	session *openstack.Session
}

// NewClient makes a client. It makes no call.
func NewClient(s *openstack.Session) *Client { return &Client{session: s} }

// Payload returns the payload of a secret, as bytes. A payload longer than limit is cut off after one byte more, so that it is
// seen to be too long without being read. Errors are those of package openstack: ErrNotFound (no such secret, it has expired,
// or it has no payload yet), ErrForbidden (an ACL keeps us out), and the others.
func (c *Client) Payload(ctx context.Context, secret string, limit int) ([]byte, error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return nil, explain(secret, err)
	}
	// Barbican answers in exactly the type that is asked for, and with 406 for any other.
	result := secrets.GetPayload(ctx, client, secret, secrets.GetPayloadOpts{PayloadContentType: octets})
	if result.Err != nil {
		return nil, explain(secret, openstack.Wrap(result.Err))
	}
	defer result.Body.Close() //nolint:errcheck // it was read, or its error is told
	if got := result.Header.Get("Content-Type"); got != "" && !strings.HasPrefix(got, octets) {
		return nil, fmt.Errorf("secret %s: %w: %s was asked for, and %.50q came (from a proxy?)", secret, ErrUnusableKey, octets, got)
	}
	payload := make([]byte, 0, limit+1)
	for len(payload) <= limit {
		n, err := result.Body.Read(payload[len(payload) : limit+1])
		payload = payload[:len(payload)+n]
		if err == io.EOF {
			return payload, nil
		}
		if err != nil {
			clear(payload)
			return nil, explain(secret, openstack.Wrap(err))
		}
	}
	return payload, nil
}

// explain says what an operator can do about an error.
func explain(secret string, err error) error {
	var hint string
	switch {
	case errors.Is(err, openstack.ErrNotFound):
		hint = "there is no such secret, it has expired, or it has no payload yet: "
	case errors.Is(err, openstack.ErrForbidden):
		hint = "this user may not read it: it is another project's, or its ACL does not name the user: "
	}
	return refusing(fmt.Errorf("secret %s: %s%w", secret, hint, err), "/secrets/"+secret)
}
