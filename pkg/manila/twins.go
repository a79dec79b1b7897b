package manila

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"mooring/pkg/openstack"
)

// There are twins, several shares of one cluster and name, when Manila carried out a create after the call for it had been given up, by
// a proxy or by a process that was killed. All calls agree on which of them is the volume's share (inOrder). It is the oldest, and one
// that is recorded later can only be younger: so a share that somebody was told of stays the first.

// lateness is how much younger than its share a twin can be: a create does not wait longer than that in Manila's API.
const lateness = 15 * time.Minute

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

// late says whether a share is such a twin of one that was taken before it: of the same cluster and claim, and a little younger.
func late(twin, used *Share) bool {
	for _, key := range []string{ClusterKey, VolumeKey, claimNameKey, claimNamespaceKey} {
		if twin.Metadata[key] != used.Metadata[key] {
			return false
		}
	}
	after := twin.CreatedAt.Sub(used.CreatedAt)
	return twin.Name == used.Name && twin.ID != used.ID && !twin.CreatedAt.IsZero() && !used.CreatedAt.IsZero() && after >= 0 && after <= lateness
}

// only sees to it that the share is the one of its name, when this call has made it and is about to tell of it: an earlier create may
// have got through since the name was looked for. When that one is the older, it is false: the share is removed, which nobody was
// told of, and the call goes on with the other.
func (p *provision) only(ctx context.Context) (bool, error) {
	mine := p.seen.Share
	if !p.made || p.spec.Cluster == "" { // without a cluster id nobody can tell them apart
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
	for _, twin := range own[1:] {
		var err error
		if twin.ID == mine.ID {
			err = p.client.discard(ctx, p.api, twin, own[0])
		} else {
			err = p.clear(ctx, twin, own[0])
		}
		if err != nil {
			return false, err
		}
	}
	if own[0].ID == mine.ID {
		return true, nil
	}
	p.seen, p.made = Observed{Share: own[0]}, false
	return false, nil
}

// clear removes a twin of the share that is used, if nobody was told of it. One that has access rules stays, for people to look at.
// Where nodes are let in one by one, one that was told of may have none, but then it is not younger than the one that is used.
func (p *provision) clear(ctx context.Context, twin, used *Share) error {
	switch {
	case Classify(twin.Status) == PhaseDeleting:
		return nil
	case len(p.spec.Grants) == 0 && !late(twin, used):
		p.client.twinLogger(twin, used).WarnContext(ctx, "there is a second share of this name, and somebody may have been told of it: it is left alone")
		return nil
	}
	return p.client.discardUnused(ctx, p.api, twin, used)
}

// discard removes a twin that nobody was told of.
func (c *Client) discard(ctx context.Context, a *api, twin, used *Share) error {
	logger := c.twinLogger(twin, used)
	logger.WarnContext(ctx, "removing a second share of this name, that nobody was told of")
	err := c.remove(ctx, a, twin.ID)
	if errors.Is(err, ErrDeleteFailed) || errors.Is(err, ErrInUse) {
		logger.WarnContext(ctx, "the second share of this name can't be removed", slog.Any("error", err))
		return nil
	}
	return err
}

func (c *Client) twinLogger(twin, used *Share) *slog.Logger {
	return c.options.Logger.With(slog.String("share_id", twin.ID), slog.String("name", twin.Name), slog.String("used_share_id", used.ID))
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

// DeleteVolume is Delete for the share of a volume of the cluster, and removes late twins with it, which no call has met since they
// were recorded. They bear the marks of the same cluster and claim, are a little younger than the share, and nobody has an access
// rule: whoever is told of the older share was never told of the younger one. Other shares of that name are left alone.
func (c *Client) DeleteVolume(ctx context.Context, id, cluster string) error {
	if cluster == "" {
		return c.Delete(ctx, id)
	}
	defer c.options.Metrics.during("delete")()
	id, ok := openstack.ParseUUID(id)
	if !ok {
		return nil
	}
	a, err := connect(ctx, c.session)
	if err != nil {
		return err
	}
	share, err := a.get(ctx, id)
	if err != nil || share == nil {
		return err
	}
	// A share that is lost may have been replaced by a younger one, which is in use.
	if phase := Classify(share.Status); share.Metadata[ClusterKey] != cluster || share.Name == "" || !phase.Usable() && phase != PhaseDeleting {
		return c.remove(ctx, a, id)
	}
	named, err := c.removeNamed(ctx, a, share)
	if err != nil {
		return err
	}
	for _, twin := range named {
		if late(twin, share) && Classify(twin.Status) != PhaseDeleting {
			err = errors.Join(err, c.discardUnused(ctx, a, twin, share))
		}
	}
	return err
}

// discardUnused removes a late twin, unless it has access rules.
func (c *Client) discardUnused(ctx context.Context, a *api, twin, used *Share) error {
	rules, err := a.rules(ctx, twin.ID)
	switch {
	case errors.Is(err, openstack.ErrNotFound):
		return nil
	case err != nil:
		return err
	case len(rules) > 0:
		c.twinLogger(twin, used).WarnContext(ctx, "there is a second share of this name, with access rules: it is left alone")
		return nil
	}
	return c.discard(ctx, a, twin, used)
}
