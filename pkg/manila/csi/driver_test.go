package csi_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/manila"
	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// driver is a controller and a node over a simulated cloud.
type driver struct {
	*openstacksim.Cloud
	controller *csi.Controller
	node       *csi.Node
	system     *mounttest.System
	log        *bytes.Buffer
	dir        string
}

func start(t *testing.T, cfg openstacksim.ManilaConfig) *driver {
	t.Helper()
	sim, err := openstacksim.Start(openstacksim.Config{Manila: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	d := &driver{Cloud: sim, system: &mounttest.System{}, log: &bytes.Buffer{}, dir: t.TempDir()}
	logger := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	pool := openstack.NewPool(openstack.Options{Logger: logger})
	t.Cleanup(pool.Close)
	clouds := func(own *openstack.Credential) *csi.Clouds {
		return &csi.Clouds{
			Pool: pool, Own: own, Files: params.Files{ReadFile: os.ReadFile, Clouds: func(cloud, _ string) (*openstack.Credential, error) { return load(sim, cloud) }},
			Options: manila.Options{Logger: logger, Poll: poll.Backoff{First: 5 * time.Millisecond, Max: 20 * time.Millisecond, Factor: 1.1}},
		}
	}
	own, err := load(sim, "demo")
	if err != nil {
		t.Fatal(err)
	}
	d.controller = &csi.Controller{Clouds: clouds(own), ClusterID: "c1"}
	d.node = &csi.Node{Name: "node-1", Clouds: clouds(nil), Mounter: mount.New(mount.Options{System: d.system, Logger: logger})}
	return d
}

func load(sim *openstacksim.Cloud, cloud string) (*openstack.Credential, error) {
	return openstack.Source{
		Cloud: cloud, CloudsFile: "/clouds.yaml", LookupEnv: func(string) (string, bool) { return "", false },
		ReadFile: func(path string) ([]byte, error) {
			if path == "/clouds.yaml" {
				return sim.CloudsYAML(), nil
			}
			return nil, fs.ErrNotExist
		},
	}.Load()
}

func rwx() *spec.VolumeCapability {
	return &spec.VolumeCapability{
		AccessType: &spec.VolumeCapability_Mount{Mount: &spec.VolumeCapability_MountVolume{}},
		AccessMode: &spec.VolumeCapability_AccessMode{Mode: spec.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
	}
}

func request(protocol string, change ...func(*spec.CreateVolumeRequest)) *spec.CreateVolumeRequest {
	types := map[string]string{"NFS": "cephfs-nfs", "CEPHFS": "cephfs"}
	r := &spec.CreateVolumeRequest{
		Name: "pvc-" + strings.ToLower(protocol), CapacityRange: &spec.CapacityRange{RequiredBytes: 1 << 30}, VolumeCapabilities: []*spec.VolumeCapability{rwx()},
		Parameters: map[string]string{"protocol": protocol, "type": types[protocol]},
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func (d *driver) create(t *testing.T, protocol string, change ...func(*spec.CreateVolumeRequest)) *spec.Volume {
	t.Helper()
	created, err := d.controller.CreateVolume(t.Context(), request(protocol, change...))
	if err != nil {
		t.Fatal(err)
	}
	return created.GetVolume()
}

// counts are the calls since the last Reset: to Keystone's tokens, and to Manila without its version document.
func (d *driver) counts() (logins int, calls []string) {
	for _, c := range d.Calls.All() {
		switch {
		case c.Service == openstacksim.ServiceKeystone && c.Method == http.MethodPost:
			logins++
		case c.Service == openstacksim.ServiceManila && c.Path != "/v2/":
			calls = append(calls, c.Method)
		}
	}
	return logins, calls
}

// TestCallBudget is the table of calls: what a create, a delete, a stage and a publish cost, with one login for all.
func TestCallBudget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		protocol          string
		create, remove    int // without polls: GETs of the share by its id or name, its exports and its rules while they change
		stage, stageAgain int
		calls             []string
	}{
		{"NFS", 3, 3, 0, 0, []string{"GET", "POST", "GET", "POST", "GET"}},
		{"CEPHFS", 4, 3, 1, 0, []string{"GET", "POST", "GET", "POST", "GET", "GET"}}, // the last tells the key
	} {
		d := start(t, openstacksim.ManilaConfig{})
		d.node.Clouds = d.controller.Clouds // the node has a clouds.yaml, too
		v := d.create(t, c.protocol)
		logins, calls := d.counts()
		polls := len(calls) - c.create
		if !slices.Equal(calls, c.calls) || logins != 1 {
			t.Errorf("%s: CreateVolume made %d logins and %q, want 1 and %q (%d calls and %d polls)", c.protocol, logins, calls, c.calls, c.create, polls)
		}
		t.Logf("%s: CreateVolume: %d calls and %d polls", c.protocol, c.create, polls)
		stage := &spec.NodeStageVolumeRequest{
			VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
		}
		for i, want := range []int{c.stage, c.stageAgain} {
			d.Calls.Reset()
			if _, err := d.node.NodeStageVolume(t.Context(), stage); err != nil {
				t.Fatal(err)
			}
			if logins, calls := d.counts(); len(calls) != want || logins != 0 {
				t.Errorf("%s: stage %d made %d logins and %q, want %d calls", c.protocol, i, logins, calls, want)
			}
		}
		d.Calls.Reset()
		d.publish(t, v, "pod")
		if _, calls := d.counts(); len(calls) != 0 {
			t.Errorf("%s: publish made %q", c.protocol, calls)
		}
		d.takeAway(t, v, "pod")
		d.Calls.Reset()
		if _, err := d.controller.DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: v.GetVolumeId()}); err != nil {
			t.Fatal(err)
		}
		if logins, calls := d.counts(); !slices.Equal(calls, []string{"GET", "GET", "DELETE", "GET"}) || logins != 0 {
			t.Errorf("%s: DeleteVolume made %d logins and %q, want %d calls and polls", c.protocol, logins, calls, c.remove)
		}
	}
}

func (d *driver) publish(t *testing.T, v *spec.Volume, pod string) {
	t.Helper()
	if _, err := d.node.NodePublishVolume(t.Context(), &spec.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), TargetPath: filepath.Join(d.dir, pod), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
	}); err != nil {
		t.Fatal(err)
	}
}

