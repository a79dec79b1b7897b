package manila

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/openstack"
)

const (
	// pageSize is how many things a call lists, unless fewer are wanted; Manila's osapi_max_limit is 1000 by default.
	pageSize = 1000
	// fullPage is how many are listed at least, for what a filter leaves of them.
	fullPage = 100
	// leastLimit is the smallest osapi_max_limit that is believed of a Manila: a page that has fewer is the last.
	leastLimit = 10
)

// cursor is a place in a list that is sorted by id: after an id, which was at a position when it was seen.
type cursor struct {
	position int
	after    string
}

func (c cursor) token() string { return strconv.Itoa(c.position) + "." + c.after }

func parseToken(token string) (cursor, error) {
	if token == "" {
		return cursor{}, nil
	}
	position, after, _ := strings.Cut(token, ".")
	n, err := strconv.Atoi(position)
	id, ok := openstack.ParseUUID(after)
	if err != nil || n < 0 || n > math.MaxInt32 || !ok { // nobody has so many, and from there the way back would be long
		return cursor{}, fmt.Errorf("%w: %q", ErrToken, token)
	}
	return cursor{position: n, after: id}, nil
}

// pager lists things by their ids.
type pager[T any] struct {
	read func(ctx context.Context, offset, limit int) ([]T, error)
	id   func(T) string
	keep func(T) bool
}

// page gives up to limit (0: all) things that come after the token, and the token of what follows; empty at the end. Manila knows
// positions alone, and they move when others make or delete things: so a page begins with the last thing of the one before it, and
// goes back until it has found the place. Nothing that stays is left out, or there twice.
func (p pager[T]) page(ctx context.Context, token string, limit int) (out []T, next string, err error) {
	at, err := parseToken(token)
	if err != nil {
		return nil, "", err
	}
	size := pageSize
	if limit > 0 {
		size = min(size, limit+2) // the one before, those wanted, and one that tells that there are more
	}
	size = max(size, fullPage)
	for back, longest := 1, leastLimit; ; {
		items, err := p.read(ctx, at.position, size)
		if err != nil {
			return nil, "", err
		}
		if at.after != "" && at.position > 0 && (len(items) == 0 || p.id(items[0]) > at.after) {
			at.position = max(0, at.position-back)
			back *= 2
			continue
		}
		back = 1
		start := at.position
		var full bool
		if out, full = p.take(items, &at, out, limit); full {
			return out, at.token(), nil
		}
		if len(items) < longest { // than what Manila has shown itself to give
			return out, "", nil
		}
		longest = len(items)
		at.position = start + len(items) - 1
	}
}

// take adds what comes after a place to a list, and moves the place on. full says that there is more than fits.
func (p pager[T]) take(items []T, at *cursor, out []T, limit int) (_ []T, full bool) {
	start := at.position
	for i, item := range items {
		if p.id(item) <= at.after {
			continue
		}
		if p.keep(item) {
			if limit > 0 && len(out) == limit {
				return out, true
			}
			out = append(out, item)
		}
		*at = cursor{position: start + i, after: p.id(item)}
	}
	return out, false
}

// pageOf asks for one page of what a filter leaves.
func pageOf(filter url.Values, offset, limit int) url.Values {
	q := url.Values{"sort_key": {"id"}, "sort_dir": {"asc"}, "offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(limit)}}
	maps.Copy(q, filter)
	return q
}

// mayOwn says whether something with this metadata is a cluster's, or bears no cluster's mark. Without an id every cluster is ours.
func mayOwn(cluster string, metadata map[string]string) bool {
	of := metadata[ClusterKey]
	return cluster == "" || of == "" || of == cluster
}

// Shares lists the shares of the project that can be used and belong to the cluster, or to none, by their ids: up to limit (0: all)
// of them after the token. next is the token of those that follow; empty at the end. A token that is none is an ErrToken.
func (c *Client) Shares(ctx context.Context, cluster, token string, limit int) (found []*Share, next string, err error) {
	a, err := connect(ctx, c.session)
	if err != nil {
		return nil, "", err
	}
	p := pager[*Share]{
		id: func(s *Share) string { return s.ID },
		keep: func(s *Share) bool {
			return mayOwn(cluster, s.Metadata) && s.known() && Classify(s.Status).Usable()
		},
	}
	p.read = func(ctx context.Context, offset, limit int) ([]*Share, error) {
		return a.listShares(ctx, pageOf(nil, offset, limit))
	}
	return p.page(ctx, token, limit)
}

// listedShare has what gophercloud's shares lack.
type listedShare struct {
	shares.Share

	rules struct {
		Status string `json:"access_rules_status"`
	}
}

// UnmarshalJSON reads both parts.
func (s *listedShare) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &s.Share); err != nil {
		return err
	}
	return json.Unmarshal(b, &s.rules)
}

func (s *listedShare) share() *Share {
	out := fromAPI(&s.Share)
	out.RulesStatus = s.rules.Status
	return out
}

// listShares reads one page of shares.
func (a *api) listShares(ctx context.Context, query url.Values) ([]*Share, error) {
	return a.pageOfShares(ctx, "shares/detail", query)
}

// listNames reads one page of the ids and names of shares. Details are much more for Manila to look up, and for us to read.
func (a *api) listNames(ctx context.Context, query url.Values) ([]*Share, error) {
	return a.pageOfShares(ctx, "shares", query)
}

func (a *api) pageOfShares(ctx context.Context, path string, query url.Values) ([]*Share, error) {
	var body struct {
		Shares []listedShare `json:"shares"`
	}
	if err := a.read(ctx, path+"?"+query.Encode(), &body); err != nil {
		return nil, fmt.Errorf("listing shares: %w", err)
	}
	if body.Shares == nil {
		return nil, fmt.Errorf("listing shares: %w", errNoAnswer("list of shares"))
	}
	out := make([]*Share, 0, len(body.Shares))
	for i := range body.Shares {
		if one := &body.Shares[i]; isShare(&one.Share) {
			out = append(out, one.share())
		}
	}
	return out, nil
}

// Snapshots lists the snapshots of the project, or of one share of it, by their ids, as Shares does. Those by which shares are being
// cloned are left out.
func (c *Client) Snapshots(ctx context.Context, share, cluster, token string, limit int) (found []*Snapshot, next string, err error) {
	filter := url.Values{}
	if share != "" {
		valid, ok := openstack.ParseUUID(share)
		if !ok {
			return nil, "", nil
		}
		filter.Set("share_id", valid)
	}
	a, err := connect(ctx, c.session)
	if err != nil {
		return nil, "", err
	}
	p := pager[*Snapshot]{
		id:   func(s *Snapshot) string { return s.ID },
		keep: func(s *Snapshot) bool { return mayOwn(cluster, s.Metadata) && !strings.HasPrefix(s.Name, clonePrefix) },
	}
	p.read = func(ctx context.Context, offset, limit int) ([]*Snapshot, error) {
		found, err := a.listSnapshots(ctx, pageOf(filter, offset, limit))
		if err != nil {
			return nil, fmt.Errorf("listing snapshots: %w", err)
		}
		return found, nil
	}
	return p.page(ctx, token, limit)
}
