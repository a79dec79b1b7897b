package csi_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mooring/pkg/grpcserver"
	"mooring/pkg/manila/csi"
	"mooring/pkg/openstack/openstacksim"
)

// served is the driver's controller behind a real socket, as sidecars reach it.
func (d *driver) served(t *testing.T) spec.ControllerClient {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := grpcserver.Listen(t.Context(), "unix://"+socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	server := grpcserver.New(grpcserver.Options{Logger: slog.New(slog.DiscardHandler), Drain: time.Second})
	csi.Register(server.GRPC(), &csi.Identity{Name: csi.DriverName}, d.controller, nil)
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return spec.NewControllerClient(conn)
}

// TestTwoThousandVolumes: whatever the size of the pages, a volume that is there all the time is listed, once, while others come and go.
func TestTwoThousandVolumes(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{Quota: openstacksim.ManilaQuota{Shares: -1, Gigabytes: -1, Snapshots: -1, SnapshotGigabytes: -1, ShareNetworks: -1, PerShareGigabytes: -1}})
	client := d.served(t)
	const volumes = 2000
	d.Manila.Fill(d.Keystone.User("demo", "demo").ProjectID, volumes)
	stay := map[string]bool{}
	all, err := client.ListVolumes(t.Context(), &spec.ListVolumesRequest{})
	if err != nil || len(all.GetEntries()) != volumes || all.GetNextToken() != "" {
		t.Fatalf("%d volumes and token %q, %v", len(all.GetEntries()), all.GetNextToken(), err)
	}
	for _, e := range all.GetEntries() {
		stay[e.GetVolume().GetVolumeId()] = true
	}
	var listing, churning sync.WaitGroup
	over := make(chan struct{})
	churning.Go(func() { // a few at a time
		for n := 0; ; n++ {
			select {
			case <-over:
				if n == 0 {
					t.Error("nothing came and went")
				}
				return
			default:
			}
			created, err := client.CreateVolume(t.Context(), request("NFS", func(r *spec.CreateVolumeRequest) { r.Name = fmt.Sprint("comes-", n) }))
			if err == nil {
				_, err = client.DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: created.GetVolume().GetVolumeId()})
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for _, size := range []int32{0, 100, 333, 1000, 5000} {
		listing.Go(func() {
			seen := map[string]int{}
			for request := (&spec.ListVolumesRequest{MaxEntries: size}); ; {
				page, err := client.ListVolumes(t.Context(), request)
				if err != nil || size > 0 && len(page.GetEntries()) > int(size) {
					t.Errorf("pages of %d: one of %d: %v", size, len(page.GetEntries()), err)
					return
				}
				for _, e := range page.GetEntries() {
					seen[e.GetVolume().GetVolumeId()]++
				}
				if request.StartingToken = page.GetNextToken(); request.GetStartingToken() == "" {
					break
				}
			}
			wrong := []string{}
			for id := range stay {
				if seen[id] != 1 {
					wrong = append(wrong, fmt.Sprintf("%s %d times", id, seen[id]))
				}
			}
			if len(wrong) > 0 {
				t.Errorf("pages of %d: %d volumes are not listed once: %s", size, len(wrong), strings.Join(wrong[:min(3, len(wrong))], ", "))
			}
		})
	}
	listing.Wait()
	close(over)
	churning.Wait()
}
