package barbican

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/openstack"
)

const (
	testPoll  = time.Minute
	testDelay = 10 * time.Minute
	me        = "5f0e1c3a9d2b4c7f8e6a1b2c3d4e5f60"
)

func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func at(d time.Duration) time.Time { return epoch().Add(d) }

// testPolicy waits a second more after each failure, ten times that when it is definite.
func testPolicy() Policy {
	return Policy{
		Wait: func(why Failure, n int) time.Duration {
			d := time.Duration(n+1) * time.Second
			if why == Definite {
				d *= 10
			}
			return d
		},
		Poll: testPoll, ActivationDelay: testDelay, Lists: true,
	}
}

func away() error {
	return &openstack.Error{Class: openstack.ErrUnavailable, Operation: "GET /v1/secrets/x", Message: "away"}
}

// forbidden is Barbican's own no.
func forbidden() error {
	return refusing(&openstack.Error{Class: openstack.ErrForbidden, Operation: "GET /v1/containers/x", RequestID: "req-1", Message: "no"}, "/containers/x")
}

// gen is a key of the keyring that was made at a time.
func gen(n uint64, secret string, created time.Time) ListedKey {
	return ListedKey{Ref: KeyRef{secret, n}, Created: created, Creator: me, Status: usableStatus}
}

// long ago, a key was made that is active now.
func old(n uint64, secret string) ListedKey { return gen(n, secret, at(-24*time.Hour)) }

// listing is told at a moment whose time Barbican knows, too.
func listing(now time.Time, keys ...ListedKey) *Listing {
	return &Listing{Keys: keys, Owner: me, Now: now, Clock: BarbicanClock}
}

// view of a ring that a table compares.
type look struct {
	Active, Mark uint64
	Due          string
	Wake, Turn   time.Duration // after the epoch; -1: never
	Lack         error         // the sentinel
	Revoked      bool
	Stale        bool
	Complete     bool
}

func lookAt(r Ring, now time.Time) look {
	l := look{Mark: r.Mark().Generation, Wake: -1, Turn: -1, Complete: r.Complete(now) == nil, Revoked: r.Revoked(now) != nil, Stale: r.Stale(now)}
	if ref, ok := r.Active(); ok {
		l.Active = ref.Generation
	}
	if task, ok := r.Due(now); ok {
		l.Due = describe(task)
	}
	if t, ok := r.Wake(now); ok {
		l.Wake = t.Sub(epoch())
	}
	if t, ok := r.Turn(now); ok {
		l.Turn = t.Sub(epoch())
	}
	for _, sentinel := range []error{ErrBehind, ErrUnusableKey, ErrNotReady} {
		if l.Lack == nil && errors.Is(r.Lack(now), sentinel) {
			l.Lack = sentinel
		}
	}
	return l
}

