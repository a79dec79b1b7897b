// Package secmem keeps key material out of sight: [Bytes] holds it in memory of its own
// that is locked against swapping, left out of core dumps and never printed by any
// formatter, and [Undumpable] keeps other processes of the same user from reading it.
//
// What it can't do: bytes that passed through ordinary Go memory on their way here (a
// TLS record, an HTTP buffer) may linger until that memory is used again, and the
// schedule of a cipher made from a key is ordinary memory too.
package secmem
