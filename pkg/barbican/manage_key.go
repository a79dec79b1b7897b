package barbican

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// request is what newKey makes.
type request struct {
	container  string
	generation uint64
	owner      string
	store      string
	readers    []string
}

// freshKey is a key that is in no keyring yet.
type freshKey struct {
	secret string
	left   bool // an earlier run made it
	keep   bool // it must not be deleted, whatever becomes of it
}

// gone makes ErrRival of the error that a key is there no more: two runs had the same one, and the other has deleted it.
func (k *freshKey) gone(err error) error {
	if errors.Is(err, openstack.ErrNotFound) {
		return fmt.Errorf("%w: another run had the key %s, too, and has deleted it: %w", ErrRival, k.secret, err)
	}
	return err
}

// newKey finds the key that an earlier run left, or orders one, and makes it private.
func (m *Manager) newKey(ctx context.Context, r *request) (*freshKey, error) {
	name := KeyName(r.container, r.generation)
	key, err := m.leftKey(ctx, r, name)
	if err != nil {
		return nil, err
	}
	if key == nil {
		order, err := m.client.orderKey(ctx, name)
		if err != nil {
			return nil, err
		}
		secret, err := m.client.awaitOrder(ctx, order)
		if err != nil {
			return nil, err
		}
		key = &freshKey{secret: secret, keep: r.generation == 1} // the first one is active at once: it may have wrapped something
		m.say("The key %s was made for generation %d.", secret, r.generation)
	}
	err = m.secureKey(ctx, key.secret, r.container, r.readers)
	if err == nil {
		err = m.client.noteStore(ctx, key.secret, r.store)
	}
	return key, key.gone(err)
}

// leftKey is the key that an earlier run ordered and did not enter; nil if there is none.
func (m *Manager) leftKey(ctx context.Context, r *request, name string) (*freshKey, error) {
	pending, err := m.client.pendingOrders(ctx, name, r.owner)
	if err != nil {
		return nil, err
	}
	for _, order := range pending {
		m.say("The order %s of an earlier run is waited for.", order)
		if _, err := m.client.awaitOrder(ctx, order); err != nil && !errors.Is(err, ErrOrder) {
			return nil, err
		}
	}
	left, err := m.unlisted(ctx, r.container, name, r.owner)
	if err != nil {
		return nil, err
	}
	switch len(left) {
	case 0:
		return nil, nil //nolint:nilnil // there is none, as said above
	case 1:
		m.say("The key %s, which an earlier run left, is used for generation %d.", left[0], r.generation)
		return &freshKey{secret: left[0], left: true, keep: r.generation == 1}, nil
	default:
		return nil, fmt.Errorf("keys named %q that are not in the keyring: %w: %s; delete all but one, or all (openstack secret delete)", name, ErrAmbiguous, strings.Join(left, ", "))
	}
}

// unlisted are the keys of that name that the user made and that the container does not have.
func (m *Manager) unlisted(ctx context.Context, container, name, owner string) (ids []string, err error) {
	entries, err := m.client.entries(ctx, container)
	if err != nil {
		return nil, err
	}
	found, err := m.client.secretsNamed(ctx, name, owner)
	if err != nil {
		return nil, err
	}
	for i := range found {
		id := path.Base(found[i].SecretRef)
		if !slices.ContainsFunc(entries, func(e entry) bool { return e.secret == id }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// enter adds a key to the keyring. Barbican lets two entries have one generation, so that whoever enters one looks afterwards
// whether somebody else did the same: of all of them the first in the order of their UUIDs stays, unless another one is so sure of
// itself that it does not give way; then this one gives way, too. A key that nobody entered in the end is deleted.
func (m *Manager) enter(ctx context.Context, container string, key *freshKey, name string) error {
	own := entry{name, key.secret}
	err := m.client.addEntry(ctx, container, name, key.secret)
	switch {
	case errors.Is(err, openstack.ErrConflict):
		return fmt.Errorf("%w: another run has entered the same key: %w", ErrRival, err)
	case err != nil:
		return key.gone(err)
	}
	deadline := time.Now().Add(m.rivals)
	for {
		entries, err := m.client.entries(ctx, container)
		if err != nil {
			return err
		}
		rivals, there := rivalsOf(own, entries)
		switch {
		case !there:
			return fmt.Errorf("%w: the entry %s of secret %s has gone from container %s", ErrRival, name, key.secret, container)
		case len(rivals) == 0:
			return nil
		case rivals[0].compare(own) < 0 || time.Now().After(deadline):
			return m.giveWay(ctx, container, own, key, rivals)
		}
		if err := poll.Sleep(ctx, 200*time.Millisecond); err != nil {
			return errors.Join(err, m.giveWay(context.WithoutCancel(ctx), container, own, key, rivals))
		}
	}
}

// rivalsOf are the other entries of the same generation, in order; there says whether own is among the entries at all.
func rivalsOf(own entry, entries []entry) (rivals []entry, there bool) {
	generation, _, err := ParseEntryName(own.name)
	for _, e := range entries {
		if e == own {
			there = true
		} else if g, _, otherErr := ParseEntryName(e.name); err == nil && otherErr == nil && g == generation {
			rivals = append(rivals, e)
		}
	}
	slices.SortFunc(rivals, entry.compare)
	return rivals, there
}

// compare is the order in which rivals give way: the first stays.
func (e entry) compare(f entry) int {
	return cmp.Or(cmp.Compare(e.secret, f.secret), cmp.Compare(e.name, f.name))
}

// giveWay takes an entry back. A key that was to be active only later has wrapped nothing, and goes, too.
func (m *Manager) giveWay(ctx context.Context, container string, own entry, key *freshKey, rivals []entry) error {
	const bound = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	lost := fmt.Errorf("%w: %s is the secret %s there; nothing of it was changed", ErrRival, rivals[0].name, rivals[0].secret)
	if err := m.client.removeEntry(ctx, container, own.name, own.secret); err != nil {
		return errors.Join(lost, err)
	}
	if key.keep {
		return lost
	}
	left, err := m.client.entries(ctx, container) // anew: another run may have found the same key, and entered it or given way, too
	if err != nil || slices.ContainsFunc(left, func(e entry) bool { return e.secret == key.secret }) {
		return errors.Join(lost, err)
	}
	if err := m.discard(ctx, container, key.secret); !errors.Is(err, openstack.ErrNotFound) {
		return errors.Join(lost, err)
	}
	return lost
}

// discard deletes a key that is in no keyring.
func (m *Manager) discard(ctx context.Context, container, secret string) error {
	if err := m.client.removeSecretConsumer(ctx, secret, container); err != nil {
		return err
	}
	return m.client.deleteSecret(ctx, secret)
}
