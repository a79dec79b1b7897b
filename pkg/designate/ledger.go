package designate

import "sync"

// ledger counts our own writes by zone, so that a zone's version can be told from what others did to it. The zero value is empty, and its
// methods are safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]account // by zone id
}

// account is what is known of our writes to one zone.
type account struct {
	begun, ended int // requests that may write, or look up what to write
	settled      int // of those that ended, the ones that Fold has taken over
	raised       int // writes that Designate confirmed: each raised the zone's version at least once
	counted      int // of those, the ones that Fold has taken over
}

// begin notes a request to a zone; the returned function notes its end, and whether Designate said that it has written.
func (l *ledger) begin(zoneID string) (end func(written bool)) {
	l.change(zoneID, func(a *account) { a.begun++ })
	return func(written bool) {
		l.change(zoneID, func(a *account) {
			a.ended++
			if written {
				a.raised++
			}
		})
	}
}

func (l *ledger) change(zoneID string, do func(*account)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts == nil {
		l.accounts = map[string]account{}
	}
	a := l.accounts[zoneID]
	do(&a)
	l.accounts[zoneID] = a
}

// settle notes that whatever has ended is part of the inventory now.
func (l *ledger) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, a := range l.accounts {
		a.settled, a.counted = a.ended, a.raised
		l.accounts[id] = a
	}
}

// mark is a point in the life of a zone as far as our own writes go.
type mark struct {
	quiet  bool // none of our writes was under way, or done but not yet in the inventory
	begun  int
	writes int // that Designate confirmed, and that the inventory knows
}

// mark returns where a zone's account is now.
func (l *ledger) mark(zoneID string) mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accounts[zoneID].mark()
}

func (a account) mark() mark {
	return mark{quiet: a.begun == a.settled, begun: a.begun, writes: a.counted}
}

// marks returns where every account is now. A zone that is not there has the mark of one that was never written to.
func (l *ledger) marks() map[string]mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]mark, len(l.accounts))
	for id, a := range l.accounts {
		out[id] = a.mark()
	}
	return out
}

// during is the mark of something that was asked of the cloud between two marks: it is quiet when no write of ours came in between.
func during(before, after mark) mark {
	return mark{quiet: before.quiet && before.begun == after.begun, begun: before.begun, writes: before.writes}
}