// takeAway unpublishes and unstages, twice, and looks for what is left.
func (d *driver) takeAway(t *testing.T, v *spec.Volume, pods ...string) {
	t.Helper()
	for range 2 {
		for _, pod := range pods {
			if _, err := d.node.NodeUnpublishVolume(t.Context(), &spec.NodeUnpublishVolumeRequest{VolumeId: v.GetVolumeId(), TargetPath: filepath.Join(d.dir, pod)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.node.NodeUnstageVolume(t.Context(), &spec.NodeUnstageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage")}); err != nil {
			t.Fatal(err)
		}
	}
	if table, err := d.system.Table(); err != nil || len(table) != 0 {
		t.Errorf("left mounted: %+v, %v", table, err)
	}
}

// TestHundredAtOnce: one login for all, 3 calls each, and few that are for all of them: 330 in all.
func TestHundredAtOnce(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{Quota: openstacksim.ManilaQuota{Shares: -1, Gigabytes: -1, Snapshots: -1, SnapshotGigabytes: -1, ShareNetworks: -1, PerShareGigabytes: -1}})
	const volumes = 100
	errs := make(chan error, volumes)
	for i := range volumes {
		go func() {
			_, err := d.controller.CreateVolume(t.Context(), request("NFS", func(r *spec.CreateVolumeRequest) { r.Name += "-" + string(rune('A'+i%26)) + string(rune('a'+i/26)) }))
			errs <- err
		}()
	}
	for range volumes {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	logins, calls := d.counts()
	if most := 3*volumes + 28; logins != 1 || len(calls) > most { // and one call for the version, and the login
		t.Errorf("%d logins and %d calls, want 1 and at most %d", logins, len(calls), most)
	}
	t.Logf("100 volumes at once: %d login, %d calls", logins, len(calls))
	if got := d.Manila.Counts(); got.Shares != volumes || got.Rules != volumes {
		t.Errorf("%+v", got)
	}
}

func TestVolumeContextAndMetadata(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "CEPHFS", func(r *spec.CreateVolumeRequest) {
		r.CapacityRange.RequiredBytes = 1<<30 + 1
		maps.Copy(r.GetParameters(), map[string]string{
			"appendShareMetadata": `{"team":"a"}`, "cephfs-clientID": "u1,u2", "cephfs-mounter": "fuse", "csi.storage.k8s.io/pvc/name": "data",
			"csi.storage.k8s.io/pvc/namespace": "ns", "csi.storage.k8s.io/pv/name": "pvc-1",
		})
	})
	if v.GetCapacityBytes() != 2<<30 {
		t.Errorf("the volume has %d bytes", v.GetCapacityBytes())
	}
	a, err := params.ParseAttributes(v.GetVolumeContext())
	if err != nil {
		t.Fatal(err)
	}
	if a.ShareID != v.GetVolumeId() || a.Protocol != params.CEPHFS || len(a.AccessIDs) != 2 || len(a.Exports) != 1 || a.Ceph.Mounter != mount.CephFuse {
		t.Errorf("the volume context is %+v", a)
	}
	share, err := manila.New(d.session(t), manila.Options{}).Share(t.Context(), v.GetVolumeId())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"team": "a", manila.ClusterKey: "c1", "csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "ns", "csi.storage.k8s.io/pv/name": "pvc-1", manila.AccessKey: "static", manila.UnusedKey: "true"}
	if diff := cmp.Diff(want, share.Metadata); diff != "" {
		t.Errorf("the share's metadata (-want +got):\n%s", diff)
	}
}

func (d *driver) session(t *testing.T) *openstack.Session {
	t.Helper()
	return d.controller.Clouds.Pool.Session(d.controller.Clouds.Own)
}

func TestCreateVolumeIsRefused(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	d.create(t, "NFS")
	for name, c := range map[string]struct {
		change func(*spec.CreateVolumeRequest)
		want   codes.Code
		text   string
	}{
		"no name":           {func(r *spec.CreateVolumeRequest) { r.Name = "" }, codes.InvalidArgument, "name is missing"},
		"a long name":       {func(r *spec.CreateVolumeRequest) { r.Name = strings.Repeat("x", 256) }, codes.InvalidArgument, "256 characters"},
		"no capability":     {func(r *spec.CreateVolumeRequest) { r.VolumeCapabilities = nil }, codes.InvalidArgument, "capabilities are missing"},
		"unknown parameter": {func(r *spec.CreateVolumeRequest) { r.Parameters["typ"] = "x" }, codes.InvalidArgument, `"typ" is unknown`},
		"no protocol":       {func(r *spec.CreateVolumeRequest) { delete(r.GetParameters(), "protocol") }, codes.InvalidArgument, "protocol is missing"},
		"a dangerous option": {func(r *spec.CreateVolumeRequest) {
			r.VolumeCapabilities[0].GetMount().MountFlags = []string{"addr=1.2.3.4"}
		}, codes.InvalidArgument, "the driver sets it"},
		"100 to 200 MiB": {func(r *spec.CreateVolumeRequest) {
			r.CapacityRange = &spec.CapacityRange{RequiredBytes: 100 << 20, LimitBytes: 200 << 20}
		}, codes.OutOfRange, "whole GiB"},
		"a mount group": {func(r *spec.CreateVolumeRequest) {
			r.VolumeCapabilities[0].GetMount().VolumeMountGroup = "1000"
		}, codes.InvalidArgument, "volume_mount_group is not supported"},
		"a source":               {func(r *spec.CreateVolumeRequest) { r.VolumeContentSource = &spec.VolumeContentSource{} }, codes.InvalidArgument, "neither a snapshot nor a volume"},
		"mutable parameters":     {func(r *spec.CreateVolumeRequest) { r.MutableParameters = map[string]string{"a": "b"} }, codes.InvalidArgument, `VolumeAttributesClass parameters: "a" is unknown`},
		"another size":           {func(r *spec.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 5 << 30 }, codes.AlreadyExists, "size is 1 GiB"},
		"another type":           {func(r *spec.CreateVolumeRequest) { r.Parameters["type"] = "dummy" }, codes.AlreadyExists, "type is cephfs-nfs"},
		"unknown type":           {func(r *spec.CreateVolumeRequest) { r.Name, r.Parameters["type"] = "x", "nope" }, codes.InvalidArgument, "Share type not found"},
		"quota":                  {func(r *spec.CreateVolumeRequest) { r.Name, r.CapacityRange.RequiredBytes = "x", 5000<<30 }, codes.ResourceExhausted, "gigabytes quota"},
		"a broken secret":        {func(r *spec.CreateVolumeRequest) { r.Secrets = map[string]string{"os-password": "hunter2"} }, codes.Unavailable, "os-authURL is missing"},
		"a secret of no account": {func(r *spec.CreateVolumeRequest) { r.Secrets = d.secret(t, "hunter2") }, codes.Unavailable, "not finished yet"},
		"four bytes of UTF-8":    {func(r *spec.CreateVolumeRequest) { r.Name = "pvc-\U0001F600" }, codes.InvalidArgument, "U+1F600"},
		"four bytes, a type":     {func(r *spec.CreateVolumeRequest) { r.Parameters["type"] = "\U0001F600" }, codes.InvalidArgument, "type: it has the character"},
		"four bytes, metadata": {func(r *spec.CreateVolumeRequest) {
			r.Parameters["appendShareMetadata"] = `{"team":"\ud83d\ude00"}`
		}, codes.InvalidArgument, "U+1F600"},
	} {
		_, err := d.controller.CreateVolume(t.Context(), request("NFS", c.change))
		if status.Code(err) != c.want || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v; want %v with %q", name, err, c.want, c.text)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats a secret: %v", name, err)
		}
	}
	if got := d.Manila.Counts(); got.Shares != 1 {
		t.Errorf("%+v", got)
	}
}

