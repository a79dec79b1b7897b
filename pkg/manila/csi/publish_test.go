package csi_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila/csi"
	"mooring/pkg/openstack/openstacksim"
)

func attached(t *testing.T) *driver {
	t.Helper()
	step := 10 * time.Millisecond
	d := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Grant: step, Deny: step}})
	d.controller.Attach = true
	return d
}

func publishTo(v *spec.Volume, node string, readOnly bool) *spec.ControllerPublishVolumeRequest {
	return &spec.ControllerPublishVolumeRequest{VolumeId: v.GetVolumeId(), NodeId: node, VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(), Readonly: readOnly}
}

// TestPublishNFS: each node gets a rule of its own while it has the volume, many at once, and the volume has none before and after.
func TestPublishNFS(t *testing.T) {
	t.Parallel()
	d := attached(t)
	v := d.create(t, "NFS")
	if got := d.Manila.Counts(); got.Rules != 0 {
		t.Fatalf("the new volume has %+v", got)
	}
	const nodes = 20
	all := func(do func(node string) error) {
		t.Helper()
		errs := make(chan error, nodes)
		for i := range nodes {
			go func() { errs <- do(fmt.Sprintf("node-%d/10.0.1.%d", i, i+1)) }()
		}
		for range nodes {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	for range 2 {
		all(func(node string) error {
			_, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, node, false))
			return err
		})
		if got := d.Manila.Counts(); got.Rules != nodes {
			t.Fatalf("published to %d nodes: %+v", nodes, got)
		}
	}
	if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "node-0/10.0.1.1", true)); status.Code(err) != codes.AlreadyExists {
		t.Errorf("published again, to read: %v", err)
	}
	for range 2 {
		all(func(node string) error {
			_, err := d.controller.ControllerUnpublishVolume(t.Context(), &spec.ControllerUnpublishVolumeRequest{VolumeId: v.GetVolumeId(), NodeId: node})
			return err
		})
		if got := d.Manila.Counts(); got.Rules != 0 {
			t.Fatalf("unpublished: %+v", got)
		}
	}
}

// TestPublishCephFS: the node mounts with the user of its level, by the rule that the publish context names; no key is in there.
func TestPublishCephFS(t *testing.T) {
	t.Parallel()
	d := attached(t)
	d.node.Clouds = d.controller.Clouds
	v := d.create(t, "CEPHFS")
	for _, c := range []struct {
		node     string
		readOnly bool
		rules    int
	}{{"n1/10.0.0.1", false, 1}, {"n2/10.0.0.2", true, 2}, {"n3/", true, 2}} {
		published, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, c.node, c.readOnly))
		if err != nil {
			t.Fatal(err)
		}
		context := published.GetPublishContext()
		if len(context) != 2 || len(context["shareAccessID"]) != 36 || !strings.HasPrefix(context["cephxUser"], "pvc-cephfs") {
			t.Errorf("%s: the publish context is %v", c.node, context)
		}
		if got := d.Manila.Counts(); got.Rules != c.rules {
			t.Errorf("%s: %+v, want %d rules", c.node, got, c.rules)
		}
	}
	if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n2/10.0.0.2", false)); status.Code(err) != codes.AlreadyExists {
		t.Errorf("published again, to write: %v", err)
	}
	if _, err := d.controller.ControllerUnpublishVolume(t.Context(), &spec.ControllerUnpublishVolumeRequest{VolumeId: v.GetVolumeId()}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n2/10.0.0.2", false)); err != nil {
		t.Errorf("unpublished from all nodes, and published to write: %v", err)
	}
}

