package manila

import (
	"errors"
	"maps"
	"testing"
)

// ruleOf is a rule of cluster c1 for nodes.
func ruleOf(kind, to, level, state string, nodes ...string) Rule {
	m := ownMetadata("c1")
	for _, n := range nodes {
		m[NodeKeyPrefix+n] = marked
	}
	return Rule{ID: "r-" + to, Kind: kind, To: to, Level: level, State: state, Key: "k", Metadata: m}
}

// elsewhere makes it a rule of another cluster.
func elsewhere(r Rule) Rule {
	r.Metadata = maps.Clone(r.Metadata)
	r.Metadata[ClusterKey] = "c2"
	return r
}

// TestNextAdmit: what is done to let node n1 in by 10.0.0.1, for every state that a rule can be in.
func TestNextAdmit(t *testing.T) {
	t.Parallel()
	const to, old = "10.0.0.1", "10.0.0.9"
	foreign := Rule{ID: "r-" + to, Kind: KindIP, To: to, Level: "rw", State: "active"}
	foreignRO, foreignBad := foreign, foreign
	foreignRO.Level, foreignBad.State = "ro", "error"
	for name, c := range map[string]struct {
		rules   []Rule
		granted []string
		want    Action
		err     error
	}{
		"no rule":                            {nil, nil, ActionGrant, nil},
		"queued":                             {[]Rule{ruleOf(KindIP, to, "rw", "queued_to_apply", "n1")}, nil, ActionLookRules, nil},
		"applying":                           {[]Rule{ruleOf(KindIP, to, "rw", "applying", "n1")}, nil, ActionLookRules, nil},
		"active":                             {[]Rule{ruleOf(KindIP, to, "rw", "active", "n1")}, nil, ActionDone, nil},
		"active, of another level":           {[]Rule{ruleOf(KindIP, to, "ro", "active", "n1")}, nil, ActionFail, ErrOtherAccess},
		"active, of a node that is gone":     {[]Rule{ruleOf(KindIP, to, "rw", "active", "n0")}, nil, ActionMark, nil},
		"active, for all nodes":              {[]Rule{ruleOf(KindIP, to, "rw", "active")}, nil, ActionDone, nil},
		"active, somebody else's":            {[]Rule{foreign}, nil, ActionDone, nil},
		"active, somebody else's level":      {[]Rule{foreignRO}, nil, ActionFail, ErrOtherAccess},
		"active, of another cluster":         {[]Rule{elsewhere(ruleOf(KindIP, to, "rw", "active", "n1"))}, nil, ActionDone, nil},
		"error, of an earlier call":          {[]Rule{ruleOf(KindIP, to, "rw", "error", "n1")}, nil, ActionDeny, nil},
		"error, just made":                   {[]Rule{ruleOf(KindIP, to, "rw", "error", "n1")}, []string{"r-" + to}, ActionFail, ErrRuleFailed},
		"error, somebody else's":             {[]Rule{foreignBad}, nil, ActionFail, ErrRuleFailed},
		"queued to deny":                     {[]Rule{ruleOf(KindIP, to, "ro", "queued_to_deny", "n1")}, nil, ActionLookRules, nil},
		"denying":                            {[]Rule{ruleOf(KindIP, to, "rw", "denying", "n1")}, nil, ActionLookRules, nil},
		"old address, before the new":        {[]Rule{ruleOf(KindIP, old, "rw", "active", "n1")}, nil, ActionGrant, nil},
		"old address, new one on its way":    {[]Rule{ruleOf(KindIP, old, "rw", "active", "n1"), ruleOf(KindIP, to, "rw", "applying", "n1")}, nil, ActionLookRules, nil},
		"old address, after the new":         {[]Rule{ruleOf(KindIP, old, "rw", "active", "n1"), ruleOf(KindIP, to, "rw", "active", "n1")}, nil, ActionDeny, nil},
		"old address, shared":                {[]Rule{ruleOf(KindIP, old, "rw", "active", "n1", "n2"), ruleOf(KindIP, to, "rw", "active", "n1")}, nil, ActionUnmark, nil},
		"old address, leaving":               {[]Rule{ruleOf(KindIP, old, "rw", "denying", "n1"), ruleOf(KindIP, to, "rw", "active", "n1")}, nil, ActionDone, nil},
		"old address, other level":           {[]Rule{ruleOf(KindIP, old, "ro", "active", "n1")}, nil, ActionFail, ErrOtherAccess},
		"old address, of another cluster's":  {[]Rule{elsewhere(ruleOf(KindIP, old, "rw", "active", "n1")), ruleOf(KindIP, to, "rw", "active", "n1")}, nil, ActionDone, nil},
		"other nodes' rules do not interest": {[]Rule{ruleOf(KindIP, old, "ro", "error", "n2"), ruleOf(KindIP, to, "rw", "active", "n1")}, nil, ActionDone, nil},
	} {
		step := NextAdmit(&Admission{Grant: Grant{KindIP, to, "rw"}, Cluster: "c1", Node: "n1"}, &Observed{Rules: c.rules, RulesKnown: true, Granted: c.granted})
		if step.Action != c.want || !errors.Is(step.Err, c.err) {
			t.Errorf("%s: %s %v; want %s %v", name, step.Action, step.Err, c.want, c.err)
		}
	}
	cephx := Admission{Grant: Grant{KindCephx, "u-ro", "ro"}, Cluster: "c1", Node: "n1"}
	for name, c := range map[string]struct {
		rules []Rule
		want  Action
	}{
		"the first that reads":              {[]Rule{ruleOf(KindCephx, "u", "rw", "active", "n2")}, ActionGrant},
		"another that reads":                {[]Rule{ruleOf(KindCephx, "u-ro", "ro", "active", "n2")}, ActionMark},
		"one that failed, and its twin":     {[]Rule{ruleOf(KindCephx, "u-ro", "ro", "error", "n2"), ruleOf(KindCephx, "u-ro", "ro", "active", "n1")}, ActionDone},
		"one that failed, its twin applied": {[]Rule{ruleOf(KindCephx, "u-ro", "ro", "error", "n2"), ruleOf(KindCephx, "u-ro", "ro", "applying", "n1")}, ActionLookRules},
		"one that failed, its twin queued":  {[]Rule{ruleOf(KindCephx, "u-ro", "ro", "error", "n2"), ruleOf(KindCephx, "u-ro", "ro", "queued_to_apply", "n1")}, ActionLookRules},
		"one that failed, its twin leaving": {[]Rule{ruleOf(KindCephx, "u-ro", "ro", "error", "n2"), ruleOf(KindCephx, "u-ro", "ro", "denying", "n1")}, ActionLookRules},
		"one that leaves, and its twin":     {[]Rule{ruleOf(KindCephx, "u-ro", "ro", "denying", "n2"), ruleOf(KindCephx, "u-ro", "ro", "active", "n1")}, ActionDone},
		"it reads already":                  {[]Rule{ruleOf(KindCephx, "u-ro", "ro", "active", "n1")}, ActionDone},
		"it reads and writes already":       {[]Rule{ruleOf(KindCephx, "u", "rw", "active", "n1")}, ActionFail},
	} {
		if step := NextAdmit(&cephx, &Observed{Rules: c.rules, RulesKnown: true}); step.Action != c.want {
			t.Errorf("cephx, %s: %s %v; want %s", name, step.Action, step.Err, c.want)
		}
	}
}

