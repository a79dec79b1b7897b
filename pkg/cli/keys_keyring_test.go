package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mooring/pkg/openstack/openstacksim"
)

// into runs a tool that has to succeed, and reads its JSON.
func (v *vault) into(t *testing.T, out any, args ...string) (errs string) {
	t.Helper()
	code, text, errs := v.run(append(args, "--output=json")...)
	if code != exitOK {
		t.Fatalf("%q: exit %d: %s%s", args, code, text, errs)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields() // the types are what is documented
	if err := decoder.Decode(out); err != nil {
		t.Fatalf("%q: %v: %s", args, err, text)
	}
	return errs
}

// refused runs a tool that has to fail with these words.
func (v *vault) refused(t *testing.T, words string, args ...string) {
	t.Helper()
	if code, out, errs := v.run(args...); code != exitFailure || !strings.Contains(errs, words) {
		t.Errorf("%q: exit %d, want %q: %s%s", args, code, words, out, errs)
	}
}

// states are the states of a keyring's generations, the highest first.
func (v *vault) states(t *testing.T, args ...string) (states []string) {
	t.Helper()
	var list listedKeyring
	v.into(t, &list, append([]string{"list"}, args...)...)
	for _, k := range list.Keys {
		states = append(states, fmt.Sprintf("%d %s", k.Generation, k.State))
	}
	return states
}

func TestKeysLife(t *testing.T) {
	t.Parallel()
	v := newVault(t, openstacksim.Config{})
	var first, again initiated
	v.into(t, &first, "init", "--cluster-id=c 1", "--reader=somebody")
	if first.DeletionGuard != "noted" {
		t.Errorf("deletion guard %q", first.DeletionGuard)
	}
	if first.Existed || first.Key.Generation != 1 || first.Key.Creator == "" || first.Key.Store != "Software Only Crypto" ||
		!strings.Contains(first.EncryptionConfiguration, "name: mooring-c-1\n") || !strings.Contains(first.EncryptionConfiguration, `endpoint: "unix:///run/mooring/kms.sock"`) {
		t.Errorf("%+v", first)
	}
	if errs := v.into(t, &again, "init", "--cluster-id=c 1"); !again.Existed || again.Keyring != first.Keyring || again.Key.Secret != first.Key.Secret || !strings.Contains(errs, "no key was made") {
		t.Errorf("%+v: %s", again, errs)
	}
	for _, kind := range []string{"containers/" + first.Keyring, "secrets/" + first.Key.Secret} {
		var acl struct {
			Read struct {
				Project bool     `json:"project-access"`
				Users   []string `json:"users"`
			} `json:"read"`
		}
		v.get(t, kind+"/acl", &acl)
		if acl.Read.Project || !slices.Equal(acl.Read.Users, []string{"somebody"}) {
			t.Errorf("%s: %+v", kind, acl)
		}
		var consumers struct{ Total int }
		v.get(t, kind+"/consumers", &consumers)
		if consumers.Total != 1 {
			t.Errorf("%s: %d consumers", kind, consumers.Total)
		}
	}

	// The flags that init printed run the plugin, and the next key reaches it.
	const delay = "--activation-delay=3s"
	keyring := "--keyring=" + first.Keyring
	endpoint := v.plugin(t, keyring, "--allowed-creators="+first.Key.Creator, "--poll-interval=1s", delay)
	var next rotated
	v.into(t, &next, "rotate", keyring, delay, "--wait", "--endpoint="+endpoint, "--timeout=20s")
	if next.Key.Generation != 2 || !next.Active || next.Activation == nil || next.Key.Secret == first.Key.Secret {
		t.Errorf("%+v", next)
	}
	if got := v.states(t, keyring, delay); !slices.Equal(got, []string{"2 active", "1 old"}) {
		t.Errorf("states %q", got)
	}
	if got := v.states(t, keyring); !slices.Equal(got, []string{"2 pending", "1 active"}) { // by the default delay
		t.Errorf("states %q", got)
	}
	v.refused(t, "a generation is still to become active: 2 ", "rotate", keyring)
	v.refused(t, "generation 2 becomes active at ", "retire", "2", keyring, "--force")
	v.refused(t, "generation 2 is the active one", "retire", "2", keyring, delay, "--force")
	v.refused(t, "2 is the highest", "retire", "3", keyring, delay, "--force")

	retire := []string{"retire", "1", keyring, delay, "--delete-secret"}
	w := v.world()
	w.files["used.json"] = fmt.Sprintf(`{"prefix": "/registry/", "complete": true, "keys": [{"keyId": %q, "count": 2}, {"keyId": %q, "count": 3}]}`, first.Key.KeyID, first.Key.KeyID)
	if code := w.main(append([]string{"keys"}, append(retire, "--scan-report=used.json")...)...); code != exitFailure || !strings.Contains(w.errs.String(), "5 objects are stored with") {
		t.Errorf("exit %d: %s", code, w.errs.String())
	}
	for name, at := range map[string]string{"without a time": `null`, "of yesterday": timeJSON(-24 * time.Hour), "from before the rotation": timeJSON(-30 * time.Minute)} {
		w := v.world()
		w.files["old.json"] = fmt.Sprintf(`{"time": %s, "prefix": "/registry/", "complete": true, "keys": []}`, at)
		if code := w.main(append([]string{"keys"}, append(retire, "--scan-report=old.json")...)...); code != exitFailure || !strings.Contains(w.errs.String(), "--scan-report old.json: the scan is no proof") {
			t.Errorf("a report %s: exit %d: %s", name, code, w.errs.String())
		}
	}
	w.files["free.json"] = fmt.Sprintf(`{"time": %s, "prefix": "/registry/", "complete": true, "keys": [{"keyId": %q, "count": 2}]}`, timeJSON(0), next.Key.KeyID)
	if code := w.main(append([]string{"keys"}, append(retire, "--scan-report=free.json")...)...); code != exitOK || !strings.Contains(w.out.String(), "was deleted") {
		t.Errorf("exit %d: %s", code, w.errs.String())
	}
	if got := v.states(t, keyring, delay); !slices.Equal(got, []string{"2 active"}) {
		t.Errorf("states %q", got)
	}
	v.refused(t, "the keyring has no such generation: generation 1", "retire", "1", keyring, delay, "--force")
}

// get reads what Barbican has.
func (v *vault) get(t *testing.T, path string, into any) {
	t.Helper()
	client := v.api(t)
	resp, err := client.Get(t.Context(), client.Endpoint+path, into, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// Where Barbican deletes keys that are in use, init and list say so, in a table and in JSON.
func TestKeysTellTheGuard(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"1.0": "none", "1.1": "noted", "1.2": "refuses"} {
		v := newVault(t, openstacksim.Config{Barbican: openstacksim.BarbicanConfig{MaxMicroversion: version}})
		var made initiated
		var list listedKeyring
		const warning = "Deletion is not guarded"
		warned := strings.Contains(v.into(t, &made, "init", "--cluster-id=c"), warning)
		v.into(t, &list, "list", "--keyring="+made.Keyring)
		_, _, errs := v.run("list", "--keyring="+made.Keyring)
		if made.DeletionGuard != want || list.DeletionGuard != want || warned != (want != "refuses") || strings.Contains(errs, warning) != warned {
			t.Errorf("%s: %q and %q, want %q; warned %v; %s", version, made.DeletionGuard, list.DeletionGuard, want, warned, errs)
		}
	}
}

// What is to be deleted may be taken out first, and the secret found again.
func TestKeysRetireInSteps(t *testing.T) {
	t.Parallel()
	v := newVault(t, openstacksim.Config{})
	var first initiated
	var next rotated
	v.into(t, &first, "init", "--cluster-id=c")
	keyring, delay := "--keyring="+first.Keyring, "--activation-delay=0s"
	v.into(t, &next, "rotate", keyring, delay)
	var gone retired
	errs := v.into(t, &gone, "retire", "1", keyring, delay, "--force")
	if !gone.Removed || gone.Deleted || !strings.Contains(errs, "can't be read any more once the plugins are restarted") {
		t.Errorf("%+v: %s", gone, errs)
	}
	v.get(t, "secrets/"+first.Key.Secret, &struct{}{})
	errs = v.into(t, &gone, "retire", "1", keyring, delay, "--force", "--delete-secret")
	if gone.Removed || !gone.Deleted || gone.Key.Secret != first.Key.Secret || !strings.Contains(errs, "are lost for good") {
		t.Errorf("%+v: %s", gone, errs)
	}
	if got := v.states(t, keyring, delay); !slices.Equal(got, []string{"2 active"}) {
		t.Errorf("states %q", got)
	}
}

// enter gives a secret a place in a keyring.
func (v *vault) enter(t *testing.T, keyring, name, secret string) {
	t.Helper()
	client := v.api(t)
	resp, err := client.Post(t.Context(), client.Endpoint+"containers/"+keyring+"/secrets",
		map[string]string{"name": name, "secret_ref": client.Endpoint + "secrets/" + secret}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// Of several keys with one number --secret names the one that goes, and no other one does.
func TestKeysRetireOneOfTwo(t *testing.T) {
	t.Parallel()
	v := newVault(t, openstacksim.Config{})
	var first initiated
	var next rotated
	v.into(t, &first, "init", "--cluster-id=c")
	keyring, now := "--keyring="+first.Keyring, "--activation-delay=0s"
	v.into(t, &next, "rotate", keyring, now)
	twin, stray := v.key(t), v.key(t)
	v.enter(t, first.Keyring, "generation-1", twin)
	if got := v.states(t, keyring, now); !slices.Equal(got, []string{"2 active", "1 strange", "1 strange"}) {
		t.Fatalf("states %q", got)
	}
	retire := func(more ...string) []string {
		return append([]string{"retire", "1", keyring, now, "--force"}, more...)
	}
	v.refused(t, "is given to two keys", retire()...)
	for _, wrong := range []string{stray, next.Key.Secret} { // in no generation, in another one
		v.refused(t, "no such generation: generation 1 with the secret "+wrong, retire("--secret="+wrong, "--delete-secret")...)
	}
	for _, wrong := range []string{"1", strings.ToUpper(twin)} {
		if code, _, errs := v.run(retire("--secret=" + wrong)...); code != exitUsage || !strings.Contains(errs, "has to be the UUID of a secret") {
			t.Errorf("%q: exit %d: %s", wrong, code, errs)
		}
	}
	var gone retired
	v.into(t, &gone, retire("--secret="+twin, "--delete-secret")...)
	if !gone.Removed || !gone.Deleted || gone.Key.Secret != twin || gone.Key.Generation != 1 {
		t.Errorf("%+v", gone)
	}
	if got := v.states(t, keyring, now); !slices.Equal(got, []string{"2 active", "1 old"}) {
		t.Errorf("states %q", got)
	}
	for _, left := range []string{stray, next.Key.Secret, first.Key.Secret} {
		v.get(t, "secrets/"+left, &struct{}{})
	}

	// A key that an earlier run took out is found again, unless it is not the one that is named.
	v.into(t, &gone, retire()...)
	v.refused(t, "no such generation: generation 1 with the secret "+stray, retire("--secret="+stray, "--delete-secret")...)
	v.get(t, "secrets/"+first.Key.Secret, &struct{}{})
	v.into(t, &gone, retire("--secret="+first.Key.Secret, "--delete-secret")...)
	if gone.Removed || !gone.Deleted || gone.Key.Secret != first.Key.Secret {
		t.Errorf("%+v", gone)
	}
}

func TestKeysOrderFails(t *testing.T) {
	t.Parallel()
	v := newVault(t, openstacksim.Config{})
	v.sim.Barbican.FailOrders(1)
	v.refused(t, "the order for a key failed: 500 Process TypeOrder failure seen", "init", "--cluster-id=c")
	v.refused(t, `not "Elsewhere"; an admin`, "init", "--cluster-id=c", "--store=Elsewhere")
	var made initiated
	if errs := v.into(t, &made, "init", "--cluster-id=c"); !strings.Contains(errs, "is there already") || made.Key.Generation != 1 {
		t.Errorf("%+v: %s", made, errs)
	}
	v.sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceBarbican, Method: http.MethodPost, Path: "^/v1/orders", Status: 403, Count: 1})
	v.refused(t, "ordering a key: POST /key-manager/v1/orders: 403", "rotate", "--keyring="+made.Keyring, "--activation-delay=0s")
}

func TestKeysMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no command": {nil, []string{"a command is missing: init, list, rotate, scan, retire or status"}},
		"init": {[]string{"init", "--output=xml", "--endpoint=x", `--name=a\b`, "stray"}, []string{
			"--cluster-id (MOORING_CLUSTER_ID) is missing", `--output: "xml"`, `--endpoint: "x"`, "--name: ", `unexpected argument "stray"`, "no cloud is named",
		}},
		"a long cluster": {[]string{"init", "--cluster-id=" + strings.Repeat("é", 200)}, []string{"--name: 419 bytes", "--cluster-id: it is too long to be registered"}},
		"list":           {[]string{"list", "--keyring=X", "--allowed-creators=any,me", "--activation-delay=-1s"}, []string{`--keyring: "X" has to be the UUID`, "--allowed-creators: with any", "--activation-delay: -1s is negative"}},
		"rotate":         {[]string{"rotate", "--endpoint=unix:///k", "--timeout=0s"}, []string{"--keyring (MOORING_KEYRING) is missing", "--endpoint: it is only for --wait", "--timeout: 0s"}},
		"retire":         {[]string{"retire"}, []string{"0 arguments", "--etcd-endpoints (MOORING_ETCD_ENDPOINTS) or --scan-report is missing", "--keyring (MOORING_KEYRING) is missing"}},
		"generations":    {[]string{"retire", "0", "--secret=x", "--scan-report=none.json"}, []string{`"0" has to be the number of a generation`, "--secret: ", "--scan-report: open none.json"}},
		"a snapshot":     {[]string{"retire", "1", "--etcd-snapshot=s.db"}, []string{"--etcd-snapshot: a snapshot does not tell"}},
		"no report":      {[]string{"retire", "1", "--scan-report=a.json,b.json,c.json"}, []string{"a.json is no report of a scan", "b.json: the scan is not complete", "c.json: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.files["a.json"], w.files["b.json"], w.files["c.json"] = "{}", `{"prefix": "/registry/", "complete": false, "keys": []}`, "["
			if code := w.main(append([]string{"keys"}, c.args...)...); code != exitUsage {
				t.Errorf("exit %d", code)
			}
			for _, want := range c.want {
				if !strings.Contains(w.errs.String(), want) {
					t.Errorf("no %q in %s", want, w.errs.String())
				}
			}
		})
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{-time.Second: "0s", 61 * time.Second: "1m1s", 90 * time.Minute: "1h30m", 49 * time.Hour: "2d1h"} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if age(time.Time{}, now) != "-" {
		t.Error("an unknown age")
	}
}

// timeJSON is an instant from now.
func timeJSON(d time.Duration) string {
	return time.Now().Add(d).UTC().Format(`"` + time.RFC3339Nano + `"`)
}
