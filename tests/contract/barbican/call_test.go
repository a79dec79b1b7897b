// Package barbican_test has the contract of Barbican, as the plugin and its operators rely on it: the same cases run against the
// simulator and, with MOORING_CONTRACT_CLOUDS, against a real Barbican.
package barbican_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

// api is Barbican for one login.
type api struct {
	session *openstack.Session
	client  *gophercloud.ServiceClient
	owner   openstack.Owner
}

func open(t *testing.T, session *openstack.Session) *api {
	t.Helper()
	client, err := session.Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := session.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &api{session, client, owner}
}

// answer is what came back, whatever the status.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any // the JSON object, if it is one
}

// text is a field of the body.
func (a answer) text(key string) string {
	s, _ := a.body[key].(string)
	return s
}

// list is a list of objects in the body.
func (a answer) list(key string) (out []map[string]any) {
	items, _ := a.body[key].([]any)
	for _, item := range items {
		object, _ := item.(map[string]any)
		out = append(out, object)
	}
	return out
}

type headers map[string]string

// call sends a request. The path is below /v1/, or a ref of Barbican's; the body is JSON, or bytes as they are.
func (a *api) call(t *testing.T, method, where string, body any, more headers) answer {
	t.Helper()
	if _, ref, isRef := strings.Cut(where, "/v1/"); isRef {
		where = ref
	}
	options := &gophercloud.RequestOpts{
		MoreHeaders: more, KeepResponseBody: true,
		OkCodes: []int{200, 201, 202, 204, 300, 400, 403, 404, 405, 406, 409, 413, 415, 500},
	}
	switch body := body.(type) {
	case nil:
	case []byte:
		options.RawBody = bytes.NewReader(body)
	default:
		options.JSONBody = body
	}
	resp, err := a.client.Request(t.Context(), method, a.client.Endpoint+where, options)
	if err != nil {
		t.Fatalf("%s %s: %v", method, where, err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatalf("%s %s: %v", method, where, err)
	}
	out := answer{status: resp.StatusCode, header: resp.Header, raw: raw}
	_ = json.Unmarshal(raw, &out.body) // payloads are no JSON
	return out
}

// want sends a request and fails unless the status is the wanted one.
func (a *api) want(t *testing.T, status int, method, where string, body any, more headers) answer {
	t.Helper()
	got := a.call(t, method, where, body, more)
	if got.status != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, where, got.status, status, got.raw)
	}
	return got
}

// refused sends a request that Barbican has to refuse, in its own shape of an error and with these words.
func (a *api) refused(t *testing.T, status int, words, method, where string, body any, more headers) {
	t.Helper()
	got := a.call(t, method, where, body, more)
	code, _ := got.body["code"].(float64)
	if got.status != status || int(code) != status || !strings.Contains(got.text("description"), words) || got.text("title") == "" {
		t.Errorf("%s %s: %d %s, want %d and %q", method, where, got.status, got.raw, status, words)
	}
	if got.header.Get("X-Openstack-Request-Id") == "" {
		t.Errorf("%s %s: the answer has no request id", method, where)
	}
}

// secret makes a secret that goes away with the test and returns its ref.
func (a *api) secret(t *testing.T, body map[string]any) string {
	t.Helper()
	ref := a.want(t, http.StatusCreated, http.MethodPost, "secrets", body, nil).text("secret_ref")
	a.cleanUp(t, ref)
	return ref
}

// text makes a secret of a text.
func (a *api) text(t *testing.T, name, payload string) string {
	t.Helper()
	return a.secret(t, map[string]any{"name": name, "payload": payload, "payload_content_type": "text/plain"})
}

func (a *api) cleanUp(t *testing.T, ref string) {
	t.Helper()
	t.Cleanup(func() {
		_, below, _ := strings.Cut(ref, "/v1/")
		req, err := http.NewRequest(http.MethodDelete, a.client.Endpoint+below, http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := a.client.HTTPClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		if err := resp.Body.Close(); err != nil || (resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusNotFound) {
			t.Errorf("deleting %s: %d, %v", ref, resp.StatusCode, err)
		}
	})
}

func binary() headers { return headers{"Accept": "application/octet-stream"} }

func microversion(v string) headers { return headers{"OpenStack-API-Version": "key-manager " + v} }

// nobody is the id of a secret that is not there.
const nobody = "7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b"

// demo opens a cloud and logs in as its tenant.
func demo(t *testing.T) (*target.Cloud, *api) {
	t.Helper()
	cloud := target.Open(t)
	return cloud, open(t, cloud.Session(t, "demo"))
}

// sibling is a second user of the tenant's project, made for the test, with the tenant's roles.
func sibling(t *testing.T, cloud *target.Cloud) *api {
	t.Helper()
	name, password := target.Unique(t), target.Unique(t)
	credential := *cloud.Credential(t, "demo")
	credential.Username, credential.UserID, credential.Password = name, "", password
	if cloud.Real {
		makeUser(t, cloud, name, password)
	} else {
		cloud.Sim.Keystone.AddUser(name, password, "demo", "member", "creator")
	}
	pool := openstack.NewPool(openstack.Options{})
	t.Cleanup(pool.Close)
	return open(t, pool.Session(&credential))
}

// makeUser makes the user in a real Keystone, as the operator.
func makeUser(t *testing.T, cloud *target.Cloud, name, password string) {
	t.Helper()
	client, err := cloud.Session(t, "admin").Client(t.Context(), openstack.Identity)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := cloud.Session(t, "demo").Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keystone := &api{client: client}
	user := keystone.want(t, http.StatusCreated, http.MethodPost, "users",
		map[string]any{"user": map[string]any{"name": name, "password": password, "domain_id": "default"}}, nil)
	created, _ := user.body["user"].(map[string]any)
	id, _ := created["id"].(string)
	keystone.cleanUp(t, "/v1/users/"+id)
	for _, role := range keystone.want(t, http.StatusOK, http.MethodGet, "roles", nil, nil).list("roles") {
		if name, _ := role["name"].(string); name == "member" || name == "creator" {
			id := path.Join("projects", owner.ProjectID, "users", id, "roles", role["id"].(string))
			keystone.want(t, http.StatusNoContent, http.MethodPut, id, nil, nil)
		}
	}
}
