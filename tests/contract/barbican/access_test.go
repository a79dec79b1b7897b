package barbican_test

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

func isClass(err, class error) bool { return errors.Is(err, class) }

const notAllowed = "attempt not allowed - please review your user/project privileges"

func TestOtherProject(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	other := open(t, cloud.Session(t, "other"))
	name := target.Unique(t)
	ref := a.text(t, name, "0123456789abcdef0123456789abcdef")
	other.refused(t, http.StatusForbidden, "Secret retrieval "+notAllowed, http.MethodGet, ref, nil, nil)
	other.refused(t, http.StatusForbidden, "Secret payload retrieval "+notAllowed, http.MethodGet, ref+"/payload", nil, binary())
	other.refused(t, http.StatusForbidden, "Secret deletion "+notAllowed, http.MethodDelete, ref, nil, nil)
	other.refused(t, http.StatusForbidden, "Secret update "+notAllowed, http.MethodPut, ref, []byte("x"), headers{"Content-Type": "text/plain"})
	other.refused(t, http.StatusForbidden, "SecretACL(s) retrieval "+notAllowed, http.MethodGet, ref+"/acl", nil, nil)
	open(t, cloud.Session(t, "admin")).refused(t, http.StatusForbidden, "Secret retrieval "+notAllowed, http.MethodGet, ref, nil, nil) // not the operator either
	if got := total(other.want(t, http.StatusOK, http.MethodGet, "secrets?name="+name, nil, nil)); got != 0 {
		t.Errorf("another project lists %d of ours", got)
	}
	if _, err := barbican.NewClient(cloud.Session(t, "other")).Payload(t.Context(), path.Base(ref), 32); !isClass(err, openstack.ErrForbidden) {
		t.Errorf("the plugin's client: %v", err)
	}

	// An ACL lets in one user of another project, to read and nothing else.
	a.want(t, http.StatusOK, http.MethodPut, ref+"/acl", map[string]any{"read": map[string]any{"users": []string{other.owner.UserID}}}, nil)
	if got, err := barbican.NewClient(cloud.Session(t, "other")).Payload(t.Context(), path.Base(ref), 32); err != nil || len(got) != 32 {
		t.Errorf("with an ACL: %d bytes, %v", len(got), err)
	}
	if got := total(other.want(t, http.StatusOK, http.MethodGet, "secrets?acl_only=true&name="+name, nil, nil)); got != 1 {
		t.Errorf("it lists %d by ACL", got)
	}
	other.refused(t, http.StatusForbidden, "Secret deletion "+notAllowed, http.MethodDelete, ref, nil, nil)
}