func TestNextDismiss(t *testing.T) {
	t.Parallel()
	const to = "10.0.0.1"
	for name, c := range map[string]struct {
		rule   Rule
		node   string
		denied []string
		want   Action
		err    error
	}{
		"active":                      {ruleOf(KindIP, to, "rw", "active", "n1"), "n1", nil, ActionDeny, nil},
		"queued":                      {ruleOf(KindIP, to, "rw", "queued_to_apply", "n1"), "n1", nil, ActionDeny, nil},
		"applying":                    {ruleOf(KindIP, to, "rw", "applying", "n1"), "n1", nil, ActionDeny, nil},
		"error":                       {ruleOf(KindIP, to, "rw", "error", "n1"), "n1", nil, ActionDeny, nil},
		"error, denied already":       {ruleOf(KindIP, to, "rw", "error", "n1"), "n1", []string{"r-" + to}, ActionFail, ErrRuleFailed},
		"queued to deny":              {ruleOf(KindIP, to, "rw", "queued_to_deny", "n1"), "n1", nil, ActionLookRules, nil},
		"denying":                     {ruleOf(KindIP, to, "rw", "denying", "n1"), "n1", nil, ActionLookRules, nil},
		"another node's":              {ruleOf(KindIP, to, "rw", "active", "n2"), "n1", nil, ActionDone, nil},
		"another node's, too":         {ruleOf(KindIP, to, "rw", "active", "n1", "n2"), "n1", nil, ActionUnmark, nil},
		"for all nodes":               {ruleOf(KindIP, to, "rw", "active"), "n1", nil, ActionDone, nil},
		"of another cluster":          {elsewhere(ruleOf(KindIP, to, "rw", "active", "n1")), "n1", nil, ActionDone, nil},
		"somebody else's":             {Rule{ID: "r", Kind: KindIP, To: to, State: "error"}, "n1", nil, ActionDone, nil},
		"a cephx user stays":          {ruleOf(KindCephx, "u", "rw", "active", "n1"), "n1", nil, ActionUnmark, nil},
		"a cephx user of nobody":      {ruleOf(KindCephx, "u", "rw", "active"), "", nil, ActionDone, nil},
		"all nodes":                   {ruleOf(KindIP, to, "rw", "active", "n1", "n2"), "", nil, ActionDeny, nil},
		"all nodes of a cephx user":   {ruleOf(KindCephx, "u", "rw", "active", "n1", "n2"), "", nil, ActionUnmark, nil},
		"all nodes, not other's":      {elsewhere(ruleOf(KindIP, to, "rw", "active", "n1")), "", nil, ActionDone, nil},
		"all nodes, not for everyone": {ruleOf(KindIP, to, "rw", "active"), "", nil, ActionDone, nil},
	} {
		step := NextDismiss("c1", c.node, &Observed{Rules: []Rule{c.rule}, RulesKnown: true, Denied: c.denied})
		if step.Action != c.want || !errors.Is(step.Err, c.err) {
			t.Errorf("%s: %s %v; want %s %v", name, step.Action, step.Err, c.want, c.err)
		}
	}
}

