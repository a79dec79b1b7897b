package manila_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// lateCreate begins a create that is given up while it is still in Manila's API. What it returns has Manila carry it out.
func (c *cloud) lateCreate(t *testing.T, spec *manila.Spec) (record func()) {
	t.Helper()
	return c.late(t, `^/v2/shares$`, func() error { _, err := c.client.Provision(t.Context(), spec); return err })
}

// late begins a call whose POST to the path is given up while it is still in Manila's API.
func (c *cloud) late(t *testing.T, path string, call func() error) (record func()) {
	t.Helper()
	arrived, held, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c.Faults.Add(openstacksim.Fault{
		Service: openstacksim.ServiceManila, Method: http.MethodPost, Path: path, Count: 1, DropAfter: true,
		Before: func() { close(arrived); <-held },
	})
	go func() {
		defer close(done)
		if err := call(); !errors.Is(err, openstack.ErrUnavailable) {
			t.Errorf("the create that was given up: %v", err)
		}
	}()
	<-arrived
	record = sync.OnceFunc(func() { close(held); <-done })
	t.Cleanup(record)
	return record
}

// TestLateCreate: a create that was given up is carried out at each moment of the call that follows it: that call leaves one share, and
// when it is later than that, the volume's deletion leaves none.
func TestLateCreate(t *testing.T) {
	t.Parallel()
	for _, spec := range []*manila.Spec{nfsSpec(), cephSpec(), perNodeSpec()} {
		for name, moment := range map[string]struct{ method, path string }{
			"before the create":    {http.MethodGet, `^/v2/shares/detail$`}, // so it is the older one
			"after the create":     {http.MethodPost, `^/v2/shares$`},
			"while it is made":     {http.MethodGet, `/export_locations$`},
			"while rules are made": {http.MethodPost, `/action$`},
			"afterwards":           {},
		} {
			late := moment.path == "" || spec.PerNode && moment.path == `/action$` // there are no rules

			t.Run(spec.Protocol+map[bool]string{true: " per node"}[spec.PerNode]+" "+name, func(t *testing.T) {
				t.Parallel()
				c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 30 * time.Millisecond, Grant: 5 * time.Millisecond}})
				record := c.lateCreate(t, spec)
				if !late {
					c.at(t, moment.method, moment.path, record)
				}
				v, err := c.client.Provision(t.Context(), spec)
				if err != nil {
					t.Fatal(err)
				}
				if late {
					record()
				} else if got := c.Manila.Counts(); got.Shares != 1 || got.Rules != len(spec.Grants) {
					t.Errorf("%+v are left, want one share", got)
				}
				if v.Made == (name == "before the create") {
					t.Errorf("of the older and the younger share it took the wrong one: made is %v", v.Made)
				}
				if _, err := c.client.Share(t.Context(), v.Share.ID); err != nil {
					t.Errorf("the share that was told of: %v", err)
				}
				if err := c.client.DeleteVolume(t.Context(), v.Share.ID, spec.Cluster); err != nil || c.Manila.Counts() != (openstacksim.ManilaCounts{}) {
					t.Errorf("deleted: %v, left: %+v", err, c.Manila.Counts())
				}
			})
		}
	}
}

// TestLateCreatesTogether: many volumes at once, half of which have a twin that is recorded while they are made, and all one that comes later.
func TestLateCreatesTogether(t *testing.T) {
	t.Parallel()
	const volumes = 20
	c := start(t, openstacksim.ManilaConfig{Quota: unlimited(), Delays: openstacksim.ManilaDelays{Create: 100 * time.Millisecond, Grant: 30 * time.Millisecond}})
	var once sync.Once
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodGet, Path: `/export_locations$`, Then: func() {
		once.Do(func() {
			for i := range volumes / 2 {
				c.named(t, "pvc-nfs-"+string(rune('0'+i)), nil)
			}
		})
	}})
	if err := errors.Join(c.atOnce(t, volumes, nfsSpec)...); err != nil {
		t.Fatal(err)
	}
	if got := c.Manila.Counts(); got.Shares != volumes || got.Rules != volumes {
		t.Errorf("%+v, want %d of each", got, volumes)
	}
	all := c.others(t)
	for i := range volumes {
		c.named(t, fmt.Sprint("pvc-nfs-", i), nil)
	}
	o := manila.Options{Together: &manila.Together{}}
	err := errors.Join(together(volumes, func(i int) error { return manila.New(c.session, o).DeleteVolume(t.Context(), all[i], "c1") })...)
	if got := c.Manila.Counts(); err != nil || got != (openstacksim.ManilaCounts{}) {
		t.Errorf("deleted with %v, and %+v is left", err, got)
	}
}