func TestPrivateSecret(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	mate := sibling(t, cloud)
	ref := a.text(t, target.Unique(t), "x")
	if got := fmt.Sprint(a.want(t, http.StatusOK, http.MethodGet, ref+"/acl", nil, nil).body); got != "map[read:map[project-access:true]]" {
		t.Errorf("ACL at first: %s", got)
	}
	mate.want(t, http.StatusOK, http.MethodGet, ref+"/payload", nil, binary()) // everybody in the project may read, at first

	a.want(t, http.StatusOK, http.MethodPut, ref+"/acl", map[string]any{"read": map[string]any{"project-access": false}}, nil)
	a.want(t, http.StatusOK, http.MethodGet, ref+"/payload", nil, binary())
	mate.refused(t, http.StatusForbidden, "Secret payload retrieval "+notAllowed, http.MethodGet, ref+"/payload", nil, binary())
	mate.refused(t, http.StatusForbidden, "Secret retrieval "+notAllowed, http.MethodGet, ref, nil, nil)
	mate.refused(t, http.StatusForbidden, "Secret deletion "+notAllowed, http.MethodDelete, ref, nil, nil)
	mate.refused(t, http.StatusForbidden, "Secret metadata creation "+notAllowed, http.MethodPut, ref+"/metadata", map[string]any{"metadata": map[string]any{}}, nil)

	// PATCH adds a reader and leaves it private.
	a.want(t, http.StatusOK, http.MethodPatch, ref+"/acl", map[string]any{"read": map[string]any{"users": []string{mate.owner.UserID}}}, nil)
	mate.want(t, http.StatusOK, http.MethodGet, ref+"/payload", nil, binary())
	read, _ := a.want(t, http.StatusOK, http.MethodGet, ref+"/acl", nil, nil).body["read"].(map[string]any)
	if users := fmt.Sprint(read["users"]); read["project-access"] != false || users != "["+mate.owner.UserID+"]" {
		t.Errorf("ACL after PATCH: %v", read)
	}
	a.want(t, http.StatusOK, http.MethodPut, ref+"/acl", map[string]any{"read": map[string]any{"project-access": false}}, nil)
	mate.refused(t, http.StatusForbidden, notAllowed, http.MethodGet, ref+"/payload", nil, binary())

	// Under the legacy policy, being private keeps no other creator of the project from making it public again. It is why a key
	// wants a project or a user of its own.
	mate.want(t, http.StatusOK, http.MethodPut, ref+"/acl", map[string]any{"read": map[string]any{"project-access": true}}, nil)
	mate.want(t, http.StatusOK, http.MethodGet, ref+"/payload", nil, binary())
	a.want(t, http.StatusOK, http.MethodDelete, ref+"/acl", nil, nil)

	for _, tc := range []struct {
		body  map[string]any
		words string
	}{
		{map[string]any{"write": map[string]any{}}, "Additional properties are not allowed ('write' was unexpected)"},
		{map[string]any{"read": map[string]any{"who": "x"}}, "Additional properties are not allowed ('who' was unexpected)"},
		{map[string]any{"read": map[string]any{"project-access": "no"}}, "'no' is not of type 'boolean'"},
	} {
		a.refused(t, http.StatusBadRequest, tc.words, http.MethodPut, ref+"/acl", tc.body, nil)
	}
}

func TestPrivateContainer(t *testing.T) {
	t.Parallel()
	cloud, a := demo(t)
	mate := sibling(t, cloud)
	ref := a.container(t, nil)
	mate.want(t, http.StatusOK, http.MethodGet, ref, nil, nil)
	mate.refused(t, http.StatusForbidden, "Container deletion "+notAllowed, http.MethodDelete, ref, nil, nil) // that is its creator's
	a.want(t, http.StatusOK, http.MethodPut, ref+"/acl", map[string]any{"read": map[string]any{"project-access": false}}, nil)
	mate.refused(t, http.StatusForbidden, "Container retrieval "+notAllowed, http.MethodGet, ref, nil, nil)
	secret := mate.text(t, target.Unique(t), "x")
	mate.refused(t, http.StatusForbidden, "Container Secret creation "+notAllowed, http.MethodPost, ref+"/secrets", map[string]any{"name": "2", "secret_ref": secret}, nil)
	a.want(t, http.StatusOK, http.MethodGet, ref, nil, nil)
}

// container makes a generic container of named secrets that goes away with the test.
func (a *api) container(t *testing.T, refs map[string]string) string {
	t.Helper()
	list := []any{}
	for name, ref := range refs {
		list = append(list, map[string]any{"name": name, "secret_ref": ref})
	}
	ref := a.want(t, http.StatusCreated, http.MethodPost, "containers", map[string]any{"name": target.Unique(t), "type": "generic", "secret_refs": list}, nil).text("container_ref")
	a.cleanUp(t, ref)
	return ref
}

// members are a container's secrets by name.
func (a *api) members(t *testing.T, ref string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, s := range a.want(t, http.StatusOK, http.MethodGet, ref, nil, nil).list("secret_refs") {
		name, _ := s["name"].(string)
		out[name], _ = s["secret_ref"].(string)
	}
	return out
}

