package barbican_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

func TestPayloadRoundTrip(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	key := bytes.Repeat([]byte{0xff, 0x00, 0xfe, 0x10}, 8)
	ref := a.secret(t, map[string]any{
		"name": target.Unique(t), "algorithm": "aes", "bit_length": 256, "secret_type": "symmetric",
		"payload": base64.StdEncoding.EncodeToString(key), "payload_content_type": "application/octet-stream", "payload_content_encoding": "base64",
	})
	if got := a.want(t, http.StatusOK, http.MethodGet, ref+"/payload", nil, binary()); !bytes.Equal(got.raw, key) || got.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("payload %x as %q", got.raw, got.header.Get("Content-Type"))
	}
	// The same through the plugin's own client.
	got, err := barbican.NewClient(cloud.Session(t, "demo")).Payload(t.Context(), path.Base(ref), len(key))
	if err != nil || !bytes.Equal(got, key) {
		t.Errorf("the plugin's client: %x, %v", got, err)
	}
	// By the old way, at the secret itself.
	if got := a.want(t, http.StatusOK, http.MethodGet, ref, nil, binary()); !bytes.Equal(got.raw, key) {
		t.Errorf("the old way: %x", got.raw)
	}
	a.refused(t, http.StatusNotAcceptable, "Wrong payload content-type", http.MethodGet, ref+"/payload", nil, headers{"Accept": "text/plain"}) // it is no text
	a.refused(t, http.StatusNotAcceptable, "Wrong payload content-type", http.MethodGet, ref+"/payload", nil, headers{"Accept": "application/json"})
	a.refused(t, http.StatusNotAcceptable, "Wrong payload content-type", http.MethodGet, ref+"/payload", nil, headers{"Accept": "application/octet-stream, */*"})
}

func TestPayloadIsWrittenOnce(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	ref := a.secret(t, map[string]any{"name": target.Unique(t), "algorithm": "aes", "bit_length": 256})
	a.refused(t, http.StatusNotFound, "your secret has no payload", http.MethodGet, ref+"/payload", nil, binary())
	put := headers{"Content-Type": "application/octet-stream"}
	a.refused(t, http.StatusBadRequest, "No data supplied to process", http.MethodPut, ref, []byte{}, put)
	a.refused(t, http.StatusUnsupportedMediaType, "Unexpected content type", http.MethodPut, ref, []byte("{}"), headers{"Content-Type": "application/json"})
	a.refused(t, http.StatusRequestEntityTooLarge, "too large", http.MethodPut, ref, make([]byte, 20_001), put)
	key := bytes.Repeat([]byte{7}, 32)
	if got := a.want(t, http.StatusNoContent, http.MethodPut, ref, key, put); len(got.raw) != 0 {
		t.Errorf("a body came with 204: %q", got.raw)
	}
	a.refused(t, http.StatusConflict, "Secret already has data, cannot modify it.", http.MethodPut, ref, bytes.Repeat([]byte{8}, 32), put)
	if got := a.want(t, http.StatusOK, http.MethodGet, ref+"/payload", nil, binary()); !bytes.Equal(got.raw, key) {
		t.Errorf("payload %x", got.raw)
	}
}

func TestSecretBody(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	name := target.Unique(t)
	ref := a.text(t, name, "x")
	got := a.want(t, http.StatusOK, http.MethodGet, ref, nil, nil).body
	want := map[string]any{
		"status": "ACTIVE", "name": name, "secret_type": "opaque", "expiration": nil, "algorithm": nil, "bit_length": nil, "mode": nil,
		"creator_id": a.owner.UserID, "secret_ref": ref,
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %v, want %v", key, got[key], value)
		}
	}
	for _, key := range []string{"created", "updated"} {
		text, _ := got[key].(string)
		at, err := time.Parse("2006-01-02T15:04:05.999999", text)
		if age := time.Since(at); err != nil || age < -time.Minute || age > time.Minute {
			t.Errorf("%s is %q: %v", key, text, err)
		}
	}
	if types := fmt.Sprint(got["content_types"]); types != "map[default:text/plain]" {
		t.Errorf("content types %s", types)
	}
	if _, there := got["consumers"]; there {
		t.Error("microversion 1.0 shows consumers")
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	for _, where := range []string{"", "/payload", "/acl", "/metadata", "/consumers"} {
		a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodGet, "secrets/"+nobody+where, nil, nil)
		a.refused(t, http.StatusNotFound, "Provided secret id is invalid.", http.MethodGet, "secrets/no-uuid"+where, nil, nil)
	}
	a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodDelete, "secrets/"+nobody, nil, nil)
	a.refused(t, http.StatusNotFound, "Secrets container not found.", http.MethodGet, "containers/"+nobody, nil, nil)
	a.refused(t, http.StatusNotFound, "Provided container id is invalid.", http.MethodGet, "containers/x", nil, nil)
	a.refused(t, http.StatusNotFound, "Order not found.", http.MethodGet, "orders/"+nobody, nil, nil)
	a.refused(t, http.StatusNotFound, "Secret store not found.", http.MethodGet, "secret-stores/"+nobody, nil, nil)
	a.refused(t, http.StatusNotFound, "", http.MethodGet, "nothing-of-the-kind", nil, nil)
	a.refused(t, http.StatusMethodNotAllowed, "", http.MethodPatch, "secrets", map[string]any{}, headers{"Accept": "*/*"})

	ref := a.text(t, target.Unique(t), "x")
	a.want(t, http.StatusNoContent, http.MethodDelete, ref, nil, nil)
	a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodGet, ref, nil, nil)
	a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodDelete, ref, nil, nil)
	if _, err := barbican.NewClient(cloud.Session(t, "demo")).Payload(t.Context(), path.Base(ref), 32); !isClass(err, openstack.ErrNotFound) {
		t.Errorf("the plugin's client: %v", err)
	}
}

