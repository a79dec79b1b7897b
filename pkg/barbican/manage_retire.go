package barbican

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// RetireSpec says which generation goes.
type RetireSpec struct {
	Container  string
	Generation uint64
	Secret     string // of several keys that have the generation; empty: there is one
	Policy     *Policy
	// Unused proves that nothing needs a key id, or is an error; nil retires it whether it is in use or not. Since is when the key that is
	// active now became so, by Barbican's clock: until then others were written with. It is zero if none is.
	Unused func(ctx context.Context, keyID string, since time.Time) error
	// Delete also deletes the secret, for good.
	Delete bool
}

// Retired is what was done.
type Retired struct {
	Key     KeyRef
	Removed bool // from the keyring; false: it was not there any more
	Deleted bool
}

// Retire takes a generation out of a keyring, and deletes its secret if that is wanted, in this order: what is in the keyring can be
// read. It refuses for generations that are or will be active, and for those that are in use.
func (m *Manager) Retire(ctx context.Context, spec RetireSpec) (*Retired, error) {
	listing, err := m.client.Keyring(ctx, spec.Container, nil)
	if err != nil {
		return nil, err
	}
	keys := Assess(listing, clockOf(listing), spec.Policy)
	ref, err := Retirable(keys, KeyRef{spec.Secret, spec.Generation}, spec.Unused == nil)
	if err != nil {
		return nil, err
	}
	out := &Retired{Key: ref}
	if ref.Secret == "" {
		if ref.Secret, err = m.retiredBefore(ctx, &spec, listing.Owner); err != nil {
			return nil, err
		}
		out.Key = ref
	}
	if spec.Unused != nil {
		if err := spec.Unused(ctx, ref.KeyID(), activeSince(keys)); err != nil {
			return nil, err
		}
	}
	if spec.Delete {
		if err := m.mayDelete(ctx, &spec, ref, listing); err != nil {
			return nil, err
		}
	}
	return out, m.retire(ctx, &spec, out)
}

// retire acts on what Retire has found to be right.
func (m *Manager) retire(ctx context.Context, spec *RetireSpec, out *Retired) error {
	entries, err := m.client.entries(ctx, spec.Container)
	if err != nil {
		return err
	}
	kept := false
	for _, e := range entries {
		generation, _, err := ParseEntryName(e.name)
		switch {
		case e.secret != out.Key.Secret:
		case err == nil && generation == out.Key.Generation:
			if err := m.client.removeEntry(ctx, spec.Container, e.name, e.secret); err != nil {
				return err
			}
			out.Removed = true
		default:
			kept = true // under another generation
		}
	}
	if kept {
		return nil
	}
	if err := m.client.removeSecretConsumer(ctx, out.Key.Secret, spec.Container); err != nil {
		return err
	}
	if !spec.Delete {
		return nil
	}
	err = m.client.deleteSecret(ctx, out.Key.Secret)
	out.Deleted = err == nil
	return err
}

// mayDelete refuses to delete a secret that is somebody else's, too.
func (m *Manager) mayDelete(ctx context.Context, spec *RetireSpec, ref KeyRef, l *Listing) error {
	for _, k := range l.Keys {
		if k.Ref.Secret == ref.Secret && k.Ref.Generation != ref.Generation {
			return fmt.Errorf("%w: secret %s is generation %d, too", ErrInUse, ref.Secret, k.Ref.Generation)
		}
	}
	consumers, err := m.client.secretConsumers(ctx, ref.Secret)
	if err != nil {
		return err
	}
	for _, c := range consumers {
		if c != keyringConsumer(spec.Container) {
			return fmt.Errorf("%w: secret %s is registered for %s %s %s", ErrInUse, ref.Secret, c.Service, c.ResourceType, c.ResourceID)
		}
	}
	return nil
}

// retiredBefore finds the secret of a generation that is not in the keyring any more: an earlier run took it out.
func (m *Manager) retiredBefore(ctx context.Context, spec *RetireSpec, owner string) (string, error) {
	left, err := m.unlisted(ctx, spec.Container, KeyName(spec.Container, spec.Generation), owner)
	if err != nil {
		return "", err
	}
	wanted := fmt.Sprintf("generation %d", spec.Generation)
	if spec.Secret != "" {
		wanted += " with the secret " + spec.Secret
		left = slices.DeleteFunc(left, func(id string) bool { return id != spec.Secret })
	}
	switch len(left) {
	case 0:
		return "", fmt.Errorf("%w: %s", ErrNoGeneration, wanted)
	case 1:
		m.say("Generation %d is not in the keyring any more; its secret %s is still there.", spec.Generation, left[0])
		return left[0], nil
	default:
		return "", fmt.Errorf("secrets of generation %d, which is not in the keyring any more: %w: %s: say which (--secret)", spec.Generation, ErrAmbiguous, strings.Join(left, ", "))
	}
}
