// Package manila_test has the contract of Manila, as the CSI driver and its operators rely on it: the same cases run against the
// simulator and, with MOORING_CONTRACT_CLOUDS, against a real Manila.
package manila_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/contract/target"
)

// newest is the microversion of the cases that do not say another one.
const newest = "2.73"

// nobody is the id of something that is not there.
const nobody = "7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b"

// api is Manila for one login at one microversion.
type api struct {
	client  *gophercloud.ServiceClient
	version string
	// experimental asks for what Manila calls so.
	experimental bool
	owner        openstack.Owner
	cloud        *target.Cloud
}

// open gives a cloud whose simulator takes its time, as a real one does, and its tenant.
func open(t *testing.T) (*target.Cloud, *api) {
	t.Helper()
	cloud := target.Open(t)
	if cloud.Sim != nil {
		step := 100 * time.Millisecond
		cloud.Sim.Manila.SetDelays(openstacksim.ManilaDelays{
			Create: step, CreateFromSnapshot: step, Delete: step, Extend: step, Shrink: step, Grant: step, Deny: step, Snapshot: step, SnapshotDelete: step,
		})
	}
	return cloud, as(t, cloud, "demo")
}

func as(t *testing.T, cloud *target.Cloud, who string) *api {
	t.Helper()
	session := cloud.Session(t, who)
	client, err := session.Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := session.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &api{client: client, version: newest, owner: owner, cloud: cloud}
}

// at is the same login at another microversion; empty sends none.
func (a *api) at(version string) *api {
	b := *a
	b.version = version
	return &b
}

// answer is what came back, whatever the status.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

// object is an object in the body.
func (a answer) object(key string) object {
	o, _ := a.body[key].(map[string]any)
	return o
}

// list is a list of objects in the body.
func (a answer) list(key string) (out []object) {
	items, _ := a.body[key].([]any)
	for _, item := range items {
		o, _ := item.(map[string]any)
		out = append(out, o)
	}
	return out
}

// object is a JSON object.
type object map[string]any

func (o object) text(key string) string {
	s, _ := o[key].(string)
	return s
}

func (o object) number(key string) int {
	n, _ := o[key].(float64)
	return int(n)
}

// call sends a request; the path is below /v2/.
func (a *api) call(t *testing.T, method, path string, body any) answer {
	t.Helper()
	options := &gophercloud.RequestOpts{
		JSONBody: body, KeepResponseBody: true, MoreHeaders: map[string]string{},
		OkCodes: []int{200, 201, 202, 204, 300, 400, 403, 404, 405, 406, 409, 413, 422},
	}
	if a.version != "" {
		options.MoreHeaders["X-OpenStack-Manila-API-Version"] = a.version
	}
	if a.experimental {
		options.MoreHeaders["X-OpenStack-Manila-API-Experimental"] = "True"
	}
	resp, err := a.client.Request(t.Context(), method, a.client.Endpoint+path, options)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	out := answer{status: resp.StatusCode, header: resp.Header, raw: raw}
	_ = json.Unmarshal(raw, &out.body) // some answers have no body
	return out
}

// want sends a request and fails unless the status is the wanted one.
func (a *api) want(t *testing.T, status int, method, path string, body any) answer {
	t.Helper()
	got := a.call(t, method, path, body)
	if got.status != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, got.status, status, got.raw)
	}
	return got
}

// faults are the names that Manila gives to its errors (manila/api/openstack/wsgi.py).
var faults = map[int]string{
	400: "badRequest", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest", 413: "overLimit", 406: "computeFault", 422: "computeFault",
}

// refused sends a request that Manila has to refuse, in its own shape of an error and with exactly these words.
func (a *api) refused(t *testing.T, status int, words, method, path string, body any) {
	t.Helper()
	got := a.call(t, method, path, body)
	fault := got.object(faults[status])
	if got.status != status || fault.number("code") != status || fault.text("message") != words {
		t.Errorf("%s %s: %d %s\nwant %d with %q", method, path, got.status, got.raw, status, words)
	}
	if status == http.StatusRequestEntityTooLarge && (got.header.Get("Retry-After") != "0" || fault.text("retryAfter") != "0") {
		t.Errorf("%s %s: Retry-After %q in %s, want 0", method, path, got.header.Get("Retry-After"), got.raw)
	}
}

