package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mooring/pkg/logging/logtest"
	"mooring/pkg/openstack/openstacksim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a process in memory: what it is given, and what it writes.
type world struct {
	terminal bool // somebody looks at errs
	env      map[string]string
	files    map[string]string
	out      logtest.Buffer
	errs     logtest.Buffer
	signal   chan struct{} // closed: SIGTERM
}

func newWorld() *world {
	return &world{env: map[string]string{}, files: map[string]string{}, signal: make(chan struct{})}
}

func (w *world) main(args ...string) int {
	return Main(Env{
		Args: args, Stdout: &w.out, Stderr: &w.errs, Terminal: w.terminal,
		LookupEnv: func(k string) (string, bool) { v, ok := w.env[k]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := w.files[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		Signals: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				select {
				case <-w.signal:
					cancel()
				case <-ctx.Done():
				}
			}()
			return ctx, cancel
		},
	})
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	w := newWorld()
	if code := w.main("--help"); code != exitOK {
		t.Errorf("exit %d", code)
	}
	for _, m := range modes() {
		if !strings.Contains(w.out.String(), m.name) {
			t.Errorf("the help does not name %s", m.name)
		}
		mw := newWorld()
		if code := mw.main(m.name, "--help"); code != exitOK || !strings.Contains(mw.out.String(), "--os-cloud") || mw.errs.String() != "" {
			t.Errorf("%s --help: exit %d, %s%s", m.name, code, mw.out.String(), mw.errs.String())
		}
	}
	v := newWorld()
	if code := v.main("version", "--output", "json"); code != exitOK {
		t.Errorf("exit %d", code)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(v.out.String()), &got); err != nil || got["version"] == "" || got["go"] == "" {
		t.Errorf("version: %v, %v", got, err)
	}
}

