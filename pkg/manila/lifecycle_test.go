package manila_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"
	"go.uber.org/goleak"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is a simulated cloud with a session of its demo user and a fast poll.
type cloud struct {
	*openstacksim.Cloud
	session *openstack.Session
	client  *manila.Client
}

func start(t *testing.T, cfg openstacksim.ManilaConfig) *cloud {
	t.Helper()
	return startAs(t, "demo", cfg)
}

func startAs(t *testing.T, who string, cfg openstacksim.ManilaConfig) *cloud {
	t.Helper()
	sim, err := openstacksim.Start(openstacksim.Config{Manila: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	source := openstack.Source{
		Cloud: who, CloudsFile: "/clouds.yaml", LookupEnv: func(string) (string, bool) { return "", false },
		ReadFile: func(path string) ([]byte, error) {
			if path == "/clouds.yaml" {
				return sim.CloudsYAML(), nil
			}
			return nil, fs.ErrNotExist
		},
	}
	credential, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	pool := openstack.NewPool(openstack.Options{})
	t.Cleanup(pool.Close)
	session := pool.Session(credential)
	return &cloud{sim, session, manila.New(session, manila.Options{Poll: poll.Backoff{First: 10 * time.Millisecond, Max: 50 * time.Millisecond, Factor: 1.1}})}
}

func nfsSpec() *manila.Spec {
	return &manila.Spec{
		Name: "pvc-nfs", Cluster: "c1", SizeGiB: 1, Protocol: manila.NFS, Type: "cephfs-nfs", Metadata: map[string]string{"csi.storage.k8s.io/pvc/name": "data"},
		Grants: []manila.Grant{{Kind: manila.KindIP, To: "0.0.0.0/0", Level: "rw"}},
	}
}

func cephSpec() *manila.Spec {
	return &manila.Spec{
		Name: "pvc-ceph", Cluster: "c1", SizeGiB: 1, Protocol: manila.CEPHFS, Type: "cephfs",
		Grants: []manila.Grant{{Kind: manila.KindCephx, To: "pvc-ceph", Level: "rw"}},
	}
}

// calls lists what reached Manila, without the version document, and counts the logins.
func (c *cloud) calls() (list []string, logins int) {
	for _, call := range c.Calls.All() {
		switch {
		case call.Service == openstacksim.ServiceKeystone && call.Method == http.MethodPost:
			logins++
		case call.Service == openstacksim.ServiceManila && call.Path != "/v2/":
			path := strings.TrimPrefix(call.Path, "/v2/")
			for s := range strings.SplitSeq(path, "/") {
				if len(s) == 36 {
					path = strings.Replace(path, s, "ID", 1)
				}
			}
			list = append(list, call.Method+" "+path)
		}
	}
	return list, logins
}

// TestCallsOfAProvision counts: the list by name, the create and the grant, and looks at what takes time.
func TestCallsOfAProvision(t *testing.T) {
	t.Parallel()
	for _, spec := range []*manila.Spec{nfsSpec(), cephSpec()} {
		c := start(t, openstacksim.ManilaConfig{})
		v, err := c.client.Provision(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if v.Share.Name != spec.Name || len(v.Exports) == 0 || len(v.Rules) != 1 || v.Rules[0].State != "active" {
			t.Errorf("%s: got %+v", spec.Protocol, v)
		}
		if spec.Protocol == manila.CEPHFS && v.Rules[0].Key == "" {
			t.Error("the cephx rule has no key")
		}
		list, logins := c.calls()
		// the last list tells that the rules are active, where the file system is, and that no other share has the name
		want := []string{"GET shares/detail", "POST shares", "GET shares/ID/export_locations", "POST shares/ID/action", "GET shares/detail"}
		if spec.Protocol == manila.CEPHFS {
			want = append(want, "GET share-access-rules") // where the key is
		}
		if diff := cmp.Diff(want, list); diff != "" || logins != 1 {
			t.Errorf("%s: %d logins, calls (-want +got):\n%s", spec.Protocol, logins, diff)
		}
		c.Calls.Reset()
		again, err := c.client.Provision(t.Context(), spec)
		if err != nil || again.Share.ID != v.Share.ID {
			t.Fatalf("repeated: %+v, %v", again, err)
		}
		list, logins = c.calls()
		if diff := cmp.Diff([]string{"GET shares/detail", "GET shares/ID/export_locations", "GET share-access-rules"}, list); diff != "" || logins != 0 {
			t.Errorf("%s, repeated: %d logins, calls (-want +got):\n%s", spec.Protocol, logins, diff)
		}
		c.Calls.Reset()
		if err := c.client.Delete(t.Context(), v.Share.ID); err != nil {
			t.Fatal(err)
		}
		if list, _ = c.calls(); !cmp.Equal(list, []string{"DELETE shares/ID", "GET shares/ID"}) {
			t.Errorf("%s: a delete made %q", spec.Protocol, list)
		}
		if got := c.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
			t.Errorf("left over: %+v", got)
		}
	}
}

func TestNFSExportsForClients(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{NFSHosts: []string{"10.0.0.1", "fd00::1"}})
	v, err := c.client.Provision(t.Context(), nfsSpec())
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Exports) != 2 || !strings.HasPrefix(v.Exports[0].Path, "[fd00::1]:/") || !strings.HasPrefix(v.Exports[1].Path, "10.0.0.1:/") {
		t.Errorf("exports are %+v: the preferred one first, none for administrators", v.Exports)
	}
}

