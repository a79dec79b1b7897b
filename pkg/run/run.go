// Package run holds the parts of a process together: they start together, one that fails ends the others, and at the end of
// the context they get a bounded time to finish.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Part is one long-running piece of a process. It returns nil once ctx has ended and it has finished what it was at.
type Part struct {
	Name string
	Run  func(ctx context.Context) error
}

// ErrDrain says that a part had not finished within the drain bound.
var ErrDrain = errors.New("still busy at the end of the drain time")

// All runs the parts until ctx ends or one of them returns. The others then have drain to finish. The error names the
// parts that failed; it is nil after an ordered end.
func All(ctx context.Context, logger *slog.Logger, drain time.Duration, parts ...Part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu   sync.Mutex
		errs []error
		busy = map[string]bool{}
		wg   sync.WaitGroup
	)
	for _, p := range parts {
		busy[p.Name] = true
	}
	for _, p := range parts {
		wg.Go(func() {
			err := p.Run(ctx)
			early := ctx.Err() == nil
			mu.Lock()
			defer mu.Unlock()
			delete(busy, p.Name)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
			} else if early {
				errs = append(errs, fmt.Errorf("%s: ended by itself", p.Name))
			}
			cancel()
		})
	}
	<-ctx.Done()
	logger.InfoContext(ctx, "stopping", slog.Duration("drain", drain))
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	mu.Lock()
	defer mu.Unlock()
	for _, p := range parts {
		if busy[p.Name] {
			errs = append(errs, fmt.Errorf("%s: %w", p.Name, ErrDrain))
		}
	}
	return errors.Join(errs...)
}
