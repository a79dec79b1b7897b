package barbican_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// entry is what a test puts into a container.
type entry struct{ name, secret string }

// keyring makes a container and returns its UUID.
func keyring(t *testing.T, s *openstack.Session, kind containers.ContainerType, entries ...entry) string {
	t.Helper()
	client, err := s.Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	created, err := containers.Create(t.Context(), client, containers.CreateOpts{Name: "keyring", Type: kind}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	id := filepath.Base(created.ContainerRef)
	for _, e := range entries {
		add(t, s, id, e)
	}
	return id
}

func add(t *testing.T, s *openstack.Session, container string, e entry) {
	t.Helper()
	client, err := s.Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	opts := containers.SecretRef{Name: e.name, SecretRef: client.Endpoint + "secrets/" + e.secret}
	if err := containers.CreateSecretRef(t.Context(), client, container, opts).Err; err != nil {
		t.Fatal(err)
	}
}

func TestClientKeyring(t *testing.T) {
	t.Parallel()
	sim, session := cloud(t)
	owner, err := session.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, second := store(t, session, "first"), store(t, session, "second")
	id := keyring(t, session, containers.GenericContainer,
		entry{"generation-1", first}, entry{"generation-2-from-20260102T030405Z", second}, entry{"generation-10", first}, entry{"spare", second}, entry{"generation-07", second})
	client := barbican.NewClient(session)
	count := func() int {
		n := sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceBarbican})
		sim.Calls.Reset()
		return n
	}
	count()
	list, err := client.Keyring(t.Context(), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 3 {
		t.Errorf("%d calls for a container with two secrets", n)
	}
	known := map[barbican.KeyRef]barbican.ListedKey{}
	type row struct {
		Ref       barbican.KeyRef
		NotBefore time.Time
	}
	var rows []row
	for _, k := range list.Keys {
		rows = append(rows, row{k.Ref, k.NotBefore})
		known[k.Ref] = k
		if k.Creator != owner.UserID || k.Status != "ACTIVE" || time.Since(k.Created).Abs() > time.Minute || !k.Expires.IsZero() {
			t.Errorf("%+v", k)
		}
	}
	if diff := cmp.Diff([]row{
		{Ref: barbican.KeyRef{Secret: first, Generation: 10}},
		{barbican.KeyRef{Secret: second, Generation: 2}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{Ref: barbican.KeyRef{Secret: first, Generation: 1}},
	}, rows); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(list.Strange) != 2 || !strings.Contains(list.Strange[0], "generation-07") || !strings.Contains(list.Strange[1], "spare") {
		t.Errorf("strange: %q", list.Strange)
	}
	if time.Since(list.Now).Abs() > time.Minute {
		t.Errorf("Barbican's clock: %v", list.Now)
	}

	again, err := client.Keyring(t.Context(), id, known)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list.Keys, again.Keys); diff != "" {
		t.Errorf("the second list (-first +second)\n%s", diff)
	}
	if n := count(); n != 1 {
		t.Errorf("%d calls when all is known", n)
	}
	if got, err := client.Secret(t.Context(), barbican.KeyRef{Secret: first, Generation: 1}); err != nil || got.Creator != owner.UserID {
		t.Errorf("Secret = %+v, %v", got, err)
	}

	// A generation that is named twice is there twice; a secret that can't be read is told.
	third := store(t, session, "third")
	add(t, session, id, entry{"generation-10-from-20260102T030405Z", third})
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceBarbican, Path: "/v1/secrets/" + first, Status: http.StatusForbidden})
	list, err = client.Keyring(t.Context(), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Keys) != 2 || list.Keys[0].Ref != (barbican.KeyRef{Secret: third, Generation: 10}) || len(list.Unread) != 2 {
		t.Errorf("keys %+v, unread %v", list.Keys, list.Unread)
	}
	if err := list.Unread[barbican.KeyRef{Secret: first, Generation: 10}]; !errors.Is(err, openstack.ErrForbidden) || !strings.Contains(err.Error(), first) {
		t.Errorf("unread: %v", err)
	}
}

func TestClientKeyringErrors(t *testing.T) {
	t.Parallel()
	sim, session := cloud(t)
	client := barbican.NewClient(session)
	certificate := keyring(t, session, containers.CertificateContainer)
	good := keyring(t, session, containers.GenericContainer)
	for name, tc := range map[string]struct {
		id    string
		fault openstacksim.Fault
		want  error
	}{
		"not there":        {"7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b", openstacksim.Fault{}, openstack.ErrNotFound},
		"no UUID":          {"../secrets", openstacksim.Fault{}, barbican.ErrKeyring},
		"upper case":       {strings.ToUpper(good), openstacksim.Fault{}, barbican.ErrKeyring},
		"another type":     {certificate, openstacksim.Fault{}, barbican.ErrKeyring},
		"forbidden":        {good, openstacksim.Fault{Status: http.StatusForbidden}, openstack.ErrForbidden},
		"away":             {good, openstacksim.Fault{Drop: true}, openstack.ErrUnavailable},
		"null":             {good, openstacksim.Fault{Status: http.StatusOK, Body: "null"}, barbican.ErrKeyring},
		"not JSON":         {good, openstacksim.Fault{Status: http.StatusOK, Body: "<html>"}, openstack.ErrUnavailable},
		"strings for refs": {good, openstacksim.Fault{Status: http.StatusOK, Body: `{"type":"generic","secret_refs":["x"]}`}, openstack.ErrUnavailable},
	} {
		remove := func() {}
		if tc.fault.Status != 0 || tc.fault.Drop {
			tc.fault.Service = openstacksim.ServiceBarbican
			remove = sim.Faults.Add(tc.fault)
		}
		if _, err := client.Keyring(t.Context(), tc.id, nil); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.id) {
			t.Errorf("%s: error %v, want %v", name, err, tc.want)
		}
		remove()
	}
}
