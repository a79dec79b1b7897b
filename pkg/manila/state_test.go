package manila

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/goldentest"
)

// TestGoldenDecisions writes down what is decided about a share in every status that Manila knows, for both wishes, as seen by
// the call that made the share and by a later one.
func TestGoldenDecisions(t *testing.T) {
	t.Parallel()
	spec := &Spec{Name: "pvc-1", Cluster: "c1", SizeGiB: 1, Protocol: NFS, Type: "default", Grants: []Grant{{KindIP, "10.0.0.0/8", "rw"}}}
	decide := func(spec *Spec, o Observed) string {
		step := Next(spec, &o)
		if step.Err != nil {
			return string(step.Action) + ": " + step.Err.Error()
		}
		return string(step.Action)
	}
	var b strings.Builder
	b.WriteString("# Written by TestGoldenDecisions: status | wanted, first look by the call that made it | by a later call | later, exports known | gone wanted | gone wanted, refused\n")
	statuses := append(slices.Sorted(maps.Keys(phases())), "some_status_of_the_future")
	for _, status := range statuses {
		share := func() *Share {
			return &Share{ID: "s", Name: "pvc-1", Status: status, Protocol: NFS, Type: "default", SizeGiB: 1, Metadata: map[string]string{ClusterKey: "c1"}}
		}
		exports := []Export{{Path: "h:/x"}}
		fmt.Fprintf(&b, "%s | %s | %s | %s | %s | %s\n", status, decide(spec, Observed{Share: share(), Ours: true}), decide(spec, Observed{Share: share(), Looked: true}),
			decide(spec, Observed{Share: share(), Exports: exports, RulesKnown: true}), decide(nil, Observed{Share: share()}), decide(nil, Observed{Share: share(), Refused: true}))
	}
	const golden = "testdata/decisions.golden"
	goldentest.Compare(t, golden, b.String())
}

