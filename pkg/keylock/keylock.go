// Package keylock has one lock per key: two requests for one volume wait for each other, and for nobody else.
package keylock

import (
	"context"
	"sync"
)

// Locks is a set of locks, made as they are needed and forgotten when nobody holds or awaits them. The zero value is ready.
type Locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	free  chan struct{} // holds one element while nobody has the lock
	users int           // who has it or waits for it
}

// TryLock takes the lock of a key if nobody has it.
func (l *Locks) TryLock(key string) (unlock func(), ok bool) {
	k := l.join(key)
	select {
	case <-k.free:
		return l.unlocker(key, k), true
	default:
		l.leave(key, k)
		return nil, false
	}
}

// Lock waits for the lock of a key. Its error is that of the context.
func (l *Locks) Lock(ctx context.Context, key string) (unlock func(), err error) {
	k := l.join(key)
	select {
	case <-k.free:
		return l.unlocker(key, k), nil
	case <-ctx.Done():
		l.leave(key, k)
		return nil, ctx.Err()
	}
}

func (l *Locks) join(key string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	k := l.held[key]
	if k == nil {
		k = &lock{free: make(chan struct{}, 1)}
		k.free <- struct{}{}
		l.held[key] = k
	}
	k.users++
	return k
}

func (l *Locks) leave(key string, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.held, key)
	}
}

// unlocker can be called twice: a deferred unlock after an early one does no harm.
func (l *Locks) unlocker(key string, k *lock) func() {
	return sync.OnceFunc(func() {
		k.free <- struct{}{}
		l.leave(key, k)
	})
}
