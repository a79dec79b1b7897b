package poll_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/poll"
)

func TestWaitGrowsToItsMaximum(t *testing.T) {
	t.Parallel()
	b := poll.Backoff{First: 300 * time.Millisecond, Max: 2 * time.Second, Factor: 2}
	for n, ms := range []int64{300, 600, 1200, 2000, 2000} {
		if got := b.Wait(n); got.Milliseconds() != ms {
			t.Errorf("Wait(%d) = %v, want %d ms", n, got, ms)
		}
	}
	if got := b.Wait(1 << 20); got != 2*time.Second {
		t.Errorf("a late wait is %v, want the maximum", got)
	}
}

func TestJitterOnlyShortens(t *testing.T) {
	t.Parallel()
	b := poll.Backoff{First: time.Second, Max: time.Second, Factor: 1, Jitter: 0.2}
	for range 1000 {
		if got := b.Wait(0); got > time.Second || got < 800*time.Millisecond {
			t.Fatalf("Wait = %v, want 0.8 to 1 s", got)
		}
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin, asked := time.Now(), 0
		err := poll.Until(t.Context(), poll.Backoff{First: time.Second, Max: 4 * time.Second, Factor: 2}, func(context.Context) (bool, error) {
			asked++
			return asked == 4, nil
		})
		if err != nil || asked != 4 || time.Since(begin) != 7*time.Second {
			t.Fatalf("err %v after %d questions in %v; want 4 in 7 s", err, asked, time.Since(begin))
		}
	})
}

func TestUntilEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		never := func(context.Context) (bool, error) { return false, nil }
		if err := poll.Until(ctx, poll.Backoff{First: 3 * time.Second, Max: time.Minute, Factor: 1}, never); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the context's error", err)
		}
		boom := errors.New("boom")
		if err := poll.Until(t.Context(), poll.Backoff{}, func(context.Context) (bool, error) { return false, boom }); !errors.Is(err, boom) {
			t.Fatalf("got %v, want the question's error", err)
		}
	})
}
