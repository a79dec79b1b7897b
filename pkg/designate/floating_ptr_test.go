package designate

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/openstack"
)

func TestFloatingMark(t *testing.T) {
	t.Parallel()
	const name = "7.100.51.198.in-addr.arpa"
	text := "heritage=external-dns,external-dns/owner=me,external-dns/resource=crd/default/mail"
	for _, test := range []struct{ mark, text, want, description string }{
		{"extdns-ptr." + name, text, text, "mooring:txt=extdns-ptr.* " + text},
		{"ptr-" + name, `"` + text + `"`, text, "mooring:txt=ptr-* " + text},
		{"ptr-7-owner.100.51.198.in-addr.arpa", text, text, "mooring:txt=ptr-7-owner.100.51.198.in-addr.arpa " + text},
		{
			"extdns-ptr." + name, text + strings.Repeat("x", 100), "heritage=external-dns,external-dns/owner=me",
			"mooring:txt=extdns-ptr.* heritage=external-dns,external-dns/owner=me",
		},
	} {
		description, err := writeFloatingMark(name, Record{Name: test.mark, Type: TXT, Targets: []string{test.text}, Owner: name})
		if err != nil || description != test.description {
			t.Errorf("%s: %q, %v; want %q", test.mark, description, err, test.description)
		}
		mark, ok := readFloatingMark(name, description)
		if diff := cmp.Diff(Record{Name: test.mark, Type: TXT, Targets: []string{test.want}}, mark); diff != "" || !ok {
			t.Errorf("%s: -want +got:\n%s", test.mark, diff)
		}
	}
	for _, texts := range [][]string{{strings.Repeat("x", 160)}, {"a", "b"}, nil} {
		if description, err := writeFloatingMark(name, Record{Name: "ptr-" + name, Type: TXT, Targets: texts}); !errors.Is(err, ErrTarget) {
			t.Errorf("%q is kept as %q, %v", texts, description, err)
		}
	}
	for _, description := range []string{"", "by hand", "mooring:cluster=c1", "mooring:txt=", "mooring:txt=x", "mooring:txt= x"} {
		if mark, ok := readFloatingMark(name, description); ok {
			t.Errorf("%q is read as %v", description, mark)
		}
	}
}

// Changes of floating IPs' PTRs, with their marks, are told from others, and planned.
func TestPlanFloating(t *testing.T) {
	t.Parallel()
	const name, other, placed = "7.100.51.198.in-addr.arpa", "8.100.51.198.in-addr.arpa", "1.2.0.192.in-addr.arpa"
	ptr := func(name string, targets ...string) Record { return Record{Name: name, Type: PTR, Targets: targets} }
	mark := func(name string) Record {
		return Record{Name: "extdns-ptr." + name, Type: TXT, Targets: []string{"heritage=external-dns,external-dns/owner=me"}, Owner: name}
	}
	const description = "mooring:txt=extdns-ptr.* heritage=external-dns,external-dns/owner=me"
	www := Record{Name: "www.example.org", Type: A, Targets: []string{"192.0.2.1"}}
	for title, test := range map[string]struct {
		target  string // that the floating IP has
		changes Changes
		rest    int // changes that are not about it
		want    []string
	}{
		"create":              {"", Changes{Create: []Record{ptr(name, "A.example.org."), mark(name), www}}, 1, []string{"create a.example.org 0 " + description}},
		"update":              {"b.example.org", Changes{UpdateOld: []Record{ptr(name, "b.example.org"), mark(name)}, UpdateNew: []Record{ptr(name, "a.example.org"), mark(name)}}, 0, []string{"update a.example.org 0 " + description}},
		"delete":              {"b.example.org", Changes{Delete: []Record{ptr(name, "b.example.org"), mark(name)}}, 0, []string{"delete  0 "}},
		"delete what is gone": {"", Changes{Delete: []Record{ptr(name, "b.example.org"), mark(name)}}, 0, nil},
		"not known":           {"c.example.org", Changes{Create: []Record{ptr(name, "a.example.org"), mark(name)}}, 0, []string{name + " PTR: somebody has made it meanwhile, and it is left alone: it is c.example.org"}},
		"nothing to do":       {"b.example.org", Changes{Create: []Record{ptr(name, "b.example.org"), mark(name)}}, 0, []string{"same 1"}},
		"two targets":         {"", Changes{Create: []Record{ptr(name, "a.example.org", "b.example.org"), mark(name)}}, 0, []string{name + " PTR: invalid record value: 2 of them, and a floating IP has one PTR"}},
		"a bad target":        {"", Changes{Create: []Record{ptr(name, "*.example.org"), mark(name)}}, 0, []string{name + ` PTR: invalid record value for PTR: invalid DNS name "*.example.org": a wildcard can't be the value of a record`}},
		"others":              {"", Changes{Create: []Record{ptr(other, "a.example.org"), mark(other), ptr(placed, "a.example.org"), mark(placed), www}}, 5, nil},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			ip := FloatingIP{Key: "R:f", Address: netip.MustParseAddr("198.51.100.7"), Target: test.target, TTL: 3600}
			if test.target != "" {
				ip.Description = description
			}
			f := &floatingPTRs{known: map[string]FloatingIP{name: ip, placed: {Address: netip.MustParseAddr("192.0.2.1")}}}
			rest, mine := f.take(clusterZones(), test.changes)
			plan := planFloating(mine, 0)
			var got []string
			for _, w := range plan.writes {
				got = append(got, strings.Join([]string{string(w.Verb), strings.Join(w.Record.Targets, ","), "0", w.description}, " "))
			}
			for _, err := range plan.invalid {
				got = append(got, err.Error())
			}
			if plan.same > 0 {
				got = append(got, "same 1")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if n := len(rest.Create) + len(rest.UpdateOld) + len(rest.UpdateNew) + len(rest.Delete); n != test.rest {
				t.Errorf("%d changes are left for zones, want %d", n, test.rest)
			}
		})
	}
}

