package manila

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/messages"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// forcedExtend is the microversion from which an extend asks the scheduler first, unless it is forced.
var forcedExtend = openstack.Microversion{Major: 2, Minor: 64} //nolint:gochecknoglobals // a constant

// The actions of an expansion, besides ActionLook, ActionDone and ActionFail.
const (
	ActionExtend      Action = "extend"
	ActionExtendForce Action = "extend by force" // past the scheduler, which has refused
)

// ExpandSeen is what is known of a share that is to grow.
type ExpandSeen struct {
	// Share is nil when there is none.
	Share *Share
	// Asked and Forced say that Manila has accepted an extend of this call, and one by force.
	Asked, Forced bool
	// Told says that Manila has a message about the extend that it accepted last: it could not be done.
	Told bool
	// Quiet counts the looks since then that saw the share available, and with its old size.
	Quiet int
	// CanForce says that Manila knows what a forced extend is, and that it has not refused one.
	CanForce bool
}

// quietLooks is after how many looks a share that is available with its old size is taken for one that was not extended, when
// Manila has no message about it.
const quietLooks = 10

// NextExpand decides what to do for a share that has to have size GiB, and at most most (0: any). Before 2.64 Manila hands an
// extend to the back end; from then on the scheduler may refuse it, and the share is available again with its old size. So it is
// for a moment after an extend that went well, too: Manila writes the status first and the size then
// (manila/share/manager.py, extend_share). What tells the two apart is the message that the scheduler leaves about the request.
func NextExpand(size, most int, o *ExpandSeen) Step {
	switch {
	case o.Share == nil:
		return Step{Action: ActionFail, Err: openstack.ErrNotFound}
	case most > 0 && o.Share.SizeGiB > most:
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: it has %d GiB, and the limit is %d GiB", ErrTooLarge, o.Share.SizeGiB, most)}
	}
	phase := Classify(o.Share.Status)
	if phase.Usable() && o.Share.SizeGiB >= size {
		return Step{Action: ActionDone}
	}
	switch phase {
	case PhasePending, PhaseBusy, PhaseUnknown:
		return Step{Action: ActionLook}
	case PhaseReady:
		return nextReady(o)
	case PhaseDegraded:
		return Step{Action: ActionFail, Err: ErrExtendFailed}
	default:
		return Step{Action: ActionFail, Err: ErrNotUsable}
	}
}

// nextReady decides about a share that is available and too small.
func nextReady(o *ExpandSeen) Step {
	switch {
	case !o.Asked:
		return Step{Action: ActionExtend}
	case !o.Told && o.Quiet < quietLooks:
		return Step{Action: ActionLook}
	case !o.Forced && o.CanForce:
		return Step{Action: ActionExtendForce}
	default:
		return Step{Action: ActionFail, Err: ErrExtendFailed}
	}
}

// Expand makes a share have at least size GiB and returns when it has, with the share as it is then. Shares grow while they are
// in use. A share that has more than most GiB (0: any) is an ErrTooLarge. It can be called again after any error.
func (c *Client) Expand(ctx context.Context, id string, size, most int) (*Share, error) {
	defer c.options.Metrics.during("expand")()
	a, valid, err := c.reach(ctx, id)
	if err != nil {
		return nil, err
	}
	e := &expansion{client: c, api: a, id: valid, size: size, crowd: c.options.Together.join(c.session), seen: ExpandSeen{CanForce: a.has(forcedExtend)}}
	defer e.crowd.leave()
	if e.seen.Share, err = a.get(ctx, valid); err != nil {
		return nil, err
	}
	for {
		step := NextExpand(size, most, &e.seen)
		if step.Action == ActionDone {
			return e.seen.Share, nil
		}
		if err := e.act(ctx, step); err != nil {
			if e.seen.Asked {
				err = pending(valid, err)
			}
			return nil, err
		}
	}
}

