package manila

import "testing"

func TestCapacityOf(t *testing.T) {
	t.Parallel()
	q := func(limit, used int) *quota { return &quota{Limit: limit, InUse: used, Reserved: 1} }
	bounded := &shareType{Specs: map[string]any{"provisioning:max_share_size": "20", "provisioning:min_share_size": "4", "snapshot_support": true}}
	for name, c := range map[string]struct {
		scopes []scope
		typ    *shareType
		want   Capacity
	}{
		"nothing known":         {nil, nil, Capacity{unlimitedGiB, unlimitedGiB, 1}},
		"no limit":              {[]scope{{q(-1, 5), q(-1, 500), nil}}, nil, Capacity{unlimitedGiB, unlimitedGiB, 1}},
		"some left":             {[]scope{{q(50, 5), q(1000, 400), nil}}, nil, Capacity{599, 599, 1}},
		"over the quota":        {[]scope{{q(50, 5), q(100, 400), nil}}, nil, Capacity{0, 0, 1}},
		"no share left":         {[]scope{{q(6, 5), q(1000, 400), nil}}, nil, Capacity{0, 0, 1}},
		"the type has less":     {[]scope{{q(50, 5), q(1000, 400), nil}, {q(-1, 1), q(100, 1), nil}}, &shareType{}, Capacity{98, 98, 1}},
		"the type has no share": {[]scope{{q(50, 5), q(1000, 400), nil}, {q(1, 1), q(100, 1), nil}}, &shareType{}, Capacity{0, 0, 1}},
		"a limit per share":     {[]scope{{q(50, 5), q(1000, 400), q(100, 0)}}, nil, Capacity{599, 100, 1}},
		"no limit per share":    {[]scope{{q(50, 5), q(1000, 400), q(-1, 0)}}, nil, Capacity{599, 599, 1}},
		"bounds of the type":    {[]scope{{q(50, 5), q(1000, 400), q(100, 0)}}, bounded, Capacity{599, 20, 4}},
		"less than the bounds":  {[]scope{{q(50, 5), q(11, 0), nil}}, bounded, Capacity{10, 10, 4}},
	} {
		if got := capacityOf(c.scopes, c.typ); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
