package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
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
	activationDelay = 5 * time.Second
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
	dir := shortDir(t)
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

// shortDir is a directory for a socket, whose path has 107 bytes at most: t.TempDir's is longer.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
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
func (k *keys) configure(ctx context.Context, t *testing.T, providers ...string) error {
	t.Helper()
	file := filepath.Join(k.dir, "encryption.yaml")
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - " + strings.Join(providers, "\n  - ") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return restartServer(ctx, t, "--encryption-provider-config="+file)
}

func restartServer(ctx context.Context, t *testing.T, flags ...string) error {
	t.Helper()
	began := time.Now()
	_, err := run(ctx, "", labScript, append([]string{"kubernetes", "apiserver", "restart"}, flags...)...)
	t.Logf("kube-apiserver restarted in %v", time.Since(began).Round(100*time.Millisecond))
	return err
}

// testKeys has a real kube-apiserver encrypt with the plugin on its node, through a rotation, and through an outage of Barbican in which first
// kube-apiserver is restarted and then the plugin.
func testKeys(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	k := c.keys
	const identity = "identity: {}"
	kms := "kms: {apiVersion: v2, name: mooring, endpoint: \"unix://" + k.dir + "/kms.sock\", timeout: 3s}"
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{c.lab.Etcd}, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	s := &secretStore{c: c, etcd: etcd, namespace: c.namespace(t)}
	configure := func(providers ...string) {
		t.Helper()
		if err := k.configure(t.Context(), t, providers...); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { // all in clear again, and the lab as it was: the keyring goes away with the test
		ctx := context.WithoutCancel(t.Context())
		err := k.configure(ctx, t, identity, kms)
		all := ""
		if err == nil {
			all, err = c.try(ctx, "", "get", "secrets", "--all-namespaces", "-o", "json")
		}
		if err == nil {
			_, err = c.try(ctx, all, "replace", "-f", "-")
		}
		if err == nil {
			err = restartServer(ctx, t)
		}
		if err != nil {
			t.Error(err)
		}
	}()
	configure(kms, identity)
	s.write(t, "before")
	s.check(t, "before", k.made.Key.KeyID)
	active := k.rotate(t, s)
	s.write(t, "after")
	s.check(t, "after", active)
	s.read(t, "before")

	signal(t, c.daemon(t, "barbican"), syscall.SIGKILL)
	t.Cleanup(func() {
		if t.Failed() {
			startCloud(context.WithoutCancel(t.Context()), t)
		}
	})
	configure(kms, identity) // it forgets all keys that it had from the plugin
	s.write(t, "away")
	s.check(t, "away", active)
	s.read(t, "before", "after", "away")

	c.restartPlugin(t)
	if out, err := keysStatus(t, k.dir+"/kms.sock"); err == nil || !strings.Contains(err.Error(), "Unavailable") {
		t.Errorf("a plugin that never had a key says %q, %v", out, err)
	}
	s.read(t, "before", "after", "away") // with what kube-apiserver has kept
	s.health(t, false)

	startCloud(t.Context(), t)
	began := time.Now()
	eventually(t, "the plugin has its keys", func() bool { _, err := keysStatus(t, k.dir+"/kms.sock"); return err == nil })
	t.Logf("the plugin served %v after the cloud was all back", time.Since(began).Round(100*time.Millisecond))
	s.health(t, true)
	t.Logf("kube-apiserver was ready %v after the cloud was all back", time.Since(began).Round(100*time.Millisecond))
	s.write(t, "back")
	s.check(t, "back", active)
	configure(kms, identity) // it has to ask the plugin for all keys again
	s.read(t, "before", "after", "away", "back")
}

// rotate makes a new key, and waits until kube-apiserver writes with it. kube-apiserver asks the plugin for its key once in a minute, or when it is asked for
// its health and has not asked for 20 s.
func (k *keys) rotate(t *testing.T, s *secretStore) (keyID string) {
	t.Helper()
	var rotated struct {
		Key key `json:"key"`
	}
	if err := json.Unmarshal(k.mooring(t, "keys", "rotate", "--keyring", k.made.Keyring, "--activation-delay", activationDelay.String(),
		"--wait", "--endpoint", "unix://"+k.dir+"/kms.sock"), &rotated); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "kube-apiserver writes with the new key", func() bool {
		_, err := s.c.try(t.Context(), "", "get", "--raw", "/readyz")
		name := "rotated-" + time.Now().Format("150405.000")
		s.write(t, name)
		return err == nil && bytes.Contains(s.stored(t, name), []byte(rotated.Key.KeyID))
	})
	t.Logf("kube-apiserver wrote with %s %v after the plugin had gone over", rotated.Key.KeyID, time.Since(began).Round(time.Second))
	return rotated.Key.KeyID
}

// keysStatus has the plugin at a socket wrap and unwrap something.
func keysStatus(t *testing.T, socket string) (string, error) {
	t.Helper()
	return run(t.Context(), "", filepath.Join(process.Programs(t), "mooring"), "keys", "status", "--round-trip", "--endpoint", "unix://"+socket)
}

// restartPlugin deletes the plugin's pod, and waits for the next one to run.
func (c *cluster) restartPlugin(t *testing.T) {
	t.Helper()
	const kms = "app.kubernetes.io/component=kms"
	c.kubectl(t, "delete", "pod", "-l", kms, "-n", release, "--wait", "--timeout=90s")
	eventually(t, "the plugin's next pod runs", func() bool {
		return c.kubectl(t, "get", "pod", "-l", kms, "-n", release, "-o", "jsonpath={.items[*].status.phase}") == "Running"
	})
}

// secretStore writes Secrets and reads them, by kube-apiserver and in etcd.
type secretStore struct {
	c         *cluster
	etcd      *clientv3.Client
	namespace string
}

func (s *secretStore) write(t *testing.T, name string) {
	t.Helper()
	s.c.kubectl(t, "create", "secret", "generic", name, "-n", s.namespace, "--from-literal=password=hunter2")
}

func (s *secretStore) read(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if got := s.c.kubectl(t, "get", "secret", name, "-n", s.namespace, "-o", "jsonpath={.data.password}"); got != "aHVudGVyMg==" {
			t.Errorf("%s is read as %q", name, got)
		}
	}
}

func (s *secretStore) stored(t *testing.T, name string) []byte {
	t.Helper()
	got, err := s.etcd.Get(t.Context(), "/registry/secrets/"+s.namespace+"/"+name)
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%s in etcd: %v, %v", name, got, err)
	}
	return got.Kvs[0].GetValue()
}

// check sees that etcd has a Secret encrypted with a key.
func (s *secretStore) check(t *testing.T, name, keyID string) {
	t.Helper()
	data := s.stored(t, name)
	if !bytes.HasPrefix(data, []byte("k8s:enc:kms:v2:mooring:")) || bytes.Contains(data, []byte("hunter2")) || !bytes.Contains(data, []byte(keyID)) {
		t.Errorf("%s is in etcd as %q, and should be encrypted with %s", name, data[:min(len(data), 150)], keyID)
	}
}

// health waits until kube-apiserver calls the plugin well, or says that it is not ready because of it.
func (s *secretStore) health(t *testing.T, well bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("kube-apiserver says %t of the plugin's health", well), func() bool {
		out, err := s.c.try(t.Context(), "", "get", "--raw", "/readyz?verbose")
		if well {
			return err == nil && strings.Contains(out, "[+]kms-providers ok")
		}
		return err != nil && strings.Contains(err.Error(), "[-]kms-providers failed")
	})
}
