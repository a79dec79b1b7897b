package barbican_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

func initSpec() barbican.InitSpec {
	return barbican.InitSpec{ClusterID: "c", Name: "keyring of c", Readers: []string{"somebody"}}
}

// noDelay lets every generation become active at once.
func noDelay() *barbican.Policy { return &barbican.Policy{} }

// inventory is what a tenant has: containers, and keys with what they are named in.
func inventory(t *testing.T, s *openstack.Session) (containers, secrets int) {
	t.Helper()
	client, err := s.Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	count := func(kind string) int {
		var body struct{ Total int }
		resp, err := client.Get(t.Context(), client.Endpoint+kind, &body, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return body.Total
	}
	return count("containers"), count("secrets")
}

// steps are the calls to Barbican of which each may be the last one of a process.
const steps = 60

// TestManagerIsKilled ends init and rotate after each of their calls: a second run finishes what was begun, and nothing is made twice.
func TestManagerIsKilled(t *testing.T) {
	t.Parallel()
	for _, rotate := range []bool{false, true} {
		for n := range steps {
			sim, session := cloud(t)
			m := barbican.NewManager(barbican.NewClient(session), nil)
			if rotate {
				if _, err := m.Init(t.Context(), initSpec()); err != nil {
					t.Fatal(err)
				}
			}
			act := func(ctx context.Context) (*barbican.Made, error) {
				if !rotate {
					return m.Init(ctx, initSpec())
				}
				ring, err := m.Init(ctx, initSpec()) // it finds the container again
				if err != nil || ring.Key.Generation > 1 {
					return ring, err
				}
				return m.Rotate(ctx, barbican.RotateSpec{Container: ring.Container, Policy: noDelay()})
			}
			ctx, kill := context.WithCancel(t.Context())
			sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceBarbican, Skip: n, Count: 1, Then: kill})
			_, killed := act(ctx)
			kill()
			sim.Faults.Clear()
			made, err := act(t.Context())
			if err != nil {
				t.Fatalf("rotate %v, killed after call %d (%v): %v", rotate, n, killed, err)
			}
			want := 1
			if rotate {
				want = 2
			}
			if containers, secrets := inventory(t, session); containers != 1 || secrets != want || made.Key.Generation != uint64(want) {
				t.Errorf("rotate %v, killed after call %d: %d containers, %d keys, generation %d", rotate, n, containers, secrets, made.Key.Generation)
			}
			check(t, m, made, want)
			if killed == nil {
				break // it makes no more calls than that
			}
			if n == steps-1 {
				t.Error("there are more calls than were tried")
			}
		}
	}
}

// check wants a keyring with so many generations, all private, the highest one active.
func check(t *testing.T, m *barbican.Manager, made *barbican.Made, generations int) {
	t.Helper()
	p := noDelay()
	list, err := m.List(t.Context(), made.Container, p)
	if err != nil || len(list.Keys) != generations || len(list.Strange) != 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	for i, k := range list.Keys {
		if k.Ref.Generation != uint64(generations-i) || k.Private == nil || !*k.Private || k.Store == "" || k.State == barbican.KeyStrange {
			t.Errorf("%+v", k)
		}
	}
	if k := list.Keys[0]; k.NotBefore.IsZero() && k.State != barbican.KeyActive {
		t.Errorf("%+v", k)
	}
}