// secret is a secret as CPO's users have it, of the demo user with a password; empty is the right one.
func (d *driver) secret(t *testing.T, password string) map[string]string {
	t.Helper()
	own := d.controller.Clouds.Own
	if password == "" {
		password = own.Password
	}
	return map[string]string{
		"os-authURL": own.AuthURL, "os-userName": own.Username, "os-password": password, "os-projectName": own.ProjectName, "os-domainName": own.UserDomainName, "os-region": own.Region,
	}
}

// TestCredentialOfTheSecret: a node without a credential of its own stages CephFS with the one of the node-stage secret.
func TestCredentialOfTheSecret(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "CEPHFS", func(r *spec.CreateVolumeRequest) { r.Secrets = d.secret(t, "") })
	stage := &spec.NodeStageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext()}
	if _, err := d.node.NodeStageVolume(t.Context(), stage); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "no OpenStack credential") {
		t.Errorf("without a credential: %v", err)
	}
	stage.Secrets = d.secret(t, "")
	if _, err := d.node.NodeStageVolume(t.Context(), stage); err != nil {
		t.Fatal(err)
	}
	call := d.system.Calls()[0]
	if call.FSType != "ceph" || !strings.Contains(call.Data, "name=pvc-cephfs") {
		t.Errorf("mounted by %+v", call)
	}
	d.takeAway(t, v)
	for _, secret := range append(d.Keystone.Secrets(), d.controller.Clouds.Own.Password) {
		if strings.Contains(d.log.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
	if got := csi.Describe(stage); strings.Contains(got, d.controller.Clouds.Own.Password) || !strings.Contains(got, v.GetVolumeId()) {
		t.Errorf("the log would say %s", got)
	}
}

// TestVolumesOfCPO: what CPO or an administrator wrote into a PersistentVolume is understood.
func TestVolumesOfCPO(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	nfs, ceph := d.create(t, "NFS"), d.create(t, "CEPHFS")
	a, err := params.ParseAttributes(ceph.GetVolumeContext())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		handle   string
		protocol params.Protocol
		context  map[string]string
		source   string
	}{
		"dynamic NFS":            {nfs.GetVolumeId(), params.NFS, map[string]string{"shareID": nfs.GetVolumeId(), "shareAccessIDs": "x", "cephfs-mounter": "fuse"}, "10.254.0.32:/"},
		"static NFS by name":     {"anything", params.NFS, map[string]string{"shareName": "pvc-nfs", "shareAccessID": "x"}, "10.254.0.32:/"},
		"dynamic CephFS":         {ceph.GetVolumeId(), params.CEPHFS, map[string]string{"shareID": ceph.GetVolumeId(), "shareAccessID": a.AccessIDs[0]}, "10.254.0.21:6789,"},
		"static CephFS, no rule": {ceph.GetVolumeId(), params.CEPHFS, nil, "10.254.0.21:6789,"},
	} {
		d.node.Clouds.Own, d.node.Protocol = d.controller.Clouds.Own, c.protocol
		path := filepath.Join(d.dir, "stage")
		before := len(d.system.Calls())
		if _, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{VolumeId: c.handle, StagingTargetPath: path, VolumeCapability: rwx(), VolumeContext: c.context}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if call := d.system.Calls()[before]; !strings.HasPrefix(call.Source, c.source) {
			t.Errorf("%s: mounted by %+v", name, call)
		}
		if _, err := d.node.NodeUnstageVolume(t.Context(), &spec.NodeUnstageVolumeRequest{VolumeId: c.handle, StagingTargetPath: path}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNodeErrors(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	stage := &spec.NodeStageVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext()}
	publish := &spec.NodePublishVolumeRequest{VolumeId: v.GetVolumeId(), StagingTargetPath: stage.GetStagingTargetPath(), TargetPath: filepath.Join(d.dir, "pod"), VolumeCapability: rwx()}
	if _, err := d.node.NodePublishVolume(t.Context(), publish); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("publish before stage: %v", err)
	}
	nowhere := &spec.NodePublishVolumeRequest{VolumeId: v.GetVolumeId(), TargetPath: publish.GetTargetPath(), VolumeCapability: rwx()}
	if _, err := d.node.NodePublishVolume(t.Context(), nowhere); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("publish without a staging path: %v", err)
	}
	for errno, want := range map[error]codes.Code{unix.EACCES: codes.PermissionDenied, unix.ENODEV: codes.FailedPrecondition, unix.ETIMEDOUT: codes.Unavailable, unix.EIO: codes.Internal} {
		d.system.Fail = func(c mounttest.Call) error {
			if c.Name == "mount" {
				return errno
			}
			return nil
		}
		if _, err := d.node.NodeStageVolume(t.Context(), stage); status.Code(err) != want {
			t.Errorf("%v: %v; want %v", errno, err, want)
		}
	}
	d.system.Fail = nil
	bad := &spec.NodeStageVolumeRequest{VolumeId: "x", VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext()}
	for _, path := range []string{"relative", "/", "//", "/var/../..", d.dir + "/../x", d.dir + "/a\x00b", ""} {
		bad.StagingTargetPath = path
		if _, err := d.node.NodeStageVolume(t.Context(), bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("stage at %q: %v", path, err)
		}
		if _, err := d.node.NodeUnstageVolume(t.Context(), &spec.NodeUnstageVolumeRequest{VolumeId: "x", StagingTargetPath: path}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("unstage from %q: %v", path, err)
		}
		if _, err := d.node.NodeUnpublishVolume(t.Context(), &spec.NodeUnpublishVolumeRequest{VolumeId: "x", TargetPath: path}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("unpublish from %q: %v", path, err)
		}
	}
	full := filepath.Join(d.dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := d.node.NodeUnpublishVolume(t.Context(), &spec.NodeUnpublishVolumeRequest{VolumeId: "x", TargetPath: full}); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("unpublish from a directory with files of its own: %v", err)
	}
	if _, err := os.Stat(filepath.Join(full, "data")); err != nil {
		t.Errorf("what is in it: %v", err)
	}
	bad.StagingTargetPath, bad.VolumeContext = "/x", map[string]string{"protocol": "NFS", "exportLocations": `["nonsense"]`}
	if _, err := d.node.NodeStageVolume(t.Context(), bad); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a malformed export location: %v", err)
	}
}

