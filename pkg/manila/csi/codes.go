package csi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
)

// What is wrong with a request itself.
var (
	errRequest      = errors.New("invalid request")
	errRange        = errors.New("no possible size")
	errSingleWriter = errors.New("another pod has the volume, and there may be one (ReadWriteOncePod)")
	errGone         = errors.New("the volume is not here")
	errNotStaged    = errors.New("the staging target path is missing: the volume has to be staged first")
	errBusy         = errors.New("another request for this volume is under way")
	errZone         = errors.New("the node's availability zone is not known")
	errKeySecret    = errors.New("the Secret with the volume's cephx key can't be seen to")
	errNoKey        = errors.New("the Secret has no key of the cephx user")
	errClaim        = errors.New("the claim's annotations can't be read")
	errNoCredential = errors.New("there is no OpenStack credential")
)

// code is a row of the table.
type code struct {
	err  error
	name string
	code codes.Code
}

// table is which gRPC code an error has; the first row that matches wins. Sidecars act on it: external-provisioner takes
// Canceled, DeadlineExceeded, Unavailable and Aborted as "may still be under way" and calls again with the same name, and every
// other code as the end, after which it may forget the volume. So while a share may exist (ErrPending), whatever else is
// wrong has to look unfinished, or the share would be orphaned; and it may until Manila has refused the create and then shows no
// share of the name, since an earlier call, of a process that was killed, may have made it. external-snapshotter has the same rule.
func table() []code {
	return []code{
		{context.Canceled, "context.Canceled", codes.Canceled},
		{context.DeadlineExceeded, "context.DeadlineExceeded", codes.DeadlineExceeded},
		{errBusy, "errBusy", codes.Aborted},
		{manila.ErrIncompatible, "manila.ErrIncompatible", codes.AlreadyExists},
		{manila.ErrPending, "manila.ErrPending", codes.Unavailable},
		{errKeySecret, "errKeySecret", codes.Unavailable},
		{errNoKey, "errNoKey", codes.FailedPrecondition},
		{errRequest, "errRequest", codes.InvalidArgument},
		{errRange, "errRange", codes.OutOfRange},
		{errZone, "errZone", codes.Unavailable},
		{errClaim, "errClaim", codes.Unavailable},
		{errNoCredential, "errNoCredential", codes.FailedPrecondition},
		{errLocation, "errLocation", codes.FailedPrecondition},
		{params.ErrInvalid, "params.ErrInvalid", codes.InvalidArgument},
		{manila.ErrZones, "manila.ErrZones", codes.ResourceExhausted},
		{manila.ErrHalfChanged, "manila.ErrHalfChanged", codes.FailedPrecondition},
		{manila.ErrUnchangeable, "manila.ErrUnchangeable", codes.InvalidArgument},
		{manila.ErrReference, "manila.ErrReference", codes.InvalidArgument},
		{manila.ErrShareFailed, "manila.ErrShareFailed", codes.Unavailable},
		{manila.ErrRuleFailed, "manila.ErrRuleFailed", codes.Unavailable},
		{manila.ErrOtherAccess, "manila.ErrOtherAccess", codes.AlreadyExists},
		{manila.ErrNotUsable, "manila.ErrNotUsable", codes.Unavailable},
		{manila.ErrDeleteFailed, "manila.ErrDeleteFailed", codes.FailedPrecondition},
		{manila.ErrTooLarge, "manila.ErrTooLarge", codes.OutOfRange},
		{manila.ErrExtendFailed, "manila.ErrExtendFailed", codes.Unavailable},
		{manila.ErrSnapshotFailed, "manila.ErrSnapshotFailed", codes.Unavailable},
		{manila.ErrSnapshotStuck, "manila.ErrSnapshotStuck", codes.FailedPrecondition},
		{manila.ErrToken, "manila.ErrToken", codes.Aborted},
		{manila.ErrInUse, "manila.ErrInUse", codes.FailedPrecondition},
		{manila.ErrTooOld, "manila.ErrTooOld", codes.FailedPrecondition},
		{manila.ErrTooNew, "manila.ErrTooNew", codes.FailedPrecondition},
		{mount.ErrOption, "mount.ErrOption", codes.InvalidArgument},
		{mount.ErrExport, "mount.ErrExport", codes.InvalidArgument},
		{mount.ErrOccupied, "mount.ErrOccupied", codes.AlreadyExists},
		{mount.ErrInUse, "mount.ErrInUse", codes.FailedPrecondition},
		{mount.ErrTarget, "mount.ErrTarget", codes.FailedPrecondition},
		{mount.ErrNotEmpty, "mount.ErrNotEmpty", codes.FailedPrecondition},
		{mount.ErrUnsupported, "mount.ErrUnsupported", codes.FailedPrecondition},
		{errGone, "errGone", codes.NotFound},
		{errNotStaged, "errNotStaged", codes.FailedPrecondition},
		{errNode, "errNode", codes.NotFound},
		{errAddress, "errAddress", codes.FailedPrecondition},
		{errSingleWriter, "errSingleWriter", codes.FailedPrecondition},
		{mount.ErrNotMounted, "mount.ErrNotMounted", codes.FailedPrecondition},
		{mount.ErrHung, "mount.ErrHung", codes.Unavailable},
		{mount.ErrDead, "mount.ErrDead", codes.Unavailable},
		{mount.ErrDenied, "mount.ErrDenied", codes.PermissionDenied},
		{openstack.ErrNoService, "openstack.ErrNoService", codes.FailedPrecondition},
		{openstack.ErrQuota, "openstack.ErrQuota", codes.ResourceExhausted},
		{openstack.ErrNotFound, "openstack.ErrNotFound", codes.NotFound},
		{openstack.ErrConflict, "openstack.ErrConflict", codes.Aborted},
		{openstack.ErrForbidden, "openstack.ErrForbidden", codes.PermissionDenied},
		{openstack.ErrUnauthorized, "openstack.ErrUnauthorized", codes.Unauthenticated},
		{openstack.ErrThrottled, "openstack.ErrThrottled", codes.Unavailable},
		{openstack.ErrUnavailable, "openstack.ErrUnavailable", codes.Unavailable},
		{openstack.ErrInvalid, "openstack.ErrInvalid", codes.InvalidArgument},
	}
}

