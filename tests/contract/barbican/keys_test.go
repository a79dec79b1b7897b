package barbican_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mooring/pkg/barbican"
	"mooring/pkg/barbican/kms"
	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
	"mooring/tests/peer/apiserver"
)

// What "mooring keys" does to Barbican: the same on the simulator and on a real one.

// owned makes a keyring that goes away with the test, with all keys that are named in it or for it.
func owned(t *testing.T, a *api, m *barbican.Manager, readers ...string) *barbican.Made {
	t.Helper()
	made, err := m.Init(t.Context(), barbican.InitSpec{ClusterID: target.Unique(t), Name: target.Unique(t), Readers: readers})
	if err != nil {
		t.Fatal(err)
	}
	a.cleanUp(t, "/v1/containers/"+made.Container)
	a.cleanUp(t, "/v1/secrets/"+made.Key.Secret)
	return made
}

// atOnce lets every generation be active as soon as it is there.
func atOnce() *barbican.Policy { return &barbican.Policy{} }

func TestKeysLife(t *testing.T) {
	t.Parallel()
	cloud := target.Open(t)
	for tenant, store := range map[string]string{"demo": "Software Only Crypto", "hsm": "PKCS11 HSM"} {
		t.Run(tenant, func(t *testing.T) {
			t.Parallel()
			session := cloud.Session(t, tenant)
			a, client := open(t, session), barbican.NewClient(session)
			m := barbican.NewManager(client, nil)
			made := owned(t, a, m)
			next, err := m.Rotate(t.Context(), barbican.RotateSpec{Container: made.Container, Policy: atOnce(), Store: made.Store})
			if err != nil {
				t.Fatal(err)
			}
			a.cleanUp(t, "/v1/secrets/"+next.Key.Secret)
			list, err := m.List(t.Context(), made.Container, atOnce())
			if err != nil || len(list.Keys) != 2 {
				t.Fatalf("%+v, %v", list, err)
			}
			for i, want := range []barbican.KeyState{barbican.KeyActive, barbican.KeyOld} {
				k := list.Keys[i]
				if k.State != want || k.Private == nil || !*k.Private || k.Creator != a.owner.UserID || !strings.Contains(k.Store, strings.Fields(store)[0]) {
					t.Errorf("%+v, want %s in the store %s", k, want, store)
				}
				key, err := client.Payload(t.Context(), k.Ref.Secret, 32)
				if err != nil || len(key) != 32 {
					t.Errorf("generation %d has %d bytes, %v", k.Ref.Generation, len(key), err)
				}
				consumers := a.want(t, http.StatusOK, http.MethodGet, "secrets/"+k.Ref.Secret+"/consumers", nil, microversion("1.1")).list("consumers")
				if len(consumers) != 1 || consumers[0]["service"] != "mooring" || consumers[0]["resource_type"] != "keyring" || consumers[0]["resource_id"] != made.Container {
					t.Errorf("consumers %v", consumers)
				}
			}
			if got := a.want(t, http.StatusOK, http.MethodGet, "containers/"+made.Container+"/consumers", nil, nil).list("consumers"); len(got) != 1 || got[0]["name"] != "mooring" {
				t.Errorf("consumers %v", got)
			}
			retire(t, a, m, made, next)
		})
	}
}

