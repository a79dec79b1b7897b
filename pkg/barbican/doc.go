// Package barbican keeps key-encryption keys from OpenStack Barbican in memory and wraps data-encryption keys with them.
//
// Barbican has no call that encrypts: a key's bytes have to come here, whatever store they are kept in. They are fetched once,
// tested, held in locked memory and used from there, so that wrapping makes no call and goes on while Barbican is away. A
// Client fetches, a Ring decides (what to ask for when, which key is active, what counts as a revocation: pure functions of events
// and time), and a Keyring is the small loop that does what the ring decides and publishes the outcome as one immutable snapshot.
//
// The keys are the generations of a keyring: a generic container of Barbican (Client.Keyring), a file (ReadKeyringFile), or a list
// that never changes. Nodes that share a keyring switch to a new generation within a second, without talking to each other: it
// becomes active a fixed time after its creation, by Barbican's clock, and until then every one of them has seen and fetched it.
//
// Package envelope has the ciphertexts, package kms the gRPC service for kube-apiserver.
package barbican
