package barbican

import (
	"errors"
	"fmt"

	"mooring/pkg/barbican/envelope"
)

var (
	// ErrNotReady says that a key that is needed is not in memory yet. The error that wraps it says what keeps it away.
	ErrNotReady = errors.New("the key is not here yet")
	// ErrUnknownKey says that a key id has the right form, but is none of the keyring's.
	ErrUnknownKey = errors.New("the key id is not in the keyring")
	// ErrUnusableKey says that a secret can't serve as a key: it has not 32 bytes, or fails its test. It will not mend itself.
	ErrUnusableKey = errors.New("it can't be used as a key")
	// ErrCiphertext says that a ciphertext is none, was altered, or was made with another key, key id or cluster id.
	ErrCiphertext = errors.New("the ciphertext can't be opened")
	// ErrPlaintext says that what is to be wrapped is not the 32 bytes of a data-encryption key.
	ErrPlaintext = errors.New("a data-encryption key has 32 bytes")
)

// waiting is ErrNotReady with its reason.
type waiting struct {
	ref    KeyRef
	reason error // nil: nothing was tried yet
}

func (w *waiting) Error() string {
	if w.reason == nil {
		return fmt.Sprintf("secret %s: not fetched from Barbican yet", w.ref.Secret)
	}
	return w.reason.Error()
}

func (w *waiting) Is(target error) bool { return target == ErrNotReady }

func (w *waiting) Unwrap() error { return w.reason }

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
