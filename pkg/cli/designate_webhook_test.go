package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"mooring/pkg/openstack/openstacksim"
)

var webhookAddress = regexp.MustCompile(`msg="webhook listens" address=(\S+)`)

// webhook asks a running webhook; it waits until the mode has said where it is.
func (w *world) webhook(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		found := webhookAddress.FindStringSubmatch(w.errs.String())
		if found == nil {
			continue
		}
		status, answer := request(t, method, "http://"+found[1]+path, body, "")
		return status, answer
	}
	t.Fatalf("no webhook:\n%s", w.errs.String())
	return 0, ""
}

func request(t *testing.T, method, url, body, token string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Auth-Token", token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if token := response.Header.Get("X-Subject-Token"); token != "" {
		return response.StatusCode, token
	}
	return response.StatusCode, string(raw)
}

// zoneOf makes a zone in a simulated cloud for the user demo.
func zoneOf(t *testing.T, sim *openstacksim.Cloud, name string) {
	t.Helper()
	demo := sim.Keystone.User("demo", "demo")
	_, token := request(t, http.MethodPost, sim.AuthURL()+"/auth/tokens", fmt.Sprintf(
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": %q, "password": %q}}}, "scope": {"project": {"id": %q}}}}`,
		demo.UserID, demo.Password, demo.ProjectID), "")
	if status, body := request(t, http.MethodPost, sim.URL()+"/dns/v2/zones", fmt.Sprintf(`{"name": %q, "email": "a@example.org"}`, name), token); status != http.StatusAccepted {
		t.Fatal(status, body)
	}
}

func TestDesignateWebhookFilters(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"none":    {nil, `{}`},
		"lists":   {[]string{"--domain-filter=b.org,a.org", "--domain-filter=c.org", "--exclude-domains=x.a.org"}, `{"include":["a.org","b.org","c.org"],"exclude":["x.a.org"]}`},
		"regexes": {[]string{`--regex-domain-filter=\.org$`, "--regex-domain-exclusion=^internal"}, `{"regexInclude":"\\.org$","regexExclude":"^internal"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.files["clouds.yaml"] = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:1/v3', token: t}}}"
			started(t, w, append(modeArgs(t, "designate-webhook"), test.args...)...)
			if status, body := w.webhook(t, http.MethodGet, "/", ""); status != http.StatusOK || body != test.want {
				t.Errorf("%d %s, want %s", status, body, test.want)
			}
		})
	}
}

// An address that this machine does not have is left out as long as there is another, as [::1] without IPv6.
func TestDesignateWebhookListensWhereItCan(t *testing.T) {
	t.Parallel()
	const absent = "[2001:db8::1]:0"
	w := newWorld()
	w.files["clouds.yaml"] = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:1/v3', token: t}}}"
	started(t, w, append(modeArgs(t, "designate-webhook"), "--listen="+absent)...)
	if status, _ := w.webhook(t, http.MethodGet, "/", ""); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	if !strings.Contains(w.errs.String(), "going on without it") {
		t.Errorf("nothing is said about the address:\n%s", w.errs.String())
	}
	alone := newWorld()
	alone.files["clouds.yaml"] = w.files["clouds.yaml"]
	if code := alone.main("designate-webhook", "--clouds-file=clouds.yaml", "--os-cloud=demo", "--listen="+absent); code != exitFailure || !strings.Contains(alone.errs.String(), "--listen: ") {
		t.Errorf("without any address: exit %d:\n%s", code, alone.errs.String())
	}
}

// A change of ExternalDNS's, with and without --dry-run.
func TestDesignateWebhookApplies(t *testing.T) {
	t.Parallel()
	for name, dryRun := range map[string]bool{"for real": false, "dry run": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, err := openstacksim.Start(openstacksim.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(sim.Close)
			zoneOf(t, sim, "example.org.")
			w := newWorld()
			w.files["clouds.yaml"] = string(sim.CloudsYAML())
			started(t, w, append(modeArgs(t, "designate-webhook"), fmt.Sprintf("--dry-run=%v", dryRun), "--concurrency=2", "--zone-concurrency=1", "--deadline=5s")...)
			if status, body := w.webhook(t, http.MethodPost, "/records", `{"create": [{"dnsName": "www.example.org", "recordType": "A", "targets": ["192.0.2.1"]}]}`); status != http.StatusNoContent {
				t.Fatalf("%d %s", status, body)
			}
			_, body := w.webhook(t, http.MethodGet, "/records", "")
			var records []map[string]any
			if err := json.Unmarshal([]byte(body), &records); err != nil {
				t.Fatal(err)
			}
			writes := sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Method: http.MethodPost, Path: "/recordsets$"})
			if want := map[bool]int{false: 1}[dryRun]; len(records) != want || writes != want {
				t.Errorf("%d records and %d writes, want %d: %s", len(records), writes, want, body)
			}
			if said := strings.Contains(w.errs.String(), "dry run: would write"); said != dryRun {
				t.Errorf("the log:\n%s", w.errs.String())
			}
			if code, body := w.admin(t, "/metrics"); code != http.StatusOK || !dryRun && !strings.Contains(body, `mooring_designate_operations_total{outcome="done",type="A",verb="create"} 1`) {
				t.Errorf("metrics: %d\n%s", code, body)
			}
		})
	}
}
