package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// KEKSize is the size in bytes of a key-encryption key, AES-256.
	KEKSize = 32
	// DEKSize is the size in bytes of what apiserver encrypts through KMS v2: a
	// 32-byte seed since Kubernetes 1.28, a 32-byte key before.
	DEKSize = 32
	// SealedSize is the size in bytes of a suite 1 ciphertext.
	SealedSize = headerSize + saltSize + nonceSize + DEKSize + tagSize

	headerSize = 2
	saltSize   = 32
	nonceSize  = 12
	tagSize    = 16

	version1   = 0x01
	suite1     = 0x01
	maxIDBytes = 1024 // the bound KMS v2 puts on key ids

	// suite1Context is the HKDF info string. It separates these derived keys from
	// any other use of the same Barbican secret and must never change.
	suite1Context = "mooring barbican-kms suite 1"
)

var (
	// ErrMalformed says that the ciphertext has not the shape of any suite: a wrong
	// length, version or suite byte. No key could open it.
	ErrMalformed = errors.New("envelope: malformed ciphertext")
	// ErrAuthentication says that the ciphertext has the right shape but does not
	// open with this key, key id and cluster id: it was altered, or made for others.
	ErrAuthentication = errors.New("envelope: ciphertext does not authenticate")
	// ErrKeySize says that the key-encryption key is not [KEKSize] bytes; in the legacy
	// suite, that it is no AES key.
	ErrKeySize = errors.New("envelope: the key-encryption key has a wrong size")
	// ErrPlaintextSize says that what is to be sealed is not [DEKSize] bytes.
	ErrPlaintextSize = errors.New("envelope: the data-encryption key is not 32 bytes")
	// ErrBinding says that a key id or cluster id is unusable: an empty or overlong
	// key id, an overlong cluster id.
	ErrBinding = errors.New("envelope: unusable key id or cluster id")
)

// Binding is what a suite 1 ciphertext is tied to besides its key.
type Binding struct {
	// KeyID is the key id given to apiserver with the ciphertext, 1 to 1024 bytes.
	KeyID string
	// ClusterID names the cluster, 0 to 1024 bytes. All control-plane nodes of a
	// cluster use the same one, and it never changes once data was written.
	ClusterID string
}

// Seal encrypts dek with kek as a suite 1 ciphertext of [SealedSize] bytes. Two
// calls never give the same bytes. It fails with [ErrKeySize], [ErrPlaintextSize]
// or [ErrBinding] on unusable input.
func Seal(kek, dek []byte, b Binding) ([]byte, error) {
	if len(dek) != DEKSize {
		return nil, ErrPlaintextSize
	}
	out := make([]byte, headerSize+saltSize, SealedSize)
	out[0], out[1] = version1, suite1
	salt := out[headerSize:]
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("envelope: random salt: %w", err)
	}
	aead, err := suite1AEAD(kek, salt)
	if err != nil {
		return nil, err
	}
	data, err := suite1Data(b)
	if err != nil {
		return nil, err
	}
	// The AEAD makes the nonce itself, in front of the ciphertext: the only form of
	// GCM that FIPS 140 mode allows.
	return aead.Seal(out, nil, dek, data), nil //nolint:gosec // the nonce is not given here: see above
}

// Open decrypts a suite 1 ciphertext. It fails with [ErrMalformed] when sealed is no
// suite 1 ciphertext, with [ErrAuthentication] when it does not open, and with
// [ErrKeySize] or [ErrBinding] on unusable input.
func Open(kek, sealed []byte, b Binding) ([]byte, error) {
	if len(sealed) != SealedSize || sealed[0] != version1 || sealed[1] != suite1 {
		return nil, ErrMalformed
	}
	aead, err := suite1AEAD(kek, sealed[headerSize:headerSize+saltSize])
	if err != nil {
		return nil, err
	}
	data, err := suite1Data(b)
	if err != nil {
		return nil, err
	}
	dek, err := aead.Open(nil, nil, sealed[headerSize+saltSize:], data)
	if err != nil {
		// The library's error says no more than this and its text may change.
		return nil, ErrAuthentication
	}
	return dek, nil
}

// suite1AEAD derives the one-time key of a ciphertext.
func suite1AEAD(kek, salt []byte) (cipher.AEAD, error) {
	if len(kek) != KEKSize {
		return nil, ErrKeySize
	}
	key, err := hkdf.Key(sha256.New, kek, salt, suite1Context, KEKSize)
	if err != nil {
		return nil, fmt.Errorf("envelope: derive key: %w", err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("envelope: AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("envelope: GCM: %w", err)
	}
	return aead, nil
}

// suite1Data is the additional data of a ciphertext.
func suite1Data(b Binding) ([]byte, error) {
	if b.KeyID == "" || len(b.KeyID) > maxIDBytes || len(b.ClusterID) > maxIDBytes {
		return nil, ErrBinding
	}
	data := make([]byte, 0, headerSize+2+len(b.KeyID)+len(b.ClusterID))
	data = append(data, version1, suite1)
	data = binary.BigEndian.AppendUint16(data, uint16(len(b.KeyID))) //nolint:gosec // at most maxIDBytes, see above
	data = append(data, b.KeyID...)
	return append(data, b.ClusterID...), nil
}
