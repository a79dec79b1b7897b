// Package grpcserver serves gRPC on a unix socket, as CSI drivers and KMS plugins do: a socket that is replaced without a
// gap, recovery from panics, an access log without secrets, standard metrics, a bounded drain.
package grpcserver