// Every mistake is on a line of its own, and the exit code is 2.
func TestMistakes(t *testing.T) {
	t.Parallel()
	cloud := "clouds: {demo: {auth: {auth_url: 'https://keystone.test', username: u, password: p, user_domain_id: d, project_id: p}}}"
	kms := []string{"barbican-kms", "--clouds-file=c.yaml", "--endpoint=unix:///run/kms.sock", "--cluster-id=c", "--key-id=0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"}
	for name, tc := range map[string]struct {
		args []string
		env  map[string]string
		want []string
	}{
		"no command":      {nil, nil, []string{"mooring: a command is missing"}},
		"unknown command": {[]string{"barbican"}, nil, []string{`there is no command "barbican"`}},
		"root flag":       {[]string{"--nope"}, nil, []string{"mooring: unknown flag: --nope"}},
		"version":         {[]string{"version", "--output", "xml"}, nil, []string{`--output: "xml" has to be text or json`}},
		"a mode without anything": {[]string{"barbican-kms"}, nil, []string{
			"--endpoint (MOORING_ENDPOINT) is missing", "--cluster-id (MOORING_CLUSTER_ID) is missing", "--key-id", "no cloud is named",
		}},
		"many at once": {append(kms, "stray", "--log-lefel=debug", "-v", "--drain-timeout=fast", "--log-format=xml", "--admin-listen=8080"), map[string]string{"MOORING_LOG_LEVEL": "loud"}, []string{
			"there is no flag --log-lefel: is it --log-level?", "there is no flag -v", `unexpected argument "stray"`, `--drain-timeout: "fast" is not valid`,
			`--log-format: "xml"`, `--admin-listen: "8080" has to be host:port`, `--log-level: "loud" is no log level`,
		}},
		"a variable": {kms, map[string]string{"MOORING_DRAIN_TIMEOUT": "1 day"}, []string{`MOORING_DRAIN_TIMEOUT: "1 day" is not valid`}},
		"values with a dash": {append(kms, "--cluster-id", "-x", "--drain-timeout", "-5s", "--os-cloud", "--nope"), nil, []string{
			"--drain-timeout: -5s is negative", "there is no flag --nope", `c.yaml has no cloud "--nope": it has demo`,
		}},
		"no port":         {append(kms, "--admin-listen=127.0.0.1:99999"), nil, []string{`--admin-listen: "127.0.0.1:99999" has to be host:port`}},
		"a missing value": {append(kms, "--log-level"), nil, []string{"flag needs an argument: --log-level"}},
		"too long":        {append(kms, "--cluster-id="+strings.Repeat("x", 1025)), nil, []string{"--cluster-id: 1025 bytes, at most 1024 are possible"}},
		"who may connect": {append(kms, "--socket-mode=0666", "--allowed-uids=root"), nil, []string{
			"--socket-mode: 0666 would let every user", `--allowed-uids: "root" has to be a user's number`,
		}},
		"a node": {[]string{"manila-node", "--node-id=" + strings.Repeat("x", 257), "--endpoint=tcp://:1", "--ceph-fuse=ceph-fuse", "--share-protocol=SMB"}, nil, []string{
			`--endpoint: "tcp://:1" has to be a unix socket`, `--share-protocol: "SMB"`, "--node-id: it has 257 characters", "--ceph-fuse",
		}},
		"a webhook": {[]string{"designate-webhook", "--clouds-file=c.yaml", "--listen=8888", "--regex-domain-filter=(", "--concurrency=0", "--zone-concurrency=101", "--deadline=1ms", "--min-ttl=-1", "--record-types=A,LOC"}, nil, []string{
			`--listen: "8888" has to be host:port`, "--regex-domain-filter: error parsing", "--concurrency: 0 is not from 1 to 100",
			"--zone-concurrency: 101 is not from 1 to 100", "--deadline: 1ms is not between 1s and 5m",
			"--min-ttl: -1 is not from 0 to", `--record-types: "LOC" is not one of A, AAAA, CNAME, MX, NAPTR, NS, PTR, SRV, TXT`,
		}},
		"no such file":   {append(kms, "--clouds-file=/no/clouds.yaml"), nil, []string{"open /no/clouds.yaml: file does not exist"}},
		"malformed YAML": {append(kms, "--clouds-file=bad.yaml"), nil, []string{"bad.yaml is not YAML"}},
		"unknown cloud":  {append(kms, "--os-cloud=prod"), nil, []string{`c.yaml has no cloud "prod": it has demo`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.env, w.files = tc.env, map[string]string{"c.yaml": cloud, "bad.yaml": "clouds: ["}
			if code := w.main(tc.args...); code != exitUsage {
				t.Errorf("exit %d, want %d", code, exitUsage)
			}
			got := w.errs.String()
			for range 5 {
				again := newWorld()
				again.env, again.files = w.env, w.files
				if again.main(tc.args...); again.errs.String() != got {
					t.Fatalf("another order, or another text:\n%s\n%s", got, again.errs.String())
				}
			}
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in:\n%s", want, got)
				}
			}
			if lines := strings.Count(got, "\n"); len(tc.want) > 1 && lines != len(tc.want)+2 {
				t.Errorf("%d lines, want a title, %d mistakes and a hint:\n%s", lines, len(tc.want), got)
			}
			if strings.Contains(got, "goroutine") || w.out.String() != "" {
				t.Errorf("unexpected output:\n%s%s", w.out.String(), got)
			}
		})
	}
}

// started runs a mode in the background until the test ends it; at the end it has to have exited with 0.
func started(t *testing.T, w *world, args ...string) (stop func()) {
	t.Helper()
	code := make(chan int, 1)
	go func() { code <- w.main(args...) }()
	stop = sync.OnceFunc(func() {
		close(w.signal)
		if c := <-code; c != exitOK {
			t.Errorf("exit %d after SIGTERM:\n%s", c, w.errs.String())
		}
	})
	t.Cleanup(stop)
	return stop
}

// waitFor waits until the log has a text.
func (w *world) waitFor(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(w.errs.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log does not say %q:\n%s", text, w.errs.String())
		}
	}
}

var adminAddress = regexp.MustCompile(`msg="admin endpoint listens" address=(\S+)`)

