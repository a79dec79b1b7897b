package externaldns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"mooring/pkg/designate"
	"mooring/pkg/goldentest"
	"mooring/pkg/openstack"
)

const golden = "testdata/statuses.golden"

func TestStatusTableGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, rule := range statusRules() {
		fmt.Fprintf(&b, "%-24s %d %s\n", rule.name, rule.status, http.StatusText(rule.status))
	}
	fmt.Fprintf(&b, "%-24s %d %s\n", "anything else", statusOf(errors.New("x")), http.StatusText(statusOf(errors.New("x"))))
	goldentest.Compare(t, golden, b.String())
}

// Whatever can happen to a good request is a soft error to ExternalDNS: from 500 to 510. Anything else makes it exit.
func TestGoodRequestsFailSoftly(t *testing.T) {
	t.Parallel()
	for _, class := range []error{
		openstack.ErrNotFound, openstack.ErrConflict, openstack.ErrQuota, openstack.ErrForbidden, openstack.ErrUnauthorized, openstack.ErrThrottled, openstack.ErrUnavailable,
		openstack.ErrInvalid, openstack.ErrNoService, context.Canceled, context.DeadlineExceeded, designate.ErrBudget, designate.ErrBlocked, designate.ErrName,
		designate.ErrTarget, designate.ErrType, designate.ErrShared, designate.ErrMark, designate.ErrTaken, errors.New("anything"),
	} {
		apply := &designate.ApplyError{Done: 1, Total: 2, Errs: []error{&designate.RecordError{Name: "a", Type: "A", Err: &openstack.Error{Class: class}}, fmt.Errorf("x: %w", class)}}
		for _, err := range []error{class, fmt.Errorf("listing zones: %w", class), apply} {
			if status := statusOf(err); status < 500 || status > 510 {
				t.Errorf("%v: %d", err, status)
			}
		}
	}
}
