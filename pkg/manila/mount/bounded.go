package mount

import (
	"context"
	"sync"
)

// flights runs calls that may hang, each on a goroutine of its own, at most one per key: who comes while one runs waits for
// that one. So the number of stuck threads is bounded by the number of mounts, whatever callers do.
type flights[T any] struct {
	mu      sync.Mutex
	running map[string]*flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	value T     // set before done is closed
	err   error // likewise
}

// do runs f, or joins the run of it that is under way, and waits until it ends or ctx does; then the error is that of ctx, and
// f goes on.
func (b *flights[T]) do(ctx context.Context, key string, f func() (T, error)) (T, error) {
	b.mu.Lock()
	if b.running == nil {
		b.running = map[string]*flight[T]{}
	}
	r := b.running[key]
	if r == nil {
		r = &flight[T]{done: make(chan struct{})}
		b.running[key] = r
		go func() {
			r.value, r.err = f()
			b.mu.Lock()
			delete(b.running, key)
			b.mu.Unlock()
			close(r.done)
		}()
	}
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// bounded are flights that bring nothing back but an error.
type bounded struct{ flights[struct{}] }

func (b *bounded) do(ctx context.Context, key string, f func() error) error {
	_, err := b.flights.do(ctx, key, func() (struct{}, error) { return struct{}{}, f() })
	return err
}
