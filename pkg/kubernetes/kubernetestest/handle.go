package kubernetestest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kinds are the resources there are.
func kinds() map[string]string {
	return map[string]string{
		"/api/v1 persistentvolumes": "PersistentVolume", "/api/v1 persistentvolumeclaims": "PersistentVolumeClaim", "/api/v1 nodes": "Node", "/api/v1 secrets": "Secret",
		"/apis/storage.k8s.io/v1 csinodes": "CSINode", "/apis/storage.k8s.io/v1 volumeattachments": "VolumeAttachment",
		"/apis/snapshot.storage.k8s.io/v1 volumesnapshotcontents": "VolumeSnapshotContent",
	}
}

var resource = regexp.MustCompile(`^(/api/v1|/apis/([^/]+)/v1)(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?$`)

// target is what a call is about.
type target struct {
	collection, kind, resource, name string
}

func (s *Server) handle(a *answer, r *http.Request) {
	if r.URL.Path == "/apis" {
		var groups []Object
		for _, g := range s.groups {
			groups = append(groups, Object{"name": g})
		}
		a.status, a.body = http.StatusOK, Object{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
		return
	}
	m := resource.FindStringSubmatch(r.URL.Path)
	if m == nil || m[2] != "" && !slices.Contains(s.groups, m[2]) || kinds()[m[1]+" "+m[4]] == "" {
		a.status, a.text = http.StatusNotFound, "404 page not found"
		return
	}
	t := target{collection: r.URL.Path, kind: kinds()[m[1]+" "+m[4]], resource: m[4], name: m[5]}
	if t.name != "" {
		t.collection = strings.TrimSuffix(r.URL.Path, "/"+t.name)
	}
	right := verb(r.Method, t.name) + " " + t.resource
	s.used[right] = true
	if s.denied[right] {
		a.refuse(http.StatusForbidden, fmt.Sprintf("%s is forbidden: User \"system:serviceaccount:mooring:x\" cannot %s at the cluster scope", t.resource, right))
		return
	}
	switch verb(r.Method, t.name) {
	case "list":
		s.list(a, r, &t)
	case "create":
		s.create(a, r, &t)
	case "deletecollection":
		s.deleteCollection(a, r, &t)
	case "get", "patch":
		s.one(a, r, &t)
	default:
		a.refuse(http.StatusMethodNotAllowed, "the server does not allow this method on the requested resource")
	}
}

func verb(method, name string) string {
	switch {
	case method == http.MethodGet && name == "":
		return "list"
	case method == http.MethodDelete && name == "":
		return "deletecollection"
	case method == http.MethodPost:
		return "create"
	}
	return strings.ToLower(method)
}

// list answers a page. Its token goes on with what there was when the list began, as etcd's snapshot does, until that is forgotten.
func (s *Server) list(a *answer, r *http.Request, t *target) {
	q := r.URL.Query()
	rest := selected(s.in(t.collection), q.Get("labelSelector"))
	if token := q.Get("continue"); token != "" {
		var ok bool
		if rest, ok = s.lists[token]; !ok {
			a.refuse(http.StatusGone, "The provided continue parameter is too old to display a consistent list result.")
			return
		}
	}
	kind := t.kind
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		kind = "PartialObjectMetadata"
	}
	meta := Object{"resourceVersion": strconv.Itoa(s.version)}
	page := rest
	if limit, err := strconv.Atoi(q.Get("limit")); err == nil && limit > 0 && len(rest) > limit {
		page = rest[:limit]
		s.revision++
		token := "token-" + strconv.Itoa(s.revision)
		s.lists[token] = rest[limit:]
		meta["continue"], meta["remainingItemCount"] = token, len(rest)-limit
	}
	items := []Object{}
	for _, o := range page {
		items = append(items, view(o, kind))
	}
	a.status, a.body = http.StatusOK, Object{"kind": kind + "List", "apiVersion": "v1", "metadata": meta, "items": items}
}

// view is a thing, or its metadata alone.
func view(o Object, kind string) Object {
	if kind == "PartialObjectMetadata" {
		return Object{"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": o["metadata"]}
	}
	return o
}

