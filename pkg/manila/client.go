package manila

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// Options set up a Client.
type Options struct {
	// Logger gets what is done; nil discards it.
	Logger *slog.Logger
	// Poll is how often something that takes time is looked at; zero means from 0.3 s on, slower and slower up to 5 s.
	Poll poll.Backoff
	// Together is what clients share that ask together; nil: this one asks for itself.
	Together *Together
	// Metrics are those of the process; nil: none.
	Metrics *Metrics
}

// Client makes and removes shares in one project. It has no state but the session, and is safe for concurrent use.
type Client struct {
	session *openstack.Session
	options Options
}

// New makes a Client. It makes no call.
func New(session *openstack.Session, o Options) *Client {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Poll == (poll.Backoff{}) {
		// A wait of some seconds is noticed to be over within half a second, one of a minute within three.
		o.Poll = poll.Backoff{First: 300 * time.Millisecond, Max: 5 * time.Second, Factor: 1.05}
	}
	if o.Together == nil {
		o.Together = &Together{}
	}
	return &Client{session: session, options: o}
}

// Provision finds or makes the share of a spec and returns when it can be mounted: it is available, has export locations, and
// all its rules are active. It can be called again after any error, and then goes on where things stand.
func (c *Client) Provision(ctx context.Context, spec *Spec) (*Volume, error) {
	defer c.options.Metrics.during("create")()
	began := time.Now()
	a, err := connect(ctx, c.session)
	if err != nil { // an earlier call may have made the share: whatever is wrong now is not the end
		return nil, pending(spec.Name, err)
	}
	if spec.PerNode {
		if err := a.needsMarks(); err != nil {
			return nil, err
		}
	}
	p := &provision{client: c, api: a, spec: spec, crowd: c.options.Together.join(c.session)}
	defer p.crowd.leave()
	if p.seen.Share, err = p.find(ctx); err != nil {
		return nil, pending(spec.Name, err) // the same
	}
	for {
		p.seen.Crowded = p.crowd.large()
		step := Next(spec, &p.seen)
		if step.Action == ActionDone {
			only, err := p.end(ctx)
			switch {
			case err != nil:
				return nil, pending(spec.Name, err)
			case !only:
				continue
			case p.made:
				c.options.Metrics.ready(spec, time.Since(began))
			}
			return p.volume(), nil
		}
		if err := p.act(ctx, step); err != nil {
			if p.seen.Share != nil || p.cloning != nil {
				err = pending(spec.Name, err)
			}
			return nil, err
		}
	}
}

// end does what is left to do when the share can be mounted; false: the call goes on, with another share.
func (p *provision) end(ctx context.Context) (bool, error) {
	if err := p.tell(ctx); err != nil {
		return false, err
	}
	if only, err := p.only(ctx); err != nil || !only {
		return false, err
	}
	if err := p.finish(ctx); err != nil {
		return false, err
	}
	return true, p.describe(ctx)
}

// provision is one call of Provision.
type provision struct {
	client *Client
	api    *api
	spec   *Spec
	crowd  *crowd
	seen   Observed
	waited int    // pauses since the thing that is waited for changed
	last   Action // the last thing that was waited for

	at      string           // the zone that the share was made in
	refused map[string]error // zones of the spec that have no place for it, and why

	made    bool      // this call has made the share
	spare   string    // the share that this call has made before it went on with another
	twins   bool      // there are others of its cluster and name
	named   []*Share  // all of its name, as they were when it was looked at last; nil when that did not tell
	cloning *Snapshot // that this call has found or made to clone a share by, and that has to go
}

// find picks the share of the spec among those of its name.
func (p *provision) find(ctx context.Context) (*Share, error) {
	found, err := p.crowd.find(ctx, p.api, p.spec.Name)
	if err != nil {
		return nil, err
	}
	if len(found) > 1 {
		own := slices.DeleteFunc(slices.Clone(found), func(s *Share) bool { return !p.spec.owns(s) })
		if len(own) == 0 || len(own) > 1 && p.spec.Cluster == "" {
			return nil, fmt.Errorf("%w: there are %d shares called %q", ErrIncompatible, len(found), p.spec.Name)
		}
		inOrder(own)
		p.twins = len(own) > 1
		found = own
	}
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // no share is an answer
	}
	return found[0], nil
}

