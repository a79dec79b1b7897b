package manila

import (
	"context"
	"net/url"
	"strconv"
	"sync"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// many is how many shares have to be in flight for their questions to be asked together.
const many = 8

// Together lets calls that go on at the same time ask Manila together: one list tells of all the shares that are waited for, and
// another which names there are. Without it every call asks for itself. The zero value is ready, and safe for concurrent use.
type Together struct {
	mu     sync.Mutex
	crowds map[*openstack.Session]*crowd
}

// crowd is what goes on in one session.
type crowd struct {
	together *Together
	session  *openstack.Session

	names, namesakes, arrivals rounds

	size    int                // guarded by together.mu
	asks    bool               // together; guarded by together.mu
	changes map[string]*rounds // by the status that is waited with; guarded by together.mu
}

// join counts a call in, until it leaves.
func (t *Together) join(session *openstack.Session) *crowd {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.crowds[session]
	if !ok {
		c = &crowd{together: t, session: session}
		if t.crowds == nil {
			t.crowds = map[*openstack.Session]*crowd{}
		}
		t.crowds[session] = c
	}
	c.size++
	c.asks = c.asks || c.size >= many
	return c
}

func (c *crowd) leave() {
	c.together.mu.Lock()
	defer c.together.mu.Unlock()
	c.size--
	c.asks = c.asks && c.size > 1
	if c.size == 0 {
		delete(c.together.crowds, c.session)
	}
}

// large says whether to ask together: from many on, until but one is left.
func (c *crowd) large() bool {
	c.together.mu.Lock()
	defer c.together.mu.Unlock()
	return c.asks
}

// now is how many there are.
func (c *crowd) now() int {
	c.together.mu.Lock()
	defer c.together.mu.Unlock()
	return c.size
}

// pace is the time between two looks: the more shares are in flight, the longer, up to a second.
func (c *crowd) pace(least time.Duration) time.Duration {
	const each, most = 2 * time.Millisecond, time.Second
	return max(least, min(most, least+time.Duration(c.now()-many)*each))
}

// found has the shares that a round has found, by its keys.
type found map[string][]*Share

// rounds answer questions that come at about the same time with one call: a question that comes while a round is under way is one
// of the next. So an answer is never older than its question.
type rounds struct {
	mu      sync.Mutex
	next    *round
	running bool
	// the last round
	began time.Time
	took  time.Duration
}

// round is one call for several questions.
type round struct {
	keys   map[string]bool
	askers int
	ctx    context.Context //nolint:containedctx // it lives as long as anybody waits for the answers
	cancel context.CancelFunc
	call   roundCall
	done   chan struct{}

	answers found
	err     error
}

type roundCall func(ctx context.Context, keys map[string]bool) (found, error)

// ask waits for the answer of a round, which begins no sooner than interval after the one before, and later when that took long: then
// Manila, or this machine, has much to do already.
func (r *rounds) ask(ctx context.Context, key string, interval time.Duration, call roundCall) ([]*Share, error) {
	r.mu.Lock()
	if r.next == nil {
		work, cancel := context.WithCancel(context.WithoutCancel(ctx)) // others wait for it, too
		r.next = &round{keys: map[string]bool{}, ctx: work, cancel: cancel, call: call, done: make(chan struct{})}
	}
	mine := r.next
	mine.keys[key] = true
	mine.askers++
	if !r.running {
		r.running = true
		go r.run(interval)
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.answers[key], mine.err
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		if mine.askers--; mine.askers == 0 {
			mine.cancel()
			if r.next == mine {
				r.next = nil
			}
		}
		return nil, ctx.Err()
	}
}

// run makes one round after the other until nobody asks any more.
func (r *rounds) run(interval time.Duration) {
	for {
		r.mu.Lock()
		next, pause := r.next, r.pace(interval)-time.Since(r.began)
		if next == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		if pause > 0 {
			r.mu.Unlock()
			_ = poll.Sleep(next.ctx, pause) // when all have left, there is another round, or none
			continue
		}
		r.next, r.began = nil, time.Now()
		r.mu.Unlock()
		next.answers, next.err = next.call(next.ctx, next.keys)
		r.mu.Lock()
		r.took = time.Since(r.began)
		r.mu.Unlock()
		next.cancel()
		close(next.done)
	}
}

// pace is the time from the beginning of the last round to that of the next. Where rounds have one, they take a quarter of the time at most.
func (r *rounds) pace(interval time.Duration) time.Duration {
	const more, most = 3, 5 * time.Second
	if interval == 0 {
		return 0
	}
	return max(interval, r.took+min(more*r.took, most))
}

// find is byName, together with others when there are many: mostly their names are free, and one list says so. Of a name that is not,
// the shares are read by themselves.
func (c *crowd) find(ctx context.Context, a *api, name string) ([]*Share, error) {
	if !c.large() {
		return a.byName(ctx, name)
	}
	answer, err := c.names.ask(ctx, name, 0, a.byNames)
	own := make([]*Share, 0, len(answer))
	for _, s := range answer {
		if s.Status == "" { // all that is known is its name
			return a.byName(ctx, name)
		}
		share := *s // others may have asked the same
		own = append(own, &share)
	}
	return own, err
}

// byNames finds the shares of one name, or what shares there are of several: of those only ids and names are known.
func (a *api) byNames(ctx context.Context, names map[string]bool) (found, error) {
	if len(names) == 1 {
		for name := range names {
			shares, err := a.byName(ctx, name)
			return found{name: shares}, err
		}
	}
	all, _, err := pager[*Share]{
		id:   func(s *Share) string { return s.ID },
		keep: func(s *Share) bool { return names[s.Name] },
		read: func(ctx context.Context, offset, limit int) ([]*Share, error) {
			return a.listNames(ctx, pageOf(nil, offset, limit))
		},
	}.page(ctx, "", 0)
	out := found{}
	for _, s := range all {
		out[s.Name] = append(out[s.Name], s)
	}
	return out, err
}

// look is get, together with others when there are many: one list for those that wait for the same. A share that is not in that
// list, because it is not one of the newest, or what was waited for has come, is read by itself.
func (c *crowd) look(ctx context.Context, a *api, last *Share, least time.Duration) (*Share, error) {
	if !c.large() {
		return a.get(ctx, last.ID)
	}
	looks, list := c.list(last.Status)
	answer, err := looks.ask(ctx, last.ID, c.pace(least), func(ctx context.Context, ids map[string]bool) (found, error) {
		out := found{}
		if len(ids) == 1 {
			return out, nil
		}
		all, err := a.listShares(ctx, list(len(ids)))
		for _, s := range all {
			if ids[s.ID] {
				out[s.ID] = []*Share{s}
			}
		}
		return out, err
	})
	if err != nil {
		return nil, err
	}
	if len(answer) == 0 {
		return a.get(ctx, last.ID)
	}
	share := *answer[0] // others may have asked the same
	return &share, nil
}

// list picks the list in which shares of a status stand while they are waited for. Those that come are the newest. Those that change
// or go can be of any age, but are the only ones of their status.
func (c *crowd) list(status string) (*rounds, func(n int) url.Values) {
	if phase := Classify(status); phase != PhaseDeleting && phase != PhaseBusy {
		return &c.arrivals, func(n int) url.Values {
			limit := min(pageSize, max(fullPage, 2*n))
			return url.Values{"sort_key": {"created_at"}, "sort_dir": {"desc"}, "limit": {strconv.Itoa(limit)}}
		}
	}
	c.together.mu.Lock()
	defer c.together.mu.Unlock()
	if c.changes[status] == nil {
		if c.changes == nil {
			c.changes = map[string]*rounds{}
		}
		c.changes[status] = &rounds{}
	}
	return c.changes[status], func(int) url.Values { return url.Values{"status": {status}, "limit": {strconv.Itoa(pageSize)}} }
}
