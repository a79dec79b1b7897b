package designate

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// readMetrics tell how much is read, and why.
type readMetrics struct {
	hits    prometheus.Counter
	reads   *prometheus.CounterVec
	partial prometheus.Counter
}

func newReadMetrics(r prometheus.Registerer) *readMetrics {
	m := &readMetrics{
		hits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mooring_designate_zone_hits_total", Help: "Zones whose recordsets were known and still true, and so were not read.",
		}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_designate_zone_reads_total",
			Help: "Zones whose recordsets were read, by cause (cold, changed, unversioned, unsettled: read while it was written to, refresh).",
		}, []string{"cause"}),
		partial: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mooring_designate_partial_zone_reads_total", Help: "Of those reads, how many needed only what had changed in a large zone.",
		}),
	}
	for _, why := range causes() {
		m.reads.WithLabelValues(string(why))
	}
	if r != nil {
		r.MustRegister(m.hits, m.reads, m.partial)
	}
	return m
}

// serveAge shows how old what is known is at most.
func (m *readMetrics) serveAge(r prometheus.Registerer, oldest func() time.Duration) {
	if r == nil {
		return
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mooring_designate_full_read_age_seconds", Help: "Time since the recordsets of a zone were last read in full, of the zone for which that is the longest.",
	}, func() float64 { return oldest().Seconds() }))
}
