package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	kmsapi "k8s.io/kms/apis/v2"
)

// floor is what gRPC costs over a unix socket: an answer of a usual size, and nothing that is done for it.
type floor struct {
	kmsapi.UnimplementedKeyManagementServiceServer
}

// Status answers.
func (floor) Status(context.Context, *kmsapi.StatusRequest) (*kmsapi.StatusResponse, error) {
	return &kmsapi.StatusResponse{Version: "v2", Healthz: "ok", KeyId: "barbican:v1:7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b:1"}, nil
}

// serveFloor serves it until ctx ends.
func serveFloor(ctx context.Context, socket string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	kmsapi.RegisterKeyManagementServiceServer(server, floor{})
	defer context.AfterFunc(ctx, server.Stop)()
	return server.Serve(listener)
}