func TestExpiredIsGone(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	at := time.Now().UTC().Add(2 * time.Second).Format("2006-01-02T15:04:05")
	ref := a.secret(t, map[string]any{"payload": "x", "payload_content_type": "text/plain", "expiration": at})
	if got := a.want(t, http.StatusOK, http.MethodGet, ref, nil, nil).text("expiration"); got != at {
		t.Errorf("expiration %q, want %q", got, at)
	}
	target.Eventually(t, "the secret expires", func() bool {
		return a.call(t, http.MethodGet, ref+"/payload", nil, binary()).status == http.StatusNotFound
	})
	a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodGet, ref, nil, nil)
	a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodDelete, ref, nil, nil)
}

func TestValidation(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	for _, tc := range []struct {
		body  map[string]any
		words string
	}{
		{map[string]any{"payload": "x"}, "If 'payload' is supplied, 'payload_content_type' must also be supplied.. Invalid property: 'payload_content_type'"},
		{map[string]any{"payload": "", "payload_content_type": "text/plain"}, "If 'payload' specified, must be non empty"},
		{map[string]any{"payload": "x", "payload_content_type": "image/png"}, "payload_content_type is not one of ['text/plain', "},
		{map[string]any{"payload": "x", "payload_content_type": "application/octet-stream"}, "payload_content_encoding is not one of ['base64', 'binary']"},
		{map[string]any{"payload_content_type": "text/plain"}, "payload must be provided when payload_content_type is specified"},
		{map[string]any{"secret_type": "nope"}, "'nope' is not one of ['symmetric', 'passphrase', 'private', 'public', 'certificate', 'opaque']"},
		{map[string]any{"bit_length": -1}, "-1 is less than the minimum of 1"},
		{map[string]any{"name": 5}, "5 is not of type 'string', 'null'"},
		{map[string]any{"expiration": "2020-01-01T00:00:00"}, "'expiration' is before current time"},
		{map[string]any{"expiration": "soon"}, "Invalid date for 'expiration'"},
		{map[string]any{"payload": strings.Repeat("x", 30_000), "payload_content_type": "text/plain"}, "Malformed JSON"},
	} {
		a.refused(t, http.StatusBadRequest, tc.words, http.MethodPost, "secrets", tc.body, nil)
	}
	a.refused(t, http.StatusBadRequest, "Malformed JSON", http.MethodPost, "secrets", []byte("{"), headers{"Content-Type": "application/json"})
	a.refused(t, http.StatusUnsupportedMediaType, "Expected content types are: ['application/json']", http.MethodPost, "secrets", []byte("{}"), headers{"Content-Type": "text/plain"})
}

// names are the names of a list's secrets.
func names(a answer) (out []string) {
	for _, s := range a.list("secrets") {
		name, _ := s["name"].(string)
		out = append(out, name)
	}
	return out
}

func total(a answer) int {
	n, _ := a.body["total"].(float64)
	return int(n)
}

