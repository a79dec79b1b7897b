package csi_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/kubernetes"
	"mooring/pkg/kubernetes/kubernetestest"
	"mooring/pkg/openstack/openstacksim"
)

const secretsPath = "/api/v1/namespaces/ceph/secrets"

// withSecrets gives a driver a cluster to write Secrets to.
func withSecrets(t *testing.T) (*driver, *kubernetestest.Server) {
	t.Helper()
	d, s := start(t, openstacksim.ManilaConfig{}), kubernetestest.New(t)
	c, err := kubernetes.New(kubernetes.Source{Kubeconfig: s.Kubeconfig(t, t.TempDir()), LookupEnv: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	d.controller.KeySecrets = &kubernetes.Secrets{Client: c, Namespace: "ceph"}
	return d, s
}

// held is what kubelet would hand to the node of a Secret.
func held(t *testing.T, s *kubernetestest.Server, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	data, _ := s.Get(secretsPath + "/" + name)["data"].(map[string]any)
	for k, v := range data {
		b, err := base64.StdEncoding.DecodeString(fmt.Sprint(v))
		if err != nil {
			t.Fatal(err)
		}
		out[k] = string(b)
	}
	return out
}

func named(name string) func(*spec.CreateVolumeRequest) {
	return func(r *spec.CreateVolumeRequest) { r.Parameters["csi.storage.k8s.io/pv/name"] = name }
}

// TestKeySecret: the node mounts with the Secret that the controller has written, without a credential and without a call.
func TestKeySecret(t *testing.T) {
	t.Parallel()
	d, s := withSecrets(t)
	d.create(t, "NFS")
	v := d.create(t, "CEPHFS", named("pv-1"))
	d.create(t, "CEPHFS", named("pv-1"))
	if got := s.Names(secretsPath); !slices.Equal(got, []string{"pv-1"}) {
		t.Fatalf("there are the Secrets %q", got)
	}
	secret := held(t, s, "pv-1")
	d.Calls.Reset()
	stage := &spec.NodeStageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(), Secrets: secret}
	if _, err := d.node.NodeStageVolume(t.Context(), stage); err != nil {
		t.Fatal(err)
	}
	call := d.system.Calls()[0]
	if call.FSType != "ceph" || !strings.Contains(call.Data, "name="+secret["userID"]) || !slices.Contains(d.Secrets(), secret["userKey"]) {
		t.Errorf("mounted by %+v", call)
	}
	stage.Secrets, stage.StagingTargetPath = nil, filepath.Join(d.dir, "again") // the node still knows the key
	if _, err := d.node.NodeStageVolume(t.Context(), stage); err != nil {
		t.Error(err)
	}
	if calls := d.Calls.All(); len(calls) > 0 {
		t.Errorf("staging made %d calls", len(calls))
	}
	if _, err := d.node.NodeUnstageVolume(t.Context(), &spec.NodeUnstageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: stage.GetStagingTargetPath()}); err != nil {
		t.Error(err)
	}
	d.takeAway(t, v)
	stage.Secrets = map[string]string{"userID": "u"}
	if _, err := d.node.NodeStageVolume(t.Context(), stage); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "userID and userKey belong together") {
		t.Errorf("half of it: %v", err)
	}
	if strings.Contains(d.log.String(), secret["userKey"]) {
		t.Error("the key is in the log")
	}
	for range 2 {
		if _, err := d.controller.DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: v.GetVolumeId()}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Names(secretsPath); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// TestKeySecretFaults: whatever happens to a call, and though its answer is lost, no volume is finished without its Secret, and none
// leaves one. What the sidecar hears is never the end.
func TestKeySecretFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]kubernetestest.Fault{"dropped": {Drop: true}, "dropped after": {DropAfter: true}}
	for _, code := range []int{401, 403, 404, 409, 410, 422, 429, 500, 503} {
		faults[strconv.Itoa(code)] = kubernetestest.Fault{Status: code}
	}
	for name, fault := range faults {
		for _, before := range []bool{false, true} { // a Secret of the share that this one replaces is there
			t.Run(fmt.Sprint(name, before), func(t *testing.T) {
				t.Parallel()
				for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodDelete} {
					d, s := withSecrets(t)
					if before {
						if err := d.controller.KeySecrets.Put(t.Context(), "pv-1", "another", map[string]string{"userID": "old"}); err != nil {
							t.Fatal(err)
						}
					}
					f := fault
					f.Method = method
					s.Fail(f)
					var id string
					for range 2 { // the second time it is there
						retried(t, func() error {
							v, err := d.controller.CreateVolume(t.Context(), request("CEPHFS", named("pv-1")))
							id = v.GetVolume().GetVolumeId()
							return err
						})
					}
					if got := held(t, s, "pv-1"); got["userID"] != "pvc-cephfs" || got["userKey"] == "" {
						t.Errorf("%s: the Secret holds %q", method, got["userID"])
					}
					retried(t, func() error {
						_, err := d.controller.DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: id})
						return err
					})
					if got, counts := s.Names(secretsPath), d.Manila.Counts(); len(got) != 0 || counts != (openstacksim.ManilaCounts{}) {
						t.Errorf("%s: left: %q, %+v", method, got, counts)
					}
				}
			})
		}
	}
}

// retried calls as a sidecar does.
func retried(t *testing.T, call func() error) {
	t.Helper()
	var err error
	for range 3 {
		if err = call(); err == nil {
			return
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%v", err)
		}
	}
	t.Error(err)
}
