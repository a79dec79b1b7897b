package manila

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell how shares fare. What is asked of Manila, polls among it, is counted by the session (openstack.Metrics). A nil *Metrics
// counts nothing.
type Metrics struct {
	inFlight  *prometheus.GaugeVec
	provision *prometheus.HistogramVec
	failed    *prometheus.CounterVec
	replaced  prometheus.Counter
}

// NewMetrics registers the metrics of all clients of a process.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mooring_manila_in_flight", Help: "Operations that go on, by operation (create, delete, expand, modify, snapshot, delete_snapshot, publish, unpublish).",
		}, []string{"operation"}),
		provision: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mooring_manila_provision_duration_seconds",
			Help:    "Time in which a share was made, until it could be mounted, by its source (none, snapshot, volume); of shares that were made and became ready within one call.",
			Buckets: []float64{.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300},
		}, []string{"source"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_manila_failed_shares_total", Help: "Shares that Manila could not make, and that ended in error, by protocol.",
		}, []string{"protocol"}),
		replaced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mooring_manila_replaced_shares_total", Help: "Shares in error of an earlier try that were removed, to make room for another one.",
		}),
	}
	r.MustRegister(m.inFlight, m.provision, m.failed, m.replaced)
	return m
}

// during counts an operation in, until the function that it gives is called.
func (m *Metrics) during(operation string) (over func()) {
	if m == nil {
		return func() {}
	}
	gauge := m.inFlight.WithLabelValues(operation)
	gauge.Inc()
	return gauge.Dec
}

// ready notes that a share was made by a call that took so long.
func (m *Metrics) ready(spec *Spec, took time.Duration) {
	if m == nil {
		return
	}
	source := "none"
	switch {
	case spec.CloneOf != "":
		source = "volume"
	case spec.SnapshotID != "":
		source = "snapshot"
	}
	m.provision.WithLabelValues(source).Observe(took.Seconds())
}

func (m *Metrics) failure(spec *Spec) {
	if m != nil {
		m.failed.WithLabelValues(spec.Protocol).Inc()
	}
}

func (m *Metrics) replacement() {
	if m != nil {
		m.replaced.Inc()
	}
}
