package barbican_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"
	"go.uber.org/goleak"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func cloud(t *testing.T) (*openstacksim.Cloud, *openstack.Session) {
	t.Helper()
	return cloudWith(t, openstacksim.Config{})
}

func cloudWith(t *testing.T, config openstacksim.Config) (*openstacksim.Cloud, *openstack.Session) {
	t.Helper()
	sim, err := openstacksim.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(file, sim.CloudsYAML(), 0o600); err != nil {
		t.Fatal(err)
	}
	credential, err := openstack.Source{
		Cloud: "demo", CloudsFile: file, LookupEnv: func(string) (string, bool) { return "", false }, ReadFile: os.ReadFile,
	}.Load()
	if err != nil {
		t.Fatal(err)
	}
	pool := openstack.NewPool(openstack.Options{})
	t.Cleanup(pool.Close)
	return sim, pool.Session(credential)
}

func store(t *testing.T, s *openstack.Session, payload string) string {
	t.Helper()
	client, err := s.Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	created, err := secrets.Create(t.Context(), client, secrets.CreateOpts{Payload: payload, PayloadContentType: "text/plain"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(created.SecretRef)
}

func TestPayload(t *testing.T) {
	t.Parallel()
	sim, session := cloud(t)
	const key = "0123456789abcdef0123456789abcdef"
	id := store(t, session, key)
	long := store(t, session, key+"and more")
	client := barbican.NewClient(session)

	got, err := client.Payload(t.Context(), id, 32)
	if err != nil || string(got) != key {
		t.Errorf("Payload = %q, %v", got, err)
	}
	if got, err := client.Payload(t.Context(), long, 32); err != nil || len(got) != 33 {
		t.Errorf("a long payload: %d bytes, %v", len(got), err)
	}
	if _, err := client.Payload(t.Context(), "7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b", 32); !errors.Is(err, openstack.ErrNotFound) {
		t.Errorf("a secret that is not there: error %v", err)
	}
	for status, want := range map[int]error{403: openstack.ErrForbidden, 404: openstack.ErrNotFound, 406: openstack.ErrInvalid} {
		remove := sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceBarbican, Status: status})
		if _, err := client.Payload(t.Context(), id, 32); !errors.Is(err, want) {
			t.Errorf("status %d: error %v, want %v", status, err, want)
		}
		remove()
	}
	remove := sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceBarbican, Status: 200, Header: map[string]string{"Content-Type": "text/html"}, Body: key})
	if got, err := client.Payload(t.Context(), id, 32); !errors.Is(err, barbican.ErrUnusableKey) {
		t.Errorf("a page of a proxy was taken for a key: %q, %v", got, err)
	}
	remove()
	remove = sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceBarbican, Status: 206, Body: key})
	if got, err := client.Payload(t.Context(), id, 32); err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("a part of a key: %q, %v", got, err)
	}
	remove()
	// One failure of each kind that may pass is got over without the caller noticing.
	for _, fault := range []openstacksim.Fault{{Status: 500}, {Status: 503}, {Status: 429, Header: map[string]string{"Retry-After": "0"}}, {Drop: true}, {Status: 401}} {
		fault.Service, fault.Count = openstacksim.ServiceBarbican, 1
		remove := sim.Faults.Add(fault)
		if got, err := client.Payload(t.Context(), id, 32); err != nil || string(got) != key {
			t.Errorf("after %+v: %d bytes, %v", fault, len(got), err)
		}
		remove()
	}
}

// TestKeyringOnBarbican runs a keyring against the simulated cloud: one login and one fetch, and no call after that, also with
// the cloud gone.
func TestKeyringOnBarbican(t *testing.T) {
	t.Parallel()
	sim, session := cloud(t)
	id := store(t, session, "0123456789abcdef0123456789abcdef")
	ref := barbican.KeyRef{Secret: id, Generation: 1}
	keys, err := barbican.New(barbican.NewClient(session), barbican.Options{Entries: []barbican.Entry{{Ref: ref}}, ClusterID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	for end := time.Now().Add(10 * time.Second); keys.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(keys.Ready())
		}
	}
	if n := sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceBarbican, Method: "GET"}); n != 1 {
		t.Errorf("%d fetches for one key", n)
	}
	if n := sim.Calls.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
	sim.Calls.Reset()
	sim.Faults.Add(openstacksim.Fault{Drop: true})
	dek := bytes.Repeat([]byte{7}, 32)
	for range 1000 {
		ciphertext, id, err := keys.Encrypt(dek)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keys.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, dek) {
			t.Fatalf("Decrypt = %x, %v", got, err)
		}
	}
	if n := sim.Calls.Count(); n != 0 {
		t.Errorf("%d calls for 2000 operations", n)
	}
	cancel()
	if err := errors.Join(<-done, keys.Close()); err != nil {
		t.Error(err)
	}
}
