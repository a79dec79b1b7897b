package manila_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

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
					if err = c.client.Delete(t.Context(), id); err == nil {
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

// provisionAgainAndAgain does what external-provisioner does, with short deadlines, and returns the share's id.
func provisionAgainAndAgain(t *testing.T, c *cloud) string {
	t.Helper()
	var err error
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		var v *manila.Volume
		v, err = c.client.Provision(ctx, cephSpec())
		cancel()
		if err == nil {
			if v.Rules[0].Key == "" {
				t.Error("the cephx rule has no key")
			}
			return v.Share.ID
		}
		ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, manila.ErrPending)
		if acted := c.Manila.Counts().Shares > 0; acted && !ended && !strings.Contains(err.Error(), "creating share") && !strings.Contains(err.Error(), "looking for share") {
			t.Errorf("the share is there, and the error is final: %v", err)
		}
	}
	t.Fatalf("it never ends well: %v", err)
	return ""
}

// TestEmptyAnswers: a success without what it should bring is a failure whose end is not known, wherever it comes.
func TestEmptyAnswers(t *testing.T) {
	t.Parallel()
	for _, call := range []struct{ method, path string }{
		{http.MethodPost, `^/v2/shares$`}, {http.MethodPost, `/action$`}, {http.MethodGet, `^/v2/shares/[0-9a-f-]{36}$`},
	} {
		for _, body := range []string{"{}", "null", `{"share":{"id":"../limits","status":"available"}}`} {
			c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 30 * time.Millisecond}})
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
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: `^/v2/shares$`, Delay: 300 * time.Millisecond})
	var err error
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err = c.client.Provision(ctx, cephSpec())
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, manila.ErrPending) {
			t.Errorf("given up: %v", err)
		}
	}
	if got := c.Manila.Counts(); err != nil || got.Shares != 1 {
		t.Errorf("%v, %+v", err, got)
	}
}

// TestTwins: when a create was carried out twice after all, every call takes the older share, unless it is on its way out.
func TestTwins(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Delete: time.Minute}})
	client, err := c.session.Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = "2.73"
	var ids []string
	for _, cluster := range []string{"other", "c1", "c1"} {
		s, err := shares.Create(t.Context(), client, shares.CreateOpts{
			Name: "pvc-nfs", ShareProto: manila.NFS, Size: 1, ShareType: "cephfs-nfs", Metadata: map[string]string{manila.ClusterKey: cluster},
		}).Extract()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	for range 2 {
		if v, err := c.client.Provision(t.Context(), nfsSpec()); err != nil || v.Share.ID != ids[1] {
			t.Errorf("got %+v, %v; want the older one, %s", v, err, ids[1])
		}
	}
	c.Manila.SetShareStatus(ids[1], "deleting")
	if v, err := c.client.Provision(t.Context(), nfsSpec()); err != nil || v.Share.ID != ids[2] {
		t.Errorf("got %+v, %v; want the one that stays, %s", v, err, ids[2])
	}
	nobodys := nfsSpec()
	nobodys.Cluster = ""
	if _, err := c.client.Provision(t.Context(), nobodys); !errors.Is(err, manila.ErrIncompatible) {
		t.Errorf("without a cluster id nobody can tell them apart: %v", err)
	}
}
