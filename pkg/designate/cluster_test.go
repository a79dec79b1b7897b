package designate

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// clusterZones are the zones of a project: its own, one of a cluster, a reverse zone, a secondary one.
func clusterZones(more ...Zone) Zones {
	return NewZones(append([]Zone{
		{ID: "z", Name: "example.org", primary: true},
		{ID: "own", Name: "own.example.org", primary: true},
		{ID: "r", Name: "2.0.192.in-addr.arpa", primary: true},
		{ID: "r6", Name: "8.b.d.0.1.0.0.2.ip6.arpa", primary: true},
		{ID: "s", Name: "copy.example.org"},
	}, more...))
}

func clusterSet(zone, name string, t Type, description string, targets ...string) markedSet {
	return markedSet{Recordset{ID: "id", ZoneID: zone, Status: "ACTIVE", Record: Record{Name: name, Type: t, Targets: targets}}, description}
}

func ips(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func (p *clusterPlan) text() string {
	var b strings.Builder
	for _, a := range p.actions {
		verb := string(a.Verb)
		if a.keep {
			verb = "keep"
		}
		where := a.Zone.ID
		if a.floatingIP != nil {
			where = a.floatingIP.Key
		}
		fmt.Fprintf(&b, "%s %s %s %s %d %s\n", verb, where, a.Record.Name, a.Record.Type, a.Record.TTL, strings.Join(a.Record.Targets, ","))
	}
	for _, w := range p.warnings {
		fmt.Fprintln(&b, "warn", w)
	}
	for _, err := range p.refused {
		fmt.Fprintln(&b, "refuse", err)
	}
	return b.String()
}

func TestPlanEnsure(t *testing.T) {
	t.Parallel()
	const mark = clusterMark + "c1"
	const api, apps = "api.c1.example.org", "*.apps.c1.example.org"
	fip := FloatingIP{Key: "R:f", Address: netip.MustParseAddr("198.51.100.7"), Status: "INACTIVE"}
	set := fip
	set.Target, set.Description, set.TTL, set.Status = api, mark, 3600, "ACTIVE"
	for name, test := range map[string]struct {
		want  ClusterWant
		state clusterState
		plan  []string
	}{
		"from nothing": {
			ClusterWant{API: ips("192.0.2.1", "2001:db8::1"), Apps: ips("192.0.2.2")},
			clusterState{},
			[]string{"create z " + api + " A 0 192.0.2.1", "create z " + api + " AAAA 0 2001:db8::1", "create z " + apps + " A 0 192.0.2.2"},
		},
		"nothing to do": {
			ClusterWant{API: ips("192.0.2.2", "192.0.2.1", "::ffff:192.0.2.1")},
			clusterState{sets: []markedSet{clusterSet("z", api, A, mark, "192.0.2.1", "192.0.2.2"), clusterSet("z", apps, A, mark, "192.0.2.3")}},
			[]string{"keep z " + api + " A 0 192.0.2.1,192.0.2.2"},
		},
		"another address": {
			ClusterWant{API: ips("192.0.2.2"), TTL: 60},
			clusterState{sets: []markedSet{clusterSet("z", api, A, mark, "192.0.2.1")}},
			[]string{"update z " + api + " A 60 192.0.2.2"},
		},
		"another TTL": {
			ClusterWant{API: ips("192.0.2.1"), TTL: 60},
			clusterState{sets: []markedSet{clusterSet("z", api, A, mark, "192.0.2.1")}},
			[]string{"update z " + api + " A 60 192.0.2.1"},
		},
		"another family": { // the new one comes first: the name is never without an address
			ClusterWant{API: ips("2001:db8::1")},
			clusterState{sets: []markedSet{clusterSet("z", api, A, mark, "192.0.2.1")}},
			[]string{"create z " + api + " AAAA 0 2001:db8::1", "delete z " + api + " A 0 192.0.2.1"},
		},
		"foreign": {
			ClusterWant{API: ips("192.0.2.1"), Apps: ips("192.0.2.2")},
			clusterState{sets: []markedSet{
				clusterSet("z", api, A, "", "192.0.2.1"), clusterSet("z", api, AAAA, clusterMark+"c2", "2001:db8::1"), clusterSet("z", apps, CNAME, "by hand", "lb.example.net"),
				clusterSet("z", api, TXT, "", "no address"), clusterSet("z", "x."+api, A, "", "192.0.2.9"),
			}},
			[]string{
				"create z " + api + " A 0 192.0.2.1", "create z " + apps + " A 0 192.0.2.2",
				"refuse " + api + " A: there is one already, 192.0.2.1, and it does not belong to the cluster: its description is empty",
				"refuse " + api + ` AAAA: there is one already, 2001:db8::1, and it does not belong to the cluster: it carries the mark of the cluster "c2"`,
				"refuse " + apps + ` CNAME: there is one already, lb.example.net, and it does not belong to the cluster: its description is "by hand"`,
			},
		},
		"taken over": {
			ClusterWant{API: ips("192.0.2.1"), Apps: ips("192.0.2.2"), Force: true},
			clusterState{sets: []markedSet{
				clusterSet("z", api, A, "", "192.0.2.1"), clusterSet("z", api, AAAA, clusterMark+"c2", "2001:db8::1"), clusterSet("z", apps, CNAME, "by hand", "lb.example.net"),
			}},
			[]string{
				"update z " + api + " A 0 192.0.2.1", "delete z " + api + " AAAA 0 2001:db8::1",
				"delete z " + apps + " CNAME 0 lb.example.net", "create z " + apps + " A 0 192.0.2.2",
			},
		},
		"a zone of the cluster's own": {
			ClusterWant{Cluster: "own", API: ips("192.0.2.1")},
			clusterState{sets: []markedSet{clusterSet("z", "api.own.example.org", A, "", "192.0.2.9")}},
			[]string{"create own api.own.example.org A 0 192.0.2.1"},
		},
		"a zone that can't be written": {
			ClusterWant{Cluster: "copy", API: ips("192.0.2.1")},
			clusterState{},
			[]string{"refuse zone: api.copy.example.org is in copy.example.org (s), which can't be written: secondary_zone"},
		},
		"delegated": {
			ClusterWant{API: ips("192.0.2.1"), Force: true},
			clusterState{sets: []markedSet{clusterSet("z", "c1.example.org", NS, "", "ns.example.net")}},
			[]string{"refuse the name is delegated to other name servers: zone example.org has the recordset c1.example.org NS ns.example.net, so its name servers never answer for " + api},
		},
		"PTRs": {
			ClusterWant{API: ips("192.0.2.1", "198.51.100.7", "203.0.113.1", "2001:db8::1"), PTR: true, TTL: 60},
			clusterState{floating: []FloatingIP{fip}},
			[]string{
				"create z " + api + " A 60 192.0.2.1,198.51.100.7,203.0.113.1", "create z " + api + " AAAA 60 2001:db8::1",
				"create r 1.2.0.192.in-addr.arpa PTR 60 " + api, "create R:f 7.100.51.198.in-addr.arpa PTR 60 " + api,
				"create r6 " + ReverseName(netip.MustParseAddr("2001:db8::1")) + " PTR 60 " + api,
				"warn no PTR for 203.0.113.1: it is no floating IP of the project, and no zone of the project contains 1.113.0.203.in-addr.arpa",
			},
		},
		"PTRs that are there": {
			ClusterWant{API: ips("192.0.2.1", "198.51.100.7"), PTR: true},
			clusterState{floating: []FloatingIP{set}, sets: []markedSet{
				clusterSet("z", api, A, mark, "192.0.2.1", "198.51.100.7"), clusterSet("r", "1.2.0.192.in-addr.arpa", PTR, mark, api),
			}},
			[]string{
				"keep z " + api + " A 0 192.0.2.1,198.51.100.7", "keep r 1.2.0.192.in-addr.arpa PTR 0 " + api, "keep R:f 7.100.51.198.in-addr.arpa PTR 3600 " + api,
			},
		},
		"PTRs of addresses that are gone": { // those of a cluster of the same name in another zone stay
			ClusterWant{API: ips("192.0.2.1"), PTR: true},
			clusterState{floating: []FloatingIP{set}, sets: []markedSet{
				clusterSet("z", api, A, mark, "192.0.2.1"), clusterSet("r", "9.2.0.192.in-addr.arpa", PTR, mark, api),
				clusterSet("r", "8.2.0.192.in-addr.arpa", PTR, mark, "api.c1.example.net"),
			}},
			[]string{
				"keep z " + api + " A 0 192.0.2.1", "create r 1.2.0.192.in-addr.arpa PTR 0 " + api,
				"delete r 9.2.0.192.in-addr.arpa PTR 0 " + api, "delete R:f 7.100.51.198.in-addr.arpa PTR 3600 " + api,
			},
		},
		"foreign PTRs": {
			ClusterWant{API: ips("192.0.2.1", "198.51.100.7", "192.0.2.3"), PTR: true},
			clusterState{
				floating: []FloatingIP{{Key: "R:f", Address: fip.Address, Target: "mail.example.net", Description: "mail"}},
				sets: []markedSet{
					clusterSet("r", "1.2.0.192.in-addr.arpa", PTR, "", "www.example.org"), clusterSet("r", "3.2.0.192.in-addr.arpa", CNAME, "", "3.rfc2317.example.org"),
				},
			},
			[]string{
				"create z " + api + " A 0 192.0.2.1,192.0.2.3,198.51.100.7",
				"refuse 1.2.0.192.in-addr.arpa PTR: there is one already, www.example.org, and it does not belong to the cluster: its description is empty",
				`refuse 7.100.51.198.in-addr.arpa PTR: there is one already, mail.example.net, and it does not belong to the cluster: its description is "mail"`,
				"refuse 3.2.0.192.in-addr.arpa CNAME: there is one already, 3.rfc2317.example.org, and it does not belong to the cluster: its description is empty",
			},
		},
		"a cloud without floating IPs": {
			ClusterWant{API: ips("198.51.100.7"), PTR: true},
			clusterState{floatingErr: errors.New("no endpoint")},
			[]string{
				"create z " + api + " A 0 198.51.100.7",
				"warn no PTR for 198.51.100.7: which floating IPs the project has is not known (no endpoint), and no zone of the project contains 7.100.51.198.in-addr.arpa",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.want.Cluster == "" {
				test.want.Cluster = "c1"
			}
			test.want.Zone = "example.org"
			test.state.zones = clusterZones()
			plan := planEnsure(&test.want, &test.state)
			if diff := cmp.Diff(strings.Join(test.plan, "\n")+"\n", plan.text()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Only what carries the cluster's mark, and is the cluster's in this zone, is deleted.
func TestPlanDelete(t *testing.T) {
	t.Parallel()
	const mark = clusterMark + "c1"
	plan := planDelete("c1", "example.org", &clusterState{
		zones: clusterZones(),
		sets: []markedSet{
			clusterSet("z", "api.c1.example.org", A, mark, "192.0.2.1"), clusterSet("z", "*.apps.c1.example.org", AAAA, mark, "2001:db8::1"),
			clusterSet("z", "www.c1.example.org", A, "", "192.0.2.9"), clusterSet("z", "api.c12.example.org", A, clusterMark+"c12", "192.0.2.9"),
			clusterSet("z", "api.c2.example.org", A, mark, "192.0.2.9"), clusterSet("r", "1.2.0.192.in-addr.arpa", PTR, mark, "api.c1.example.org"),
			clusterSet("r", "2.2.0.192.in-addr.arpa", PTR, mark, "api.c1.example.net"), clusterSet("r", "3.2.0.192.in-addr.arpa", PTR, "", "api.c1.example.org"),
		},
		floating: []FloatingIP{
			{Key: "R:a", Address: netip.MustParseAddr("198.51.100.1"), Target: "api.c1.example.org", Description: mark},
			{Key: "R:b", Address: netip.MustParseAddr("198.51.100.2"), Target: "api.c1.example.org"},
			{Key: "R:c", Address: netip.MustParseAddr("198.51.100.3"), Target: "api.c1.example.net", Description: mark},
			{Key: "R:d", Address: netip.MustParseAddr("198.51.100.4"), Description: mark},
		},
	})
	want := "delete r 1.2.0.192.in-addr.arpa PTR 0 api.c1.example.org\ndelete z *.apps.c1.example.org AAAA 0 2001:db8::1\ndelete z api.c1.example.org A 0 192.0.2.1\n" +
		"delete R:a 1.100.51.198.in-addr.arpa PTR 0 api.c1.example.org\n"
	if diff := cmp.Diff(want, plan.text()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPickZone(t *testing.T) {
	t.Parallel()
	all := []Zone{
		{ID: "1", Name: "example.org", primary: true},
		{ID: "2", Name: "two.org", PoolID: "p", ProjectID: "a", primary: true},
		{ID: "3", Name: "two.org", PoolID: "q", ProjectID: "b", primary: true},
		{ID: "4", Name: "copy.org"},
		{ID: "5", Name: "old.org", primary: true, deleting: true},
	}
	for _, test := range []struct{ name, id, want string }{
		{"example.org", "", "1"},
		{"example.org", "1", "1"},
		{"", "3", "3"},
		{"two.org", "2", "2"},
		{"two.org", "", "zone: there are 2 of the name two.org, say which one by its id: 2 (pool p, project a), 3 (pool q, project b)"},
		{"example.org", "2", "zone: there is no example.org 2 among those that the project can see: copy.org, example.org, old.org, two.org"},
		{"copy.org", "", "zone copy.org (4) is a secondary one: its records are those of its master, and can't be written here"},
		{"old.org", "", "zone old.org (5) is being deleted"},
	} {
		zone, err := pickZone(all, test.name, test.id)
		got := zone.ID
		if err != nil {
			got = err.Error()
		}
		if got != test.want || err != nil && !errors.Is(err, ErrZone) {
			t.Errorf("%q %q: %s, want %s", test.name, test.id, got, test.want)
		}
	}
	if _, err := pickZone(nil, "example.org", ""); err == nil || !strings.Contains(err.Error(), "the project has no zones") {
		t.Error(err)
	}
	if zone, _, ok := only(all, all[2]).Match("www.two.org"); !ok || zone.ID != "3" {
		t.Errorf("the name is matched to %v", zone)
	}
}

func TestReverseName(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "1.2.0.192.in-addr.arpa", "::ffff:192.0.2.1": "1.2.0.192.in-addr.arpa",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := ReverseName(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