func TestProvisionWaits(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 200 * time.Millisecond, Grant: 200 * time.Millisecond, Delete: 200 * time.Millisecond}})
	begin := time.Now()
	v, err := c.client.Provision(t.Context(), cephSpec())
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 400*time.Millisecond || v.Rules[0].Key == "" {
		t.Errorf("ready after %v with %+v", took, v)
	}
	if err := c.client.Delete(t.Context(), v.Share.ID); err != nil {
		t.Fatal(err)
	}
	if got := c.Manila.Counts(); got.Shares != 0 {
		t.Errorf("Delete returned while Manila still had %+v", got)
	}
}

// TestCutOffAnywhere cancels a Provision after each of its calls and goes on with another: in the end there is one share, one rule.
func TestCutOffAnywhere(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 6; n++ {
		c := start(t, openstacksim.ManilaConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for ctx.Err() == nil {
				if list, _ := c.calls(); len(list) >= n {
					cancel()
				}
				time.Sleep(time.Millisecond)
			}
		}()
		_, err := c.client.Provision(ctx, cephSpec())
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cut off after %d calls: %v", n, err)
		}
		v, err := c.client.Provision(t.Context(), cephSpec())
		if err != nil || v.Rules[0].Key == "" {
			t.Errorf("resumed after %d calls: %+v, %v", n, v, err)
		}
		if got := c.Manila.Counts(); got.Shares != 1 || got.Rules != 1 {
			t.Errorf("after %d calls: %+v, want one of each", n, got)
		}
	}
}

// TestAnswersLost drops the connection after Manila has acted, for every call that changes something.
func TestAnswersLost(t *testing.T) {
	t.Parallel()
	for _, path := range []string{`^/v2/shares$`, `/action$`} {
		c := start(t, openstacksim.ManilaConfig{})
		c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: path, DropAfter: true, Count: 1})
		_, err := c.client.Provision(t.Context(), nfsSpec())
		if !errors.Is(err, openstack.ErrUnavailable) {
			t.Errorf("%s: the answer was lost: %v", path, err)
		}
		if path != `^/v2/shares$` && !errors.Is(err, manila.ErrPending) {
			t.Errorf("%s: the share exists, and the error is final: %v", path, err)
		}
		if _, err := c.client.Provision(t.Context(), nfsSpec()); err != nil {
			t.Errorf("%s: the next call: %v", path, err)
		}
		if got := c.Manila.Counts(); got.Shares != 1 || got.Rules != 1 {
			t.Errorf("%s: %+v, want one of each", path, got)
		}
	}
}