// TestReadersAtOnce: the nodes of a CephFS volume come as one user, and Manila would take several rules for it from calls that overlap.
func TestReadersAtOnce(t *testing.T) {
	t.Parallel()
	d := attached(t)
	d.node.Clouds = d.controller.Clouds
	v := d.create(t, "CEPHFS")
	var asked atomic.Int64
	d.Faults.Add(openstacksim.Fault{
		Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: `/action$`, Delay: 50 * time.Millisecond, Before: func() { asked.Add(1) },
	})
	var nodes sync.WaitGroup
	for n := range 5 {
		nodes.Go(func() {
			if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, fmt.Sprintf("n%d/", n), true)); err != nil {
				t.Error(err)
			}
		})
	}
	nodes.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("Manila was asked %d times to let the readers in", n)
	}
}

// TestReaderGivesUp: whose time is up while another makes the rule is told what for it waited, and is in nobody's way.
func TestReaderGivesUp(t *testing.T) {
	t.Parallel()
	d := attached(t)
	v := d.create(t, "CEPHFS")
	asked, allowed := make(chan struct{}), make(chan struct{})
	allow := sync.OnceFunc(func() { close(allowed) })
	defer allow()
	d.Faults.Add(openstacksim.Fault{
		Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: `/action$`, Count: 1, Before: func() { close(asked); <-allowed },
	})
	first := make(chan error, 1)
	go func() {
		_, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n1/", true))
		first <- err
	}()
	select {
	case <-asked:
	case err := <-first:
		t.Fatalf("the first one did not come to make the rule: %v", err)
	}
	for bound := 100 * time.Millisecond; ; bound *= 2 { // a slow machine needs more to come to the wait
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		_, err := d.controller.ControllerPublishVolume(ctx, publishTo(v, "n2/", true))
		cancel()
		if status.Code(err) == codes.DeadlineExceeded && strings.Contains(err.Error(), "waiting for another node") {
			break
		}
		if err == nil || bound > time.Minute {
			t.Fatalf("who waits is told %v", err)
		}
	}
	allow()
	if err := <-first; err != nil {
		t.Errorf("the first one: %v", err)
	}
	if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n2/", true)); err != nil {
		t.Errorf("who has given up comes again: %v", err)
	}
	if got := d.Manila.Counts(); got.Rules != 2 {
		t.Errorf("in the end there are %+v, want a rule to write and one to read", got)
	}
}

// TestWritersAtOnce: nodes for which the rule is there already are let in side by side.
func TestWritersAtOnce(t *testing.T) {
	t.Parallel()
	d := attached(t)
	d.node.Clouds = d.controller.Clouds
	v := d.create(t, "CEPHFS")
	const nodes = 5
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // it ends them if one waits for another
	defer cancel()
	var at atomic.Int64
	all := make(chan struct{})
	d.Faults.Add(openstacksim.Fault{
		Service: openstacksim.ServiceManila, Method: http.MethodPut, Path: `/metadata$`, Before: func() {
			if at.Add(1) == nodes {
				close(all)
			}
			select {
			case <-all:
			case <-ctx.Done():
			}
		},
	})
	var publish sync.WaitGroup
	for n := range nodes {
		publish.Go(func() {
			if _, err := d.controller.ControllerPublishVolume(ctx, publishTo(v, fmt.Sprintf("n%d/", n), false)); err != nil {
				t.Errorf("%v: does one of them wait for another?", err)
			}
		})
	}
	publish.Wait()
	if n := at.Load(); n != nodes {
		t.Errorf("%d marks", n)
	}
}

func TestPublishIsRefused(t *testing.T) {
	t.Parallel()
	d := attached(t)
	v := d.create(t, "NFS")
	for node, want := range map[string]codes.Code{
		"node-1": codes.NotFound, "node-1/10.0.0.300": codes.NotFound, "node-1/": codes.FailedPrecondition, "node-1/fd00::1": codes.FailedPrecondition, "node-1/10.0.0.1": codes.OK,
	} {
		_, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, node, false))
		if status.Code(err) != want || want == codes.FailedPrecondition && !strings.Contains(err.Error(), "--node-cidr") {
			t.Errorf("%s: %v, want %v", node, err, want)
		}
	}
	gone := &spec.Volume{VolumeId: "7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b", VolumeContext: v.GetVolumeContext()}
	gone.VolumeContext["shareID"] = gone.GetVolumeId()
	if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(gone, "n/10.0.0.1", false)); status.Code(err) != codes.NotFound {
		t.Errorf("a volume that is gone: %v", err)
	}
	for _, id := range []string{gone.GetVolumeId(), "fake"} {
		if _, err := d.controller.ControllerUnpublishVolume(t.Context(), &spec.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: "n/10.0.0.1"}); err != nil {
			t.Errorf("unpublished %s, that is gone: %v", id, err)
		}
	}
}