// retire takes the first generation out, and deletes it then.
func retire(t *testing.T, a *api, m *barbican.Manager, first, next *barbican.Made) {
	t.Helper()
	used := errors.New("used")
	spec := barbican.RetireSpec{Container: first.Container, Generation: 1, Policy: atOnce(), Unused: func(_ context.Context, id string, since time.Time) error {
		if id != first.Key.KeyID() || since.IsZero() {
			t.Errorf("it asks for %s since %v", id, since)
		}
		return used
	}}
	if _, err := m.Retire(t.Context(), spec); !errors.Is(err, used) {
		t.Errorf("in use: %v", err)
	}
	spec.Unused = nil
	got, err := m.Retire(t.Context(), spec)
	if err != nil || !got.Removed || got.Deleted || got.Key != first.Key {
		t.Errorf("%+v, %v", got, err)
	}
	if got := a.members(t, "containers/"+first.Container); len(got) != 1 {
		t.Errorf("members %v", got)
	}
	// The secret is still there, and is found by its name. Somebody else who is registered keeps it from being deleted.
	other := map[string]any{"service": "another", "resource_type": "thing", "resource_id": "1"}
	a.want(t, http.StatusOK, http.MethodPost, "secrets/"+first.Key.Secret+"/consumers", other, microversion("1.1"))
	spec.Delete = true
	if _, err := m.Retire(t.Context(), spec); !errors.Is(err, barbican.ErrInUse) || !strings.Contains(err.Error(), "another thing 1") {
		t.Errorf("registered for another: %v", err)
	}
	a.want(t, http.StatusOK, http.MethodDelete, "secrets/"+first.Key.Secret+"/consumers", other, microversion("1.1"))
	got, err = m.Retire(t.Context(), spec)
	if err != nil || got.Removed || !got.Deleted || got.Key != first.Key {
		t.Errorf("%+v, %v", got, err)
	}
	a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodGet, "secrets/"+first.Key.Secret, nil, nil)
	spec.Generation = next.Key.Generation
	if _, err := m.Retire(t.Context(), spec); !errors.Is(err, barbican.ErrInUse) {
		t.Errorf("the active one: %v", err)
	}
}

// TestKeysComeBack: a key whose entry was taken out, and which was not deleted, is entered again, though Barbican takes no entry twice.
func TestKeysComeBack(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	m := barbican.NewManager(barbican.NewClient(cloud.Session(t, "demo")), nil)
	spec := barbican.InitSpec{ClusterID: target.Unique(t), Name: target.Unique(t)}
	first, err := m.Init(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	a.cleanUp(t, "/v1/containers/"+first.Container)
	a.cleanUp(t, "/v1/secrets/"+first.Key.Secret)
	takeOut := func(key barbican.KeyRef) {
		t.Helper()
		where := "containers/" + first.Container
		name := barbican.EntryName(key.Generation, time.Time{})
		a.want(t, http.StatusNoContent, http.MethodDelete, where+"/secrets", map[string]any{"name": name, "secret_ref": a.members(t, where)[name]}, nil)
	}
	takeOut(first.Key)
	again, err := m.Init(t.Context(), spec)
	if err != nil || again.Existed || again.Key != first.Key || again.NotBefore.IsZero() {
		t.Fatalf("%+v, %v", again, err)
	}
	rotate := barbican.RotateSpec{Container: first.Container, Policy: atOnce()}
	second, err := m.Rotate(t.Context(), rotate)
	if err != nil {
		t.Fatal(err)
	}
	a.cleanUp(t, "/v1/secrets/"+second.Key.Secret)
	takeOut(second.Key)
	if again, err = m.Rotate(t.Context(), rotate); err != nil || again.Key != second.Key {
		t.Fatalf("%+v, %v", again, err)
	}
	target.Eventually(t, "both are there, and the second is active", func() bool {
		list, err := m.List(t.Context(), first.Container, atOnce())
		return err == nil && len(list.Keys) == 2 && list.Keys[0].Ref == second.Key && list.Keys[0].State == barbican.KeyActive && list.Keys[1].State == barbican.KeyOld
	})
}

// TestKeysArePrivate: another user of the project can read neither the keyring nor a key, unless named a reader.
func TestKeysArePrivate(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	m := barbican.NewManager(barbican.NewClient(cloud.Session(t, "demo")), nil)
	mate, reader := sibling(t, cloud), sibling(t, cloud)
	made := owned(t, a, m, reader.owner.UserID)
	for _, path := range []string{"containers/" + made.Container, "secrets/" + made.Key.Secret} {
		mate.refused(t, http.StatusForbidden, notAllowed, http.MethodGet, path, nil, nil)
		reader.want(t, http.StatusOK, http.MethodGet, path, nil, nil)
	}
	mate.refused(t, http.StatusForbidden, notAllowed, http.MethodGet, "secrets/"+made.Key.Secret+"/payload", nil, binary())
	reader.want(t, http.StatusOK, http.MethodGet, "secrets/"+made.Key.Secret+"/payload", nil, binary())
	next, err := m.Rotate(t.Context(), barbican.RotateSpec{Container: made.Container, Policy: atOnce()})
	if err != nil {
		t.Fatal(err)
	}
	a.cleanUp(t, "/v1/secrets/"+next.Key.Secret)
	mate.refused(t, http.StatusForbidden, notAllowed, http.MethodGet, "secrets/"+next.Key.Secret+"/payload", nil, binary())
	reader.want(t, http.StatusOK, http.MethodGet, "secrets/"+next.Key.Secret+"/payload", nil, binary()) // as the container's
}

// TestRotatesAtOnce: of several at the same time one wins, and the others leave nothing behind.
func TestRotatesAtOnce(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	m := barbican.NewManager(barbican.NewClient(cloud.Session(t, "demo")), nil)
	made := owned(t, a, m)
	p := &barbican.Policy{ActivationDelay: time.Hour}
	rings := make([]*barbican.Made, 3)
	errs := make([]error, len(rings))
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			rings[i], errs[i] = m.Rotate(t.Context(), barbican.RotateSpec{Container: made.Container, Policy: p})
		})
	}
	wg.Wait()
	list, err := m.List(t.Context(), made.Container, p)
	if err != nil {
		t.Fatal(err)
	}
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			a.cleanUp(t, "/v1/secrets/"+rings[i].Key.Secret)
		case !slices.ContainsFunc([]error{barbican.ErrRival, barbican.ErrPending, barbican.ErrAmbiguous, barbican.ErrEntry}, func(known error) bool { return errors.Is(err, known) }):
			t.Error(err)
		}
	}
	left := a.want(t, http.StatusOK, http.MethodGet, "secrets?name=mooring%20"+made.Container+"%25", nil, nil)
	if won > 1 || len(list.Keys) != 1+won || total(left) != 1+won {
		t.Errorf("%d won (%v): %d generations, %d keys", won, errs, len(list.Keys), total(left))
	}
}

