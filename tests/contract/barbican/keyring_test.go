package barbican_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

// aesKey makes a secret of 32 bytes.
func (a *api) aesKey(t *testing.T) (ref string) {
	t.Helper()
	return a.secret(t, map[string]any{
		"name": target.Unique(t), "payload": base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))),
		"payload_content_type": "application/octet-stream", "payload_content_encoding": "base64",
	})
}

func (a *api) enter(t *testing.T, container, name, secret string) {
	t.Helper()
	a.want(t, http.StatusCreated, http.MethodPost, container+"/secrets", map[string]any{"name": name, "secret_ref": secret}, nil)
}

func generationOf(ref string, n uint64) barbican.KeyRef {
	return barbican.KeyRef{Secret: path.Base(ref), Generation: n}
}

// TestKeyringIsListed reads a container as the plugin does: names, creation times, creators, and a clock to go by.
func TestKeyringIsListed(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	client := barbican.NewClient(cloud.Session(t, "demo"))
	first, second := a.aesKey(t), a.aesKey(t)
	container := a.container(t, map[string]string{"generation-1": first, "spare": second})
	a.enter(t, container, "generation-2-from-20260102T030405Z", second)
	list, err := client.Keyring(t.Context(), path.Base(container), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Keys) != 2 || list.Keys[0].Ref != generationOf(second, 2) || list.Keys[1].Ref != generationOf(first, 1) || len(list.Strange) != 1 || len(list.Unread) != 0 {
		t.Fatalf("%+v", list)
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); !list.Keys[0].NotBefore.Equal(want) {
		t.Errorf("not before %v", list.Keys[0].NotBefore)
	}
	for _, k := range list.Keys {
		if age := list.Now.Sub(k.Created); k.Creator != a.owner.UserID || k.Creator != list.Owner || k.Status != "ACTIVE" || age < -2*time.Second || age > time.Minute {
			t.Errorf("%+v, made %v ago by the clock of %s", k, age, list.Clock)
		}
	}
	if list.Clock == barbican.LocalClock {
		t.Error("neither Barbican nor Keystone tells the time")
	}
	t.Logf("the clock is that of %s", list.Clock)

	// What is not there, and what is private, is a definite no.
	if _, err := client.Keyring(t.Context(), nobody, nil); !errors.Is(err, openstack.ErrNotFound) {
		t.Errorf("no container: %v", err)
	}
	mate := sibling(t, cloud)
	a.want(t, http.StatusOK, http.MethodPut, container+"/acl", map[string]any{"read": map[string]any{"project-access": false}}, nil)
	if _, err := client.Keyring(t.Context(), path.Base(container), nil); err != nil {
		t.Errorf("a private container, by its creator: %v", err)
	}
	if _, err := barbican.NewClient(mate.session).Keyring(t.Context(), path.Base(container), nil); !errors.Is(err, openstack.ErrForbidden) {
		t.Errorf("a private container, by another user of the project: %v", err)
	}
}

// TestKeyringRotates runs a keyring whose second generation becomes active while it runs, and whose container is taken away.
func TestKeyringRotates(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	client := barbican.NewClient(cloud.Session(t, "demo"))
	container := a.container(t, map[string]string{"generation-1": a.aesKey(t)})
	const poll = time.Second
	keys, err := barbican.New(client, barbican.Options{
		List: func(ctx context.Context, known map[barbican.KeyRef]barbican.ListedKey) (*barbican.Listing, error) {
			return client.Keyring(ctx, path.Base(container), known)
		},
		Check: func(ctx context.Context, ref barbican.KeyRef) error {
			_, err := client.Secret(ctx, ref)
			return err
		},
		ClusterID: "c", Policy: barbican.Policy{Poll: poll, ActivationDelay: 6 * poll, OnRevocation: barbican.StopWrites},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-done, keys.Close()); err != nil {
			t.Error(err)
		}
	}()
	target.Eventually(t, "the first generation is active", func() bool { _, err := keys.Status(); return err == nil })
	dek := bytes.Repeat([]byte{7}, 32)
	ciphertext, id, err := keys.Encrypt(dek)
	if err != nil {
		t.Fatal(err)
	}
	second := a.aesKey(t)
	made := time.Now()
	a.enter(t, container, "generation-2", second)
	target.Eventually(t, "the second generation is active", func() bool { now, err := keys.Status(); return err == nil && now == generationOf(second, 2).KeyID() })
	if took := time.Since(made); took < 3*poll {
		t.Errorf("it became active %v after it was made", took)
	}
	if got, err := keys.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, dek) {
		t.Errorf("what the first one wrapped: %x, %v", got, err)
	}
	a.want(t, http.StatusNoContent, http.MethodDelete, container, nil, nil)
	target.Eventually(t, "the keyring counts as revoked", func() bool { _, err := keys.Status(); return errors.Is(err, barbican.ErrRevoked) })
	if got, err := keys.Decrypt(t.Context(), id, ciphertext); err != nil || !bytes.Equal(got, dek) {
		t.Errorf("with its container gone: %x, %v", got, err)
	}
}
