package barbican_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/barbican"
	"mooring/pkg/cli"
	"mooring/pkg/logging/logtest"
	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
	"mooring/tests/peer/apiserver"
)

// oldPlugin serves KMS v2 as cloud-provider-openstack's barbican-kms-plugin does: a fetch of the one key for each call, AES-CBC
// with PKCS #7 and a random IV, the secret's UUID for a key id, and no look at the request's. It is written from that format's
// description and shares no code with what is tested.
type oldPlugin struct {
	kmsapi.UnimplementedKeyManagementServiceServer

	barbican *barbican.Client
	secret   string
}

func (p *oldPlugin) Status(context.Context, *kmsapi.StatusRequest) (*kmsapi.StatusResponse, error) {
	return &kmsapi.StatusResponse{Version: "v2", Healthz: "ok", KeyId: p.secret}, nil
}

func (p *oldPlugin) block(ctx context.Context) (cipher.Block, error) {
	const longest = 64
	key, err := p.barbican.Payload(ctx, p.secret, longest)
	if err != nil {
		return nil, err
	}
	return aes.NewCipher(key)
}

func (p *oldPlugin) Encrypt(ctx context.Context, r *kmsapi.EncryptRequest) (*kmsapi.EncryptResponse, error) {
	block, err := p.block(ctx)
	if err != nil {
		return nil, err
	}
	padding := aes.BlockSize - len(r.GetPlaintext())%aes.BlockSize
	plain := append(bytes.Clone(r.GetPlaintext()), bytes.Repeat([]byte{byte(padding)}, padding)...)
	iv := make([]byte, aes.BlockSize)
	if _, err := rand.Read(iv); err != nil {
		return nil, err
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(plain, plain)
	return &kmsapi.EncryptResponse{Ciphertext: slices.Concat(iv, plain), KeyId: p.secret}, nil
}

func (p *oldPlugin) Decrypt(ctx context.Context, r *kmsapi.DecryptRequest) (*kmsapi.DecryptResponse, error) {
	block, err := p.block(ctx)
	if err != nil {
		return nil, err
	}
	data := r.GetCiphertext()
	if len(data) < 2*aes.BlockSize || len(data)%aes.BlockSize != 0 {
		return nil, errors.New("not multiple of block size")
	}
	plain := bytes.Clone(data[aes.BlockSize:])
	cipher.NewCBCDecrypter(block, data[:aes.BlockSize]).CryptBlocks(plain, plain)
	padding := int(plain[len(plain)-1])
	if padding > len(plain) {
		return nil, errors.New("here that plugin crashes")
	}
	return &kmsapi.DecryptResponse{Plaintext: plain[:len(plain)-padding]}, nil
}

// node is a control-plane node: its socket, what listens there, and its API server.
type node struct {
	cluster

	conf   string // the configuration that the old plugin has
	stop   func()
	server *apiserver.Server
}

func newNode(t *testing.T, c *cluster, secret string) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{cluster: *c, conf: filepath.Join(dir, "cloud.conf"), stop: func() {}}
	n.endpoint = "unix://" + filepath.Join(dir, "kms.sock")
	demo := c.sim.Keystone.User("demo", "demo")
	conf := fmt.Sprintf("[Global]\nauth-url=%q\nuser-id=%q\npassword=%q\ntenant-id=%q\n\n[KeyManager]\nkey-id=%q\n", c.sim.AuthURL(), demo.UserID, demo.Password, demo.ProjectID, secret)
	if err := os.WriteFile(n.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

// runOld replaces what runs on the node by the old plugin.
func (n *node) runOld(t *testing.T, secret string) {
	t.Helper()
	n.stop()
	pool := openstack.NewPool(openstack.Options{})
	server := grpc.NewServer()
	kmsapi.RegisterKeyManagementServiceServer(server, &oldPlugin{barbican: barbican.NewClient(pool.Session(n.cred)), secret: secret})
	socket := strings.TrimPrefix(n.endpoint, "unix://")
	_ = os.Remove(socket) // it does so, too
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	n.stop = sync.OnceFunc(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		pool.Close()
	})
	t.Cleanup(n.stop)
	n.server = ready(t, n.apiserver(t))
}

// run replaces what runs on the node by our plugin, with the old one's two flags and others.
func (n *node) run(t *testing.T, args ...string) {
	t.Helper()
	n.stop()
	ctx, cancel := context.WithCancel(t.Context())
	var log logtest.Buffer
	code := make(chan int, 1)
	go func() {
		code <- cli.Main(cli.Env{ //nolint:contextcheck // a program has its context from its signals
			Args: append([]string{"barbican-kms", "--socketpath=" + strings.TrimPrefix(n.endpoint, "unix://"), "--cloud-config=" + n.conf}, args...),
			UID:  os.Geteuid(), Stdout: &log, Stderr: &log, ReadFile: os.ReadFile, LookupEnv: func(string) (string, bool) { return "", false },
			Signals: func(context.Context) (context.Context, context.CancelFunc) { return ctx, cancel },
		})
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if c := <-code; c != 0 {
			t.Errorf("exit %d:\n%s", c, log.String())
		}
	})
	t.Cleanup(n.stop)
	n.server = ready(t, n.apiserver(t))
}

