package openstack

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what a process asks of OpenStack. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	logins   *prometheus.CounterVec
}

// NewMetrics registers the metrics of all sessions of a process.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_openstack_requests_total",
			Help: "HTTP requests to OpenStack, each attempt counted, by service type, operation and HTTP status code (error: no answer).",
		}, []string{"service", "operation", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mooring_openstack_request_duration_seconds",
			Help:    "Time until the headers of OpenStack's answer were there, by service type and operation.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"service", "operation"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_openstack_retries_total",
			Help: "HTTP requests to OpenStack that were repeated after a failure, by service type.",
		}, []string{"service"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_openstack_logins_total",
			Help: "Logins to Keystone, by result (ok or failed).",
		}, []string{"result"}),
	}
	r.MustRegister(m.requests, m.duration, m.retries, m.logins)
	return m
}

func (m *Metrics) request(service ServiceType, operation string, status int, took time.Duration) {
	if m == nil {
		return
	}
	code := "error"
	if status != 0 {
		code = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(string(service), operation, code).Inc()
	m.duration.WithLabelValues(string(service), operation).Observe(took.Seconds())
}

func (m *Metrics) retry(service ServiceType) {
	if m != nil {
		m.retries.WithLabelValues(string(service)).Inc()
	}
}

func (m *Metrics) login(err error) {
	if m == nil {
		return
	}
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.logins.WithLabelValues(result).Inc()
}

// operation is a request's label: the method and the path below the endpoint, with ids replaced, so that the number of
// operations is bounded by the API: "GET shares/{id}".
func operation(r *http.Request, endpointPath string) string {
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, endpointPath), "/")
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if isID(s) {
			segments[i] = "{id}"
		}
	}
	return r.Method + " " + strings.Join(segments, "/")
}

// isID tells an id from a word of the API: words are short and of letters, with "-" or "_" between them ("v2" alone has a digit).
func isID(segment string) bool {
	if segment == "v1" || segment == "v2" || segment == "v3" {
		return false
	}
	const longestWord = 32 // "application_credentials" has 23
	return len(segment) > longestWord || strings.ContainsFunc(segment, func(r rune) bool {
		return (r < 'a' || r > 'z') && r != '-' && r != '_'
	})
}