// TestOthersOfItsName: with a volume goes a late twin, and nothing that may be somebody's.
func TestOthersOfItsName(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	perNode := nfsSpec()
	perNode.Grants, perNode.PerNode = nil, true
	v, err := c.client.Provision(t.Context(), perNode)
	if err != nil {
		t.Fatal(err)
	}
	kept := []string{
		c.named(t, "pvc-nfs", map[string]string{manila.ClusterKey: "another"}),
		c.named(t, "pvc-nfs", map[string]string{manila.ClusterKey: ""}), // of cloud-provider-openstack, without --cluster-id
		c.named(t, "pvc-nfs", map[string]string{"csi.storage.k8s.io/pvc/name": "of another claim"}),
		c.named(t, "pvc-nfs", map[string]string{manila.UnusedKey: ""}), // somebody may have been told of it
		c.named(t, "pvc-other", nil),
		c.named(t, "PVC-NFS", nil),
	}
	admitted := c.named(t, "pvc-nfs", nil)
	if _, err := c.client.Admit(t.Context(), admitted, &manila.Admission{Grant: manila.Grant{Kind: manila.KindIP, To: "10.0.0.1", Level: "rw"}, Cluster: "c1", Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	kept = append(kept, admitted)
	twin := c.named(t, "pvc-nfs", nil)
	if err := c.client.DeleteVolume(t.Context(), v.Share.ID, "c1"); err != nil {
		t.Fatal(err)
	}
	left, _, err := c.client.Shares(t.Context(), "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range kept {
		if !slices.ContainsFunc(left, func(s *manila.Share) bool { return s.ID == id }) {
			t.Errorf("%s was deleted, too", id)
		}
	}
	if slices.ContainsFunc(left, func(s *manila.Share) bool { return s.ID == twin || s.ID == v.Share.ID }) {
		t.Error("the volume, or its twin, is left")
	}
}

// TestYoungerShareInUse: who deletes the younger of two shares keeps the older one, whatever has become of them.
func TestYoungerShareInUse(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{})
	older := c.named(t, "pvc-nfs", nil)
	younger := c.named(t, "pvc-nfs", nil)
	if err := c.client.DeleteVolume(t.Context(), younger, "c1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.Share(t.Context(), older); err != nil {
		t.Errorf("the older one: %v", err)
	}
	younger = c.named(t, "pvc-nfs", nil)
	c.Manila.SetShareStatus(older, "error")
	if err := c.client.DeleteVolume(t.Context(), older, "c1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.Share(t.Context(), younger); err != nil {
		t.Errorf("the younger one, which was used since the older one was lost: %v", err)
	}
}

// named makes a share as that of nfsSpec is made, but for its name and some of its metadata.
func (c *cloud) named(t *testing.T, name string, metadata map[string]string) (id string) {
	t.Helper()
	client, err := c.session.Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = "2.73"
	all := map[string]string{manila.ClusterKey: "c1", "csi.storage.k8s.io/pvc/name": "data", manila.UnusedKey: "true"}
	for k, v := range metadata {
		if all[k] = v; v == "" {
			delete(all, k)
		}
	}
	s, err := shares.Create(t.Context(), client, shares.CreateOpts{Name: name, ShareProto: manila.NFS, Size: 1, ShareType: "cephfs-nfs", Metadata: all}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}
