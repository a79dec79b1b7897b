package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/openstack/openstacksim"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	var table, lines bytes.Buffer
	all := map[string]limit{"a.b.calls": atMost(3), "a.c.calls": atMost(3), "a.d.calls": atLeast(3), "a.f.calls": exactly(1)}
	f := newFigures(&table, &lines, all)
	for _, r := range []struct {
		name  string
		value float64
	}{{"a.b.calls", 3}, {"a.c.calls", 3.5}, {"a.d.calls", 2}, {"a.e.calls", 9}, {"a.f.calls", 0}} {
		if err := f.record(r.name, r.value, "calls"); err != nil {
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
	if err := errors.Join(newFigures(&table, &lines, all).broken(), f.complete(all)); err != nil {
		t.Errorf("nothing is broken or missing, but: %v", err)
	}
	if err := f.complete(map[string]limit{"a.b.calls": atMost(3), "a.h.calls": atMost(3), "a.g.calls": atMost(3)}); err == nil || err.Error() != "nothing has measured a.g.calls, a.h.calls" {
		t.Errorf("complete: %v", err)
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