// TestEncryptionConfiguration: kube-apiserver's own reader takes what init prints, and works with it.
func TestEncryptionConfiguration(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.plugin(t, "c", writer(c.key(t)))
	c.serving(t)
	for _, cluster := range []string{"c", "Cluster 1: öäü/\"'", strings.Repeat("x", 1000), "-", "prod.example.com"} {
		s, err := apiserver.StartConfigured(t.Context(), t.TempDir(), kms.EncryptionConfiguration(cluster, c.endpoint))
		if err != nil {
			t.Fatalf("%q: %v", cluster, err)
		}
		stored, err := ready(t, s).Write(t.Context(), place(1), []byte(object))
		if want := apiserver.Prefix + kms.ProviderName(cluster) + ":"; err != nil || !strings.HasPrefix(string(stored), want) {
			t.Errorf("%q: stored %.60q, want %s…, %v", cluster, stored, want, err)
		}
		read(t, s, 1, stored, false)
		read(t, s, 2, []byte(object), true)
	}
	names := []string{kms.ProviderName("a"), kms.ProviderName("b"), kms.ProviderName("-")}
	if slices.Sort(names); len(slices.Compact(names)) != 3 {
		t.Errorf("%q", names)
	}
}

// TestForeignManager: whoever may not read a keyring can't do anything with it.
func TestForeignManager(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	made := owned(t, a, barbican.NewManager(barbican.NewClient(cloud.Session(t, "demo")), nil))
	m := barbican.NewManager(barbican.NewClient(cloud.Session(t, "other")), nil)
	_, list := m.List(t.Context(), made.Container, atOnce())
	_, rotate := m.Rotate(t.Context(), barbican.RotateSpec{Container: made.Container, Policy: atOnce()})
	_, gone := m.Retire(t.Context(), barbican.RetireSpec{Container: made.Container, Generation: 1, Policy: atOnce()})
	for _, err := range []error{list, rotate, gone} {
		if !errors.Is(err, openstack.ErrForbidden) {
			t.Error(err)
		}
	}
}
