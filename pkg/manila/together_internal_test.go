package manila

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPaceOfRounds: a Manila that answers slowly is asked less often, but asked.
func TestPaceOfRounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes, interval time.Duration
		want            int // in a minute
	}{
		"fast":               {10 * time.Millisecond, 500 * time.Millisecond, 120},
		"slow":               {time.Second, 500 * time.Millisecond, 15},
		"very slow":          {15 * time.Second, 500 * time.Millisecond, 3},
		"names are not late": {time.Second, 0, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r rounds
				calls := 0
				call := func(context.Context, map[string]bool) (found, error) {
					calls++
					time.Sleep(c.takes)
					return found{}, nil
				}
				for begin := time.Now(); time.Since(begin) < time.Minute; {
					if _, err := r.ask(t.Context(), "s", c.interval, call); err != nil {
						t.Fatal(err)
					}
				}
				if calls < c.want || calls > c.want+1 {
					t.Errorf("%d rounds in a minute, want %d", calls, c.want)
				}
			})
		})
	}
}
