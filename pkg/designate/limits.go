package designate

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"mooring/pkg/openstack"
)

// cloudLimits is what GET /v2/limits says, as far as it matters here.
type cloudLimits struct {
	MinTTL *int `json:"min_ttl"` // seconds; null in clouds without one

	// Quotas of the project; 0 when the cloud doesn't tell, -1 when there is none.
	ZoneRecordsets   int `json:"max_zone_recordsets"`
	ZoneRecords      int `json:"max_zone_records"`
	RecordsetRecords int `json:"max_recordset_records"`
}

func (l cloudLimits) lowestTTL() int {
	if l.MinTTL == nil {
		return 0
	}
	return *l.MinTTL
}

func (a *api) limits(ctx context.Context) (cloudLimits, error) {
	var l cloudLimits
	err := a.get(ctx, &l, nil, "limits")
	return l, err
}

// limitsState is what is known of the limits.
type limitsState struct {
	known  *cloudLimits
	due    time.Time // when they are to be read once more; zero is never
	asking bool
}

// cloudLimits asks once, and from then on in the background, as often as zones are refreshed. A cloud that does not tell its limits has none that matter here.
func (v *inventory) cloudLimits(ctx context.Context) (cloudLimits, error) {
	v.mu.Lock()
	known, due := v.limits.known, v.limits.due
	refresh := known != nil && !due.IsZero() && !time.Now().Before(due) && !v.limits.asking && v.life.Err() == nil
	if refresh {
		v.limits.asking = true
		v.work.Go(func() {
			if _, err := v.askLimits(v.life); err != nil {
				v.logger.WarnContext(v.life, "the cloud's limits can't be read once more; those known are used on", slog.Any("error", err))
			}
		})
	}
	v.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	return v.askLimits(ctx)
}

func (v *inventory) askLimits(ctx context.Context) (cloudLimits, error) {
	limits, err := v.source.limits(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.limits.asking = false
	if err != nil && !errors.Is(err, openstack.ErrNotFound) && !errors.Is(err, openstack.ErrForbidden) {
		return cloudLimits{}, describe(err, "reading limits")
	}
	v.limits.known = &limits
	if v.refresh > 0 {
		v.limits.due = time.Now().Add(jittered(v.refresh))
	}
	return limits, nil
}

// quotas are the limits that are known by now; zero fields are not.
func (v *inventory) quotas() cloudLimits {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.limits.known == nil {
		return cloudLimits{}
	}
	return *v.limits.known
}
