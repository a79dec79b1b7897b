package barbican_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/acls"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
)

// TestRetireByOtherRules: whoever judges the keys by other rules than the plugins must not take away the one they write with.
func TestRetireByOtherRules(t *testing.T) {
	t.Parallel()
	sim, session := cloud(t)
	m := barbican.NewManager(barbican.NewClient(session), nil)
	ring, err := m.Init(t.Context(), initSpec())
	if err != nil {
		t.Fatal(err)
	}
	spec := barbican.RetireSpec{
		Container: ring.Container, Generation: 1, Policy: &barbican.Policy{Creators: []string{"somebody else"}}, Delete: true,
		Unused: func(context.Context, string, time.Time) error { return nil }, // nothing was written with it yet
	}
	if got, err := m.Retire(t.Context(), spec); !errors.Is(err, barbican.ErrInUse) || !strings.Contains(err.Error(), "--allowed-creators") {
		t.Errorf("%+v, %v", got, err)
	}
	foreign := store(t, mate(t, sim), "0123456789abcdef0123456789abcdef")
	add(t, session, ring.Container, entry{"generation-9", foreign})
	spec = barbican.RetireSpec{Container: ring.Container, Generation: 9, Policy: noDelay(), Unused: spec.Unused}
	if got, err := m.Retire(t.Context(), spec); !errors.Is(err, barbican.ErrInUse) { // the next rotation would give its number again
		t.Errorf("the highest: %+v, %v", got, err)
	}
	spec.Unused = nil
	if got, err := m.Retire(t.Context(), spec); err != nil || !got.Removed {
		t.Errorf("by force: %+v, %v", got, err)
	}
}

// TestRetireDisputed: of two keys that have one number, plugins that saw the one before the other came write with it.
func TestRetireDisputed(t *testing.T) {
	t.Parallel()
	_, session := cloud(t)
	m := barbican.NewManager(barbican.NewClient(session), nil)
	ring, err := m.Init(t.Context(), initSpec())
	if err != nil {
		t.Fatal(err)
	}
	other := store(t, session, "0123456789abcdef0123456789abcdef")
	next := store(t, session, "123456789abcdef0123456789abcdef0")
	add(t, session, ring.Container, entry{"generation-1", other})
	unused := func(context.Context, string, time.Time) error { return nil } // nothing was written with it yet
	for _, above := range []bool{false, true} {
		if above {
			add(t, session, ring.Container, entry{"generation-2", next})
		}
		for _, secret := range []string{other, ring.Key.Secret} {
			spec := barbican.RetireSpec{Container: ring.Container, Generation: 1, Secret: secret, Policy: noDelay(), Unused: unused, Delete: true}
			if got, err := m.Retire(t.Context(), spec); !errors.Is(err, barbican.ErrInUse) || !strings.Contains(err.Error(), "--force") || !strings.Contains(err.Error(), secret) {
				t.Errorf("%+v, %v", got, err)
			}
		}
	}
	spec := barbican.RetireSpec{Container: ring.Container, Generation: 1, Secret: other, Policy: noDelay(), Delete: true}
	if got, err := m.Retire(t.Context(), spec); err != nil || !got.Removed || !got.Deleted {
		t.Errorf("by force: %+v, %v", got, err)
	}
	spec = barbican.RetireSpec{Container: ring.Container, Generation: 1, Policy: noDelay(), Unused: unused}
	if got, err := m.Retire(t.Context(), spec); err != nil || !got.Removed { // the dispute is over
		t.Errorf("the one that is left: %+v, %v", got, err)
	}
}

