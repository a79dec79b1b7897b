// Package csitest has the RPCs of a CSI controller as a table, for tests that spoil each call of each of them, and what calls them:
// in this process, or in another one behind a socket.
package csitest

import (
	"context"
	"fmt"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Invoke calls the RPC of a controller that a request belongs to, and gives its answer.
type Invoke func(ctx context.Context, request proto.Message) (proto.Message, error)

// Server calls a controller in this process.
func Server(c csi.ControllerServer) Invoke {
	return func(ctx context.Context, request proto.Message) (proto.Message, error) {
		name := method(request)
		for _, m := range csi.Controller_ServiceDesc.Methods {
			if m.MethodName != name {
				continue
			}
			decode := func(to any) error {
				if message, ok := to.(proto.Message); ok {
					proto.Merge(message, request)
				}
				return nil
			}
			answer, err := m.Handler(c, ctx, decode, nil)
			message, _ := answer.(proto.Message)
			return message, err
		}
		return nil, fmt.Errorf("a controller has no %s", name)
	}
}

// Conn calls a controller behind a connection.
func Conn(conn grpc.ClientConnInterface) Invoke {
	return func(ctx context.Context, request proto.Message) (proto.Message, error) {
		of, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("csi.v1." + method(request) + "Response"))
		if err != nil {
			return nil, err
		}
		answer := of.New().Interface()
		return answer, conn.Invoke(ctx, "/"+csi.Controller_ServiceDesc.ServiceName+"/"+method(request), request, answer)
	}
}

// method is the RPC that a request belongs to: its name without "Request".
func method(request proto.Message) string {
	return strings.TrimSuffix(string(request.ProtoReflect().Descriptor().Name()), "Request")
}

// call is Invoke with the type of the answer.
func call[A proto.Message](ctx context.Context, do Invoke, request proto.Message) (answer A, _ error) {
	got, err := do(ctx, request)
	answer, _ = got.(A)
	return answer, err
}