// TestRotatesAtOnce lets many rotate at the same time: one wins, the others say so and leave nothing behind.
func TestRotatesAtOnce(t *testing.T) {
	t.Parallel()
	const rounds, runs = 6, 4
	p := &barbican.Policy{ActivationDelay: time.Hour}
	for round := range rounds {
		_, session := cloud(t)
		m := barbican.NewManager(barbican.NewClient(session), nil)
		ring, err := m.Init(t.Context(), initSpec())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		errs, made := make([]error, runs), make([]*barbican.Made, runs)
		for i := range errs {
			wg.Go(func() {
				time.Sleep(time.Duration(i*round) * time.Millisecond) // some rounds overlap less
				made[i], errs[i] = barbican.NewManager(barbican.NewClient(session), nil).WithPatience(time.Second).Rotate(t.Context(), barbican.RotateSpec{Container: ring.Container, Policy: p})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !slices.ContainsFunc([]error{barbican.ErrRival, barbican.ErrPending, barbican.ErrAmbiguous, barbican.ErrEntry}, func(known error) bool { return errors.Is(err, known) }):
				t.Error(err)
			}
		}
		list, err := m.List(t.Context(), ring.Container, p)
		if err != nil || won > 1 || len(list.Keys) != 1+won {
			t.Fatalf("round %d: %d won: %+v, %v; %+v, %v", round, won, made, errs, list, err)
		}
		if won == 0 { // all gave way to each other: the next one gets through
			t.Logf("round %d: nobody won: %v", round, errs)
			if _, err := m.Rotate(t.Context(), barbican.RotateSpec{Container: ring.Container, Policy: p}); err != nil {
				t.Error(err)
			}
		}
		if _, secrets := inventory(t, session); secrets != 2 {
			t.Errorf("round %d: %d keys for two generations: %v", round, secrets, errs)
		}
	}
}

// TestAmbiguousFinds: of two things with the same name none is taken by guess.
func TestAmbiguousFinds(t *testing.T) {
	t.Parallel()
	_, session := cloud(t)
	m := barbican.NewManager(barbican.NewClient(session), nil)
	ids := []string{keyring(t, session, "generic"), keyring(t, session, "generic")}
	spec := initSpec()
	spec.Name = "keyring"
	_, err := m.Init(t.Context(), spec)
	if !errors.Is(err, barbican.ErrAmbiguous) || !strings.Contains(err.Error(), ids[0]) || !strings.Contains(err.Error(), ids[1]) {
		t.Errorf("two containers: %v", err)
	}
	// A name that is a pattern finds only itself, and one of another case finds nothing.
	for _, name := range []string{"keyrin_", "k%", "KEYRING"} {
		spec.Name = name
		if made, err := m.Init(t.Context(), spec); err != nil || made.Existed {
			t.Errorf("%s: %+v, %v", name, made, err)
		}
	}
}

// TestForeignKeysAreNotTaken: what another user of the project names like ours is neither found nor used.
func TestForeignKeysAreNotTaken(t *testing.T) {
	t.Parallel()
	sim, session := cloud(t)
	m := barbican.NewManager(barbican.NewClient(session), nil)
	ring, err := m.Init(t.Context(), initSpec())
	if err != nil {
		t.Fatal(err)
	}
	foreign := mate(t, sim)
	if _, err := barbican.NewManager(barbican.NewClient(foreign), nil).Init(t.Context(), initSpec()); err != nil {
		t.Fatal(err) // a container of the same name, by another creator, is another keyring
	}
	again, err := m.Init(t.Context(), initSpec())
	if err != nil || again.Container != ring.Container || !again.Existed {
		t.Errorf("%+v, %v", again, err)
	}
	// The mate can't even read the keyring, and what is private stays so.
	if _, err := barbican.NewManager(barbican.NewClient(foreign), nil).List(t.Context(), ring.Container, noDelay()); !errors.Is(err, openstack.ErrForbidden) {
		t.Errorf("the mate: %v", err)
	}
	// A key of the mate's in our keyring is strange, keeps nobody from rotating, and can be taken out.
	secret := store(t, foreign, "0123456789abcdef0123456789abcdef")
	add(t, session, ring.Container, entry{"generation-5", secret})
	made, err := m.Rotate(t.Context(), barbican.RotateSpec{Container: ring.Container, Policy: noDelay()})
	if err != nil || made.Key.Generation != 6 {
		t.Fatalf("%+v, %v", made, err)
	}
	list, err := m.List(t.Context(), ring.Container, noDelay())
	if err != nil || len(list.Keys) != 3 || list.Keys[1].State != barbican.KeyStrange || !strings.Contains(list.Keys[1].Why, "creator") {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := m.Retire(t.Context(), barbican.RetireSpec{Container: ring.Container, Generation: 5, Policy: noDelay()}); err != nil {
		t.Error(err)
	}
	wide := &barbican.Policy{Creators: []string{"somebody else"}}
	if _, err := m.Rotate(t.Context(), barbican.RotateSpec{Container: ring.Container, Policy: wide}); err == nil || !strings.Contains(err.Error(), "none of those whose keys the plugins use") {
		t.Errorf("a creator who is not allowed: %v", err)
	}
}

// mate is a second user of the tenant's project.
func mate(t *testing.T, sim *openstacksim.Cloud) *openstack.Session {
	t.Helper()
	sim.Keystone.AddUser("mate", "mate-password", "demo", "member", "creator")
	owner := sim.Keystone.User("demo", "demo")
	pool := openstack.NewPool(openstack.Options{})
	t.Cleanup(pool.Close)
	credential := openstack.Credential{AuthURL: sim.AuthURL(), Username: "mate", Password: "mate-password", UserDomainID: "default", ProjectID: owner.ProjectID}
	return pool.Session(&credential)
}

func TestAssess(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	key := func(n uint64, age time.Duration, change func(*barbican.ListedKey)) barbican.ListedKey {
		k := barbican.ListedKey{Ref: barbican.KeyRef{Secret: fmt.Sprintf("0d9c8b7a-6f5e-4d3c-8b2a-%012d", n), Generation: n}, Created: now.Add(-age), Creator: "me", Status: "ACTIVE"}
		if change != nil {
			change(&k)
		}
		return k
	}
	const delay = 10 * time.Minute
	for name, c := range map[string]struct {
		keys []barbican.ListedKey
		want string
	}{
		"first, at once":       {[]barbican.ListedKey{key(1, 0, nil)}, "1 active"},
		"pending":              {[]barbican.ListedKey{key(1, time.Hour, nil), key(2, time.Minute, nil)}, "2 pending, 1 active"},
		"the very instant":     {[]barbican.ListedKey{key(1, time.Hour, nil), key(2, delay, nil)}, "2 active, 1 old"},
		"held back":            {[]barbican.ListedKey{key(1, time.Hour, nil), key(2, time.Hour, func(k *barbican.ListedKey) { k.NotBefore = now.Add(time.Second) })}, "2 held back, 1 active"},
		"below the active one": {[]barbican.ListedKey{key(2, time.Minute, nil), key(3, time.Hour, nil)}, "3 active, 2 old"},
		"strange": {[]barbican.ListedKey{
			key(1, time.Hour, nil), key(2, time.Hour, func(k *barbican.ListedKey) { k.Creator = "you" }), key(3, time.Hour, func(k *barbican.ListedKey) { k.Status = "ERROR" }),
			key(4, time.Hour, func(k *barbican.ListedKey) { k.Expires = now }), key(5, time.Hour, func(k *barbican.ListedKey) { k.Created = time.Time{} }),
		}, "5 strange, 4 strange, 3 strange, 2 strange, 1 active"},
		"disputed":               {[]barbican.ListedKey{key(1, time.Hour, nil), key(2, time.Hour, nil), key(2, time.Hour, func(k *barbican.ListedKey) { k.Ref.Secret = "another" })}, "2 strange, 2 strange, 1 active"},
		"disputed by a stranger": {[]barbican.ListedKey{key(2, time.Hour, nil), key(2, time.Hour, func(k *barbican.ListedKey) { k.Ref.Secret, k.Creator = "another", "you" })}, "2 active, 2 strange"},
	} {
		var got []string
		list := &barbican.Listing{Keys: c.keys, Owner: "me"}
		for _, k := range barbican.Assess(list, now, &barbican.Policy{ActivationDelay: delay}) {
			got = append(got, fmt.Sprintf("%d %s", k.Ref.Generation, k.State))
			if (k.Why == "") == (k.State == barbican.KeyStrange) {
				t.Errorf("%s: %+v", name, k)
			}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
	unread := &barbican.Listing{Unread: map[barbican.KeyRef]error{{Secret: "x", Generation: 1}: errors.New("away")}}
	if got := barbican.Assess(unread, now, noDelay()); len(got) != 1 || got[0].State != barbican.KeyStrange || got[0].Why != "away" {
		t.Errorf("%+v", got)
	}
}

// TestEntryThatWas says what to do where Barbican fails with an entry that its database has already.
func TestEntryThatWas(t *testing.T) {
	t.Parallel()
	sim, session := cloud(t)
	m := barbican.NewManager(barbican.NewClient(session), nil)
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceBarbican, Method: http.MethodPost, Path: "/v1/containers/", Status: http.StatusInternalServerError, Count: 1, Skip: 1})
	if _, err := m.Init(t.Context(), initSpec()); !errors.Is(err, barbican.ErrEntry) {
		t.Errorf("%v", err)
	}
	sim.Faults.Clear()
	if made, err := m.Init(t.Context(), initSpec()); err != nil || made.NotBefore.IsZero() {
		t.Errorf("%+v, %v", made, err)
	}
}

// TestGuard: what another client may do to a key depends on Barbican's microversions, and init and list tell it.
func TestGuard(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]struct {
		guard     barbican.Guard
		consumers int
		deleted   bool
	}{
		"1.0": {barbican.GuardNone, 0, true},
		"1.1": {barbican.GuardNoted, 1, true},
		"1.2": {barbican.GuardRefuses, 1, false},
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			_, session := cloudWith(t, openstacksim.Config{Barbican: openstacksim.BarbicanConfig{MaxMicroversion: version}})
			var notes []string
			m := barbican.NewManager(barbican.NewClient(session), func(s string) { notes = append(notes, s) })
			made, err := m.Init(t.Context(), initSpec())
			if err != nil || made.Guard != want.guard || !slices.Contains(notes, want.guard.Notice()) {
				t.Fatalf("%+v, %v; %q", made, err, notes)
			}
			if list, err := m.List(t.Context(), made.Container, noDelay()); err != nil || list.Guard != want.guard {
				t.Errorf("%+v, %v", list, err)
			}
			client, err := session.Client(t.Context(), openstack.KeyManager)
			if err != nil {
				t.Fatal(err)
			}
			var consumers struct{ Total int }
			client.Microversion = version
			if version != "1.0" {
				resp, err := client.Get(t.Context(), client.Endpoint+"secrets/"+made.Key.Secret+"/consumers", &consumers, nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
			}
			deleted := openstack.Wrap(secrets.Delete(t.Context(), client, made.Key.Secret).Err)
			if consumers.Total != want.consumers || (deleted == nil) != want.deleted || deleted != nil && !errors.Is(deleted, openstack.ErrConflict) {
				t.Errorf("%d consumers; deleting it: %v", consumers.Total, deleted)
			}
		})
	}
}

