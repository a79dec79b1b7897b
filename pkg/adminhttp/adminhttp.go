// Package adminhttp tells Kubernetes and Prometheus over HTTP how a process is: /livez, /readyz, /metrics.
package adminhttp

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options say where what is told comes from.
type Options struct {
	// Gatherer has the process's metrics.
	Gatherer prometheus.Gatherer
	// Ready says why the process can't do its work yet; nil means that it can. It must not block.
	Ready func() error
}

// Handler answers /livez (200 as long as the process answers at all), /readyz (200, or 503 with the reason) and /metrics.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{}))
	return mux
}
