package manila

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"

	"mooring/pkg/openstack"
)

// The microversions of quotas.
var (
	typeQuota     = openstack.Microversion{Major: 2, Minor: 39} //nolint:gochecknoglobals // a constant: quotas per share type
	perShareQuota = openstack.Microversion{Major: 2, Minor: 62} //nolint:gochecknoglobals // a constant: per_share_gigabytes
)

// unlimitedGiB stands for no limit: the largest size that Manila's database holds.
const unlimitedGiB = math.MaxInt32

// Capacity is what a project may still make, in GiB.
type Capacity struct {
	// Available is what is left of the quota: the space that a tenant has. What the back ends have left is not for tenants to see.
	Available int
	// Maximum is the size of the largest share that can be made; never more than Available. Minimum is that of the smallest.
	Maximum, Minimum int
}

// quota is a limit with its use; a limit of -1 is none.
type quota struct {
	Limit    int `json:"limit"`
	InUse    int `json:"in_use"`
	Reserved int `json:"reserved"`
}

func (q *quota) left() int {
	if q == nil || q.Limit < 0 {
		return unlimitedGiB
	}
	return max(0, q.Limit-q.InUse-q.Reserved)
}

// scope is the quota of a project, or of one share type in it.
type scope struct {
	Shares    *quota `json:"shares"`
	Gigabytes *quota `json:"gigabytes"`
	PerShare  *quota `json:"per_share_gigabytes"` // its use means nothing
}

// shareType is a share type with the extra specs that tenants see.
type shareType struct {
	ID    string         `json:"id"`
	Name  string         `json:"name"`
	Specs map[string]any `json:"extra_specs"`
}

// bound reads a size from an extra spec; 0 when there is none.
func (t *shareType) bound(spec string) int {
	n, err := strconv.Atoi(fmt.Sprint(t.Specs[spec]))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// capacityOf is what all the scopes leave, within the bounds of a share type; nil is any type.
func capacityOf(scopes []scope, t *shareType) Capacity {
	c := Capacity{Available: unlimitedGiB, Minimum: 1}
	largest := unlimitedGiB
	for _, s := range scopes {
		c.Available = min(c.Available, s.Gigabytes.left())
		if s.Shares.left() == 0 {
			c.Available = 0
		}
		if s.PerShare != nil && s.PerShare.Limit >= 0 {
			largest = min(largest, s.PerShare.Limit)
		}
	}
	if t != nil {
		if n := t.bound("provisioning:max_share_size"); n > 0 {
			largest = min(largest, n)
		}
		c.Minimum = max(1, t.bound("provisioning:min_share_size"))
	}
	c.Maximum = min(c.Available, largest)
	return c
}

// Capacity says what the project may still make, of a share type (name or id; empty: of any). An unknown type is an ErrReference.
func (c *Client) Capacity(ctx context.Context, typ string) (Capacity, error) {
	a, err := connect(ctx, c.session)
	if err != nil {
		return Capacity{}, err
	}
	owner, err := c.session.Owner(ctx)
	if err != nil {
		return Capacity{}, err
	}
	project, err := a.limits(ctx)
	if err != nil {
		return Capacity{}, err
	}
	scopes := []scope{project}
	if a.has(perShareQuota) {
		own, err := a.quotas(ctx, owner.ProjectID, "")
		if err != nil {
			return Capacity{}, err
		}
		scopes = append(scopes, own)
	}
	if typ == "" {
		return capacityOf(scopes, nil), nil
	}
	t, err := a.shareType(ctx, typ)
	if err != nil {
		return Capacity{}, err
	}
	if a.has(typeQuota) {
		own, err := a.quotas(ctx, owner.ProjectID, t.Name)
		if err != nil {
			return Capacity{}, err
		}
		scopes = append(scopes, own)
	}
	return capacityOf(scopes, t), nil
}

// limits is the project's quota as every tenant may see it (api-ref "limits").
func (a *api) limits(ctx context.Context) (scope, error) {
	var body struct {
		Limits struct {
			Absolute *struct {
				MaxShares     int `json:"maxTotalShares"`
				Shares        int `json:"totalSharesUsed"`
				MaxGigabytes  int `json:"maxTotalShareGigabytes"`
				UsedGigabytes int `json:"totalShareGigabytesUsed"`
			} `json:"absolute"`
		} `json:"limits"`
	}
	err := a.read(ctx, "limits", &body)
	if err == nil && body.Limits.Absolute == nil {
		err = errNoAnswer("limits")
	}
	if err != nil {
		return scope{}, fmt.Errorf("reading the limits: %w", err)
	}
	l := body.Limits.Absolute
	return scope{Shares: &quota{Limit: l.MaxShares, InUse: l.Shares}, Gigabytes: &quota{Limit: l.MaxGigabytes, InUse: l.UsedGigabytes}}, nil
}

// quotas is a quota with its use: of a project, or of a share type in it. Where the policy does not show it to tenants, it limits
// nothing that /limits does not.
func (a *api) quotas(ctx context.Context, project, typ string) (scope, error) {
	path := "quota-sets/" + url.PathEscape(project) + "/detail"
	if typ != "" {
		path += "?share_type=" + url.QueryEscape(typ)
	}
	var body struct {
		Set scope `json:"quota_set"`
	}
	if err := a.read(ctx, path, &body); err != nil && !errors.Is(err, openstack.ErrForbidden) {
		return scope{}, fmt.Errorf("reading the quota: %w", err)
	}
	return body.Set, nil
}

func (a *api) shareType(ctx context.Context, name string) (*shareType, error) {
	var body struct {
		Types []shareType `json:"share_types"`
	}
	if err := a.read(ctx, "types", &body); err != nil {
		return nil, fmt.Errorf("reading the share types: %w", err)
	}
	if body.Types == nil {
		return nil, fmt.Errorf("reading the share types: %w", errNoAnswer("list of share types"))
	}
	for i := range body.Types {
		if t := &body.Types[i]; t.Name == name || t.ID == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("share type %q: %w", name, ErrReference)
}
