package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/openstack"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
		class  error
		want   string
	}{
		"Manila": {
			404,
			http.Header{"X-Compute-Request-Id": {"req-1"}},
			`{"itemNotFound": {"code": 404, "message": "Share x could not be found."}}`, openstack.ErrNotFound,
			"GET /v2/shares/x: 404 Not Found: Share x could not be found. (request id req-1)",
		},
		"Manila's quota of a create": {
			413, nil, `{"overLimit": {"code": 413, "message": "ShareSizeExceedsAvailableQuota: Requested share exceeds allowed project/user or share type gigabytes quota.", "retryAfter": "0"}}`, openstack.ErrQuota,
			"gigabytes quota",
		},
		"Manila's quota of an extend": {403, nil, `{"forbidden": {"code": 403, "message": "Requested share exceeds allowed gigabytes quota."}}`, openstack.ErrQuota, "gigabytes quota"},
		"forbidden":                   {403, nil, `{"forbidden": {"code": 403, "message": "Policy doesn't allow share:delete to be performed."}}`, openstack.ErrForbidden, "Policy"},
		"Barbican": {
			400,
			http.Header{"X-Openstack-Request-Id": {"req-2"}},
			`{"code": 400, "title": "Provided object does not match schema 'Secret'", "description": "bit_length is not an integer"}`, openstack.ErrInvalid,
			"Provided object does not match schema 'Secret': bit_length is not an integer (request id req-2)",
		},
		"Designate": {
			400, nil, `{"code": 400, "type": "invalid_object", "message": "Provided object does not match schema", "errors": {"errors": [{"path": ["name"], "message": "'a' is not a 'hostname'"}]}}`, openstack.ErrInvalid,
			`is not a 'hostname'`,
		},
		"Keystone":         {401, nil, `{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}`, openstack.ErrUnauthorized, "requires authentication"},
		"a proxy's HTML":   {503, nil, "<html><head><title>503</title><style>b{}</style></head><body><h1>Service  Unavailable</h1>\n</body></html>", openstack.ErrUnavailable, ": Service Unavailable"},
		"nothing":          {502, nil, "", openstack.ErrUnavailable, "the answer has no message"},
		"conflict":         {409, nil, `{"conflictingRequest": {"message": "busy"}}`, openstack.ErrConflict, "busy"},
		"throttled":        {429, nil, `slow down`, openstack.ErrThrottled, "slow down"},
		"long and cut":     {400, nil, strings.Repeat("é", 1000), openstack.ErrInvalid, "…"},
		"old rate limit":   {413, nil, `{"overLimit": {"message": "This request was rate-limited."}}`, openstack.ErrThrottled, "rate-limited"},
		"precondition":     {412, nil, `{}`, openstack.ErrConflict, "412"},
		"barbican's quota": {403, nil, `{"code": 403, "title": "Quota reached for project x. Only 2 secrets are allowed.", "description": "Quota has been reached"}`, openstack.ErrQuota, "Only 2 secrets"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cause := gophercloud.ErrUnexpectedResponseCode{Method: "GET", URL: "http://h/v2/shares/x?limit=1", Actual: tc.status, Body: []byte(tc.body), ResponseHeader: tc.header}
			err := openstack.Wrap(fmt.Errorf("frame: %w", cause))
			if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not a %q that says %q on one line", err, tc.class, tc.want)
			}
			var e *openstack.Error
			if !errors.As(err, &e) || e.Status != tc.status {
				t.Errorf("no *Error with the status: %v", err)
			}
			if again := openstack.Wrap(fmt.Errorf("more: %w", err)); !errors.Is(again, tc.class) || !strings.HasPrefix(again.Error(), "more: ") {
				t.Errorf("a second Wrap changed it: %v", again)
			}
		})
	}
	if openstack.Wrap(nil) != nil {
		t.Error("nil became an error")
	}
	if err := openstack.Wrap(context.Canceled); !errors.Is(err, context.Canceled) || errors.Is(err, openstack.ErrUnavailable) {
		t.Errorf("a cancellation became %v", err)
	}
}

func TestMicroversions(t *testing.T) {
	t.Parallel()
	parse := func(s string) openstack.Microversion {
		v, err := openstack.ParseMicroversion(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if !parse("2.9").Less(parse("2.65")) || parse("2.65").Less(parse("2.65")) || parse("3.0").Less(parse("2.99")) {
		t.Error("versions are not ordered by number")
	}
	r := openstack.MicroversionRange{Min: parse("2.0"), Max: parse("2.73")}
	if !r.Has(parse("2.73")) || r.Has(parse("2.74")) || r.Best(parse("2.80")) != parse("2.73") || r.Best(parse("2.65")).String() != "2.65" {
		t.Error("the range is wrong")
	}
	for _, s := range []string{"", "2", "2.x", "-1.2", "2.1.3"} {
		if _, err := openstack.ParseMicroversion(s); err == nil {
			t.Errorf("%q was parsed", s)
		}
	}
}
