// Package barbican keeps key-encryption keys from OpenStack Barbican in memory and wraps data-encryption keys with them.
//
// Barbican has no call that encrypts: a key's bytes have to come here, whatever store they are kept in. They are fetched once,
// tested, held in locked memory and used from there, so that wrapping makes no call and goes on while Barbican is away. A
// Client fetches, a Ring decides (which keys to fetch when, which one is active: pure functions of events and time), and a
// Keyring is the small loop that does what the ring decides and publishes the outcome as one immutable snapshot.
//
// Package envelope has the ciphertexts, package kms the gRPC service for kube-apiserver.
package barbican