// admin asks the admin endpoint of a mode; it waits until the mode has said where that is.
func (w *world) admin(t *testing.T, path string) (int, string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		found := adminAddress.FindStringSubmatch(w.errs.String())
		if found == nil {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+found[1]+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	t.Fatalf("no admin endpoint:\n%s", w.errs.String())
	return 0, ""
}

// modeArgs are arguments with which each mode runs.
func modeArgs(t *testing.T, name string) []string {
	t.Helper()
	dir := t.TempDir()
	common := []string{name, "--clouds-file=clouds.yaml", "--os-cloud=demo", "--admin-listen=127.0.0.1:0", "--drain-timeout=1s"}
	switch name {
	case "manila-controller":
		return append(common, "--endpoint=unix://"+filepath.Join(dir, "c.sock"), "--cluster-id=c")
	case "manila-node":
		return append(common, "--endpoint=unix://"+filepath.Join(dir, "n.sock"), "--node-id=n")
	case "barbican-kms":
		return append(common, "--endpoint=unix://"+filepath.Join(dir, "k.sock"), "--cluster-id=c", "--key-id=0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b")
	case "designate-webhook":
		return append(common, "--listen=127.0.0.1:0")
	}
	t.Fatalf("the tests do not know how to run %s", name)
	return nil
}

// Every mode listens while Keystone is unreachable, says why it is not ready, and ends in order.
func TestModesListenWithoutKeystone(t *testing.T) {
	t.Parallel()
	ended, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ended.Close()
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.files["clouds.yaml"] = fmt.Sprintf("clouds: {demo: {auth: {auth_url: 'http://%s/v3', username: u, password: hush-hush, user_domain_id: d, project_id: p}}}", ended.Addr())
			stop := started(t, w, modeArgs(t, m.name)...)
			if code, _ := w.admin(t, "/livez"); code != http.StatusOK {
				t.Errorf("livez: %d", code)
			}
			if m.cloud == cloudRequired {
				if code, body := w.admin(t, "/readyz"); code != http.StatusServiceUnavailable || body == "" {
					t.Errorf("readyz: %d %q", code, body)
				}
			}
			stop()
			if log := w.errs.String(); strings.Contains(log, "hush-hush") || strings.Contains(log, "goroutine ") {
				t.Errorf("the log:\n%s", log)
			}
		})
	}
}

// What is wrong with a login, or with the cloud, stands in the log on one line, and at /readyz.
func TestModesSayWhatIsWrongWithTheCloud(t *testing.T) {
	t.Parallel()
	sim, err := openstacksim.Start(openstacksim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	demo := sim.Keystone.User("demo", "demo")
	for _, m := range modes() {
		if m.cloud != cloudRequired {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.files["clouds.yaml"] = fmt.Sprintf("clouds: {demo: {auth: {auth_url: %q, user_id: %s, password: wrong-one, project_id: %s}}}", sim.AuthURL(), demo.UserID, demo.ProjectID)
			started(t, w, modeArgs(t, m.name)...)
			w.waitFor(t, "the user, password or project is refused")
			if code, body := w.admin(t, "/readyz"); code != http.StatusServiceUnavailable {
				t.Errorf("readyz: %d %q", code, body)
			}
			if strings.Contains(w.errs.String(), "wrong-one") {
				t.Error("the password is in the log")
			}
		})
	}
}

func TestFlagsWinOverVariables(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.files["clouds.yaml"] = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:1/v3', username: u, password: p, user_domain_id: d, project_id: p}}}"
	w.env["MOORING_LOG_FORMAT"], w.env["MOORING_LOG_LEVEL"], w.env["MOORING_OS_CLOUD"] = "json", "debug", "not-there"
	w.env["MOORING_DRAIN_TIMEOUT"] = "" // set to nothing: not set
	stop := started(t, w, append(modeArgs(t, "designate-webhook"), "--log-format=text")...)
	w.admin(t, "/livez")        // it knows the text format, and the cloud of the flag was found
	w.waitFor(t, "level=DEBUG") // MOORING_LOG_LEVEL had its effect
	stop()
}

func TestAnAddressInUseIsAFailure(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // the test is over then
	w := newWorld()
	w.files["clouds.yaml"] = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:1/v3', token: t}}}"
	code := w.main(append(modeArgs(t, "designate-webhook"), "--admin-listen="+taken.Addr().String())...)
	if code != exitFailure || !strings.Contains(w.errs.String(), "--admin-listen: ") {
		t.Errorf("exit %d:\n%s", code, w.errs.String())
	}
}

// A second process that can't run must not have taken the socket of the first one by then.
func TestAProcessThatCanNotRunTakesNoSocket(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // the test is over then
	for _, mode := range []string{"manila-controller", "manila-node", "barbican-kms"} {
		w := newWorld()
		w.files["clouds.yaml"] = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:1/v3', token: t}}}"
		args := append(modeArgs(t, mode), "--admin-listen="+taken.Addr().String())
		if code := w.main(args...); code != exitFailure {
			t.Errorf("%s: exit %d:\n%s", mode, code, w.errs.String())
		}
		for _, arg := range args {
			if socket, ok := strings.CutPrefix(arg, "--endpoint=unix://"); ok {
				if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s bound %s before it failed: %v", mode, socket, err)
				}
			}
		}
	}
}
