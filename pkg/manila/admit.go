package manila

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// NodeKeyPrefix and a node's name are the metadata key of a rule by which that node was let in. There is a key per node, because a
// rule can be for several: a cephx user for all nodes that read and write, an address for a node that is gone and its successor.
// Manila takes keys one by one, so nodes that come at once do not undo each other. (It has no / in it: a key is part of a path.)
const NodeKeyPrefix = "mooring-node:"

// LongestNode is how long a node's name can be, for Manila takes keys of 255 characters.
const LongestNode = 255 - len(NodeKeyPrefix)

// Nodes are the nodes that a rule of the driver was made for, in order; none for one that was made with the share, for all.
func (r *Rule) Nodes() (names []string) {
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		if name, ok := strings.CutPrefix(key, NodeKeyPrefix); ok {
			names = append(names, name)
		}
	}
	return names
}

func (r *Rule) isFor(node string) bool {
	_, ok := r.Metadata[NodeKeyPrefix+node]
	return ok
}

// leftKey is the metadata key of a rule whose last node has left while Manila took no rules away. It goes as soon as Manila lets it,
// and before another node comes in.
const leftKey = "mooring-left"

// left says that nobody is to have the rule any more.
func (r *Rule) left() bool { return r.Metadata[leftKey] != "" && len(r.Nodes()) == 0 }

// leaving says that the rule is on its way out.
func (r *Rule) leaving() bool { return r.State == "queued_to_deny" || r.State == "denying" }

// Admission is a node of a cluster that wants to be let in to a share by a rule.
type Admission struct {
	Grant

	Cluster, Node string
	// Alone, if it is set, waits until nobody else may make a rule for the same client: Manila would take two such rules from overlapping
	// calls. It is called once, before a rule is made; then all rules are read again.
	Alone func(context.Context) error
}

// NextAdmit decides what to do to let a node in. The new rule is active before an old one of the node goes.
func NextAdmit(w *Admission, o *Observed) Step {
	if step, settled := nextInStatus(o); settled {
		return step
	}
	if !o.RulesKnown {
		return Step{Action: ActionListRules}
	}
	if step, ok := w.nextOthers(o); !ok {
		return step
	}
	rule := w.serving(o.Rules)
	if rule == nil {
		return Step{Action: ActionGrant, Grant: w.Grant}
	}
	if step := w.nextRule(rule, slices.Contains(o.Granted, rule.ID)); step.Action != ActionDone {
		return step
	}
	for i := range o.Rules {
		if r := &o.Rules[i]; w.isOld(r) {
			return nextLeave(r, w.Node, o)
		}
	}
	return Step{Action: ActionDone}
}

// serving is the rule of the very client; nil when there is none. Of two, that Manila has taken from controllers that did not know of each
// other, it is the one that serves, or is the nearest to it: to remove the other one would take their client away from both.
func (w *Admission) serving(rules []Rule) (best *Rule) {
	for i := range rules {
		if r := &rules[i]; w.matches(r) && (best == nil || r.promise() > best.promise()) {
			best = r
		}
	}
	return best
}

// promise ranks the rules of one client: more serves rather. One in error is the last, because it is removed at once.
func (r *Rule) promise() int {
	switch {
	case r.State == "error":
		return 0
	case r.leaving():
		return 1
	case r.changing():
		return 2
	}
	return 3
}

// isOld knows a rule that lets the node in by another address.
func (w *Admission) isOld(r *Rule) bool {
	return r.ownedBy(w.Cluster) && r.isFor(w.Node) && !r.leaving() && !w.matches(r)
}