// rpcError is an error with its code. It keeps the cause, for the log line.
type rpcError struct {
	code codes.Code
	err  error
}

func (e *rpcError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *rpcError) Unwrap() error { return e.err }

// GRPCStatus is what gRPC sends.
func (e *rpcError) GRPCStatus() *status.Status { return status.New(e.code, e.err.Error()) }

// answer gives an error its code.
func answer(err error) error {
	if err == nil {
		return nil
	}
	for _, row := range table() {
		if errors.Is(err, row.err) {
			return &rpcError{row.code, advised(row.code, err)}
		}
	}
	return &rpcError{codes.Internal, err}
}

// advised tells whoever reads the events of a claim what can be done about a quota. Kubernetes asks again by itself.
func advised(code codes.Code, err error) error {
	if code != codes.ResourceExhausted || !errors.Is(err, openstack.ErrQuota) {
		return err
	}
	return fmt.Errorf("%w; it goes on by itself once shares or snapshots of the project are deleted, or its quota is raised", err)
}

// mayExist marks what is wrong around a create, and may not have been so before: an earlier call, whose secret and claim were good, may
// have made what it asks for.
func mayExist(err error) error { return fmt.Errorf("%w: %w", manila.ErrPending, err) }

// bad is a mistake in a request.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errRequest}, args...)...)
}

// Annotate adds OpenStack's request id to the log line of a failed call.
func Annotate(err error) []slog.Attr {
	if e, ok := errors.AsType[*openstack.Error](err); ok && e.RequestID != "" {
		return []slog.Attr{slog.String("openstack_request_id", e.RequestID)}
	}
	return nil
}
