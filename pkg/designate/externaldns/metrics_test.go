package externaldns

import (
	"testing"
	"time"
)

// A turn is good when nothing in it failed. One without changes counts when the next begins, from the time at which it was known to have none.
func TestTurns(t *testing.T) {
	t.Parallel()
	const read, adjust, adjustFails, apply, applyFails = "read", "adjust", "adjust fails", "apply", "apply fails"
	for name, test := range map[string]struct {
		calls []string // one a minute, from the first on
		want  time.Duration
	}{
		"nothing yet":                     {nil, 0},
		"a turn with changes":             {[]string{read, adjust, apply}, 0},
		"a failed apply":                  {[]string{read, adjust, applyFails}, 3 * time.Minute},
		"a failed adjust":                 {[]string{read, adjustFails}, 2 * time.Minute},
		"an idle turn, not yet known":     {[]string{read, adjust}, 2 * time.Minute},
		"an idle turn":                    {[]string{read, adjust, read}, time.Minute},
		"failures after a good turn":      {[]string{read, adjust, apply, read, adjust, applyFails, read}, 4 * time.Minute},
		"reads that fail":                 {[]string{read, read, read}, 3 * time.Minute},
		"a change that was taken back":    {[]string{read, adjust, applyFails, read, adjust, read}, time.Minute},
		"a failed adjust after an idle":   {[]string{read, adjust, read, adjustFails, read}, 3 * time.Minute},
		"good again after some bad turns": {[]string{read, adjust, applyFails, read, adjust, apply}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(0, 0)
			turns := &turns{good: now}
			for _, call := range test.calls {
				now = now.Add(time.Minute)
				switch call {
				case read:
					turns.begin()
				case adjust, adjustFails:
					turns.adjusted(now, call == adjust)
				case apply, applyFails:
					turns.applied(now, call == apply)
				}
			}
			if got := turns.age(now); got != test.want {
				t.Errorf("the last good turn was %v ago, want %v", got, test.want)
			}
		})
	}
}
