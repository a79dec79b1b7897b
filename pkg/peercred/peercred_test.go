package peercred

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call makes one call over a unix socket on which a server with the credentials serves, and tells who the server saw.
func call(t *testing.T, allowed []uint32) (seen Peer, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(New(slog.New(slog.DiscardHandler), allowed)), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if p, ok := peer.FromContext(ctx); ok {
				seen, _ = p.AuthInfo.(Peer)
			}
			return next(ctx, req)
		}))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if closing := conn.Close(); closing != nil {
		t.Error(closing)
	}
	server.Stop()
	if serving := <-done; serving != nil {
		t.Error(serving)
	}
	return seen, err
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	self := uint32(os.Geteuid())
	seen, err := call(t, []uint32{self + 1, self})
	if err != nil || seen.UID != self || int(seen.PID) != os.Getpid() || seen.AuthType() != "peercred" {
		t.Errorf("%+v, %v", seen, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, allowed := range [][]uint32{nil, {uint32(os.Geteuid()) + 1}} {
		if seen, err := call(t, allowed); status.Code(err) != codes.Unavailable || seen.PID != 0 {
			t.Errorf("%v: %+v, %v", allowed, seen, err)
		}
	}
}

func TestOnlyForUnixSockets(t *testing.T) {
	t.Parallel()
	creds := New(slog.New(slog.DiscardHandler), []uint32{uint32(os.Geteuid())}).Clone()
	a, b := net.Pipe()
	if _, _, err := creds.ServerHandshake(a); err == nil {
		t.Error("a pipe was let in")
	}
	if _, _, err := creds.ClientHandshake(t.Context(), "", b); err == nil {
		t.Error("they are a server's")
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := tcp.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, info, err := creds.ServerHandshake(in); err == nil {
		t.Errorf("a TCP connection was let in: %+v", info)
	}
	if err := errors.Join(in.Close(), out.Close(), tcp.Close()); err != nil {
		t.Error(err)
	}
}
