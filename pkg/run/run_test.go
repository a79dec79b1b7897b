package run_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/run"
)

func waits(ctx context.Context) error { <-ctx.Done(); return nil }

func TestAllEndsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		slow := func(ctx context.Context) error { <-ctx.Done(); time.Sleep(2 * time.Second); return nil }
		if err := run.All(ctx, slog.New(slog.DiscardHandler), 5*time.Second, run.Part{Name: "a", Run: waits}, run.Part{Name: "b", Run: slow}); err != nil {
			t.Fatalf("an ordered end gave %v", err)
		}
	})
}

func TestOneThatFailsEndsAll(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	fails := func(context.Context) error { return boom }
	err := run.All(t.Context(), slog.New(slog.DiscardHandler), time.Second, run.Part{Name: "a", Run: waits}, run.Part{Name: "b", Run: fails})
	if !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "b: ") {
		t.Fatalf("got %v, want the error of b", err)
	}
	returns := func(context.Context) error { return nil }
	if err := run.All(t.Context(), slog.New(slog.DiscardHandler), time.Second, run.Part{Name: "c", Run: returns}); err == nil {
		t.Fatal("a part that ended by itself was not noticed")
	}
}

func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		release := make(chan struct{})
		stuck := func(context.Context) error { <-release; return nil }
		begin := time.Now()
		err := run.All(ctx, slog.New(slog.DiscardHandler), 3*time.Second, run.Part{Name: "stuck", Run: stuck})
		if !errors.Is(err, run.ErrDrain) || time.Since(begin) != 3*time.Second {
			t.Fatalf("got %v after %v, want ErrDrain after 3 s", err, time.Since(begin))
		}
		close(release)
	})
}