// share makes a share that goes away with the test, and waits until it is available.
func (a *api) share(t *testing.T, more object) object {
	t.Helper()
	s := a.make(t, more)
	return a.becomes(t, s.text("id"), "available")
}

// make asks for a share that goes away with the test. It is of 1 GiB, of type dummy and NFS unless more says otherwise.
func (a *api) make(t *testing.T, more object) object {
	t.Helper()
	body := object{"name": target.Unique(t), "share_proto": "NFS", "share_type": "dummy", "size": 1}
	maps.Copy(body, more)
	got := a.want(t, http.StatusOK, http.MethodPost, "shares", object{"share": body}).object("share")
	a.cleanUp(t, "shares/"+got.text("id"))
	return got
}

// becomes waits until a share has a status.
func (a *api) becomes(t *testing.T, id, status string) (s object) {
	t.Helper()
	target.Eventually(t, "share "+id+" being "+status, func() bool {
		s = a.want(t, http.StatusOK, http.MethodGet, "shares/"+id, nil).object("share")
		if now := s.text("status"); now != status && strings.HasPrefix(now, "error") {
			t.Fatalf("share %s is %s, want %s: %v", id, now, status, a.messages(t, id))
		}
		return s.text("status") == status
	})
	return s
}

// resized waits until a share is available with a size. For a moment after the request it can still be available with the old one:
// from 2.64 on the scheduler is asked before the status changes.
func (a *api) resized(t *testing.T, id string, size int) {
	t.Helper()
	target.Eventually(t, "share "+id+" being resized", func() bool { return a.becomes(t, id, "available").number("size") == size })
}

// messages are the texts of a resource's user messages.
func (a *api) messages(t *testing.T, id string) (out []string) {
	t.Helper()
	for _, m := range a.want(t, http.StatusOK, http.MethodGet, "messages?resource_id="+id, nil).list("messages") {
		out = append(out, m.text("user_message"))
	}
	return out
}

// gone waits until a path is 404.
func (a *api) gone(t *testing.T, path string) {
	t.Helper()
	target.Eventually(t, path+" being gone", func() bool { return a.call(t, http.MethodGet, path, nil).status == http.StatusNotFound })
}

// cleanUp deletes what the test has made, by force if need be, and waits until it is gone.
func (a *api) cleanUp(t *testing.T, path string) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for end := time.Now().Add(target.Patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			options := &gophercloud.RequestOpts{
				MoreHeaders: map[string]string{"X-OpenStack-Manila-API-Version": newest}, OkCodes: []int{202, 204, 400, 403, 404, 409}, KeepResponseBody: true,
			}
			resp, err := a.client.Request(ctx, http.MethodDelete, a.client.Endpoint+path, options)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusNotFound {
				return
			}
		}
		t.Errorf("%s can't be deleted", path)
	})
}

// action posts an action of a share.
func (a *api) action(t *testing.T, status int, id, name string, args any) answer {
	t.Helper()
	return a.want(t, status, http.MethodPost, "shares/"+id+"/action", object{name: args})
}

// rule reads an access rule.
func (a *api) rule(t *testing.T, id string) object {
	t.Helper()
	return a.want(t, http.StatusOK, http.MethodGet, "share-access-rules/"+id, nil).object("access")
}

// ruleBecomes waits until an access rule has a state.
func (a *api) ruleBecomes(t *testing.T, id, state string) (r object) {
	t.Helper()
	target.Eventually(t, "access rule "+id+" being "+state, func() bool {
		r = a.rule(t, id)
		return r.text("state") == state
	})
	return r
}

// query makes a query string.
func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return "?" + q.Encode()
}

// ids are the ids of a list, in its order.
func ids(list []object) (out []string) {
	for _, o := range list {
		out = append(out, o.text("id"))
	}
	return out
}

func grant(kind, to, level string) object {
	return object{"access_type": kind, "access_to": to, "access_level": level}
}

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
