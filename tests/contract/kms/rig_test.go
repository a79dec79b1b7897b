// Package kms_test has the contract of the KMS plugin: what kube-apiserver's own code, an operator and an attacker get from the real
// program, as a process, on a simulated cloud that fails as they ask.
package kms_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mooring/pkg/barbican"
	"mooring/tests/peer/apiserver"
	"mooring/tests/peer/kmsplugin"
	"mooring/tests/peer/process"
)

// poll is the shortest poll interval that the program takes, delay the shortest activation delay for it.
const (
	poll  = time.Second
	delay = 2 * poll
)

// rig is a control-plane node in front of a cloud.
type rig struct {
	*kmsplugin.Cloud

	program string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c, err := kmsplugin.NewCloud(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &rig{c, filepath.Join(process.Programs(t), "mooring")}
}

func (r *rig) key(t *testing.T, generation uint64) barbican.KeyRef {
	t.Helper()
	ref, err := r.AddKey(t.Context(), generation)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// plugin starts the plugin. It has to end well, at the latest with the test.
func (r *rig) plugin(t *testing.T, flags ...string) *kmsplugin.Plugin {
	t.Helper()
	flags = append([]string{"--poll-interval=" + poll.String(), "--activation-delay=" + delay.String(), "--admin-listen=127.0.0.1:0"}, flags...)
	p, err := r.Start(t.Context(), r.program, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, p) })
	return p
}

func stop(t *testing.T, p *kmsplugin.Plugin) {
	t.Helper()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func active(t *testing.T, p *kmsplugin.Plugin, ref barbican.KeyRef) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Active(ctx, ref); err != nil {
		t.Fatal(err)
	}
}

// apiserver starts an API server, whose cache is empty, and waits until it takes the plugin for healthy.
func (r *rig) apiserver(t *testing.T, name string) *apiserver.Server {
	t.Helper()
	s, err := apiserver.Start(t.Context(), t.TempDir(), name, r.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// admin asks the plugin's admin endpoint.
func admin(t *testing.T, p *kmsplugin.Plugin, path string) (int, string) {
	t.Helper()
	line, err := p.Said(t.Context(), "admin endpoint listens")
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(line, "address=")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+strings.TrimSpace(address)+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// metric is the sum of a metric's series that have all of these labels, as name="value".
func metric(t *testing.T, p *kmsplugin.Plugin, name string, labels ...string) (sum float64) {
	t.Helper()
	_, text := admin(t, p, "/metrics")
	found := false
lines:
	for line := range strings.Lines(text) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if head, _, _ := strings.Cut(series, "{"); head != name {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(series, label) {
				continue lines
			}
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		t.Errorf("there is no metric %s%v", name, labels)
	}
	return sum
}

const object = `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"},"data":{"password":"aHVudGVyMg=="}}`

func place(i int) string { return fmt.Sprintf("/registry/secrets/default/s%d", i) }

func write(t *testing.T, s *apiserver.Server, i int, ref barbican.KeyRef) []byte {
	t.Helper()
	stored, err := s.Write(t.Context(), place(i), []byte(object))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(stored); !strings.HasPrefix(text, apiserver.Prefix) || !strings.Contains(text, ref.KeyID()) || strings.Contains(text, "aHVudGVyMg") {
		t.Fatalf("stored, not by %s: %q", ref.KeyID(), stored)
	}
	return stored
}

func read(t *testing.T, s *apiserver.Server, i int, stored []byte, wantStale bool) {
	t.Helper()
	got, stale, err := s.Read(t.Context(), place(i), stored)
	if err != nil || string(got) != object || stale != wantStale {
		t.Fatalf("read %q, stale %v (want %v), %v", got, stale, wantStale, err)
	}
}
