package openstack_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/acls"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/orders"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
	"mooring/tests/peer/apiserver"
	"mooring/tests/peer/process"
)

// vault is one tenant's Barbican.
type vault struct {
	cloud  *target.Cloud
	tenant string
	client *gophercloud.ServiceClient
}

func openVault(t *testing.T, tenant string) *vault {
	t.Helper()
	cloud := target.Open(t)
	if !cloud.Real {
		t.Skipf("%s does not name the clouds.yaml of a real OpenStack", target.Variable)
	}
	client, err := cloud.Session(t, tenant).Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	return &vault{cloud, tenant, client}
}

// key orders an AES-256 key that is private to its creator, and goes away with the test. It returns its id and its bytes, in
// the forms in which they must not be logged.
func (v *vault) key(t *testing.T) (id string, spellings []string) {
	t.Helper()
	ordered, err := orders.Create(t.Context(), v.client, orders.CreateOpts{
		Type: orders.KeyOrder, Meta: orders.MetaOpts{Name: target.Unique(t), Algorithm: "aes", BitLength: 256, Mode: "gcm"},
	}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	target.Eventually(t, "the order of a key is carried out", func() bool {
		if ordered, err = orders.Get(t.Context(), v.client, path.Base(ordered.OrderRef)).Extract(); err != nil {
			t.Fatal(openstack.Wrap(err))
		}
		return ordered.Status != "PENDING"
	})
	if ordered.Status != "ACTIVE" {
		t.Fatalf("the order ended as %s: %s", ordered.Status, ordered.ErrorReason)
	}
	id = path.Base(ordered.SecretRef)
	t.Cleanup(func() { v.deleteSecret(t, id) })
	private := false
	if _, err := acls.SetSecretACL(t.Context(), v.client, id, acls.SetOpts{{Type: "read", ProjectAccess: &private}}).Extract(); err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	key, err := secrets.GetPayload(t.Context(), v.client, id, secrets.GetPayloadOpts{PayloadContentType: "application/octet-stream"}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	return id, []string{string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), fmt.Sprintf("%d", key)}
}

// store is the crypto plugin that keeps the tenant's new secrets.
func (v *vault) store(t *testing.T) string {
	t.Helper()
	var body struct {
		Plugin string `json:"crypto_plugin"`
	}
	where := "secret-stores/global-default"
	if v.tenant == "hsm" {
		where = "secret-stores/preferred"
	}
	resp, err := v.client.Get(t.Context(), v.client.Endpoint+where, &body, nil)
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return body.Plugin
}

func (v *vault) deleteSecret(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute) // the test's own has ended
	defer cancel()
	if err := secrets.Delete(ctx, v.client, id).ExtractErr(); err != nil && !gophercloud.ResponseCodeIs(err, 404) {
		t.Errorf("secret %s is left: %v", id, openstack.Wrap(err))
	}
}

// node is where a plugin runs: the program, the directory of its socket, its environment, and what it must not log.
type node struct {
	program, dir string
	env, hush    []string
}

func (n *node) endpoint() string { return "unix://" + filepath.Join(n.dir, "kms.sock") }

// dial gives kube-apiserver's end of the socket.
func (n *node) dial(t *testing.T) kmsapi.KeyManagementServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(n.endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return kmsapi.NewKeyManagementServiceClient(conn)
}

