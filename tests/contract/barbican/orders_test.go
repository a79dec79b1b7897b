package barbican_test

import (
	"bytes"
	"net/http"
	"testing"

	"mooring/tests/contract/target"
)

// order sends an order for a key and waits for its end. What it made goes away with the test.
func (a *api) order(t *testing.T, meta map[string]any) answer {
	t.Helper()
	ref := a.want(t, http.StatusAccepted, http.MethodPost, "orders", map[string]any{"type": "key", "meta": meta}, nil).text("order_ref")
	var got answer
	target.Eventually(t, "the order is carried out", func() bool {
		got = a.want(t, http.StatusOK, http.MethodGet, ref, nil, nil)
		return got.text("status") != "PENDING"
	})
	if secret := got.text("secret_ref"); secret != "" {
		a.cleanUp(t, secret)
	}
	return got
}

func TestOrderedKey(t *testing.T) {
	t.Parallel()
	cloud := target.Open(t)
	for _, tenant := range []string{"demo", "hsm"} { // the software store and the HSM store
		a := open(t, cloud.Session(t, tenant))
		name := target.Unique(t)
		var keys [][]byte
		for range 2 {
			order := a.order(t, map[string]any{"name": name, "algorithm": "aes", "bit_length": 256, "mode": "gcm", "payload_content_type": "application/octet-stream"})
			if order.text("status") != "ACTIVE" || order.text("type") != "key" || order.text("creator_id") != a.owner.UserID {
				t.Fatalf("%s: order %s", tenant, order.raw)
			}
			ref := order.text("secret_ref")
			secret := a.want(t, http.StatusOK, http.MethodGet, ref, nil, nil).body
			if secret["secret_type"] != "symmetric" || secret["algorithm"] != "aes" || secret["bit_length"] != 256.0 || secret["name"] != name ||
				secret["creator_id"] != a.owner.UserID {
				t.Errorf("%s: secret %v", tenant, secret)
			}
			keys = append(keys, a.want(t, http.StatusOK, http.MethodGet, ref+"/payload", nil, binary()).raw)
			// A generated key can't be replaced either.
			a.refused(t, http.StatusConflict, "already has data", http.MethodPut, ref, make([]byte, 32), headers{"Content-Type": "application/octet-stream"})
		}
		if len(keys[0]) != 32 || len(keys[1]) != 32 || bytes.Equal(keys[0], keys[1]) {
			t.Errorf("%s: keys of %d and %d bytes", tenant, len(keys[0]), len(keys[1]))
		}
	}
}

func TestBadOrders(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	key := func(meta map[string]any) map[string]any { return map[string]any{"type": "key", "meta": meta} }
	for _, tc := range []struct {
		body  map[string]any
		words string
	}{
		{map[string]any{"type": "key"}, "'meta' is a required property. Invalid property: 'meta'"},
		{map[string]any{"meta": map[string]any{}}, "'type' is a required property. Invalid property: 'type'"},
		{map[string]any{"type": "lamp", "meta": map[string]any{}}, "'lamp' is not one of ['key', 'asymmetric', 'certificate']"},
		{key(map[string]any{"algorithm": "aes"}), "'bit_length' is required field for key type order"},
		{key(map[string]any{"bit_length": 256}), "'algorithm' is required field for key type order"},
		{key(map[string]any{"algorithm": "aes", "bit_length": 100}), "Provided field value is not supported"},
	} {
		a.refused(t, http.StatusBadRequest, tc.words, http.MethodPost, "orders", tc.body, nil)
	}
	a.refused(t, http.StatusMethodNotAllowed, "Order update is not supported.", http.MethodPut, "orders", map[string]any{}, nil)

	// What the store can't make is found out later.
	order := a.order(t, map[string]any{"algorithm": "rot13", "bit_length": 256})
	if order.text("status") != "ERROR" || order.text("error_status_code") != "400" || order.text("error_reason") == "" || order.text("secret_ref") != "" {
		t.Errorf("order %s", order.raw)
	}
	// An order can't be deleted by whoever made it, and is of no use to others.
	a.refused(t, http.StatusForbidden, "Order deletion "+notAllowed, http.MethodDelete, order.text("order_ref"), nil, nil)
	open(t, cloud.Session(t, "other")).refused(t, http.StatusNotFound, "Order not found.", http.MethodGet, order.text("order_ref"), nil, nil)
}

func TestSecretStores(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	plugins := map[string]string{}
	for _, s := range a.want(t, http.StatusOK, http.MethodGet, "secret-stores", nil, nil).list("secret_stores") {
		plugin, _ := s["crypto_plugin"].(string)
		plugins[plugin], _ = s["secret_store_ref"].(string)
	}
	if plugins["simple_crypto"] == "" || plugins["p11_crypto"] == "" {
		t.Fatalf("stores %v", plugins)
	}
	global := a.want(t, http.StatusOK, http.MethodGet, "secret-stores/global-default", nil, nil)
	if global.text("crypto_plugin") != "simple_crypto" || global.body["global_default"] != true {
		t.Errorf("the default is %s", global.raw)
	}
	a.refused(t, http.StatusNotFound, "No preferred secret store defined for this project.", http.MethodGet, "secret-stores/preferred", nil, nil)
	a.refused(t, http.StatusForbidden, "Setting preferred secret store "+notAllowed, http.MethodPost, plugins["p11_crypto"]+"/preferred", nil, nil)
	preferred := open(t, cloud.Session(t, "hsm")).want(t, http.StatusOK, http.MethodGet, "secret-stores/preferred", nil, nil)
	if preferred.text("crypto_plugin") != "p11_crypto" {
		t.Errorf("the tenant of the HSM prefers %s", preferred.raw)
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	cloud := target.Open(t)
	a := open(t, cloud.Session(t, "quota"))
	quotas, _ := a.want(t, http.StatusOK, http.MethodGet, "quotas", nil, nil).body["quotas"].(map[string]any)
	limit, _ := quotas["containers"].(float64)
	if limit != 1 {
		t.Fatalf("quotas %v", quotas)
	}
	a.container(t, nil)
	a.refused(t, http.StatusForbidden, "Container creation issue seen - Creation not allowed because a quota has been reached.",
		http.MethodPost, "containers", map[string]any{"type": "generic"}, nil)
}