func selected(objects []Object, selector string) (out []Object) {
	for _, o := range objects {
		m, _ := o["metadata"].(map[string]any)
		labels, _ := m["labels"].(map[string]any)
		fits := true
		for term := range strings.SplitSeq(selector, ",") {
			key, value, found := strings.Cut(term, "=")
			fits = fits && (!found || labels[key] == value)
		}
		if fits {
			out = append(out, o)
		}
	}
	return out
}

func (s *Server) create(a *answer, r *http.Request, t *target) {
	var o Object
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil || nameOf(o) == "" {
		a.refuse(http.StatusBadRequest, "the object provided is unrecognized")
		return
	}
	path := t.collection + "/" + nameOf(o)
	if s.objects[path] != nil {
		a.refuse(http.StatusConflict, fmt.Sprintf("%s %q already exists", t.resource, nameOf(o)))
		return
	}
	m, _ := o["metadata"].(map[string]any)
	m["creationTimestamp"] = now()
	s.store(path, o)
	a.status, a.body = http.StatusCreated, s.objects[path]
}

func (s *Server) deleteCollection(a *answer, r *http.Request, t *target) {
	gone := selected(s.in(t.collection), r.URL.Query().Get("labelSelector"))
	for _, o := range gone {
		delete(s.objects, t.collection+"/"+nameOf(o))
	}
	a.status, a.body = http.StatusOK, Object{"kind": t.kind + "List", "apiVersion": "v1", "items": gone}
}

func (s *Server) one(a *answer, r *http.Request, t *target) {
	path := t.collection + "/" + t.name
	o := s.objects[path]
	if o == nil {
		a.refuse(http.StatusNotFound, fmt.Sprintf("%s %q not found", t.resource, t.name))
		return
	}
	if r.Method == http.MethodPatch {
		changed, status, message := patched(clone(o), r)
		if status != 0 {
			a.refuse(status, message)
			return
		}
		s.store(path, changed)
		o = s.objects[path]
	}
	kind := t.kind
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata;") {
		kind = "PartialObjectMetadata"
	}
	shown := clone(view(o, kind))
	shown["kind"], shown["apiVersion"] = kind, "v1"
	a.status, a.body = http.StatusOK, shown
}

// patched applies a merge patch, or a JSON patch of tests and removals; status is 0 when that went well.
func patched(o Object, r *http.Request) (_ Object, status int, message string) {
	switch r.Header.Get("Content-Type") {
	case "application/merge-patch+json":
		var patch Object
		if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
			return nil, http.StatusBadRequest, "no JSON"
		}
		m, _ := patch["metadata"].(map[string]any)
		have, _ := o["metadata"].(map[string]any)
		if version, ok := m["resourceVersion"]; ok && version != have["resourceVersion"] {
			return nil, http.StatusConflict, "the object has been modified; please apply your changes to the latest version and try again"
		}
		merge(o, patch)
		return o, 0, ""
	case "application/json-patch+json":
		var patch []struct {
			Op    string `json:"op"`
			Path  string `json:"path"`
			Value any    `json:"value"`
		}
		if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
			return nil, http.StatusBadRequest, "no JSON patch"
		}
		for _, p := range patch {
			if !operate(o, p.Op, strings.Split(p.Path, "/")[1:], p.Value) {
				return nil, http.StatusUnprocessableEntity, "the server rejected our request due to an error in our request"
			}
		}
		return o, 0, ""
	}
	return nil, http.StatusUnsupportedMediaType, "the body of the request was in an unknown format"
}

func merge(into, patch map[string]any) {
	for k, v := range patch {
		deeper, isMap := v.(map[string]any)
		below, hasMap := into[k].(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap && hasMap:
			merge(below, deeper)
		default:
			into[k] = v
		}
	}
}

// operate does a test or a removal at a place in a list.
func operate(o Object, op string, path []string, value any) bool {
	parent := o
	for _, step := range path[:len(path)-2] {
		below, ok := parent[step].(map[string]any)
		if !ok {
			return false
		}
		parent = below
	}
	name := path[len(path)-2]
	items, _ := parent[name].([]any)
	i, err := strconv.Atoi(path[len(path)-1])
	if err != nil || i < 0 || i >= len(items) {
		return false
	}
	switch op {
	case "test":
		return reflect.DeepEqual(items[i], value)
	case "remove":
		parent[name] = slices.Delete(items, i, i+1)
		return true
	}
	return false
}
