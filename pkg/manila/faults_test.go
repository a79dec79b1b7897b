package manila_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// TestFaultMatrix spoils each call of a create and of a delete once, in each way that a cloud has. Then the same request comes again,
// as sidecars send it: it ends well, nothing is there twice, and the delete leaves nothing. What fails after the create was
// accepted says that it is not the end.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	calls := []struct{ method, path string }{
		{http.MethodGet, `^/v2/$`},
		{http.MethodGet, `^/v2/shares/detail$`},
		{http.MethodPost, `^/v2/shares$`},
		{http.MethodGet, `/export_locations$`},
		{http.MethodPost, `/action$`},
		{http.MethodGet, `^/v2/share-access-rules$`},
		{http.MethodDelete, `^/v2/shares/`},
		{http.MethodGet, `^/v2/shares/[0-9a-f-]{36}$`},
	}
	for _, call := range calls {
		for name, fault := range faultsOfACloud() {
			fault.Service, fault.Method, fault.Path, fault.Count = openstacksim.ServiceManila, call.method, call.path, 1
			t.Run(call.method+" "+strings.Trim(call.path, "^$")+" "+name, func(t *testing.T) {
				t.Parallel()
				c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 30 * time.Millisecond}})
				c.Faults.Add(fault)
				id := provisionAgainAndAgain(t, c)
				if got := c.Manila.Counts(); got.Shares != 1 || got.Rules != 1 {
					t.Errorf("%+v, want one of each", got)
				}
				var err error
				for range 5 {
					if err = c.client.DeleteVolume(t.Context(), id, "c1"); err == nil {
						break
					}
				}
				if got := c.Manila.Counts(); err != nil || got != (openstacksim.ManilaCounts{}) {
					t.Errorf("deleted: %v, left: %+v", err, got)
				}
			})
		}
	}
}

// faultsOfACloud are the ways in which a call goes wrong.
func faultsOfACloud() map[string]openstacksim.Fault {
	faults := map[string]openstacksim.Fault{
		"dropped before": {Drop: true}, "dropped after": {DropAfter: true}, "slow": {Delay: 700 * time.Millisecond},
	}
	for _, status := range []int{401, 403, 404, 409, 413, 429, 500, 503} {
		faults[strconv.Itoa(status)] = openstacksim.Fault{Status: status}
	}
	return faults
}

// again calls as a sidecar does, until it ends well, and returns the last error. The first calls are too short for the slow fault of
// faultsOfACloud; each has twice the time of the one before it, so that the last has enough on any machine.
func again(ctx context.Context, call func(context.Context) error) (err error) {
	for n := range 8 {
		bound, cancel := context.WithTimeout(ctx, 500*time.Millisecond<<n)
		err = call(bound)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// provisionAgainAndAgain does what external-provisioner does, with short deadlines, and returns the share's id.
func provisionAgainAndAgain(t *testing.T, c *cloud) string {
	t.Helper()
	var v *manila.Volume
	err := again(t.Context(), func(ctx context.Context) (err error) {
		if v, err = c.client.Provision(ctx, cephSpec()); err == nil {
			return nil
		}
		ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, manila.ErrPending)
		if acted := c.Manila.Counts().Shares > 0; acted && !ended && !strings.Contains(err.Error(), "creating share") && !strings.Contains(err.Error(), "looking for share") {
			t.Errorf("the share is there, and the error is final: %v", err)
		}
		return err
	})
	if err != nil {
		t.Fatalf("it never ends well: %v", err)
	}
	if v.Rules[0].Key == "" {
		t.Error("the cephx rule has no key")
	}
	return v.Share.ID
}

// TestEmptyAnswers: a success without what it should bring is a failure whose end is not known, wherever it comes.
func TestEmptyAnswers(t *testing.T) {
	t.Parallel()
	for _, call := range []struct{ method, path string }{
		{http.MethodGet, `^/v2/shares/detail$`}, {http.MethodPost, `^/v2/shares$`}, {http.MethodPost, `/action$`}, {http.MethodGet, `^/v2/shares/[0-9a-f-]{36}$`},
	} {
		for _, body := range []string{"{}", "null", `{"share":{"id":"../limits","status":"available"}}`} {
			takes := 30 * time.Millisecond
			if strings.Contains(call.path, "36") { // the share is read by its id while it is made
				takes = 500 * time.Millisecond
			}
			c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: takes}})
			c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: call.method, Path: call.path, Count: 1, Status: http.StatusOK, Body: body})
			if _, err := c.client.Provision(t.Context(), cephSpec()); !errors.Is(err, openstack.ErrUnavailable) {
				t.Errorf("%s %s answered %s: %v", call.method, call.path, body, err)
			}
			if _, err := c.client.Provision(t.Context(), cephSpec()); err != nil {
				t.Errorf("%s %s answered %s, the next time: %v", call.method, call.path, body, err)
			}
			if got := c.Manila.Counts(); got.Shares != 1 || got.Rules != 1 {
				t.Errorf("%s %s answered %s: %+v, want one of each", call.method, call.path, body, got)
			}
		}
	}
}

