package kms_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"

	"mooring/tests/contract/target"
	"mooring/tests/peer/apiserver"
)

// TestRotation goes through the life of a key as kube-apiserver sees it: one that has started long ago, one that starts now, and
// a plugin that is started again. An API server asks for Status once a minute, and with a health check after 20 seconds: that is
// what this waits for.
func TestRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.key(t, 1)
	p := r.plugin(t)
	active(t, p, first)
	server := r.apiserver(t, "rotation")
	older := write(t, server, 1, first)
	read(t, server, 1, older, false)

	second := r.key(t, 2)
	active(t, p, second)
	read(t, r.apiserver(t, "rotation"), 1, older, true) // one that starts now, with an empty cache
	target.Eventually(t, "the old API server sees the new key", func() bool {
		if err := server.Healthy(); err != nil {
			t.Fatal(err)
		}
		_, stale, err := server.Read(t.Context(), place(1), older)
		if err != nil {
			t.Fatal(err)
		}
		return stale
	})
	newer := write(t, server, 1, second)
	read(t, server, 1, newer, false)

	stop(t, p)
	p = r.plugin(t)
	active(t, p, second)
	again := r.apiserver(t, "rotation")
	read(t, again, 1, older, true)
	read(t, again, 1, newer, false)
	write(t, again, 2, second)
	target.Eventually(t, "the old API server finds the new plugin", func() bool { return server.Healthy() == nil })
}

// TestManyObjects writes 100,000 objects with 150 seeds, one from each start of an API server, and counts what reading them all asks
// the plugin and Barbican for.
func TestManyObjects(t *testing.T) {
	t.Parallel()
	const (
		objects = 100_000
		seeds   = 150
		readers = 16
	)
	r := newRig(t)
	ref := r.key(t, 1)
	p := r.plugin(t, "--poll-interval=1h", "--activation-delay=2h")
	active(t, p, ref)
	stored := make([][]byte, objects)
	for seed := range seeds {
		server := r.apiserver(t, "many")
		for i := seed; i < objects; i += seeds {
			stored[i] = write(t, server, i, ref)
		}
	}
	r.Calls.Reset()
	seen := 0.0 // nothing was read yet
	decrypts := func(read func()) float64 {
		before := seen
		read()
		seen = metric(t, p, "grpc_server_handled_total", `grpc_method="Decrypt"`, `grpc_code="OK"`)
		return seen - before
	}
	server := r.apiserver(t, "many")
	if n := decrypts(func() {
		for i := range stored {
			read(t, server, i, stored[i], false)
		}
	}); n != seeds {
		t.Errorf("%v calls of Decrypt for %d objects of %d seeds", n, objects, seeds)
	}
	server = r.apiserver(t, "many")
	n := decrypts(func() {
		var group errgroup.Group
		for range readers {
			group.Go(func() error { return readSome(t, server, stored, rand.Perm(objects)[:5*seeds]) })
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d readers: %v calls of Decrypt", readers, n)
	if n > 3*seeds {
		t.Errorf("%v calls of Decrypt for %d seeds", n, seeds)
	}
	if calls := r.Calls.Count(); calls != 0 {
		t.Errorf("%d calls to OpenStack", calls)
	}
}

func readSome(t *testing.T, server *apiserver.Server, stored [][]byte, which []int) error {
	t.Helper()
	for _, i := range which {
		if got, _, err := server.Read(t.Context(), place(i), stored[i]); err != nil || string(got) != object {
			return fmt.Errorf("object %d: read %q, %w", i, got, err)
		}
	}
	return nil
}