// TestPublishOfOthers: a volume with static access, or somebody's own rules, is published without a call.
func TestPublishOfOthers(t *testing.T) {
	t.Parallel()
	d := attached(t)
	for _, access := range []string{"static", "none"} {
		v := d.create(t, "NFS", func(r *spec.CreateVolumeRequest) { r.Name, r.Parameters["access"] = access, access })
		before := d.Manila.Counts()
		d.Calls.Reset()
		if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n/10.0.0.1", false)); err != nil {
			t.Error(err)
		}
		if _, calls := d.counts(); len(calls) != 0 {
			t.Errorf("%s: publish made %q", access, calls)
		}
		if _, err := d.controller.ControllerUnpublishVolume(t.Context(), &spec.ControllerUnpublishVolumeRequest{VolumeId: v.GetVolumeId()}); err != nil {
			t.Error(err)
		}
		if after := d.Manila.Counts(); after != before {
			t.Errorf("%s: %+v became %+v", access, before, after)
		}
	}
}

// TestUnpublishInStatus: what a node's leaving comes to when Manila takes rules away in the share's status, and when it does not.
func TestUnpublishInStatus(t *testing.T) {
	t.Parallel()
	for in, left := range map[string]int{"available": 0, "inactive": 0, "extending_error": 0, "error_deleting": 0, "deleting": 1, "error": 1} {
		d := attached(t)
		v := d.create(t, "NFS")
		if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n1/10.0.0.1", false)); err != nil {
			t.Fatal(err)
		}
		d.Manila.SetShareStatus(v.GetVolumeId(), in)
		for range 2 {
			_, err := d.controller.ControllerUnpublishVolume(t.Context(), &spec.ControllerUnpublishVolumeRequest{VolumeId: v.GetVolumeId(), NodeId: "n1/10.0.0.1"})
			if err != nil {
				t.Errorf("%s: %v", in, err)
			}
			if got := d.Manila.Counts(); got.Rules != left {
				t.Errorf("%s: %+v, want %d rules", in, got, left)
			}
		}
		if in != "error" {
			continue
		}
		if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n2/10.0.0.2", false)); status.Code(err) != codes.Unavailable {
			t.Errorf("published in error: %v", err)
		}
		d.Manila.SetShareStatus(v.GetVolumeId(), "available") // an operator has repaired it
		if _, err := d.controller.ControllerPublishVolume(t.Context(), publishTo(v, "n2/10.0.0.2", false)); err != nil {
			t.Fatal(err)
		}
		if got := d.Manila.Access(v.GetVolumeId()); !slices.Equal(got, []string{"10.0.0.2 rw"}) {
			t.Errorf("another node is in, and there are %q", got)
		}
	}
}

func FuzzParseNodeID(f *testing.F) {
	for _, s := range []string{"", "/", "node-1", "node-1/", "node-1/10.0.0.1", "node-1/10.0.0.1,fd00::1", "node-1/10.0.0.1,10.0.0.1", "n/fe80::1%eth0", "n/::ffff:10.0.0.1", "a b/10.0.0.1", "n/0.0.0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := csi.ParseNodeID(s)
		if err == nil && (id.String() != s || len(s) > 256 || csi.CheckNodeName(id.Name) != nil) {
			t.Errorf("%q became %+v and %q", s, id, id.String())
		}
	})
}
