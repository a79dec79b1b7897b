package openstack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"
	"sigs.k8s.io/yaml"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
	"mooring/tests/peer/apiserver"
)

// keyring makes a container with one generation that goes away with the test, and returns its UUID.
func (v *vault) keyring(t *testing.T, first string) string {
	t.Helper()
	made, err := containers.Create(t.Context(), v.client, containers.CreateOpts{
		Type: containers.GenericContainer, Name: target.Unique(t), SecretRefs: []containers.SecretRef{v.generation(1, first)},
	}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	id := path.Base(made.ContainerRef)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := containers.Delete(ctx, v.client, id).ExtractErr(); err != nil && !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
			t.Errorf("container %s is left: %v", id, openstack.Wrap(err))
		}
	})
	return id
}

func (v *vault) generation(n int, key string) containers.SecretRef {
	return containers.SecretRef{Name: fmt.Sprintf("generation-%d", n), SecretRef: v.client.ServiceURL("secrets", key)}
}

// TestKMSRotation rotates a keyring under two plugins, as on two control-plane nodes: both go over at the same instant, never back, and
// each reads what the other wrote, before and after.
func TestKMSRotation(t *testing.T) {
	t.Parallel()
	const poll, delay = time.Second, 8 * time.Second
	for tenant, plugin := range map[string]string{"demo": "simple_crypto", "hsm": "p11_crypto"} {
		t.Run(plugin, func(t *testing.T) {
			t.Parallel()
			v := openVault(t, tenant)
			if got := v.store(t); got != plugin {
				t.Fatalf("the tenant's secrets are kept by %s", got)
			}
			first, hush := v.key(t)
			ring := v.keyring(t, first)
			var clients []kmsapi.KeyManagementServiceClient
			var servers []*apiserver.Server
			var state string
			for range 2 {
				dir := t.TempDir()
				n := &node{program: mooringProgram(t, dir), dir: dir, hush: hush}
				state = filepath.Join(dir, "state.json")
				v.startKMS(t, n, "--keyring", ring, "--poll-interval", poll.String(), "--activation-delay", delay.String(), "--state-file", state)
				client := n.dial(t)
				awaitKey(t, client, "barbican:v1:"+first+":1")
				server, err := apiserver.Start(t.Context(), dir, "mooring", n.endpoint())
				if err != nil {
					t.Fatal(err)
				}
				clients, servers = append(clients, client), append(servers, server)
			}
			const object, place = `{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}`, "/registry/secrets/default/e2e"
			before, err := servers[0].Write(t.Context(), place, []byte(object))
			if err != nil {
				t.Fatal(err)
			}
			old := wrap(t, clients[0])

			second, _ := v.key(t)
			created := v.created(t, second)
			if err := containers.CreateSecretRef(t.Context(), v.client, ring, v.generation(2, second)).Err; err != nil {
				t.Fatal(openstack.Wrap(err))
			}
			at := switches(t, clients, "barbican:v1:"+first+":1", "barbican:v1:"+second+":2")
			apart := at[0].Sub(at[1]).Abs()
			t.Logf("the nodes went over %v and %v after the key was made (delay %v), %v apart", at[0].Sub(created), at[1].Sub(created), delay, apart)
			if apart > poll {
				t.Errorf("the nodes went over %v apart", apart)
			}
			if early := created.Add(delay).Sub(at[0]); early > poll { // a clock of whole seconds is read
				t.Errorf("a node went over %v too early", early)
			}
			for i, client := range clients {
				unwrap(t, client, old)
				unwrap(t, client, wrap(t, clients[1-i]))
			}
			if got, _, err := servers[1].Read(t.Context(), place, before); err != nil || string(got) != object {
				t.Errorf("what was written before is read as %q, %v", got, err)
			}
			if data, err := os.ReadFile(state); err != nil || !json.Valid(data) || !bytes.Contains(data, []byte(second)) {
				t.Errorf("the state file has %s, %v", data, err)
			}
		})
	}
}

// created is when Barbican made a key.
func (v *vault) created(t *testing.T, key string) time.Time {
	t.Helper()
	secret, err := secrets.Get(t.Context(), v.client, key).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	return secret.Created
}

