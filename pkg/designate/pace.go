package designate

import (
	"errors"
	"net/http"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// pace is how fast a cloud takes our writes. All workers share it, so that a cloud that asks for a pause gets one from all of them, and
// Applies hand it on. Only one goroutine may use it at a time.
//
// A refusal stops new writes for as long as it asks for, or ever longer in a row of refusals; then one write at a time asks whether it is over.
// Once it is, half as many are at work at once as before, and as many good answers as there are writes at work allow one more.
type pace struct {
	most, width int       // writes at work at once: when all is well, and now
	good, bad   int       // answers since the width changed; refusals in a row
	refused     time.Time // the last refusal of that row
	resume      time.Time // nothing is begun before
}

// longestPause bounds what a cloud can ask for, so that a slip of a proxy does not stop us for a day.
const longestPause = 5 * time.Minute

func newPace(most int) *pace { return &pace{most: most, width: most} }

// allowed is how many writes may be at work.
func (p *pace) allowed() int {
	if p.bad > 0 {
		return 1
	}
	return p.width
}

// pause is how long nothing may be begun; at most 0 is not at all.
func (p *pace) pause(now time.Time) time.Duration { return p.resume.Sub(now) }

// took notes how a write that was begun at some time has ended.
func (p *pace) took(begun, now time.Time, err error) {
	if !slowing(err) {
		if p.good++; p.good >= p.width && p.width < p.most {
			p.width, p.good = p.width+1, 0
		}
		p.bad = 0
		return
	}
	if !begun.Before(p.refused) { // those that were at work already when another was refused say nothing new
		if p.bad++; p.bad == 1 {
			p.width, p.good = max(p.width/2, 1), 0
		}
		p.refused = now
	}
	wait := poll.Backoff{First: 200 * time.Millisecond, Max: 5 * time.Second, Factor: 2, Jitter: 0.2}.Wait(max(p.bad-1, 0))
	if e := (*openstack.Error)(nil); errors.As(err, &e) {
		wait = min(max(wait, e.RetryAfter), longestPause)
	}
	if until := now.Add(wait); until.After(p.resume) {
		p.resume = until
	}
}

// slowing reports whether an error says that the cloud has too much to do, or is away.
func slowing(err error) bool {
	e := (*openstack.Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case 0, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return errors.Is(err, openstack.ErrUnavailable)
	default:
		return errors.Is(err, openstack.ErrThrottled)
	}
}

// repeatable reports whether an operation that failed may go well if it is tried again soon. That is tried a few times only: the trouble may be
// with this one record.
func repeatable(err error, attempts int) bool {
	const most = 5
	return attempts < most && (slowing(err) || errors.Is(err, openstack.ErrUnavailable))
}
