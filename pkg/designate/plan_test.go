package designate_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"mooring/pkg/designate"
)

// zonesOf makes zones by id and name; a name with a suffix /secondary or /deleting is of that kind.
func zonesOf(names ...string) designate.Zones {
	var zones []designate.Zone
	for i, name := range names {
		name, kind, _ := strings.Cut(name, "/")
		zones = append(zones, designate.ZoneOf(fmt.Sprintf("z%d", i+1), name, kind))
	}
	return designate.NewZones(zones)
}

func TestMatchPicksTheLongestSuffix(t *testing.T) {
	t.Parallel()
	zones := zonesOf("example.org", "sub.example.org", "mirror.example.org/secondary", "old.example.org/deleting", "two.org", "two.org", "deep.one.net",
		"again.org/deleting", "again.org")
	for name, want := range map[string]string{
		"example.org":                  "example.org",
		"www.example.org":              "example.org",
		"a.b.example.org":              "example.org",
		"notexample.org":               "no_zone",
		"sub.example.org":              "sub.example.org",
		"www.sub.example.org":          "sub.example.org",
		"*.sub.example.org":            "sub.example.org",
		"xsub.example.org":             "example.org",
		"www.mirror.example.org":       "secondary_zone",
		"mirror.example.org":           "secondary_zone",
		"www.old.example.org":          "deleting_zone",
		"www.two.org":                  "ambiguous_zone",
		"one.net":                      "no_zone",
		"x.deep.one.net":               "deep.one.net",
		"org":                          "no_zone",
		"www.again.org":                "again.org",
		"extdns-a.www.sub.example.org": "sub.example.org",
	} {
		zone, reason, ok := zones.Match(name)
		got := string(reason)
		if ok {
			got = zone.Name
		}
		if got != want {
			t.Errorf("Match(%q) = %s, want %s", name, got, want)
		}
	}
	if _, reason, ok := (designate.Zones{}).Match("example.org"); ok || reason != designate.NoZone {
		t.Errorf("no zones at all: %q, %v", reason, ok)
	}
}

func rec(name string, typ designate.Type, ttl int, targets ...string) designate.Record {
	return designate.Record{Name: name, Type: typ, TTL: ttl, Targets: targets}
}

// mark is the ownership TXT of a record.
func mark(name, owner string) designate.Record {
	r := rec(name, designate.TXT, 0, "heritage=external-dns,external-dns/owner=me")
	r.Owner = owner
	return r
}

// state is what a cloud has; it applies plans as Designate would, and complains where Designate would refuse.
type state map[designate.Key]designate.Recordset

func (s state) put(zoneID string, list ...designate.Record) state {
	for _, r := range list {
		set := designate.Recordset{ID: "id-" + zoneID + "-" + r.Name + "-" + string(r.Type), ZoneID: zoneID, Record: r}
		s[set.Key()] = set
	}
	return s
}

func (s state) lookup(k designate.Key) (designate.Recordset, bool) {
	set, ok := s[k]
	return set, ok
}

func (s state) apply(op designate.Operation) error {
	key := op.Key()
	_, exists := s[key]
	switch op.Verb {
	case designate.Delete:
		delete(s, key)
		return nil
	case designate.Create:
		if exists {
			return fmt.Errorf("409 for %v", key)
		}
		for k := range s {
			if k.Name == key.Name && (k.Type == designate.CNAME) != (key.Type == designate.CNAME) {
				return fmt.Errorf("400: %s at %s beside %s", key.Type, key.Name, k.Type)
			}
		}
	case designate.Update:
		if !exists || s[key].ID != op.ID {
			return fmt.Errorf("404 for %v", key)
		}
	}
	s.put(op.Zone.ID, op.Record)
	return nil
}