func TestContainers(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	first, second := a.text(t, target.Unique(t), "1"), a.text(t, target.Unique(t), "2")
	ref := a.container(t, map[string]string{"1": first})
	body := a.want(t, http.StatusOK, http.MethodGet, ref, nil, nil).body
	if body["type"] != "generic" || body["status"] != "ACTIVE" || body["creator_id"] != a.owner.UserID || body["container_ref"] != ref {
		t.Errorf("container %v", body)
	}
	a.want(t, http.StatusCreated, http.MethodPost, ref+"/secrets", map[string]any{"name": "2", "secret_ref": second}, nil)
	if got := a.members(t, ref); len(got) != 2 || got["1"] != first || got["2"] != second {
		t.Errorf("members %v", got)
	}
	a.refused(t, http.StatusConflict, "already stored in this container", http.MethodPost, ref+"/secrets", map[string]any{"name": "2", "secret_ref": second}, nil)
	missing := strings.Replace(second, path.Base(second), nobody, 1)
	a.refused(t, http.StatusNotFound, "Secret provided doesn't exist.", http.MethodPost, ref+"/secrets", map[string]any{"name": "3", "secret_ref": missing}, nil)
	a.want(t, http.StatusNoContent, http.MethodDelete, ref+"/secrets", map[string]any{"name": "1", "secret_ref": first}, nil)
	a.refused(t, http.StatusNotFound, "Secret provided is not in the container", http.MethodDelete, ref+"/secrets", map[string]any{"name": "1", "secret_ref": first}, nil)

	// A secret that is deleted leaves its containers, without a word.
	a.want(t, http.StatusNoContent, http.MethodDelete, second, nil, nil)
	if got := a.members(t, ref); len(got) != 0 {
		t.Errorf("members %v", got)
	}
	found := a.want(t, http.StatusOK, http.MethodGet, "containers?limit=100&name="+fmt.Sprint(body["name"]), nil, nil)
	if total(found) != 1 || found.list("containers")[0]["container_ref"] != ref {
		t.Errorf("listed %v", found.body)
	}
	a.want(t, http.StatusNoContent, http.MethodDelete, ref, nil, nil)
	a.refused(t, http.StatusNotFound, "Secrets container not found.", http.MethodGet, ref, nil, nil)
	a.want(t, http.StatusOK, http.MethodGet, first, nil, nil) // its secrets stay

	refs := func(list ...any) map[string]any { return map[string]any{"type": "generic", "secret_refs": list} }
	member := func(name, ref string) map[string]any { return map[string]any{"name": name, "secret_ref": ref} }
	for _, tc := range []struct {
		body   map[string]any
		status int
		words  string
	}{
		{map[string]any{"name": "x"}, http.StatusBadRequest, "'type' is a required property"},
		{map[string]any{"type": "box"}, http.StatusBadRequest, "'box' is not one of ['generic', 'rsa', 'certificate']"},
		{refs(member("a", first), member("a", missing)), http.StatusBadRequest, "Duplicate reference names are not allowed"},
		{refs(member("a", first), member("b", first)), http.StatusBadRequest, "Duplicate secret ids are not allowed"},
		{refs(member("a", "http://elsewhere.example/v1/secrets/"+nobody)), http.StatusBadRequest, "Provided field value is not supported"},
		{refs(member("a", missing)), http.StatusNotFound, "Secret provided for 'a' doesn't exist."},
	} {
		a.refused(t, tc.status, tc.words, http.MethodPost, "containers", tc.body, nil)
	}
}

