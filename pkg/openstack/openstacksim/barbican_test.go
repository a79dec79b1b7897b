package openstacksim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"
)

// The contract tests have what real Barbicans do; these are for what only the simulator can: newer microversions, delays and
// failures at will.

// barbicanClient is a user's access to a simulated Barbican.
type barbicanClient struct {
	cloud *Cloud
	token string
}

func barbicanFor(t *testing.T, c *Cloud, user string) *barbicanClient {
	t.Helper()
	who := c.Keystone.User(user, user)
	login := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":%q,"password":%q}}},"scope":{"project":{"id":%q}}}}`,
		who.UserID, who.Password, who.ProjectID)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.AuthURL()+"/auth/tokens", strings.NewReader(login))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("login: %d, %v", resp.StatusCode, err)
	}
	return &barbicanClient{c, resp.Header.Get("X-Subject-Token")}
}

// call sends a request in a microversion ("" for none) and returns the status and the JSON object of the answer.
func (b *barbicanClient) call(t *testing.T, microversion, method, where, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.cloud.URL()+pathBarbican+"/v1/"+where, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", b.token)
	req.Header.Set("Content-Type", "application/json")
	if microversion != "" {
		req.Header.Set(barbicanVersionHeader, "key-manager "+microversion)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	return resp.StatusCode, out
}

// make creates something and returns its id.
func (b *barbicanClient) make(t *testing.T, what, body string) string {
	t.Helper()
	status, got := b.call(t, "", http.MethodPost, what, body)
	for _, ref := range got {
		if text, ok := ref.(string); ok && (status == http.StatusCreated || status == http.StatusAccepted) {
			return path.Base(text)
		}
	}
	t.Fatalf("making %s: %d %v", what, status, got)
	return ""
}

func startBarbican(t *testing.T, cfg BarbicanConfig) (*Cloud, *barbicanClient) {
	t.Helper()
	c, err := Start(Config{Barbican: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, barbicanFor(t, c, "demo")
}

const secretOfText = `{"payload":"hush-hush","payload_content_type":"text/plain"}`

// From microversion 1.2 on, consumers guard a secret, against clients that ask for it.
func TestBarbicanConsumersGuard(t *testing.T) {
	t.Parallel()
	_, b := startBarbican(t, BarbicanConfig{MaxMicroversion: "1.2"})
	consumer := `{"service":"mooring","resource_type":"KMS","resource_id":"c"}`
	for _, tc := range []struct {
		version, query string
		want           int
	}{
		{"1.2", "", http.StatusConflict},
		{"latest", "", http.StatusConflict},
		{"1.2", "?force=false", http.StatusConflict},
		{"1.2", "?force=true", http.StatusNoContent},
		{"1.1", "", http.StatusNoContent},
		{"", "", http.StatusNoContent},
	} {
		id := b.make(t, "secrets", secretOfText)
		if status, got := b.call(t, "", http.MethodPost, "secrets/"+id+"/consumers", consumer); status != http.StatusOK {
			t.Fatalf("a consumer: %d %v", status, got)
		}
		if status, got := b.call(t, tc.version, http.MethodDelete, "secrets/"+id+tc.query, ""); status != tc.want {
			t.Errorf("microversion %q%s: %d %v, want %d", tc.version, tc.query, status, got, tc.want)
		}
	}
	id := b.make(t, "secrets", secretOfText)
	if status, _ := b.call(t, "1.2", http.MethodDelete, "secrets/"+id, ""); status != http.StatusNoContent {
		t.Errorf("without consumers: %d", status)
	}
	_, old := startBarbican(t, BarbicanConfig{MaxMicroversion: "1.0"})
	if status, _ := old.call(t, "1.1", http.MethodGet, "secrets", ""); status != http.StatusNotAcceptable {
		t.Errorf("1.1 of a Barbican that has 1.0: %d", status)
	}
}

func TestBarbicanOrders(t *testing.T) {
	t.Parallel()
	c, b := startBarbican(t, BarbicanConfig{OrderDelay: 50 * time.Millisecond})
	order := `{"type":"key","meta":{"algorithm":"aes","bit_length":256}}`
	await := func(id string) map[string]any {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			status, got := b.call(t, "", http.MethodGet, "orders/"+id, "")
			if status != http.StatusOK || time.Now().After(end) {
				t.Fatalf("order: %d %v", status, got)
			}
			if got["status"] != "PENDING" {
				return got
			}
		}
	}
	id := b.make(t, "orders", order)
	if _, got := b.call(t, "", http.MethodGet, "orders/"+id, ""); got["status"] != "PENDING" || got["secret_ref"] != nil {
		t.Errorf("at once: %v", got)
	}
	if got := await(id); got["status"] != "ACTIVE" || got["secret_ref"] == nil {
		t.Errorf("later: %v", got)
	}
	c.Barbican.FailOrders(1)
	if got := await(b.make(t, "orders", order)); got["status"] != "ERROR" || got["error_status_code"] != "500" || got["secret_ref"] != nil {
		t.Errorf("a spoiled one: %v", got)
	}
	if got := await(b.make(t, "orders", order)); got["status"] != "ACTIVE" {
		t.Errorf("the next: %v", got)
	}
	if got := len(c.Barbican.Payloads()); got != 2 {
		t.Errorf("%d payloads", got)
	}
}

func TestBarbicanPayloads(t *testing.T) {
	t.Parallel()
	c, b := startBarbican(t, BarbicanConfig{})
	b.make(t, "secrets", secretOfText)
	b.make(t, "secrets", `{"name":"empty"}`)
	if got := c.Barbican.Payloads(); len(got) != 1 || !bytes.Equal(got[0], []byte("hush-hush")) {
		t.Errorf("%q", got)
	}
}

func TestBarbicanQuotas(t *testing.T) {
	t.Parallel()
	c, b := startBarbican(t, BarbicanConfig{Quota: &BarbicanQuota{Secrets: 1, Orders: 0, Containers: -1, Consumers: -1}})
	first := b.make(t, "secrets", secretOfText)
	for _, what := range []string{"secrets", "orders"} {
		body := map[string]string{"secrets": secretOfText, "orders": `{"type":"key","meta":{"algorithm":"aes","bit_length":256}}`}[what]
		if status, got := b.call(t, "", http.MethodPost, what, body); status != http.StatusForbidden || !strings.Contains(fmt.Sprint(got["description"]), "quota") {
			t.Errorf("%s: %d %v", what, status, got)
		}
	}
	if status, _ := b.call(t, "", http.MethodDelete, "secrets/"+first, ""); status != http.StatusNoContent {
		t.Errorf("deleting: %d", status)
	}
	b.make(t, "secrets", secretOfText)

	// The operator gives the project another one.
	admin := barbicanFor(t, c, "admin")
	project := "project-quotas/" + c.Keystone.User("demo", "demo").ProjectID
	if status, _ := b.call(t, "", http.MethodPut, project, `{"project_quotas":{"secrets":5}}`); status != http.StatusForbidden {
		t.Errorf("the tenant itself: %d", status)
	}
	if status, got := admin.call(t, "", http.MethodPut, project, `{"project_quotas":{"secrets":5}}`); status != http.StatusNoContent {
		t.Errorf("the operator: %d %v", status, got)
	}
	b.make(t, "secrets", secretOfText)
	if status, _ := admin.call(t, "", http.MethodDelete, project, ""); status != http.StatusNoContent {
		t.Errorf("back to the default: %d", status)
	}
	if status, _ := admin.call(t, "", http.MethodGet, project, ""); status != http.StatusNotFound {
		t.Errorf("after that: %d", status)
	}
}

// An admin of the project can give it a store, and take it away.
func TestBarbicanPreferredStore(t *testing.T) {
	t.Parallel()
	c, _ := startBarbican(t, BarbicanConfig{})
	admin := barbicanFor(t, c, "admin")
	_, got := admin.call(t, "", http.MethodGet, "secret-stores", "")
	stores, _ := got["secret_stores"].([]any)
	for _, s := range stores {
		store, _ := s.(map[string]any)
		id := path.Base(fmt.Sprint(store["secret_store_ref"]))
		if status, _ := admin.call(t, "", http.MethodPost, "secret-stores/"+id+"/preferred", ""); status != http.StatusNoContent {
			t.Errorf("preferring: %d", status)
		}
		if _, got := admin.call(t, "", http.MethodGet, "secret-stores/preferred", ""); got["name"] != store["name"] {
			t.Errorf("preferred %v, want %v", got, store)
		}
		if status, _ := admin.call(t, "", http.MethodDelete, "secret-stores/"+id+"/preferred", ""); status != http.StatusNoContent {
			t.Errorf("taking it away: %d", status)
		}
	}
	if status, _ := admin.call(t, "", http.MethodGet, "secret-stores/preferred", ""); len(stores) != 2 || status != http.StatusNotFound {
		t.Errorf("%d stores; at last %d", len(stores), status)
	}
}

func TestSQLLike(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		value, pattern string
		want           bool
	}{
		{"key-1", "key-_", true},
		{"key-12", "key-_", false},
		{"key-12", "key%", true},
		{"", "%", true},
		{"abc", "%b%", true},
		{"abc", "%c%b", false},
		{"Key", "kEY", true},
		{"abc", "ab", false},
		{"äö", "ä_", true},
		{"anything", "", true},
	} {
		if got := likeAny(tc.value, tc.pattern); got != tc.want {
			t.Errorf("%q like %q: %v", tc.value, tc.pattern, got)
		}
	}
	if likeAny(nil, "%") {
		t.Error("null is like something")
	}
}
