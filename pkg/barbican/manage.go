package barbican

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mooring/pkg/openstack"
)

var (
	// ErrAmbiguous says that more than one thing has the name of what was looked for. Its text has their UUIDs.
	ErrAmbiguous = errors.New("more than one was found, and none is taken by guess")
	// ErrRival says that somebody else changed the keyring at the same time, and won.
	ErrRival = errors.New("somebody else changes the keyring at the same time")
	// ErrPending says that a generation is still to become active.
	ErrPending = errors.New("a generation is still to become active")
	// ErrStore says that keys would go to another secret store than was asked for.
	ErrStore = errors.New("keys would go to another secret store")
)

// Manager makes and changes keyrings, for an operator. It acts in steps that can be repeated: whatever it was interrupted at, a
// second run finds what the first one left (by its name and its creator, who is the user of the session) and goes on.
type Manager struct {
	client *Client
	note   func(string)
	rivals time.Duration // how long a rival may take to give way
}

// NewManager makes a manager. Note, if it is not nil, is told what was found and done, in sentences.
func NewManager(c *Client, note func(string)) *Manager {
	if note == nil {
		note = func(string) {}
	}
	const patience = 5 * time.Second
	return &Manager{client: c, note: note, rivals: patience}
}

func (m *Manager) say(format string, args ...any) { m.note(fmt.Sprintf(format, args...)) }

// Made is a keyring, and its newest key.
type Made struct {
	Container string
	Key       KeyRef
	Creator   string // Keystone's id of the user who made the key
	NotBefore time.Time
	Store     string // empty: Barbican does not tell
	Existed   bool   // nothing had to be made
	Guard     Guard  // of Init alone
}

// KeyName is the name of the secret of a generation. It has the keyring's UUID, so that it is one's own.
func KeyName(container string, generation uint64) string {
	return "mooring " + container + " " + EntryName(generation, time.Time{})
}

func highestGeneration(l *Listing) (highest uint64) {
	for _, k := range l.Keys {
		highest = max(highest, k.Ref.Generation)
	}
	for ref := range l.Unread {
		highest = max(highest, ref.Generation)
	}
	return highest
}

// RotateSpec says how a keyring is rotated.
type RotateSpec struct {
	Container string
	Policy    *Policy // what the plugins have: ActivationDelay, Creators, AnyCreator
	Store     string  // as for Init
}

// Rotate makes a key and adds it as the next generation. It refuses with ErrPending while one is still to become active, so that
// a run whose answer was lost can be repeated, and with ErrRival when another run was faster.
func (m *Manager) Rotate(ctx context.Context, spec RotateSpec) (*Made, error) {
	listing, err := m.client.Keyring(ctx, spec.Container, nil)
	if err != nil {
		return nil, err
	}
	for ref, err := range listing.Unread {
		return nil, fmt.Errorf("generation %d can't be read, so that it is not known what is active: %w", ref.Generation, err)
	}
	if p := spec.Policy; len(p.Creators) > 0 && !p.AnyCreator && !slices.Contains(p.Creators, listing.Owner) {
		return nil, fmt.Errorf("this user (%s) is none of those whose keys the plugins use: %s", listing.Owner, strings.Join(p.Creators, ", "))
	}
	for _, k := range Assess(listing, clockOf(listing), spec.Policy) {
		if k.Disputed {
			return nil, fmt.Errorf("%w, or did and was stopped: generation %d is given to two keys; if it stays so, retire the one that no plugin writes with (--secret, --force)", ErrRival, k.Ref.Generation)
		}
		if k.State == KeyPending || k.State == KeyHeldBack {
			return nil, fmt.Errorf("%w: %d (secret %s) at %s", ErrPending, k.Ref.Generation, k.Ref.Secret, k.Activation.UTC().Format(time.RFC3339))
		}
	}
	store, err := m.checkStore(ctx, spec.Store)
	if err != nil {
		return nil, err
	}
	readers, _, err := m.client.readers(ctx, containerKind, spec.Container)
	if err != nil {
		return nil, err
	}
	next := highestGeneration(listing) + 1
	if next == 0 {
		return nil, fmt.Errorf("%w: its highest generation is the highest that there can be; retire it", ErrKeyring)
	}
	key, err := m.newKey(ctx, &request{container: spec.Container, generation: next, owner: listing.Owner, store: store, readers: readers})
	if err != nil {
		return nil, err
	}
	made := &Made{Container: spec.Container, Key: KeyRef{Secret: key.secret, Generation: next}, Creator: listing.Owner, Store: store}
	if key.left { // it is older than it is listed: its creation does not count
		made.NotBefore = clockOf(listing).Add(spec.Policy.delay() + time.Second).UTC().Truncate(time.Second)
	}
	return made, m.enter(ctx, spec.Container, key, EntryName(next, made.NotBefore))
}

// clockOf is the clock by which a listing is judged.
func clockOf(l *Listing) time.Time {
	if l.Now.IsZero() {
		return time.Now()
	}
	return l.Now
}

// Overview is a keyring as `mooring keys list` shows it.
type Overview struct {
	Container string
	Keys      []KeyStatus
	Strange   []string // entries that are no generations, with why
	Now       time.Time
	Clock     Clock // whose Now is
	Guard     Guard
}

// List reads a keyring and judges it as plugins do that have this policy.
func (m *Manager) List(ctx context.Context, container string, p *Policy) (*Overview, error) {
	listing, err := m.client.Keyring(ctx, container, nil)
	if err != nil {
		return nil, err
	}
	out := &Overview{Container: container, Strange: listing.Strange, Now: clockOf(listing), Clock: listing.Clock}
	out.Keys = Assess(listing, out.Now, p)
	if out.Guard, err = m.client.guard(ctx); err != nil {
		return nil, err
	}
	for i := range out.Keys {
		k := &out.Keys[i]
		if _, unread := listing.Unread[k.Ref]; unread {
			continue
		}
		if err := m.detail(ctx, k); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// detail reads what only an operator wants to know of a key.
func (m *Manager) detail(ctx context.Context, k *KeyStatus) (err error) {
	if k.Store, err = m.client.storeOf(ctx, k.Ref.Secret); err != nil {
		return err
	}
	_, project, err := m.client.readers(ctx, secretKind, k.Ref.Secret)
	if errors.Is(err, openstack.ErrForbidden) { // another project's user may read a key, and not its ACL
		return nil
	}
	if err != nil {
		return err
	}
	private := !project
	k.Private = &private
	return nil
}

// Activation is when a key of a keyring becomes active, and how long that is from now, by Barbican's clock as far as it is told.
func (m *Manager) Activation(ctx context.Context, made *Made, p *Policy) (at time.Time, left time.Duration, err error) {
	listing, err := m.client.Keyring(ctx, made.Container, nil)
	if err != nil {
		return at, 0, err
	}
	i := slices.IndexFunc(listing.Keys, func(k ListedKey) bool { return k.Ref == made.Key })
	if i < 0 {
		return at, 0, fmt.Errorf("%w: generation %d (secret %s) is not there any more", ErrRival, made.Key.Generation, made.Key.Secret)
	}
	at = listing.Keys[i].Activation(p.delay())
	return at, at.Sub(clockOf(listing)), nil
}
