package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mooring/pkg/barbican/scan"
	"mooring/pkg/etcd/etcdtest"
)

const (
	usedKey  = "barbican:v1:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b:7"
	spareKey = "barbican:v1:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b:6"
)

// wrapped is a value of KMS v2.
func wrapped(keyID string) string {
	return "k8s:enc:kms:v2:barbican:\x0a\x01x\x12" + string(rune(len(keyID))) + keyID
}

func keysScanOf(args ...string) (code int, out, errs string) {
	w := newWorld()
	code = w.main(append([]string{"keys", "scan"}, args...)...)
	return code, w.out.String(), w.errs.String()
}

func TestKeysScan(t *testing.T) {
	t.Parallel()
	snapshot := etcdtest.Snapshot(t,
		etcdtest.Revision{Main: 2, Key: "/registry/secrets/default/a", Value: wrapped(spareKey)},
		etcdtest.Revision{Main: 3, Key: "/registry/secrets/default/a", Value: wrapped(usedKey)},
		etcdtest.Revision{Main: 4, Key: "/registry/secrets/default/b", Value: wrapped(usedKey)},
		etcdtest.Revision{Main: 5, Key: "/registry/pods/default/p", Value: "k8s\x00"},
	)
	code, out, errs := keysScanOf("--etcd-snapshot=" + snapshot)
	var rows [][]string
	for line := range strings.Lines(out) {
		rows = append(rows, strings.Fields(line))
	}
	want := [][]string{
		{"STORED", "KEY-ID", "PROVIDER", "RESOURCE", "OBJECTS", "OLDEST-REVISION", "OLDEST"},
		{"kms", "v2", usedKey, "barbican", "secrets", "2", "3", "/registry/secrets/default/a"},
		{"unencrypted", "-", "-", "pods", "1", "5", "/registry/pods/default/p"},
		{},
		{"3", "objects", "under", "/registry/", "at", "revision", "5:", "complete"},
	}
	if code != exitOK || errs != "" || !slices.EqualFunc(rows, want, slices.Equal) {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	code, out, _ = keysScanOf("--etcd-snapshot="+snapshot, "--output=json")
	var report scan.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK || !report.Complete || report.Scanned != 3 || report.InUse(usedKey) != 2 || report.Keys[0].KeyIDHash == "" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

// TestKeysScanShowsHowFarItIs: on a terminal, on stderr, and the line is gone at the end.
func TestKeysScanShowsHowFarItIs(t *testing.T) {
	t.Parallel()
	var all []etcdtest.Revision
	for i := range int64(2500) {
		all = append(all, etcdtest.Revision{Main: i + 1, Key: fmt.Sprint("/registry/pods/default/", i), Value: "k8s\x00"})
	}
	snapshot := etcdtest.Snapshot(t, all...)
	for _, terminal := range []bool{true, false} {
		w := newWorld()
		w.terminal = terminal
		code, shown := w.main("keys", "scan", "--etcd-snapshot="+snapshot), w.errs.String()
		if code != exitOK || !strings.Contains(w.out.String(), "2500 objects") || strings.Contains(w.out.String(), "\r") {
			t.Errorf("exit %d: %s", code, w.out.String())
		}
		if !terminal {
			if shown != "" {
				t.Errorf("nobody looks: %q", shown)
			}
			continue
		}
		lines := strings.Split(strings.TrimSuffix(shown, "\r"), "\r")
		if len(lines) != 5 || lines[1] != "reading "+snapshot || !strings.HasPrefix(lines[2], "1000 objects, ") || !strings.HasPrefix(lines[3], "2000 objects, ") ||
			strings.TrimSpace(lines[4]) != "" {
			t.Errorf("%q", lines)
		}
	}
}

// TestKeysScanOfOneKey: the exit code tells.
func TestKeysScanOfOneKey(t *testing.T) {
	t.Parallel()
	whole := etcdtest.Snapshot(t, etcdtest.Revision{Main: 3, Key: "/registry/secrets/default/a", Value: wrapped(usedKey)})
	damaged := etcdtest.Snapshot(t,
		etcdtest.Revision{Main: 3, Key: "/registry/secrets/default/a", Value: wrapped(usedKey)},
		etcdtest.Revision{Main: 4, Key: "/registry/secrets/default/b", Value: wrapped(usedKey)[:40]},
	)
	for name, c := range map[string]struct {
		snapshot, keyID string
		code            int
		out, errs       string
	}{
		"in use":           {whole, usedKey, exitFound, usedKey, "the key is in use: 1 objects"},
		"not in use":       {whole, spareKey, exitOK, "complete", ""},
		"a damaged object": {damaged, spareKey, exitFailure, "NOT COMPLETE", "1 objects are damaged"},
		"in use, though":   {damaged, usedKey, exitFound, usedKey, "the key is in use"},
		"no such snapshot": {"/no/such", spareKey, exitFailure, "", "/no/such"},
		"all, damaged":     {damaged, "", exitFailure, "NOT COMPLETE", "the scan is not complete"},
	} {
		code, out, errs := keysScanOf("--etcd-snapshot="+c.snapshot, "--key-id="+c.keyID)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || (c.keyID == spareKey && strings.Contains(out, usedKey)) {
			t.Errorf("%s: exit %d\n%s%s", name, code, out, errs)
		}
	}
}

func TestKeysScanMistakes(t *testing.T) {
	t.Parallel()
	code, _, errs := keysScanOf()
	if code != exitUsage || !strings.Contains(errs, "--etcd-endpoints (MOORING_ETCD_ENDPOINTS) is missing") {
		t.Errorf("exit %d: %s", code, errs)
	}
	code, _, errs = keysScanOf("--etcd-endpoints=etcd", "--etcd-snapshot=x", "--etcd-cacert=ca", "--etcd-cert=cert", "--etcd-user=u", "--etcd-prefix=/", "--output=xml")
	for _, want := range []string{
		"one of them, not both", `"etcd" has to be https://host:port`, "--etcd-cacert: open ca", "--etcd-cert, --etcd-key: both or none", "--etcd-user, --etcd-password-file: both", "--etcd-prefix", "xml",
	} {
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("exit %d, no %q: %s", code, want, errs)
		}
	}
	w := newWorld()
	w.files["ca"], w.files["cert"], w.files["key"] = "x", "y", "z"
	code = w.main("keys", "scan", "--etcd-endpoints=etcd:1", "--etcd-cacert=ca", "--etcd-cert=cert", "--etcd-key=key", "--etcd-user=u", "--etcd-password-file=none")
	for _, want := range []string{"ca has no certificate", "--etcd-cert, --etcd-key: tls:", "--etcd-password-file: open none"} {
		if code != exitUsage || !strings.Contains(w.errs.String(), want) {
			t.Errorf("exit %d, no %q: %s", code, want, w.errs.String())
		}
	}
	if code, out, errs := keysScanOf("--etcd-endpoints=127.0.0.1:1"); code != exitFailure || !strings.Contains(out, "NOT COMPLETE") || !strings.Contains(errs, "etcd at 127.0.0.1:1") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// FuzzScanReport: a report that has anything to say of a key proves nothing for it.
func FuzzScanReport(f *testing.F) {
	for _, seed := range []string{
		`{"prefix": "/registry/", "complete": true, "keys": [{"keyId": "` + usedKey + `", "count": 2}]}`,
		`{"prefix": "/registry/", "complete": true, "keys": [{"keyId": "` + usedKey + `", "count": 2}, {"keyId": "` + usedKey + `", "count": -2}]}`,
		`{"prefix": "/registry/", "complete": true, "keys": []}`, `{"prefix": "/", "complete": false, "keys": []}`, `{}`, `null`, `[`,
		`{"prefix": "/registry/", "complete": true, "keys": [], "plain": [{"scheme": "kms v1", "count": 1}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readScanReport(&Env{ReadFile: func(string) ([]byte, error) { return data, nil }}, "report.json")
		if err != nil {
			return
		}
		for _, use := range r.Keys {
			if err := r.Unused(use.KeyID); !errors.Is(err, scan.ErrInUse) {
				t.Errorf("%+v: %v", use, err)
			}
		}
		if !r.Complete {
			t.Error("it is not complete")
		}
	})
}