// floatingList is a Designate that only lists, and counts.
type floatingList struct {
	list  []FloatingIP
	err   error
	calls int
}

func (l *floatingList) floatingIPs(context.Context) ([]FloatingIP, error) {
	l.calls++
	return l.list, l.err
}

func (l *floatingList) floatingIP(context.Context, string) (FloatingIP, error) {
	return l.list[0], l.err
}

func (l *floatingList) setPTR(_ context.Context, key, target string, ttl int, description string) (FloatingIP, string, error) {
	return FloatingIP{Key: key, Address: l.list[0].Address, Target: target, TTL: ttl, Description: description}, "req", l.err
}

func (l *floatingList) unsetPTR(context.Context, string) (string, error) { return "req", l.err }

// The list is read at first, in each refresh, and after a write that failed; what is known outlasts a failure.
func TestFloatingIPsAreReadSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &floatingList{list: []FloatingIP{{Key: "R:f", Address: netip.MustParseAddr("198.51.100.7"), Target: "a.example.org"}}}
		o := Options{FloatingIPs: true, FullRefresh: 10 * time.Minute, Logger: slog.New(slog.DiscardHandler)}
		f := newFloatingPTRs(l, &o)
		expect := func(what string, calls, records int) {
			t.Helper()
			if got := len(f.records(t.Context())); got != records || l.calls != calls {
				t.Errorf("%s: %d records after %d calls, want %d after %d", what, got, l.calls, records, calls)
			}
		}
		expect("at first", 1, 1)
		expect("again", 1, 1)
		time.Sleep(20 * time.Minute)
		l.err = &openstack.Error{Class: openstack.ErrUnavailable}
		expect("a refresh that fails", 2, 1)
		expect("at once after it", 2, 1)
		time.Sleep(2 * retryFloating)
		l.err = nil
		expect("somewhat later", 3, 1)
		write := floatingWrite{ip: l.list[0], Operation: Operation{Verb: Update, Record: Record{Name: "7.100.51.198.in-addr.arpa", Type: PTR, Targets: []string{"b.example.org"}}}, description: "mooring:txt=x y"}
		if out := f.write(t.Context(), floatingPlan{writes: []floatingWrite{write}}); out[0].Err != nil || out[0].RequestID != "req" {
			t.Error(out[0])
		}
		expect("after a write", 3, 2)
		l.err = errors.New("lost")
		if out := f.write(t.Context(), floatingPlan{writes: []floatingWrite{write}}); out[0].Err == nil {
			t.Error("no error")
		}
		l.err = &openstack.Error{Class: openstack.ErrForbidden}
		expect("after a write that failed", 4, 2)
		time.Sleep(2 * retryFloating)
		expect("a cloud without any is not asked before the next refresh", 4, 2)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if out := f.write(ended, floatingPlan{writes: []floatingWrite{write}}); !errors.Is(out[0].Err, ErrBudget) {
			t.Error(out[0].Err)
		}
	})
	var none *floatingPTRs
	if got := none.records(t.Context()); got != nil {
		t.Errorf("%v", got)
	}
}

// A PTR that somebody has changed since the list was read is neither written over nor taken away.
func TestAFloatingIPThatOthersChangedIsLeftAlone(t *testing.T) {
	t.Parallel()
	ip := FloatingIP{Key: "R:f", Address: netip.MustParseAddr("198.51.100.7"), Target: "a.example.org", Description: "mooring:txt=x y"}
	theirs := ip
	theirs.Target, theirs.Description = "api.c1.example.org", "mooring:cluster=c1"
	for _, verb := range []Verb{Update, Delete} {
		l := &floatingList{list: []FloatingIP{theirs}}
		f := newFloatingPTRs(l, &Options{FloatingIPs: true, Logger: slog.New(slog.DiscardHandler)})
		write := floatingWrite{ip: ip, Operation: Operation{Verb: verb, Record: Record{Name: "7.100.51.198.in-addr.arpa", Type: PTR, Targets: []string{"b.example.org"}}}}
		if out := f.write(t.Context(), floatingPlan{writes: []floatingWrite{write}}); !errors.Is(out[0].Err, ErrTaken) {
			t.Errorf("%s: %v", verb, out[0].Err)
		}
		if list := f.records(t.Context()); len(list) != 1 || list[0].Targets[0] != theirs.Target {
			t.Errorf("%s: %v is shown", verb, list)
		}
	}
}
