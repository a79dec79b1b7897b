package csi_test

import (
	"fmt"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/openstack/openstacksim"
)

// ill is what a volume has, for people: STATUS Reason: message; ...
func ill(h *spec.VolumeHealth) string {
	var out []string
	for _, e := range h.GetHealthStatuses() {
		out = append(out, fmt.Sprintf("%s %s: %s", e.GetStatus(), e.GetReason(), e.GetMessage()))
	}
	return strings.Join(out, "; ")
}

// TestControllerHealth: what Manila knows of shares, one by one and all at once, in few calls.
func TestControllerHealth(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	named := func(name string) func(*spec.CreateVolumeRequest) {
		return func(r *spec.CreateVolumeRequest) { r.Name = name }
	}
	well, replicated := d.create(t, "NFS", named("well")).GetVolumeId(), d.create(t, "NFS", named("replicated")).GetVolumeId()
	extended, failed := d.create(t, "NFS", named("extended")).GetVolumeId(), d.create(t, "NFS", named("failed")).GetVolumeId()

	d.Manila.SetReplicas(replicated, openstacksim.ManilaReplica{Zone: "a", Status: "available", State: "active"}, openstacksim.ManilaReplica{Zone: "b", Status: "available", State: "out_of_sync"})
	d.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaExtend, Detail: "015"})
	if _, err := d.controller.ControllerExpandVolume(t.Context(), &spec.ControllerExpandVolumeRequest{VolumeId: extended, CapacityRange: &spec.CapacityRange{RequiredBytes: 2 << 30}}); err == nil {
		t.Fatal("it was extended")
	}
	d.Manila.SetShareStatus(failed, "error")
	want := map[string]string{
		well: "", failed: "INACCESSIBLE ShareError: the share is error",
		replicated: "DEGRADED ReplicaOutOfSync: replica ", extended: "DEGRADED ShareExtendingError: the share is extending_error (extend: Share Driver failed",
	}
	for id, text := range want {
		got, err := d.controller.ControllerGetVolumeHealth(t.Context(), &spec.ControllerGetVolumeHealthRequest{VolumeId: id})
		if err != nil || got.GetVolumeHealth().GetVolumeId() != id || !strings.HasPrefix(ill(got.GetVolumeHealth()), text) || (text == "") != (ill(got.GetVolumeHealth()) == "") {
			t.Errorf("%s: %v, %v, want %s", id, got, err, text)
		}
	}
	d.Calls.Reset()
	all, err := d.controller.ControllerListVolumeHealth(t.Context(), &spec.ControllerListVolumeHealthRequest{})
	if err != nil || len(all.GetEntries()) != 3 || all.GetNextToken() != "" {
		t.Fatalf("got %v, %v", all, err)
	}
	if _, calls := d.counts(); len(calls) != 3 { // shares, replicas, messages
		t.Errorf("%d calls: %q", len(calls), calls)
	}
	for _, h := range all.GetEntries() {
		if text := want[h.GetVolumeId()]; text == "" || !strings.HasPrefix(ill(h), text) {
			t.Errorf("listed: %v, want %s", h, text)
		}
	}
	var paged []*spec.VolumeHealth
	for token := ""; ; {
		page, err := d.controller.ControllerListVolumeHealth(t.Context(), &spec.ControllerListVolumeHealthRequest{MaxEntries: 1, StartingToken: token})
		if err != nil || len(page.GetEntries()) > 1 {
			t.Fatalf("got %v, %v", page, err)
		}
		paged = append(paged, page.GetEntries()...)
		if token = page.GetNextToken(); token == "" {
			break
		}
	}
	if len(paged) != 3 {
		t.Errorf("%d in pages", len(paged))
	}
}

func TestControllerHealthMistakes(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	for id, want := range map[string]codes.Code{"": codes.InvalidArgument, "no-uuid": codes.NotFound, "aaaaaaaa-2222-3333-4444-555555555555": codes.NotFound} {
		if _, err := d.controller.ControllerGetVolumeHealth(t.Context(), &spec.ControllerGetVolumeHealthRequest{VolumeId: id}); status.Code(err) != want {
			t.Errorf("%q: %v, want %s", id, err, want)
		}
	}
	for want, r := range map[codes.Code]*spec.ControllerListVolumeHealthRequest{codes.InvalidArgument: {MaxEntries: -1}, codes.Aborted: {StartingToken: "x"}} {
		if _, err := d.controller.ControllerListVolumeHealth(t.Context(), r); status.Code(err) != want {
			t.Errorf("%v: %v, want %s", r, err, want)
		}
	}
}

// TestHealthyCloud: two thousand shares that are well cost the pages of one list.
func TestHealthyCloud(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	d.create(t, "NFS")
	d.Manila.Fill(d.Keystone.User("demo", "demo").ProjectID, 2000)
	d.Calls.Reset()
	all, err := d.controller.ControllerListVolumeHealth(t.Context(), &spec.ControllerListVolumeHealthRequest{})
	if err != nil || len(all.GetEntries()) != 0 {
		t.Errorf("got %v, %v", all, err)
	}
	if _, calls := d.counts(); len(calls) > 3 {
		t.Errorf("%d calls", len(calls))
	}
}
