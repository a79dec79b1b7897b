package barbican

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/acls"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/orders"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// The calls with which an operator makes and changes a keyring. Each is one step that can be repeated.

// orderTimeout bounds the wait for an order; an HSM may take its time.
const orderTimeout = 5 * time.Minute

// ErrOrder says that Barbican could not carry out an order for a key.
var ErrOrder = errors.New("the order for a key failed")

// ErrEntry says that Barbican failed over a new entry of a container. It fails with one that was there before, such as another run's
// that has given way. A second run takes another name.
var ErrEntry = errors.New("the entry failed, perhaps since it was there before (Barbican takes none twice); run it again")

// service is Barbican's client, with a microversion if one is given.
func (c *Client) service(ctx context.Context, microversion string) (*gophercloud.ServiceClient, error) {
	client, err := c.session.Client(ctx, openstack.KeyManager)
	if err != nil {
		return nil, err
	}
	client.Microversion = microversion
	return client, nil
}

// listAll reads a list to its end, by offsets: Barbican's own links to further pages forget the filters.
func listAll[T any](ctx context.Context, client *gophercloud.ServiceClient, kind string, query url.Values) ([]T, error) {
	const size, pages = 100, 1000 // a page has a hundred at most (max_limit_paging)
	var out []T
	for page := range pages {
		query.Set("limit", strconv.Itoa(size))
		query.Set("offset", strconv.Itoa(page*size))
		var body map[string]json.RawMessage
		resp, err := client.Get(ctx, client.ServiceURL(kind)+"?"+query.Encode(), &body, nil)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", kind, openstack.Wrap(err))
		}
		_ = resp.Body.Close() // it is read
		var items []T
		if err := json.Unmarshal(body[kind], &items); err != nil {
			return nil, fmt.Errorf("listing %s: an answer that makes no sense: %w", kind, err)
		}
		if out = append(out, items...); len(items) < size {
			return out, nil
		}
	}
	return nil, fmt.Errorf("listing %s: there is no end of them", kind)
}

// containersNamed are the generic containers of that very name that a user made; the filter of Barbican is a pattern, and takes no
// creator.
func (c *Client) containersNamed(ctx context.Context, name, creator string) ([]containers.Container, error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return nil, err
	}
	found, err := listAll[containers.Container](ctx, client, "containers", url.Values{"name": {name}, "type": {"generic"}})
	return slices.DeleteFunc(found, func(x containers.Container) bool {
		return x.Name != name || x.CreatorID != creator || x.Type != "generic"
	}), err
}

// secretsNamed are the secrets of that very name that a user made and that are ready.
func (c *Client) secretsNamed(ctx context.Context, name, creator string) ([]secrets.Secret, error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return nil, err
	}
	found, err := listAll[secrets.Secret](ctx, client, "secrets", url.Values{"name": {name}})
	return slices.DeleteFunc(found, func(x secrets.Secret) bool {
		return x.Name != name || x.CreatorID != creator || x.Status != usableStatus
	}), err
}

// pendingOrders are the ids of orders for a key of that name that a user sent and that are not carried out yet.
func (c *Client) pendingOrders(ctx context.Context, name, creator string) (ids []string, err error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return nil, err
	}
	found, err := listAll[orders.Order](ctx, client, "orders", url.Values{})
	for i := range found {
		if o := &found[i]; o.Meta.Name == name && o.CreatorID == creator && o.Status == "PENDING" {
			ids = append(ids, path.Base(o.OrderRef))
		}
	}
	return ids, err
}

// orderKey orders an AES-256 key and returns the order's id.
func (c *Client) orderKey(ctx context.Context, name string) (order string, err error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return "", err
	}
	const bits = 256
	got, err := orders.Create(ctx, client, orders.CreateOpts{Type: orders.KeyOrder, Meta: orders.MetaOpts{
		Name: name, Algorithm: "aes", BitLength: bits, Mode: "gcm", PayloadContentType: octets,
	}}).Extract()
	if err != nil {
		return "", fmt.Errorf("ordering a key: %w", openstack.Wrap(err))
	}
	return path.Base(got.OrderRef), nil
}

// awaitOrder waits until an order is carried out and returns the UUID of the secret that it made. The error is ErrOrder, with
// Barbican's reason, when the order failed.
func (c *Client) awaitOrder(ctx context.Context, order string) (secret string, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	client, err := c.service(ctx, "")
	if err != nil {
		return "", err
	}
	err = poll.Until(ctx, poll.Backoff{First: 200 * time.Millisecond, Max: 2 * time.Second, Factor: 1.5}, func(ctx context.Context) (bool, error) {
		got, err := orders.Get(ctx, client, order).Extract()
		switch {
		case err != nil:
			return false, openstack.Wrap(err)
		case got.Status == "ERROR":
			return false, fmt.Errorf("%w: %s %.300s", ErrOrder, got.ErrorStatusCode, got.ErrorReason)
		case got.Status != "ACTIVE":
			return false, nil
		}
		secret, err = secretOf(got.SecretRef)
		return true, err
	})
	if err != nil {
		return "", fmt.Errorf("order %s: %w", order, err)
	}
	return secret, nil
}

// containerKind and secretKind are the collections that have ACLs.
const (
	containerKind = "containers"
	secretKind    = "secrets"
)

// readers reads an ACL: the users who may read besides the creator, and whether the whole project may.
func (c *Client) readers(ctx context.Context, kind, id string) (users []string, project bool, err error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return nil, false, err
	}
	get := acls.GetSecretACL
	if kind == containerKind {
		get = acls.GetContainerACL
	}
	got, err := get(ctx, client, id).Extract()
	if err != nil {
		return nil, false, fmt.Errorf("the ACL of %s/%s: %w", kind, id, openstack.Wrap(err))
	}
	if got == nil {
		return nil, true, nil
	}
	read := (*got)["read"]
	return read.Users, read.ProjectAccess, nil
}