func TestShareInErrorIsToldAndReplaced(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaCreate, Name: "pvc-nfs", Detail: "009", Count: 1})
	_, err := c.client.Provision(t.Context(), nfsSpec())
	if !errors.Is(err, manila.ErrShareFailed) || !errors.Is(err, manila.ErrPending) || !strings.Contains(err.Error(), "Capacity filter didn't succeed") {
		t.Fatalf("got %v, want Manila's message", err)
	}
	v, err := c.client.Provision(t.Context(), nfsSpec())
	if err != nil || v.Share.Status != "available" && v.Share.Status != "creating" {
		t.Fatalf("the retry: %+v, %v", v, err)
	}
	if got := c.Manila.Counts(); got.Shares != 1 {
		t.Errorf("%+v: the failed share was not replaced", got)
	}
}

// TestUsedShareInErrorIsKept: a share that was usable is not replaced, whatever has become of it, and serves again when it is repaired.
func TestUsedShareInErrorIsKept(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	v, err := c.client.Provision(t.Context(), nfsSpec())
	if err != nil {
		t.Fatal(err)
	}
	c.Manila.SetShareStatus(v.Share.ID, "error")
	for range 2 {
		_, err := c.client.Provision(t.Context(), nfsSpec())
		if !errors.Is(err, manila.ErrShareFailed) || !errors.Is(err, manila.ErrPending) || !strings.Contains(err.Error(), "share set --status available") {
			t.Errorf("got %v", err)
		}
	}
	if got := c.Manila.Counts(); got.Shares != 1 || got.Rules != 1 {
		t.Errorf("%+v are left", got)
	}
	c.Manila.SetShareStatus(v.Share.ID, "available")
	if again, err := c.client.Provision(t.Context(), nfsSpec()); err != nil || again.Share.ID != v.Share.ID {
		t.Errorf("repaired: %+v, %v", again, err)
	}
}

func TestForeignShareIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	spec := nfsSpec()
	spec.Cluster = "another"
	v, err := c.client.Provision(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	c.Manila.SetShareStatus(v.Share.ID, "error")
	if _, err := c.client.Provision(t.Context(), nfsSpec()); !errors.Is(err, manila.ErrIncompatible) || errors.Is(err, manila.ErrPending) {
		t.Errorf("a share of another cluster: %v", err)
	}
	if got := c.Manila.Counts(); got.Shares != 1 {
		t.Errorf("another cluster's share was deleted: %+v", got)
	}
}

func TestRuleInError(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaGrant, Detail: "021", Count: 1})
	_, err := c.client.Provision(t.Context(), nfsSpec())
	if !errors.Is(err, manila.ErrRuleFailed) || !errors.Is(err, manila.ErrPending) || !strings.Contains(err.Error(), "Failed to grant access") {
		t.Fatalf("got %v, want Manila's message", err)
	}
	if _, err := c.client.Provision(t.Context(), nfsSpec()); err != nil {
		t.Errorf("the retry grants anew: %v", err)
	}
	if got := c.Manila.Counts(); got.Rules != 1 {
		t.Errorf("%+v, want one rule", got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*manila.Spec)
		want   error
		text   string
	}{
		"unknown type": {func(s *manila.Spec) { s.Type = "nope" }, manila.ErrReference, "Share type not found"},
		"unknown zone": {func(s *manila.Spec) { s.Zone = "mars" }, manila.ErrReference, "Availability zone"},
		"quota":        {func(s *manila.Spec) { s.SizeGiB = 1001 }, openstack.ErrQuota, "gigabytes quota"},
		"protocol":     {func(s *manila.Spec) { s.Protocol = "HDFS" }, openstack.ErrInvalid, "Invalid share protocol"},
	} {
		cloud := start(t, openstacksim.ManilaConfig{})
		spec := nfsSpec()
		c.change(spec)
		_, err := cloud.client.Provision(t.Context(), spec)
		if !errors.Is(err, c.want) || errors.Is(err, manila.ErrPending) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v; want %v with %q, and final", name, err, c.want, c.text)
		}
		if got := cloud.Manila.Counts(); got.Shares != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestTroubleWhilePolling: a refused look after the create was accepted is never final.
