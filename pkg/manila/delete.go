package manila

import (
	"context"
	"fmt"

	"mooring/pkg/poll"
)

// Delete removes a share and returns when it is gone. A share that is not there, or an id that can't be one, is no error.
func (c *Client) Delete(ctx context.Context, id string) error { return c.DeleteVolume(ctx, id, "") }

func (c *Client) remove(ctx context.Context, a *api, id string) error {
	// The first DELETE goes out unseen: mostly it is accepted.
	r := &removal{client: c, api: a, id: id, crowd: c.options.Together.join(c.session), seen: Observed{Share: &Share{ID: id, Status: "available"}}}
	defer r.crowd.leave()
	return r.run(ctx)
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
		share, err := r.crowd.look(ctx, r.api, r.seen.Share, r.client.options.Poll.Wait(0))
		r.seen = Observed{Share: share}
		return err
	default:
		return explain(step.Err, r.seen.Share, r.api.message(ctx, r.id))
	}
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