// startKMS runs the plugin as a process, with the flags that say which keys, and checks at its end what it said.
func (v *vault) startKMS(t *testing.T, n *node, keys ...string) *process.Process {
	t.Helper()
	p, err := process.Start(t.Context(), "barbican-kms", n.program, n.env, append([]string{
		"barbican-kms", "--endpoint", n.endpoint(),
		"--cluster-id", "e2e", "--clouds-file", v.cloud.CloudsFile(), "--os-cloud", v.cloud.Name(v.tenant), "--log-level", "debug",
	}, keys...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if code, err := p.Stop(15 * time.Second); err != nil || code != 0 {
			t.Errorf("the plugin ended with %d, %v", code, err)
		}
		for _, secret := range append(n.hush, v.cloud.Credential(t, v.tenant).Password) {
			if strings.Contains(p.Output(), secret) {
				t.Error("the plugin has logged a secret")
			}
		}
		if t.Failed() {
			t.Logf("the plugin said:\n%s", p.Output())
		}
	})
	took, err := p.Listening(t.Context(), "unix", filepath.Join(n.dir, "kms.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("it listens after %v", took.Round(time.Millisecond))
	return p
}

// TestKMS wraps and unwraps with keys from a real Barbican, of the software store and of the HSM store.
func TestKMS(t *testing.T) {
	t.Parallel()
	for tenant, plugin := range map[string]string{"demo": "simple_crypto", "hsm": "p11_crypto"} {
		t.Run(plugin, func(t *testing.T) {
			t.Parallel()
			v := openVault(t, tenant)
			if got := v.store(t); got != plugin {
				t.Fatalf("the tenant's secrets are kept by %s", got)
			}
			key, hush := v.key(t)
			dir := t.TempDir()
			n := &node{program: mooringProgram(t, dir), dir: dir, hush: hush}
			first := v.startKMS(t, n, "--key-id", key)
			client := n.dial(t)
			keyID := "barbican:v1:" + key + ":1"
			awaitKey(t, client, keyID)

			dek := make([]byte, 32)
			if _, err := rand.Read(dek); err != nil {
				t.Fatal(err)
			}
			wrapped, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Uid: "e2e", Plaintext: dek})
			if err != nil || wrapped.GetKeyId() != keyID || len(wrapped.GetCiphertext()) != 94 {
				t.Fatalf("wrapped: key id %q, %d bytes, %v", wrapped.GetKeyId(), len(wrapped.GetCiphertext()), err)
			}
			unwrap := func() {
				t.Helper()
				got, err := client.Decrypt(t.Context(), &kmsapi.DecryptRequest{Uid: "e2e", KeyId: keyID, Ciphertext: wrapped.GetCiphertext()}, grpc.WaitForReady(true))
				if err != nil || !bytes.Equal(got.GetPlaintext(), dek) {
					t.Fatalf("unwrapped %d bytes, %v", len(got.GetPlaintext()), err)
				}
			}
			unwrap()
			figures(t, first, client, wrapped)

			// The whole way of a Secret, then a restart: the key is fetched again, and it is the same.
			const object = `{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}`
			const place = "/registry/secrets/default/e2e"
			server, err := apiserver.Start(t.Context(), dir, "mooring", n.endpoint())
			if err != nil {
				t.Fatal(err)
			}
			stored, err := server.Write(t.Context(), place, []byte(object))
			if err != nil || bytes.Contains(stored, []byte("aHVudGVyMg")) {
				t.Fatalf("stored %q, %v", stored, err)
			}
			if code, err := first.Stop(15 * time.Second); err != nil || code != 0 {
				t.Fatalf("the plugin ended with %d, %v", code, err)
			}
			v.startKMS(t, n, "--key-id", key)
			awaitKey(t, client, keyID)
			unwrap()
			again, err := apiserver.Start(t.Context(), dir, "mooring", n.endpoint())
			if err != nil {
				t.Fatal(err)
			}
			if got, stale, err := again.Read(t.Context(), place, stored); err != nil || string(got) != object || stale {
				t.Errorf("after a restart: %q, stale %v, %v", got, stale, err)
			}
		})
	}
}

// awaitKey waits until the plugin has its key.
func awaitKey(t *testing.T, client kmsapi.KeyManagementServiceClient, keyID string) {
	t.Helper()
	begin := time.Now()
	target.Eventually(t, "the plugin has its key", func() bool {
		s, err := client.Status(t.Context(), &kmsapi.StatusRequest{}, grpc.WaitForReady(true))
		return err == nil && s.GetVersion() == "v2" && s.GetHealthz() == "ok" && s.GetKeyId() == keyID
	})
	t.Logf("the key is there after %v", time.Since(begin).Round(time.Millisecond))
}

// figures logs what a call takes, beside what the socket alone takes.
func figures(t *testing.T, p *process.Process, client kmsapi.KeyManagementServiceClient, wrapped *kmsapi.EncryptResponse) {
	t.Helper()
	median := func(call func() error) time.Duration {
		took := make([]time.Duration, 300)
		for i := range took {
			begin := time.Now()
			if err := call(); err != nil {
				t.Fatal(err)
			}
			took[i] = time.Since(begin)
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	status := median(func() error { _, err := client.Status(t.Context(), &kmsapi.StatusRequest{}); return err })
	encrypt := median(func() error {
		_, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Plaintext: make([]byte, 32)})
		return err
	})
	decrypt := median(func() error {
		_, err := client.Decrypt(t.Context(), &kmsapi.DecryptRequest{KeyId: wrapped.GetKeyId(), Ciphertext: wrapped.GetCiphertext()})
		return err
	})
	rss, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	const limit = 60 << 20
	if rss > limit {
		t.Errorf("%d MiB of memory", rss>>20)
	}
	t.Logf("p50 of Status %v, Encrypt %v, Decrypt %v; %d MiB of memory", status, encrypt, decrypt, rss>>20)
}