func TestTroubleWhilePolling(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusBadRequest, http.StatusInternalServerError} {
		c := start(t, openstacksim.ManilaConfig{})
		remove := c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodGet, Path: `^/v2/shares/.*export_locations$`, Status: status})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := c.client.Provision(ctx, nfsSpec())
		cancel()
		if !errors.Is(err, manila.ErrPending) {
			t.Errorf("%d while polling: %v", status, err)
		}
		remove()
		if _, err := c.client.Provision(t.Context(), nfsSpec()); err != nil {
			t.Errorf("%d, afterwards: %v", status, err)
		}
	}
}

// until looks every millisecond whether something has come about.
func (c *cloud) until(t *testing.T, come func() bool) {
	t.Helper()
	for !come() {
		if err := poll.Sleep(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: openstacksim.Held}})
	if err := c.client.Delete(t.Context(), "fake-vol-id"); err != nil {
		t.Errorf("what can't be an id: %v", err)
	}
	if list, _ := c.calls(); len(list) != 0 {
		t.Errorf("what can't be an id was asked for: %q", list)
	}
	if err := c.client.Delete(t.Context(), "5f0a9e2c-1111-4222-8333-444455556666"); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	// A share that is still being made is waited for, then deleted.
	ctx, cancel := context.WithCancel(t.Context())
	provision, remove := make(chan error, 1), make(chan error, 1)
	go func() { _, err := c.client.Provision(ctx, nfsSpec()); provision <- err }()
	var id string
	c.until(t, func() bool { id = c.Manila.ShareNamed(nfsSpec().Name); return id != "" })
	cancel()
	if err := <-provision; !errors.Is(err, manila.ErrPending) {
		t.Fatalf("got %v", err)
	}
	c.Calls.Reset()
	go func() { remove <- c.client.Delete(t.Context(), id) }()
	c.until(t, func() bool { return len(c.manilaCalls()) > 1 }) // its DELETE was refused
	c.Manila.Release()
	if err := <-remove; err != nil {
		t.Errorf("a share that is being made: %v", err)
	}
	if got := c.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		t.Errorf("left over: %+v", got)
	}
}

func TestDeleteFails(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	v, err := c.client.Provision(t.Context(), nfsSpec())
	if err != nil {
		t.Fatal(err)
	}
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaDelete, Count: 1})
	for range 2 { // the second finds it in error_deleting
		if err := c.client.Delete(t.Context(), v.Share.ID); !errors.Is(err, manila.ErrDeleteFailed) || !strings.Contains(err.Error(), "delete: An unknown error occurred") {
			t.Errorf("got %v, want Manila's message", err)
		}
	}
	c.Manila.SetShareStatus(v.Share.ID, "extending_error")
	if err := c.client.Delete(t.Context(), v.Share.ID); !errors.Is(err, manila.ErrDeleteFailed) || !strings.Contains(err.Error(), "extending_error") {
		t.Errorf("a status that Manila refuses: %v", err)
	}
	c.Manila.SetShareStatus(v.Share.ID, "available")
	if err := c.client.Delete(t.Context(), v.Share.ID); err != nil {
		t.Errorf("an operator has mended it: %v", err)
	}
}

