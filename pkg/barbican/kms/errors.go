package kms

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/barbican"
)

// errRequest says that a request is outside what the API allows.
var errRequest = errors.New("the request is not valid")

// mapping is one row of the table from errors to codes.
type mapping struct {
	err  error
	code codes.Code
}

// table is the only place where errors become codes; the first row that matches counts. The API server treats all codes
// alike: they are for those who read its logs.
func table() []mapping {
	return []mapping{
		{errRequest, codes.InvalidArgument},
		{barbican.ErrKeyID, codes.InvalidArgument},
		{barbican.ErrPlaintext, codes.InvalidArgument},
		{barbican.ErrCiphertext, codes.InvalidArgument},
		{barbican.ErrRevoked, codes.FailedPrecondition}, // before ErrUnknownKey, which it can be for
		{barbican.ErrUnknownKey, codes.NotFound},
		{barbican.ErrStale, codes.Unavailable},
		{barbican.ErrBehind, codes.FailedPrecondition},
		{barbican.ErrUnusableKey, codes.FailedPrecondition}, // before ErrNotReady, whose reason it can be
		{barbican.ErrNotReady, codes.Unavailable},
	}
}

func toStatus(err error) error {
	for _, row := range table() {
		if errors.Is(err, row.err) {
			return status.Error(row.code, err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}