// nextOthers decides about the rules that come before the one of the very client: those that nobody is to have any more go first, and
// an old one of the node must not give it another access. ok is true when there are none.
func (w *Admission) nextOthers(o *Observed) (step Step, ok bool) {
	for i := range o.Rules {
		if r := &o.Rules[i]; r.left() && r.ownedBy(w.Cluster) && (!w.matches(r) || r.Level != w.Level) {
			return nextDeny(r, o), false
		}
	}
	for i := range o.Rules {
		if r := &o.Rules[i]; w.isOld(r) && r.Level != w.Level && r.State != "error" {
			return Step{Action: ActionFail, Err: fmt.Errorf("%w: node %s has it %s, and %s is wanted", ErrOtherAccess, w.Node, r.Level, w.Level)}, false
		}
	}
	return Step{}, true
}

// nextRule decides about the rule of the very client. One that the driver did not make serves as it is.
func (w *Admission) nextRule(r *Rule, granted bool) Step {
	own := r.ownedBy(w.Cluster)
	if (r.State == "active" || r.State == "") && r.Level != w.Level {
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: the rule for %s %s is %s, and %s is wanted%s", ErrOtherAccess, r.Kind, r.To, r.Level, w.Level, r.advice(own))}
	}
	step, _ := (&wish{Grant: w.Grant, cluster: w.Cluster}).nextRule(r, granted)
	forNodes := r.Kind == KindCephx || len(r.Nodes()) > 0 || r.left() // an ip rule without nodes stays when the last of them leaves
	if step.Action == ActionDone && own && forNodes && !r.isFor(w.Node) {
		return Step{Action: ActionMark, Rule: r.ID, Key: NodeKeyPrefix + w.Node}
	}
	return step
}

// NextDismiss decides what to do to let a node of a cluster out again; without a node all of them. The rules of cephx users stay: they
// go with the share. Of a share in error Manila takes no rule away: there the node is noted to have left, so that Kubernetes can detach it
// and delete the volume. Manila lets nobody in meanwhile.
func NextDismiss(cluster, node string, o *Observed) Step {
	switch {
	case o.Share == nil:
	case Classify(o.Share.Status) == PhaseDeleting:
		return Step{Action: ActionDone} // its rules go with it
	case o.waits():
		return Step{Action: ActionLook}
	}
	if !o.RulesKnown {
		return Step{Action: ActionListRules}
	}
	return nextOut(cluster, node, o)
}

// nextOut decides about the rules by which a node is let in.
func nextOut(cluster, node string, o *Observed) Step {
	last := Step{Action: ActionDone}
	for i := range o.Rules {
		r := &o.Rules[i]
		switch {
		case !r.ownedBy(cluster) || !r.concerns(node):
		case (r.left() || r.leaving()) && o.stuck(): // no more can be done
		case r.leaving():
			last = Step{Action: ActionLookRules}
		case r.left() || node == "" && r.Kind == KindIP && !o.stuck():
			return nextDeny(r, o)
		default:
			return nextLeave(r, cmp.Or(node, r.Nodes()[0]), o)
		}
	}
	return last
}

// concerns says that a rule lets a node in (without a node: any), or was left behind by one.
func (r *Rule) concerns(node string) bool {
	return r.left() || len(r.Nodes()) > 0 && (node == "" || r.isFor(node))
}

// waits says that the share takes no changes of rules in the status in which it was seen, and that this will pass.
func (o *Observed) waits() bool {
	if o.Share == nil {
		return false
	}
	phase := Classify(o.Share.Status)
	return phase == PhasePending || phase == PhaseBusy || phase == PhaseUnknown
}

// stuck says that the share takes no changes of rules before people have seen to it.
func (o *Observed) stuck() bool { return o.Share != nil && Classify(o.Share.Status) == PhaseFailed }

// nextLeave takes a node from a rule, and the rule with it when it was the last one.
func nextLeave(r *Rule, node string, o *Observed) Step {
	switch last := r.Kind == KindIP && len(r.Nodes()) == 1; {
	case last && !o.stuck():
		return nextDeny(r, o)
	case last && r.Metadata[leftKey] == "":
		return Step{Action: ActionMark, Rule: r.ID, Key: leftKey}
	}
	return Step{Action: ActionUnmark, Rule: r.ID, Key: NodeKeyPrefix + node}
}

