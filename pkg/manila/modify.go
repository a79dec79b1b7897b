package manila

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mooring/pkg/openstack"
)

// AccessKey is the metadata key of who makes a share's access rules: the `access` of its class. A share without it was made by an
// earlier version, by CPO or by hand.
const AccessKey = "manila.csi.openstack.org/access"

// accessStatic is the value of AccessKey where the rules are made with the share.
const accessStatic = "static"

// replacingKey is the metadata key of the client whose rule is replaced, while there is none: "ip 10.0.0.0/8 ro". The rule is what
// says who has access, so without it the client would be forgotten when the process ends just then. There is no slash in it:
// Manila can't remove a key that has one.
const replacingKey = "mooring-replacing-rule"

// levelUpdate is the microversion from which Manila changes the level of a rule.
var levelUpdate = openstack.Microversion{Major: 2, Minor: 88} //nolint:gochecknoglobals // a constant

// The actions of a modification, besides ActionLook, ActionListRules, ActionGrant, ActionDeny, ActionLookRules, ActionDone and
// ActionFail.
const (
	ActionSetMetadata Action = "set metadata"      // POST what Change.missing has
	ActionRemember    Action = "remember a client" // POST the client of Step.Grant, whose rule is denied next
	ActionForget      Action = "forget the client" // DELETE it again
	ActionSetLevel    Action = "set a level"       // PUT the level of Step.Grant to the rule of Step.Rule
)

// Change is what of a share is to be different. What is empty stays as it is.
type Change struct {
	// Cluster is the cluster whose rules may change.
	Cluster string
	// Type is the share type, by name or id, that the share has to have.
	Type string
	// Metadata is added.
	Metadata map[string]string
	// Clients are the networks that have access, and no others; nil: as they are.
	Clients []string
	// Level is what they may do: rw or ro.
	Level string
}

// access says whether the change is about access rules.
func (c *Change) access() bool { return c.Clients != nil || c.Level != "" }

// missing is the metadata that a share lacks. Where the rules are ours to change, the share is made to say so, because for a
// moment there may be none that shows it.
func (c *Change) missing(s *Share) map[string]string {
	out := map[string]string{}
	for k, v := range c.Metadata {
		if s.Metadata[k] != v {
			out[k] = v
		}
	}
	if c.access() && s.Metadata[AccessKey] == "" {
		out[AccessKey] = accessStatic
	}
	return out
}

// ModifySeen is what is known of a share that is to change.
type ModifySeen struct {
	// Share is nil when there is none.
	Share *Share
	// Rules are valid when RulesKnown. Granted are the ids of those that this very call made or changed.
	Rules      []Rule
	RulesKnown bool
	Granted    []string
	// InPlace says that Manila changes the level of a rule; Marks that rules have metadata, which says whose they are.
	InPlace, Marks bool
}

// replacing is the client whose rule is being replaced.
func (o *ModifySeen) replacing() (g Grant, ok bool) {
	f := strings.Fields(o.Share.Metadata[replacingKey])
	if len(f) != 3 {
		return Grant{}, false
	}
	return Grant{Kind: f[0], To: f[1], Level: f[2]}, true
}

// NextModify decides what to do for a share that is to change. Nothing is done before all of it is known to be possible, and new
// clients get access before others lose it.
func NextModify(c *Change, o *ModifySeen) Step {
	if o.Share == nil {
		return Step{Action: ActionFail, Err: openstack.ErrNotFound}
	}
	if s := o.Share; c.Type != "" && c.Type != s.Type && c.Type != s.TypeID {
		return refuse("it has type %s, and %s is wanted: Manila lets administrators alone change the type of a share", s.Type, c.Type)
	}
	switch Classify(o.Share.Status) {
	case PhaseReady, PhaseDegraded:
	case PhasePending, PhaseBusy, PhaseUnknown:
		return Step{Action: ActionLook}
	default:
		return Step{Action: ActionFail, Err: ErrNotUsable}
	}
	_, interrupted := o.replacing()
	if !c.access() && !interrupted {
		if len(c.missing(o.Share)) > 0 {
			return Step{Action: ActionSetMetadata}
		}
		return Step{Action: ActionDone}
	}
	if step, ok := checkAccess(c, o); !ok {
		return step
	}
	if len(c.missing(o.Share)) > 0 {
		return Step{Action: ActionSetMetadata}
	}
	return nextAccess(c, o)
}

func refuse(format string, args ...any) Step {
	return Step{Action: ActionFail, Err: fmt.Errorf("%w: "+format, append([]any{ErrUnchangeable}, args...)...)}
}

// checkAccess says whether the access rules of a share can become what the change wants.
func checkAccess(c *Change, o *ModifySeen) (step Step, ok bool) {
	mode := o.Share.Metadata[AccessKey]
	switch {
	case c.Clients != nil && o.Share.Protocol != NFS:
		return refuse("a client list (nfs-shareClient) is for NFS, and it is %s", o.Share.Protocol), false
	case mode != "" && mode != accessStatic:
		return refuse("its class has access: %s, so that nfs-shareClient and accessLevel mean nothing to it", mode), false
	case !o.Marks:
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: access rules have no metadata before %s, so it is not known which of them are the driver's", ErrTooOld, ruleMetadata)}, false
	case !o.RulesKnown:
		return Step{Action: ActionListRules}, false
	case mode == "" && !slices.ContainsFunc(o.Rules, func(r Rule) bool { return r.changeableBy(c.Cluster) }):
		return refuse("the driver made none of its access rules with the share, so it changes none (those with the metadata %s=%s and this cluster's %s are the driver's)", ManagedByKey, ManagedBy, ClusterKey), false
	}
	for _, g := range c.grants(o) {
		if err := checkLevel(c, o, g); err != nil {
			return Step{Action: ActionFail, Err: err}, false
		}
	}
	return Step{}, true
}

