package barbican_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"mooring/pkg/barbican"
	"mooring/pkg/cli"
)

// TestRetireLooksIntoEtcd: "keys retire" refuses while an object in a real etcd needs the key, which kube-apiserver's own code wrote.
func TestRetireLooksIntoEtcd(t *testing.T) {
	t.Parallel()
	server := startEtcd(t)
	c := newCluster(t)
	run := func(args ...string) (code int, out, errs string) {
		var stdout, stderr bytes.Buffer
		code = cli.Main(cli.Env{
			Args: append([]string{"keys"}, args...), Stdout: &stdout, Stderr: &stderr, Signals: context.WithCancel,
			LookupEnv: func(string) (string, bool) { return "", false },
			ReadFile: func(name string) ([]byte, error) {
				if name == "clouds.yaml" {
					return c.sim.CloudsYAML(), nil
				}
				return os.ReadFile(name)
			},
		})
		return code, stdout.String(), stderr.String()
	}
	const file, cloud = "--clouds-file=clouds.yaml", "--os-cloud=demo"
	var made struct {
		Keyring string `json:"keyring"`
		Key     struct {
			Secret string `json:"secret"`
		} `json:"key"`
	}
	code, out, errs := run("init", file, cloud, "--cluster-id=c", "--output=json")
	if err := json.Unmarshal([]byte(out), &made); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, errs)
	}
	c.plugin(t, "c", barbican.Entry{Ref: barbican.KeyRef{Secret: made.Key.Secret, Generation: 1}})
	if _, err := server.Client.Put(t.Context(), "/registry/pods/default/p", "k8s\x00"); err != nil { // etcd is never empty
		t.Fatal(err)
	}
	if _, err := server.Client.Put(t.Context(), place(1), string(write(t, ready(t, c.apiserver(t)), 1))); err != nil {
		t.Fatal(err)
	}
	keyring, now := "--keyring="+made.Keyring, "--activation-delay=0s"
	if code, _, errs := run("rotate", file, cloud, keyring, now); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	retire := []string{"retire", "1", file, cloud, keyring, now, "--etcd-endpoints=" + server.Endpoint}
	if code, _, errs := run(retire...); code != 1 || !strings.Contains(errs, "1 objects are stored with") {
		t.Errorf("in use: exit %d: %s", code, errs)
	}
	if code, _, errs := run("retire", "1", file, cloud, keyring, now, "--etcd-endpoints=http://127.0.0.1:1"); code != 1 || strings.Contains(errs, "stored with") {
		t.Errorf("without etcd: exit %d: %s", code, errs)
	}
	if _, err := server.Client.Delete(t.Context(), place(1)); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(retire...); code != 0 || !strings.Contains(out, "was taken out of the keyring") {
		t.Errorf("free: exit %d: %s", code, errs)
	}
}
