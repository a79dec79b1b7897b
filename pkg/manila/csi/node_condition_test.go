package csi_test

import (
	"slices"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/openstack/openstacksim"
)

// oldStats is NodeGetVolumeStatsResponse as CSI 1.9 has it, in the fields that matter.
func oldStats(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, of string, label descriptorpb.FieldDescriptorProto_Label) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: new(name), Number: new(number), Type: kind.Enum(), Label: label.Enum()}
		if of != "" {
			f.TypeName = new(of)
		}
		return f
	}
	const (
		one, many    = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		i64, message = descriptorpb.FieldDescriptorProto_TYPE_INT64, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("csi_1_9.proto"), Package: new("csi.v1"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: new("NodeGetVolumeStatsResponse"), Field: []*descriptorpb.FieldDescriptorProto{
				field("usage", 1, message, ".csi.v1.VolumeUsage", many), field("volume_condition", 2, message, ".csi.v1.VolumeCondition", one),
			}},
			{Name: new("VolumeUsage"), Field: []*descriptorpb.FieldDescriptorProto{field("available", 1, i64, "", one), field("total", 2, i64, "", one)}},
			{Name: new("VolumeCondition"), Field: []*descriptorpb.FieldDescriptorProto{
				field("abnormal", 1, descriptorpb.FieldDescriptorProto_TYPE_BOOL, "", one), field("message", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING, "", one),
			}},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("NodeGetVolumeStatsResponse")
}

// TestOldCondition reads the answer as a client built on CSI 1.9 does.
func TestOldCondition(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	descriptor := oldStats(t)
	v := d.create(t, "NFS")
	stage := d.stage(t, v)
	look := func() (usages int, has, abnormal bool, message string, err error) {
		answer, err := d.node.NodeGetVolumeStats(t.Context(), &spec.NodeGetVolumeStatsRequest{VolumeId: v.GetVolumeId(), VolumePath: stage})
		if err != nil {
			return 0, false, false, "", err
		}
		wire, err := proto.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		old := dynamicpb.NewMessage(descriptor)
		if err := proto.Unmarshal(wire, old); err != nil {
			t.Fatal(err)
		}
		fields := descriptor.Fields()
		condition := old.Get(fields.ByName("volume_condition")).Message()
		parts := condition.Descriptor().Fields()
		return old.Get(fields.ByName("usage")).List().Len(), old.Has(fields.ByName("volume_condition")), condition.Get(parts.ByName("abnormal")).Bool(), condition.Get(parts.ByName("message")).String(), nil
	}
	advertised := func() bool {
		can, err := d.node.NodeGetCapabilities(t.Context(), &spec.NodeGetCapabilitiesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(can.GetCapabilities(), func(c *spec.NodeServiceCapability) bool { return c.GetRpc().GetType() == 4 })
	}
	if _, has, _, _, err := look(); err != nil || has || advertised() {
		t.Errorf("without being asked for there is a condition: %v, %v", has, err)
	}
	d.node.Condition = true
	if usages, has, abnormal, message, err := look(); err != nil || usages != 1 || !has || abnormal || message == "" || !advertised() {
		t.Errorf("of a sound volume: %d usages, condition %v, abnormal %v, %q, %v", usages, has, abnormal, message, err)
	}
	d.system.Fail = func(mounttest.Call) error { return unix.ESTALE }
	if usages, has, abnormal, message, err := look(); err != nil || usages != 0 || !has || !abnormal || !strings.HasPrefix(message, "StaleMount: ") {
		t.Errorf("of a dead mount: %d usages, condition %v, abnormal %v, %q, %v", usages, has, abnormal, message, err)
	}
	d.system.Fail = func(mounttest.Call) error { return unix.ENOSYS }
	if _, _, _, _, err := look(); status.Code(err) != codes.Internal {
		t.Errorf("what is no condition of the volume: %v", err)
	}
	d.system.Fail = nil
	d.takeAway(t, v)
}