func describe(t Task) string {
	switch t.Kind {
	case List:
		return "list"
	case Check:
		return fmt.Sprintf("check %d", t.Ref.Generation)
	default:
		return fmt.Sprintf("fetch %d", t.Ref.Generation)
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	a, b, c := KeyRef{uuidA, 1}, KeyRef{uuidB, 2}, KeyRef{uuidC, 3}
	start := func(change ...func(*Policy)) Ring {
		p := testPolicy()
		for _, f := range change {
			f(&p)
		}
		return NewRing(p, KeyRef{}, epoch())
	}
	marked := func(mark KeyRef) Ring { return NewRing(testPolicy(), mark, epoch()) }
	one := start().Listed(listing(epoch(), old(1, uuidA)), epoch())
	two := start().Listed(listing(epoch(), old(2, uuidB), old(1, uuidA)), epoch())
	// b is made now and becomes active in ten minutes.
	next := start().Listed(listing(epoch(), gen(2, uuidB, epoch()), old(1, uuidA)), epoch())
	serving := two.Held(a).Held(b).Advance(epoch())
	type ringAt struct {
		ring Ring
		now  time.Duration
	}
	tests := map[string]struct {
		ringAt
		want look
	}{
		"new: listed first":                        {ringAt{start(), 0}, look{Due: "list", Lack: ErrNotReady, Complete: true}},
		"listed: fetched":                          {ringAt{one, 0}, look{Due: "fetch 1", Lack: ErrNotReady}},
		"held: active until the poll":              {ringAt{one.Held(a), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: -1, Complete: true}},
		"the poll":                                 {ringAt{one.Held(a), testPoll}, look{Active: 1, Mark: 1, Due: "list", Turn: -1, Complete: true}},
		"the newest is fetched first":              {ringAt{two, 0}, look{Due: "fetch 2", Lack: ErrNotReady}},
		"then the older":                           {ringAt{two.Held(b), 0}, look{Active: 2, Mark: 2, Due: "fetch 1", Turn: -1}},
		"a fetch failed: again soon":               {ringAt{one.Failed(a, away(), epoch()), 0}, look{Wake: time.Second, Turn: -1, Lack: ErrNotReady}},
		"a second later":                           {ringAt{one.Failed(a, away(), epoch()), time.Second}, look{Due: "fetch 1", Lack: ErrNotReady}},
		"failed twice, then for good":              {ringAt{one.Failed(a, away(), epoch()).Failed(a, forbidden(), epoch()), 0}, look{Wake: 20 * time.Second, Turn: -1, Lack: ErrNotReady}},
		"the list failed: again soon":              {ringAt{start().ListFailed(away(), epoch()), 0}, look{Wake: time.Second, Turn: -1, Lack: ErrNotReady, Complete: true}},
		"with a key it can wait":                   {ringAt{serving.ListFailed(away(), epoch()), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},
		"what can't be mended waits":               {ringAt{one.Held(a).Advance(epoch()).Listed(listing(epoch(), old(2, uuidB), old(1, uuidA)), epoch()).Failed(b, forbidden(), epoch()), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: -1}},
		"without a mark, the newest is waited for": {ringAt{two.Held(a).Failed(b, away(), epoch()), 0}, look{Wake: time.Second, Turn: -1, Lack: ErrNotReady}},
		"unless it can't be had":                   {ringAt{two.Held(a).Failed(b, forbidden(), epoch()), 0}, look{Active: 1, Mark: 1, Wake: 10 * time.Second, Turn: -1}},
		"with the older's mark, it is not":         {ringAt{marked(a).Listed(listing(epoch(), old(2, uuidB), old(1, uuidA)), epoch()).Held(a).Failed(b, away(), epoch()), 0}, look{Active: 1, Mark: 1, Wake: time.Second, Turn: -1}},
		"with the newest's mark, only that":        {ringAt{marked(b).Listed(listing(epoch(), old(2, uuidB), old(1, uuidA)), epoch()).Held(a), 0}, look{Mark: 2, Due: "fetch 2", Lack: ErrNotReady}},
		"behind the mark":                          {ringAt{marked(c).Listed(listing(epoch(), old(2, uuidB), old(1, uuidA)), epoch()).Held(a).Held(b), 0}, look{Mark: 3, Wake: testPoll, Turn: -1, Lack: ErrBehind, Complete: true}},
		"another key of the marked generation":     {ringAt{marked(KeyRef{uuidC, 2}).Listed(listing(epoch(), old(2, uuidB)), epoch()).Held(b), 0}, look{Mark: 2, Wake: testPoll, Turn: -1, Lack: ErrBehind, Complete: true}},

		"to come: fetched at once":    {ringAt{next.Held(a), 0}, look{Active: 1, Mark: 1, Due: "fetch 2", Turn: -1}},
		"to come: held":               {ringAt{next.Held(a).Held(b), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: testDelay, Complete: true}},
		"just before":                 {ringAt{next.Held(a).Held(b), testDelay - 1}, look{Active: 1, Mark: 1, Due: "list", Turn: testDelay, Complete: true}},
		"at its activation":           {ringAt{next.Held(a).Held(b).Listed(listing(at(time.Minute), gen(2, uuidB, epoch()), old(1, uuidA)), at(time.Minute)), testDelay}, look{Active: 2, Mark: 2, Due: "list", Turn: -1, Complete: true}},
		"seen once, at its birth":     {ringAt{next.Held(a).Held(b), testDelay}, look{Active: 1, Mark: 1, Due: "list", Turn: -1, Complete: true}},
		"it has come and is not here": {ringAt{next.Held(a).Advance(epoch()), testDelay}, look{Active: 1, Mark: 1, Due: "list", Turn: -1}},
		"nothing but one to come":     {ringAt{start().Listed(listing(epoch(), gen(2, uuidB, epoch())), epoch()).Held(b), 0}, look{Wake: time.Second * 60, Turn: testDelay, Lack: ErrNotReady, Complete: true}},
		"the first need not wait":     {ringAt{start().Listed(listing(epoch(), gen(1, uuidA, epoch())), epoch()).Held(a), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: -1, Complete: true}},
		"two at once":                 {ringAt{next.Listed(listing(at(time.Minute), gen(3, uuidC, epoch()), gen(2, uuidB, epoch()), old(1, uuidA)), at(time.Minute)).Held(a).Held(b).Held(c), testDelay}, look{Active: 3, Mark: 3, Due: "list", Turn: -1, Complete: true}},
		"by Barbican's clock":         {ringAt{start().Listed(listing(at(5*time.Minute), gen(2, uuidB, epoch()), old(1, uuidA)), epoch()).Held(a).Held(b), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: 5 * time.Minute, Complete: true}},
		"without a clock, by ours":    {ringAt{start().Listed(&Listing{Owner: me, Keys: []ListedKey{gen(2, uuidB, epoch()), old(1, uuidA)}}, at(time.Minute)).Held(a).Held(b), time.Minute}, look{Active: 1, Mark: 1, Wake: 2 * time.Minute, Turn: testDelay, Complete: true}},
		"not before an instant":       {ringAt{start().Listed(listing(epoch(), ListedKey{Ref: b, Created: at(-time.Hour), NotBefore: at(time.Hour), Creator: me, Status: "ACTIVE"}, old(1, uuidA)), epoch()).Held(a).Held(b), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: time.Hour, Complete: true}},

		"another's key is not used":  {ringAt{start().Listed(listing(epoch(), ListedKey{Ref: b, Created: at(-time.Hour), Creator: "mallory", Status: "ACTIVE"}, old(1, uuidA)), epoch()).Held(a), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: -1, Complete: true}},
		"nothing but another's":      {ringAt{start().Listed(listing(epoch(), ListedKey{Ref: b, Created: at(-time.Hour), Creator: "mallory", Status: "ACTIVE"}), epoch()), 0}, look{Wake: testPoll, Turn: -1, Lack: ErrUnusableKey, Complete: true}},
		"allowed by name":            {ringAt{start(func(p *Policy) { p.Creators = []string{"mallory"} }).Listed(listing(epoch(), ListedKey{Ref: b, Created: at(-time.Hour), Creator: "mallory", Status: "ACTIVE"}, old(1, uuidA)), epoch()).Held(b), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},
		"anybody's":                  {ringAt{start(func(p *Policy) { p.AnyCreator = true }).Listed(listing(epoch(), ListedKey{Ref: b, Created: at(-time.Hour), Creator: "mallory", Status: "ACTIVE"}), epoch()).Held(b), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},
		"who lists is not known":     {ringAt{start().Listed(&Listing{Keys: []ListedKey{{Ref: a, Created: at(-time.Hour), Status: "ACTIVE"}}}, epoch()), 0}, look{Wake: testPoll, Turn: -1, Lack: ErrUnusableKey, Complete: true}},
		"not ACTIVE":                 {ringAt{start().Listed(listing(epoch(), ListedKey{Ref: b, Created: at(-time.Hour), Creator: me, Status: "PENDING"}, old(1, uuidA)), epoch()).Held(a), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: -1, Complete: true}},
		"expired":                    {ringAt{start().Listed(listing(epoch(), ListedKey{Ref: b, Created: at(-time.Hour), Expires: epoch(), Creator: me, Status: "ACTIVE"}, old(1, uuidA)), epoch()).Held(a), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: -1, Complete: true}},
		"a generation of two keys":   {ringAt{start().Listed(listing(epoch(), old(2, uuidC), old(2, uuidB), old(1, uuidA)), epoch()).Held(a).Held(b).Held(KeyRef{uuidC, 2}), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: -1, Complete: true}},
		"one of which is another's":  {ringAt{start().Listed(listing(epoch(), ListedKey{Ref: KeyRef{uuidC, 2}, Created: at(-time.Hour), Creator: "mallory", Status: "ACTIVE"}, old(2, uuidB), old(1, uuidA)), epoch()).Held(a).Held(b), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},
		"the active one is disputed": {ringAt{serving.Listed(listing(epoch(), old(2, uuidC), old(2, uuidB), old(1, uuidA)), epoch()).Held(KeyRef{uuidC, 2}), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},

		"unread, for now: waited for":   {ringAt{start().Listed(&Listing{Owner: me, Keys: []ListedKey{old(1, uuidA)}, Unread: map[KeyRef]error{b: away()}}, epoch()).Held(a), 0}, look{Wake: time.Second, Turn: -1, Lack: ErrNotReady, Complete: true}},
		"unread, for good: passed over": {ringAt{start().Listed(&Listing{Owner: me, Keys: []ListedKey{old(1, uuidA)}, Unread: map[KeyRef]error{b: forbidden()}}, epoch()).Held(a), 0}, look{Active: 1, Mark: 1, Wake: testPoll, Turn: -1, Complete: true}},
		"unread, but known before":      {ringAt{serving.Listed(&Listing{Owner: me, Keys: []ListedKey{old(1, uuidA)}, Unread: map[KeyRef]error{b: away()}}, epoch()), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},

		"the active one has gone":          {ringAt{serving.Listed(listing(epoch(), old(1, uuidA)), epoch()), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},
		"an older one has gone: nothing":   {ringAt{serving.Listed(listing(epoch(), old(2, uuidB)), epoch()), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},
		"gone, then an old one":            {ringAt{serving.Listed(listing(epoch(), old(3, uuidC), old(1, uuidA)), epoch()).Held(c), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: testDelay / 2, Complete: true}},
		"one to come has gone: never used": {ringAt{next.Held(a).Held(b).Advance(epoch()).Listed(listing(epoch(), old(1, uuidA)), epoch()), testDelay}, look{Active: 1, Mark: 1, Due: "list", Turn: -1, Complete: true}},
		"all is empty":                     {ringAt{serving.Listed(listing(epoch()), epoch()), 0}, look{Active: 2, Mark: 2, Wake: testPoll, Turn: -1, Complete: true}},
		"somebody else's key is no news":   {ringAt{one.Held(c).Held(KeyRef{uuidB, 1}).Failed(b, away(), epoch()), 0}, look{Due: "fetch 1", Lack: ErrNotReady}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := at(tc.now)
			if tc.want.Wake == 0 {
				tc.want.Wake = tc.now // due now
			}
			if tc.want.Turn == 0 {
				tc.want.Turn = -1
			}
			got := lookAt(tc.ring.Advance(now), now)
			if got.Lack != tc.want.Lack { //nolint:errorlint // sentinels themselves
				t.Errorf("lack: %v, want %v", tc.ring.Advance(now).Lack(now), tc.want.Lack)
			}
			got.Lack, tc.want.Lack = nil, nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestLateKeys puts keys into a keyring that are older than that.
func TestLateKeys(t *testing.T) {
	t.Parallel()
	a, b := KeyRef{uuidA, 1}, KeyRef{uuidB, 2}
	const half = testDelay / 2
	first := func(now time.Time) *Listing { return listing(now, old(1, uuidA)) }
	with := func(now time.Time, k ListedKey) *Listing { return listing(now, k, old(1, uuidA)) }
	knowing := func(now time.Time) Ring {
		return NewRing(testPolicy(), KeyRef{}, now).Listed(first(now), now).Held(a).Advance(now)
	}
	restarted := func(r Ring, now time.Time) Ring {
		return NewRing(testPolicy(), r.memory().mark, now).Remembering(r.memory())
	}
	meets := func(r Ring, k ListedKey) Ring { return r.Listed(with(at(time.Hour), k), at(time.Hour)).Held(a).Held(b) }
	dated := old(2, uuidB)
	dated.NotBefore = at(time.Hour + 2*time.Minute)
	for name, tc := range map[string]struct {
		ring Ring
		want time.Duration // after the hour
	}{
		"new":                             {meets(knowing(epoch()), gen(2, uuidB, at(time.Hour-time.Minute))), testDelay - time.Minute},
		"met late":                        {meets(knowing(epoch()), gen(2, uuidB, at(time.Hour-8*time.Minute))), half},
		"met very late":                   {meets(knowing(epoch()), gen(2, uuidB, at(time.Hour-11*time.Minute))), half},
		"old":                             {meets(knowing(epoch()), old(2, uuidB)), half},
		"old, with an instant":            {meets(knowing(epoch()), dated), half},
		"met before a restart":            {meets(restarted(meets(knowing(epoch()), old(2, uuidB)), at(time.Hour+time.Minute)), old(2, uuidB)), half},
		"met in a restart":                {meets(restarted(knowing(epoch()), at(time.Hour)), old(2, uuidB)), half},
		"with nothing but the mark":       {meets(NewRing(testPolicy(), a, at(time.Hour)), old(2, uuidB)), half},
		"the mark itself":                 {meets(NewRing(testPolicy(), b, at(time.Hour)), old(2, uuidB)), 0},
		"by a node that knows nothing":    {meets(NewRing(testPolicy(), KeyRef{}, at(time.Hour)), old(2, uuidB)), 0},
		"the mark has gone":               {NewRing(testPolicy(), KeyRef{uuidC, 1}, at(time.Hour)).Listed(with(at(time.Hour), old(2, uuidB)), at(time.Hour)).Held(b), 0},
		"the mark can't be had":           {NewRing(testPolicy(), a, at(time.Hour)).Listed(with(at(time.Hour), old(2, uuidB)), at(time.Hour)).Held(b).Failed(a, forbidden(), at(time.Hour)), 0},
		"the mark may come":               {NewRing(testPolicy(), a, at(time.Hour)).Listed(with(at(time.Hour), old(2, uuidB)), at(time.Hour)).Held(b).Failed(a, away(), at(time.Hour)), half},
		"an empty keyring gets its first": {NewRing(testPolicy(), KeyRef{}, epoch()).Listed(listing(epoch()), epoch()).Listed(with(at(time.Hour), old(2, uuidB)), at(time.Hour)).Held(b), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, now := tc.ring.Advance(at(time.Hour)), at(time.Hour)
			if tc.want > 0 {
				if ref, _ := r.Active(); ref == b {
					t.Fatal("it is active at once")
				}
				if ref, at, ok := r.NextActivation(now); !ok || ref != b || at.Sub(now) != tc.want {
					t.Errorf("the next activation is of %v after %v", ref, at.Sub(now))
				}
				turn, ok := r.Turn(now)
				if !ok || turn.Sub(now) != tc.want {
					t.Fatalf("it turns after %v", turn.Sub(now))
				}
				if ref, _ := r.Advance(turn.Add(-1)).Active(); ref == b {
					t.Error("it is active before")
				}
				now = turn
			}
			if ref, _ := r.Listed(with(now, r.keys[b].ListedKey), now).Advance(now).Active(); ref != b {
				t.Errorf("%v is active: %v", ref, r.Lack(now))
			}
		})
	}
}

// TestRevocation plays refusals against a ring whose second generation is active.
func TestRevocation(t *testing.T) {
	t.Parallel()
	a, b := KeyRef{uuidA, 1}, KeyRef{uuidB, 2}
	both := func(now time.Time) *Listing { return listing(now, old(2, uuidB), old(1, uuidA)) }
	type step func(r Ring, now time.Time) Ring
	listed := func(r Ring, now time.Time) Ring { return r.Listed(both(now), now) }
	gone := func(r Ring, now time.Time) Ring { return r.Listed(listing(now, old(1, uuidA)), now) }
	replaced := func(r Ring, now time.Time) Ring {
		c := KeyRef{uuidC, 3}
		return r.Listed(listing(now, old(3, uuidC), old(1, uuidA)), now).Held(c).Advance(now.Add(testDelay / 2))
	}
	fails := func(err error) step { return func(r Ring, now time.Time) Ring { return r.ListFailed(err, now) } }
	checked := func(err error) step {
		return func(r Ring, now time.Time) Ring { ref, _ := r.Active(); return r.Checked(ref, err, now) }
	}
	notFound := refusing(&openstack.Error{Class: openstack.ErrNotFound, Operation: "GET /v1/containers/x", RequestID: "req-1"}, "/containers/x")
	proxy := refusing(&openstack.Error{Class: openstack.ErrNotFound, Operation: "GET /v1/containers/x"}, "/containers/x")
	login := fmt.Errorf("logging in: %w", &openstack.Error{Class: openstack.ErrNotFound, Operation: "POST /v3/auth/tokens"})
	for name, tc := range map[string]struct {
		steps []step
		want  bool
	}{
		"nothing":                       {[]step{listed, listed, listed}, false},
		"once":                          {[]step{fails(forbidden())}, false},
		"twice":                         {[]step{fails(forbidden()), fails(forbidden())}, false},
		"three times":                   {[]step{fails(forbidden()), fails(forbidden()), fails(forbidden())}, true},
		"not there":                     {[]step{fails(notFound), fails(notFound), fails(notFound)}, true},
		"with a good answer between":    {[]step{fails(notFound), fails(notFound), listed, fails(notFound)}, false},
		"with outages between":          {[]step{fails(notFound), fails(away()), fails(notFound), fails(context.DeadlineExceeded), fails(notFound)}, true},
		"a proxy's":                     {[]step{fails(proxy), fails(proxy), fails(proxy)}, false},
		"taken back":                    {[]step{fails(notFound), fails(notFound), fails(notFound), listed}, false},
		"an outage":                     {[]step{fails(away()), fails(away()), fails(away()), fails(away())}, false},
		"a timeout":                     {[]step{fails(context.DeadlineExceeded), fails(context.DeadlineExceeded), fails(context.DeadlineExceeded)}, false},
		"no login":                      {[]step{fails(&openstack.Error{Class: openstack.ErrUnauthorized}), fails(&openstack.Error{Class: openstack.ErrUnauthorized}), fails(&openstack.Error{Class: openstack.ErrUnauthorized})}, false},
		"no Keystone":                   {[]step{fails(login), fails(login), fails(login)}, false},
		"the entry has gone":            {[]step{gone, gone, gone}, true},
		"and comes back":                {[]step{gone, gone, listed, gone}, false},
		"but a new generation is there": {[]step{gone, gone, replaced, gone}, false},
		"the secret is refused":         {[]step{checked(forbidden()), listed, checked(forbidden()), listed, checked(forbidden())}, true},
		"the secret is read again":      {[]step{checked(forbidden()), checked(forbidden()), checked(nil), checked(forbidden())}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := NewRing(testPolicy(), KeyRef{}, epoch()).Listed(both(epoch()), epoch()).Held(a).Held(b).Advance(epoch())
			now := epoch()
			for _, s := range tc.steps {
				now = now.Add(testPoll)
				r = s(r, now).Advance(now)
			}
			if got := r.Revoked(now); (got != nil) != tc.want {
				t.Errorf("revoked: %v", got)
			}
			if _, ok := r.Active(); !ok {
				t.Error("no key is active")
			}
		})
	}
	// Three refusals within a moment are one.
	r := NewRing(testPolicy(), KeyRef{}, epoch()).Listed(both(epoch()), epoch()).Held(a).Held(b).Advance(epoch())
	for range 10 {
		r = r.ListFailed(forbidden(), epoch())
	}
	if err := r.Revoked(epoch()); err != nil {
		t.Errorf("after refusals at one moment: %v", err)
	}
}

func TestExpiryAndStaleness(t *testing.T) {
	t.Parallel()
	p := testPolicy()
	p.MaxStaleness = 5 * time.Minute
	a := KeyRef{uuidA, 1}
	key := old(1, uuidA)
	key.Expires = at(time.Hour)
	r := NewRing(p, KeyRef{}, epoch()).Listed(listing(epoch(), key), epoch()).Held(a).Advance(epoch())
	if turn, ok := r.Turn(epoch()); !ok || !turn.Equal(at(5*time.Minute)) {
		t.Errorf("it wakes at %v for its staleness", turn)
	}
	if r.Stale(at(5*time.Minute-1)) || !r.Stale(at(5*time.Minute)) {
		t.Error("staleness has another limit")
	}
	r = r.ListFailed(away(), at(time.Minute))
	if !r.Stale(at(5 * time.Minute)) {
		t.Error("a failed poll counts as a good one")
	}
	r = r.Listed(listing(at(50*time.Minute), key), at(50*time.Minute))
	if r.Stale(at(51 * time.Minute)) {
		t.Error("it is stale after a good poll")
	}
	r = r.Listed(listing(at(58*time.Minute), key), at(58*time.Minute))
	if turn, ok := r.Turn(at(58 * time.Minute)); !ok || !turn.Equal(at(time.Hour)) {
		t.Errorf("it wakes at %v for its expiry", turn)
	}
	if r.Revoked(at(time.Hour-1)) != nil || r.Revoked(at(time.Hour)) == nil {
		t.Error("the active key's expiry is no revocation")
	}
	if ref, ok := r.Advance(at(2 * time.Hour)).Active(); !ok || ref != a {
		t.Error("the expired key is not active any more")
	}
}

// TestClockReadings plays what a clock said, minutes by minutes, against what is believed at the end.
func TestClockReadings(t *testing.T) {
	t.Parallel()
	const m = time.Minute
	type says struct{ at, ahead time.Duration } // of this machine's clock
	for name, tc := range map[string]struct {
		said []says
		want time.Duration // how far Barbican's is ahead
	}{
		"never":                     {nil, 0},
		"once":                      {[]says{{0, 5 * m}}, 5 * m},
		"behind":                    {[]says{{0, -5 * m}}, -5 * m},
		"the most ahead":            {[]says{{0, 5 * m}, {m, 5*m + 30*time.Second}, {2 * m, 5 * m}}, 5*m + 30*time.Second},
		"for an hour":               {[]says{{0, 5 * m}, {62 * m, 4 * m}}, 4 * m},
		"once far ahead":            {[]says{{0, 0}, {m, 60 * m}, {2 * m, 0}}, 0},
		"far ahead at last":         {[]says{{0, 0}, {m, 60 * m}, {2 * m, 60 * m}}, 0},
		"far ahead after an outage": {[]says{{0, 0}, {200 * m, 60 * m}}, 0},
		"for less than an hour":     {[]says{{0, 0}, {m, 60 * m}, {59 * m, 60 * m}}, 0},
		"for an hour, each time":    {[]says{{0, 0}, {m, 60 * m}, {30 * m, 60 * m}, {61 * m, 60 * m}}, 60 * m},
		"not each time":             {[]says{{0, 0}, {m, 60 * m}, {30 * m, 0}, {61 * m, 60 * m}}, 0},
		"never the same":            {[]says{{0, 0}, {m, 60 * m}, {30 * m, 90 * m}, {61 * m, 120 * m}}, 0},
		"the first one":             {[]says{{0, 60 * m}}, 0},
		"the first one, and right":  {[]says{{0, 60 * m}, {m, 60 * m}}, 60 * m},
		"the first one, and wrong":  {[]says{{0, 60 * m}, {m, 0}}, 0},
		"two first ones":            {[]says{{0, 60 * m}, {m, 90 * m}}, 0},
		"back":                      {[]says{{0, 0}, {m, -30 * m}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, now := NewRing(testPolicy(), KeyRef{}, epoch()), epoch()
			for _, s := range tc.said {
				now = at(s.at)
				r = r.Listed(listing(now.Add(s.ahead), old(1, uuidA)), now)
			}
			if got := r.Cloud(now).Sub(now); got != tc.want {
				t.Errorf("it is %v ahead, want %v", got, tc.want)
			}
		})
	}
	// A key that is to come does not become active by one wrong answer, nor does a first one keep a node from its key for long.
	a, b := KeyRef{uuidA, 1}, KeyRef{uuidB, 2}
	r := NewRing(testPolicy(), KeyRef{}, epoch()).Listed(listing(epoch(), gen(2, uuidB, epoch()), old(1, uuidA)), epoch()).Held(a).Held(b)
	r = r.Listed(listing(at(24*time.Hour), gen(2, uuidB, epoch()), old(1, uuidA)), at(time.Minute))
	if ref, _ := r.Advance(at(testDelay - 1)).Active(); ref != a {
		t.Errorf("%v is active", ref)
	}
	if ref, _ := r.Advance(at(testDelay)).Active(); ref != b {
		t.Errorf("%v is active in time", ref)
	}
	slow := at(-365 * 24 * time.Hour) // this machine's clock
	r = NewRing(testPolicy(), KeyRef{}, slow).Listed(listing(epoch(), old(1, uuidA)), slow).Held(a)
	wake, ok := r.Wake(slow)
	if ref, _ := r.Advance(slow).Active(); ref == a || !ok || wake.Sub(slow) > time.Second {
		t.Errorf("%v is active, the next listing is after %v", ref, wake.Sub(slow))
	}
	if ref, _ := r.Listed(listing(epoch(), old(1, uuidA)), wake).Advance(wake).Active(); ref != a {
		t.Errorf("%v is active", ref)
	}
}

// TestDemand asks for keys that are not held.
func TestDemand(t *testing.T) {
	t.Parallel()
	a, b, c := KeyRef{uuidA, 1}, KeyRef{uuidB, 2}, KeyRef{uuidC, 3}
	r := NewRing(testPolicy(), KeyRef{}, epoch())
	if _, ok := r.Demand(c, epoch()); ok {
		t.Error("somebody waits before there is a key")
	}
	foreign := ListedKey{Ref: b, Created: at(-time.Hour), Creator: "mallory", Status: "ACTIVE"}
	r = r.Listed(listing(epoch(), foreign, old(1, uuidA)), epoch()).Held(a).Advance(epoch())
	if _, ok := r.Demand(b, epoch()); ok {
		t.Error("a key that must not be used is asked for")
	}
	if task, asked := r.Asked(epoch()); asked {
		t.Errorf("nobody has asked for %v", task)
	}
	r, ok := r.Demand(c, epoch())
	if task, asked := r.Asked(epoch()); !ok || !asked || task.Kind != List {
		t.Fatalf("an unknown key: %v, %v", ok, task)
	}
	if task, due := r.Due(epoch()); due {
		t.Errorf("polls are to do %v", task)
	}
	if r, ok = r.Demand(KeyRef{uuidC, 4}, at(time.Second)); !ok {
		t.Error("a second one does not share the listing")
	}
	if polled := r.Listed(listing(at(time.Second), old(1, uuidA)), at(time.Second)); !polled.Hope(c, at(time.Second)) {
		t.Error("a poll that began before answers who asks")
	}
	if lost := r.Answered(nil, away(), at(time.Second)); lost.Hope(c, at(time.Second)) || !errors.Is(lost.unknown(), ErrNotReady) {
		t.Errorf("the listing failed: %v", lost.unknown())
	}
	r = r.Answered(listing(at(time.Second), gen(3, uuidC, epoch()), foreign, old(1, uuidA)), nil, at(time.Second))
	if !r.Hope(c, at(time.Second)) || r.Hope(KeyRef{uuidC, 4}, at(time.Second)) || !errors.Is(r.unknown(), ErrUnknownKey) {
		t.Error("the listing has the one and not the other")
	}
	if task, _ := r.Asked(at(2 * time.Second)); task != (Task{Fetch, c}) {
		t.Errorf("the task is %v", task)
	}
	if task, due := r.Due(at(2 * time.Second)); due {
		t.Errorf("polls do %v, too", task)
	}
	failed := r.Failed(c, away(), at(3*time.Second))
	if _, ok := failed.Demand(c, at(3*time.Second)); ok || failed.Hope(c, at(3*time.Second)) {
		t.Error("a key that was just asked for is asked for again")
	}
	if task, _ := failed.Due(at(4 * time.Second)); task != (Task{Fetch, c}) {
		t.Errorf("who waits no longer has %v done", task)
	}
	if held := r.Held(c); held.Hope(c, at(3*time.Second)) {
		t.Error("a key that is held is waited for")
	}
	// What is wanted goes before what is newer.
	r = r.Listed(listing(at(testPoll), old(5, "00000000-0000-4000-8000-000000000005"), gen(3, uuidC, epoch()), old(1, uuidA)), at(testPoll))
	if task, _ := r.Asked(at(testPoll)); task != (Task{Fetch, c}) {
		t.Errorf("first comes %v", task)
	}
}

// TestForgedKeyIDs: key ids that nobody has made keep no listing from one that somebody has, and make few.
func TestForgedKeyIDs(t *testing.T) {
	t.Parallel()
	a, now := KeyRef{uuidA, 1}, epoch()
	r := NewRing(testPolicy(), KeyRef{}, now).Listed(listing(now, old(1, uuidA)), now).Held(a).Advance(now)
	listings := 0
	ask := func(ref KeyRef) bool {
		var ok bool
		if r, ok = r.Demand(ref, now); ok {
			listings++
			r = r.Answered(listing(now, old(1, uuidA)), nil, now)
		}
		return ok
	}
	for range 100 { // one, again and again
		ask(KeyRef{uuidC, 9})
		now = now.Add(time.Second)
	}
	if listings != 1 {
		t.Errorf("one key id made %d listings", listings)
	}
	if !ask(KeyRef{uuidC, 3}) {
		t.Error("it took the listing of another one")
	}
	now, listings = now.Add(time.Hour), 0
	for i := range uint64(1000) { // ever new ones
		ask(KeyRef{uuidB, 100 + i})
		now = now.Add(time.Second)
		if len(r.absent) > absentMost {
			t.Fatalf("%d are remembered", len(r.absent))
		}
	}
	if most := int(1000*time.Second/testPoll) + demandListings; listings > most || listings < 10 {
		t.Errorf("%d listings, want %d at most", listings, most)
	}
	if _, ok := r.Demand(KeyRef{uuidC, 9}, now.Add(absentPolls*testPoll)); !ok {
		t.Error("it is absent for ever")
	}
	// Any number may wait for one listing, which it does not take long.
	for i := range uint64(1000) {
		r, _ = r.Demand(KeyRef{uuidB, 10000 + i}, now.Add(time.Hour))
	}
	if len(r.asked) != demandShares {
		t.Errorf("%d wait", len(r.asked))
	}
}

// TestChecks counts the calls of an idle ring: one in a poll's time, of which now and then one is a check.
func TestChecks(t *testing.T) {
	t.Parallel()
	a := KeyRef{uuidA, 1}
	for name, tc := range map[string]struct {
		change func(*Policy)
		want   string
	}{
		"every eighth":            {func(p *Policy) { p.Checks = true }, "list list list list list list list check list list list list"},
		"none":                    {func(*Policy) {}, "list list list list list list list list list list list list"},
		"none to spare":           {func(p *Policy) { p.Checks, p.ActivationDelay = true, 2*testPoll }, "list list list list list list list list list list list list"},
		"a file is read for free": {func(p *Policy) { p.Checks, p.Trusted = true, true }, "list list+check list+check list+check list+check list+check list+check list+check list+check list+check list+check list+check"},
		"a fixed list":            {func(p *Policy) { p.Checks, p.Trusted, p.Lists = true, true, false }, " check check check check check check check check check check check"},
		"a fixed list, no polls":  {func(p *Policy) { p.Trusted, p.Lists = true, false }, "           "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testPolicy()
			tc.change(&p)
			r := NewRing(p, KeyRef{}, epoch())
			if !p.Lists {
				r = r.Listed(listing(epoch(), old(1, uuidA)), epoch()).Held(a)
			}
			var turns []string
			for turn := range 12 {
				now := at(time.Duration(turn) * testPoll)
				var calls []string
				for {
					r = r.Advance(now)
					task, due := r.Due(now)
					if !due {
						break
					}
					switch task.Kind {
					case List:
						r = r.Listed(listing(now, old(1, uuidA)), now)
						calls = append(calls, "list")
					case Check:
						r = r.Checked(task.Ref, nil, now)
						calls = append(calls, "check")
					case Fetch:
						r = r.Held(task.Ref)
					}
				}
				if wake, ok := r.Wake(now); ok && !wake.Equal(now.Add(testPoll)) {
					t.Errorf("turn %d: it wakes after %v", turn, wake.Sub(now))
				}
				turns = append(turns, strings.Join(calls, "+"))
			}
			if got := strings.Join(turns, " "); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestRingProperties plays random events at random times against the rules.
func TestRingProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		all := make([]ListedKey, 1+rng.IntN(6))
		for i := range all {
			all[i] = gen(uint64(i+1), fmt.Sprintf("00000000-0000-4000-8000-%012d", i), at(time.Duration(rng.IntN(3600))*time.Second))
			if i > 0 && rng.IntN(6) == 0 {
				all[i].Ref.Generation-- // a generation of two keys
			}
			if rng.IntN(6) == 0 {
				all[i].Creator = "mallory"
			}
			if rng.IntN(6) == 0 {
				all[i].Expires = at(time.Duration(rng.IntN(7200)) * time.Second)
			}
		}
		skew := time.Duration(rng.IntN(600)-300) * time.Second // of our clock
		p := testPolicy()
		p.Checks = rng.IntN(2) == 0
		now := epoch()
		r := NewRing(p, KeyRef{}, now.Add(skew))
		held := map[KeyRef]bool{}
		var before KeyRef
		used := map[KeyRef]bool{} // that were active and are no longer
		for range 200 {
			local := now.Add(skew)
			was, wasLook := r, lookAt(r, local)
			k := all[rng.IntN(len(all))]
			switch rng.IntN(8) {
			case 0, 1:
				l := listing(now)
				for _, k := range all {
					if rng.IntN(8) > 0 {
						l.Keys = append(l.Keys, k)
					}
				}
				r = r.Listed(l, local)
			case 2:
				r = r.ListFailed([]error{away(), forbidden()}[rng.IntN(2)], local)
			case 3:
				r, _ = r.Demand(k.Ref, local)
				if task, asked := r.Asked(local); asked && task.Kind == List && rng.IntN(2) == 0 {
					r = r.Answered(listing(now, all...), []error{nil, away()}[rng.IntN(2)], local)
				}
			case 4:
				if ref, ok := r.Active(); ok {
					r = r.Checked(ref, []error{nil, away(), forbidden()}[rng.IntN(3)], local)
				}
			default:
				if task, due := r.Due(local); due && task.Kind == Fetch {
					if rng.IntN(3) == 0 {
						r = r.Failed(task.Ref, []error{away(), forbidden()}[rng.IntN(2)], local)
					} else {
						r = r.Held(task.Ref)
						held[task.Ref] = true
					}
				}
			}
			if diff := cmp.Diff(wasLook, lookAt(was, local), cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) && errors.Is(b, a) })); diff != "" {
				t.Fatalf("seed %d: an old ring was changed:\n%s", seed, diff)
			}
			now = now.Add(time.Duration(rng.IntN(60)) * time.Second)
			local = now.Add(skew)
			r = r.Advance(local)
			ref, ok := r.Active()
			if ref != before {
				if !ok || used[ref] || ref.Generation <= before.Generation {
					t.Fatalf("seed %d: from %v to %v", seed, before, ref)
				}
				used[before], before = true, ref
				state := r.keys[ref]
				if !held[ref] || state.gone || state.Creator != me || state.Activation(testDelay).After(now) || !state.Expires.IsZero() && !state.Expires.After(now) {
					t.Fatalf("seed %d: %+v became active at %v", seed, state, now)
				}
			}
			checkTimes(t, seed, r, local)
			for ref := range held {
				if !r.keys[ref].held {
					t.Fatalf("seed %d: %v was lost", seed, ref)
				}
			}
			if (r.Lack(local) == nil) != ok {
				t.Fatalf("seed %d: active %v, lack %v", seed, ref, r.Lack(local))
			}
		}
	}
}

// checkTimes wants a ring to be awake when something is due, and to sleep when nothing is.
func checkTimes(t *testing.T, seed uint64, r Ring, now time.Time) {
	t.Helper()
	task, due := r.Due(now)
	wake, ok := r.Wake(now)
	switch {
	case due && (!ok || wake.After(now)):
		t.Fatalf("seed %d: %v is due, and it sleeps until %v", seed, task, wake)
	case !due && ok && !wake.After(now):
		t.Fatalf("seed %d: nothing is due, and it does not sleep", seed)
	case due && task.Kind == Fetch && r.keys[task.Ref].held:
		t.Fatalf("seed %d: %v is held", seed, task)
	}
	if turn, ok := r.Turn(now); ok && !turn.After(now) {
		t.Fatalf("seed %d: it turns now, for ever", seed)
	}
}
