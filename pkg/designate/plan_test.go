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
		types   []designate.Type // that are served; nil: all
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
			name: "a CNAME beside what somebody else has", current: []designate.Record{www},
			changes: designate.Changes{Create: []designate.Record{alias, mark("cname-www.example.org", "www.example.org")}},
			want:    "invalid www.example.org CNAME: a CNAME can't share its name with another record: www.example.org has a record of type A\n",
		},
		{
			name: "anything beside somebody else's CNAME", current: []designate.Record{alias}, changes: designate.Changes{Create: []designate.Record{www, rec("www.example.org", designate.TXT, 0, "x")}},
			want: "invalid www.example.org A: a CNAME can't share its name with another record: www.example.org has a CNAME\n" +
				"invalid www.example.org TXT: a CNAME can't share its name with another record: www.example.org has a CNAME\n",
		},
		{
			name: "of two new ones the CNAME gives way", changes: designate.Changes{Create: []designate.Record{alias, www}},
			want: "create example.org/www.example.org A\ninvalid www.example.org CNAME: a CNAME can't share its name with another record: www.example.org has a record of type A\n",
		},
		{
			name: "a CNAME that is there stays beside a new record", current: []designate.Record{alias},
			changes: designate.Changes{UpdateNew: []designate.Record{rec("www.example.org", designate.CNAME, 0, "lb2.example.net")}, Create: []designate.Record{www}},
			want:    "update example.org/www.example.org CNAME\ninvalid www.example.org A: a CNAME can't share its name with another record: www.example.org has a CNAME\n",
		},
		{
			name: "CNAME becomes A and AAAA", current: []designate.Record{alias},
			changes: designate.Changes{Delete: []designate.Record{alias}, Create: []designate.Record{www, rec("www.example.org", designate.AAAA, 0, "2001:db8::1")}},
			want:    "delete example.org/www.example.org CNAME → create example.org/www.example.org A, create example.org/www.example.org AAAA\n",
		},
		{
			name: "no CNAME at a zone's own name", changes: designate.Changes{Create: []designate.Record{rec("example.org", designate.CNAME, 0, "lb.example.net")}},
			want: "invalid example.org CNAME: a CNAME can't share its name with another record: a zone's own name can't be a CNAME\n",
		},
		{
			name: "no record whose mark can't be written", changes: designate.Changes{Create: []designate.Record{
				rec("*.example.org", designate.A, 0, "192.0.2.1"), mark("a-*.example.org", "*.example.org"), www,
			}},
			want: "create example.org/www.example.org A\n" +
				`invalid a-*.example.org TXT: invalid DNS name "a-*.example.org": label "a-*" has the character '*': only letters, digits, '-' and '_' are allowed` + "\n" +
				`invalid *.example.org A: its ownership record can't be written; ExternalDNS's --txt-prefix and --txt-wildcard-replacement say how that is named (a-*.example.org TXT): ` +
				`a-*.example.org TXT: invalid DNS name "a-*.example.org": label "a-*" has the character '*': only letters, digits, '-' and '_' are allowed` + "\n",
		},
		{
			name: "a mark that falls out of the zone", changes: designate.Changes{Create: []designate.Record{rec("example.org", designate.A, 0, "192.0.2.1"), mark("a-example.org", "example.org")}},
			want: "skip a-example.org TXT: no_zone\n" +
				"invalid example.org A: its ownership record can't be written; ExternalDNS's --txt-prefix and --txt-wildcard-replacement say how that is named (a-example.org TXT): it is left alone: no_zone\n",
		},
		{
			name: "types that are not served", types: []designate.Type{designate.A, designate.TXT},
			changes: designate.Changes{Create: []designate.Record{alias, mark("cname-www.example.org", "www.example.org"), www}, Delete: []designate.Record{rec("old.example.org", designate.CNAME, 0)}},
			want:    "create example.org/cname-www.example.org TXT → create example.org/www.example.org A\nskip old.example.org CNAME: type_not_served\nskip www.example.org CNAME: type_not_served\n",
		},
		{
			name: "what makes room comes first", current: []designate.Record{rec("z.example.org", designate.A, 0, "192.0.2.1"), rec("y.example.org", designate.A, 0, "192.0.2.1")},
			changes: designate.Changes{Create: []designate.Record{www, rec("y.example.org", designate.A, 0, "192.0.2.2")}, Delete: []designate.Record{rec("z.example.org", designate.A, 0)}},
			want:    "delete example.org/z.example.org A\nupdate example.org/y.example.org A\ncreate example.org/www.example.org A\n",
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
			rules := designate.Rules{}
			if c.types != nil {
				rules.Serves = func(typ designate.Type) bool { return slices.Contains(c.types, typ) }
			}
			plan := designate.NewPlan(zonesOf(c.zones...), state{}.put("z1", c.current...).lookup, c.changes, rules)
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
		plan := designate.NewPlan(zones, before.lookup, changes, designate.Rules{})
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
		checkAfter(t, plan, before, after, changes, wanted)
		if again := designate.NewPlan(zones, after.lookup, onlyWanted(changes), designate.Rules{}); again.Operations() != 0 {
			t.Fatalf("the plan after the plan is not empty:\n%s", text(again))
		}
		if second := designate.NewPlan(zones, before.lookup, changes, designate.Rules{}); text(second) != text(plan) {
			t.Fatalf("the same arguments give another plan:\n%s\n%s", text(plan), text(second))
		}
	}
}

// checkAfter checks that what is wanted is there with its mark, and nothing else but what was there and nobody wanted gone.
func checkAfter(t *testing.T, plan designate.Plan, before, after state, changes designate.Changes, wanted map[designate.Key]designate.Record) {
	t.Helper()
	for key, r := range wanted {
		if set, ok := after[key]; !ok || !set.Same(r) {
			t.Fatalf("%v is %+v afterwards, want %+v\nplan:\n%s", key, set, r, text(plan))
		}
		named := func(set designate.Recordset) bool { return set.Name == markOf(&r).Name }
		if !slices.ContainsFunc(slices.Collect(maps.Values(after)), named) {
			t.Fatalf("%v has no mark\nplan:\n%s", key, text(plan))
		}
	}
	for key := range after {
		_, was := before[key]
		_, is := wanted[key]
		isMark := key.Type == designate.TXT
		left := func(list []designate.Record) bool {
			return slices.ContainsFunc(list, func(r designate.Record) bool { return r.Name == key.Name && r.Type == key.Type })
		}
		if !isMark && !is && (!was || left(changes.Delete)) {
			t.Fatalf("%v is there, and nobody wants it\nplan:\n%s", key, text(plan))
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
		if had != nil && had.Type == designate.CNAME && name == zone.Name {
			had = nil
		}
		if had == nil && random.IntN(4) == 0 { // somebody else's, which nobody wants changed
			before.put(zone.ID, rec(name, designate.MX, 0, "10 mail.example.net"))
		}
		var hadMark, wantsMark *designate.Record
		if had != nil {
			hadMark = markOf(had)
			before.put(zone.ID, *had)
			markZone, _, _ := zones.Match(hadMark.Name)
			before.put(markZone.ID, *hadMark)
		}
		if wants != nil {
			wantsMark = markOf(wants)
			_, foreign := before[designate.Key{ZoneID: zone.ID, Name: name, Type: designate.MX}]
			if wants.Type != designate.CNAME || name != zone.Name && !foreign {
				wanted[designate.Key{ZoneID: zone.ID, Name: name, Type: wants.Type}] = *wants
			}
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