func TestDeleteWithSnapshots(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	v, err := c.client.Provision(t.Context(), nfsSpec())
	if err != nil {
		t.Fatal(err)
	}
	api, err := c.session.Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	api.Microversion = "2.73"
	snapshot, err := snapshots.Create(t.Context(), api, snapshots.CreateOpts{ShareID: v.Share.ID}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.client.Delete(t.Context(), v.Share.ID); !errors.Is(err, manila.ErrInUse) || !strings.Contains(err.Error(), snapshot.ID) {
		t.Errorf("a share with a snapshot: %v", err)
	}
	if err := snapshots.Delete(t.Context(), api, snapshot.ID).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if err := c.client.Delete(t.Context(), v.Share.ID); err != nil {
		t.Errorf("without it: %v", err)
	}
}

func TestOldManila(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{MaxMicroversion: "2.36"})
	if _, err := c.client.Provision(t.Context(), nfsSpec()); !errors.Is(err, manila.ErrTooOld) {
		t.Errorf("2.36: %v", err)
	}
	c = start(t, openstacksim.ManilaConfig{MaxMicroversion: "2.37"})
	if _, err := c.client.Provision(t.Context(), nfsSpec()); err != nil { // rules without metadata, listed by the action
		t.Errorf("2.37: %v", err)
	}
	spec := nfsSpec()
	spec.Name, spec.Grants[0].To = "pvc-6", "fd00::/8"
	if _, err := c.client.Provision(t.Context(), spec); !errors.Is(err, manila.ErrTooOld) || !strings.Contains(err.Error(), "2.38") {
		t.Errorf("an IPv6 rule on 2.37: %v", err)
	}
	ahead := start(t, openstacksim.ManilaConfig{MinMicroversion: "2.90", MaxMicroversion: "2.95"})
	if _, err := ahead.client.Provision(t.Context(), spec); !errors.Is(err, manila.ErrTooNew) || !strings.Contains(err.Error(), "its oldest microversion is 2.90") {
		t.Errorf("2.90 to 2.95: %v", err)
	}
	newer := start(t, openstacksim.ManilaConfig{MaxMicroversion: "2.95"})
	if _, err := newer.client.Provision(t.Context(), spec); err != nil {
		t.Errorf("2.95: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 50 * time.Millisecond}})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			spec := nfsSpec()
			spec.Name = "pvc-" + string(rune('a'+i))
			if _, err := c.client.Provision(t.Context(), spec); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, logins := c.calls(); logins != 1 {
		t.Errorf("%d logins", logins)
	}
	if got := c.Manila.Counts(); got.Shares != 20 || got.Rules != 20 {
		t.Errorf("%+v", got)
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	v, err := c.client.Provision(t.Context(), cephSpec())
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.client.Share(t.Context(), v.Share.ID)
	if err != nil || s.Metadata[manila.ClusterKey] != "c1" {
		t.Errorf("Share: %+v, %v", s, err)
	}
	for _, rule := range []string{"", v.Rules[0].ID} {
		r, err := c.client.CephxRule(t.Context(), v.Share.ID, rule)
		if err != nil || r.To != "pvc-ceph" || r.Key == "" || r.Metadata[manila.ManagedByKey] != manila.ManagedBy {
			t.Errorf("CephxRule(%q): %+v, %v", rule, r, err)
		}
	}
	exports, err := c.client.Exports(t.Context(), v.Share.ID)
	if err != nil || len(exports) != 1 {
		t.Errorf("Exports: %+v, %v", exports, err)
	}
	for _, id := range []string{"fake-vol-id", "5f0a9e2c-1111-4222-8333-444455556666"} {
		if _, err := c.client.Share(t.Context(), id); !errors.Is(err, openstack.ErrNotFound) {
			t.Errorf("Share(%q): %v", id, err)
		}
	}
	if _, err := c.client.CephxRule(t.Context(), v.Share.ID, "nope"); !errors.Is(err, openstack.ErrNotFound) {
		t.Errorf("a rule that is not there: %v", err)
	}
}
