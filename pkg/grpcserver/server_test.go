package grpcserver_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"mooring/pkg/grpcserver"
	"mooring/pkg/logging/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checker is the simplest service there is: what it does hangs on the request.
type checker struct {
	health.UnimplementedHealthServer

	entered chan struct{}
	release chan struct{}
}

func (c *checker) Check(ctx context.Context, r *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	switch r.GetService() {
	case "panic":
		panic("boom")
	case "slow":
		c.entered <- struct{}{}
		select {
		case <-c.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "unavailable":
		return nil, status.Error(codes.Unavailable, "not yet")
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

type fixture struct {
	client  health.HealthClient
	checker *checker
	log     *logtest.Buffer
	stop    func() error
	metrics *prometheus.Registry
}

func start(t *testing.T, drain time.Duration) *fixture {
	t.Helper()
	f := &fixture{checker: &checker{entered: make(chan struct{}), release: make(chan struct{})}, log: &logtest.Buffer{}, metrics: prometheus.NewRegistry()}
	endpoint := "unix://" + filepath.Join(t.TempDir(), "s.sock")
	listener, err := grpcserver.Listen(t.Context(), endpoint, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	server := grpcserver.New(grpcserver.Options{
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: f.metrics, Drain: drain,
		Describe: func(r any) string { return fmt.Sprint(r) },
		Annotate: func(error) []slog.Attr { return []slog.Attr{slog.String("openstack_request_id", "req-7")} },
	})
	health.RegisterHealthServer(server.GRPC(), f.checker)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	f.client = health.NewHealthClient(conn)
	f.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = f.stop(); _ = conn.Close() })
	return f
}

func (f *fixture) check(t *testing.T, what string) error {
	t.Helper()
	_, err := f.client.Check(t.Context(), &health.HealthCheckRequest{Service: what})
	return err
}

func TestAPanicIsOneFailedCall(t *testing.T) {
	t.Parallel()
	f := start(t, time.Second)
	if err := f.check(t, "panic"); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v, want Internal without the panic's text", err)
	}
	if err := f.check(t, ""); err != nil {
		t.Errorf("the server did not survive: %v", err)
	}
	if log := f.log.String(); !strings.Contains(log, "boom") || !strings.Contains(log, "server_test.go") {
		t.Errorf("the log does not tell where: %s", log)
	}
}

func TestLogAndMetrics(t *testing.T) {
	t.Parallel()
	f := start(t, time.Second)
	if err := f.check(t, "unavailable"); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	log := f.log.String()
	for _, want := range []string{"level=WARN", "code=Unavailable", "method=/grpc.health.v1.Health/Check", "openstack_request_id=req-7", "request=", "not yet"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q: %s", want, log)
		}
	}
	if n, err := testutil.GatherAndCount(f.metrics, "grpc_server_handled_total"); err != nil || n == 0 {
		t.Errorf("no standard metrics: %d, %v", n, err)
	}
}

func TestDrainLetsCallsFinish(t *testing.T) {
	t.Parallel()
	f := start(t, 10*time.Second)
	result := make(chan error, 1)
	go func() { result <- f.check(t, "slow") }()
	<-f.checker.entered
	stopped := make(chan error, 1)
	go func() { stopped <- f.stop() }()
	close(f.checker.release)
	if err := <-result; err != nil {
		t.Errorf("a call under way failed: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("an ordered end gave %v", err)
	}
}

func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	f := start(t, 50*time.Millisecond)
	result := make(chan error, 1)
	go func() { result <- f.check(t, "slow") }()
	<-f.checker.entered
	if err := f.stop(); err != nil {
		t.Errorf("the end gave %v", err)
	}
	if err := <-result; status.Code(err) != codes.Unavailable && status.Code(err) != codes.Canceled {
		t.Errorf("the call that was cut off got %v", err)
	}
}

func TestListenReplacesASocketWithoutAGap(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.sock")
	endpoint := "unix://" + path
	first, err := grpcserver.Listen(t.Context(), endpoint, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // somebody looks at the path all the time
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the path was empty: %v", err)
				return
			}
		}
	})
	for range 50 {
		next, err := grpcserver.Listen(t.Context(), endpoint, 0o660)
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatalf("the new socket does not answer: %v", err)
		}
		_ = conn.Close()
		first = next
	}
	close(stop)
	watch.Wait()
	_ = first.Close()
}

// Whoever comes last has the path, however many start at once.
func TestListenersThatStartAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "s.sock")
	for range 20 {
		var wg sync.WaitGroup
		listeners := make([]net.Listener, 8)
		for i := range listeners {
			wg.Go(func() {
				var err error
				if listeners[i], err = grpcserver.Listen(t.Context(), "unix://"+path, 0o600); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatalf("nobody answers: %v", err)
		}
		_ = conn.Close()
		for _, l := range listeners {
			if l != nil {
				_ = l.Close()
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("something was left: %v, %v", left, err)
	}
}

func TestListenMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	for endpoint, want := range map[string]string{
		"tcp://127.0.0.1:80":                          "has to be a unix socket",
		"unix://relative/path":                        "absolute path",
		"unix:///run/":                                "absolute path",
		"unix://" + dir + "/none/s.sock":              "does its directory exist",
		"unix://" + file:                              "is no socket: it is not replaced",
		"unix:///" + strings.Repeat("x", 108) + ".so": "too long for a unix socket",
	} {
		if l, err := grpcserver.Listen(t.Context(), endpoint, 0o600); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): %v, %v; want an error that says %q", endpoint, l, err, want)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "data" {
		t.Errorf("the file was touched: %q, %v", data, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("something was left: %v, %v", left, err)
	}
}
