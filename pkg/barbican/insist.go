package barbican

import (
	"context"
	"time"
)

// insistEvery is how long a call may go unanswered before it is made once more.
const insistEvery = time.Second

// insist calls f; if that is urgent, each second once more beside that, until one of the calls has ended: one that hangs, since somebody takes
// connections and never answers, does not keep those away that come after the end of the trouble. The first to end counts. The others are
// ended, and what they bring all the same is dropped.
func insist[T any](ctx context.Context, urgent bool, f func(context.Context) (T, error), drop func(T)) (T, error) {
	if !urgent {
		return f(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	results := make(chan result)
	again := time.NewTicker(insistEvery)
	defer again.Stop()
	for others := 0; ; others++ {
		go func() {
			value, err := f(ctx)
			results <- result{value, err}
		}()
		select {
		case <-again.C:
			continue
		case first := <-results:
			cancel()
			for range others {
				if late := <-results; late.err == nil {
					drop(late.value)
				}
			}
			return first.value, first.err
		}
	}
}
