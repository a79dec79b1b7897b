package barbican

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// InitSpec says what keyring is wanted.
type InitSpec struct {
	ClusterID string   // whose keyring it is
	Name      string   // of the container
	Readers   []string // Keystone's ids of the users who may read the keys besides the one who makes them
	Store     string   // the secret store that keys have to go to; empty: whichever it is
}

// Init makes a keyring with its first key, or finishes one that was begun. Everything in it is private to the session's user and
// the readers. A keyring that is there already is left as it is, but for readers and registrations that lack.
func (m *Manager) Init(ctx context.Context, spec InitSpec) (*Made, error) {
	owner, err := m.client.session.Owner(ctx)
	if err != nil {
		return nil, err
	}
	store, err := m.checkStore(ctx, spec.Store)
	if err != nil {
		return nil, err
	}
	container, err := m.container(ctx, spec.Name, owner.UserID)
	if err != nil {
		return nil, err
	}
	readers, err := m.secureContainer(ctx, container, spec)
	if err != nil {
		return nil, err
	}
	listing, err := m.client.Keyring(ctx, container, nil)
	if err != nil {
		return nil, err
	}
	guard, err := m.client.guard(ctx)
	if err != nil {
		return nil, err
	}
	m.say("%s", guard.Notice())
	made := &Made{Container: container, Creator: owner.UserID, Store: store, Guard: guard}
	if highest := highestGeneration(listing); highest > 0 {
		return made, m.existing(ctx, made, listing, readers)
	}
	key, err := m.newKey(ctx, &request{container: container, generation: 1, owner: owner.UserID, store: store, readers: readers})
	if err != nil {
		return nil, err
	}
	made.Key = KeyRef{Secret: key.secret, Generation: 1}
	if key.left { // it may have been in the container as plain generation-1, and Barbican takes no entry twice; it has nothing to wait for
		made.NotBefore = clockOf(listing).UTC().Truncate(time.Second)
	}
	return made, m.enter(ctx, container, key, EntryName(1, made.NotBefore))
}

// existing completes a keyring that has keys: all that the session's user made get the readers and the registration.
func (m *Manager) existing(ctx context.Context, made *Made, l *Listing, readers []string) error {
	made.Existed = true
	for _, k := range l.Keys {
		if k.Creator != made.Creator {
			m.say("Generation %d (secret %s) was made by another user, %s, and is left as it is.", k.Ref.Generation, k.Ref.Secret, k.Creator)
			continue
		}
		if k.Ref.Generation > made.Key.Generation {
			made.Key, made.NotBefore = k.Ref, k.NotBefore
		}
		if err := m.secureKey(ctx, k.Ref.Secret, made.Container, readers); err != nil {
			return err
		}
	}
	if made.Key.Generation == 0 {
		return fmt.Errorf("container %s: %w: none of its keys was made by this user (%s)", made.Container, ErrKeyring, made.Creator)
	}
	var err error
	made.Store, err = m.client.storeOf(ctx, made.Key.Secret)
	m.say("The keyring has keys already (%d); no key was made.", len(l.Keys))
	return err
}

// checkStore is the store that new keys go to.
func (m *Manager) checkStore(ctx context.Context, wanted string) (string, error) {
	store, err := m.client.store(ctx)
	if err != nil || wanted == "" || store == wanted {
		return store, err
	}
	if store == "" {
		return "", fmt.Errorf("%w than %q: Barbican does not say to which", ErrStore, wanted)
	}
	return "", fmt.Errorf("%w: %q, not %q; an admin of the project chooses it (openstack secret store list; POST /v1/secret-stores/<id>/preferred)", ErrStore, store, wanted)
}

// container finds the keyring's container, or makes it.
func (m *Manager) container(ctx context.Context, name, owner string) (string, error) {
	found, err := m.containers(ctx, name, owner)
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
	case 1:
		m.say("The container %s of that name is there already.", found[0])
		return found[0], nil
	default:
		return "", fmt.Errorf("containers named %q: %w: %s; delete those that are none of your keyrings, or give this one another --name", name, ErrAmbiguous, strings.Join(found, ", "))
	}
	made, err := m.client.createContainer(ctx, name)
	if err != nil {
		return "", err
	}
	if found, err = m.containers(ctx, name, owner); err != nil {
		return "", err
	}
	if len(found) > 1 { // two at once: both give way, since neither knows how far the other has come
		err := fmt.Errorf("%w: containers %s; run it again", ErrRival, strings.Join(found, ", "))
		return "", errors.Join(err, m.client.deleteContainer(ctx, made))
	}
	m.say("The container %s was made.", made)
	return made, nil
}

func (m *Manager) containers(ctx context.Context, name, owner string) (ids []string, err error) {
	found, err := m.client.containersNamed(ctx, name, owner)
	for i := range found {
		ids = append(ids, path.Base(found[i].ContainerRef))
	}
	slices.Sort(ids)
	return ids, err
}

// secureContainer makes the container private, registers the cluster, and returns who may read. Readers that are there stay.
func (m *Manager) secureContainer(ctx context.Context, container string, spec InitSpec) ([]string, error) {
	have, _, err := m.client.readers(ctx, containerKind, container)
	if err != nil {
		return nil, err
	}
	readers := union(have, spec.Readers)
	return readers, errors.Join(
		m.client.makePrivate(ctx, containerKind, container, readers),
		m.client.addContainerConsumer(ctx, container, spec.ClusterID))
}

// secureKey makes a key private and registers the keyring with it. Readers that are there stay.
func (m *Manager) secureKey(ctx context.Context, secret, container string, readers []string) error {
	have, _, err := m.client.readers(ctx, secretKind, secret)
	if err != nil {
		return err
	}
	if err := m.client.makePrivate(ctx, secretKind, secret, union(have, readers)); err != nil {
		return err
	}
	return m.client.addSecretConsumer(ctx, secret, container)
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