// nextDeny removes a rule, once, and waits until it is gone.
func nextDeny(r *Rule, o *Observed) Step {
	switch {
	case r.leaving():
		return Step{Action: ActionLookRules}
	case r.State == "error" && slices.Contains(o.Denied, r.ID):
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: %s %s can't be removed", ErrRuleFailed, r.Kind, r.To)}
	}
	return Step{Action: ActionDeny, Rule: r.ID}
}

// nextInStatus decides about letting somebody in to a share whose status was read because Manila had refused something. settled is false
// when that is to be tried, be it again.
func nextInStatus(o *Observed) (step Step, settled bool) {
	if o.Share == nil {
		return Step{}, false
	}
	switch phase := Classify(o.Share.Status); {
	case phase == PhaseReady, phase == PhaseDegraded:
		return Step{}, false
	case o.waits():
		return Step{Action: ActionLook}, true
	default:
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: it is %s", ErrNotUsable, o.Share.Status)}, true
	}
}

// Admit lets a node in to a share and returns when the rule is active. It can be called again after any error, and by many at once.
// The error is openstack.ErrNotFound when there is no such share, ErrOtherAccess when the node is in already in another way.
func (c *Client) Admit(ctx context.Context, share string, w *Admission) (*Rule, error) {
	defer c.options.Metrics.during("publish")()
	a, id, err := c.reach(ctx, share)
	if err != nil {
		return nil, err
	}
	if err := a.needsMarks(); err != nil {
		return nil, err
	}
	metadata := ownMetadata(w.Cluster)
	metadata[NodeKeyPrefix+w.Node] = marked
	r := &ruling{client: c, api: a, share: id, metadata: metadata, alone: w.Alone}
	if err := r.run(ctx, func(o *Observed) Step { return NextAdmit(w, o) }); err != nil {
		return nil, err
	}
	return w.serving(r.seen.Rules), nil
}

// Dismiss lets a node of a cluster out again, or without a node all of them, and returns when their rules are gone. That there is no
// share, or no rule, is no error.
func (c *Client) Dismiss(ctx context.Context, share, cluster, node string) error {
	defer c.options.Metrics.during("unpublish")()
	id, ok := openstack.ParseUUID(share)
	if !ok {
		return nil
	}
	a, err := connect(ctx, c.session)
	if err != nil || !a.has(ruleMetadata) { // then no rule was ever made
		return err
	}
	r := &ruling{client: c, api: a, share: id}
	err = r.run(ctx, func(o *Observed) Step { return NextDismiss(cluster, node, o) })
	if errors.Is(err, openstack.ErrNotFound) {
		return nil
	}
	return err
}

// ruling changes the rules of a share.
type ruling struct {
	client   *Client
	api      *api
	share    string
	metadata map[string]string           // of rules that are granted
	alone    func(context.Context) error // before the first rule is granted; nil: there is no need
	seen     Observed
	waited   int // pauses since something changed
	refusals int
}

func (r *ruling) run(ctx context.Context, next func(*Observed) Step) error {
	for {
		step := next(&r.seen)
		if step.Action == ActionDone {
			return nil
		}
		if err := r.act(ctx, step); err != nil {
			return err
		}
	}
}

func (r *ruling) act(ctx context.Context, step Step) error {
	switch step.Action {
	case ActionLook:
		return r.look(ctx)
	case ActionListRules:
		return r.list(ctx)
	case ActionLookRules:
		if err := r.pause(ctx); err != nil {
			return err
		}
		return r.list(ctx)
	case ActionGrant:
		return r.grant(ctx, step.Grant)
	case ActionDeny:
		return r.deny(ctx, step.Rule)
	case ActionMark, ActionUnmark:
		return r.mark(ctx, step)
	default:
		if errors.Is(step.Err, ErrRuleFailed) {
			return fmt.Errorf("share %s: %w: %s", r.share, step.Err, orNoMessage(r.api.message(ctx, r.share)))
		}
		return fmt.Errorf("share %s: %w", r.share, step.Err)
	}
}

