package barbican

import "time"

// reading is a look at Barbican's clock.
type reading struct {
	at, says time.Time
	whose    Clock
}

// after is what the clock says at another time.
func (c reading) after(now time.Time) time.Time { return c.says.Add(now.Sub(c.at)) }

const (
	// readingLife is how long a reading of a clock is better than later ones that are behind it.
	readingLife = time.Hour
	// plausible is how far a reading may be ahead of earlier ones: more than answers can be late.
	plausible = time.Minute
	// plausibleFirst is how far the first reading may be ahead of this machine's clock.
	plausibleFirst = 10 * time.Minute
)

// lookAtClock takes over the lister's clock. An answer is always older than it says, the slower the call the more: of several
// readings the one that is most ahead is the truest. It writes to a ring that is a copy already. The answer says whether the
// reading is doubted.
func (r *Ring) lookAtClock(l *Listing, now time.Time) (doubted bool) {
	if l.Now.IsZero() {
		return false
	}
	c := reading{at: now, says: l.Now, whose: l.Clock}
	if r.doubts(c) {
		return true
	}
	r.doubt = reading{}
	if c.whose != r.clock.whose || now.Sub(r.clock.at) > readingLife || c.says.After(r.Cloud(now)) {
		r.clock = c
	}
	return false
}

// doubts says whether a reading is too far ahead to be believed: a key would be active too early. It is believed when for an hour there
// was none but such, and the first one when the second says the same. It notes the doubt.
func (r *Ring) doubts(c reading) bool {
	most, long, ahead := plausible, readingLife, c.says.Sub(r.Cloud(c.at))
	if r.clock.at.IsZero() {
		most, long = plausibleFirst, 0
	} else { // a machine that was suspended has lost that time by its monotonic clock, and not by the other
		ahead = min(ahead, c.says.Sub(r.clock.says.Add(c.at.Round(0).Sub(r.clock.at.Round(0)))))
	}
	if ahead <= most {
		return false
	}
	if r.doubt.at.IsZero() || c.says.Sub(r.doubt.after(c.at)).Abs() > plausible {
		r.doubt = c
		return true
	}
	return c.at.Sub(r.doubt.at) < long
}

// Cloud is the time by Barbican's clock; as long as it was never told, by this machine's.
func (r Ring) Cloud(now time.Time) time.Time {
	if r.clock.at.IsZero() {
		return now
	}
	return r.clock.after(now)
}

// local is when Barbican's clock will say t, by this machine's.
func (r Ring) local(t, now time.Time) time.Time { return now.Add(t.Sub(r.Cloud(now))) }