// TestOneMalformedExport: a share is mounted by the export locations that can be understood.
func TestOneMalformedExport(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	stage := &spec.NodeStageVolumeRequest{
		VolumeId: "x", StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(),
		VolumeContext: map[string]string{"protocol": "NFS", "exportLocations": `["nonsense","10.0.0.1:/a/../b","10.0.0.1:/a"]`},
	}
	if _, err := d.node.NodeStageVolume(t.Context(), stage); err != nil {
		t.Fatal(err)
	}
	if c := d.system.Calls()[0]; c.Source != "10.0.0.1:/a" {
		t.Errorf("mounted by %+v", c)
	}
}

// TestPublishAnotherWay: a target that is published in another way is AlreadyExists, as the specification has it.
func TestPublishAnotherWay(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	if _, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
	}); err != nil {
		t.Fatal(err)
	}
	publish := &spec.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), TargetPath: filepath.Join(d.dir, "pod"), VolumeCapability: rwx(), Readonly: true,
	}
	for readOnly, want := range map[bool]codes.Code{true: codes.OK, false: codes.AlreadyExists} {
		publish.Readonly = true
		if _, err := d.node.NodePublishVolume(t.Context(), publish); err != nil {
			t.Fatal(err)
		}
		publish.Readonly = readOnly
		if _, err := d.node.NodePublishVolume(t.Context(), publish); status.Code(err) != want {
			t.Errorf("read-only %v over read-only: %v; want %v", readOnly, err, want)
		}
	}
	publish.TargetPath = filepath.Join(d.dir, "link")
	if err := os.Symlink(t.TempDir(), publish.GetTargetPath()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.node.NodePublishVolume(t.Context(), publish); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("publish at a link: %v", err)
	}
	d.takeAway(t, v, "pod")
}

