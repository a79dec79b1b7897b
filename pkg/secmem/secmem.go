package secmem

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"
)

const redacted = "[redacted]"

// ErrDestroyed is returned by [Bytes.Use] after [Bytes.Destroy].
var ErrDestroyed = errors.New("secmem: the bytes were destroyed")

// Bytes is a secret of fixed size in a private anonymous mapping. It is safe for
// concurrent use. Every way of printing it gives "[redacted]".
type Bytes struct {
	mu     sync.RWMutex
	data   []byte // the mapping; nil once destroyed
	size   int
	locked bool
}

// New moves secret into locked memory: it copies the bytes and clears the argument.
// Where locking is not allowed (RLIMIT_MEMLOCK without CAP_IPC_LOCK) the bytes are kept
// all the same and [Bytes.Locked] says so. It fails when secret is empty or no memory
// can be mapped.
func New(secret []byte) (*Bytes, error) {
	defer clear(secret)
	if len(secret) == 0 {
		return nil, errors.New("secmem: no bytes to keep")
	}
	page := unix.Getpagesize()
	length := (len(secret) + page - 1) / page * page
	data, err := unix.Mmap(-1, 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("secmem: map memory: %w", err)
	}
	b := &Bytes{data: data, size: len(secret)}
	b.locked = unix.Mlock(data) == nil
	// Both are hints on top of the non-dumpable process: an old kernel without them
	// loses nothing else.
	_ = unix.Madvise(data, unix.MADV_DONTDUMP)
	_ = unix.Madvise(data, unix.MADV_WIPEONFORK)
	copy(data, secret)
	return b, nil
}

// Use calls f with the bytes. f must neither keep nor change them. The error is f's
// own, or [ErrDestroyed].
func (b *Bytes) Use(f func(secret []byte) error) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.data == nil {
		return ErrDestroyed
	}
	return f(b.data[:b.size:b.size])
}

// Locked says whether the memory is locked against swapping.
func (b *Bytes) Locked() bool { return b.locked }

// Equal compares the bytes with others in constant time.
func (b *Bytes) Equal(other []byte) bool {
	same := false
	err := b.Use(func(secret []byte) error {
		same = subtle.ConstantTimeCompare(secret, other) == 1
		return nil
	})
	return err == nil && same
}

// Destroy overwrites the bytes and gives the memory back, once all uses under way have
// ended. Calling it again does nothing.
func (b *Bytes) Destroy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.data == nil {
		return nil
	}
	clear(b.data)
	data := b.data
	b.data = nil
	if err := unix.Munmap(data); err != nil {
		return fmt.Errorf("secmem: unmap memory: %w", err)
	}
	return nil
}

// String implements [fmt.Stringer] without the bytes.
func (*Bytes) String() string { return redacted }

// Format implements [fmt.Formatter] without the bytes, whatever the verb.
func (*Bytes) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, redacted) // the fmt package keeps its own errors
}

// LogValue implements [slog.LogValuer] without the bytes.
func (*Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], for JSON and its kin too, without
// the bytes.
func (*Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Undumpable keeps the process from writing core dumps and from being attached to or
// read through /proc by processes of the same user: PR_SET_DUMPABLE 0 and a core limit
// of 0. For the life of the process.
func Undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("secmem: PR_SET_DUMPABLE: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("secmem: RLIMIT_CORE: %w", err)
	}
	return nil
}
