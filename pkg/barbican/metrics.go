package barbican

import (
	"crypto/sha256"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a keyring; a nil *metrics counts nothing.
type metrics struct {
	keys    *prometheus.GaugeVec
	active  *prometheus.GaugeVec
	fetches *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		return nil
	}
	m := &metrics{
		keys: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mooring_barbican_keys", Help: "Keys of the keyring, by state (held in memory, or wanted from Barbican).",
		}, []string{"state"}),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mooring_barbican_active_key_info", Help: "1 for the key that wraps, by its generation and the hash that kube-apiserver's metrics have of its id.",
		}, []string{"generation", "key_id_hash"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_barbican_key_fetches_total", Help: "Fetches of keys from Barbican, by result (ok, transient or definite failure).",
		}, []string{"result"}),
	}
	r.MustRegister(m.keys, m.active, m.fetches)
	return m
}

func (m *metrics) fetched(err error) {
	if m == nil {
		return
	}
	result := "ok"
	switch {
	case err == nil:
	case classify(err) == Definite:
		result = "definite"
	default:
		result = "transient"
	}
	m.fetches.WithLabelValues(result).Inc()
}

func (m *metrics) state(s *snapshot) {
	if m == nil {
		return
	}
	m.keys.WithLabelValues("held").Set(float64(len(s.keys)))
	m.keys.WithLabelValues("wanted").Set(float64(len(s.wanted)))
	m.active.Reset()
	if s.active != nil {
		m.active.WithLabelValues(strconv.FormatUint(s.active.ref.Generation, 10), KeyIDHash(s.active.id)).Set(1)
	}
}

// KeyIDHash is how kube-apiserver's metrics name a key id: "sha256:" and the hash in hex
// (k8s.io/apiserver/pkg/storage/value/encrypt/envelope/metrics).
func KeyIDHash(id string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id))) }