// TestKeyIsAskedForAgain: after a mount that failed for whatever reason, the next one does not use the old cephx key.
func TestKeyIsAskedForAgain(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	d.node.Clouds = d.controller.Clouds
	v := d.create(t, "CEPHFS")
	d.system.Fail = func(mounttest.Call) error { return unix.EPERM }
	d.Calls.Reset()
	for n := range 3 {
		if n == 2 {
			d.system.Fail = nil
		}
		_, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{
			VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: rwx(), VolumeContext: v.GetVolumeContext(),
		})
		if (err == nil) != (n == 2) {
			t.Errorf("stage %d: %v", n, err)
		}
	}
	if _, calls := d.counts(); len(calls) != 3 {
		t.Errorf("Manila was asked by %q, want one call for each try", calls)
	}
	d.takeAway(t, v)
}

// TestMountOptionsReachTheFallback: what protects a node is not lost when ceph-fuse mounts instead of the kernel.
func TestMountOptionsReachTheFallback(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	d.node.Clouds = d.controller.Clouds
	d.system.Fail = func(c mounttest.Call) error {
		if c.FSType == "ceph" {
			return unix.ENODEV
		}
		return nil
	}
	v := d.create(t, "CEPHFS")
	capability := rwx()
	capability.GetMount().MountFlags = []string{"noexec,nosuid", "relatime", "wsync"}
	if _, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: capability, VolumeContext: v.GetVolumeContext(),
	}); err != nil {
		t.Fatal(err)
	}
	calls := d.system.Calls()
	if kernel := calls[0]; kernel.Flags != unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_RELATIME || !strings.HasPrefix(kernel.Data, "wsync,") {
		t.Errorf("the kernel was asked by %+v", kernel)
	}
	if fuse := strings.Join(calls[1].Args, " "); !strings.HasSuffix(fuse, ",noexec,nosuid") {
		t.Errorf("ceph-fuse got %s", fuse)
	}
	d.takeAway(t, v)
}

