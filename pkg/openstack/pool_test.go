package openstack

import (
	"strconv"
	"testing"
	"time"
)

// Credentials that are no longer used do not pile up; those in use keep their session.
func TestUnusedSessionsAreForgotten(t *testing.T) {
	t.Parallel()
	p := NewPool(Options{})
	defer p.Close()
	first := p.Session(&Credential{Token: "first"})
	for i := range 2 * manySessions {
		p.Session(&Credential{Token: strconv.Itoa(i)})
	}
	if n := len(p.sessions); n != 2*manySessions+1 {
		t.Fatalf("%d sessions, want all: they were asked for just now", n)
	}
	for _, s := range p.sessions {
		s.used = s.used.Add(-unusedFor - time.Minute)
	}
	if p.Session(&Credential{Token: "first"}) != first {
		t.Error("a session that is asked for again is another")
	}
	p.Session(&Credential{Token: "new"})
	if n := len(p.sessions); n != 2 || p.Session(&Credential{Token: "first"}) != first {
		t.Errorf("%d sessions, want the one that is used and the new one", n)
	}
}
