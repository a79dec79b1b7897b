package grpcserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// Options say how a server behaves.
type Options struct {
	Logger *slog.Logger
	// Registerer gets the standard gRPC server metrics (grpc_server_handled_total, …); nil means none.
	Registerer prometheus.Registerer
	// Drain is how long requests under way may take after the end; then they are cut off.
	Drain time.Duration
	// Describe returns what of a request may stand in the debug log; nil logs no request.
	Describe func(request any) string
	// Credentials check who connects; nil lets in whoever can open the socket.
	Credentials credentials.TransportCredentials
	// Annotate lets the edge add attributes to the log line of a failed call, such as OpenStack's request id; nil adds none.
	Annotate func(err error) []slog.Attr
}

// Server is a gRPC server together with its interceptors.
type Server struct {
	options Options
	grpc    *grpc.Server
}

// New makes a server; register the services on GRPC() before Serve.
func New(o Options) *Server {
	s := &Server{options: o}
	interceptors := []grpc.UnaryServerInterceptor{s.log, s.recover}
	if o.Registerer != nil {
		metrics := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
		o.Registerer.MustRegister(metrics)
		interceptors = append([]grpc.UnaryServerInterceptor{metrics.UnaryServerInterceptor()}, interceptors...)
	}
	options := []grpc.ServerOption{grpc.ChainUnaryInterceptor(interceptors...), grpc.MaxRecvMsgSize(4 << 20)}
	if o.Credentials != nil {
		options = append(options, grpc.Creds(o.Credentials))
	}
	s.grpc = grpc.NewServer(options...)
	return s
}

// GRPC is where services are registered.
func (s *Server) GRPC() grpc.ServiceRegistrar { return s.grpc }

// Serve answers on the listener until ctx ends, then lets requests under way finish within the drain bound.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		timer := time.AfterFunc(s.options.Drain, s.grpc.Stop)
		defer timer.Stop()
		s.grpc.GracefulStop()
	})
	err := s.grpc.Serve(listener)
	if !stop() {
		<-stopped
	}
	if err != nil {
		return fmt.Errorf("gRPC on %s: %w", listener.Addr(), err)
	}
	return nil
}

// recover turns a panic into an Internal error: one bad request must not take the node's other volumes, or an API server's
// keys, with it. The stack goes to the log, the caller learns nothing of it.
func (s *Server) recover(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.options.Logger.ErrorContext(ctx, "a call panicked", slog.String("method", info.FullMethod), slog.String("panic", fmt.Sprint(r)),
				slog.String("stack", string(debug.Stack())))
			resp, err = nil, status.Error(codes.Internal, "a defect in mooring: the call panicked, its log says where")
		}
	}()
	return next(ctx, req)
}

// log writes one line per call: failures of ours as errors, failures of the caller's and successes for debugging.
func (s *Server) log(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	begin := time.Now()
	resp, err := next(ctx, req)
	level := slog.LevelDebug
	if err != nil {
		level = levelOf(status.Code(err))
	}
	if !s.options.Logger.Enabled(ctx, level) {
		return resp, err
	}
	attrs := []slog.Attr{
		slog.String("method", info.FullMethod), slog.String("code", status.Code(err).String()), slog.Duration("took", time.Since(begin)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", status.Convert(err).Message()))
		if s.options.Annotate != nil {
			attrs = append(attrs, s.options.Annotate(err)...)
		}
	}
	if s.options.Describe != nil && s.options.Logger.Enabled(ctx, slog.LevelDebug) {
		attrs = append(attrs, slog.String("request", s.options.Describe(req)))
	}
	s.options.Logger.LogAttrs(ctx, level, "call", attrs...)
	return resp, err
}

// levelOf says how loud a failed call is. What callers do wrong, or will simply try again, is no alarm.
func levelOf(c codes.Code) slog.Level {
	switch c {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Unauthenticated, codes.PermissionDenied:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}
