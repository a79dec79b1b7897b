package manila_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// static makes a share whose class says access: static, and has its clients.
func static(t *testing.T, c *cloud, spec *manila.Spec, clients ...string) string {
	t.Helper()
	spec.Metadata = map[string]string{manila.AccessKey: "static"}
	if len(clients) > 0 {
		spec.Grants = nil
	}
	for _, to := range clients {
		spec.Grants = append(spec.Grants, manila.Grant{Kind: manila.KindIP, To: to, Level: "rw"})
	}
	v, err := c.client.Provision(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	c.Calls.Reset()
	return v.Share.ID
}

// TestCallsOfAModify are the calls of each kind of change, in their order: grants come before denials.
func TestCallsOfAModify(t *testing.T) {
	t.Parallel()
	const look, list, rules, action, metadata = "GET shares/ID", "GET share-access-rules", "GET share-access-rules", "POST shares/ID/action", "POST shares/ID/metadata"
	for name, c := range map[string]struct {
		newest string
		change manila.Change
		calls  []string
		rules  []string
	}{
		"nothing":             {"2.73", manila.Change{}, []string{look}, []string{"10.0.0.1 rw", "10.0.0.2 rw"}},
		"what it has already": {"2.73", manila.Change{Type: "cephfs-nfs", Level: "rw", Clients: []string{"10.0.0.2/32", "10.0.0.1"}}, []string{look, list}, []string{"10.0.0.1 rw", "10.0.0.2 rw"}},
		"metadata":            {"2.73", manila.Change{Metadata: map[string]string{"a": "b"}}, []string{look, metadata}, []string{"10.0.0.1 rw", "10.0.0.2 rw"}},
		"clients": {
			"2.73",
			manila.Change{Clients: []string{"10.0.0.2", "10.0.0.3"}},
			[]string{look, list, action, rules, action, rules},
			[]string{"10.0.0.2 rw", "10.0.0.3 rw"},
		},
		"the level": {
			"2.73",
			manila.Change{Level: "ro"},
			[]string{look, list, metadata, action, rules, action, rules, metadata, action, rules, action, rules, "DELETE shares/ID/metadata/mooring-replacing-rule"},
			[]string{"10.0.0.1 ro", "10.0.0.2 ro"},
		},
		"the level, in place": {
			"2.88",
			manila.Change{Level: "ro"},
			[]string{look, list, "PUT share-access-rules/ID", "PUT share-access-rules/ID", rules},
			[]string{"10.0.0.1 ro", "10.0.0.2 ro"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := start(t, openstacksim.ManilaConfig{MaxMicroversion: c.newest})
			id := static(t, cloud, nfsSpec(), "10.0.0.1", "10.0.0.2")
			c.change.Cluster = "c1"
			if err := cloud.client.Modify(t.Context(), id, &c.change); err != nil {
				t.Fatal(err)
			}
			if calls, _ := cloud.calls(); !cmp.Equal(calls, c.calls) {
				t.Errorf("calls %q\nwant  %q", calls, c.calls)
			}
			if got := cloud.Manila.Access(id); !cmp.Equal(got, c.rules) {
				t.Errorf("rules %q, want %q", got, c.rules)
			}
			s, err := cloud.client.Share(t.Context(), id)
			if err != nil || s.Metadata["a"] != c.change.Metadata["a"] || len(s.Metadata) != 3+len(c.change.Metadata) {
				t.Errorf("metadata %v, %v", s.Metadata, err)
			}
		})
	}
}

// TestModifyKeepsTheKey: from 2.88 on a cephx user changes from rw to ro with the key that nodes have mounted with; before, nothing
// is done.
func TestModifyKeepsTheKey(t *testing.T) {
	t.Parallel()
	for newest, want := range map[string]string{"2.73": "rw", "2.87": "rw", "2.88": "ro", "2.91": "ro"} {
		c := start(t, openstacksim.ManilaConfig{MaxMicroversion: newest})
		id := static(t, c, cephSpec())
		before, err := c.client.CephxRule(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		c.Calls.Reset()
		err = c.client.Modify(t.Context(), id, &manila.Change{Cluster: "c1", Level: "ro", Metadata: map[string]string{"a": "b"}})
		if refused := want == "rw"; refused != errors.Is(err, manila.ErrUnchangeable) || !refused && err != nil {
			t.Errorf("%s: %v", newest, err)
		}
		if calls, _ := c.calls(); want == "rw" && slices.ContainsFunc(calls, func(s string) bool { return !strings.HasPrefix(s, "GET ") }) {
			t.Errorf("%s: refused after %q", newest, calls)
		}
		if after, err := c.client.CephxRule(t.Context(), id, ""); err != nil || after.Level != want || after.Key != before.Key || after.ID != before.ID {
			t.Errorf("%s: the rule is %v, %v; its key is the same: %v", newest, after, err, after.Key == before.Key)
		}
	}
}

// TestModifyLeavesForeignRules: rules that somebody else has made stay, whatever the change.
func TestModifyLeavesForeignRules(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := static(t, c, nfsSpec(), "10.0.0.1")
	c.grantByHand(t, id, "192.0.2.1")
	if err := c.client.Modify(t.Context(), id, &manila.Change{Cluster: "c1", Clients: []string{"10.0.0.3"}, Level: "ro"}); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Manila.Access(id), []string{"10.0.0.3 ro", "192.0.2.1 rw"}; !cmp.Equal(got, want) {
		t.Errorf("rules %q, want %q", got, want)
	}
	if err := c.client.Modify(t.Context(), id, &manila.Change{Cluster: "c1", Clients: []string{"192.0.2.1"}}); !errors.Is(err, manila.ErrUnchangeable) {
		t.Errorf("a client that somebody else lets write, in a list of readers: %v", err)
	}
}

func (c *cloud) grantByHand(t *testing.T, share, to string) {
	t.Helper()
	client, err := c.session.Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = "2.45"
	body := map[string]any{"allow_access": map[string]any{"access_type": "ip", "access_to": to, "access_level": "rw"}}
	resp, err := client.Post(t.Context(), client.ServiceURL("shares", share, "action"), body, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// TestModifyCutOffAnywhere cancels a Modify after each of its calls: another process goes on, and no client is forgotten.
func TestModifyCutOffAnywhere(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 13; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			c := start(t, openstacksim.ManilaConfig{})
			id := static(t, c, nfsSpec(), "10.0.0.1", "10.0.0.2")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for ctx.Err() == nil {
					if list, _ := c.calls(); len(list) >= n {
						cancel()
					}
					time.Sleep(time.Millisecond)
				}
			}()
			if err := c.client.Modify(ctx, id, &manila.Change{Cluster: "c1", Level: "ro"}); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("cut off: %v", err)
			}
			cancel()
			if err := c.client.Modify(t.Context(), id, &manila.Change{Cluster: "c1", Level: "ro"}); err != nil {
				t.Fatal(err)
			}
			if got, want := c.Manila.Access(id), []string{"10.0.0.1 ro", "10.0.0.2 ro"}; !cmp.Equal(got, want) {
				t.Errorf("rules %q, want %q", got, want)
			}
		})
	}
}

