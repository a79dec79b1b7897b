package cli

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/kubernetes/kubernetestest"
)

// TestStartupTaint: it goes when kubelet has registered the driver and not before, whatever goes wrong meanwhile, and nothing else does.
func TestStartupTaint(t *testing.T) {
	t.Parallel()
	s := kubernetestest.New(t)
	const node, csiNode = "/api/v1/nodes", "/apis/storage.k8s.io/v1/csinodes"
	other := map[string]any{"key": "x", "effect": "NoSchedule", "value": "y"}
	s.Add(node, kubernetestest.Object{"metadata": map[string]any{"name": "n"}, "spec": map[string]any{"taints": []any{map[string]any{"key": startupTaint, "effect": startupEffect}, other}}})
	w := newWorld()
	w.env["KUBECONFIG"] = s.Kubeconfig(t, t.TempDir())
	socket := filepath.Join(newKubelet(t).dir, "csi.sock")
	stop := started(t, w, "manila-node", "--node-id=n", "--endpoint=unix://"+socket, "--remove-startup-taint")
	w.waitFor(t, `csinodes \"n\" not found`)
	s.Fail(kubernetestest.Fault{Method: http.MethodPatch, Status: 422}) // somebody changed the taints
	s.Fail(kubernetestest.Fault{Path: csiNode, Status: 403})
	s.Add(csiNode, kubernetestest.Object{"metadata": map[string]any{"name": "n"}, "spec": map[string]any{"drivers": []any{map[string]any{"name": "manila.csi.openstack.org"}}}})
	w.waitFor(t, "the startup taint is removed")
	stop()
	spec, _ := s.Get(node + "/n")["spec"].(map[string]any)
	if diff := cmp.Diff([]any{other}, spec["taints"]); diff != "" {
		t.Error(diff)
	}
	if used := s.Used(); !slices.Equal(used, []string{"get csinodes", "get nodes", "patch nodes"}) {
		t.Errorf("it needs %q", used)
	}
	if !strings.Contains(w.errs.String(), "422") {
		t.Error("the patch that did not hold is not in the log")
	}
}

// Without their flags the modes make no call to Kubernetes, and with them they say what is missing.
func TestNoKubernetes(t *testing.T) {
	t.Parallel()
	s := kubernetestest.New(t)
	w := newWorld()
	w.env["KUBECONFIG"] = s.Kubeconfig(t, t.TempDir())
	socket := filepath.Join(newKubelet(t).dir, "csi.sock")
	stop := started(t, w, "manila-node", "--node-id=n", "--endpoint=unix://"+socket)
	w.waitFor(t, "the CSI driver listens")
	stop()
	if calls := s.Calls(); len(calls) > 0 {
		t.Errorf("calls: %q", calls)
	}
	none := newWorld()
	none.files["clouds.yaml"] = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:1/v3', token: t}}}"
	if code := none.main("manila-node", "--node-id=n", "--endpoint=unix://"+socket, "--remove-startup-taint"); code != exitFailure || !strings.Contains(none.errs.String(), "--remove-startup-taint: no Kubernetes cluster is named") {
		t.Errorf("exit %d: %s", code, none.errs.String())
	}
	controller := append(modeArgs(t, "manila-controller"), "--ceph-secrets-namespace=ns")
	if code := none.main(controller...); code != exitFailure || !strings.Contains(none.errs.String(), "--ceph-secrets-namespace: no Kubernetes cluster is named") {
		t.Errorf("exit %d: %s", code, none.errs.String())
	}
	if code := none.main(append(controller, "--ceph-secrets-namespace=A")...); code != exitUsage {
		t.Errorf("exit %d: %s", code, none.errs.String())
	}
}
