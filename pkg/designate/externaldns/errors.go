package externaldns

import (
	"context"
	"errors"
	"net/http"

	"mooring/pkg/designate"
	"mooring/pkg/openstack"
)

// Errors about requests. Those that ExternalDNS can't have sent, and only they, have a 4xx.
var (
	errMalformed   = errors.New("malformed request")
	errTooLarge    = errors.New("request body too large")
	errMediaType   = errors.New("unsupported media type")
	errAcceptable  = errors.New("not acceptable")
	errUnsupported = errors.New("unsupported method")
	errBusy        = errors.New("too many requests at once")
)

// statusRule maps one class of errors to a status.
type statusRule struct {
	err    error
	status int
	name   string // of the class, for the golden table
}

// statusRules is the one table from errors to statuses. The first rule that matches counts; what matches none is a 500.
// Everything that can happen to a well-formed request is from 500 to 510: a soft error to ExternalDNS, which tries again at the next sync.
func statusRules() []statusRule {
	return []statusRule{
		{errMalformed, http.StatusBadRequest, "malformed request"},
		{errTooLarge, http.StatusInternalServerError, "body too large"}, // so many records are no reason to exit
		{errMediaType, http.StatusUnsupportedMediaType, "unsupported media type"},
		{errAcceptable, http.StatusNotAcceptable, "not acceptable"},
		{errUnsupported, http.StatusMethodNotAllowed, "unsupported method"},
		{errBusy, http.StatusServiceUnavailable, "too many requests"},
		{designate.ErrBudget, http.StatusInternalServerError, "time budget"},
		{designate.ErrReading, http.StatusServiceUnavailable, "still reading"},
		{context.Canceled, http.StatusServiceUnavailable, "canceled"},
		{context.DeadlineExceeded, http.StatusGatewayTimeout, "deadline"},
		{openstack.ErrThrottled, http.StatusServiceUnavailable, "throttled"},
		{openstack.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
		{openstack.ErrNoService, http.StatusBadGateway, "no DNS service"},
		{openstack.ErrUnauthorized, http.StatusBadGateway, "unauthorized"},
		{openstack.ErrForbidden, http.StatusBadGateway, "forbidden"},
		{openstack.ErrQuota, http.StatusInsufficientStorage, "over quota"},
		{openstack.ErrConflict, http.StatusInternalServerError, "conflict"},
		{openstack.ErrNotFound, http.StatusInternalServerError, "not found"},
		{openstack.ErrInvalid, http.StatusInternalServerError, "refused by Designate"},
		{designate.ErrName, http.StatusInternalServerError, "invalid name"},
		{designate.ErrTarget, http.StatusInternalServerError, "invalid target"},
		{designate.ErrType, http.StatusInternalServerError, "unsupported type"},
		{designate.ErrShared, http.StatusInternalServerError, "CNAME beside another"},
		{designate.ErrMark, http.StatusInternalServerError, "no ownership record"},
		{designate.ErrTaken, http.StatusInternalServerError, "made by others"},
	}
}

// statusOf returns the status of an error.
func statusOf(err error) int {
	for _, rule := range statusRules() {
		if errors.Is(err, rule.err) {
			return rule.status
		}
	}
	return http.StatusInternalServerError
}
