package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"
	clientv3 "go.etcd.io/etcd/client/v3"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
	"mooring/tests/peer/process"
)

const (
	pollInterval    = time.Second
	activationDelay = 10 * time.Second
)

// keys is a keyring in Barbican, the directories of the plugin that uses it, and the files of kube-apiserver.
type keys struct {
	dir     string // of the node: clouds.yaml, the socket, the state
	cluster string
	made    struct {
		Keyring string `json:"keyring"`
		Key     key    `json:"key"`
	}
	mooring func(t *testing.T, args ...string) []byte
}

type key struct {
	KeyID string `json:"keyId"`
}

// newKeys has "mooring keys init" make a keyring, which goes away with the test.
func newKeys(t *testing.T, c *cluster) *keys {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e") //nolint:usetesting // shorter than t.TempDir: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	k := &keys{dir: dir, cluster: target.Unique(t)}
	clouds, err := os.ReadFile(c.cloud.CloudsFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "clouds.yaml"), clouds, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(process.Programs(t), "mooring")
	k.mooring = func(t *testing.T, args ...string) []byte {
		t.Helper()
		out, err := run(t.Context(), "", program, append(args, "--output", "json", "--os-cloud", c.cloud.Name("demo"), "--clouds-file", c.cloud.CloudsFile())...)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(out)
	}
	if err := json.Unmarshal(k.mooring(t, "keys", "init", "--cluster-id", k.cluster), &k.made); err != nil {
		t.Fatal(err)
	}
	client, err := c.cloud.Session(t, "demo").Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.remove(t, client) })
	return k
}

func (k *keys) remove(t *testing.T, client *gophercloud.ServiceClient) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	ring, err := containers.Get(ctx, client, k.made.Keyring).Extract()
	if err != nil {
		t.Error(openstack.Wrap(err))
		return
	}
	if err := containers.Delete(ctx, client, k.made.Keyring).ExtractErr(); err != nil {
		t.Error(openstack.Wrap(err))
	}
	for _, ref := range ring.SecretRefs {
		if err := secrets.Delete(ctx, client, path.Base(ref.SecretRef)).ExtractErr(); err != nil {
			t.Error(openstack.Wrap(err))
		}
	}
}

// values are the chart's.
func (k *keys) values() map[string]any {
	return map[string]any{
		"enabled": true, "clusterID": k.cluster, "keyring": k.made.Keyring, "cloud": "e2e",
		"pollInterval": pollInterval.String(), "activationDelay": activationDelay.String(),
		"cloudsDirectory": k.dir, "socketDirectory": k.dir, "stateDirectory": k.dir,
	}
}

// configure restarts kube-apiserver with the given providers for Secrets.
func (k *keys) configure(ctx context.Context, t *testing.T, providers ...string) {
	t.Helper()
	file := filepath.Join(k.dir, "encryption.yaml")
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - " + strings.Join(providers, "\n  - ") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	restartServer(ctx, t, "--encryption-provider-config="+file)
}

func restartServer(ctx context.Context, t *testing.T, flags ...string) {
	t.Helper()
	began := time.Now()
	if _, err := run(ctx, "", labScript, append([]string{"kubernetes", "apiserver", "restart"}, flags...)...); err != nil {
		t.Fatal(err)
	}
	t.Logf("kube-apiserver restarted in %v", time.Since(began).Round(100*time.Millisecond))
}

// testKeys has a real kube-apiserver encrypt with the plugin on its node, through a restart and a rotation.
func testKeys(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	k := c.keys
	const identity = "identity: {}"
	kms := "kms: {apiVersion: v2, name: mooring, endpoint: \"unix://" + k.dir + "/kms.sock\", timeout: 3s}"
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{c.lab.Etcd}, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	namespace := c.namespace(t)
	defer func() { // all in clear again, and the lab as it was: the keyring goes away with the test
		ctx := context.WithoutCancel(t.Context())
		k.configure(ctx, t, identity, kms)
		all, err := c.try(ctx, "", "get", "secrets", "--all-namespaces", "-o", "json")
		if err == nil {
			_, err = c.try(ctx, all, "replace", "-f", "-")
		}
		if err != nil {
			t.Error(err)
		}
		restartServer(ctx, t)
	}()
	k.configure(t.Context(), t, kms, identity)
	write := func(name string) {
		c.kubectl(t, "create", "secret", "generic", name, "-n", namespace, "--from-literal=password=hunter2")
	}
	stored := func(name string) []byte {
		got, err := etcd.Get(t.Context(), "/registry/secrets/"+namespace+"/"+name)
		if err != nil || len(got.Kvs) != 1 {
			t.Fatalf("%s in etcd: %v, %v", name, got, err)
		}
		return got.Kvs[0].GetValue()
	}
	check := func(name, keyID string) {
		data := stored(name)
		if !bytes.HasPrefix(data, []byte("k8s:enc:kms:v2:mooring:")) || bytes.Contains(data, []byte("hunter2")) || !bytes.Contains(data, []byte(keyID)) {
			t.Errorf("%s is in etcd as %q, and should be encrypted with %s", name, data[:min(len(data), 150)], keyID)
		}
	}
	read := func(name string) {
		if got := c.kubectl(t, "get", "secret", name, "-n", namespace, "-o", "jsonpath={.data.password}"); got != "aHVudGVyMg==" {
			t.Errorf("%s is read as %q", name, got)
		}
	}
	write("before")
	check("before", k.made.Key.KeyID)

	k.configure(t.Context(), t, kms, identity)
	read("before")

	var rotated struct {
		Key key `json:"key"`
	}
	if err := json.Unmarshal(k.mooring(t, "keys", "rotate", "--keyring", k.made.Keyring, "--activation-delay", activationDelay.String(),
		"--wait", "--endpoint", "unix://"+k.dir+"/kms.sock"), &rotated); err != nil {
		t.Fatal(err)
	}
	began, n := time.Now(), 0
	target.Eventually(t, "kube-apiserver writes with the new key", func() bool {
		n++
		name := "after-" + string(rune('a'+n%26)) + "-" + time.Now().Format("150405.000")
		write(name)
		return bytes.Contains(stored(name), []byte(rotated.Key.KeyID))
	})
	t.Logf("kube-apiserver wrote with %s %v after the plugin had gone over", rotated.Key.KeyID, time.Since(began).Round(time.Second))
	write("after")
	check("after", rotated.Key.KeyID)
	read("before")
}
