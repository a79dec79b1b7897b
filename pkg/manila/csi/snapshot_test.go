package csi_test

import (
	"slices"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/openstack/openstacksim"
)

func fromSnapshot(id string) *spec.VolumeContentSource {
	return &spec.VolumeContentSource{Type: &spec.VolumeContentSource_Snapshot{Snapshot: &spec.VolumeContentSource_SnapshotSource{SnapshotId: id}}}
}

func fromVolume(id string) *spec.VolumeContentSource {
	return &spec.VolumeContentSource{Type: &spec.VolumeContentSource_Volume{Volume: &spec.VolumeContentSource_VolumeSource{VolumeId: id}}}
}

// TestSnapshotsRestoresAndClones goes the whole way, and leaves nothing.
func TestSnapshotsRestoresAndClones(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	made, err := d.controller.CreateSnapshot(t.Context(), &spec.CreateSnapshotRequest{
		Name: "snapshot-1", SourceVolumeId: v.GetVolumeId(), Parameters: map[string]string{"csi.storage.k8s.io/volumesnapshot/name": "daily"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := made.GetSnapshot()
	if s.GetSourceVolumeId() != v.GetVolumeId() || s.GetSizeBytes() != 1<<30 || !s.GetReadyToUse() || s.GetCreationTime().AsTime().IsZero() {
		t.Errorf("the snapshot is %v", s)
	}
	ids := []string{v.GetVolumeId()}
	for name, source := range map[string]*spec.VolumeContentSource{"restored": fromSnapshot(s.GetSnapshotId()), "cloned": fromVolume(v.GetVolumeId())} {
		made := d.create(t, "NFS", func(r *spec.CreateVolumeRequest) { r.Name, r.VolumeContentSource = name, source })
		if made.GetContentSource().String() != source.String() || slices.Contains(ids, made.GetVolumeId()) {
			t.Errorf("%s: %v", name, made)
		}
		ids = append(ids, made.GetVolumeId())
	}
	list, err := d.controller.ListSnapshots(t.Context(), &spec.ListSnapshotsRequest{})
	if err != nil || len(list.GetEntries()) != 1 || list.GetEntries()[0].GetSnapshot().GetSnapshotId() != s.GetSnapshotId() {
		t.Errorf("the snapshots are %v, %v", list, err)
	}
	if _, err := d.controller.DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: v.GetVolumeId()}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a volume with a snapshot: %v", err)
	}
	for range 2 {
		if _, err := d.controller.DeleteSnapshot(t.Context(), &spec.DeleteSnapshotRequest{SnapshotId: s.GetSnapshotId()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if _, err := d.controller.DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: id}); err != nil {
			t.Error(err)
		}
	}
	if got := d.Manila.Counts(); got != (openstacksim.ManilaCounts{}) {
		t.Errorf("left: %+v", got)
	}
}

func TestSnapshotErrors(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{Quota: openstacksim.ManilaQuota{Shares: 9, Gigabytes: 99, Snapshots: 1, SnapshotGigabytes: 9, ShareNetworks: 1, PerShareGigabytes: -1}})
	v := d.create(t, "NFS", func(r *spec.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 2 << 30 })
	const nobody = "5f0a9e2c-1111-4222-8333-444455556666"
	create := func(name, source string, more ...string) error {
		r := &spec.CreateSnapshotRequest{Name: name, SourceVolumeId: source, Parameters: map[string]string{}}
		for _, key := range more {
			r.Parameters[key] = "x"
		}
		_, err := d.controller.CreateSnapshot(t.Context(), r)
		return err
	}
	if err := create("snapshot-1", v.GetVolumeId()); err != nil {
		t.Fatal(err)
	}
	list, err := d.controller.ListSnapshots(t.Context(), &spec.ListSnapshotsRequest{SourceVolumeId: v.GetVolumeId()})
	if err != nil || len(list.GetEntries()) != 1 {
		t.Fatal(list, err)
	}
	id := list.GetEntries()[0].GetSnapshot().GetSnapshotId()
	volume := func(source *spec.VolumeContentSource, limit int64) error {
		_, err := d.controller.CreateVolume(t.Context(), request("NFS", func(r *spec.CreateVolumeRequest) {
			r.Name, r.VolumeContentSource, r.CapacityRange.LimitBytes = "new", source, limit
		}))
		return err
	}
	for name, c := range map[string]struct {
		err  error
		want codes.Code
		text string
	}{
		"no name":               {create("", v.GetVolumeId()), codes.InvalidArgument, "name is missing"},
		"a long name":           {create(strings.Repeat("x", 256), v.GetVolumeId()), codes.InvalidArgument, "256 characters"},
		"no source":             {create("s", ""), codes.InvalidArgument, "source volume id is missing"},
		"an unknown parameter":  {create("s", v.GetVolumeId(), "force"), codes.InvalidArgument, `"force" is unknown`},
		"an unknown source":     {create("s", nobody), codes.NotFound, ""},
		"the name of another":   {create("snapshot-1", nobody), codes.AlreadyExists, ""},
		"over quota":            {create("s", v.GetVolumeId()), codes.ResourceExhausted, "Maximum number of snapshots"},
		"restore of nothing":    {volume(fromSnapshot(nobody), 0), codes.NotFound, ""},
		"restore without an id": {volume(fromSnapshot(""), 0), codes.InvalidArgument, "snapshot id"},
		"restore to less":       {volume(fromSnapshot(id), 1<<30), codes.OutOfRange, "2 GiB"},
		"clone of nothing":      {volume(fromVolume(nobody), 0), codes.NotFound, ""},
		"clone without an id":   {volume(fromVolume(""), 0), codes.InvalidArgument, "volume id"},
		"clone over quota":      {volume(fromVolume(v.GetVolumeId()), 0), codes.ResourceExhausted, "Maximum number of snapshots"},
	} {
		if status.Code(c.err) != c.want || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%s: %v; want %v with %q", name, c.err, c.want, c.text)
		}
	}
	for name, c := range map[string]struct {
		r    *spec.ListSnapshotsRequest
		want codes.Code
		n    int
	}{
		"by id":                   {&spec.ListSnapshotsRequest{SnapshotId: id}, codes.OK, 1},
		"by id, of another share": {&spec.ListSnapshotsRequest{SnapshotId: id, SourceVolumeId: nobody}, codes.OK, 0},
		"an unknown id":           {&spec.ListSnapshotsRequest{SnapshotId: nobody}, codes.OK, 0},
		"a bad token":             {&spec.ListSnapshotsRequest{StartingToken: "x"}, codes.Aborted, 0},
		"a negative number":       {&spec.ListSnapshotsRequest{MaxEntries: -1}, codes.InvalidArgument, 0},
	} {
		if got, err := d.controller.ListSnapshots(t.Context(), c.r); status.Code(err) != c.want || len(got.GetEntries()) != c.n {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := d.controller.DeleteSnapshot(t.Context(), &spec.DeleteSnapshotRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no id: %v", err)
	}
	if got := d.Manila.Counts(); got.Shares != 1 || got.Snapshots != 1 {
		t.Errorf("%+v", got)
	}
}