// TestContainersForgetNoEntry: Barbican marks the row of an entry as deleted when it is taken out, and its unique constraint (container,
// secret, name; barbican/model/models.py) holds for the row all the same. The same secret comes back only under another name.
func TestContainersForgetNoEntry(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	first, second := a.text(t, target.Unique(t), "1"), a.text(t, target.Unique(t), "2")
	ref := a.container(t, map[string]string{"a": first})
	entry := func(name, secret string) map[string]any { return map[string]any{"name": name, "secret_ref": secret} }
	add := func(name, secret string) {
		t.Helper()
		a.want(t, http.StatusCreated, http.MethodPost, ref+"/secrets", entry(name, secret), nil)
	}
	remove := func(name, secret string) {
		t.Helper()
		a.want(t, http.StatusNoContent, http.MethodDelete, ref+"/secrets", entry(name, secret), nil)
	}
	const failed = "Container Secret creation failure seen - please contact site administrator."
	remove("a", first)
	for range 2 {
		a.refused(t, http.StatusInternalServerError, failed, http.MethodPost, ref+"/secrets", entry("a", first), nil)
	}
	add("a", second) // the name is free
	add("b", first)  // and so is the secret
	remove("b", first)
	a.refused(t, http.StatusInternalServerError, failed, http.MethodPost, ref+"/secrets", entry("b", first), nil)
	add("c", first)
	if got := a.members(t, ref); len(got) != 2 || got["a"] != second || got["c"] != first {
		t.Errorf("members %v", got)
	}
	another := a.container(t, map[string]string{"a": first}) // another container has never had it
	if got := a.members(t, another); len(got) != 1 {
		t.Errorf("members %v", got)
	}
}

func TestContainerConsumers(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	ref := a.container(t, nil)
	consumer := map[string]any{"name": "mooring", "URL": "https://cluster.example/kms"}
	for range 2 { // a second time changes nothing
		a.want(t, http.StatusOK, http.MethodPost, ref+"/consumers", consumer, nil)
	}
	list := a.want(t, http.StatusOK, http.MethodGet, ref+"/consumers", nil, nil)
	if total(list) != 1 || list.list("consumers")[0]["URL"] != consumer["URL"] {
		t.Errorf("consumers %v", list.body)
	}
	if got := fmt.Sprint(a.want(t, http.StatusOK, http.MethodGet, ref, nil, nil).body["consumers"]); got != "[map[URL:https://cluster.example/kms name:mooring]]" {
		t.Errorf("the container shows %s", got)
	}
	a.refused(t, http.StatusBadRequest, "'URL' is a required property", http.MethodPost, ref+"/consumers", map[string]any{"name": "x"}, nil)
	a.refused(t, http.StatusNotFound, "Consumer not found.", http.MethodDelete, ref+"/consumers", map[string]any{"name": "x", "URL": "y"}, nil)
	a.want(t, http.StatusOK, http.MethodDelete, ref+"/consumers", consumer, nil)
	if got := total(a.want(t, http.StatusOK, http.MethodGet, ref+"/consumers", nil, nil)); got != 0 {
		t.Errorf("%d consumers are left", got)
	}
}

// TestSecretConsumers shows what guards a key, and what does not: before microversion 1.2 a secret is deleted with its consumers.
func TestSecretConsumers(t *testing.T) {
	t.Parallel()
	_, a := demo(t)
	ref := a.text(t, target.Unique(t), "x")
	consumer := map[string]any{"service": "mooring", "resource_type": "KMS", "resource_id": "cluster-1"}
	a.want(t, http.StatusOK, http.MethodPost, ref+"/consumers", consumer, microversion("1.1"))
	list := a.want(t, http.StatusOK, http.MethodGet, ref+"/consumers", nil, microversion("1.1"))
	if total(list) != 1 || list.list("consumers")[0]["resource_id"] != "cluster-1" {
		t.Errorf("consumers %v", list.body)
	}
	const shown = "[map[resource_id:cluster-1 resource_type:KMS service:mooring]]"
	if got := fmt.Sprint(a.want(t, http.StatusOK, http.MethodGet, ref, nil, microversion("1.1")).body["consumers"]); got != shown {
		t.Errorf("the secret shows %s", got)
	}
	a.refused(t, http.StatusBadRequest, "'resource_type' is a required property", http.MethodPost, ref+"/consumers", map[string]any{"service": "x"}, microversion("1.1"))
	a.refused(t, http.StatusNotFound, "Consumer not found.", http.MethodDelete, ref+"/consumers",
		map[string]any{"service": "mooring", "resource_type": "KMS", "resource_id": "another"}, microversion("1.1"))
	a.want(t, http.StatusNoContent, http.MethodDelete, ref, nil, microversion("1.1"))
	a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodGet, ref, nil, nil)
}
