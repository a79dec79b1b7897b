package barbican

import (
	"testing"
	"time"
)

// TestCatchUp: a key that was made a moment ago is not one of the future, and one that is dated far ahead moves no clock.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for ahead, want := range map[time.Duration]time.Duration{-time.Hour: 0, 0: 0, 700 * time.Millisecond: 700 * time.Millisecond, time.Second: time.Second, 2 * time.Second: 0} {
		l := &Listing{Now: now, Keys: []ListedKey{{Created: now.Add(-time.Minute)}, {Created: now.Add(ahead)}}}
		if l.catchUp(); l.Now.Sub(now) != want {
			t.Errorf("created %v ahead: the clock is %v ahead, want %v", ahead, l.Now.Sub(now), want)
		}
	}
}
