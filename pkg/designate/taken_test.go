package designate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/designate"
	"mooring/pkg/openstack/openstacksim"
)

// What others make between a look at the records and the changes that follow from it stays theirs: it is not written over, not deleted, and not
// marked as ours, which would make the next sync write over it.
func TestWhatOthersMakeMeanwhileStaysTheirs(t *testing.T) {
	t.Parallel()
	const name = "www.example.org"
	mark := rec("extdns-a."+name, designate.TXT, 0, "heritage=external-dns,external-dns/owner=me")
	mark.Owner = name
	foreign := rec(name, designate.A, 0, "198.51.100.9")
	ours := rec(name, designate.A, 0, "192.0.2.1")
	apply := func(list ...designate.Record) func(*testing.T, *designate.Service) {
		return func(t *testing.T, s *designate.Service) {
			t.Helper()
			mustApply(t, s, designate.Changes{Create: list})
		}
	}
	for title, test := range map[string]struct {
		before    []designate.Record
		meanwhile func(*testing.T, *designate.Service)
		changes   designate.Changes
		want      []designate.Record
	}{
		"a record": {
			meanwhile: apply(foreign), changes: designate.Changes{Create: []designate.Record{ours, mark}},
			want: []designate.Record{foreign},
		},
		"an alias": {
			meanwhile: apply(rec(name, designate.CNAME, 0, "theirs.example.net")), changes: designate.Changes{Create: []designate.Record{rec(name, designate.CNAME, 0, "ours.example.net"), mark}},
			want: []designate.Record{rec(name, designate.CNAME, 0, "theirs.example.net")},
		},
		"a mark": {
			meanwhile: apply(rec(mark.Name, designate.TXT, 0, "heritage=external-dns,external-dns/owner=them")), changes: designate.Changes{Create: []designate.Record{ours, mark}},
			want: []designate.Record{rec(mark.Name, designate.TXT, 0, "heritage=external-dns,external-dns/owner=them")},
		},
		"a record in place of ours": {
			before: []designate.Record{ours},
			meanwhile: func(t *testing.T, s *designate.Service) {
				t.Helper()
				mustRecords(t, s)
				mustApply(t, s, designate.Changes{Delete: []designate.Record{ours}})
				mustApply(t, s, designate.Changes{Create: []designate.Record{foreign}})
			},
			changes: designate.Changes{UpdateOld: []designate.Record{ours}, UpdateNew: []designate.Record{rec(name, designate.A, 0, "192.0.2.2")}},
			want:    []designate.Record{foreign},
		},
		"a record that we don't know, and would delete": {
			meanwhile: apply(foreign), changes: designate.Changes{Delete: []designate.Record{ours}},
			want: []designate.Record{foreign},
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, openstacksim.DesignateConfig{})
			c.zone(t, "example.org")
			s, others := c.service(designate.Options{}), c.service(designate.Options{})
			t.Cleanup(s.Close)
			t.Cleanup(others.Close)
			mustApply(t, others, designate.Changes{Create: test.before})
			mustRecords(t, s)
			test.meanwhile(t, others)
			if result, err := s.Apply(t.Context(), test.changes); !errors.Is(err, designate.ErrTaken) {
				t.Errorf("%+v, %v", result, err)
			}
			if diff := cmp.Diff(test.want, mustRecords(t, s)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A list of floating IPs that does not come holds nobody up: ExternalDNS would end.
func TestFloatingIPsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.Designate.Fill("demo", "example.org.", 10)
	s := c.service(designate.Options{FloatingIPs: true, Deadline: 2 * time.Second})
	t.Cleanup(s.Close)
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Path: "/reverse/floatingips$", Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if list, err := s.Records(ctx); len(list) != 8 || err != nil || ctx.Err() != nil {
		t.Errorf("%d records, %v", len(list), err)
	}
}
