// Package envelope seals and opens the data-encryption keys that kube-apiserver
// hands to a KMS plugin, with a key-encryption key (KEK) from Barbican.
//
// # Suite 1
//
// Every ciphertext this package writes by default is 94 bytes:
//
//	offset  size  field
//	     0     1  version, 0x01
//	     1     1  suite, 0x01
//	     2    32  salt, random
//	    34    12  nonce, random
//	    46    32  ciphertext of the DEK
//	    78    16  tag
//
// A fresh AES-256 key is derived for each ciphertext with HKDF-SHA256 from the
// KEK, the salt and a fixed context string, so that the 2^32 limit on random GCM
// nonces under one key is never near, however often apiservers restart. The DEK
// is then sealed with AES-256-GCM. Its additional data is
//
//	version ‖ suite ‖ len(key id) as two bytes ‖ key id ‖ cluster id
//
// which ties a ciphertext to the key id that apiserver stores beside it and to
// the cluster it was made for: a ciphertext copied into another cluster's etcd,
// or put beside another key id, does not open. The length keeps the boundary
// between the two ids from being moved.
//
// The size is deliberate too. (94-16) mod 16 is not 0, so a CBC decryptor such as
// cloud-provider-openstack's plugin fails on it cleanly instead of returning
// sixteen-byte blocks of noise as a key.
//
// # Legacy suite
//
// [SealLegacy] and [OpenLegacy] speak the wire format of cloud-provider-openstack's
// barbican-kms-plugin: a 16-byte IV and the AES-CBC encryption of the 32-byte DEK
// with one full block of PKCS #7 padding, 64 bytes in all and without a header.
// It is not authenticated; [OpenLegacy] accepts nothing but the exact shape. Its keys may
// be those of AES-128 and AES-192, too.
//
// All of it uses the standard library alone and works under
// GODEBUG=fips140=only.
package envelope
