// Package poll waits for something to become true by asking again and again.
package poll

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Backoff is how long to wait between two questions: First, then Factor times more each time, at most Max. Jitter is the
// part of a wait that is random (0.2: up to a fifth less), so that many waiters do not ask in step.
type Backoff struct {
	First, Max time.Duration
	Factor     float64
	Jitter     float64
}

// Wait is the pause after question number n, from 0.
func (b Backoff) Wait(n int) time.Duration {
	d := float64(b.First)
	for range n {
		d *= b.Factor
		if d >= float64(b.Max) {
			d = float64(b.Max)
			break
		}
	}
	return time.Duration(d * (1 - b.Jitter*rand.Float64())) //nolint:gosec // jitter needs no secrecy
}

// Until calls ask until it is done or fails, with a pause before each call but the first. When the context ends first, the
// error wraps that of the context.
func Until(ctx context.Context, b Backoff, ask func(context.Context) (done bool, err error)) error {
	for n := 0; ; n++ {
		done, err := ask(ctx)
		if err != nil || done {
			return err
		}
		if err := Sleep(ctx, b.Wait(n)); err != nil {
			return fmt.Errorf("gave up after %d attempts: %w", n+1, err)
		}
	}
}

// Sleep waits for d. Its error is that of a context that ended first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
