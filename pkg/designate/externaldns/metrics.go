package externaldns

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the edge: what ExternalDNS asked, what it was answered, and when its last turn went well.
type metrics struct {
	requests *prometheus.CounterVec
	turns    *turns
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_webhook_requests_total", Help: "Requests of ExternalDNS, by path, method and the status of the answer.",
		}, []string{"path", "method", "status"}),
		turns: &turns{good: time.Now()},
	}
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mooring_webhook_last_good_sync_age_seconds", Help: "Time since ExternalDNS's last turn in which nothing failed here, or since the start.",
	}, func() float64 { return m.turns.age(time.Now()).Seconds() })
	if r != nil {
		r.MustRegister(m.requests, age)
	}
	return m
}

// answered takes a request to a known path into account.
func (m *metrics) answered(r *http.Request, status int) {
	m.requests.WithLabelValues(r.URL.Path, r.Method, strconv.Itoa(status)).Inc()
	good := status < http.StatusMultipleChoices
	switch r.Method + " " + r.URL.Path {
	case "GET /records":
		m.turns.begin()
	case "POST /adjustendpoints":
		m.turns.adjusted(time.Now(), good)
	case "POST /records":
		m.turns.applied(time.Now(), good)
	}
}

// turns follows ExternalDNS's loop: it reads the records, has the wanted endpoints adjusted, and, only if they differ, applies changes. So the
// end of a turn without changes is not seen before the next one begins.
type turns struct {
	mu   sync.Mutex
	good time.Time // the end of the last good turn
	idle time.Time // when the endpoints of this turn were adjusted, and nothing has failed since; else zero
}

func (t *turns) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.idle.IsZero() {
		t.good, t.idle = t.idle, time.Time{}
	}
}

func (t *turns) adjusted(now time.Time, good bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle = (time.Time{}); good {
		t.idle = now
	}
}

func (t *turns) applied(now time.Time, good bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle = (time.Time{}); good {
		t.good = now
	}
}

func (t *turns) age(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.good)
}
