package adminhttp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/adminhttp"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "mooring_test_value", Help: "A test."}, func() float64 { return 7 }))
	var reason atomic.Pointer[error]
	notYet := errors.New("no login yet")
	reason.Store(&notYet)
	ready := func() error {
		if p := reason.Load(); p != nil {
			return *p
		}
		return nil
	}
	handler := adminhttp.Handler(adminhttp.Options{Gatherer: registry, Ready: ready})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		return w.Code, w.Body.String()
	}
	if code, _ := get("/livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no login yet") {
		t.Errorf("readyz before: %d %q", code, body)
	}
	reason.Store(nil)
	if code, _ := get("/readyz"); code != http.StatusOK {
		t.Errorf("readyz after: %d", code)
	}
	if code, body := get("/metrics"); code != http.StatusOK || !strings.Contains(body, "mooring_test_value 7") {
		t.Errorf("metrics: %d %q", code, body)
	}
	if code, _ := get("/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("an unknown path: %d", code)
	}
}