func (p *provision) act(ctx context.Context, step Step) error {
	if slices.Contains([]Action{ActionLook, ActionLookExports, ActionLookRules, ActionLookAll}, step.Action) {
		if err := p.pause(ctx, step.Action); err != nil {
			return err
		}
	}
	var err error
	o := &p.seen
	switch step.Action {
	case ActionCreate:
		return p.create(ctx)
	case ActionLook, ActionLookAll:
		return p.look(ctx, step.Action == ActionLookAll)
	case ActionLookExports:
		o.Looked = true
		o.Exports, err = p.api.exports(ctx, o.Share.ID)
	case ActionListRules, ActionLookRules:
		o.Rules, err = p.api.rules(ctx, o.Share.ID)
		o.RulesKnown = err == nil
	case ActionGrant:
		return p.grant(ctx, step.Grant)
	case ActionDeny:
		p.client.options.Logger.InfoContext(ctx, "removing an access rule in error, to grant it anew", slog.String("share_id", o.Share.ID), slog.String("rule_id", step.Rule))
		err = p.api.deny(ctx, o.Share.ID, step.Rule)
		o.RulesKnown = false
		o.Ours = false // there are rules that we have not made
	case ActionDelete:
		return p.replace(ctx)
	default:
		return p.fail(ctx, step.Err)
	}
	return err
}

// look reads the share again, together with others when there are many, and with rules what that tells of its rules.
func (p *provision) look(ctx context.Context, rules bool) error {
	before := p.seen.Share
	share, err := p.reread(ctx, rules)
	if err != nil {
		return err
	}
	if share == nil && Classify(before.Status) != PhaseDeleting {
		// Somebody has deleted it, or a database replica has not heard of it yet. Another one now could be one too many: the next
		// call looks for it by its name.
		return vanished(before.ID)
	}
	p.saw(share)
	if rules && share != nil {
		return p.sawRules(ctx)
	}
	return nil
}

// pause waits before something is looked at again. The first look at the exports of a share that comes no further needs none.
func (p *provision) pause(ctx context.Context, action Action) error {
	if phase := Classify(p.seen.Share.Status); action == ActionLookExports && !p.seen.Looked && (phase.Usable() || phase == PhaseFailed) {
		return nil
	}
	rules := func(a Action) bool { return a == ActionLookRules || a == ActionLookAll }
	if rules(action) != rules(p.last) {
		p.waited = 0
	}
	p.last = action
	d := p.client.options.Poll.Wait(p.waited)
	if p.waited == 0 && rules(action) && !p.seen.Crowded { // a rule is not made in the time of a share
		d /= 3
	}
	p.waited++
	return poll.Sleep(ctx, d)
}

// saw notes the share's state; nil when it has gone.
func (p *provision) saw(share *Share) {
	o := &p.seen
	if share == nil || share.Status != o.Share.Status {
		o.Looked, o.Refused = share != nil && Classify(share.Status) == PhasePending, false
	}
	if share == nil {
		*o = Observed{}
		return
	}
	o.Share = share
}

// sawRules notes the state of all rules together. Where that is not known, or bad, and for the key of a cephx rule, the share's
// rules are read.
func (p *provision) sawRules(ctx context.Context) (err error) {
	o := &p.seen
	switch status := o.Share.RulesStatus; {
	case status == "active" && !slices.ContainsFunc(o.Rules, func(r Rule) bool { return r.Kind == KindCephx && r.Key == "" }):
		for i := range o.Rules {
			o.Rules[i].State = "active"
		}
	case status == "active", status == "error", status == "": // none: the share was read by itself
		o.Rules, err = p.api.rules(ctx, o.Share.ID)
	}
	return err
}

// createTimeout is how long the answer to a create is waited for.
const createTimeout = time.Minute

// create waits for its answer even when the caller does not any more: Manila carries out a create that nobody waits for, too, and
// the next call, which would not see that share yet, would make a second one.
func (p *provision) create(ctx context.Context) error {
	zone, err := p.zone()
	if err != nil {
		return p.notCreated(ctx, err)
	}
	resolved, err := p.resolved(ctx)
	if err != nil {
		return p.abandon(ctx, err)
	}
	spec := *resolved
	spec.Zone = zone
	if ctx.Err() != nil {
		return ctx.Err()
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	share, err := p.api.create(bound, &spec)
	if refusedZone(err) && len(spec.Zones) > 0 {
		p.refuse(ctx, zone, err)
		return nil
	}
	if err != nil {
		return p.notCreated(ctx, err)
	}
	share.Zone = cmp.Or(share.Zone, zone)
	p.at = zone
	p.seen, p.made = Observed{Share: share, Ours: true}, true
	p.client.options.Logger.InfoContext(ctx, "share created", slog.String("share_id", share.ID), slog.String("name", share.Name))
	return nil
}

// notCreated is what follows a create that has failed. Before that is the end the name is looked for once more: a create of an
// earlier call, whose answer was lost, may have got through since, and may be what the quota was spent on.
func (p *provision) notCreated(ctx context.Context, cause error) error {
	if unfinished(cause) {
		return p.abandon(ctx, cause)
	}
	share, err := p.find(ctx)
	switch {
	case err != nil:
		return pending(p.spec.Name, errors.Join(cause, err))
	case share == nil:
		return p.abandon(ctx, cause)
	}
	p.client.options.Logger.InfoContext(ctx, "a create was refused, and an earlier one has got through", slog.String("share_id", share.ID), slog.String("name", share.Name), slog.Any("error", cause))
	p.seen = Observed{Share: share}
	return nil
}

// unfinished says whether an error leaves open whether Manila has acted, or may act when it is asked again.
func unfinished(err error) bool {
	for _, open := range []error{openstack.ErrUnavailable, openstack.ErrThrottled, openstack.ErrConflict, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, open) {
			return true
		}
	}
	return false
}

