package openstack_test

import (
	"errors"
	"testing"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// Under Once a refused call is not repeated, and tells when it may be; a refused token still makes a new one.
func TestOnce(t *testing.T) {
	t.Parallel()
	sim, pool := cloud(t, openstacksim.Config{}, openstack.Options{})
	s := pool.Session(credential(t, sim, "demo"))
	ctx := openstack.Once(t.Context())
	sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Status: 429, Header: map[string]string{"Retry-After": "7"}, Count: 1})
	err := get(ctx, s)
	var refused *openstack.Error
	if !errors.As(err, &refused) || refused.RetryAfter != 7*time.Second || !errors.Is(err, openstack.ErrThrottled) {
		t.Errorf("%v, want a 429 that asks for 7 s", err)
	}
	if n := sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	sim.Keystone.RevokeTokens()
	if err := get(ctx, s); err != nil {
		t.Errorf("after a refused token: %v", err)
	}
}