// switches tells when each plugin went over from a key id to another one. They encrypt all the while.
func switches(t *testing.T, clients []kmsapi.KeyManagementServiceClient, from, to string) []time.Time {
	t.Helper()
	at := make([]time.Time, len(clients))
	target.Eventually(t, "all plugins go over to the new key", func() bool {
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			for i, client := range clients {
				got, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Plaintext: make([]byte, 32)})
				switch {
				case err != nil:
					t.Fatal(err)
				case got.GetKeyId() == to && at[i].IsZero():
					at[i] = time.Now()
				case got.GetKeyId() != to && (got.GetKeyId() != from || !at[i].IsZero()):
					t.Fatalf("node %d wraps with %s", i, got.GetKeyId())
				}
			}
		}
		return !slices.ContainsFunc(at, time.Time.IsZero)
	})
	return at
}

type wrapped struct {
	plain []byte
	*kmsapi.EncryptResponse
}

func wrap(t *testing.T, client kmsapi.KeyManagementServiceClient) wrapped {
	t.Helper()
	plain := []byte(target.Unique(t) + "................................")[:32]
	got, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Plaintext: plain})
	if err != nil {
		t.Fatal(err)
	}
	return wrapped{plain, got}
}

func unwrap(t *testing.T, client kmsapi.KeyManagementServiceClient, w wrapped) {
	t.Helper()
	got, err := client.Decrypt(t.Context(), &kmsapi.DecryptRequest{KeyId: w.GetKeyId(), Ciphertext: w.GetCiphertext()})
	if err != nil || !bytes.Equal(got.GetPlaintext(), w.plain) {
		t.Errorf("%s: unwrapped %q, %v", w.GetKeyId(), got.GetPlaintext(), err)
	}
}

// TestKMSOfAnotherUser shows what the ACL of a key is for: another user of the project, with the same roles, sees the keyring and gets
// no key out of it.
func TestKMSOfAnotherUser(t *testing.T) {
	t.Parallel()
	v := openVault(t, "demo")
	key, hush := v.key(t)
	ring := v.keyring(t, key)
	owner, err := v.cloud.Session(t, v.tenant).Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n := &node{program: mooringProgram(t, dir), dir: dir, hush: hush}
	p := v.startKMS(t, n, "--keyring", ring, "--allowed-creators", owner.UserID, "--clouds-file", v.mate(t), "--os-cloud", "mate")
	line, err := p.Said(t.Context(), "403")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(line)
	client := n.dial(t)
	for range 3 {
		if got, err := client.Status(t.Context(), &kmsapi.StatusRequest{}, grpc.WaitForReady(true)); err == nil {
			t.Errorf("it is well, with %s", got.GetKeyId())
		}
		if _, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Plaintext: make([]byte, 32)}); err == nil {
			t.Error("it wraps")
		}
	}
	_, err = client.Status(t.Context(), &kmsapi.StatusRequest{})
	t.Logf("kube-apiserver is told: %v", err)
}

// mate makes another user of the tenant's project with the same roles, and a clouds.yaml for him with the entry mate.
func (v *vault) mate(t *testing.T) string {
	t.Helper()
	identity, err := v.cloud.Session(t, "admin").Client(t.Context(), openstack.Identity)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := v.cloud.Session(t, v.tenant).Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name, password := target.Unique(t), target.Unique(t)
	user, err := users.Create(t.Context(), identity, users.CreateOpts{Name: name, Password: password, DomainID: "default"}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := users.Delete(ctx, identity, user.ID).ExtractErr(); err != nil {
			t.Errorf("user %s is left: %v", name, openstack.Wrap(err))
		}
	})
	pages, err := roles.List(identity, nil).AllPages(t.Context())
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	all, err := roles.ExtractRoles(pages)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range all {
		if role.Name == "member" || role.Name == "creator" {
			if err := roles.Assign(t.Context(), identity, role.ID, roles.AssignOpts{UserID: user.ID, ProjectID: owner.ProjectID}).ExtractErr(); err != nil {
				t.Fatal(openstack.Wrap(err))
			}
		}
	}
	return v.cloudsFile(t, "mate", name, password)
}

