package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// vault is a simulated cloud whose Barbican the tools work with.
type vault struct {
	sim *openstacksim.Cloud
}

func newVault(t *testing.T, c openstacksim.Config) *vault {
	t.Helper()
	sim, err := openstacksim.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return &vault{sim}
}

// world is a process that knows the cloud as its tenant.
func (v *vault) world() *world {
	w := newWorld()
	w.files["clouds.yaml"] = string(v.sim.CloudsYAML())
	w.env["MOORING_CLOUDS_FILE"], w.env["MOORING_OS_CLOUD"] = "clouds.yaml", "demo"
	return w
}

// run runs a tool of "mooring keys".
func (v *vault) run(args ...string) (code int, out, errs string) {
	w := v.world()
	code = w.main(append([]string{"keys"}, args...)...)
	return code, w.out.String(), w.errs.String()
}

// api is the tenant's client of Barbican.
func (v *vault) api(t *testing.T) *gophercloud.ServiceClient {
	t.Helper()
	cred, err := openstack.Source{
		Cloud: "demo", CloudsFile: "clouds.yaml", LookupEnv: func(string) (string, bool) { return "", false },
		ReadFile: func(string) ([]byte, error) { return v.sim.CloudsYAML(), nil },
	}.Load()
	if err != nil {
		t.Fatal(err)
	}
	pool := openstack.NewPool(openstack.Options{})
	t.Cleanup(pool.Close)
	client, err := pool.Session(cred).Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// key makes a secret that is a key.
func (v *vault) key(t *testing.T) string {
	t.Helper()
	client := v.api(t)
	var made struct {
		Ref string `json:"secret_ref"`
	}
	resp, err := client.Post(t.Context(), client.Endpoint+"secrets", map[string]any{
		"payload": base64.StdEncoding.EncodeToString(make([]byte, 32)), "payload_content_type": "application/octet-stream", "payload_content_encoding": "base64",
	}, &made, &gophercloud.RequestOpts{OkCodes: []int{http.StatusCreated}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return path.Base(made.Ref)
}

// plugin starts a plugin with a key and returns its socket.
func (v *vault) plugin(t *testing.T, args ...string) (endpoint string) {
	t.Helper()
	endpoint = "unix://" + filepath.Join(t.TempDir(), "kms.sock")
	started(t, v.world(), append([]string{"barbican-kms", "--endpoint=" + endpoint, "--cluster-id=c 1", fmt.Sprintf("--allowed-uids=%d", os.Geteuid())}, args...)...)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		code, _, errs := v.run("status", "--endpoint="+endpoint)
		if code == exitOK {
			return endpoint
		}
		if time.Now().After(end) {
			t.Fatal(errs)
		}
	}
}

func TestKeysStatus(t *testing.T) {
	t.Parallel()
	v := newVault(t, openstacksim.Config{})
	secret := v.key(t)
	endpoint := v.plugin(t, "--key-id="+secret+":7")
	code, out, errs := v.run("status", "--endpoint="+endpoint, "--round-trip", "--output=json")
	var got []pluginStatus
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || len(got) != 1 {
		t.Fatalf("exit %d: %v: %s%s", code, err, out, errs)
	}
	if s := got[0]; s.Version != "v2" || s.Healthz != "ok" || s.KeyID != "barbican:v1:"+secret+":7" || s.Generation != 7 || s.Secret != secret ||
		!strings.HasPrefix(s.KeyIDHash, "sha256:") || s.EncryptMicroseconds == 0 || s.DecryptMicroseconds == 0 || s.Error != "" {
		t.Errorf("%+v", s)
	}
	// One that is not there does not hide the other.
	missing := "unix://" + filepath.Join(t.TempDir(), "none.sock")
	code, out, errs = v.run("status", "--endpoint="+missing+","+endpoint)
	if code != exitFailure || !strings.Contains(errs, missing+": Status: Unavailable") || strings.Count(out, "\n") != 3 || !strings.Contains(out, secret) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, _, errs = v.run("status", "--endpoint=kms.sock", "--output=yaml", "--os-cloud=demo", "stray")
	for _, want := range []string{`--endpoint: "kms.sock" has to be a unix socket`, `--output: "yaml"`, "there is no flag --os-cloud", `unexpected argument "stray"`} {
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("exit %d, no %q: %s", code, want, errs)
		}
	}
}
