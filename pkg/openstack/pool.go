package openstack

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Options are what all sessions of a process share.
type Options struct {
	// Logger gets retries, logins and warnings; nil discards them.
	Logger *slog.Logger
	// Metrics count calls; nil counts nothing.
	Metrics *Metrics
	// Rate is the budget of calls per second and service of one session, Burst what may be saved up; zero means defaultRate and
	// defaultBurst.
	Rate  rate.Limit
	Burst int
	// UserAgent stands before gophercloud's own; zero means mooring.
	UserAgent string

	patience time.Duration // loginPatience, but in tests
}

const (
	// The budget is for the cloud's sake, should something here go round in circles. Work of an ordinary kind must not feel it: a
	// hundred volumes that are made at once are about 330 calls (430 with CephFS), and none of them waits. A budget of 50 and 100,
	// as a test, made these creates take twice as long. A cloud that wants less answers 429, and gets less.
	defaultRate  = 100
	defaultBurst = 500

	// manySessions is how many sessions a pool keeps without asking whether they are still in use.
	manySessions = 256
	// unusedFor is after how long nobody has asked for a session it is forgotten, if there are many: credentials are rotated,
	// and those of old would be kept for ever.
	unusedFor = 2 * time.Hour
)

// Pool keeps one session per credential. Its methods are safe for concurrent use.
type Pool struct {
	options Options
	life    context.Context // ends what logins go on in the background
	end     context.CancelFunc

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*pooled
}

type pooled struct {
	*Session

	used time.Time // when it was last asked for
}

// NewPool makes an empty pool. Close it at the end.
func NewPool(o Options) *Pool {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Rate == 0 {
		o.Rate = defaultRate
	}
	if o.Burst == 0 {
		o.Burst = defaultBurst
	}
	if o.UserAgent == "" {
		o.UserAgent = "mooring"
	}
	if o.patience == 0 {
		o.patience = loginPatience
	}
	p := &Pool{options: o, sessions: map[[sha256.Size]byte]*pooled{}}
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// Session returns the session of a credential: the same one for the same credential, as long as it is asked for. It makes no
// call and never waits; what is wrong with the credential shows at the first call.
func (p *Pool) Session(c *Credential) *Session {
	key, now := c.Key(), time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[key]
	if s == nil {
		p.forget(now)
		s = &pooled{Session: newSession(p.life, *c, &p.options)}
		p.sessions[key] = s
		if c.Insecure {
			p.options.Logger.Warn("server certificates are not verified: anybody on the way to the cloud can read and change everything; set cacert instead of verify: false",
				slog.String("origin", c.Origin))
		}
	}
	s.used = now
	return s.Session
}

// forget drops sessions that nobody has asked for in a long time. Who still has one can go on using it.
func (p *Pool) forget(now time.Time) {
	if len(p.sessions) < manySessions {
		return
	}
	for key, s := range p.sessions {
		if now.Sub(s.used) > unusedFor {
			delete(p.sessions, key)
			s.close()
		}
	}
}

// Close ends background logins and closes idle connections. Calls that are under way finish on their own contexts.
func (p *Pool) Close() {
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		s.close()
	}
}
