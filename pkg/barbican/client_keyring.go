package barbican

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"mooring/pkg/openstack"
)

// maxNew bounds how many secrets' metadata one listing reads. The others wait for the next one.
const maxNew = 200

var errLater = errors.New("there are too many new entries: it is read with a later listing")

// Keyring lists the container with that UUID. What is in known is not asked for again (a secret's creation, creator and expiry
// never change), so that a list without news is one call; each secret that is not costs one more. The error is about the
// container: those of package openstack, or ErrKeyring. A secret that can't be read is in the listing's Unread.
func (c *Client) Keyring(ctx context.Context, container string, known map[KeyRef]ListedKey) (*Listing, error) {
	if !isUUID(container) {
		return nil, fmt.Errorf("container %.50q: %w: it has to be named by its UUID, in lower case", container, ErrKeyring)
	}
	client, err := c.service(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", container, err)
	}
	result := containers.Get(ctx, client, container)
	got, err := result.Extract()
	if err != nil {
		return nil, explainContainer(container, openstack.Wrap(err))
	}
	if got == nil || got.Type != "generic" {
		kind := "an empty answer"
		if got != nil {
			kind = fmt.Sprintf("a container of type %.50q", got.Type)
		}
		return nil, fmt.Errorf("container %s: %w: it is %s, and a keyring is a generic one", container, ErrKeyring, kind)
	}
	owner, err := c.session.Owner(ctx)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", container, err)
	}
	list := &Listing{Unread: map[KeyRef]error{}, Owner: owner.UserID}
	for _, consumer := range got.Consumers {
		if consumer.Name == consumerName {
			list.Consumers = append(list.Consumers, consumer.URL)
		}
	}
	answered := time.Now()
	list.Now, list.Clock = c.clock(result.Header)
	entries := list.entries(got.SecretRefs)
	if len(entries) > maxNew { // those that can't be read must not keep the others away with every listing
		rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] }) //nolint:gosec // fairness needs no secrecy
	}
	read := reader{client: client, secrets: map[string]*secrets.Secret{}}
	for _, e := range entries {
		if k, ok := known[e.Ref]; ok {
			k.NotBefore = e.NotBefore
			list.Keys = append(list.Keys, k)
		} else if err := read.metadata(ctx, &e); err != nil {
			list.Unread[e.Ref] = err
		} else {
			list.Keys = append(list.Keys, e)
		}
	}
	slices.SortFunc(list.Keys, newestFirst)
	if !list.Now.IsZero() {
		list.Now = list.Now.Add(time.Since(answered))
		list.catchUp()
	}
	return list, nil
}

// clock reads Barbican's clock from its answer, or else Keystone's.
func (c *Client) clock(header http.Header) (time.Time, Clock) {
	if now, err := http.ParseTime(header.Get("Date")); err == nil {
		return now, BarbicanClock
	}
	if now, ok := c.session.Clock(); ok {
		return now, KeystoneClock
	}
	return time.Time{}, LocalClock
}

// entries are the generations among a container's entries, the highest first; what is none is strange.
func (l *Listing) entries(refs []containers.SecretRef) []ListedKey {
	found := make(map[KeyRef]ListedKey, len(refs))
	for _, ref := range refs {
		generation, notBefore, err := ParseEntryName(ref.Name)
		if err != nil {
			l.Strange = append(l.Strange, fmt.Sprintf("%.100q: %v", ref.Name, err))
			continue
		}
		secret, err := secretOf(ref.SecretRef)
		if err != nil {
			l.Strange = append(l.Strange, fmt.Sprintf("%q: %v", ref.Name, err))
			continue
		}
		e := ListedKey{Ref: KeyRef{Secret: secret, Generation: generation}, NotBefore: notBefore}
		if other, twice := found[e.Ref]; twice && other.NotBefore.After(notBefore) {
			e = other // one key under two names: the later instant holds
		}
		found[e.Ref] = e
	}
	slices.Sort(l.Strange)
	return slices.SortedFunc(maps.Values(found), newestFirst)
}

func newestFirst(a, b ListedKey) int {
	return cmp.Or(cmp.Compare(b.Ref.Generation, a.Ref.Generation), cmp.Compare(a.Ref.Secret, b.Ref.Secret))
}

// reader reads secrets' metadata, each secret's once.
type reader struct {
	client  *gophercloud.ServiceClient
	secrets map[string]*secrets.Secret
	calls   int
}

// metadata fills in what Barbican tells of a key's secret.
func (r *reader) metadata(ctx context.Context, k *ListedKey) error {
	s := r.secrets[k.Ref.Secret]
	if s == nil {
		if r.calls++; r.calls > maxNew {
			return errLater
		}
		var err error
		if s, err = secrets.Get(ctx, r.client, k.Ref.Secret).Extract(); err != nil {
			return explain(k.Ref.Secret, openstack.Wrap(err))
		}
		if s == nil {
			return fmt.Errorf("secret %s: %w: an empty answer", k.Ref.Secret, ErrUnusableKey)
		}
		r.secrets[k.Ref.Secret] = s
	}
	k.Created, k.Expires, k.Creator, k.Status = s.Created, s.Expiration, s.CreatorID, s.Status
	return nil
}

// Secret reads a secret's metadata, in one call: whether it can still be read. Errors as of Payload.
func (c *Client) Secret(ctx context.Context, ref KeyRef) (ListedKey, error) {
	k := ListedKey{Ref: ref}
	client, err := c.service(ctx, "")
	if err != nil {
		return k, explain(ref.Secret, err)
	}
	r := reader{client: client, secrets: map[string]*secrets.Secret{}}
	return k, r.metadata(ctx, &k)
}

// explainContainer says what an operator can do about an error.
func explainContainer(container string, err error) error {
	var hint string
	switch {
	case errors.Is(err, openstack.ErrNotFound):
		hint = "there is no such container in this cloud: "
	case errors.Is(err, openstack.ErrForbidden):
		hint = "this user may not read it: it is another project's, or its ACL does not name the user: "
	}
	return refusing(fmt.Errorf("container %s: %s%w", container, hint, err), "/containers/"+container)
}

// catchUp moves the clock on to the creation of a key that lies just ahead of it: a clock that tells whole seconds is up to one behind.
func (l *Listing) catchUp() {
	const grain = time.Second
	now := l.Now
	for _, k := range l.Keys {
		if k.Created.After(l.Now) && k.Created.Sub(now) <= grain {
			l.Now = k.Created
		}
	}
}
