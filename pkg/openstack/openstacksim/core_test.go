package openstacksim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"mooring/pkg/openstack/openstacksim"
)

// call is one HTTP call, without any client library in between.
func call(ctx context.Context, method, url, token, body string) (status int, header http.Header, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(data), errors.Join(err, resp.Body.Close())
}

func startCloud(t *testing.T, cfg openstacksim.Config) *openstacksim.Cloud {
	t.Helper()
	c, err := openstacksim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// login posts a password login and returns the token.
func login(t *testing.T, c *openstacksim.Cloud, user openstacksim.Credential, password string) (status int, token, body string) {
	t.Helper()
	request, err := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{"id": user.UserID, "password": password}}},
		"scope":    map[string]any{"project": map[string]any{"id": user.ProjectID}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	status, header, body, err := call(t.Context(), http.MethodPost, c.AuthURL()+"/auth/tokens", "", string(request))
	if err != nil {
		t.Fatal(err)
	}
	return status, header.Get("X-Subject-Token"), body
}

func TestOnlyLoopback(t *testing.T) {
	t.Parallel()
	if c, err := openstacksim.Start(openstacksim.Config{Listen: "0.0.0.0:0"}); err == nil {
		c.Close()
		t.Fatal("it listens for the whole world")
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := startCloud(t, openstacksim.Config{TokenTTL: time.Minute, Now: func() time.Time { return now }})
	demo := c.Keystone.User("demo", "demo")
	if status, token, body := login(t, c, demo, "wrong"); status != http.StatusUnauthorized || token != "" || !strings.Contains(body, `"title":"Unauthorized"`) {
		t.Errorf("a wrong password: %d %q %s", status, token, body)
	}
	status, token, body := login(t, c, demo, demo.Password)
	if status != http.StatusCreated || !strings.Contains(body, `"catalog"`) || !strings.Contains(body, `"key-manager"`) {
		t.Fatalf("a login: %d %s", status, body)
	}
	zones := c.URL() + "/dns/v2/zones"
	check := func(what, token string, want int) {
		t.Helper()
		got, header, text, err := call(t.Context(), http.MethodGet, zones, token, "")
		if err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d: %s", what, got, err, want, text)
		}
		if want == http.StatusUnauthorized && !strings.Contains(header.Get("Www-Authenticate"), c.AuthURL()) {
			t.Errorf("%s: no WWW-Authenticate: %v", what, header)
		}
		if !strings.HasPrefix(header.Get("X-Openstack-Request-Id"), "req-") {
			t.Errorf("%s: no request id: %v", what, header)
		}
	}
	check("no token", "", http.StatusUnauthorized)
	check("a token of nobody", "gAAAAAnobody", http.StatusUnauthorized)
	check("a good token", token, http.StatusOK)
	now = now.Add(2 * time.Minute)
	check("an old token", token, http.StatusUnauthorized)
	_, token, _ = login(t, c, demo, demo.Password)
	c.Keystone.RevokeTokens()
	check("a revoked token", token, http.StatusUnauthorized)
	c.Keystone.DisableUser("demo")
	if status, _, _ := login(t, c, demo, demo.Password); status != http.StatusUnauthorized {
		t.Errorf("a disabled user: %d", status)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	c := startCloud(t, openstacksim.Config{})
	_, token, _ := login(t, c, c.Keystone.User("demo", "demo"), "demo-password")
	zones := c.URL() + "/dns/v2/zones"
	get := func() (int, string, error) {
		status, _, text, err := call(t.Context(), http.MethodGet, zones, token, "")
		return status, text, err
	}
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Path: "^/v2/zones$", Status: 503, Skip: 1, Count: 2, Header: map[string]string{"Retry-After": "3"}})
	var got []int
	for range 4 {
		status, _, err := get()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	if !slices.Equal(got, []int{200, 503, 503, 200}) {
		t.Errorf("Skip 1, Count 2: %v", got)
	}
	remove := c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Drop: true})
	if status, _, err := get(); err == nil {
		t.Errorf("a dropped connection: %d", status)
	}
	remove()
	c.Faults.Add(openstacksim.Fault{Method: http.MethodPost, DropAfter: true, Count: 1})
	if status, _, _, err := call(t.Context(), http.MethodPost, zones, token, `{"name": "dropped.test.", "email": "a@dropped.test"}`); err == nil {
		t.Errorf("a connection dropped after the act: %d", status)
	}
	if _, text, err := get(); err != nil || !strings.Contains(text, "dropped.test.") {
		t.Errorf("the act before the drop was not done: %s, %v", text, err)
	}
	c.Faults.Add(openstacksim.Fault{Delay: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, _, err := call(ctx, http.MethodGet, zones, token, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a delay: %v", err)
	}
	c.Faults.Clear()
	if status, _, err := get(); err != nil || status != http.StatusOK {
		t.Errorf("after Clear: %d, %v", status, err)
	}
}

func TestCallLogAndUnknownPaths(t *testing.T) {
	t.Parallel()
	c := startCloud(t, openstacksim.Config{})
	_, token, _ := login(t, c, c.Keystone.User("demo", "demo"), "demo-password")
	for path, want := range map[string]int{"/dns/v2/zones?name=x.test.": 200, "/dns/v2/nothing": 404, "/identity/v3/nothing": 404} {
		if status, _, text, err := call(t.Context(), http.MethodGet, c.URL()+path, token, ""); err != nil || status != want {
			t.Errorf("%s: %d, want %d: %s %v", path, status, want, text, err)
		}
	}
	if status, _, _, err := call(t.Context(), http.MethodPut, c.URL()+"/dns/v2/zones", token, "{}"); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("PUT of the zones: %d, %v", status, err)
	}
	logged := c.Calls.All(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Path: "zones$", Method: http.MethodGet})
	if len(logged) != 1 || logged[0].Query != "name=x.test." || logged[0].Status != http.StatusOK || !strings.HasPrefix(logged[0].RequestID, "req-") {
		t.Errorf("logged: %+v", logged)
	}
	if c.Calls.Logins() != 1 || c.Calls.All(openstacksim.CallFilter{Status: http.StatusCreated})[0].Login != "demo" {
		t.Errorf("logins: %+v", c.Calls.All())
	}
	c.Calls.Reset()
	if n := c.Calls.Count(); n != 0 {
		t.Errorf("%d calls after Reset", n)
	}
}

