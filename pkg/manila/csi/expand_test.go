package csi_test

import (
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/openstack/openstacksim"
)

func TestExpandVolume(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "CEPHFS")
	id := v.GetVolumeId()
	capacity := func(required, limit int64) *spec.CapacityRange {
		return &spec.CapacityRange{RequiredBytes: required, LimitBytes: limit}
	}
	block := rwx()
	block.AccessType = &spec.VolumeCapability_Block{Block: &spec.VolumeCapability_BlockVolume{}}
	const gib = 1 << 30
	for _, c := range []struct {
		name string
		r    *spec.ControllerExpandVolumeRequest
		want codes.Code
		text string
		size int64
	}{
		{"no id", &spec.ControllerExpandVolumeRequest{CapacityRange: capacity(gib, 0)}, codes.InvalidArgument, "id is missing", 0},
		{"no range", &spec.ControllerExpandVolumeRequest{VolumeId: id}, codes.InvalidArgument, "range is missing", 0},
		{"block", &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: capacity(gib, 0), VolumeCapability: block}, codes.InvalidArgument, "no block device", 0},
		{"no whole GiB", &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: capacity(gib+1, gib+2)}, codes.OutOfRange, "whole GiB", 0},
		{"unknown", &spec.ControllerExpandVolumeRequest{VolumeId: "fake-vol-id", CapacityRange: capacity(gib, 0)}, codes.NotFound, "", 0},
		{"quota", &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: capacity(5000*gib, 0)}, codes.ResourceExhausted, "gigabytes quota", 0},
		{"to 2.1 GiB", &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: capacity(2*gib+gib/10, 0), VolumeCapability: rwx()}, codes.OK, "", 3 * gib},
		{"to less", &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: capacity(2*gib, 0)}, codes.OK, "", 3 * gib},
		{"to less, with a limit", &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: capacity(2*gib, 2*gib)}, codes.OutOfRange, "3 GiB", 0},
	} {
		got, err := d.controller.ControllerExpandVolume(t.Context(), c.r)
		if status.Code(err) != c.want || err != nil && !strings.Contains(err.Error(), c.text) || got.GetCapacityBytes() != c.size || got.GetNodeExpansionRequired() {
			t.Errorf("%s: %v, %v; want %v with %q", c.name, got, err, c.want, c.text)
		}
	}
	d.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaExtend, Count: 1})
	for range 2 {
		_, err := d.controller.ControllerExpandVolume(t.Context(), &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: capacity(4*gib, 0)})
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "extending_error") || !strings.Contains(err.Error(), "Contact your administrator") {
			t.Errorf("the back end fails: %v", err)
		}
	}
}