func TestReadOnlyModes(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	capability := rwx()
	capability.AccessMode.Mode = spec.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	if _, err := d.node.NodeStageVolume(t.Context(), &spec.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), VolumeCapability: capability, VolumeContext: v.GetVolumeContext(),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.node.NodePublishVolume(t.Context(), &spec.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: filepath.Join(d.dir, "stage"), TargetPath: filepath.Join(d.dir, "pod"), VolumeCapability: capability,
	}); err != nil {
		t.Fatal(err)
	}
	table, _ := d.system.Table()
	if len(table) != 2 || table[1].MountOptions[0] != "ro" {
		t.Errorf("a reader's mount is %+v", table)
	}
	d.takeAway(t, v, "pod")
}

func TestValidate(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	v := d.create(t, "NFS")
	for name, c := range map[string]struct {
		r         *spec.ValidateVolumeCapabilitiesRequest
		code      codes.Code
		confirmed bool
	}{
		"fine":        {&spec.ValidateVolumeCapabilitiesRequest{VolumeId: v.GetVolumeId(), VolumeCapabilities: []*spec.VolumeCapability{rwx()}, VolumeContext: v.GetVolumeContext()}, codes.OK, true},
		"block":       {&spec.ValidateVolumeCapabilitiesRequest{VolumeId: v.GetVolumeId(), VolumeCapabilities: []*spec.VolumeCapability{{AccessType: &spec.VolumeCapability_Block{}}}}, codes.OK, false},
		"a parameter": {&spec.ValidateVolumeCapabilitiesRequest{VolumeId: v.GetVolumeId(), VolumeCapabilities: []*spec.VolumeCapability{rwx()}, Parameters: map[string]string{"x": "y"}}, codes.OK, false},
		"protocol":    {&spec.ValidateVolumeCapabilitiesRequest{VolumeId: v.GetVolumeId(), VolumeCapabilities: []*spec.VolumeCapability{rwx()}, Parameters: map[string]string{"protocol": "CEPHFS"}}, codes.OK, false},
		"not there":   {&spec.ValidateVolumeCapabilitiesRequest{VolumeId: "fake-vol-id", VolumeCapabilities: []*spec.VolumeCapability{rwx()}}, codes.NotFound, false},
		"no id":       {&spec.ValidateVolumeCapabilitiesRequest{VolumeCapabilities: []*spec.VolumeCapability{rwx()}}, codes.InvalidArgument, false},
		"nothing":     {&spec.ValidateVolumeCapabilitiesRequest{VolumeId: v.GetVolumeId()}, codes.InvalidArgument, false},
	} {
		got, err := d.controller.ValidateVolumeCapabilities(t.Context(), c.r)
		if status.Code(err) != c.code || (got.GetConfirmed() != nil) != c.confirmed || err == nil && !c.confirmed && got.GetMessage() == "" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestSameVolumeAtOnce: a second request for a volume that is being made does not wait and does not interfere.
func TestSameVolumeAtOnce(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: openstacksim.Held}})
	first := make(chan error, 1)
	go func() {
		_, err := d.controller.CreateVolume(t.Context(), request("NFS"))
		first <- err
	}()
	for d.Manila.ShareNamed(request("NFS").GetName()) == "" {
		select {
		case err := <-first:
			t.Fatalf("the first request made no share: %v", err)
		default:
			time.Sleep(time.Millisecond)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // one that waits would wait for what comes after it
	defer cancel()
	if _, err := d.controller.CreateVolume(ctx, request("NFS")); status.Code(err) != codes.Aborted {
		t.Errorf("the second request: %v", err)
	}
	d.Manila.Release()
	if err := <-first; err != nil {
		t.Errorf("the first request: %v", err)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: openstacksim.Held}})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := d.controller.CreateVolume(ctx, request("NFS"))
	// Unavailable: the deadline passed while a call waited for its turn. Neither code is final.
	if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Unavailable {
		t.Error(err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	i := &csi.Identity{Name: csi.DriverName, Version: "v1"}
	info, err := i.GetPluginInfo(t.Context(), nil)
	if err != nil || info.GetName() != csi.DriverName || info.GetVendorVersion() != "v1" {
		t.Errorf("%v, %v", info, err)
	}
	for _, c := range []struct {
		ready func() error
		want  bool
	}{{nil, true}, {func() error { return nil }, true}, {func() error { return fs.ErrNotExist }, false}} {
		i.Ready = c.ready
		if probe, err := i.Probe(t.Context(), nil); err != nil || probe.GetReady().GetValue() != c.want {
			t.Errorf("%v, %v; want %v", probe, err, c.want)
		}
	}
}