func (p *provision) grant(ctx context.Context, g Grant) error {
	o := &p.seen
	rule, err := p.api.grant(ctx, o.Share.ID, g, ownMetadata(p.spec.Cluster))
	switch {
	case err == nil:
		o.Rules = append(o.Rules, *rule)
		o.Granted = append(o.Granted, rule.ID)
		return nil
	case !errors.Is(err, openstack.ErrInvalid) && !errors.Is(err, openstack.ErrConflict):
		return err
	}
	// It exists, because an earlier call got through without its answer; or the share's status is a moment behind its exports.
	share, lookErr := p.api.get(ctx, o.Share.ID)
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	if share == nil {
		return vanished(o.Share.ID)
	}
	before := o.Share.Status
	p.saw(share)
	if share.Status == "available" && before == share.Status {
		rules, rulesErr := p.api.rules(ctx, o.Share.ID)
		if rulesErr != nil {
			return errors.Join(err, rulesErr)
		}
		if !slices.ContainsFunc(rules, func(r Rule) bool { return g.matches(&r) }) {
			return err // Manila means it
		}
		o.Rules, o.RulesKnown = rules, true
		return nil
	}
	if Classify(share.Status) == PhasePending {
		o.Exports, o.Looked = nil, true
	}
	return nil
}

// describe reads a CephFS share once more if it was last seen before it was usable: Manila tells of its file system only then.
func (p *provision) describe(ctx context.Context) error {
	before := p.seen.Share
	if p.spec.Protocol != CEPHFS || Classify(before.Status).Usable() {
		return nil
	}
	share, err := p.api.get(ctx, before.ID)
	if err == nil && share == nil {
		err = vanished(before.ID)
	}
	if err == nil {
		p.seen.Share = share
	}
	return err
}

func vanished(id string) error {
	return fmt.Errorf("share %s has vanished: %w", id, openstack.ErrNotFound)
}

// replace makes room for a new share where an earlier try failed.
func (p *provision) replace(ctx context.Context) error {
	o := &p.seen
	m := p.api.lastMessage(ctx, o.Share.ID)
	p.client.options.Logger.WarnContext(ctx, "replacing a share in error", slog.String("share_id", o.Share.ID), slog.String("reason", m.text))
	p.learn(ctx, m)
	refused, err := p.api.delete(ctx, o.Share.ID)
	if err != nil {
		return err
	}
	o.Refused = refused
	if !refused {
		p.client.options.Metrics.replacement()
		o.Share.Status = "deleting"
	}
	return nil
}

func (p *provision) fail(ctx context.Context, err error) error {
	if errors.Is(err, ErrIncompatible) {
		return err
	}
	m := p.api.lastMessage(ctx, p.seen.Share.ID)
	failed := errors.Is(err, ErrShareFailed)
	if failed && p.made {
		p.client.options.Metrics.failure(p.spec)
	}
	if failed && p.elsewhere(ctx, m) {
		return nil
	}
	return explain(err, p.seen.Share, m.text)
}

// explain adds Manila's own words to an error.
func explain(err error, s *Share, message string) error {
	return fmt.Errorf("%w: share %s is %s: %s", err, s.ID, s.Status, orNoMessage(message))
}

func orNoMessage(message string) string { return cmp.Or(message, "Manila has no message about it") }

func (p *provision) volume() *Volume {
	v := &Volume{Share: *p.seen.Share, Exports: p.seen.Exports, Made: p.made}
	for _, g := range p.spec.Grants {
		i := slices.IndexFunc(p.seen.Rules, func(r Rule) bool { return g.matches(&r) })
		v.Rules = append(v.Rules, p.seen.Rules[i])
	}
	return v
}