// checkLevel says whether the rule that is there for a grant, if any, can get its level.
func checkLevel(c *Change, o *ModifySeen, g Grant) error {
	r := find(o.Rules, g)
	switch {
	case r == nil || r.Level == g.Level:
		return nil
	case !r.changeableBy(c.Cluster):
		return fmt.Errorf("%w: its access rule %s for %s %s is %s and not the driver's to change", ErrUnchangeable, r.ID, r.Kind, r.To, r.Level)
	case r.Kind == KindCephx && r.State != "error" && !o.InPlace:
		return fmt.Errorf("%w: its cephx user %s has %s access, and before microversion %s only another key comes with %s: whoever has it mounted would be cut off",
			ErrUnchangeable, r.To, r.Level, levelUpdate, g.Level)
	}
	return nil
}

// changeableBy says whether a rule is one of those that a change is about. A node's is not: Admit and Dismiss see to those, and without
// it a pod would lose its volume.
func (r *Rule) changeableBy(cluster string) bool {
	return r.ownedBy(cluster) && len(r.Nodes()) == 0 && !r.left()
}

func find(rules []Rule, g Grant) *Rule {
	if i := slices.IndexFunc(rules, func(r Rule) bool { return g.matches(&r) }); i >= 0 {
		return &rules[i]
	}
	return nil
}

// grants are the rules that a change wants the share to have: those of its clients, or of all that the driver's rules are for.
func (c *Change) grants(o *ModifySeen) []Grant {
	var now []Grant
	for i := range o.Rules {
		if r := &o.Rules[i]; r.changeableBy(c.Cluster) {
			now = append(now, Grant{r.Kind, r.To, r.Level})
		}
	}
	if g, ok := o.replacing(); ok && find(o.Rules, g) == nil {
		now = append(now, g)
	}
	if c.Clients == nil {
		for i := range now {
			now[i].Level = cmp.Or(c.Level, now[i].Level)
		}
		return now
	}
	usual := "rw" // unless all clients have but read
	if len(now) > 0 && !slices.ContainsFunc(now, func(g Grant) bool { return g.Level != "ro" }) {
		usual = "ro"
	}
	out := make([]Grant, 0, len(c.Clients))
	for _, to := range c.Clients {
		g := Grant{KindIP, to, cmp.Or(c.Level, usual)}
		if i := slices.IndexFunc(now, func(n Grant) bool { return g.matches(&Rule{Kind: n.Kind, To: n.To}) }); i >= 0 {
			g.Level = cmp.Or(c.Level, now[i].Level)
		}
		out = append(out, g)
	}
	return out
}

// nextAccess decides about the rules, in this order: who has none gets one, and levels change where Manila can do that; all are
// waited for; what is in error or of another level is replaced, one at a time; what nobody wants goes.
func nextAccess(c *Change, o *ModifySeen) Step {
	wanted := c.grants(o)
	if step, ok := nextInPlace(c, wanted, o); ok {
		return step
	}
	if slices.ContainsFunc(o.Rules, func(r Rule) bool { return r.changing() && (r.changeableBy(c.Cluster) || r.wanted(wanted)) }) {
		return Step{Action: ActionLookRules}
	}
	for _, g := range wanted {
		r := find(o.Rules, g)
		if !r.changeableBy(c.Cluster) || r.State != "error" && r.Level == g.Level {
			continue
		}
		return nextReplacement(o, g, r)
	}
	for i := range o.Rules {
		if r := &o.Rules[i]; r.changeableBy(c.Cluster) && !r.wanted(wanted) {
			return Step{Action: ActionDeny, Rule: r.ID}
		}
	}
	if o.Share.Metadata[replacingKey] != "" {
		return Step{Action: ActionForget}
	}
	return Step{Action: ActionDone}
}

// nextInPlace finds what takes access from nobody: a rule that is not there yet, and a level that Manila can change.
func nextInPlace(c *Change, wanted []Grant, o *ModifySeen) (Step, bool) {
	for _, g := range wanted {
		switch r := find(o.Rules, g); {
		case r == nil:
			return Step{Action: ActionGrant, Grant: g}, true
		case o.InPlace && r.changeableBy(c.Cluster) && r.State == "active" && r.Level != g.Level:
			return Step{Action: ActionSetLevel, Rule: r.ID, Grant: g}, true
		}
	}
	return Step{}, false
}

// nextReplacement decides about a rule that is not as it is wanted. One that has a key is never replaced: the next one would have
// another key.
func nextReplacement(o *ModifySeen, g Grant, r *Rule) Step {
	if r.State == "error" && (r.Key != "" || slices.Contains(o.Granted, r.ID)) {
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: %s %s", ErrRuleFailed, r.Kind, r.To)}
	}
	if known, ok := o.replacing(); !ok || known != g {
		return Step{Action: ActionRemember, Grant: g}
	}
	return Step{Action: ActionDeny, Rule: r.ID}
}

// wanted says whether a rule is for one of these.
func (r *Rule) wanted(all []Grant) bool {
	return slices.ContainsFunc(all, func(g Grant) bool { return g.matches(r) })
}

// changing says whether Manila is at work on a rule: it applies, updates or denies it.
func (r *Rule) changing() bool { return r.State != "active" && r.State != "error" && r.State != "" }