func TestNextRules(t *testing.T) {
	t.Parallel()
	ready := &Share{ID: "s", Status: "available", Protocol: NFS, SizeGiB: 1}
	exports := []Export{{Path: "h:/x"}}
	ip := Grant{KindIP, "10.0.0.1", "rw"}
	cephx := Grant{KindCephx, "pvc-1", "rw"}
	rule := func(id string, g Grant, state, key string) Rule {
		return Rule{ID: id, Kind: g.Kind, To: g.To, Level: g.Level, State: state, Key: key, Metadata: ownMetadata("")}
	}
	foreign := Rule{ID: "r", Kind: KindIP, To: ip.To, Level: ip.Level, State: "error"}
	for name, c := range map[string]struct {
		grants []Grant
		o      Observed
		want   Action
		err    error
	}{
		"no grants":                    {nil, Observed{}, ActionDone, nil},
		"a later call lists rules":     {[]Grant{ip}, Observed{}, ActionListRules, nil},
		"the first need not":           {[]Grant{ip}, Observed{Ours: true}, ActionGrant, nil},
		"missing":                      {[]Grant{ip}, Observed{RulesKnown: true}, ActionGrant, nil},
		"queued":                       {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{rule("r", ip, "queued_to_apply", "")}}, ActionLookRules, nil},
		"applying":                     {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{rule("r", ip, "applying", "")}}, ActionLookRules, nil},
		"being denied":                 {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{rule("r", ip, "denying", "")}}, ActionLookRules, nil},
		"active":                       {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{rule("r", ip, "active", "")}}, ActionDone, nil},
		"active, spelled as a network": {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{rule("r", Grant{KindIP, "10.0.0.1/32", "rw"}, "active", "")}}, ActionDone, nil},
		"active with another level":    {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{rule("r", Grant{KindIP, "10.0.0.1", "ro"}, "active", "")}}, ActionFail, ErrIncompatible},
		"error, ours":                  {[]Grant{ip}, Observed{RulesKnown: true, Granted: []string{"r"}, Rules: []Rule{rule("r", ip, "error", "")}}, ActionFail, ErrRuleFailed},
		"error, of an earlier call":    {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{rule("r", ip, "error", "")}}, ActionDeny, nil},
		"error, somebody else's":       {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{foreign}}, ActionFail, ErrRuleFailed},
		"cephx without its key":        {[]Grant{cephx}, Observed{RulesKnown: true, Rules: []Rule{rule("r", cephx, "active", "")}}, ActionLookRules, nil},
		"cephx with its key":           {[]Grant{cephx}, Observed{RulesKnown: true, Rules: []Rule{rule("r", cephx, "active", "k")}}, ActionDone, nil},
		"applying, in a crowd":         {[]Grant{ip}, Observed{Ours: true, Crowded: true, Rules: []Rule{rule("r", ip, "applying", "")}}, ActionLookAll, nil},
		"cephx, in a crowd":            {[]Grant{cephx}, Observed{Ours: true, Crowded: true, Rules: []Rule{rule("r", cephx, "applying", "")}}, ActionLookAll, nil},
		"a key, in a crowd":            {[]Grant{cephx}, Observed{Ours: true, Crowded: true, Rules: []Rule{rule("r", cephx, "active", "")}}, ActionLookRules, nil},
		"others' rules, in a crowd":    {[]Grant{ip}, Observed{RulesKnown: true, Crowded: true, Rules: []Rule{rule("r", ip, "applying", "")}}, ActionLookRules, nil},
		"grants before it waits":       {[]Grant{ip, {KindIP, "10.0.0.2", "rw"}}, Observed{RulesKnown: true, Rules: []Rule{rule("r", ip, "applying", "")}}, ActionGrant, nil},
		"other rules do not matter":    {[]Grant{ip}, Observed{RulesKnown: true, Rules: []Rule{rule("x", cephx, "error", ""), rule("r", ip, "active", "")}}, ActionDone, nil},
	} {
		o := c.o
		o.Share, o.Exports = ready, exports
		step := Next(&Spec{Protocol: NFS, SizeGiB: 1, Grants: c.grants}, &o)
		if step.Action != c.want || !errors.Is(step.Err, c.err) {
			t.Errorf("%s: %s %v; want %s %v", name, step.Action, step.Err, c.want, c.err)
		}
	}
	busy := *ready
	busy.Status = "extending"
	if step := Next(&Spec{Protocol: NFS, SizeGiB: 1, Grants: []Grant{ip}}, &Observed{Share: &busy, Exports: exports, RulesKnown: true}); step.Action != ActionLook {
		t.Errorf("a busy share takes no rules: %s", step.Action)
	}
}

// TestNextFailed: a share in error makes room for a new one only if nobody can have used it.
func TestNextFailed(t *testing.T) {
	t.Parallel()
	spec := &Spec{Name: "pvc-1", Cluster: "c1", SizeGiB: 1, Protocol: NFS}
	exports := []Export{{Path: "h:/x"}}
	own, theirs := Rule{ID: "r", Kind: KindIP, To: "10.0.0.1", Metadata: ownMetadata("c1")}, Rule{ID: "r", Kind: KindIP, To: "10.0.0.1"}
	for name, c := range map[string]struct {
		cluster string
		o       Observed
		want    Action
		err     error
		text    string
	}{
		"made just now":               {"c1", Observed{Ours: true}, ActionFail, ErrShareFailed, ""},
		"first its exports":           {"c1", Observed{}, ActionLookExports, nil, ""},
		"then its rules":              {"c1", Observed{Looked: true}, ActionListRules, nil, ""},
		"never usable":                {"c1", Observed{Looked: true, RulesKnown: true}, ActionDelete, nil, ""},
		"rules of ours alone":         {"c1", Observed{Looked: true, RulesKnown: true, Rules: []Rule{own}}, ActionDelete, nil, ""},
		"it has exports":              {"c1", Observed{Looked: true, RulesKnown: true, Exports: exports}, ActionFail, ErrShareFailed, "usable once"},
		"somebody else has a rule":    {"c1", Observed{Looked: true, RulesKnown: true, Rules: []Rule{own, theirs}}, ActionFail, ErrShareFailed, "somebody else's"},
		"of another cluster":          {"c2", Observed{Looked: true, RulesKnown: true}, ActionFail, ErrIncompatible, ""},
		"of no cluster":               {"", Observed{Looked: true, RulesKnown: true}, ActionFail, ErrIncompatible, ""},
		"Manila refuses to delete it": {"c1", Observed{Looked: true, RulesKnown: true, Refused: true}, ActionFail, ErrDeleteFailed, ""},
	} {
		o := c.o
		o.Share = &Share{ID: "s", Name: "pvc-1", Status: "error", Protocol: NFS, SizeGiB: 1, Metadata: map[string]string{ClusterKey: c.cluster}}
		step := Next(spec, &o)
		if step.Action != c.want || !errors.Is(step.Err, c.err) || step.Err != nil && !strings.Contains(step.Err.Error(), c.text) {
			t.Errorf("%s: %s %v; want %s %v", name, step.Action, step.Err, c.want, c.err)
		}
	}
	foreign := &Share{ID: "s", Status: "error", Metadata: map[string]string{ClusterKey: "c2"}}
	if step := Next(&Spec{Name: "pvc-1"}, &Observed{Share: foreign, Looked: true, RulesKnown: true}); step.Action != ActionFail {
		t.Errorf("without a cluster id, that of one: %s", step.Action)
	}
}

