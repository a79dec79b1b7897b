package manila

import (
	"context"
	"fmt"
	"slices"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// Delete removes a share and returns when it is gone. A share that is not there, or an id that can't be one, is no error.
func (c *Client) Delete(ctx context.Context, id string) error {
	defer c.options.Metrics.during("delete")()
	id, ok := openstack.ParseUUID(id)
	if !ok {
		return nil
	}
	a, err := connect(ctx, c.session)
	if err != nil {
		return err
	}
	return c.remove(ctx, a, id)
}

func (c *Client) remove(ctx context.Context, a *api, id string) error {
	// The first DELETE goes out unseen: mostly it is accepted.
	r := &removal{client: c, api: a, id: id, crowd: c.options.Together.join(c.session), seen: Observed{Share: &Share{ID: id, Status: "available"}}}
	defer r.crowd.leave()
	return r.run(ctx)
}

// removeNamed removes a share that was read before, and returns the other shares of its name when it is gone: mostly they are what it is
// waited for by.
func (c *Client) removeNamed(ctx context.Context, a *api, s *Share) ([]*Share, error) {
	r := &removal{client: c, api: a, id: s.ID, name: s.Name, crowd: c.options.Together.join(c.session), seen: Observed{Share: &Share{ID: s.ID, Status: s.Status}}}
	defer r.crowd.leave()
	if err := r.run(ctx); err != nil || r.listed {
		return r.others, err
	}
	return r.crowd.sharing(ctx, a, s, c.options.Poll.Wait(0))
}

func (r *removal) run(ctx context.Context) error {
	for {
		step := Next(nil, &r.seen)
		if step.Action == ActionDone {
			return nil
		}
		if err := r.act(ctx, step); err != nil {
			return err
		}
	}
}

// removal is one call of Delete.
type removal struct {
	client           *Client
	api              *api
	id               string
	crowd            *crowd
	seen             Observed
	waited, refusals int

	name   string   // if set, the share is looked for by it
	others []*Share // of that name; valid if listed: then the last look has found the share gone
	listed bool
}

func (r *removal) act(ctx context.Context, step Step) error {
	switch step.Action {
	case ActionDelete:
		refused, err := r.api.delete(ctx, r.id)
		if err != nil {
			return err
		}
		if refused {
			return r.refused(ctx)
		}
		r.seen.Share.Status = "deleting"
		return nil
	case ActionLook:
		if err := poll.Sleep(ctx, r.client.options.Poll.Wait(r.waited)); err != nil {
			return fmt.Errorf("waiting for share %s to be deleted: %w", r.id, err)
		}
		r.waited++
		share, err := r.look(ctx)
		r.seen = Observed{Share: share}
		return err
	default:
		return explain(step.Err, r.seen.Share, r.api.message(ctx, r.id))
	}
}

// look reads the share again, by its name when that is wanted and no others are in flight.
func (r *removal) look(ctx context.Context) (*Share, error) {
	if r.name == "" || r.crowd.large() {
		return r.crowd.look(ctx, r.api, r.seen.Share, r.client.options.Poll.Wait(0))
	}
	all, err := r.api.byName(ctx, r.name)
	if err != nil {
		return r.seen.Share, err
	}
	if i := slices.IndexFunc(all, func(s *Share) bool { return s.ID == r.id }); i >= 0 {
		return all[i], nil
	}
	r.others, r.listed = all, true
	return nil, nil //nolint:nilnil // no share is an answer
}

// refused finds out why Manila did not take a DELETE. When the share's status does not tell, it may have changed between the two
// calls: then it is asked once more.
func (r *removal) refused(ctx context.Context) error {
	share, err := r.api.get(ctx, r.id)
	if err != nil {
		return err
	}
	r.seen.Share = share
	if r.refusals++; share == nil || r.refusals == 1 && Classify(share.Status) != PhaseDegraded {
		return nil
	}
	r.seen.Refused = true
	return r.api.dependents(ctx, r.id)
}