// cloudsFile writes a clouds.yaml with one entry: the tenant's, with another user.
func (v *vault) cloudsFile(t *testing.T, entry, name, password string) string {
	t.Helper()
	data, err := os.ReadFile(v.cloud.CloudsFile())
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Clouds map[string]map[string]any `json:"clouds"`
	}
	if err := yaml.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	mine := all.Clouds[v.cloud.Name(v.tenant)]
	auth, _ := mine["auth"].(map[string]any)
	if auth == nil {
		t.Fatalf("%s has no entry %s", v.cloud.CloudsFile(), v.tenant)
	}
	auth["username"], auth["password"] = name, password
	if data, err = yaml.Marshal(map[string]any{"clouds": map[string]any{entry: mine}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// road is the only way from a plugin to the cloud, an HTTP proxy that can be cut: so the cloud is away for it, and for nobody else.
type road struct {
	address string
	server  *http.Server
}

func (r *road) open(t *testing.T) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	r.address = listener.Addr().String()
	server := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}, ReadHeaderTimeout: time.Minute}
	r.server = server
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}

func (r *road) cut() { _ = r.server.Close() }

// TestKMSOutage takes Barbican and Keystone away from a plugin that holds its key, which goes on, and from one that is started then, which
// says so at once and serves soon after they are back.
func TestKMSOutage(t *testing.T) {
	t.Parallel()
	v := openVault(t, "demo")
	key, hush := v.key(t)
	ring := v.keyring(t, key)
	way := &road{address: "127.0.0.1:0"}
	way.open(t)
	dir := t.TempDir()
	n := &node{program: mooringProgram(t, dir), dir: dir, hush: hush, env: []string{"HTTP_PROXY=http://" + way.address}}
	flags := []string{"--keyring", ring, "--poll-interval", "1s", "--activation-delay", "2s"}
	first := v.startKMS(t, n, flags...)
	client := n.dial(t)
	awaitKey(t, client, "barbican:v1:"+key+":1")
	old := wrap(t, client)

	way.cut()
	if _, err := first.Said(t.Context(), "can't be listed"); err != nil {
		t.Fatal(err)
	}
	if s, err := client.Status(t.Context(), &kmsapi.StatusRequest{}); err != nil || s.GetHealthz() != "ok" {
		t.Errorf("in the outage: %v, %v", s, err)
	}
	unwrap(t, client, old)
	unwrap(t, client, wrap(t, client))

	if code, err := first.Stop(15 * time.Second); err != nil || code != 0 {
		t.Fatalf("the plugin ended with %d, %v", code, err)
	}
	v.startKMS(t, n, flags...)
	_, _ = client.Status(t.Context(), &kmsapi.StatusRequest{}, grpc.WaitForReady(true)) // the connection
	var took []time.Duration
	for range 40 {
		for _, call := range []func() error{
			func() error { _, err := client.Status(t.Context(), &kmsapi.StatusRequest{}); return err },
			func() error {
				_, err := client.Decrypt(t.Context(), &kmsapi.DecryptRequest{KeyId: old.GetKeyId(), Ciphertext: old.GetCiphertext()})
				return err
			},
		} {
			begin := time.Now()
			if err := call(); status.Code(err) != codes.Unavailable {
				t.Fatalf("started in the outage: %v", err)
			}
			took = append(took, time.Since(begin))
		}
		time.Sleep(100 * time.Millisecond)
	}
	slices.Sort(took)
	const fast, soon = 50 * time.Millisecond, 2 * time.Second
	t.Logf("Unavailable after %v, at most %v", took[len(took)/2], took[len(took)-1])
	if median := took[len(took)/2]; median > fast {
		t.Errorf("Unavailable takes %v", median)
	}

	way.open(t)
	back := time.Now()
	for {
		if _, err := client.Status(t.Context(), &kmsapi.StatusRequest{}); err == nil {
			break
		}
		if time.Since(back) > target.Patience {
			t.Fatal("it does not come back")
		}
		time.Sleep(5 * time.Millisecond)
	}
	served := time.Since(back)
	t.Logf("it serves %v after the cloud's return", served.Round(time.Millisecond))
	if served > soon {
		t.Errorf("it served after %v only", served)
	}
	unwrap(t, client, old)
}