// TestKMSTakeover takes a control plane of three nodes over from the old plugin, with kube-apiserver's own code on each: at every
// step every node writes, and every node reads all that stands in etcd.
func TestKMSTakeover(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	legacy := c.key(t)
	next := c.api.order(t, map[string]any{"name": target.Unique(t), "algorithm": "aes", "bit_length": 256}).text("secret_ref")
	keyring := path.Base(c.api.container(t, map[string]string{"generation-1": next}))
	nodes := []*node{newNode(t, c, legacy), newNode(t, c, legacy), newNode(t, c, legacy)}
	var etcd [][]byte
	step := func(name string) {
		t.Helper()
		for _, n := range nodes {
			etcd = append(etcd, write(t, n.server, len(etcd)))
		}
		for i, n := range nodes {
			for j, stored := range etcd {
				if got, _, err := n.server.Read(t.Context(), place(j), stored); err != nil || string(got) != object {
					t.Fatalf("%s: node %d reads object %d: %q, %v", name, i, j, got, err)
				}
			}
		}
	}
	for _, n := range nodes {
		n.runOld(t, legacy)
	}
	step("the old plugin")
	flags := []string{"--keyring=" + keyring, "--cluster-id=c", "--poll-interval=1s", "--activation-delay=2s"}
	for i, n := range nodes {
		n.run(t, append(flags, "--compat-write")...)
		step(fmt.Sprintf("compat-write on node %d", i))
	}
	for i, stored := range etcd {
		if !bytes.Contains(stored, []byte(legacy)) || bytes.Contains(stored, []byte("barbican:v1:")) {
			t.Errorf("object %d does not have the old key id", i)
		}
	}
	for i, n := range nodes {
		n.run(t, flags...)
		step(fmt.Sprintf("active on node %d", i))
	}
	id := barbican.KeyRef{Secret: path.Base(next), Generation: 1}.KeyID()
	unwritten := etcd[0]
	for i, stored := range etcd {
		wasLegacy := !bytes.Contains(stored, []byte(id))
		read(t, nodes[0].server, i, stored, wasLegacy) // stale: the storage migration writes it again
		etcd[i] = write(t, nodes[i%len(nodes)].server, i)
		if !bytes.Contains(etcd[i], []byte(id)) {
			t.Errorf("object %d does not have the new key id", i)
		}
	}
	step("written again")
	for _, n := range nodes { // without key-id the legacy key is retired
		conf, err := os.ReadFile(n.conf)
		if err != nil {
			t.Fatal(err)
		}
		global, _, _ := strings.Cut(string(conf), "[KeyManager]")
		if err := os.WriteFile(n.conf, []byte(global), 0o600); err != nil {
			t.Fatal(err)
		}
		n.run(t, flags...)
		step("retired")
	}
	if _, _, err := nodes[0].server.Read(t.Context(), place(0), unwritten); err == nil || !strings.Contains(err.Error(), "not a key id of this plugin") {
		t.Errorf("an object that was not written again, without the legacy key: %v", err)
	}
	for i, stored := range etcd {
		read(t, nodes[1].server, i, stored, false)
	}
}
