package adminhttp_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
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
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- adminhttp.Serve(ctx, listener, adminhttp.Options{Gatherer: registry, Ready: ready, Logger: slog.New(slog.DiscardHandler)})
	}()
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // a test's client
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
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
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("an ordered end gave %v", err)
	}
}
