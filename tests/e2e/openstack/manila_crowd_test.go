package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

// TestManyVolumesAtOnce: so many that their questions are asked together. Each gets its own share, the same one when it is asked for
// again, and all of them go.
func TestManyVolumesAtOnce(t *testing.T) {
	t.Parallel()
	d := startCSI(t)
	const volumes = 12
	name, ids := target.Unique(t), make([]string, volumes)
	each := func(what string, do func(i int) error) {
		t.Helper()
		begin := time.Now()
		var group errgroup.Group
		for i := range volumes {
			group.Go(func() error { return do(i) })
		}
		if err := group.Wait(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		t.Logf("%s of %d took %v", what, volumes, time.Since(begin).Round(time.Millisecond))
	}
	client := manila.New(d.cloud.Session(t, "demo"), manila.Options{})
	called := func(i int) string { return fmt.Sprint(name, "-", i) }
	t.Cleanup(func() { // when the test has failed half-way
		ctx := context.WithoutCancel(t.Context())
		for i := range volumes {
			if s, err := client.ShareByName(ctx, called(i)); err == nil {
				_ = client.Delete(ctx, s.ID)
			}
		}
	})
	for _, what := range []string{"create", "create again"} {
		each(what, func(i int) error {
			id, err := d.createPatiently(t, called(i))
			if err == nil && ids[i] != "" && ids[i] != id {
				err = fmt.Errorf("%d has another share now: %s, and before %s", i, id, ids[i])
			}
			ids[i] = id
			return err
		})
	}
	each("the rule", func(i int) error {
		rule, err := client.CephxRule(t.Context(), ids[i], "")
		if err == nil && (rule.State != "active" || rule.Key == "") {
			err = fmt.Errorf("the rule of %d is %s", i, rule.State)
		}
		return err
	})
	each("delete", func(i int) error {
		if _, err := d.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: ids[i]}); err != nil {
			return err
		}
		if _, err := client.Share(t.Context(), ids[i]); !errors.Is(err, openstack.ErrNotFound) {
			return fmt.Errorf("share %s is still there: %w", ids[i], err)
		}
		return nil
	})
}

// createPatiently makes a volume as external-provisioner does, again and again: of many shares at once, Manila's scheduler places
// some nowhere where room is short, and those are in error.
func (d *csiDriver) createPatiently(t *testing.T, name string) (id string, err error) {
	t.Helper()
	for range 10 {
		var created *csi.CreateVolumeResponse
		created, err = d.controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
			Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30}, VolumeCapabilities: []*csi.VolumeCapability{rwx()},
			Parameters: map[string]string{"type": "cephfs", "protocol": "CEPHFS"},
		})
		if err == nil {
			return created.GetVolume().GetVolumeId(), nil
		}
		if status.Code(err) != codes.Unavailable {
			return "", err
		}
		t.Logf("%s is tried again: %v", name, err)
	}
	return "", err
}
