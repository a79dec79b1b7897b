package csi_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila/csi"
	"mooring/pkg/openstack/openstacksim"
)

// TestStageMeetsTrouble spoils each call that a node makes to stage a CephFS volume: of one of ours, that is the rule with the key; of
// one that was made by hand, its name and its exports besides. The next try ends well, no code is Internal, and Manila is as it was.
func TestStageMeetsTrouble(t *testing.T) {
	t.Parallel()
	for name, byHand := range map[string]map[string]string{"ours": nil, "by hand": {"shareName": "pvc-cephfs", "protocol": "CEPHFS"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t, openstacksim.ManilaConfig{})
			v := d.create(t, "CEPHFS")
			before := d.Manila.Counts()
			stage := &spec.NodeStageVolumeRequest{
				VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
			}
			if byHand != nil {
				stage.VolumeContext = byHand
			}
			try := func(patience time.Duration) error { // in a process that knows no keys yet
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				c, end := d.process()
				defer end()
				_, err := (&csi.Node{Name: "node-1", Clouds: c.Clouds, Mounter: d.node.Mounter}).NodeStageVolume(ctx, stage)
				return err
			}
			d.Calls.Reset()
			if err := try(time.Minute); err != nil {
				t.Fatal(err)
			}
			_, calls := d.counts()
			if len(calls) == 0 || byHand == nil && len(calls) != 1 {
				t.Fatalf("it makes %q", calls)
			}
			for n := range calls {
				for way, fault := range ways() {
					d.takeAway(t, v)
					fault.Service, fault.Path, fault.Skip, fault.Count = openstacksim.ServiceManila, `^/v2/.`, n, 1
					remove := d.Faults.Add(fault)
					var err error
					for tried := range 8 {
						if err = try(300 * time.Millisecond << tried); err == nil { // too short for the slow one at first, at last enough for any machine
							break
						}
						if code := status.Code(err); code == codes.Internal || code == codes.Unknown {
							t.Errorf("call %d %s: %v: %v", n, way, code, err)
						}
					}
					remove()
					if err != nil {
						t.Errorf("call %d %s: it never ends well: %v", n, way, err)
					}
				}
			}
			d.takeAway(t, v)
			if got := d.Manila.Counts(); got != before {
				t.Errorf("there are %+v, want %+v", got, before)
			}
		})
	}
}
