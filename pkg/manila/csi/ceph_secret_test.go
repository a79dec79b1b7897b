package csi_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/kubernetes"
	"mooring/pkg/kubernetes/kubernetestest"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack/openstacksim"
)

const secretsPath = "/api/v1/namespaces/ceph/secrets"

// withSecrets gives a driver a cluster to write Secrets to.
func withSecrets(t *testing.T) (*driver, *kubernetestest.Server) {
	t.Helper()
	d, s := start(t, openstacksim.ManilaConfig{MaxMicroversion: "2.88"}), kubernetestest.New(t)
	c, err := kubernetes.New(kubernetes.Source{Kubeconfig: s.Kubeconfig(t, t.TempDir()), LookupEnv: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	d.controller.KeySecrets = &kubernetes.Secrets{Client: c, Namespace: "ceph"}
	return d, s
}

// held is what kubelet would hand to the node of the volume's Secret.
func held(t *testing.T, s *kubernetestest.Server) map[string]string {
	t.Helper()
	out := map[string]string{}
	data, _ := s.Get(secretsPath + "/pv-1")["data"].(map[string]any)
	for k, v := range data {
		b, err := base64.StdEncoding.DecodeString(fmt.Sprint(v))
		if err != nil {
			t.Fatal(err)
		}
		out[k] = string(b)
	}
	return out
}

// named gives a request the name of its PersistentVolume.
func named(r *spec.CreateVolumeRequest) { r.Parameters["csi.storage.k8s.io/pv/name"] = "pv-1" }

// TestKeySecret: the node mounts with the Secret that the controller has written, without a credential and without a call.
func TestKeySecret(t *testing.T) {
	t.Parallel()
	d, s := withSecrets(t)
	d.create(t, "NFS")
	v := d.create(t, "CEPHFS", named)
	d.create(t, "CEPHFS", named)
	if got := s.Names(secretsPath); !slices.Equal(got, []string{"pv-1"}) {
		t.Fatalf("there are the Secrets %q", got)
	}
	secret := held(t, s)
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

// TestKeyOfACallThatIsGivenUp: that kubelet gives up a call says nothing about the key, so the node still knows it.
func TestKeyOfACallThatIsGivenUp(t *testing.T) {
	t.Parallel()
	d, s := withSecrets(t)
	v := d.create(t, "CEPHFS", named)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan struct{})
	d.system.Fail = func(c mounttest.Call) error {
		if c.Name == "mount" {
			cancel()
			<-answer
		}
		return nil
	}
	stage := &spec.NodeStageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(), Secrets: held(t, s)}
	_, err := d.node.NodeStageVolume(ctx, stage)
	close(answer)
	if status.Code(err) != codes.Canceled {
		t.Errorf("who gives up is told %v", err)
	}
	stage.Secrets = nil
	if _, err := d.node.NodeStageVolume(t.Context(), stage); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// TestKeySecretReadOnly: who may but read is given the key of the user that may but read, and never the other one.
func TestKeySecretReadOnly(t *testing.T) {
	t.Parallel()
	d, s := withSecrets(t)
	d.controller.Attach = true
	v := d.create(t, "CEPHFS", named)
	old := held(t, s)
	if len(old) != 2 {
		t.Fatalf("the new volume's Secret holds %d values", len(old))
	}
	published := func(node string, readOnly bool) map[string]string {
		t.Helper()
		r, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, node, readOnly))
		if err != nil {
			t.Fatal(err)
		}
		return r.GetPublishContext()
	}
	stage := func(name string, context, secret map[string]string) error {
		_, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{
			VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, name), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
			PublishContext: context, Secrets: secret,
		})
		return err
	}
	mountedBy := func(user, key string) {
		t.Helper()
		calls := d.system.Calls()
		if last := calls[len(calls)-1]; !strings.Contains(last.Data, "name="+user+",") || !slices.Contains(d.Secrets(), key) {
			t.Errorf("mounted by %+v", last)
		}
	}
	rw, ro := published("n1/10.0.0.1", false), published("n2/10.0.0.2", true)
	secret := held(t, s)
	if secret["userID"] != old["userID"] || secret["userKey"] != old["userKey"] || secret["readOnlyUserID"] != old["userID"]+"-ro" || secret["readOnlyUserKey"] == "" || secret["readOnlyUserKey"] == old["userKey"] {
		t.Fatalf("the Secret holds %q and %q", secret["userID"], secret["readOnlyUserID"])
	}
	d.Calls.Reset()
	for _, err := range []error{stage("rw", rw, old), stage("none", nil, old)} { // the Secret of before, and of before there were attachments
		if err != nil {
			t.Error(err)
		}
		mountedBy(old["userID"], old["userKey"])
	}
	before := len(d.system.Calls())
	for name, context := range map[string]map[string]string{"ro": ro, "of an older controller": {"shareAccessID": ro["shareAccessID"]}} {
		if err := stage("refused", context, old); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "the Secret has no key of the cephx user") {
			t.Errorf("%s, with an old Secret: %v", name, err)
		}
	}
	if after := len(d.system.Calls()); after != before {
		t.Error("it was mounted all the same")
	}
	if err := stage("ro", ro, secret); err != nil {
		t.Fatal(err)
	}
	mountedBy(secret["readOnlyUserID"], secret["readOnlyUserKey"])
	if calls := d.Calls.All(); len(calls) > 0 {
		t.Errorf("staging made %d calls", len(calls))
	}
	if err := stage("half", ro, map[string]string{"readOnlyUserID": "u"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("half of it: %v", err)
	}
	d.create(t, "CEPHFS", named) // asked again, it is as it was
	if _, err := d.controller.ControllerExpandVolume(t.Context(), &spec.ControllerExpandVolumeRequest{VolumeId: v.GetVolumeId(), CapacityRange: &spec.CapacityRange{RequiredBytes: 3 << 30}}); err != nil {
		t.Fatal(err)
	}
	if after := held(t, s); !maps.Equal(after, secret) {
		t.Errorf("the Secret has become one of %d values", len(after))
	}
}