// TestProxyWithoutManila: a 404 of a proxy that has lost its Manila does not make a share look deleted, nor a name look free for ever.
func TestProxyWithoutManila(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	v, err := c.client.Provision(t.Context(), nfsSpec())
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"", "default backend - 404", `{"message":"no route"}`} {
		remove := c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Path: "/v2/shares", Status: http.StatusNotFound, Body: body})
		if err := c.client.Delete(t.Context(), v.Share.ID); !errors.Is(err, openstack.ErrUnavailable) {
			t.Errorf("%q: the share was deleted with %v", body, err)
		}
		if _, err := c.client.Share(t.Context(), v.Share.ID); !errors.Is(err, openstack.ErrUnavailable) {
			t.Errorf("%q: the share was read with %v", body, err)
		}
		if _, err := c.client.Provision(t.Context(), nfsSpec()); !errors.Is(err, manila.ErrPending) {
			t.Errorf("%q: the name was looked for with %v", body, err)
		}
		remove()
	}
	if err := c.client.Delete(t.Context(), v.Share.ID); err != nil || c.Manila.Counts().Shares != 0 {
		t.Errorf("afterwards: %v, left %+v", err, c.Manila.Counts())
	}
}

// TestSlowCreate: a caller that gives up before Manila has answered, again and again, gets one share and no more.
func TestSlowCreate(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: `^/v2/shares$`, Delay: 700 * time.Millisecond})
	tries := 0
	err := again(t.Context(), func(ctx context.Context) error {
		tries++
		_, err := c.client.Provision(ctx, cephSpec())
		if err != nil && !errors.Is(err, manila.ErrPending) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		return err
	})
	if tries == 1 {
		t.Error("it was not slow")
	}
	if got := c.Manila.Counts(); err != nil || got.Shares != 1 {
		t.Errorf("%v, %+v", err, got)
	}
}

// TestRefusedAfterAll: a create whose answer was lost has got through late, so that the list did not show it, and has taken the
// last of the quota: the next create is refused, and that is not the end.
func TestRefusedAfterAll(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestEntityTooLarge} {
		for _, lists := range []int{1, 0} { // that show nothing; without end
			c := start(t, openstacksim.ManilaConfig{})
			there := c.twin(t, "c1")
			body := `{"shares":[]}`
			c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodGet, Path: `^/v2/shares/detail$`, Count: 1, Status: http.StatusOK, Body: body})
			if lists == 0 {
				c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodGet, Path: `^/v2/shares/detail$`, Status: http.StatusForbidden})
			}
			c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: `^/v2/shares$`, Status: code, Body: `{"itemNotFound":{"message":"no"}}`})
			v, err := c.client.Provision(t.Context(), nfsSpec())
			if lists == 1 && (err != nil || v.Share.ID != there) || lists == 0 && !errors.Is(err, manila.ErrPending) {
				t.Errorf("%d, %d: %+v, %v", code, lists, v, err)
			}
		}
	}
}

