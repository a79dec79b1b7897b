package cli

import (
	"context"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/openstack/openstacksim"
)

// keyringCloud is a simulated cloud with a keyring, whose clock a test can set.
type keyringCloud struct {
	*vault

	ahead     atomic.Int64 // nanoseconds
	client    *gophercloud.ServiceClient
	container string
}

func newKeyringCloud(t *testing.T) *keyringCloud {
	t.Helper()
	c := &keyringCloud{}
	c.vault = newVault(t, openstacksim.Config{TokenTTL: 24 * time.Hour, Now: func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }})
	c.client = c.api(t)
	created, err := containers.Create(t.Context(), c.client, containers.CreateOpts{Type: containers.GenericContainer}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	c.container = path.Base(created.ContainerRef)
	return c
}

// add makes a key and puts it into the keyring.
func (c *keyringCloud) add(t *testing.T, generation int) (keyID string) {
	t.Helper()
	number := strconv.Itoa(generation)
	made, err := secrets.Create(t.Context(), c.client, secrets.CreateOpts{Payload: strings.Repeat(number, 32), PayloadContentType: "text/plain"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	entry := containers.SecretRef{Name: "generation-" + number, SecretRef: made.SecretRef}
	if err := containers.CreateSecretRef(t.Context(), c.client, c.container, entry).Err; err != nil {
		t.Fatal(err)
	}
	return "barbican:v1:" + path.Base(made.SecretRef) + ":" + number
}

// apiServer connects as kube-apiserver does.
func apiServer(t *testing.T, socket string) kmsapi.KeyManagementServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return kmsapi.NewKeyManagementServiceClient(conn)
}

// writesWith waits until a plugin's active key is that one.
func writesWith(t *testing.T, client kmsapi.KeyManagementServiceClient, keyID string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s, err := client.Status(t.Context(), &kmsapi.StatusRequest{}, grpc.WaitForReady(true))
		if err == nil && s.GetKeyId() == keyID {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("Status = %v, %v; want key %s", s, err, keyID)
		}
	}
}

// TestKMSRotates runs the plugin on three nodes with one keyring: a new generation is taken up by all, what any of them wrote is
// read by all, and a node that starts while Barbican is away serves when it is back.
func TestKMSRotates(t *testing.T) {
	t.Parallel()
	cloud := newKeyringCloud(t)
	cloud.ahead.Store(int64(5 * time.Minute)) // its clock counts
	first := cloud.add(t, 1)
	dir := t.TempDir()
	const delay = 8 * time.Second
	args := func(node string) []string {
		return []string{
			"barbican-kms", "--admin-listen=127.0.0.1:0", "--drain-timeout=1s", "--cluster-id=c",
			"--endpoint=unix://" + filepath.Join(dir, node+".sock"), "--keyring=" + cloud.container, "--poll-interval=1s", "--activation-delay=" + delay.String(),
			"--state-file=" + filepath.Join(dir, node+".json"),
		}
	}
	node := func(name string) (*world, kmsapi.KeyManagementServiceClient, func()) {
		w := cloud.world()
		stop := started(t, w, args(name)...)
		w.waitFor(t, "the KMS plugin listens")
		return w, apiServer(t, filepath.Join(dir, name+".sock")), stop
	}
	var worlds []*world
	var clients []kmsapi.KeyManagementServiceClient
	var stops []func()
	for _, name := range []string{"a", "b", "c"} {
		w, client, stop := node(name)
		worlds, clients, stops = append(worlds, w), append(clients, client), append(stops, stop)
		writesWith(t, client, first)
	}
	read := func(by kmsapi.KeyManagementServiceClient, e *kmsapi.EncryptResponse) {
		t.Helper()
		d, err := by.Decrypt(t.Context(), &kmsapi.DecryptRequest{KeyId: e.GetKeyId(), Ciphertext: e.GetCiphertext()})
		if err != nil || string(d.GetPlaintext()) != strings.Repeat("s", 32) {
			t.Errorf("Decrypt = %v, %v", d, err)
		}
	}
	write := func(by kmsapi.KeyManagementServiceClient) *kmsapi.EncryptResponse {
		t.Helper()
		e, err := by.Encrypt(t.Context(), &kmsapi.EncryptRequest{Plaintext: []byte(strings.Repeat("s", 32))})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	before := write(clients[0])

	// The second generation is fetched by all, and active eight seconds after it was made.
	made := time.Now().Truncate(time.Second)
	second := cloud.add(t, 2)
	for _, w := range worlds {
		w.waitFor(t, `msg="a key is held" key_id=`+second)
	}
	for i, client := range clients {
		if e := write(client); e.GetKeyId() != first && time.Since(made) < delay {
			t.Errorf("node %d writes with %s before its time", i, e.GetKeyId())
		}
	}
	for _, client := range clients {
		writesWith(t, client, second)
	}
	for _, client := range clients {
		read(client, before)
		for _, other := range clients {
			read(other, write(client))
		}
	}
	if saved, err := os.ReadFile(filepath.Join(dir, "a.json")); err != nil || !strings.Contains(string(saved), `"generation":2`) {
		t.Errorf("the state file: %s, %v", saved, err)
	}
	_, exported := worlds[0].admin(t, "/metrics")
	for _, want := range []string{"mooring_barbican_active_generation 2", "mooring_barbican_revoked 0", `mooring_barbican_clock_info{clock="barbican"} 1`, `mooring_barbican_keys{state="held"} 2`} {
		if !strings.Contains(exported, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}

	// A restart in an outage: the socket is there, the answer comes at once, and it serves when Barbican is back.
	stops[0]()
	heal := cloud.sim.Faults.Add(openstacksim.Fault{Drop: true})
	_, client, _ := node("a")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := client.Decrypt(ctx, &kmsapi.DecryptRequest{KeyId: before.GetKeyId(), Ciphertext: before.GetCiphertext()}, grpc.WaitForReady(true)); err == nil {
		t.Error("it decrypts without a key")
	} else if ctx.Err() != nil {
		t.Errorf("no answer within the API server's patience: %v", err)
	}
	heal()
	writesWith(t, client, second)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // the older keys come after the active one
		if _, err := client.Decrypt(t.Context(), &kmsapi.DecryptRequest{KeyId: before.GetKeyId(), Ciphertext: before.GetCiphertext()}); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	read(client, write(clients[1]))
}

// TestKMSStateFile starts the plugin with a state file that it can't trust, and with one that is ahead of the keyring.
func TestKMSStateFile(t *testing.T) {
	t.Parallel()
	cloud := newKeyringCloud(t)
	cloud.add(t, 1)
	dir := t.TempDir()
	file := filepath.Join(dir, "state.json")
	args := []string{
		"barbican-kms", "--admin-listen=127.0.0.1:0", "--cluster-id=c",
		"--endpoint=unix://" + filepath.Join(dir, "k.sock"), "--keyring=" + cloud.container, "--state-file=" + file,
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := cloud.world()
	if code := w.main(args...); code != exitFailure || !strings.Contains(w.errs.String(), file) {
		t.Errorf("exit %d:\n%s", code, w.errs.String())
	}
	if err := os.WriteFile(file, []byte(`{"version":1,"key":"7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b","generation":7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w = cloud.world()
	started(t, w, args...)
	w.waitFor(t, "a key is held")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		code, body := w.admin(t, "/readyz")
		if code == http.StatusServiceUnavailable && strings.Contains(body, "generation 7 (secret 7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b) was active before") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("readyz: %d %q", code, body)
		}
	}
}
