package barbican

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"mooring/pkg/openstack"
)

// Consumers: who a container or a secret is for. A container's is a name and a URL, a secret's three words.

// consumerName is the name of our consumers, and of the service of those of secrets.
const consumerName = "mooring"

// ConsumerURL names a cluster in the consumer of its container.
func ConsumerURL(cluster string) string { return "mooring:kms:" + url.PathEscape(cluster) }

// addContainerConsumer registers the cluster with its container; a second time changes nothing.
func (c *Client) addContainerConsumer(ctx context.Context, container, cluster string) error {
	client, err := c.service(ctx, "")
	if err != nil {
		return err
	}
	if err := containers.CreateConsumer(ctx, client, container, containers.CreateConsumerOpts{Name: consumerName, URL: ConsumerURL(cluster)}).Err; err != nil {
		return fmt.Errorf("registering as consumer of container %s: %w", container, openstack.Wrap(err))
	}
	return nil
}

// Guard is what keeps a key from being deleted while it is in use.
type Guard string

const (
	// GuardNone is a Barbican without consumers of secrets: nothing in it tells that a key is in use.
	GuardNone Guard = "none"
	// GuardNoted is one that notes the consumers of a secret, and deletes it all the same.
	GuardNoted Guard = "noted"
	// GuardRefuses is one that refuses to delete a secret that has consumers, to a client that asks for this microversion without force.
	GuardRefuses Guard = "refuses"
)

// The microversions of which secrets have consumers, and of which deletions heed them (barbican/api/controllers/secrets.py).
const (
	consumersSince = "1.1" // Zed
	guardSince     = "1.2" // 2026.2
)

// Notice says to an operator what a guard is worth.
func (g Guard) Notice() string {
	switch g {
	case GuardRefuses:
		return "Barbican refuses to delete these keys, to clients that ask for microversion " + guardSince + " and do not force it."
	case GuardNoted:
		return "Deletion is not guarded: this Barbican notes that the keys are in use, and deletes them all the same (it refuses from microversion " + guardSince + " on)."
	default:
		return "Deletion is not guarded: nothing in this Barbican tells that the keys are in use (it can be noted from microversion " + consumersSince + " on, and is heeded from " + guardSince + " on)."
	}
}

// guard asks what guard this Barbican has.
func (c *Client) guard(ctx context.Context) (Guard, error) {
	offered, err := c.session.Microversions(ctx, openstack.KeyManager)
	if err != nil {
		return GuardNone, err
	}
	for _, g := range []struct {
		since string
		guard Guard
	}{{guardSince, GuardRefuses}, {consumersSince, GuardNoted}} {
		since, err := openstack.ParseMicroversion(g.since)
		if err != nil || offered.Has(since) {
			return g.guard, err
		}
	}
	return GuardNone, nil
}

// secretConsumer is a consumer of a secret (barbican/model/models.py, SecretConsumerMetadatum; resource_id has 36 letters at most).
type secretConsumer struct {
	Service      string `json:"service"`
	ResourceType string `json:"resource_type"`
	ResourceID   string `json:"resource_id"`
}

// keyringConsumer is a keyring as the consumer of its keys.
func keyringConsumer(container string) secretConsumer {
	return secretConsumer{Service: consumerName, ResourceType: "keyring", ResourceID: container}
}

// consumersOf is where the consumers of a secret are; nil where Barbican has none.
func (c *Client) consumersOf(ctx context.Context, secret string) (client *gophercloud.ServiceClient, where string, err error) {
	guard, err := c.guard(ctx)
	if err != nil || guard == GuardNone {
		return nil, "", err
	}
	if client, err = c.service(ctx, consumersSince); err != nil {
		return nil, "", err
	}
	return client, client.ServiceURL(secretKind, secret, "consumers"), nil
}

// addSecretConsumer registers a keyring with a secret, where Barbican has consumers of secrets; a second time changes nothing.
func (c *Client) addSecretConsumer(ctx context.Context, secret, container string) error {
	client, where, err := c.consumersOf(ctx, secret)
	if err != nil || client == nil {
		return err
	}
	resp, err := client.Post(ctx, where, keyringConsumer(container), nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusCreated}})
	if err != nil {
		return fmt.Errorf("registering as consumer of secret %s: %w", secret, openstack.Wrap(err))
	}
	return resp.Body.Close()
}

// removeSecretConsumer takes a keyring's registration back. That there is none is no error.
func (c *Client) removeSecretConsumer(ctx context.Context, secret, container string) error {
	client, where, err := c.consumersOf(ctx, secret)
	if err != nil || client == nil {
		return err
	}
	resp, err := client.Request(ctx, http.MethodDelete, where,
		&gophercloud.RequestOpts{JSONBody: keyringConsumer(container), OkCodes: []int{http.StatusOK, http.StatusNoContent}})
	if err = openstack.Wrap(err); errors.Is(err, openstack.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("taking back the registration as consumer of secret %s: %w", secret, err)
	}
	return resp.Body.Close()
}

// secretConsumers are those who are registered with a secret; none where Barbican has no consumers of secrets.
func (c *Client) secretConsumers(ctx context.Context, secret string) ([]secretConsumer, error) {
	client, where, err := c.consumersOf(ctx, secret)
	if err != nil || client == nil {
		return nil, err
	}
	var body struct {
		Consumers []secretConsumer `json:"consumers"`
	}
	resp, err := client.Get(ctx, where+"?limit=100", &body, nil)
	if err != nil {
		return nil, fmt.Errorf("the consumers of secret %s: %w", secret, openstack.Wrap(err))
	}
	return body.Consumers, resp.Body.Close()
}

// deleteSecret deletes a secret for good. A Barbican that has the guard refuses (ErrConflict) while somebody is registered.
func (c *Client) deleteSecret(ctx context.Context, secret string) error {
	guard, err := c.guard(ctx)
	if err != nil {
		return err
	}
	version := ""
	if guard == GuardRefuses {
		version = guardSince
	}
	client, err := c.service(ctx, version)
	if err != nil {
		return err
	}
	err = openstack.Wrap(secrets.Delete(ctx, client, secret).Err)
	if err != nil && !errors.Is(err, openstack.ErrNotFound) {
		return fmt.Errorf("deleting secret %s: %w", secret, err)
	}
	return nil
}
