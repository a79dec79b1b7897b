// Package footprint_test holds what the built program costs: its size, its memory, the time until it listens.
package footprint_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mooring/tests/peer/process"
)

const (
	maxBinary = 45_000_000      // bytes, stripped
	maxIdle   = 40 << 20        // bytes resident
	maxStart  = time.Second / 2 // from the start of the process until the socket takes connections
)

func TestSizeOfTheBinary(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(filepath.Join(process.Programs(t), "mooring"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("mooring has %.1f MB", float64(info.Size())/1e6)
	if info.Size() > maxBinary {
		t.Errorf("%d bytes, at most %d", info.Size(), maxBinary)
	}
}

// Every mode listens at once and stays small while Keystone is unreachable, says so at /readyz, and ends with 0 on SIGTERM.
// The time is the best of three starts: what the machine does besides is not ours.
func TestIdleModes(t *testing.T) { //nolint:paralleltest // it measures: nothing else of this package should run meanwhile
	program := filepath.Join(process.Programs(t), "mooring")
	for _, mode := range []struct { //nolint:paralleltest // see above
		name, network string
		args          []string
		says          string // after that it is idle
	}{
		{"manila-controller", "unix", []string{"--cluster-id=c"}, "connection refused"},
		{"manila-node", "unix", []string{"--node-id=n"}, "starting"},
		{"barbican-kms", "unix", []string{"--cluster-id=c", "--key-id=0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"}, "connection refused"},
		{"designate-webhook", "tcp", nil, "connection refused"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dir := t.TempDir()
			clouds := filepath.Join(dir, "clouds.yaml")
			if err := os.WriteFile(clouds, fmt.Appendf(nil, "clouds: {c: {auth: {auth_url: 'http://%s/v3', token: t}}}", unused(t)), 0o600); err != nil {
				t.Fatal(err)
			}
			address := unused(t)
			args := append([]string{mode.name, "--clouds-file=" + clouds}, mode.args...)
			if mode.network == "unix" {
				address = filepath.Join(dir, "s.sock")
				args = append(args, "--endpoint=unix://"+address)
			} else {
				args = append(args, "--listen="+address)
			}
			best := time.Hour
			var rss int64
			for range 3 {
				_ = os.Remove(address)
				p, err := process.Start(ctx, mode.name, program, nil, args...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Kill)
				took, err := p.Listening(ctx, mode.network, address)
				if err != nil {
					t.Fatal(err)
				}
				best = min(best, took)
				if _, err := p.Said(ctx, mode.says); err != nil {
					t.Fatal(err)
				}
				if rss, err = p.RSS(); err != nil {
					t.Fatal(err)
				}
				if code, err := p.Stop(15 * time.Second); err != nil || code != 0 {
					t.Fatalf("SIGTERM: exit code %d, %v: %s", code, err, p.Output())
				}
				if strings.Contains(p.Output(), "goroutine ") {
					t.Errorf("a stack trace: %s", p.Output())
				}
			}
			t.Logf("listens after %v, holds %.1f MiB", best, float64(rss)/(1<<20))
			if best > maxStart {
				t.Errorf("listens after %v, at most %v", best, maxStart)
			}
			if rss > maxIdle {
				t.Errorf("holds %d bytes, at most %d", rss, maxIdle)
			}
		})
	}
}

func unused(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // it is only for the address
	return listener.Addr().String()
}
