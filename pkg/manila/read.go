package manila

import (
	"context"
	"fmt"

	"mooring/pkg/openstack"
)

// reach logs in for calls about one share, and gives its id in Manila's spelling. An id that can't be one is openstack.ErrNotFound.
func (c *Client) reach(ctx context.Context, share string) (a *api, id string, err error) {
	id, ok := openstack.ParseUUID(share)
	if !ok {
		return nil, "", noShareID(share)
	}
	a, err = connect(ctx, c.session)
	return a, id, err
}

// Share reads a share. The error is openstack.ErrNotFound when there is none.
func (c *Client) Share(ctx context.Context, id string) (*Share, error) {
	a, valid, err := c.reach(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := a.get(ctx, valid)
	if err == nil && s == nil {
		err = fmt.Errorf("share %s: %w", id, openstack.ErrNotFound)
	}
	return s, err
}

// ShareByName reads the share of a name. The error is openstack.ErrNotFound when there is none, ErrIncompatible when there are several.
func (c *Client) ShareByName(ctx context.Context, name string) (*Share, error) {
	a, err := connect(ctx, c.session)
	if err != nil {
		return nil, err
	}
	found, err := a.byName(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, fmt.Errorf("share %q: %w", name, openstack.ErrNotFound)
	case len(found) > 1:
		return nil, fmt.Errorf("%w: there are %d shares called %q", ErrIncompatible, len(found), name)
	}
	return found[0], nil
}

// Exports reads the usable export locations of a share, the best first.
func (c *Client) Exports(ctx context.Context, id string) ([]Export, error) {
	a, valid, err := c.reach(ctx, id)
	if err != nil {
		return nil, err
	}
	return a.exports(ctx, valid)
}

// CephxRule reads the cephx rule that a CephFS share is mounted with: the one of the id, or without an id an active one,
// rather one that may write. Its key is set.
func (c *Client) CephxRule(ctx context.Context, share, rule string) (*Rule, error) {
	a, valid, err := c.reach(ctx, share)
	if err != nil {
		return nil, err
	}
	rules, err := a.rules(ctx, valid)
	if err != nil {
		return nil, err
	}
	return pickCephx(rules, share, rule)
}

func pickCephx(rules []Rule, share, rule string) (best *Rule, _ error) {
	for i := range rules {
		r := &rules[i]
		usable := r.State == "active" && r.Key != ""
		switch {
		case r.Kind != KindCephx || rule != "" && r.ID != rule:
		case rule != "" && !usable:
			return nil, fmt.Errorf("%w: its access rule %s is %s and has no key yet", ErrNotUsable, rule, orNone(r.State))
		case usable && (best == nil || best.Level != "rw" && r.Level == "rw"):
			best = r
		}
	}
	switch {
	case best == nil && rule == "":
		return nil, fmt.Errorf("an active cephx access rule of share %s: %w", share, openstack.ErrNotFound)
	case best == nil:
		return nil, fmt.Errorf("the cephx access rule %s of share %s: %w", rule, share, openstack.ErrNotFound)
	}
	return best, nil
}
