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

// There are twins, several shares of one cluster and name, when Manila carried out a create after the call for it had been given up, by
// a proxy or by a process that was killed. All calls agree on which of them is the volume's share (inOrder): mostly the one that
// somebody was told of, since what is recorded later is younger. But clocks go wrong, and shares are lost and mended. So nothing is
// removed for its age: a twin bears the proof that nobody was told of it, or it stays.

// UnusedKey is the metadata key of a share that nobody was told of as long as it has no access rules. It comes with the share. A call
// that tells of a share has seen its rules in force; where there are none, it takes the key away first. There is no slash in it: Manila
// can't remove a key that has one.
const UnusedKey = "mooring-unused-without-rules"

// looksAtTwin is how often a twin is looked at that Manila does not delete yet, since it is still being made: some 20 s.
const looksAtTwin = 30

// inOrder puts the one of several shares of this very cluster and name first that every call picks: the oldest one that stays, and
// rather one that is usable, or will be, than one that is lost.
func inOrder(own []*Share) {
	slices.SortFunc(own, func(a, b *Share) int {
		return cmp.Or(cmp.Compare(loss(a.Status), loss(b.Status)), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// loss is how far something of a status is from being usable; -1: it is, or will be.
func loss(status string) int {
	return slices.Index([]Phase{PhaseFailed, PhaseDeleting, PhaseDeleteFailed, PhaseForeign}, Classify(status))
}

// isTwin says whether two shares bear the marks of one cluster and claim.
func isTwin(a, b *Share) bool {
	for _, key := range []string{ClusterKey, VolumeKey, claimNameKey, claimNamespaceKey} {
		if a.Metadata[key] != b.Metadata[key] {
			return false
		}
	}
	return a.Name == b.Name && a.ID != b.ID
}

// only sees to it that the share is the one of its name, when this call is about to tell of it and has made it, or has seen others: an
// earlier create may have got through since the name was looked for. When another one is the first by now, it is false, and the call
// goes on with that one. The others are removed when there is one that can be told of.
func (p *provision) only(ctx context.Context) (bool, error) {
	mine := p.seen.Share
	if !p.made && !p.twins || p.spec.Cluster == "" { // without a cluster id nobody can tell them apart
		return true, nil
	}
	if p.named == nil {
		var err error
		if p.named, err = p.crowd.sharing(ctx, p.api, mine, p.client.options.Poll.Wait(0)); err != nil {
			return false, err
		}
	}
	own := slices.DeleteFunc(slices.Clone(p.named), func(s *Share) bool { return !p.spec.owns(s) })
	p.named = nil
	if i := slices.IndexFunc(own, func(s *Share) bool { return s.ID == mine.ID }); i < 0 { // a database replica has not heard of it yet
		own = append(own, mine)
	} else if Classify(own[i].Status).Usable() {
		p.seen.Share = own[i]
	}
	inOrder(own)
	if own[0].ID != mine.ID {
		if p.made {
			p.spare = mine.ID
		}
		p.seen, p.made, p.twins = Observed{Share: own[0]}, false, true
		return false, nil
	}
	for _, twin := range own[1:] {
		if err := p.client.clear(ctx, p.api, twin, own[0], twin.ID == p.spare); err != nil {
			return false, err
		}
	}
	return true, nil
}

// tell takes the proof away that nobody was told of a share without access rules. It comes before the last look at its name: so a call
// that still sees the proof, and an older share, has one that this call will see, too.
func (p *provision) tell(ctx context.Context) error {
	if len(p.spec.Grants) > 0 || p.spec.Cluster == "" || !p.made && p.seen.Share.Metadata[UnusedKey] == "" {
		return nil
	}
	return p.api.deleteMetadata(ctx, p.seen.Share.ID, UnusedKey)
}

// clear removes a twin of the share that is used, if nobody was told of it; any other stays, for people to look at. One that this very
// call has made needs no proof.
func (c *Client) clear(ctx context.Context, a *api, twin, used *Share, made bool) error {
	logger := c.options.Logger.With(slog.String("share_id", twin.ID), slog.String("name", twin.Name), slog.String("used_share_id", used.ID))
	twin, err := c.settled(ctx, a, twin)
	if err != nil || twin == nil || Classify(twin.Status) == PhaseDeleting {
		return err
	}
	unused := made
	if !made {
		unused, err = a.unused(ctx, twin)
	}
	if err != nil {
		return err
	}
	if !unused || !isTwin(twin, used) || !Classify(twin.Status).Usable() { // in error it may have been used, and have lost its rules
		logger.WarnContext(ctx, "there is a second share of this name, and somebody may have been told of it: it is left alone")
		return nil
	}
	logger.WarnContext(ctx, "removing a second share of this name, that nobody was told of")
	refused, err := a.delete(ctx, twin.ID)
	if refused || errors.Is(err, ErrInUse) || errors.Is(err, openstack.ErrForbidden) {
		logger.WarnContext(ctx, "the second share of this name can't be removed", slog.Any("error", err))
		return nil
	}
	return err
}

// settled reads a twin again, when Manila has made it: before that it can't be removed. One that does not come to an end is not waited
// for any longer; nil when there is none any more.
func (c *Client) settled(ctx context.Context, a *api, twin *Share) (*Share, error) {
	for n := 0; ; n++ {
		now, err := a.get(ctx, twin.ID)
		if err != nil || now == nil || Classify(now.Status) != PhasePending || n == looksAtTwin {
			return now, err
		}
		if err := poll.Sleep(ctx, c.options.Poll.Wait(n)); err != nil {
			return nil, fmt.Errorf("waiting for share %s, a second one of its name: %w", twin.ID, err)
		}
	}
}

// unused says whether there is proof that nobody was told of a share.
func (a *api) unused(ctx context.Context, s *Share) (bool, error) {
	if s.Metadata[UnusedKey] == "" {
		return false, nil
	}
	rules, err := a.rules(ctx, s.ID)
	if errors.Is(err, openstack.ErrNotFound) { // it has just gone
		return false, nil
	}
	return len(rules) == 0 && err == nil, err
}

// reread reads the share again. What is asked for one share alone, with the state of its rules, tells of its twins, too.
func (p *provision) reread(ctx context.Context, rules bool) (*Share, error) {
	before := p.seen.Share
	p.named = nil
	if rules && !p.crowd.large() {
		all, err := p.api.byName(ctx, p.spec.Name)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(s *Share) bool { return s.ID == before.ID }); i >= 0 {
			p.named = all
			return all[i], nil
		}
	}
	return p.crowd.look(ctx, p.api, before, p.client.options.Poll.Wait(0))
}

// sharing reads all shares of a share's name, together with others when there are many: mostly there is that one alone, and one list
// says so for all.
func (c *crowd) sharing(ctx context.Context, a *api, s *Share, least time.Duration) ([]*Share, error) {
	if !c.large() {
		return a.byName(ctx, s.Name)
	}
	answer, err := c.namesakes.ask(ctx, s.Name, c.pace(least), a.byNames)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(answer, func(other *Share) bool { return other.ID != s.ID }) {
		return []*Share{s}, nil
	}
	return a.byName(ctx, s.Name)
}

// DeleteVolume is Delete for the share of a volume of the cluster, and removes first those of its claim that come after it and that
// nobody was told of: as long as the share is there and usable, no create takes one of them. Other shares of its name are left alone.
func (c *Client) DeleteVolume(ctx context.Context, id, cluster string) error {
	defer c.options.Metrics.during("delete")()
	id, ok := openstack.ParseUUID(id)
	if !ok {
		return nil
	}
	a, err := connect(ctx, c.session)
	if err != nil {
		return err
	}
	if cluster != "" {
		share, err := a.get(ctx, id)
		if err != nil || share == nil {
			return err
		}
		if share.Metadata[ClusterKey] == cluster && share.Name != "" && Classify(share.Status).Usable() {
			if err := c.clearTwins(ctx, a, share); err != nil {
				return err
			}
		}
	}
	return c.remove(ctx, a, id)
}

func (c *Client) clearTwins(ctx context.Context, a *api, used *Share) error {
	crowd := c.options.Together.join(c.session)
	defer crowd.leave()
	named, err := crowd.sharing(ctx, a, used, c.options.Poll.Wait(0))
	if err != nil {
		return err
	}
	own := append(slices.DeleteFunc(named, func(s *Share) bool { return !isTwin(s, used) }), used)
	inOrder(own)
	for _, twin := range own[slices.Index(own, used)+1:] {
		err = errors.Join(err, c.clear(ctx, a, twin, used, false))
	}
	return err
}