// TestRetireTakesTheGuardAway: what keeps others from deleting a key does not keep retire from it.
func TestRetireTakesTheGuardAway(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.0", "1.1", "1.2"} {
		_, session := cloudWith(t, openstacksim.Config{Barbican: openstacksim.BarbicanConfig{MaxMicroversion: version}})
		m := barbican.NewManager(barbican.NewClient(session), nil)
		made, err := m.Init(t.Context(), initSpec())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Rotate(t.Context(), barbican.RotateSpec{Container: made.Container, Policy: noDelay()}); err != nil {
			t.Fatal(err)
		}
		got, err := m.Retire(t.Context(), barbican.RetireSpec{Container: made.Container, Generation: 1, Policy: noDelay(), Delete: true})
		if err != nil || !got.Deleted {
			t.Errorf("%s: %+v, %v", version, got, err)
		}
		if _, secrets := inventory(t, session); secrets != 1 {
			t.Errorf("%s: %d secrets are left", version, secrets)
		}
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	_, session := cloud(t)
	var notes []string
	m := barbican.NewManager(barbican.NewClient(session), func(s string) { notes = append(notes, s) })
	if _, err := m.Init(t.Context(), initSpec()); err != nil || len(notes) != 3 || slices.ContainsFunc(notes, func(s string) bool { return !strings.HasSuffix(s, ".") }) {
		t.Errorf("%q, %v", notes, err)
	}
}
