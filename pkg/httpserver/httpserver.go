// Package httpserver serves HTTP on a listener: with bounds on what a client can hold up, and a bounded drain at the end. It is to
// HTTP what package grpcserver is to gRPC.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Options say how a server behaves.
type Options struct {
	// Logger gets the server's own errors.
	Logger *slog.Logger
	// Drain is how long requests under way may take after the end; then they are cut off. In the last second of it (the second half, if
	// it has less than two) their contexts end, so that a handler stops and still answers how far it came.
	Drain time.Duration
	// Answer bounds an answer, from the end of its request's header on; zero means that the handler knows its own bounds.
	Answer time.Duration
}

// Serve answers on a listener, and closes it, until ctx ends and requests under way have finished or were cut off. Contexts of requests
// do not end with ctx, see Options.Drain. The error is that of the listener; an end by ctx is none.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, o Options) error {
	requests, stopRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRequests()
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, WriteTimeout: o.Answer, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context { return requests },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("HTTP on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Drain)
	defer cancel()
	last := time.AfterFunc(max(o.Drain-time.Second, o.Drain/2), stopRequests)
	defer last.Stop()
	err := server.Shutdown(bound)
	if errors.Is(err, context.DeadlineExceeded) {
		o.Logger.WarnContext(ctx, "requests were cut off at the end of the drain time", slog.String("address", listener.Addr().String()), slog.Duration("drain", o.Drain))
		return server.Close()
	}
	return err
}
