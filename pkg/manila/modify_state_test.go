package manila

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/goldentest"
	"mooring/pkg/openstack"
)

// modifiable is a share of the driver's with static access.
func modifiable(more map[string]string) *Share {
	s := &Share{ID: "s", Status: "available", Protocol: NFS, Type: "slow", TypeID: "t1", Metadata: map[string]string{AccessKey: accessStatic}}
	maps.Copy(s.Metadata, more)
	return s
}

func ownRule(id, to, level, state string) Rule {
	return Rule{ID: id, Kind: KindIP, To: to, Level: level, State: state, Metadata: map[string]string{ManagedByKey: ManagedBy}}
}

func TestNextModify(t *testing.T) {
	t.Parallel()
	rw := ownRule("a", "10.0.0.1", "rw", "active")
	foreign := Rule{ID: "f", Kind: KindIP, To: "10.9.0.0/16", Level: "rw", State: "active"}
	cephx := Rule{ID: "x", Kind: KindCephx, To: "u", Level: "rw", State: "active", Key: "k", Metadata: rw.Metadata}
	ceph := modifiable(nil)
	ceph.Protocol = CEPHFS
	replacing := modifiable(map[string]string{replacingKey: "ip 10.0.0.1 ro"})
	seen := func(s *Share, rules ...Rule) ModifySeen {
		return ModifySeen{Share: s, Rules: rules, RulesKnown: true, Marks: true}
	}
	inPlace := func(o ModifySeen) ModifySeen { o.InPlace = true; return o }
	ro, clients := Change{Level: "ro"}, Change{Clients: []string{"10.0.0.2"}}
	node := ownRule("n", "10.0.0.7", "rw", "active")
	node.Metadata = map[string]string{ManagedByKey: ManagedBy, NodeKeyPrefix + "n": marked}
	for name, c := range map[string]struct {
		change Change
		o      ModifySeen
		want   Step
		err    error
	}{
		"no share":                         {ro, ModifySeen{}, Step{Action: ActionFail}, openstack.ErrNotFound},
		"nothing":                          {Change{}, seen(modifiable(nil)), Step{Action: ActionDone}, nil},
		"the type that it has":             {Change{Type: "slow"}, seen(modifiable(nil)), Step{Action: ActionDone}, nil},
		"the type that it has, by its id":  {Change{Type: "t1"}, seen(modifiable(nil)), Step{Action: ActionDone}, nil},
		"another type":                     {Change{Type: "fast", Level: "ro"}, seen(modifiable(nil)), Step{Action: ActionFail}, ErrUnchangeable},
		"metadata":                         {Change{Metadata: map[string]string{"a": "b"}}, ModifySeen{Share: modifiable(nil)}, Step{Action: ActionSetMetadata}, nil},
		"metadata that it has":             {Change{Metadata: map[string]string{"a": "b"}}, ModifySeen{Share: modifiable(map[string]string{"a": "b"})}, Step{Action: ActionDone}, nil},
		"metadata after what is refused":   {Change{Metadata: map[string]string{"a": "b"}, Level: "ro"}, seen(ceph, cephx), Step{Action: ActionFail}, ErrUnchangeable},
		"rules are asked for":              {ro, ModifySeen{Share: modifiable(nil), Marks: true}, Step{Action: ActionListRules}, nil},
		"rules without metadata":           {ro, ModifySeen{Share: modifiable(nil)}, Step{Action: ActionFail}, ErrTooOld},
		"access by node":                   {ro, seen(modifiable(map[string]string{AccessKey: "node"}), rw), Step{Action: ActionFail}, ErrUnchangeable},
		"nobody's access":                  {clients, seen(modifiable(map[string]string{AccessKey: "none"})), Step{Action: ActionFail}, ErrUnchangeable},
		"of CPO":                           {clients, seen(&Share{Status: "available", Protocol: NFS}, foreign), Step{Action: ActionFail}, ErrUnchangeable},
		"of an earlier version":            {clients, seen(&Share{Status: "available", Protocol: NFS}, rw), Step{Action: ActionSetMetadata}, nil},
		"of a node alone":                  {clients, seen(&Share{Status: "available", Protocol: NFS}, node), Step{Action: ActionFail}, ErrUnchangeable},
		"a node stays in":                  {clients, seen(modifiable(nil), ownRule("b", "10.0.0.2", "rw", "active"), node), Step{Action: ActionDone}, nil},
		"a node keeps its level":           {ro, seen(modifiable(nil), ownRule("b", "10.0.0.2", "ro", "active"), node), Step{Action: ActionDone}, nil},
		"clients of CephFS":                {clients, seen(ceph, cephx), Step{Action: ActionFail}, ErrUnchangeable},
		"the level of CephFS":              {ro, seen(ceph, cephx), Step{Action: ActionFail}, ErrUnchangeable},
		"the level of CephFS, it has it":   {Change{Level: "rw"}, seen(ceph, cephx), Step{Action: ActionDone}, nil},
		"the level of CephFS, in place":    {ro, inPlace(seen(ceph, cephx)), Step{Action: ActionSetLevel, Rule: "x", Grant: Grant{KindCephx, "u", "ro"}}, nil},
		"a new client":                     {clients, seen(modifiable(nil), rw), Step{Action: ActionGrant, Grant: Grant{KindIP, "10.0.0.2", "rw"}}, nil},
		"a new client among readers":       {clients, seen(modifiable(nil), ownRule("a", "10.0.0.1", "ro", "active")), Step{Action: ActionGrant, Grant: Grant{KindIP, "10.0.0.2", "ro"}}, nil},
		"a new client is waited for":       {clients, seen(modifiable(nil), rw, ownRule("b", "10.0.0.2", "rw", "applying")), Step{Action: ActionLookRules}, nil},
		"then the other goes":              {clients, seen(modifiable(nil), rw, ownRule("b", "10.0.0.2", "rw", "active"), foreign), Step{Action: ActionDeny, Rule: "a"}, nil},
		"and is waited for":                {clients, seen(modifiable(nil), ownRule("a", "10.0.0.1", "rw", "denying"), ownRule("b", "10.0.0.2", "rw", "active")), Step{Action: ActionLookRules}, nil},
		"and is gone":                      {clients, seen(modifiable(nil), ownRule("b", "10.0.0.2/32", "rw", "active"), foreign), Step{Action: ActionDone}, nil},
		"a new client in error, just now":  {clients, ModifySeen{Share: modifiable(nil), Rules: []Rule{ownRule("b", "10.0.0.2", "rw", "error")}, RulesKnown: true, Marks: true, Granted: []string{"b"}}, Step{Action: ActionFail}, ErrRuleFailed},
		"a client in error":                {clients, seen(modifiable(nil), ownRule("b", "10.0.0.2", "rw", "error")), Step{Action: ActionRemember, Grant: Grant{KindIP, "10.0.0.2", "rw"}}, nil},
		"a user with a key in error":       {ro, inPlace(seen(ceph, Rule{ID: "x", Kind: KindCephx, To: "u", Level: "ro", State: "error", Key: "k", Metadata: rw.Metadata})), Step{Action: ActionFail}, ErrRuleFailed},
		"a level, in place":                {ro, inPlace(seen(modifiable(nil), rw, foreign)), Step{Action: ActionSetLevel, Rule: "a", Grant: Grant{KindIP, "10.0.0.1", "ro"}}, nil},
		"a level":                          {ro, seen(modifiable(nil), rw), Step{Action: ActionRemember, Grant: Grant{KindIP, "10.0.0.1", "ro"}}, nil},
		"the client is remembered":         {ro, seen(replacing, rw), Step{Action: ActionDeny, Rule: "a"}, nil},
		"its rule goes":                    {ro, seen(replacing, ownRule("a", "10.0.0.1", "rw", "queued_to_deny")), Step{Action: ActionLookRules}, nil},
		"its rule is gone":                 {ro, seen(replacing), Step{Action: ActionGrant, Grant: Grant{KindIP, "10.0.0.1", "ro"}}, nil},
		"gone, and another level wanted":   {Change{Level: "rw"}, seen(replacing), Step{Action: ActionGrant, Grant: Grant{KindIP, "10.0.0.1", "rw"}}, nil},
		"gone, and metadata alone wanted":  {Change{}, seen(replacing), Step{Action: ActionGrant, Grant: Grant{KindIP, "10.0.0.1", "ro"}}, nil},
		"gone, and others wanted":          {clients, seen(replacing, ownRule("b", "10.0.0.2", "ro", "active")), Step{Action: ActionForget}, nil},
		"it is there again":                {ro, seen(replacing, ownRule("b", "10.0.0.1", "ro", "active")), Step{Action: ActionForget}, nil},
		"somebody else's client":           {Change{Clients: []string{"10.9.0.0/16"}, Level: "ro"}, seen(modifiable(nil), rw, foreign), Step{Action: ActionFail}, ErrUnchangeable},
		"somebody else's, as it is wanted": {Change{Clients: []string{"10.9.0.0/16"}, Level: "rw"}, seen(modifiable(nil), rw, foreign), Step{Action: ActionDeny, Rule: "a"}, nil},
	} {
		got := NextModify(&c.change, &c.o)
		if !errors.Is(got.Err, c.err) || (c.err == nil) != (got.Err == nil) {
			t.Errorf("%s: %v, want %v", name, got.Err, c.err)
		}
		got.Err = nil
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestGoldenModifications writes down what is decided in every status that Manila knows.
func TestGoldenModifications(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# Written by TestGoldenModifications: status | another level | metadata | another type\n")
	for _, status := range append(slices.Sorted(maps.Keys(phases())), "some_status_of_the_future") {
		fmt.Fprint(&b, status)
		for _, change := range []Change{{Level: "ro"}, {Metadata: map[string]string{"a": "b"}}, {Type: "fast"}} {
			s := modifiable(nil)
			s.Status = status
			step := NextModify(&change, &ModifySeen{Share: s, Marks: true})
			fmt.Fprintf(&b, " | %s", step.Action)
			if step.Err != nil {
				fmt.Fprintf(&b, ": %v", step.Err)
			}
		}
		b.WriteString("\n")
	}
	goldentest.Compare(t, "testdata/modifications.golden", b.String())
}

// world is a Manila that does what NextModify decides, for the property below.
type world struct {
	share   *Share
	rules   []Rule
	inPlace bool
	made    int
}

// act carries a step out; with no step left it says so. Each look lets what is under way end.
func (w *world) act(c *Change, step Step) {
	at := func(id string) int { return slices.IndexFunc(w.rules, func(r Rule) bool { return r.ID == id }) }
	switch step.Action {
	case ActionSetMetadata:
		maps.Copy(w.share.Metadata, c.missing(w.share))
	case ActionRemember:
		w.share.Metadata[replacingKey] = step.Grant.Kind + " " + step.Grant.To + " " + step.Grant.Level
	case ActionForget:
		delete(w.share.Metadata, replacingKey)
	case ActionGrant:
		w.made++
		w.rules = append(w.rules, ownRule(fmt.Sprint("new", w.made), step.Grant.To, step.Grant.Level, "queued_to_apply"))
	case ActionSetLevel:
		w.rules[at(step.Rule)].Level = step.Grant.Level
	case ActionDeny:
		w.rules[at(step.Rule)].State = "denying"
	case ActionLookRules:
		w.rules = slices.DeleteFunc(w.rules, func(r Rule) bool { return r.State == "denying" })
		for i := range w.rules {
			w.rules[i].State = "active"
		}
	default:
	}
}

// run goes on until it is done, or for so many steps: then the process ends.
func (w *world) run(t *testing.T, c *Change, steps int) bool {
	t.Helper()
	for range steps {
		o := &ModifySeen{Share: w.share, Rules: w.rules, RulesKnown: true, InPlace: w.inPlace, Marks: true}
		step := NextModify(c, o)
		switch step.Action {
		case ActionDone:
			return true
		case ActionFail:
			t.Fatalf("%+v of %+v: %v", c, w, step.Err)
		case ActionGrant:
			if find(w.rules, step.Grant) != nil {
				t.Fatalf("%+v of %+v grants %v twice", c, w, step.Grant)
			}
		default:
		}
		w.act(c, step)
	}
	return false
}

// TestModifyConverges changes a share again and again, each time cut off at some point, and then once to the end: the share has the
// clients and levels of the last change; where that changes no clients, none has been lost on the way; and somebody else's rule is
// as it was.
func TestModifyConverges(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	clients := []string{"10.0.0.1", "10.0.0.2", "10.0.0.0/24", "fd00::/64"}
	for range 3000 {
		foreign := Rule{ID: "f", Kind: KindIP, To: "192.0.2.0/24", Level: "rw", State: "active"}
		w := &world{share: modifiable(nil), inPlace: random.IntN(4) == 0, rules: []Rule{foreign}}
		for i, to := range clients[:1+random.IntN(len(clients))] {
			w.rules = append(w.rules, ownRule(fmt.Sprint("old", i), to, []string{"rw", "ro"}[random.IntN(2)], []string{"active", "active", "error"}[random.IntN(3)]))
		}
		had := w.clients()
		listed := false
		change := func() *Change {
			c := &Change{Level: []string{"", "rw", "ro"}[random.IntN(3)]}
			if random.IntN(3) == 0 {
				listed = true
				c.Clients = slices.Clone(clients[random.IntN(len(clients)):])
			}
			return c
		}
		for range random.IntN(4) {
			w.run(t, change(), random.IntN(12))
		}
		last := change()
		if !w.run(t, last, 100) {
			t.Fatalf("%+v never ends: %+v", last, w)
		}
		got := w.clients()
		switch {
		case last.Clients != nil && !slices.Equal(got, slices.Sorted(slices.Values(last.Clients))):
			t.Fatalf("clients %v, want %v", got, last.Clients)
		case !listed && !slices.Equal(got, had):
			t.Fatalf("clients %v, there were %v", got, had)
		case w.share.Metadata[replacingKey] != "":
			t.Fatalf("left in the metadata: %v", w.share.Metadata)
		}
		for _, r := range w.rules {
			if r.ID == "f" && !cmp.Equal(r, foreign) || r.ID != "f" && last.access() && (last.Level != "" && r.Level != last.Level || r.State != "active") {
				t.Fatalf("%+v leaves %+v", last, r)
			}
		}
	}
}

func (w *world) clients() (out []string) {
	for _, r := range w.rules {
		if r.ID != "f" {
			out = append(out, r.To)
		}
	}
	slices.Sort(out)
	return out
}
