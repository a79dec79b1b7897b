package keylock_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"mooring/pkg/keylock"
)

func TestTryLockIsPerKey(t *testing.T) {
	t.Parallel()
	var locks keylock.Locks
	unlockA, ok := locks.TryLock("a")
	if !ok {
		t.Fatal("a free lock was not given")
	}
	if _, ok := locks.TryLock("a"); ok {
		t.Fatal("a held lock was given again")
	}
	unlockB, ok := locks.TryLock("b")
	if !ok {
		t.Fatal("the lock of another key was not given")
	}
	unlockB()
	unlockA()
	unlockA() // a second unlock must not free somebody else's lock
	unlock, ok := locks.TryLock("a")
	if !ok {
		t.Fatal("the lock was not free after unlock")
	}
	if _, ok := locks.TryLock("a"); ok {
		t.Fatal("the second unlock freed a lock that somebody else holds")
	}
	unlock()
}

func TestLockWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	var locks keylock.Locks
	unlock, err := locks.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := locks.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
}

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	var (
		locks keylock.Locks
		wg    sync.WaitGroup
		count int // unguarded on purpose: the race detector tells if the lock does not exclude
	)
	for range 50 {
		wg.Go(func() {
			unlock, err := locks.Lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			count++
		})
	}
	wg.Wait()
	if count != 50 {
		t.Fatalf("counted %d, want 50", count)
	}
}
