package manila

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"mooring/pkg/openstack"
)

// parallelReads bounds how many shares' access rules are read at once; the session's rate budget bounds how often.
const parallelReads = 8

// Inventory lists all shares and snapshots of the project, and the access rules of the shares that ruled picks. An error says that it
// would not be whole.
func (c *Client) Inventory(ctx context.Context, ruled func(*Share) bool) (*Inventory, error) {
	a, err := connect(ctx, c.session)
	if err != nil {
		return nil, err
	}
	have := &Inventory{}
	if have.Shares, err = all(ctx, a.listShares, func(s *Share) string { return s.ID }); err != nil {
		return nil, err
	}
	if have.Snapshots, err = all(ctx, a.listSnapshots, func(s *Snapshot) string { return s.ID }); err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	if have.Rules, err = a.rulesOf(ctx, slices.DeleteFunc(slices.Clone(have.Shares), func(s *Share) bool { return !ruled(s) })); err != nil {
		return nil, err
	}
	return have, nil
}

// all reads a whole list.
func all[T any](ctx context.Context, read func(context.Context, url.Values) ([]T, error), id func(T) string) ([]T, error) {
	p := pager[T]{id: id, keep: func(T) bool { return true }}
	p.read = func(ctx context.Context, offset, limit int) ([]T, error) {
		return read(ctx, pageOf(nil, offset, limit))
	}
	found, _, err := p.page(ctx, "", 0)
	return found, err
}

// rulesOf reads the access rules of shares. A share that has gone meanwhile has none.
func (a *api) rulesOf(ctx context.Context, shares []*Share) (map[string][]Rule, error) {
	var mu sync.Mutex
	out := map[string][]Rule{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for _, s := range shares {
		group.Go(func() error {
			rules, err := a.rules(ctx, s.ID)
			if errors.Is(err, openstack.ErrNotFound) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			out[s.ID] = rules
			return err
		})
	}
	return out, group.Wait()
}

// Reread is an inventory with one orphan as it is now: it may have been changed, taken into use or removed since.
func (c *Client) Reread(ctx context.Context, have *Inventory, o *Orphan) (*Inventory, error) {
	a, err := connect(ctx, c.session)
	if err != nil {
		return nil, err
	}
	now := *have
	switch o.Kind {
	case KindShare:
		var s *Share
		s, err = a.get(ctx, o.ID)
		now.Shares = replace(have.Shares, s, func(s *Share) bool { return s.ID == o.ID })
		if err == nil {
			now.Rules, err = a.rulesOf(ctx, []*Share{{ID: o.ID}})
		}
	case KindSnapshot:
		var s *Snapshot
		s, err = a.snapshot(ctx, o.ID)
		now.Snapshots = replace(have.Snapshots, s, func(s *Snapshot) bool { return s.ID == o.ID })
	case KindRule:
		now.Rules, err = a.rulesOf(ctx, []*Share{{ID: o.ShareID}})
	default:
		err = fmt.Errorf("an orphan of the kind %q", o.Kind)
	}
	return &now, err
}

// replace puts what there is now, or nothing, in the place of what was there.
func replace[T any](items []*T, now *T, is func(*T) bool) []*T {
	out := slices.DeleteFunc(slices.Clone(items), is)
	if now != nil {
		out = append(out, now)
	}
	return out
}

// DeleteOrphan removes an orphan and returns when it is gone.
func (c *Client) DeleteOrphan(ctx context.Context, o *Orphan) error {
	switch o.Kind {
	case KindShare:
		return c.Delete(ctx, o.ID)
	case KindSnapshot:
		return c.DeleteSnapshot(ctx, o.ID, "")
	case KindRule:
		a, err := connect(ctx, c.session)
		if err != nil {
			return err
		}
		return a.deny(ctx, o.ShareID, o.ID)
	default:
		return fmt.Errorf("an orphan of the kind %q", o.Kind)
	}
}