// gathered are Secrets whose writers come together, unless they are kept from it.
type gathered struct {
	*kubernetes.Secrets

	mu       sync.Mutex
	at, most int
}

func (g *gathered) Put(ctx context.Context, name, owner string, values map[string]string) error {
	g.mu.Lock()
	g.at++
	g.most = max(g.most, g.at)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.at--
	}()
	time.Sleep(50 * time.Millisecond) // of which nothing depends: others have time to come
	return g.Secrets.Put(ctx, name, owner, values)
}

// TestKeySecretOfReadersAtOnce: readers for which the rule is there need not wait for each other, and each sees to the Secret.
func TestKeySecretOfReadersAtOnce(t *testing.T) {
	t.Parallel()
	d, s := withSecrets(t)
	d.controller.Attach = true
	secrets, ok := d.controller.KeySecrets.(*kubernetes.Secrets)
	if !ok {
		t.Fatalf("the Secrets are %T", d.controller.KeySecrets)
	}
	v := d.create(t, "CEPHFS", named)
	old := held(t, s)
	if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n/", true)); err != nil {
		t.Fatal(err)
	}
	want := held(t, s)
	if err := secrets.Put(t.Context(), "pv-1", v.GetVolumeId(), old); err != nil { // as when the first one was killed before it could write
		t.Fatal(err)
	}
	g := &gathered{Secrets: secrets}
	d.controller.KeySecrets = g
	var readers sync.WaitGroup
	for n := range 5 {
		readers.Go(func() {
			if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, fmt.Sprintf("n%d/", n), true)); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	if g.most != 1 {
		t.Errorf("%d wrote the Secret at once", g.most)
	}
	if got := held(t, s); !maps.Equal(got, want) || len(got) != 4 {
		t.Errorf("the Secret holds %q and %q", got["userID"], got["readOnlyUserID"])
	}
}

// TestKeySecretModified: the Secret tells what the user may do now.
func TestKeySecretModified(t *testing.T) {
	t.Parallel()
	d, s := withSecrets(t)
	v := d.create(t, "CEPHFS", named)
	first := held(t, s)
	for _, level := range []string{"ro", "rw", "ro"} {
		if _, err := d.controller.ControllerModifyVolume(t.Context(), &spec.ControllerModifyVolumeRequest{VolumeId: v.GetVolumeId(), MutableParameters: map[string]string{"accessLevel": level}}); err != nil {
			t.Fatal(err)
		}
		want := first
		if level == "ro" {
			want = map[string]string{"readOnlyUserID": first["userID"], "readOnlyUserKey": first["userKey"]}
		}
		if got := held(t, s); !maps.Equal(got, want) {
			t.Errorf("%s: the Secret has %q and %q", level, got["userID"], got["readOnlyUserID"])
		}
	}
	if err := d.controller.KeySecrets.DeleteOf(t.Context(), v.GetVolumeId()); err != nil {
		t.Fatal(err)
	}
	d.create(t, "CEPHFS", named, func(r *spec.CreateVolumeRequest) { r.MutableParameters = map[string]string{"accessLevel": "rw"} })
	if got := held(t, s); !maps.Equal(got, first) {
		t.Errorf("made again and written again: %q and %q", got["userID"], got["readOnlyUserID"])
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
							v, err := d.controller.CreateVolume(t.Context(), request("CEPHFS", named))
							id = v.GetVolume().GetVolumeId()
							return err
						})
					}
					if got := held(t, s); got["userID"] != "pvc-cephfs" || got["userKey"] == "" {
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