func TestListing(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	base := target.Unique(t)
	const secrets = 13
	for i := range secrets {
		a.text(t, fmt.Sprintf("%s-%02d", base, i), "x")
	}
	list := func(query string) answer {
		t.Helper()
		return a.want(t, http.StatusOK, http.MethodGet, "secrets?"+query, nil, nil)
	}
	like := "name=" + base + "-%25"

	// Ten by default, and links to the rest.
	first := list(like + "&sort=name")
	if got := names(first); len(got) != 10 || total(first) != secrets || got[0] != base+"-00" || first.body["previous"] != nil {
		t.Errorf("first page: %v of %d, previous %v", got, total(first), first.body["previous"])
	}
	if next := first.text("next"); !strings.HasSuffix(next, "/v1/secrets?limit=10&offset=10") { // it forgets the filters
		t.Errorf("next is %q", next)
	}
	second := list(like + "&sort=name&limit=10&offset=10")
	if got := names(second); len(got) != 3 || got[0] != base+"-10" || second.body["next"] != nil || !strings.HasSuffix(second.text("previous"), "limit=10&offset=0") {
		t.Errorf("second page: %v, next %v, previous %v", got, second.body["next"], second.body["previous"])
	}
	if got := list(like + "&offset=100"); len(names(got)) != 0 || total(got) != secrets {
		t.Errorf("beyond the end: %v of %d", names(got), total(got))
	}
	// Nonsense is put right, not refused; a page has a hundred at most.
	for query, want := range map[string]int{"limit=0": 1, "limit=-5": 1, "limit=x": 10, "limit=1000": secrets, "offset=-1&limit=2": 2, "offset=x&limit=2": 2} {
		if got := list(like + "&" + query); len(names(got)) != want {
			t.Errorf("%s: %d secrets, want %d", query, len(names(got)), want)
		}
	}
	// The name is a pattern of SQL's LIKE, without regard to case.
	for query, want := range map[string]int{
		"name=" + base + "-0_": 10, "name=" + base + "-1%25": 3, "name=" + base + "-01": 1, "name=" + strings.ToUpper(base) + "-01": 1,
		"name=" + base: 0, like + "&secret_type=opaque": secrets, like + "&secret_type=symmetric": 0, like + "&bits=256": 0, like + "&alg=aes": 0,
		like + "&created=gt:2020-01-01T00:00:00": secrets, like + "&created=lt:2020-01-01T00:00:00": 0,
	} {
		if got := total(list(query)); got != want {
			t.Errorf("%s: %d secrets, want %d", query, got, want)
		}
	}
	if got := names(list(like + "&sort=name:desc&limit=2")); !slices.Equal(got, []string{base + "-12", base + "-11"}) {
		t.Errorf("sorted downwards: %v", got)
	}
	for _, query := range []string{"sort=bogus", "sort=name:up", "sort=name,name:desc", "created=yesterday"} {
		a.refused(t, http.StatusBadRequest, "URI provided invalid query string parameters.", http.MethodGet, "secrets?"+query, nil, nil)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	ref := a.text(t, target.Unique(t), "x")
	where := ref + "/metadata"
	metadata := func() string {
		t.Helper()
		return fmt.Sprint(a.want(t, http.StatusOK, http.MethodGet, where, nil, nil).body["metadata"])
	}
	if got := metadata(); got != "map[]" {
		t.Errorf("at first: %s", got)
	}
	a.want(t, http.StatusCreated, http.MethodPut, where, map[string]any{"metadata": map[string]any{"Generation": "1", "b": "x y"}}, nil)
	if got := metadata(); got != "map[b:x y generation:1]" {
		t.Errorf("after PUT: %s", got)
	}
	a.want(t, http.StatusCreated, http.MethodPost, where, map[string]any{"key": "c", "value": "2"}, nil)
	a.refused(t, http.StatusConflict, "already in the secret metadata", http.MethodPost, where, map[string]any{"key": "c", "value": "3"}, nil)
	a.want(t, http.StatusOK, http.MethodPut, where+"/c", map[string]any{"key": "c", "value": "4"}, nil)
	if got := a.want(t, http.StatusOK, http.MethodGet, where+"/c", nil, nil).text("value"); got != "4" {
		t.Errorf("c is %q", got)
	}
	a.want(t, http.StatusNoContent, http.MethodDelete, where+"/b", nil, nil)
	a.refused(t, http.StatusNotFound, "Secret metadata not found.", http.MethodGet, where+"/b", nil, nil)
	a.refused(t, http.StatusConflict, "Key in request data does not match key", http.MethodPut, where+"/c", map[string]any{"key": "d", "value": "4"}, nil)
	a.refused(t, http.StatusBadRequest, "Key must be URL safe", http.MethodPut, where, map[string]any{"metadata": map[string]any{"a b": "1"}}, nil)
	a.refused(t, http.StatusBadRequest, "Keys and Values must be Strings", http.MethodPut, where, map[string]any{"metadata": map[string]any{"a": 1}}, nil)
	if got := metadata(); got != "map[c:4 generation:1]" {
		t.Errorf("at last: %s", got)
	}
}

func TestMicroversions(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	got := a.want(t, http.StatusOK, http.MethodGet, "", nil, microversion("1.1"))
	version, _ := got.body["version"].(map[string]any)
	if version["min_version"] != "1.0" || version["max_version"] != "1.1" || version["status"] != "CURRENT" {
		t.Errorf("version %v", version)
	}
	if header := got.header.Get("OpenStack-API-Version"); header != "key-manager 1.1" {
		t.Errorf("OpenStack-API-Version: %q", header)
	}
	// A client that does not ask is not told.
	plain, _ := a.want(t, http.StatusOK, http.MethodGet, "", nil, nil).body["version"].(map[string]any)
	if plain["max_version"] != nil || plain["status"] != "stable" {
		t.Errorf("version without a header: %v", plain)
	}
	if header := a.want(t, http.StatusOK, http.MethodGet, "secrets?limit=1", nil, microversion("latest")).header.Get("OpenStack-API-Version"); header != "key-manager 1.1" {
		t.Errorf("latest is %q", header)
	}
	a.want(t, http.StatusNotAcceptable, http.MethodGet, "secrets", nil, microversion("1.9"))
	a.want(t, http.StatusBadRequest, http.MethodGet, "secrets", nil, microversion("new"))
}
