package barbican

import (
	"errors"
	"fmt"
	"strings"

	"mooring/pkg/barbican/envelope"
	"mooring/pkg/openstack"
)

var (
	// ErrNotReady says that a key that is needed is not in memory yet. The error that wraps it says what keeps it away.
	ErrNotReady = errors.New("the key is not here yet")
	// ErrUnknownKey says that a key id has the right form, but is none of the keyring's.
	ErrUnknownKey = errors.New("the key id is not in the keyring")
	// ErrUnusableKey says that a secret can't serve as a key: it has not 32 bytes, or fails its test. It will not mend itself.
	ErrUnusableKey = errors.New("it can't be used as a key")
	// ErrRevoked says that Barbican refuses the keyring or its key for good, and that the policy is to stop then.
	ErrRevoked = errors.New("the key was revoked")
	// ErrStale says that Barbican was not reached for longer than is allowed.
	ErrStale = errors.New("the keyring is stale")
	// ErrBehind says that a higher generation was active before than the keyring has: writing with an older one would bring a key
	// id back, which the API server forbids.
	ErrBehind = errors.New("the keyring has only older keys than were in use")
	// ErrStateFile says that the file with the high-water mark can't be used.
	ErrStateFile = errors.New("the state file can't be used")
	// ErrCiphertext says that a ciphertext is none, was altered, or was made with another key, key id or cluster id.
	ErrCiphertext = errors.New("the ciphertext can't be opened")
	// ErrPlaintext says that what is to be wrapped is not the 32 bytes of a data-encryption key.
	ErrPlaintext = errors.New("a data-encryption key has 32 bytes")
)

// errReadOnly says that there is no active key since the policy wants none.
var errReadOnly = errors.New("this keyring only reads")

// errNoAnswer says that a request could not wait any longer.
var errNoAnswer = errors.New("the key is not here, and Barbican, which was asked for it, has not answered yet")

// waiting is ErrNotReady with its reason.
type waiting struct {
	ref    KeyRef // zero: the keyring itself
	reason error  // nil: nothing was tried yet
}

func (w *waiting) Error() string {
	switch {
	case w.reason != nil:
		return w.reason.Error()
	case w.ref == KeyRef{}:
		return "the keyring was not listed yet"
	default:
		return fmt.Sprintf("secret %s: not fetched from Barbican yet", w.ref.Secret)
	}
}

func (w *waiting) Is(target error) bool { return target == ErrNotReady }

func (w *waiting) Unwrap() error { return w.reason }

// refusal is a definite no of Barbican about a container or a secret.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refusing marks an error that is Barbican's own no about a resource: 403, 404 or 410 of its path, with a request id. Keystone's
// refusals of a login have other paths, outages other codes, and proxies that have lost Barbican no request id.
func refusing(err error, path string) error {
	var e *openstack.Error
	if errors.As(err, &e) && e.RequestID != "" && (errors.Is(e, openstack.ErrNotFound) || errors.Is(e, openstack.ErrForbidden)) && strings.Contains(e.Operation, path) {
		return refusal{err}
	}
	return err
}

// refused says whether an error is such a no.
func refused(err error) bool {
	_, is := errors.AsType[refusal](err)
	return is
}

// classify says whether a failed call can pass by itself.
func classify(err error) Failure {
	for _, definite := range []error{
		ErrUnusableKey, ErrKeyring, openstack.ErrNotFound, openstack.ErrForbidden, openstack.ErrUnauthorized, openstack.ErrInvalid, openstack.ErrNoService,
	} {
		if errors.Is(err, definite) {
			return Definite
		}
	}
	return Transient
}

// envelopeError puts the envelope's errors into this package's terms.
func envelopeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, envelope.ErrMalformed), errors.Is(err, envelope.ErrAuthentication):
		return fmt.Errorf("%w: %w", ErrCiphertext, err)
	case errors.Is(err, envelope.ErrPlaintextSize):
		return ErrPlaintext
	case errors.Is(err, envelope.ErrKeySize):
		return fmt.Errorf("%w: %w", ErrUnusableKey, err)
	default:
		return err
	}
}
