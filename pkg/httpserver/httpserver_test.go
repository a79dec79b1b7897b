package httpserver_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mooring/pkg/httpserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// drained serves one request with a handler, ends the server while the request is under way, and returns what the client got and
// the log. The order is kept by begun: the handler closes it.
func drained(t *testing.T, o httpserver.Options, begun chan struct{}, handler http.HandlerFunc) (body, log string, err error) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer // written by the server alone, and read when it has ended
	o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- httpserver.Serve(ctx, listener, handler, o) }()
	type result struct {
		body string
		err  error
	}
	answered := make(chan result, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/", http.NoBody)
		if err != nil {
			answered <- result{"", err}
			return
		}
		response, err := client.Do(r)
		if err != nil {
			answered <- result{"", err}
			return
		}
		raw, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		answered <- result{string(raw), err}
	}()
	<-begun
	cancel()
	if err := <-served; err != nil {
		t.Errorf("an ordered end gave %v", err)
	}
	end := <-answered
	return end.body, logged.String(), end.err
}

// Serve does not return before a request that is under way has its answer.
func TestAnEndWaitsForRequests(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	body, _, err := drained(t, httpserver.Options{Drain: 10 * time.Second}, begun, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		select {
		case <-time.NewTimer(100 * time.Millisecond).C:
			_, _ = io.WriteString(w, "whole")
		case <-r.Context().Done():
			_, _ = io.WriteString(w, "cut short")
		}
	})
	if err != nil || body != "whole" {
		t.Errorf("%q, %v", body, err)
	}
}

// A handler that would take too long is told in time to answer.
func TestContextsEndBeforeTheDrain(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	body, _, err := drained(t, httpserver.Options{Drain: 400 * time.Millisecond}, begun, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		_, _ = io.WriteString(w, "so far")
	})
	if err != nil || body != "so far" {
		t.Errorf("%q, %v", body, err)
	}
}

// One that does not listen is cut off, and that is no failure of the process.
func TestTheDrainIsBounded(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(release) })
	body, log, err := drained(t, httpserver.Options{Drain: 100 * time.Millisecond}, begun, func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-release
	})
	if err == nil {
		t.Errorf("the request ended with %q", body)
	}
	if !strings.Contains(log, "cut off") {
		t.Errorf("the log does not say it:\n%s", log)
	}
}

func TestAClosedListenerIsAnError(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := httpserver.Serve(t.Context(), listener, http.NotFoundHandler(), httpserver.Options{Logger: slog.New(slog.DiscardHandler), Drain: time.Second}); err == nil {
		t.Error("no error")
	}
}