func TestControlEndpoint(t *testing.T) {
	t.Parallel()
	c := startCloud(t, openstacksim.Config{})
	control := c.URL() + "/simulator"
	status, _, text, err := call(t.Context(), http.MethodPost, control+"/faults", "", `{"service": "keystone", "status": 500}`)
	if err != nil || status != http.StatusNoContent {
		t.Fatalf("a fault: %d %s %v", status, text, err)
	}
	if status, _, _ := login(t, c, c.Keystone.User("demo", "demo"), "demo-password"); status != http.StatusInternalServerError {
		t.Errorf("the fault does not hit: %d", status)
	}
	for body, want := range map[string]int{`{"path": "("}`: http.StatusBadRequest, `nonsense`: http.StatusBadRequest} {
		if status, _, _, err := call(t.Context(), http.MethodPost, control+"/faults", "", body); err != nil || status != want {
			t.Errorf("%s: %d, %v", body, status, err)
		}
	}
	if status, _, _, err := call(t.Context(), http.MethodDelete, control+"/faults", "", ""); err != nil || status != http.StatusNoContent {
		t.Errorf("the end of the faults: %d, %v", status, err)
	}
	_, token, _ := login(t, c, c.Keystone.User("demo", "demo"), "demo-password")
	_, _, text, err = call(t.Context(), http.MethodGet, control+"/calls", "", "")
	var calls []openstacksim.Call
	if err != nil || json.Unmarshal([]byte(text), &calls) != nil || len(calls) != 2 || calls[0].Status != 500 {
		t.Errorf("the calls: %s, %v", text, err)
	}
	_, _, text, err = call(t.Context(), http.MethodGet, control+"/secrets", "", "")
	var secrets []string
	if err != nil || json.Unmarshal([]byte(text), &secrets) != nil || !slices.Contains(secrets, token) || !slices.Contains(secrets, "demo-password") {
		t.Errorf("the secrets: %v", err)
	}
}

func TestCloudsYAML(t *testing.T) {
	t.Parallel()
	c := startCloud(t, openstacksim.Config{})
	c.Keystone.AddUser("second", "second-password", "demo", "member")
	var file struct {
		Clouds map[string]struct {
			Auth map[string]string `yaml:"auth"`
		} `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(c.CloudsYAML(), &file); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"demo", "other", "quota", "hsm", "admin", "appcred", "demo/second"} {
		if file.Clouds[name].Auth["auth_url"] != c.AuthURL() {
			t.Errorf("no cloud %s", name)
		}
	}
}

// Close ends everything, also what is under way; a second Close does no harm.
func TestClose(t *testing.T) {
	t.Parallel()
	c, err := openstacksim.Start(openstacksim.Config{Designate: openstacksim.DesignateConfig{Delay: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := login(t, c, c.Keystone.User("demo", "demo"), "demo-password")
	if _, _, _, err := call(t.Context(), http.MethodPost, c.URL()+"/dns/v2/zones", token, `{"name": "pending.test.", "email": "a@b.test"}`); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	c.Close()
	c.Close()
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("Close waited %v for a timer", took)
	}
	if _, _, _, err := call(t.Context(), http.MethodGet, c.URL(), "", ""); err == nil {
		t.Error("it still listens")
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	c := startCloud(t, openstacksim.Config{})
	huge := bytes.Repeat([]byte("x"), 5<<20)
	status, _, _, err := call(t.Context(), http.MethodPost, c.AuthURL()+"/auth/tokens", "", string(huge))
	if err == nil && status != http.StatusBadRequest {
		t.Errorf("5 MiB: %d", status)
	}
}
