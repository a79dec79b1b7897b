package externaldns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Serve serves a handler on a listener until ctx ends. Then requests under way get drain to finish; in its last second their contexts end,
// so that an apply stops, and still tells ExternalDNS how far it came. Serve closes the listener.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, logger *slog.Logger, drain time.Duration) error {
	requests, stopRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRequests()
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context { return requests },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("webhook server: %w", err)
	case <-ctx.Done():
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	last := time.AfterFunc(max(drain-time.Second, drain/2), stopRequests)
	defer last.Stop()
	err := server.Shutdown(bound)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(fmt.Errorf("webhook server: requests were still under way after %v", drain), server.Close())
	}
	return err
}