// expansion is one call of Expand.
type expansion struct {
	client  *Client
	api     *api
	id      string
	size    int
	crowd   *crowd
	waited  int
	refused bool   // the last extend was refused for the share's status
	request string // OpenStack's id of the extend that was accepted last
	seen    ExpandSeen
}

func (e *expansion) act(ctx context.Context, step Step) error {
	switch step.Action {
	case ActionExtend, ActionExtendForce:
		return e.extend(ctx, step.Action == ActionExtendForce)
	case ActionLook:
		if err := poll.Sleep(ctx, e.client.options.Poll.Wait(e.waited)); err != nil {
			return fmt.Errorf("waiting for share %s to have %d GiB: %w", e.id, e.size, err)
		}
		e.waited++
		return e.look(ctx)
	default:
		if e.seen.Share == nil || errors.Is(step.Err, ErrTooLarge) {
			return fmt.Errorf("share %s: %w", e.id, step.Err)
		}
		return explain(step.Err, e.seen.Share, e.api.message(ctx, e.id))
	}
}

func (e *expansion) look(ctx context.Context) (err error) {
	e.seen.Share, err = e.crowd.look(ctx, e.api, e.seen.Share, e.client.options.Poll.Wait(0))
	if s := e.seen.Share; e.seen.Asked && s != nil && Classify(s.Status) == PhaseReady && s.SizeGiB < e.size {
		e.seen.Quiet++
		e.seen.Told = e.api.told(ctx, e.id, e.request)
	}
	return err
}

func (e *expansion) extend(ctx context.Context, force bool) error {
	log := e.client.options.Logger
	request, err := e.api.extend(ctx, e.id, e.size, force)
	switch {
	case err == nil:
		e.request, e.seen.Asked, e.seen.Forced, e.seen.Told, e.seen.Quiet = request, true, force, false, 0
		e.seen.Share.Status = "extending"
		log.InfoContext(ctx, "extending a share", slog.String("share_id", e.id), slog.Int("size_gib", e.size), slog.Bool("force", force))
		return nil
	case force && errors.Is(err, openstack.ErrForbidden): // as usual: by default only administrators may
		e.seen.CanForce = false
		return nil
	case !errors.Is(err, openstack.ErrInvalid) && !errors.Is(err, openstack.ErrConflict) || e.refused:
		return err
	}
	// Its status or its size has changed since we looked; if not, Manila means it.
	e.refused = true
	before := *e.seen.Share
	if lookErr := e.look(ctx); lookErr != nil {
		return errors.Join(err, lookErr)
	}
	if now := e.seen.Share; now != nil && now.Status == before.Status && now.SizeGiB == before.SizeGiB {
		return err
	}
	return nil
}

// extendOpts has the flag that gophercloud's options lack.
type extendOpts struct {
	NewSize int  `json:"new_size"`
	Force   bool `json:"force,omitempty"`
}

// ToShareExtendMap makes the body of the call.
func (o extendOpts) ToShareExtendMap() (map[string]any, error) {
	return gophercloud.BuildRequestBody(o, "extend")
}

// extend asks for the size, and gives OpenStack's id of the request. Manila answers with 403 when the quota does not allow it, and
// when the login may not force.
func (a *api) extend(ctx context.Context, id string, size int, force bool) (request string, err error) {
	r := shares.Extend(ctx, a.client, id, extendOpts{NewSize: size, Force: force})
	if err := wrap(r.ExtractErr()); err != nil {
		return "", fmt.Errorf("extending share %s to %d GiB: %w", id, size, err)
	}
	return openstack.RequestID(r.Header), nil
}

// told says whether Manila has a user message about a share that a certain request has led to. Messages are about failures.
func (a *api) told(ctx context.Context, id, request string) bool {
	if request == "" {
		return false
	}
	pages, err := messages.List(a.client, messages.ListOpts{ResourceID: id, RequestID: request}).AllPages(ctx)
	if err != nil {
		return false // it is one sign of two
	}
	all, err := messages.ExtractMessages(pages)
	return err == nil && slices.ContainsFunc(all, func(m messages.Message) bool { return m.RequestID == request })
}
