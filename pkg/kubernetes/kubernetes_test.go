package kubernetes_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mooring/pkg/kubernetes"
	"mooring/pkg/kubernetes/kubernetestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func none(string) (string, bool) { return "", false }

func start(t *testing.T) (*kubernetestest.Server, *kubernetes.Client) {
	t.Helper()
	s := kubernetestest.New(t)
	c, err := kubernetes.New(kubernetes.Source{Kubeconfig: s.Kubeconfig(t, t.TempDir()), LookupEnv: none, UserAgent: "mooring/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

const (
	volumes  = "/api/v1/persistentvolumes"
	nodes    = "/api/v1/nodes"
	secrets  = "/api/v1/namespaces/ns/secrets"
	contents = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"
)

func named(name string, more ...kubernetestest.Object) kubernetestest.Object {
	o := kubernetestest.Object{"metadata": map[string]any{"name": name}}
	for _, m := range more {
		maps.Copy(o, m)
	}
	return o
}

func pv(name, handle string) kubernetestest.Object {
	return named(name, kubernetestest.Object{"spec": map[string]any{"csi": map[string]any{
		"driver": "manila.csi.openstack.org", "volumeHandle": handle, "volumeAttributes": map[string]any{"shareID": handle},
	}, "claimRef": map[string]any{"namespace": "ns", "name": "claim"}}, "status": map[string]any{"phase": "Bound"}})
}

// Whether it comes from a file, from KUBECONFIG or from the pod, the login is the same.
func TestSources(t *testing.T) {
	t.Parallel()
	s := kubernetestest.New(t)
	s.Add(nodes, named("a"))
	dir := t.TempDir()
	file := s.Kubeconfig(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(kubernetestest.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	plugin := filepath.Join(dir, "plugin")
	credential := fmt.Sprintf(`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":%q}}`, kubernetestest.Token)
	if err := os.WriteFile(plugin, []byte("#!/bin/sh\necho '"+credential+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	exec := strings.Replace(string(text), `"token":"`+kubernetestest.Token+`"`,
		`"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"`+plugin+`","interactiveMode":"Never"}`, 1)
	if err := os.WriteFile(filepath.Join(dir, "exec"), []byte(exec), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	env := func(m map[string]string) func(string) (string, bool) {
		return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
	}
	for name, source := range map[string]kubernetes.Source{
		"a file":     {Kubeconfig: file, LookupEnv: env(map[string]string{"KUBECONFIG": "/no/such"})},
		"KUBECONFIG": {LookupEnv: env(map[string]string{"KUBECONFIG": "/no/such:" + file, "KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "1"})},
		"a plugin":   {Kubeconfig: filepath.Join(dir, "exec"), LookupEnv: none},
		"a pod":      {ServiceAccount: dir, LookupEnv: env(map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()})},
	} {
		c, err := kubernetes.New(source)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := c.Nodes(t.Context())
		c.Close()
		if err != nil || !slices.Equal(got, []string{"a"}) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := kubernetes.New(kubernetes.Source{LookupEnv: none}); !errors.Is(err, kubernetes.ErrNoCluster) {
		t.Errorf("nothing is set: %v", err)
	}
	if _, err := kubernetes.New(kubernetes.Source{Kubeconfig: "/no/such", LookupEnv: none}); err == nil || !strings.Contains(err.Error(), "/no/such") {
		t.Errorf("no such file: %v", err)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	s, c := start(t)
	const many = 1203
	for i := range many {
		s.Add(volumes, pv(fmt.Sprintf("pv-%04d", i), fmt.Sprint("h", i)))
	}
	s.Add(volumes, named("local", kubernetestest.Object{"spec": map[string]any{"local": map[string]any{}}}))
	got, err := c.PersistentVolumes(t.Context())
	if err != nil || len(got) != many || len(s.Calls()) != 3 {
		t.Fatalf("%d volumes by %q, %v", len(got), s.Calls(), err)
	}
	want := kubernetes.PersistentVolume{
		Name: "pv-0007", Driver: "manila.csi.openstack.org", Handle: "h7", Attributes: map[string]string{"shareID": "h7"}, ClaimNamespace: "ns", ClaimName: "claim", Phase: "Bound",
	}
	if diff := cmp.Diff(want, got[7]); diff != "" {
		t.Error(diff)
	}
	s.Fail(kubernetestest.Fault{Path: volumes, Skip: 1, Status: http.StatusGone}) // etcd has forgotten: from the beginning
	if got, err := c.PersistentVolumes(t.Context()); err != nil || len(got) != many {
		t.Errorf("%d volumes, %v", len(got), err)
	}
	s.Add(contents, named("x", kubernetestest.Object{
		"spec":   map[string]any{"driver": "d", "source": map[string]any{"volumeHandle": "v"}},
		"status": map[string]any{"snapshotHandle": "s"},
	}), named("y", kubernetestest.Object{"spec": map[string]any{"driver": "d", "source": map[string]any{"snapshotHandle": "t"}}, "status": map[string]any{"snapshotHandle": "t"}}))
	snapshots, err := c.SnapshotContents(t.Context())
	if diff := cmp.Diff([]kubernetes.SnapshotContent{{Name: "x", Driver: "d", Handles: []string{"s"}, VolumeHandle: "v"}, {Name: "y", Driver: "d", Handles: []string{"t"}}}, snapshots); diff != "" || err != nil {
		t.Error(err, diff)
	}
	s.Add("/apis/storage.k8s.io/v1/volumeattachments", named("a", kubernetestest.Object{"spec": map[string]any{
		"attacher": "d", "nodeName": "n", "source": map[string]any{"persistentVolumeName": "pv"},
	}}))
	attachments, err := c.Attachments(t.Context())
	if diff := cmp.Diff([]kubernetes.Attachment{{Driver: "d", Node: "n", Volume: "pv"}}, attachments); diff != "" || err != nil {
		t.Error(err, diff)
	}
	s.Add("/api/v1/namespaces/ns/persistentvolumeclaims", kubernetestest.Object{
		"metadata": map[string]any{"name": "c", "namespace": "ns", "uid": "u", "annotations": map[string]any{"k": "v"}}, "spec": map[string]any{"volumeName": "pv"},
	})
	claims, err := c.Claims(t.Context())
	if diff := cmp.Diff([]kubernetes.Claim{{Namespace: "ns", Name: "c", UID: "u", Volume: "pv"}}, claims); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if a, err := c.ClaimAnnotations(t.Context(), "ns", "c"); err != nil || a["k"] != "v" {
		t.Errorf("%v, %v", a, err)
	}
	if a, err := c.ClaimAnnotations(t.Context(), "ns", "not-there"); err != nil || len(a) != 0 {
		t.Errorf("a claim that is not there: %v, %v", a, err)
	}
}

// A list that is not whole is an error, whatever was read of it.
func TestErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault kubernetestest.Fault
		want  error // nil: it is tried again, and goes well
	}{
		"401":           {kubernetestest.Fault{Status: 401}, kubernetes.ErrUnauthorized},
		"403":           {kubernetestest.Fault{Status: 403}, kubernetes.ErrForbidden},
		"409":           {kubernetestest.Fault{Status: 409}, kubernetes.ErrConflict},
		"422":           {kubernetestest.Fault{Status: 422}, kubernetes.ErrInvalid},
		"410":           {kubernetestest.Fault{Status: 410}, nil},
		"always 410":    {kubernetestest.Fault{Status: 410, Count: 99}, kubernetes.ErrExpired},
		"429":           {kubernetestest.Fault{Status: 429, RetryAfter: 1}, nil},
		"500":           {kubernetestest.Fault{Status: 500}, nil},
		"always 503":    {kubernetestest.Fault{Status: 503, Count: 99}, kubernetes.ErrUnavailable},
		"dropped":       {kubernetestest.Fault{Drop: true}, nil},
		"always drop":   {kubernetestest.Fault{Drop: true, Count: 99}, kubernetes.ErrUnavailable},
		"a proxy":       {kubernetestest.Fault{Status: 200, Body: "<html>", Count: 99}, kubernetes.ErrUnavailable},
		"no list":       {kubernetestest.Fault{Status: 200, Body: `{"kind":"PersistentVolumeList"}`}, kubernetes.ErrUnavailable},
		"another kind":  {kubernetestest.Fault{Status: 200, Body: `{"kind":"NodeList","items":[]}`}, kubernetes.ErrUnavailable},
		"a proxy's 404": {kubernetestest.Fault{Status: 404, Body: "not here", Count: 99}, kubernetes.ErrUnavailable},
		"a redirect":    {kubernetestest.Fault{Status: 302}, kubernetes.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, client := start(t)
			for i := range 501 {
				s.Add(volumes, pv(fmt.Sprintf("pv-%04d", i), "h"))
			}
			c.fault.Skip = 1 // the second page
			if c.fault.Count == 0 && c.want != nil {
				c.fault.Count = 4
			}
			s.Fail(c.fault)
			got, err := client.PersistentVolumes(t.Context())
			switch {
			case c.want == nil && (err != nil || len(got) != 501):
				t.Errorf("%d volumes, %v", len(got), err)
			case c.want != nil && (!errors.Is(err, c.want) || got != nil || !strings.Contains(err.Error(), "Kubernetes: GET "+volumes)):
				t.Errorf("%d volumes, %v; want %v", len(got), err, c.want)
			case err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), kubernetestest.Token)):
				t.Errorf("the error is %q", err)
			}
		})
	}
}

// Without the CRD there are no snapshots; when it can't be read, nothing is known of them.
func TestSnapshotCRD(t *testing.T) {
	t.Parallel()
	s, c := start(t)
	s.NoSnapshots()
	if got, err := c.SnapshotContents(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("without the CRD: %v, %v", got, err)
	}
	s.Fail(kubernetestest.Fault{Path: "^/apis$", Status: 403})
	if _, err := c.SnapshotContents(t.Context()); !errors.Is(err, kubernetes.ErrForbidden) {
		t.Errorf("it can't be known whether there is the CRD: %v", err)
	}
	other, client := start(t) // the group is there, but not that version
	other.Fail(kubernetestest.Fault{Path: contents, Status: 404, Body: "404 page not found\n"})
	if _, err := client.SnapshotContents(t.Context()); !errors.Is(err, kubernetes.ErrNotFound) {
		t.Errorf("another version of the CRD: %v", err)
	}
	other.Deny("list volumesnapshotcontents")
	if _, err := client.SnapshotContents(t.Context()); !errors.Is(err, kubernetes.ErrForbidden) {
		t.Errorf("forbidden: %v", err)
	}
}

const share = "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"

func TestSecrets(t *testing.T) {
	t.Parallel()
	s, c := start(t)
	store := &kubernetes.Secrets{Client: c, Namespace: "ns"}
	put := func(name, owner, key string) error {
		return store.Put(t.Context(), name, owner, map[string]string{"userID": "u", "userKey": key})
	}
	values := func(name string) map[string]any {
		m, _ := s.Get(secrets + "/" + name)["data"].(map[string]any)
		return m
	}
	for _, key := range []string{"hush", "hush", "other"} { // made, as it is, changed
		if err := put("pv", share, key); err != nil {
			t.Fatal(err)
		}
	}
	if got := values("pv"); got["userID"] != "dQ==" || got["userKey"] != "b3RoZXI=" {
		t.Errorf("the Secret holds %v", got)
	}
	if err := put("pv", "another-share", "hush"); err != nil { // the volume's share was replaced
		t.Error(err)
	}
	if err := store.DeleteOf(t.Context(), share); err != nil || values("pv") == nil {
		t.Errorf("the Secret of another share was removed: %v", err)
	}
	s.Add(secrets, named("theirs", kubernetestest.Object{"data": map[string]any{"a": "Yg=="}}), kubernetestest.Object{
		"metadata": map[string]any{"name": "labelled", "labels": map[string]any{kubernetes.OwnerLabel: share}}, "data": map[string]any{},
	})
	if err := put("theirs", share, "hush"); !errors.Is(err, kubernetes.ErrForeign) || values("theirs")["a"] != "Yg==" {
		t.Errorf("a Secret of somebody else: %v", err)
	}
	if err := put("second", share, "hush"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := store.DeleteOf(t.Context(), share); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Names(secrets); !slices.Equal(got, []string{"labelled", "pv", "theirs"}) {
		t.Errorf("there are %q", got)
	}
	if err := store.DeleteOf(t.Context(), ""); err == nil {
		t.Error("all Secrets would have been removed")
	}
	if got := s.Used(); !slices.Equal(got, []string{"create secrets", "deletecollection secrets", "get secrets", "patch secrets"}) {
		t.Errorf("it needs %q", got)
	}
	s.Fail(kubernetestest.Fault{Status: 422, Body: `{"kind":"Status","message":"Secret is invalid: data[userKey]: hush"}`})
	if err := put("pv", share, "hush"); !errors.Is(err, kubernetes.ErrInvalid) || strings.Contains(err.Error(), "hush") {
		t.Errorf("the error repeats the key: %v", err)
	}
	s.Fail(kubernetestest.Fault{Status: 200, Body: "<html>"})
	if err := put("new", share, "hush"); !errors.Is(err, kubernetes.ErrUnavailable) {
		t.Errorf("a proxy said yes: %v", err)
	}
}

// TestSecretConflict: somebody changes a Secret between the look and the patch.
func TestSecretConflict(t *testing.T) {
	t.Parallel()
	s, c := start(t)
	store := &kubernetes.Secrets{Client: c, Namespace: "ns"}
	if err := store.Put(t.Context(), "pv", share, map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	s.Fail(kubernetestest.Fault{Method: http.MethodPatch, Status: 409})
	if err := store.Put(t.Context(), "pv", share, map[string]string{"a": "2"}); !errors.Is(err, kubernetes.ErrConflict) {
		t.Error(err)
	}
	if err := store.Put(t.Context(), "pv", share, map[string]string{"b": "2"}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]any{"b": "Mg=="}, s.Get(secrets + "/pv")["data"]); diff != "" {
		t.Error(diff)
	}
}

const key = "manila.csi.openstack.org/agent-not-ready"

func tainted(name string, taints ...map[string]any) kubernetestest.Object {
	return named(name, kubernetestest.Object{"spec": map[string]any{"taints": taints}})
}

func TestRemoveTaint(t *testing.T) {
	t.Parallel()
	s, c := start(t)
	ours, theirs := map[string]any{"key": key, "effect": "NoSchedule"}, map[string]any{"key": "node.kubernetes.io/x", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
	s.Add(nodes, tainted("a", theirs, ours), tainted("b", map[string]any{"key": key, "effect": "NoExecute"}))
	for _, want := range []bool{true, false} {
		if removed, err := c.RemoveTaint(t.Context(), "a", key, "NoSchedule"); err != nil || removed != want {
			t.Errorf("removed %v, want %v: %v", removed, want, err)
		}
	}
	if removed, err := c.RemoveTaint(t.Context(), "b", key, "NoSchedule"); err != nil || removed {
		t.Errorf("one of another effect: %v, %v", removed, err)
	}
	spec, _ := s.Get(nodes + "/a")["spec"].(map[string]any)
	if diff := cmp.Diff([]any{theirs}, spec["taints"]); diff != "" {
		t.Error(diff)
	}
	if _, err := c.RemoveTaint(t.Context(), "none", key, "NoSchedule"); !errors.Is(err, kubernetes.ErrNotFound) {
		t.Error(err)
	}
	if got := s.Used(); !slices.Equal(got, []string{"get nodes", "patch nodes"}) {
		t.Errorf("it needs %q", got)
	}
}

func TestHasDriver(t *testing.T) {
	t.Parallel()
	s, c := start(t)
	s.Add("/apis/storage.k8s.io/v1/csinodes", named("a", kubernetestest.Object{"spec": map[string]any{"drivers": []any{map[string]any{"name": "d"}}}}))
	for driver, want := range map[string]bool{"d": true, "e": false} {
		if got, err := c.HasDriver(t.Context(), "a", driver); err != nil || got != want {
			t.Errorf("%s: %v, %v", driver, got, err)
		}
	}
}