// makePrivate lets nobody read but the creator and the given users.
func (c *Client) makePrivate(ctx context.Context, kind, id string, users []string) error {
	client, err := c.service(ctx, "")
	if err != nil {
		return err
	}
	set := acls.SetSecretACL
	if kind == containerKind {
		set = acls.SetContainerACL
	}
	if users == nil {
		users = []string{}
	}
	project := false
	if err := set(ctx, client, id, acls.SetOpts{{Type: "read", Users: &users, ProjectAccess: &project}}).Err; err != nil {
		return fmt.Errorf("making %s/%s private: %w", kind, id, openstack.Wrap(err))
	}
	return nil
}

// createContainer makes an empty generic container.
func (c *Client) createContainer(ctx context.Context, name string) (id string, err error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return "", err
	}
	got, err := containers.Create(ctx, client, containers.CreateOpts{Type: containers.GenericContainer, Name: name}).Extract()
	if err != nil {
		return "", fmt.Errorf("making a container: %w", openstack.Wrap(err))
	}
	return path.Base(got.ContainerRef), nil
}

// deleteContainer removes a container; its secrets stay.
func (c *Client) deleteContainer(ctx context.Context, id string) error {
	client, err := c.service(ctx, "")
	if err != nil {
		return err
	}
	if err := containers.Delete(ctx, client, id).Err; err != nil {
		return fmt.Errorf("deleting container %s: %w", id, openstack.Wrap(err))
	}
	return nil
}

// addEntry names a secret in a container. The error is ErrConflict when it has that name there already. Barbican takes a secret under a
// name only once: an entry that was taken out stays in its database, and a second one like it is answered with 500 (ErrEntry).
func (c *Client) addEntry(ctx context.Context, container, name, secret string) error {
	client, err := c.service(ctx, "")
	if err != nil {
		return err
	}
	// Barbican takes the id off the end of a reference, whatever stands before it (barbican/common/hrefs.py).
	err = containers.CreateSecretRef(ctx, client, container, containers.SecretRef{Name: name, SecretRef: client.ServiceURL(secretKind, secret)}).Err
	if err = openstack.Wrap(err); err != nil {
		if e, ok := errors.AsType[*openstack.Error](err); ok && e.Status == http.StatusInternalServerError {
			err = fmt.Errorf("%w: %w", ErrEntry, err)
		}
		return fmt.Errorf("adding %s to container %s: %w", name, container, err)
	}
	return nil
}

// removeEntry takes a secret's name out of a container. That it is not there any more is no error.
func (c *Client) removeEntry(ctx context.Context, container, name, secret string) error {
	client, err := c.service(ctx, "")
	if err != nil {
		return err
	}
	err = containers.DeleteSecretRef(ctx, client, container, containers.SecretRef{Name: name, SecretRef: client.ServiceURL(secretKind, secret)}).Err
	if err = openstack.Wrap(err); err != nil && !errors.Is(err, openstack.ErrNotFound) {
		return fmt.Errorf("taking %s out of container %s: %w", name, container, err)
	}
	return nil
}

// entry is a container's entry as it stands there.
type entry struct{ name, secret string }

// entries are all entries of a container that refer to secrets, whatever their names.
func (c *Client) entries(ctx context.Context, container string) (out []entry, err error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return nil, err
	}
	got, err := containers.Get(ctx, client, container).Extract()
	if err != nil {
		return nil, explainContainer(container, openstack.Wrap(err))
	}
	for _, ref := range got.SecretRefs {
		if secret, err := secretOf(ref.SecretRef); err == nil {
			out = append(out, entry{ref.Name, secret})
		}
	}
	return out, nil
}

// store is the name of the secret store that new secrets of the project go to; empty where Barbican does not tell: it has one only,
// or keeps it from tenants. Of a secret itself Barbican never tells where it is.
func (c *Client) store(ctx context.Context) (string, error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return "", err
	}
	for _, which := range []string{"preferred", "global-default"} {
		var body struct {
			Name string `json:"name"`
		}
		resp, err := client.Get(ctx, client.ServiceURL("secret-stores", which), &body, nil)
		if err = openstack.Wrap(err); errors.Is(err, openstack.ErrNotFound) || errors.Is(err, openstack.ErrForbidden) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("secret stores: %w", err)
		}
		return body.Name, resp.Body.Close()
	}
	return "", nil
}

// storeKey is the metadatum in which a key's secret has the name of its store.
const storeKey = "mooring-store"

// noteStore writes down where a key was made. That it is there already is no error.
func (c *Client) noteStore(ctx context.Context, secret, store string) error {
	if store == "" {
		return nil
	}
	client, err := c.service(ctx, "")
	if err != nil {
		return err
	}
	err = secrets.CreateMetadatum(ctx, client, secret, secrets.MetadatumOpts{Key: storeKey, Value: store}).Err
	if err = openstack.Wrap(err); err != nil && !errors.Is(err, openstack.ErrConflict) {
		return fmt.Errorf("secret %s: noting its store: %w", secret, err)
	}
	return nil
}

// storeOf is what noteStore wrote down; empty if nothing was.
func (c *Client) storeOf(ctx context.Context, secret string) (string, error) {
	client, err := c.service(ctx, "")
	if err != nil {
		return "", err
	}
	got, err := secrets.GetMetadatum(ctx, client, secret, storeKey).Extract()
	switch err = openstack.Wrap(err); {
	case errors.Is(err, openstack.ErrNotFound):
		return "", nil
	case err != nil:
		return "", explain(secret, err)
	case got == nil:
		return "", nil
	}
	return got.Value, nil
}