// TestNothingIsFinalBeforeTheNameIsKnown: whatever keeps a call from looking for the name, an earlier one may have made it.
func TestNothingIsFinalBeforeTheNameIsKnown(t *testing.T) {
	t.Parallel()
	for _, path := range []string{`^/v2/$`, `^/v2/(shares|snapshots)/detail$`} {
		for _, code := range []int{400, 401, 403, 404, 409, 413} {
			c := start(t, openstacksim.ManilaConfig{})
			c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodGet, Path: path, Status: code})
			if _, err := c.client.Provision(t.Context(), nfsSpec()); !errors.Is(err, manila.ErrPending) {
				t.Errorf("%s answers %d: a share: %v", path, code, err)
			}
			if _, err := c.client.Snapshot(t.Context(), &manila.SnapshotSpec{Name: "s", ShareID: "5f0a9e2c-1111-4222-8333-444455556666"}); !errors.Is(err, manila.ErrPending) {
				t.Errorf("%s answers %d: a snapshot: %v", path, code, err)
			}
		}
	}
}

// TestTwins: when a create was carried out twice after all, every call takes the older share, unless it is on its way out, and
// removes a younger one that nobody was told of.
func TestTwins(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 50 * time.Millisecond}})
	foreign, used := c.twin(t, "other"), c.twin(t, "c1")
	provision := func(want string) {
		t.Helper()
		if v, err := c.client.Provision(t.Context(), nfsSpec()); err != nil || v.Share.ID != want {
			t.Fatalf("got %+v, %v; want %s", v, err, want)
		}
	}
	provision(used)
	c.twin(t, "c1") // still being made when the next call finds it
	provision(used)
	if got := c.Manila.Counts(); got.Shares != 2 || got.Rules != 1 {
		t.Errorf("%+v, want the foreign share and the one in use", got)
	}
	younger := c.twin(t, "c1")
	c.Manila.SetShareStatus(used, "deleting")
	provision(younger) // which has an access rule now
	c.Manila.SetShareStatus(used, "available")
	provision(used)
	if got := c.Manila.Counts(); got.Shares != 3 {
		t.Errorf("%+v, want the one with a rule left alone", got)
	}
	nobodys := nfsSpec()
	nobodys.Cluster = ""
	if _, err := c.client.Provision(t.Context(), nobodys); !errors.Is(err, manila.ErrIncompatible) {
		t.Errorf("without a cluster id nobody can tell them apart: %v", err)
	}
	if _, err := c.client.Share(t.Context(), foreign); err != nil {
		t.Errorf("the other cluster's share: %v", err)
	}
}

// TestLostTwin: a share that is usable is taken before an older one that is not, and was not told of.
func TestLostTwin(t *testing.T) {
	t.Parallel()
	for status, left := range map[string]int{"error": 2, "error_deleting": 2, "deleting": 2} {
		c := start(t, openstacksim.ManilaConfig{})
		older, used := c.twin(t, "c1"), c.twin(t, "c1")
		c.Manila.SetShareStatus(older, status)
		for range 2 {
			if v, err := c.client.Provision(t.Context(), nfsSpec()); err != nil || v.Share.ID != used {
				t.Errorf("the older one is in %s: got %+v, %v; want %s", status, v, err, used)
			}
		}
		if got := c.Manila.Counts(); got.Shares != left {
			t.Errorf("the older one is in %s: %+v, want %d shares", status, got, left)
		}
	}
}

// twin makes one more share of the name of nfsSpec.
func (c *cloud) twin(t *testing.T, cluster string) (id string) {
	t.Helper()
	return c.named(t, "pvc-nfs", map[string]string{manila.ClusterKey: cluster})
}