func text(p designate.Plan) string {
	var b strings.Builder
	for _, g := range p.Groups {
		var steps []string
		for _, step := range g.Steps {
			var ops []string
			for _, op := range step {
				ops = append(ops, fmt.Sprintf("%s %s/%s %s", op.Verb, op.Zone.Name, op.Record.Name, op.Record.Type))
			}
			steps = append(steps, strings.Join(ops, ", "))
		}
		b.WriteString(strings.Join(steps, " → ") + "\n")
	}
	for _, s := range p.Skipped {
		fmt.Fprintf(&b, "skip %s %s: %s\n", s.Record.Name, s.Record.Type, s.Reason)
	}
	for _, err := range p.Invalid {
		fmt.Fprintf(&b, "invalid %v\n", err)
	}
	if p.Same > 0 {
		fmt.Fprintf(&b, "same %d\n", p.Same)
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	t.Parallel()
	www, www2 := rec("www.example.org", designate.A, 0, "192.0.2.1"), rec("www.example.org", designate.A, 0, "192.0.2.2")
	alias := rec("www.example.org", designate.CNAME, 0, "lb.example.net")
	cases := []struct {
		name    string
		zones   []string
		current []designate.Record // in zone z1
		changes designate.Changes
		want    string
	}{
		{
			name: "create with its mark first", changes: designate.Changes{Create: []designate.Record{www, mark("a-www.example.org", "www.example.org")}},
			want: "create example.org/a-www.example.org TXT → create example.org/www.example.org A\n",
		},
		{
			name: "delete with its mark last", current: []designate.Record{www, mark("a-www.example.org", "")},
			changes: designate.Changes{Delete: []designate.Record{mark("a-www.example.org", "www.example.org"), www}},
			want:    "delete example.org/www.example.org A → delete example.org/a-www.example.org TXT\n",
		},
		{
			name: "A becomes CNAME", current: []designate.Record{www, mark("a-www.example.org", "")},
			changes: designate.Changes{
				Create: []designate.Record{alias, mark("cname-www.example.org", "www.example.org")},
				Delete: []designate.Record{www, mark("a-www.example.org", "www.example.org")},
			},
			want: "delete example.org/www.example.org A → delete example.org/a-www.example.org TXT → create example.org/cname-www.example.org TXT → create example.org/www.example.org CNAME\n",
		},
		{
			name: "update", current: []designate.Record{www}, changes: designate.Changes{UpdateOld: []designate.Record{www}, UpdateNew: []designate.Record{www2}},
			want: "update example.org/www.example.org A\n",
		},
		{
			name: "update of something that is gone", changes: designate.Changes{UpdateOld: []designate.Record{www}, UpdateNew: []designate.Record{www2}},
			want: "create example.org/www.example.org A\n",
		},
		{
			name: "create of something that is there otherwise", current: []designate.Record{www}, changes: designate.Changes{Create: []designate.Record{www2}},
			want: "update example.org/www.example.org A\n",
		},
		{
			name: "nothing to do", current: []designate.Record{www}, changes: designate.Changes{Create: []designate.Record{www}}, want: "same 1\n",
		},
		{
			name: "only the TTL", current: []designate.Record{www}, changes: designate.Changes{UpdateNew: []designate.Record{rec("www.example.org", designate.A, 300, "192.0.2.1")}},
			want: "update example.org/www.example.org A\n",
		},
		{
			name: "an update that changes the type", current: []designate.Record{www}, changes: designate.Changes{UpdateOld: []designate.Record{www}, UpdateNew: []designate.Record{alias}},
			want: "delete example.org/www.example.org A → create example.org/www.example.org CNAME\n",
		},
		{
			name: "delete and create of one key is an update", current: []designate.Record{www}, changes: designate.Changes{Delete: []designate.Record{www}, Create: []designate.Record{www2}},
			want: "update example.org/www.example.org A\n",
		},
		{
			name: "delete and create of the same is nothing", current: []designate.Record{www}, changes: designate.Changes{Delete: []designate.Record{www}, Create: []designate.Record{www}},
			want: "same 1\n",
		},
		{
			name: "a delete of something unknown is looked up", changes: designate.Changes{Delete: []designate.Record{www}},
			want: "delete example.org/www.example.org A\n",
		},
		{
			name: "forms do not matter", current: []designate.Record{rec("www.example.org", designate.AAAA, 0, "2001:db8::1")},
			changes: designate.Changes{Create: []designate.Record{rec("WWW.example.org.", designate.AAAA, 0, "2001:DB8::0:1")}},
			want:    "same 1\n",
		},
		{
			name: "unrelated names are groups of their own", changes: designate.Changes{Create: []designate.Record{
				rec("b.example.org", designate.A, 0, "192.0.2.1"), rec("a.example.org", designate.A, 0, "192.0.2.1"), rec("a.example.org", designate.AAAA, 0, "2001:db8::1"),
			}},
			want: "create example.org/a.example.org A, create example.org/a.example.org AAAA\ncreate example.org/b.example.org A\n",
		},
		{
			name: "a child zone takes its names", zones: []string{"example.org", "sub.example.org"},
			changes: designate.Changes{Create: []designate.Record{rec("sub.example.org", designate.A, 0, "192.0.2.1"), mark("a-sub.example.org", "sub.example.org")}},
			want:    "create example.org/a-sub.example.org TXT → create sub.example.org/sub.example.org A\n",
		},
		{
			name: "names without a zone of ours", zones: []string{"example.org", "mirror.example.org/secondary", "old.example.org/deleting"},
			changes: designate.Changes{Create: []designate.Record{
				rec("www.example.net", designate.A, 0, "192.0.2.1"), rec("www.mirror.example.org", designate.A, 0, "192.0.2.1"),
			}, Delete: []designate.Record{rec("www.old.example.org", designate.A, 0)}},
			want: "skip www.old.example.org A: deleting_zone\nskip www.example.net A: no_zone\nskip www.mirror.example.org A: secondary_zone\n",
		},
		{
			name: "what is Designate's", changes: designate.Changes{Create: []designate.Record{rec("example.org", designate.NS, 0, "ns.example.net")}, Delete: []designate.Record{rec("example.org", designate.SOA, 0)}},
			want: "skip example.org SOA: managed_record\nskip example.org NS: managed_record\n",
		},
		{
			name: "a delegation is not Designate's", changes: designate.Changes{Create: []designate.Record{rec("team.example.org", designate.NS, 0, "ns.example.net")}},
			want: "create example.org/team.example.org NS\n",
		},
		{
			name: "no mark for what can't be written", changes: designate.Changes{Create: []designate.Record{
				rec("bad.example.org", designate.A, 0, "192.0.2"), mark("a-bad.example.org", "bad.example.org"),
				rec("half.example.org", designate.A, 0, "192.0.2"), mark("a-half.example.org", "half.example.org"),
				rec("half.example.org", designate.AAAA, 0, "2001:db8::1"), mark("aaaa-half.example.org", "half.example.org"),
			}},
			want: "create example.org/a-half.example.org TXT, create example.org/aaaa-half.example.org TXT → create example.org/half.example.org AAAA\n" +
				`invalid bad.example.org A: invalid record value for A: "192.0.2" is not an IP address` + "\n" +
				`invalid half.example.org A: invalid record value for A: "192.0.2" is not an IP address` + "\n",
		},
		{
			name: "a bad record does not stop the good ones", changes: designate.Changes{Create: []designate.Record{
				rec("a b.example.org", designate.A, 0, "192.0.2.1"), rec("bad.example.org", designate.A, 0, "192.0.2"), www,
			}},
			want: "create example.org/www.example.org A\n" +
				`invalid a b.example.org A: invalid DNS name "a b.example.org": label "a b" has the character ' ': only letters, digits, '-' and '_' are allowed` + "\n" +
				`invalid bad.example.org A: invalid record value for A: "192.0.2" is not an IP address` + "\n",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.zones == nil {
				c.zones = []string{"example.org"}
			}
			plan := designate.NewPlan(zonesOf(c.zones...), state{}.put("z1", c.current...).lookup, c.changes, 0)
			if diff := gocmp.Diff(c.want, text(plan)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPlanKeepsTheOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	zones := zonesOf("example.org", "sub.example.org")
	for range 2000 {
		before, changes, wanted := randomChanges(random, zones)
		plan := designate.NewPlan(zones, before.lookup, changes, 0)
		checkPlan(t, before, plan)

		after := maps.Clone(before)
		for _, g := range plan.Groups {
			for _, step := range g.Steps {
				for _, op := range step {
					if err := after.apply(op); err != nil {
						t.Fatalf("%v\nplan:\n%s", err, text(plan))
					}
				}
			}
		}
		for key, r := range wanted {
			if set, ok := after[key]; !ok || !set.Same(r) {
				t.Fatalf("%v is %+v afterwards, want %+v\nplan:\n%s", key, set, r, text(plan))
			}
		}
		if again := designate.NewPlan(zones, after.lookup, onlyWanted(changes), 0); again.Operations() != 0 {
			t.Fatalf("the plan after the plan is not empty:\n%s", text(again))
		}
		if second := designate.NewPlan(zones, before.lookup, changes, 0); text(second) != text(plan) {
			t.Fatalf("the same arguments give another plan:\n%s\n%s", text(plan), text(second))
		}
	}
}

func onlyWanted(c designate.Changes) designate.Changes {
	return designate.Changes{Create: slices.Concat(c.Create, c.UpdateNew)}
}

// checkPlan checks what must hold for every plan: one operation a key, ids where they are known, the order of steps, and no name in two groups.
func checkPlan(t *testing.T, before state, plan designate.Plan) {
	t.Helper()
	keys, owner := map[designate.Key]bool{}, map[string]int{}
	for i, g := range plan.Groups {
		last := -1
		for _, step := range g.Steps {
			if len(step) == 0 {
				t.Fatal("an empty step")
			}
			for _, op := range step {
				set, exists := before[op.Key()]
				if keys[op.Key()] || op.ID != set.ID || (op.Verb == designate.Create) == exists {
					t.Fatalf("operation %+v, existing recordset %+v", op, set)
				}
				keys[op.Key()] = true
				at := order(op)
				if at < last {
					t.Fatalf("the steps are out of order:\n%s", text(plan))
				}
				last = max(last, at)
				for _, name := range []string{op.Record.Name, cmp.Or(op.Record.Owner, op.Record.Name)} {
					if seen, ok := owner[name]; ok && seen != i {
						t.Fatalf("%s is in two groups:\n%s", name, text(plan))
					}
					owner[name] = i
				}
			}
		}
	}
}

func order(op designate.Operation) int {
	isMark, isDelete := op.Record.Owner != "", op.Verb == designate.Delete
	switch {
	case isDelete && !isMark:
		return 0
	case isDelete:
		return 1
	case isMark:
		return 2
	default:
		return 3
	}
}

// randomChanges makes a state, changes that ExternalDNS could want of it, and what must be there afterwards.
func randomChanges(random *rand.Rand, zones designate.Zones) (before state, changes designate.Changes, wanted map[designate.Key]designate.Record) {
	before, wanted = state{}, map[designate.Key]designate.Record{}
	names := []string{"example.org", "a.example.org", "b.example.org", "*.example.org", "sub.example.org", "x.sub.example.org"}
	for _, name := range names {
		zone, _, _ := zones.Match(name)
		had, wants := randomRecord(random, name), randomRecord(random, name)
		var hadMark, wantsMark *designate.Record
		if had != nil {
			hadMark = markOf(had)
			before.put(zone.ID, *had)
			markZone, _, _ := zones.Match(hadMark.Name)
			before.put(markZone.ID, *hadMark)
		}
		if wants != nil {
			wantsMark = markOf(wants)
			wanted[designate.Key{ZoneID: zone.ID, Name: name, Type: wants.Type}] = *wants
		}
		switch {
		case had != nil && wants != nil && had.Type == wants.Type:
			changes.UpdateOld = append(changes.UpdateOld, *had, *hadMark)
			changes.UpdateNew = append(changes.UpdateNew, *wants, *wantsMark)
		default:
			if had != nil {
				changes.Delete = append(changes.Delete, *had, *hadMark)
			}
			if wants != nil {
				changes.Create = append(changes.Create, *wants, *wantsMark)
			}
		}
	}
	for _, list := range [][]designate.Record{changes.Create, changes.Delete} {
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return before, changes, wanted
}

func randomRecord(random *rand.Rand, name string) *designate.Record {
	var r designate.Record
	switch random.IntN(4) {
	case 0:
		return nil
	case 1:
		r = rec(name, designate.A, random.IntN(2)*300, fmt.Sprintf("192.0.2.%d", random.IntN(3)))
	case 2:
		r = rec(name, designate.AAAA, 0, fmt.Sprintf("2001:db8::%d", 1+random.IntN(3)))
	default:
		r = rec(name, designate.CNAME, 0, fmt.Sprintf("lb%d.example.net", random.IntN(3)))
	}
	return &r
}

func markOf(r *designate.Record) *designate.Record {
	m := mark("extdns-"+strings.ToLower(string(r.Type))+"."+strings.Replace(r.Name, "*", "any", 1), r.Name)
	return &m
}

func TestErrorsSumUp(t *testing.T) {
	t.Parallel()
	err := &designate.ApplyError{Done: 3, Total: 5, Errs: []error{&designate.RecordError{Name: "a.org", Type: designate.A, Err: designate.ErrTarget}, designate.ErrBudget}, More: 1}
	want := "3 of 5 changes done; a.org A: invalid record value; the time budget ran out; and 1 more"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !errors.Is(err, designate.ErrBudget) || !errors.Is(err, designate.ErrTarget) {
		t.Error("the causes are hidden")
	}
}
