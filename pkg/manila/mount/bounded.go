package mount

import (
	"context"
	"sync"
)

// bounded runs calls that may hang, each on a goroutine of its own, at most one per key: who comes while one runs waits for
// that one. So the number of stuck threads is bounded by the number of mounts, whatever callers do.
type bounded struct {
	mu      sync.Mutex
	running map[string]*running
}

type running struct {
	done chan struct{}
	err  error // set before done is closed
}

// do runs f, or joins the run of it that is under way, and waits until it ends or ctx does; then the error is that of ctx, and
// f goes on.
func (b *bounded) do(ctx context.Context, key string, f func() error) error {
	b.mu.Lock()
	if b.running == nil {
		b.running = map[string]*running{}
	}
	r := b.running[key]
	if r == nil {
		r = &running{done: make(chan struct{})}
		b.running[key] = r
		go func() {
			r.err = f()
			b.mu.Lock()
			delete(b.running, key)
			b.mu.Unlock()
			close(r.done)
		}()
	}
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
