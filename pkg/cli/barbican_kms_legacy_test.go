package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mooring/pkg/openstack/openstacksim"
)

// cloudConf is the configuration that cloud-provider-openstack's plugin had.
func (v *vault) cloudConf(key string) string {
	demo := v.sim.Keystone.User("demo", "demo")
	return fmt.Sprintf("[Global]\nauth-url = %q\nuser-id = %s\npassword = %q\ntenant-id = %s\nca-filee = /x\n[LoadBalancer]\nsubnet-id = 1\n[KeyManager]\nkey-id = %s\n",
		v.sim.AuthURL(), demo.UserID, demo.Password, demo.ProjectID, key)
}

// health asks a plugin until it answers well.
func (v *vault) health(t *testing.T, w *world, socket string) pluginStatus {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		code, out, errs := v.run("status", "--endpoint=unix://"+socket, "--round-trip", "--output=json")
		var got []pluginStatus
		if code == exitOK && json.Unmarshal([]byte(out), &got) == nil && len(got) == 1 {
			return got[0]
		}
		if time.Now().After(end) {
			t.Fatalf("%s%s", errs, w.errs.String())
		}
	}
}

// TestInPlaceOfTheOldPlugin starts with the flags that a unit or static pod of the old plugin has, and one more; then with a key
// of the keyring, and with the old one to read.
func TestInPlaceOfTheOldPlugin(t *testing.T) {
	t.Parallel()
	v := newVault(t, openstacksim.Config{})
	old, next := v.key(t), v.key(t)
	socket := filepath.Join(t.TempDir(), "kms.sock")
	run := func(want string, args ...string) {
		w := newWorld()
		w.files["/etc/config/cloud.conf"] = v.cloudConf(old)
		stop := started(t, w, append([]string{
			"barbican-kms", "--socketpath=" + socket, "--cloud-config=/etc/config/cloud.conf", fmt.Sprintf("--allowed-uids=%d", os.Geteuid()), "--admin-listen=127.0.0.1:0",
		}, args...)...)
		if got := v.health(t, w, socket); got.KeyID != want {
			t.Errorf("%q: key id %q, want %q", args, got.KeyID, want)
		}
		w.waitFor(t, `setting="[Global] ca-filee: it is not known here"`)
		w.waitFor(t, "--socketpath is deprecated")
		w.waitFor(t, `msg="a legacy key is held" key_id=`+old)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			code, body := w.admin(t, "/readyz")
			if code == 200 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("readyz: %d %s", code, body)
			}
		}
		_, metrics := w.admin(t, "/metrics")
		if compat := strings.Contains(metrics, "mooring_barbican_compat_write_info{"); compat != (want == old) || !strings.Contains(metrics, `mooring_barbican_legacy_keys{state="held"} 1`) {
			t.Errorf("%q: metrics %v", args, compat)
		}
		stop()
		if log := w.errs.String(); strings.Contains(log, v.sim.Keystone.User("demo", "demo").Password) || strings.Contains(log, "not authenticated") != (want == old) {
			t.Errorf("%q: the log:\n%s", args, log)
		}
	}
	run(old, "--compat-write")
	run(old, "--compat-write", "--key-id="+next, "--cluster-id=c")
	run("barbican:v1:"+next+":1", "--key-id="+next, "--cluster-id=c")
}

func TestLegacyMistakes(t *testing.T) {
	t.Parallel()
	const id = "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"
	const conf = "[Global]\nauth-url=https://k.test\nuser-id=u\npassword=hush-hush\ntenant-id=t\n"
	base := []string{"barbican-kms", "--cloud-config=conf", "--socketpath=/run/kms.sock"}
	for name, tc := range map[string]struct {
		args []string
		conf string
		want []string
	}{
		"no key":           {append(base, "--compat-write"), conf, []string{"--compat-write: it needs exactly one --legacy-key, or [KeyManager] key-id in --cloud-config; there are 0"}},
		"two keys":         {append(base, "--compat-write", "--legacy-key="+id+","+id[:35]+"c"), conf, []string{"there are 2"}},
		"no UUID":          {append(base, "--compat-write"), conf + "[KeyManager]\nkey-id=mine", []string{`key-id of --cloud-config: "mine" has to be the UUID`}},
		"no compat-write":  {base, conf + "[KeyManager]\nkey-id=" + id, []string{"--cluster-id (MOORING_CLUSTER_ID) is missing", "--keyring (MOORING_KEYRING) is missing"}},
		"two logins":       {append(base, "--compat-write", "--os-cloud=demo"), conf + "[KeyManager]\nkey-id=" + id, []string{"--cloud-config: with it, --os-cloud"}},
		"two sockets":      {append(base, "--compat-write", "--endpoint=unix:///run/b.sock"), conf + "[KeyManager]\nkey-id=" + id, []string{"--socketpath: it is an old name of --endpoint"}},
		"a relative path":  {[]string{"barbican-kms", "--cloud-config=conf", "--socketpath=kms.sock", "--compat-write"}, conf + "[KeyManager]\nkey-id=" + id, []string{`--socketpath: "kms.sock" has to be an absolute path`}},
		"the file":         {append(base, "--compat-write"), "[Global]\npassword=hush-hush\nuser-id=u\n", []string{"--cloud-config: conf: [Global] auth-url is missing", "conf: [Global] tenant-name is missing"}},
		"keyring and more": {append(base, "--compat-write", "--key-id="+id), conf + "[KeyManager]\nkey-id=" + id, []string{"--cluster-id (MOORING_CLUSTER_ID) is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.files["conf"] = tc.conf
			if code := w.main(tc.args...); code != exitUsage {
				t.Errorf("exit %d, want %d", code, exitUsage)
			}
			got := w.errs.String()
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in:\n%s", want, got)
				}
			}
			if strings.Contains(got, "hush-hush") || strings.Count(got, "\n") != len(tc.want)+1 && len(tc.want) == 1 {
				t.Errorf("said:\n%s", got)
			}
		})
	}
}
