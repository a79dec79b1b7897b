package designate

import (
	"context"
	"net/http"
)

// cloudLimits is what GET /v2/limits says, as far as it matters here.
type cloudLimits struct {
	MinTTL *int `json:"min_ttl"` // seconds; null in clouds without one
}

func (a *api) limits(ctx context.Context) (cloudLimits, error) {
	var l cloudLimits
	err := a.call(ctx, http.MethodGet, nil, &l, "limits")
	return l, err
}