// TestUnreadableEntriesStarveNobody: hundreds of entries that can't be read must neither keep the others from being read nor a node
// that knows no mark from writing.
func TestUnreadableEntriesStarveNobody(t *testing.T) {
	t.Parallel()
	sim, session := cloud(t)
	foreign := mate(t, sim)
	shut := store(t, foreign, "0123456789abcdef0123456789abcdef")
	theirs, err := foreign.Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	project, nobody := false, []string{}
	if err := acls.SetSecretACL(t.Context(), theirs, shut, acls.SetOpts{{Type: "read", Users: &nobody, ProjectAccess: &project}}).Err; err != nil {
		t.Fatal(err)
	}
	good := store(t, session, "0123456789abcdef0123456789abcdef")
	entries := []entry{{"generation-1", good}}
	for i := range 230 {
		entries = append(entries, entry{fmt.Sprintf("generation-%d", i+10), shut})
	}
	id := keyring(t, session, containers.GenericContainer, entries...)
	client := barbican.NewClient(session)
	ring := barbican.NewRing(barbican.Policy{Wait: func(barbican.Failure, int) time.Duration { return 0 }, Poll: time.Minute, Lists: true}, barbican.KeyRef{}, time.Now())
	ref := barbican.KeyRef{Secret: good, Generation: 1}
	for range 40 {
		list, err := client.Keyring(t.Context(), id, ring.Known())
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		ring = ring.Listed(list, now).Held(ref).Advance(now)
		if active, ok := ring.Active(); ok && active == ref {
			return
		}
	}
	t.Errorf("generation 1 never became active: %v", ring.Lack(time.Now()))
}

// TestKeyringOfAnotherCluster: what is written with a wrong name of the cluster no other node can read.
func TestKeyringOfAnotherCluster(t *testing.T) {
	t.Parallel()
	_, session := cloud(t)
	client := barbican.NewClient(session)
	spec := initSpec()
	made, err := barbican.NewManager(client, nil).Init(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for cluster, want := range map[string]bool{spec.ClusterID: true, spec.ClusterID + "-typo": false} {
		done := make(chan struct{})
		ring, err := barbican.New(client, barbican.Options{
			ClusterID: cluster, Policy: barbican.Policy{Poll: time.Minute},
			List: func(ctx context.Context, known map[barbican.KeyRef]barbican.ListedKey) (*barbican.Listing, error) {
				return client.Keyring(ctx, made.Container, known)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		go func() { defer close(done); _ = ring.Run(ctx) }()
		var status error
		for ctx.Err() == nil {
			_, status = ring.Status()
			if status == nil || errors.Is(status, barbican.ErrKeyring) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-done
		if want != (status == nil) || !want && !strings.Contains(status.Error(), "--cluster-id") {
			t.Errorf("cluster %s: %v", cluster, status)
		}
		if err := ring.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTakenBackUnseen: a node that saw a key which a rival then took back and deleted, and heard nothing since, does not write with it.
func TestTakenBackUnseen(t *testing.T) {
	t.Parallel()
	const poll, delay = time.Minute, 10 * time.Minute
	start := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	first, second := barbican.KeyRef{Secret: "a", Generation: 1}, barbican.KeyRef{Secret: "b", Generation: 2}
	list := func(now time.Time) *barbican.Listing {
		return &barbican.Listing{Owner: "me", Now: now, Clock: barbican.BarbicanClock, Keys: []barbican.ListedKey{
			{Ref: second, Created: start, Creator: "me", Status: "ACTIVE"}, {Ref: first, Created: start.Add(-time.Hour), Creator: "me", Status: "ACTIVE"},
		}}
	}
	policy := barbican.Policy{Wait: func(barbican.Failure, int) time.Duration { return 0 }, Poll: poll, Lists: true, ActivationDelay: delay}
	for seen, want := range map[time.Duration]barbican.KeyRef{3 * time.Second: first, time.Minute: second, delay: second} {
		now := start.Add(seen)
		ring := barbican.NewRing(policy, barbican.KeyRef{}, now).Listed(list(now), now).Held(first).Held(second).Advance(now)
		now = start.Add(2 * delay)
		ring = ring.ListFailed(errors.New("away"), now).Advance(now)
		if got, _ := ring.Active(); got != want {
			t.Errorf("seen after %v: active %+v, want %+v", seen, got, want)
		}
		if got, _ := ring.Listed(list(now), now).Advance(now).Active(); got != second {
			t.Errorf("seen after %v and again: active %+v", seen, got)
		}
	}
}
