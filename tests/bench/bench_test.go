package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/openstack/openstacksim"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	var table, lines bytes.Buffer
	f := newFigures(&table, &lines)
	for _, r := range []struct {
		name  string
		value float64
		limit limit
	}{{"a.b.calls", 3, atMost(3)}, {"a.c.calls", 3.5, atMost(3)}, {"a.d.calls", 2, atLeast(3)}, {"a.e.calls", 9, limit{}}, {"a.f.calls", 0, exactly(1)}} {
		if err := f.record(r.name, r.value, "calls", r.limit); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"name":"a.b.calls","value":3,"unit":"calls"}
{"name":"a.c.calls","value":3.5,"unit":"calls"}
{"name":"a.d.calls","value":2,"unit":"calls"}
{"name":"a.e.calls","value":9,"unit":"calls"}
{"name":"a.f.calls","value":0,"unit":"calls"}
`
	if diff := cmp.Diff(want, lines.String()); diff != "" {
		t.Error(diff)
	}
	if err := f.broken(); err == nil || err.Error() != "3 of 5 figures are beyond their limits: a.c.calls, a.d.calls, a.f.calls" {
		t.Errorf("broken: %v", err)
	}
	if got := strings.Count(table.String(), "BROKEN"); got != 3 {
		t.Errorf("%d rows are BROKEN:\n%s", got, table.String())
	}
	if err := newFigures(&table, &lines).broken(); err != nil {
		t.Errorf("nothing is broken, but: %v", err)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	const share = "/v2/shares/0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"
	m := func(method, path string) openstacksim.Call {
		return openstacksim.Call{Service: openstacksim.ServiceManila, Method: method, Path: path}
	}
	for name, c := range map[string]struct {
		log          []openstacksim.Call
		calls, polls int
	}{
		"nothing":                           {},
		"a read is a call, again and again": {log: []openstacksim.Call{m("GET", share), m("GET", share)}, calls: 2},
		"a create": {log: []openstacksim.Call{
			m("GET", "/v2/shares/detail"), m("POST", "/v2/shares"), m("GET", share+"/export_locations"), m("GET", share), m("POST", share+"/action"),
			m("GET", "/v2/share-access-rules"), m("GET", "/v2/share-access-rules"),
		}, calls: 3, polls: 4},
		"what is not waited for is no poll":   {log: []openstacksim.Call{m("DELETE", share), m("GET", share), m("GET", "/v2/snapshots/detail")}, calls: 2, polls: 1},
		"other services count for themselves": {log: []openstacksim.Call{{Service: openstacksim.ServiceKeystone, Method: "POST"}, m("GET", share)}, calls: 1},
	} {
		if calls, polls := split(c.log); calls != c.calls || polls != c.polls {
			t.Errorf("%s: %d calls and %d polls, want %d and %d", name, calls, polls, c.calls, c.polls)
		}
	}
}
