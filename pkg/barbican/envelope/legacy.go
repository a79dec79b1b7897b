package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
)

// LegacySize is the size in bytes of a ciphertext of cloud-provider-openstack's
// plugin: IV, 32 bytes of DEK, one block of padding.
const LegacySize = aes.BlockSize + DEKSize + aes.BlockSize

// SealLegacy encrypts dek in the format of cloud-provider-openstack's plugin, so that
// during a takeover nodes that still run it can read what this node writes. The
// format has no authentication: it is for that time only. Keys are as for [OpenLegacy].
// It fails with [ErrKeySize] or [ErrPlaintextSize] on unusable input.
func SealLegacy(kek, dek []byte) ([]byte, error) {
	if len(dek) != DEKSize {
		return nil, ErrPlaintextSize
	}
	block, err := legacyBlock(kek)
	if err != nil {
		return nil, err
	}
	out := make([]byte, LegacySize)
	iv, body := out[:aes.BlockSize], out[aes.BlockSize:]
	if _, err := rand.Read(iv); err != nil {
		return nil, fmt.Errorf("envelope: random IV: %w", err)
	}
	padded := append(bytes.Clone(dek), legacyPadding()...)
	defer clear(padded)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, padded)
	return out, nil
}

// OpenLegacy decrypts a ciphertext of cloud-provider-openstack's plugin. It is strict:
// 64 bytes, and after decryption exactly 32 bytes of DEK and a full block of padding.
// That plugin takes a key of 16 or 24 bytes, too, for AES-128 and AES-192.
//
// A wrong key passes that check once in 2^128 cases, and so does a change to the last
// two blocks. A changed IV (the first block) or a changed second block can't be noticed:
// another DEK comes out, which is the format's own weakness. The objects that it stands
// beside are authenticated with the right one, so that kube-apiserver fails to read them
// then. It fails with [ErrMalformed], [ErrAuthentication] or [ErrKeySize].
func OpenLegacy(kek, sealed []byte) ([]byte, error) {
	if len(sealed) != LegacySize {
		return nil, ErrMalformed
	}
	block, err := legacyBlock(kek)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, LegacySize-aes.BlockSize)
	cipher.NewCBCDecrypter(block, sealed[:aes.BlockSize]).CryptBlocks(plain, sealed[aes.BlockSize:])
	if subtle.ConstantTimeCompare(plain[DEKSize:], legacyPadding()) != 1 {
		clear(plain)
		return nil, ErrAuthentication
	}
	return plain[:DEKSize:DEKSize], nil
}

func legacyBlock(kek []byte) (cipher.Block, error) {
	block, err := aes.NewCipher(kek)
	if err != nil { // the only thing that can be wrong is the size
		return nil, fmt.Errorf("%w: a legacy key has 16, 24 or 32 bytes", ErrKeySize)
	}
	return block, nil
}

// legacyPadding is PKCS #7 padding for a plaintext that is a multiple of the block size.
func legacyPadding() []byte {
	return bytes.Repeat([]byte{aes.BlockSize}, aes.BlockSize)
}
