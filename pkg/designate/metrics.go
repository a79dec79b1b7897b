package designate

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the domain; the calls to Designate are measured by the session.
type metrics struct {
	records, zones prometheus.Gauge
	operations     *prometheus.CounterVec
	left           *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		records: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mooring_designate_records", Help: "Records shown at the last read of the zones.",
		}),
		zones: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mooring_designate_zones", Help: "Zones that the project could see at the last read.",
		}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_designate_operations_total", Help: "Planned writes, by verb (create, update, delete), record type and outcome (done, failed, blocked, deferred).",
		}, []string{"verb", "type", "outcome"}),
		left: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_designate_skipped_records_total", Help: "Wanted changes that were left alone, by reason.",
		}, []string{"reason"}),
	}
	if r != nil {
		r.MustRegister(m.records, m.zones, m.operations, m.left)
	}
	return m
}

func (m *metrics) read(records, zones int) {
	m.records.Set(float64(records))
	m.zones.Set(float64(zones))
}

func (m *metrics) skipped(reason Reason, n int) {
	m.left.WithLabelValues(string(reason)).Add(float64(n))
}

func (m *metrics) applied(outcomes []outcome) {
	for _, o := range outcomes {
		label := "done"
		switch {
		case o.Err == nil:
		case errors.Is(o.Err, ErrBudget):
			label = "deferred"
		case errors.Is(o.Err, ErrBlocked):
			label = "blocked"
		default:
			label = "failed"
		}
		m.operations.WithLabelValues(string(o.Operation.Verb), string(o.Operation.Record.Type), label).Inc()
	}
}
