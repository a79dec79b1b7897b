package manila

import (
	"errors"
	"strings"
	"testing"

	"mooring/pkg/openstack"
)

func TestOwnedBy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		metadata map[string]string
		cluster  string
		want     bool
	}{
		"ours":                           {ownMetadata("c1"), "c1", true},
		"ours, without a cluster id":     {ownMetadata(""), "", true},
		"of another cluster":             {ownMetadata("c2"), "c1", false},
		"of a cluster, and we have none": {ownMetadata("c1"), "", false},
		"of none, and we have one":       {ownMetadata(""), "c1", false},
		"of nobody":                      {nil, "", false},
		"of another program":             {map[string]string{ManagedByKey: "terraform", ClusterKey: "c1"}, "c1", false},
	} {
		if got := (&Rule{Metadata: c.metadata}).ownedBy(c.cluster); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestNextRule: what is done about a rule that stands where one is wanted, for every state that Manila has.
func TestNextRule(t *testing.T) {
	t.Parallel()
	ours, theirs := ownMetadata("c1"), map[string]string{"by": "hand"}
	for name, c := range map[string]struct {
		rule    Rule
		granted bool
		want    Action
		err     error
		ok      bool
	}{
		"queued":                      {Rule{State: "queued_to_apply", Level: "rw", Metadata: ours}, true, ActionLookRules, nil, true},
		"applying":                    {Rule{State: "applying", Level: "rw", Metadata: ours}, true, ActionLookRules, nil, true},
		"active":                      {Rule{State: "active", Level: "rw", Metadata: ours}, true, ActionDone, nil, true},
		"active, theirs":              {Rule{State: "active", Level: "rw", Metadata: theirs}, false, ActionDone, nil, true},
		"active, other level":         {Rule{State: "active", Level: "ro", Metadata: ours}, false, ActionFail, ErrIncompatible, false},
		"active, theirs, other level": {Rule{State: "active", Level: "ro", Metadata: theirs}, false, ActionFail, ErrIncompatible, false},
		"error, just granted":         {Rule{State: "error", Level: "rw", Metadata: ours}, true, ActionFail, ErrRuleFailed, false},
		"error, of an earlier call":   {Rule{State: "error", Level: "rw", Metadata: ours}, false, ActionDeny, nil, false},
		"error, theirs":               {Rule{State: "error", Level: "rw", Metadata: theirs}, false, ActionFail, ErrRuleFailed, false},
		"queued to deny":              {Rule{State: "queued_to_deny", Level: "ro", Metadata: ours}, false, ActionLookRules, nil, true},
		"denying":                     {Rule{State: "denying", Level: "ro", Metadata: ours}, false, ActionLookRules, nil, true},
		"of the future":               {Rule{State: "pondering", Level: "rw", Metadata: ours}, false, ActionLookRules, nil, true},
	} {
		c.rule.ID, c.rule.Kind, c.rule.To = "rule-1", KindIP, "10.0.0.1"
		w := wish{Grant: Grant{KindIP, "10.0.0.1", "rw"}, cluster: "c1"}
		step, ok := w.nextRule(&c.rule, c.granted)
		if step.Action != c.want || !errors.Is(step.Err, c.err) || ok != c.ok {
			t.Errorf("%s: %s %v %v; want %s %v %v", name, step.Action, step.Err, ok, c.want, c.err, c.ok)
		}
		if foreign := !c.rule.ownedBy("c1"); step.Err != nil && foreign != strings.Contains(step.Err.Error(), "rule-1") {
			t.Errorf("%s: %v has to name the rule if it is somebody else's", name, step.Err)
		}
	}
}

// TestPickCephx: a volume that does not say by which user it is mounted can be written, if anybody may write.
func TestPickCephx(t *testing.T) {
	t.Parallel()
	rule := func(id, level, state, key string) Rule {
		return Rule{ID: id, Kind: KindCephx, To: id, Level: level, State: state, Key: key}
	}
	ro, rw, other := rule("ro", "ro", "active", "k"), rule("rw", "rw", "active", "k"), rule("other", "rw", "active", "k")
	applying, denied, ip := rule("rw", "rw", "applying", ""), rule("rw", "rw", "denying", "k"), Rule{ID: "ip", Kind: KindIP, Level: "rw", State: "active"}
	for name, c := range map[string]struct {
		rules []Rule
		id    string
		want  string
		err   error
	}{
		"one that reads":                {[]Rule{ip, ro}, "", "ro", nil},
		"rather one that writes":        {[]Rule{ro, rw}, "", "rw", nil},
		"the first that writes":         {[]Rule{ro, rw, other}, "", "rw", nil},
		"that which is named":           {[]Rule{rw, ro}, "ro", "ro", nil},
		"a writing one that comes":      {[]Rule{ro, applying}, "", "ro", nil},
		"a writing one that goes":       {[]Rule{denied, ro}, "", "ro", nil},
		"that which is named and comes": {[]Rule{ro, applying}, "rw", "", ErrNotUsable},
		"none of cephx":                 {[]Rule{ip}, "", "", openstack.ErrNotFound},
		"none of the id":                {[]Rule{rw}, "ro", "", openstack.ErrNotFound},
	} {
		r, err := pickCephx(c.rules, "s", c.id)
		if !errors.Is(err, c.err) || err == nil && r.ID != c.want {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}