// TestModifyMeetsFaults spoils each call of a change of all kinds, once, in each way: it ends well when it is made again and again.
func TestModifyMeetsFaults(t *testing.T) {
	t.Parallel()
	change := &manila.Change{Cluster: "c1", Level: "ro", Clients: []string{"10.0.0.2", "10.0.0.3"}, Metadata: map[string]string{"a": "b"}}
	for _, call := range []struct{ method, path, newest string }{
		{http.MethodGet, `^/v2/shares/[0-9a-f-]{36}$`, "2.73"},
		{http.MethodGet, `^/v2/share-access-rules$`, "2.73"},
		{http.MethodPost, `/metadata$`, "2.73"},
		{http.MethodPost, `/action$`, "2.73"},
		{http.MethodDelete, `/metadata/`, "2.73"},
		{http.MethodPut, `^/v2/share-access-rules/`, "2.88"},
	} {
		for name, fault := range faultsOfACloud() {
			for skip := range 2 {
				fault.Service, fault.Method, fault.Path, fault.Skip, fault.Count = openstacksim.ServiceManila, call.method, call.path, skip, 1
				t.Run(fmt.Sprintf("%s %s %d %s", call.method, strings.Trim(call.path, "^$"), skip, name), func(t *testing.T) {
					t.Parallel()
					c := start(t, openstacksim.ManilaConfig{MaxMicroversion: call.newest})
					id := static(t, c, nfsSpec(), "10.0.0.1", "10.0.0.2")
					c.Faults.Add(fault)
					if err := again(t.Context(), func(ctx context.Context) error { return c.client.Modify(ctx, id, change) }); err != nil {
						t.Fatal(err)
					}
					if got, want := c.Manila.Access(id), []string{"10.0.0.2 ro", "10.0.0.3 ro"}; !cmp.Equal(got, want) {
						t.Errorf("rules %q, want %q", got, want)
					}
				})
			}
		}
	}
}

// TestModifyIsRefused by Manila, before and after a part of the change is made.
func TestModifyIsRefused(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	id := static(t, c, nfsSpec(), "10.0.0.1")
	for _, unknown := range []string{"no-uuid", "7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b"} {
		if err := c.client.Modify(t.Context(), unknown, &manila.Change{}); !errors.Is(err, openstack.ErrNotFound) {
			t.Errorf("%s: %v", unknown, err)
		}
	}
	err := c.client.Modify(t.Context(), id, &manila.Change{Cluster: "c1", Clients: []string{"10.0.0.2", "everybody"}})
	if !errors.Is(err, manila.ErrHalfChanged) || !errors.Is(err, openstack.ErrInvalid) {
		t.Errorf("the second client is none: %v", err)
	}
	if got, want := c.Manila.Access(id), []string{"10.0.0.1 rw", "10.0.0.2 rw"}; !cmp.Equal(got, want) {
		t.Errorf("rules %q, want %q: nobody loses access before all have it", got, want)
	}
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaGrant, Count: 1})
	change := &manila.Change{Cluster: "c1", Clients: []string{"10.0.0.3"}}
	if err := c.client.Modify(t.Context(), id, change); !errors.Is(err, manila.ErrRuleFailed) {
		t.Errorf("a rule in error: %v", err)
	}
	if err := c.client.Modify(t.Context(), id, change); err != nil {
		t.Errorf("again: %v", err)
	}
	if got, want := c.Manila.Access(id), []string{"10.0.0.3 rw"}; !cmp.Equal(got, want) {
		t.Errorf("rules %q, want %q", got, want)
	}
}
