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
	faults := map[string]openstacksim.Fault{
		"dropped before": {Drop: true}, "dropped after": {DropAfter: true}, "slow": {Delay: 700 * time.Millisecond},
	}
	for _, status := range []int{401, 403, 404, 409, 413, 429, 500, 503} {
		faults[strconv.Itoa(status)] = openstacksim.Fault{Status: status}
	}
	for _, call := range calls {
		for name, fault := range faults {
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
