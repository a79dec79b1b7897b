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
//
// The first call has all the time there is, for a Barbican that is slow, and the others so little (see patience) that after half a minute
// seven are under way at most, not thirty.
func insist[T any](ctx context.Context, urgent bool, f func(context.Context) (T, error), drop func(T)) (T, error) {
	if !urgent {
		return f(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		value T
		err   error
		late  bool // it was ended for having taken too long
	}
	results := make(chan result)
	begin := func(n int) {
		bounded, end := ctx, context.CancelFunc(func() {})
		if n > 0 {
			bounded, end = context.WithTimeout(ctx, patience(n))
		}
		defer end()
		value, err := f(bounded)
		results <- result{value, err, err != nil && bounded.Err() != nil && ctx.Err() == nil}
	}
	again := time.NewTicker(insistEvery)
	defer again.Stop()
	go begin(0)
	for n, others := 1, 0; ; {
		select {
		case <-again.C:
			go begin(n)
			n++
			others++
		case ended := <-results:
			if ended.late {
				others--
				continue
			}
			cancel()
			for range others {
				if late := <-results; late.err == nil {
					drop(late.value)
				}
			}
			return ended.value, ended.err
		}
	}
}

// patience is how long call n may take, from 1: two seconds for every other one, four for every other one of the rest, and so on. So there is
// one of each length under way, and whatever Barbican needs once it is back is begun soon after that.
func patience(n int) time.Duration { return 2 * insistEvery * time.Duration(n&-n) }
