package designate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/openstack"
)

// quota watches how full zones are. Designate counts every recordset of a zone, SOA and NS too, and each record of ExternalDNS has a second one
// that says who owns it.
type quota struct {
	inventory *inventory
	logger    *slog.Logger

	mu     sync.Mutex
	warned map[string]fullness // by zone id: what was said of it last
}

// fullness is how full a zone is.
type fullness int

const (
	roomy fullness = iota
	tight          // nine tenths are used
	over           // there is not enough room
)

func newQuota(v *inventory, logger *slog.Logger, r prometheus.Registerer) *quota {
	q := &quota{inventory: v, logger: logger, warned: map[string]fullness{}}
	if r != nil {
		r.MustRegister(q)
	}
	return q
}

// judgeFullness says how full a zone is with some recordsets of at most some; no more than 0 is without a limit.
func judgeFullness(used, limit int) fullness {
	switch {
	case limit <= 0:
		return roomy
	case used > limit:
		return over
	case used*10 >= limit*9:
		return tight
	default:
		return roomy
	}
}

// check warns of zones that a plan fills, once each until they have room again.
func (q *quota) check(ctx context.Context, snap *snapshot, plan Plan) {
	limit := q.inventory.quotas().ZoneRecordsets
	growth := map[string]int{}
	for _, g := range plan.Groups {
		growth[g.ZoneID] += g.growth()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, zone := range snap.zones.All() {
		packed := snap.sets[zone.ID]
		if packed == nil {
			delete(q.warned, zone.ID)
			continue
		}
		used := packed.len()
		now := judgeFullness(used+growth[zone.ID], limit)
		if now > q.warned[zone.ID] {
			attrs := []any{slog.String("zone", zone.Name), slog.Int("recordsets", used), slog.Int("to_come", growth[zone.ID]), slog.Int("quota", limit)}
			if now == over {
				q.logger.WarnContext(ctx, "a zone has no room for what is to be created: ask the operator of the cloud to raise the project's quota zone_recordsets", attrs...)
			} else {
				q.logger.WarnContext(ctx, "a zone is almost full: ask the operator of the cloud to raise the project's quota zone_recordsets", attrs...)
			}
		}
		q.warned[zone.ID] = now
	}
}

// explain says with numbers what is full, in the errors of outcomes that failed for want of room.
func (q *quota) explain(snap *snapshot, outcomes []outcome) {
	limits := q.inventory.quotas()
	grown := map[string]int{} // by zone id, since the snapshot
	for _, o := range outcomes {
		if o.Err == nil {
			grown[o.Operation.Zone.ID] += map[Verb]int{Create: 1, Delete: -1}[o.Operation.Verb]
		}
	}
	for i := range outcomes {
		o := &outcomes[i]
		if !errors.Is(o.Err, openstack.ErrQuota) {
			continue
		}
		zone, there := o.Operation.Zone, 0
		if packed := snap.sets[o.Operation.Zone.ID]; packed != nil {
			there = packed.len()
		}
		o.Err = fmt.Errorf("%w: %s", o.Err, limits.advice(o.Err, zone.Name, there+grown[zone.ID], len(o.Operation.Record.Targets)))
	}
}

// advice says what an error about a quota means. Designate names the quota.
func (l cloudLimits) advice(err error, zone string, recordsets, records int) string {
	const ask = "ask the operator of the cloud to raise the project's quota "
	switch text := err.Error(); {
	case strings.Contains(text, "recordset_records"):
		return fmt.Sprintf("it would have %d records, and a recordset may have %s: %srecordset_records", records, atMost(l.RecordsetRecords), ask)
	case strings.Contains(text, "zone_records."), strings.Contains(text, "zone_records,"):
		return fmt.Sprintf("all recordsets of zone %s together may have %s records: %szone_records", zone, atMost(l.ZoneRecords), ask)
	default:
		return fmt.Sprintf("zone %s has %d recordsets, and may have %s (its SOA and NS count, and each record of ExternalDNS needs a second one for its owner): "+
			"%szone_recordsets, or remove records", zone, recordsets, atMost(l.ZoneRecordsets), ask)
	}
}

func atMost(limit int) string {
	if limit <= 0 {
		return "no more than the cloud's limit, which it doesn't tell"
	}
	return fmt.Sprintf("at most %d", limit)
}

func recordsetsDesc() *prometheus.Desc {
	return prometheus.NewDesc("mooring_designate_zone_recordsets", "Recordsets of a zone that count against its quota: all of them.", []string{"zone", "zone_id"}, nil)
}

func recordsetsQuotaDesc() *prometheus.Desc {
	return prometheus.NewDesc("mooring_designate_zone_recordsets_quota", "How many recordsets a zone of the project may have.", nil, nil)
}

// Describe implements prometheus.Collector.
func (q *quota) Describe(ch chan<- *prometheus.Desc) {
	ch <- recordsetsDesc()
	ch <- recordsetsQuotaDesc()
}

// Collect implements prometheus.Collector.
func (q *quota) Collect(ch chan<- prometheus.Metric) {
	if limit := q.inventory.quotas().ZoneRecordsets; limit > 0 {
		ch <- prometheus.MustNewConstMetric(recordsetsQuotaDesc(), prometheus.GaugeValue, float64(limit))
	}
	snap := q.inventory.Last()
	if snap == nil {
		return
	}
	for _, zone := range snap.zones.All() {
		if packed := snap.sets[zone.ID]; packed != nil {
			ch <- prometheus.MustNewConstMetric(recordsetsDesc(), prometheus.GaugeValue, float64(packed.len()), zone.Name, zone.ID)
		}
	}
}