func (r *ruling) pause(ctx context.Context) error {
	d := r.client.options.Poll.Wait(r.waited)
	r.waited++
	if err := poll.Sleep(ctx, d); err != nil {
		return fmt.Errorf("waiting for the access rules of share %s: %w", r.share, err)
	}
	return nil
}

func (r *ruling) look(ctx context.Context) error {
	if err := r.pause(ctx); err != nil {
		return err
	}
	share, err := r.api.get(ctx, r.share)
	if err == nil && share == nil {
		err = fmt.Errorf("share %s: %w", r.share, openstack.ErrNotFound)
	}
	r.seen.Share, r.seen.RulesKnown = share, false
	return err
}

func (r *ruling) list(ctx context.Context) (err error) {
	r.seen.Rules, err = r.api.rules(ctx, r.share)
	if r.seen.RulesKnown = err == nil; err != nil {
		return r.refused(ctx, err)
	}
	return nil
}

func (r *ruling) grant(ctx context.Context, g Grant) error {
	if wait := r.alone; wait != nil { // while we wait another one may make the rule
		r.alone, r.seen.RulesKnown = nil, false
		return wait(ctx)
	}
	rule, err := r.api.grant(ctx, r.share, g, r.metadata)
	if err != nil {
		return r.refused(ctx, err)
	}
	r.client.options.Logger.InfoContext(ctx, "access rule made", slog.String("share_id", r.share), slog.Any("rule", rule))
	r.seen.Rules, r.seen.Granted, r.waited = append(r.seen.Rules, *rule), append(r.seen.Granted, rule.ID), 0
	return nil
}

func (r *ruling) deny(ctx context.Context, rule string) error {
	if err := r.api.deny(ctx, r.share, rule); err != nil {
		return r.refused(ctx, err)
	}
	r.client.options.Logger.InfoContext(ctx, "access rule removed", slog.String("share_id", r.share), slog.String("rule_id", rule))
	r.seen.Denied, r.waited = append(r.seen.Denied, rule), 0
	for i := range r.seen.Rules {
		if r.seen.Rules[i].ID == rule {
			r.seen.Rules[i].State = "denying"
		}
	}
	return nil
}

// mark notes a key in a rule, or takes it out. When the rule has gone meanwhile, all are read again.
func (r *ruling) mark(ctx context.Context, step Step) error {
	change := r.api.mark
	if step.Action == ActionUnmark {
		change = r.api.unmark
	}
	err := change(ctx, step.Rule, step.Key)
	if errors.Is(err, openstack.ErrNotFound) {
		r.seen.RulesKnown = false
		return r.pause(ctx)
	}
	if err != nil {
		return err
	}
	for i := range r.seen.Rules {
		if rule := &r.seen.Rules[i]; rule.ID == step.Rule && step.Action == ActionUnmark {
			delete(rule.Metadata, step.Key)
		} else if rule.ID == step.Rule {
			rule.Metadata[step.Key] = marked
		}
	}
	return nil
}

// refused finds out why Manila did not take a call: because of the share's status, or of a rule that came meanwhile. What it refuses
// twice without such a reason it means.
func (r *ruling) refused(ctx context.Context, err error) error {
	if !errors.Is(err, openstack.ErrInvalid) && !errors.Is(err, openstack.ErrConflict) && !errors.Is(err, openstack.ErrNotFound) {
		return err
	}
	share, lookErr := r.api.get(ctx, r.share)
	switch {
	case lookErr != nil:
		return errors.Join(err, lookErr)
	case share == nil:
		return fmt.Errorf("share %s: %w", r.share, openstack.ErrNotFound)
	}
	r.seen.Share, r.seen.RulesKnown = share, false
	if r.seen.waits() {
		return nil
	}
	if r.refusals++; r.refusals == 1 {
		return nil
	}
	if Classify(share.Status).Usable() {
		return err
	}
	return fmt.Errorf("share %s: %w: it is %s: %w", r.share, ErrNotUsable, share.Status, err)
}
