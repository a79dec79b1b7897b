package barbican

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/poll"
)

// TestInsist counts the calls that are under way, and tells when the first one succeeds.
func TestInsist(t *testing.T) {
	t.Parallel()
	const never = 24 * time.Hour
	for name, tc := range map[string]struct {
		back   time.Duration // calls that begin before are never answered
		takes  time.Duration // those that begin later
		calls  int           // in all, at most
		atOnce int           // at most
		ended  time.Duration // at the latest
	}{
		"fast":                         {0, time.Second / 2, 1, 1, time.Second / 2},
		"slow":                         {0, 3 * time.Second, 4, 4, 3 * time.Second},
		"very slow":                    {0, 25 * time.Second, 26, 7, 25 * time.Second},
		"back after a moment":          {time.Second / 2, time.Second / 10, 2, 2, 1100 * time.Millisecond},
		"back after ten seconds":       {10500 * time.Millisecond, time.Second / 10, 12, 6, 11100 * time.Millisecond},
		"back late":                    {27500 * time.Millisecond, time.Second / 10, 29, 7, 28100 * time.Millisecond},
		"back after ten seconds, slow": {10500 * time.Millisecond, 1900 * time.Millisecond, 13, 6, 12900 * time.Millisecond},
		"back after ten, slower":       {10500 * time.Millisecond, 3900 * time.Millisecond, 16, 7, 15900 * time.Millisecond},
		"away":                         {never, 0, 31, 7, callTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var mu sync.Mutex
				calls, atOnce, most, dropped := 0, 0, 0, 0
				count := func(n int) {
					mu.Lock()
					defer mu.Unlock()
					calls, atOnce = calls+max(n, 0), atOnce+n
					most = max(most, atOnce)
				}
				ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
				defer cancel()
				_, err := insist(ctx, true, func(ctx context.Context) (struct{}, error) {
					count(1)
					defer count(-1)
					takes := tc.takes
					if time.Since(begin) < tc.back {
						takes = never
					}
					return struct{}{}, poll.Sleep(ctx, takes)
				}, func(struct{}) { dropped++ })
				took := time.Since(begin)
				if (tc.back == never) != errors.Is(err, context.DeadlineExceeded) || tc.back != never && err != nil {
					t.Error(err)
				}
				if took > tc.ended || calls > tc.calls || most > tc.atOnce || atOnce+dropped != 0 {
					t.Errorf("after %v, with %d calls, %d at once, %d left, %d dropped", took, calls, most, atOnce, dropped)
				}
			})
		})
	}
}
