package csi_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/openstack/openstacksim"
)

func with(name string, parameters map[string]string) func(*spec.CreateVolumeRequest) {
	return func(r *spec.CreateVolumeRequest) {
		r.Name = name
		maps.Copy(r.GetParameters(), parameters)
	}
}

func (d *driver) remove(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := d.controller.DeleteVolume(t.Context(), &spec.DeleteVolumeRequest{VolumeId: id}); err != nil {
			t.Error(err)
		}
	}
	if left := d.Manila.Counts(); left != (openstacksim.ManilaCounts{}) {
		t.Errorf("left: %+v", left)
	}
}

// TestShareGroup: a share of a group is made in it, and deleted with its id, which only such shares are looked up for.
func TestShareGroup(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	group := d.Manila.AddGroup(d.Keystone.User("demo", "demo").ProjectID, "cephfs-nfs")
	v := d.create(t, "NFS", with("grouped", map[string]string{"groupID": group}))
	if got := d.Manila.GroupOf(v.GetVolumeId()); got != group {
		t.Errorf("it is in group %q, want %s", got, group)
	}
	d.Calls.Reset()
	d.remove(t, v.GetVolumeId())
	if _, calls := d.counts(); strings.Join(calls[:5], " ") != "GET GET DELETE GET DELETE" {
		t.Errorf("deleting it made %q", calls)
	}
	for id, want := range map[string]codes.Code{"no-uuid": codes.InvalidArgument, "aaaaaaaa-2222-3333-4444-555555555555": codes.InvalidArgument} {
		if _, err := d.controller.CreateVolume(t.Context(), request("NFS", with("none", map[string]string{"groupID": id}))); status.Code(err) != want {
			t.Errorf("group %s: %v, want %s", id, err, want)
		}
	}
}

// TestAffinity: hints go out as ids, of shares that were found by id or by name; those that are not there are found out before the create.
func TestAffinity(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	first := d.create(t, "NFS", with("first", nil)).GetVolumeId()
	near := d.create(t, "NFS", with("near", map[string]string{"affinity": "first"})).GetVolumeId()
	apart := d.create(t, "CEPHFS", with("apart", map[string]string{"antiAffinity": first + ",near"})).GetVolumeId()
	d.Calls.Reset()
	for name, parameters := range map[string]map[string]string{"x": {"affinity": "nothing"}, "y": {"antiAffinity": "aaaaaaaa-2222-3333-4444-555555555555"}} {
		_, err := d.controller.CreateVolume(t.Context(), request("NFS", with(name, parameters)))
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "finity: ") {
			t.Errorf("%v: %v", parameters, err)
		}
	}
	for _, c := range d.Calls.All() {
		if c.Method == http.MethodPost && strings.HasSuffix(c.Path, "/shares") {
			t.Error("a share was made that can't be placed")
		}
	}
	// where the scheduler finds no host, it is an error like others of its kind
	if _, err := d.controller.CreateVolume(t.Context(), request("CEPHFS", with("z", map[string]string{"affinity": first}))); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "No storage could be allocated") {
		t.Errorf("got %v", err)
	}
	share := d.Manila.ShareNamed("z")
	d.remove(t, share, apart, near, first)
}

func TestAffinityNeedsNewerManila(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{MaxMicroversion: "2.64"})
	_, err := d.controller.CreateVolume(t.Context(), request("NFS", with("x", map[string]string{"affinity": "first"})))
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "need microversion 2.65, and it has 2.64") {
		t.Errorf("got %v", err)
	}
}

// claims are annotations of claims, by namespace/name.
type claims map[string]map[string]string

func (c claims) ClaimAnnotations(_ context.Context, namespace, name string) (map[string]string, error) {
	if name == "broken" {
		return nil, errors.New("kube-apiserver is away")
	}
	return c[namespace+"/"+name], nil
}

// TestAnnotations: what a claim says counts more than its class, where claims can be read.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	d := start(t, openstacksim.ManilaConfig{})
	const prefix = "manila.csi.openstack.org/"
	group := d.Manila.AddGroup(d.Keystone.User("demo", "demo").ProjectID, "cephfs-nfs")
	of := func(claim string) func(*spec.CreateVolumeRequest) {
		return with(claim, map[string]string{"csi.storage.k8s.io/pvc/name": claim, "csi.storage.k8s.io/pvc/namespace": "ns", "affinity": "nothing"})
	}
	d.controller.Claims = claims{
		"ns/good": {prefix + "affinity": "first", prefix + "group-id": group, "other.example.org/affinity": "?", prefix + "note": "not ours"},
		"ns/bad":  {prefix + "group-id": "no-uuid"}, // it may have said something else when an earlier call made the share
		"ns/many": {prefix + "anti-affinity": strings.Join(strings.Split("abcdefghijklmnopqrstuvwxyz", ""), ",")},
	}
	first := d.create(t, "NFS", with("first", nil)).GetVolumeId()
	good := d.create(t, "NFS", of("good")).GetVolumeId()
	if got := d.Manila.GroupOf(good); got != group {
		t.Errorf("it is in group %q, want %s", got, group)
	}
	for claim, want := range map[string]struct {
		code codes.Code
		text string
	}{
		"bad":    {codes.Unavailable, prefix + `group-id: "no-uuid" is no UUID`},
		"many":   {codes.Unavailable, "it has 26 elements, and 16 is the most"},
		"broken": {codes.Unavailable, "ns/broken: kube-apiserver is away"},
		"gone":   {codes.InvalidArgument, `affinity: Manila does not know`},
	} {
		if _, err := d.controller.CreateVolume(t.Context(), request("NFS", of(claim))); status.Code(err) != want.code || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v, want %s %s", claim, err, want.code, want.text)
		}
	}
	d.remove(t, good, first)
}