// TestRulesInEveryStatus: what comes after Manila has refused to change rules, for every status of the share.
func TestRulesInEveryStatus(t *testing.T) {
	t.Parallel()
	for status, phase := range phases() {
		admit, dismiss := ActionListRules, ActionListRules
		switch phase {
		case PhasePending, PhaseBusy:
			admit, dismiss = ActionLook, ActionLook
		case PhaseFailed, PhaseDeleteFailed, PhaseForeign:
			admit = ActionFail
		case PhaseDeleting:
			admit, dismiss = ActionFail, ActionDone
		default:
		}
		o := &Observed{Share: &Share{ID: "s", Status: status}}
		if got := NextAdmit(&Admission{}, o); got.Action != admit || admit == ActionFail && !errors.Is(got.Err, ErrNotUsable) {
			t.Errorf("%s: to let in: %s %v, want %s", status, got.Action, got.Err, admit)
		}
		if got := NextDismiss("c1", "n1", o); got.Action != dismiss {
			t.Errorf("%s: to let out: %s, want %s", status, got.Action, dismiss)
		}
	}
}

// left makes it a rule whose last node left while Manila did not take it away.
func left(r Rule) Rule {
	r.Metadata[leftKey] = marked
	return r
}

// TestLeavingInError: a node leaves a share of which Manila takes no rule away, and is out before another one comes in.
func TestLeavingInError(t *testing.T) {
	t.Parallel()
	const to = "10.0.0.1"
	mark, unmark := Step{Action: ActionMark, Rule: "r-" + to, Key: leftKey}, Step{Action: ActionUnmark, Rule: "r-" + to, Key: NodeKeyPrefix + "n1"}
	for name, c := range map[string]struct {
		status string
		rule   Rule
		node   string
		want   Step
	}{
		"not seen":                       {"", ruleOf(KindIP, to, "rw", "active", "n1"), "n1", Step{Action: ActionDeny, Rule: "r-" + to}},
		"stuck on its way out":           {"error_deleting", ruleOf(KindIP, to, "rw", "active", "n1"), "n1", Step{Action: ActionDeny, Rule: "r-" + to}},
		"first it is noted":              {"error", ruleOf(KindIP, to, "rw", "active", "n1"), "n1", mark},
		"then the node goes":             {"error", left(ruleOf(KindIP, to, "rw", "active", "n1")), "n1", unmark},
		"all nodes go":                   {"error", left(ruleOf(KindIP, to, "rw", "active", "n1")), "", unmark},
		"one of several":                 {"error", ruleOf(KindIP, to, "rw", "active", "n1", "n2"), "n1", unmark},
		"all of several":                 {"error", ruleOf(KindIP, to, "rw", "active", "n1", "n2"), "", unmark},
		"it has gone":                    {"error", left(ruleOf(KindIP, to, "rw", "active")), "n1", Step{Action: ActionDone}},
		"the rule is going":              {"error", ruleOf(KindIP, to, "rw", "denying", "n1"), "n1", Step{Action: ActionDone}},
		"the share is well again":        {"available", left(ruleOf(KindIP, to, "rw", "active")), "n2", Step{Action: ActionDeny, Rule: "r-" + to}},
		"and the rule on its way":        {"available", left(ruleOf(KindIP, to, "rw", "denying")), "n2", Step{Action: ActionLookRules}},
		"another cluster sees to itself": {"available", elsewhere(left(ruleOf(KindIP, to, "rw", "active"))), "n2", Step{Action: ActionDone}},
	} {
		o := &Observed{Rules: []Rule{c.rule}, RulesKnown: true}
		if c.status != "" {
			o.Share = &Share{ID: "s", Status: c.status}
		}
		if got := NextDismiss("c1", c.node, o); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		rules []Rule
		want  Action
	}{
		"it goes first":         {[]Rule{left(ruleOf(KindIP, "10.0.0.9", "rw", "active"))}, ActionDeny},
		"until it is gone":      {[]Rule{left(ruleOf(KindIP, "10.0.0.9", "rw", "denying"))}, ActionLookRules},
		"the same comes back":   {[]Rule{left(ruleOf(KindIP, to, "rw", "active"))}, ActionMark},
		"the same, to read":     {[]Rule{left(ruleOf(KindIP, to, "ro", "active"))}, ActionDeny},
		"the same has returned": {[]Rule{left(ruleOf(KindIP, to, "rw", "active", "n1"))}, ActionDone},
	} {
		if step := NextAdmit(&Admission{Grant: Grant{KindIP, to, "rw"}, Cluster: "c1", Node: "n1"}, &Observed{Rules: c.rules, RulesKnown: true}); step.Action != c.want {
			t.Errorf("%s: %s %v; want %s", name, step.Action, step.Err, c.want)
		}
	}
}