func TestCompatible(t *testing.T) {
	t.Parallel()
	base := Spec{Name: "n", Cluster: "c", SizeGiB: 2, Protocol: NFS, Type: "t"}
	share := Share{Name: "n", SizeGiB: 2, Protocol: NFS, Type: "t", TypeID: "tid", Zone: "nova", Metadata: map[string]string{ClusterKey: "c"}}
	for name, c := range map[string]struct {
		spec  func(*Spec)
		share func(*Share)
		ok    bool
	}{
		"same":                      {func(*Spec) {}, func(*Share) {}, true},
		"type by id":                {func(s *Spec) { s.Type = "tid" }, func(*Share) {}, true},
		"larger":                    {func(*Spec) {}, func(s *Share) { s.SizeGiB = 3 }, true},
		"larger than the limit":     {func(s *Spec) { s.MaxGiB = 2 }, func(s *Share) { s.SizeGiB = 3 }, false},
		"smaller":                   {func(*Spec) {}, func(s *Share) { s.SizeGiB = 1 }, false},
		"other protocol":            {func(*Spec) {}, func(s *Share) { s.Protocol = CEPHFS }, false},
		"other type":                {func(s *Spec) { s.Type = "x" }, func(*Share) {}, false},
		"other zone":                {func(s *Spec) { s.Zone = "az2" }, func(*Share) {}, false},
		"no zone yet":               {func(s *Spec) { s.Zone = "az2" }, func(s *Share) { s.Zone = "" }, true},
		"other network":             {func(s *Spec) { s.NetworkID = "n1" }, func(*Share) {}, false},
		"other source":              {func(s *Spec) { s.SnapshotID = "x" }, func(*Share) {}, false},
		"other cluster":             {func(s *Spec) { s.Cluster = "d" }, func(*Share) {}, false},
		"of no cluster":             {func(*Spec) {}, func(s *Share) { s.Metadata = nil }, true},
		"we are of no cluster":      {func(s *Spec) { s.Cluster = "" }, func(*Share) {}, true},
		"a source that is not ours": {func(*Spec) {}, func(s *Share) { s.SnapshotID = "x" }, false},
	} {
		spec, s := base, share
		c.spec(&spec)
		c.share(&s)
		if err := compatible(&spec, &s); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrIncompatible) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUsableExports(t *testing.T) {
	t.Parallel()
	got := usable([]Export{{Path: "a"}, {Path: "admin", AdminOnly: true, Preferred: true}, {Path: "b", Preferred: true}, {Path: "c"}})
	if diff := cmp.Diff([]Export{{Path: "b", Preferred: true}, {Path: "a"}, {Path: "c"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
