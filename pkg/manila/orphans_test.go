package manila_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/manila"
)

// estate is an inventory and what the cluster knows, at a time.
type estate struct {
	have  manila.Inventory
	known manila.Known
	now   time.Time
}

func newEstate() *estate {
	e := &estate{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	e.have.Rules = map[string][]manila.Rule{}
	return e
}

var c1 = map[string]string{manila.ClusterKey: "c1"}

func (e *estate) share(change ...func(*manila.Share)) *estate {
	s := &manila.Share{ID: "s1", Name: "pvc-1", Status: "available", Metadata: c1, CreatedAt: e.now.Add(-2 * time.Hour)}
	for _, f := range change {
		f(s)
	}
	e.have.Shares = append(e.have.Shares, s)
	return e
}

func (e *estate) snapshot(change ...func(*manila.Snapshot)) *estate {
	s := &manila.Snapshot{ID: "n1", Name: "snapshot-1", ShareID: "s1", Status: "available", Metadata: c1, CreatedAt: e.now.Add(-2 * time.Hour)}
	for _, f := range change {
		f(s)
	}
	e.have.Snapshots = append(e.have.Snapshots, s)
	return e
}

func (e *estate) rule(node string, change ...func(*manila.Rule)) *estate {
	r := manila.Rule{
		ID: "r-" + node, Kind: manila.KindIP, To: "10.0.0.1", Level: "rw", State: "active", CreatedAt: e.now.Add(-2 * time.Hour),
		Metadata: map[string]string{manila.ClusterKey: "c1", manila.ManagedByKey: manila.ManagedBy, "mooring-node:" + node: "1"},
	}
	for _, f := range change {
		f(&r)
	}
	e.have.Rules["s1"] = append(e.have.Rules["s1"], r)
	return e
}

func (e *estate) knows(change func(*manila.Known)) *estate { change(&e.known); return e }

func (e *estate) volume() *estate {
	return e.knows(func(k *manila.Known) { k.Volumes = append(k.Volumes, manila.KnownVolume{Name: "pvc-1", Handle: "s1"}) })
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	clone := func(s *manila.Snapshot) { s.Name = manila.CloneSnapshotName("pvc-2") }
	claim := func(c manila.KnownClaim) func(*manila.Known) {
		return func(k *manila.Known) { k.Claims = append(k.Claims, c) }
	}
	const uid = "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"
	for name, c := range map[string]struct {
		e    *estate
		want []string
	}{
		"nothing":                    {newEstate(), nil},
		"a share":                    {newEstate().share(), []string{"s1"}},
		"in error":                   {newEstate().share(func(s *manila.Share) { s.Status = "error" }), []string{"s1"}},
		"stuck":                      {newEstate().share(func(s *manila.Share) { s.Status = "error_deleting" }), []string{"s1"}},
		"on its way":                 {newEstate().share(func(s *manila.Share) { s.Status = "creating" }), nil},
		"on its way out":             {newEstate().share(func(s *manila.Share) { s.Status = "deleting" }), nil},
		"given away":                 {newEstate().share(func(s *manila.Share) { s.Status = "awaiting_transfer" }), nil},
		"young":                      {newEstate().share(func(s *manila.Share) { s.CreatedAt = s.CreatedAt.Add(time.Hour) }), nil},
		"of no known age":            {newEstate().share(func(s *manila.Share) { s.CreatedAt = time.Time{} }), nil},
		"of another cluster":         {newEstate().share(func(s *manila.Share) { s.Metadata = map[string]string{manila.ClusterKey: "c10"} }), nil},
		"of no cluster":              {newEstate().share(func(s *manila.Share) { s.Metadata = nil }), nil},
		"with a volume":              {newEstate().share().volume(), nil},
		"with a handle in capitals":  {newEstate().share().knows(func(k *manila.Known) { k.Volumes = []manila.KnownVolume{{Handle: "S1"}} }), nil},
		"by attribute":               {newEstate().share().knows(func(k *manila.Known) { k.Volumes = []manila.KnownVolume{{Handle: "x", ShareID: "s1"}} }), nil},
		"by name":                    {newEstate().share().knows(func(k *manila.Known) { k.Volumes = []manila.KnownVolume{{Handle: "x", ShareName: "pvc-1"}} }), nil},
		"a volume of the same name":  {newEstate().share().knows(func(k *manila.Known) { k.Volumes = []manila.KnownVolume{{Name: "pvc-1", Handle: "twin"}} }), []string{"s1"}},
		"a claim waits, by its UID":  {newEstate().share(func(s *manila.Share) { s.Name = "pvc-" + uid }).knows(claim(manila.KnownClaim{Namespace: "a", Name: "b", UID: uid})), nil},
		"a claim has another volume": {newEstate().share(func(s *manila.Share) { s.Name = "pvc-" + uid }).knows(claim(manila.KnownClaim{Namespace: "a", Name: "b", UID: uid, Bound: true})), []string{"s1"}},
		"a claim waits, by its name": {newEstate().share(func(s *manila.Share) {
			s.Metadata = map[string]string{manila.ClusterKey: "c1", "csi.storage.k8s.io/pvc/namespace": "a", "csi.storage.k8s.io/pvc/name": "b"}
		}).knows(claim(manila.KnownClaim{Namespace: "a", Name: "b"})), nil},
		"another cluster mounts it": {newEstate().share().rule("n", func(r *manila.Rule) { r.Metadata[manila.ClusterKey] = "c2" }), nil},
		"a snapshot":                {newEstate().share().volume().snapshot(), []string{"n1"}},
		"a snapshot and its share":  {newEstate().share().snapshot(), []string{"n1", "s1"}},
		"a snapshot with a content": {newEstate().share().snapshot().knows(func(k *manila.Known) { k.Contents = []manila.KnownContent{{Handles: []string{"n1"}}} }), nil},
		"a snapshot is to be made":  {newEstate().share().snapshot().knows(func(k *manila.Known) { k.Contents = []manila.KnownContent{{VolumeHandle: "s1"}} }), nil},
		"an older snapshot of it": {newEstate().share().snapshot().knows(func(k *manila.Known) {
			k.Contents = []manila.KnownContent{{VolumeHandle: "s1", Handles: []string{"n2"}}}
		}), []string{"n1"}},
		"somebody's snapshot":       {newEstate().share().snapshot(func(s *manila.Snapshot) { s.Metadata = nil }), nil},
		"a snapshot that goes":      {newEstate().share().volume().snapshot(func(s *manila.Snapshot) { s.Status = "deleting" }), nil},
		"a young snapshot":          {newEstate().share().snapshot(func(s *manila.Snapshot) { s.CreatedAt = s.CreatedAt.Add(time.Hour) }), nil},
		"a snapshot in error":       {newEstate().share().volume().snapshot(func(s *manila.Snapshot) { s.Status = "error" }), []string{"n1"}},
		"a snapshot being copied":   {newEstate().share().volume().snapshot().share(func(s *manila.Share) { s.ID, s.SnapshotID, s.Status = "s2", "n1", "creating_from_snapshot" }), nil},
		"a clone's snapshot":        {newEstate().share().volume().snapshot(clone), []string{"n1"}},
		"a clone that runs":         {newEstate().share().volume().snapshot(clone).share(func(s *manila.Share) { s.ID, s.Name, s.Status = "s2", "pvc-2", "creating" }), nil},
		"a clone that is to run":    {newEstate().share().volume().snapshot(func(s *manila.Snapshot) { s.Name = manila.CloneSnapshotName("pvc-" + uid) }).knows(claim(manila.KnownClaim{UID: uid})), nil},
		"a rule":                    {newEstate().share().volume().rule("gone"), []string{"r-gone"}},
		"a rule of an orphan":       {newEstate().share().rule("gone"), []string{"s1"}},
		"a rule of a node":          {newEstate().share().volume().rule("n").knows(func(k *manila.Known) { k.Nodes = []string{"n"} }), nil},
		"a rule for all":            {newEstate().share().volume().rule("x", func(r *manila.Rule) { delete(r.Metadata, "mooring-node:x") }), nil},
		"a rule of two nodes":       {newEstate().share().volume().rule("gone", func(r *manila.Rule) { r.Metadata["mooring-node:n"] = "1" }).knows(func(k *manila.Known) { k.Nodes = []string{"n"} }), nil},
		"a rule of a cephx user":    {newEstate().share().volume().rule("gone", func(r *manila.Rule) { r.Kind = manila.KindCephx }), nil},
		"a rule that goes":          {newEstate().share().volume().rule("gone", func(r *manila.Rule) { r.State = "denying" }), nil},
		"a young rule":              {newEstate().share().volume().rule("gone", func(r *manila.Rule) { r.CreatedAt = r.CreatedAt.Add(time.Hour) }), nil},
		"somebody's rule":           {newEstate().share().volume().rule("gone", func(r *manila.Rule) { delete(r.Metadata, manila.ManagedByKey) }), nil},
		"another cluster's rule":    {newEstate().share().volume().rule("gone", func(r *manila.Rule) { r.Metadata[manila.ClusterKey] = "c2" }), nil},
		"a rule of another's share": {newEstate().share(func(s *manila.Share) { s.Metadata = nil }).rule("gone"), nil},
	} {
		var got []string
		for _, o := range manila.Orphans("c1", &c.e.have, &c.e.known, c.e.now, 90*time.Minute) {
			got = append(got, o.ID)
			if o.Reason == "" || o.CreatedAt.IsZero() {
				t.Errorf("%s: %+v", name, o)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if all := manila.Orphans("", &c.e.have, &c.e.known, c.e.now, 0); len(all) > 0 {
			t.Errorf("%s: without a cluster id: %v", name, all)
		}
	}
}

// TestOrphansProperties: in random estates, nothing is an orphan that anything knows, that is of another cluster, or that is too young;
// and whatever is added to what the cluster knows, no more becomes one.
func TestOrphansProperties(t *testing.T) {
	t.Parallel()
	found := 0
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := random(r)
		minAge := time.Duration(r.IntN(4)) * time.Hour
		orphans := manila.Orphans("c1", &e.have, &e.known, e.now, minAge)
		found += len(orphans)
		ids := map[string]bool{}
		for _, o := range orphans {
			ids[string(o.Kind)+o.ID] = true
			metadata, status := e.of(&o)
			if metadata[manila.ClusterKey] != "c1" {
				t.Fatalf("seed %d: %+v is of %q", seed, o, metadata[manila.ClusterKey])
			}
			if age := e.now.Sub(o.CreatedAt); age <= minAge {
				t.Fatalf("seed %d: %+v has an age of %v", seed, o, age)
			}
			if slices.Contains([]string{"creating", "deleting", "creating_from_snapshot"}, status) {
				t.Fatalf("seed %d: %+v is %s", seed, o, status)
			}
			e.unknown(t, seed, &o)
		}
		more := e.known
		extra := random(r).known
		more.Volumes, more.Claims = slices.Concat(more.Volumes, extra.Volumes), slices.Concat(more.Claims, extra.Claims)
		more.Contents, more.Nodes = slices.Concat(more.Contents, extra.Contents), slices.Concat(more.Nodes, extra.Nodes)
		for _, o := range manila.Orphans("c1", &e.have, &more, e.now, minAge) {
			if !ids[string(o.Kind)+o.ID] && o.Kind != manila.KindRule { // rules of a share that stays now are told apart from it
				t.Fatalf("seed %d: %+v became an orphan when more was known", seed, o)
			}
		}
	}
	if found < 1000 {
		t.Errorf("only %d orphans were found at all", found)
	}
}

func (e *estate) of(o *manila.Orphan) (metadata map[string]string, status string) {
	switch o.Kind {
	case manila.KindShare:
		i := slices.IndexFunc(e.have.Shares, func(s *manila.Share) bool { return s.ID == o.ID })
		return e.have.Shares[i].Metadata, e.have.Shares[i].Status
	case manila.KindSnapshot:
		i := slices.IndexFunc(e.have.Snapshots, func(s *manila.Snapshot) bool { return s.ID == o.ID })
		return e.have.Snapshots[i].Metadata, e.have.Snapshots[i].Status
	default:
		rules := e.have.Rules[o.ShareID]
		i := slices.IndexFunc(rules, func(r manila.Rule) bool { return r.ID == o.ID })
		return rules[i].Metadata, rules[i].State
	}
}

// unknown checks that no one knows an orphan.
func (e *estate) unknown(t *testing.T, seed uint64, o *manila.Orphan) {
	t.Helper()
	for _, v := range e.known.Volumes {
		if o.Kind == manila.KindShare && (v.Handle == o.ID || v.ShareID == o.ID || v.ShareName == o.Name) {
			t.Fatalf("seed %d: %+v has %+v", seed, o, v)
		}
	}
	for _, c := range e.known.Contents {
		if o.Kind == manila.KindSnapshot && slices.Contains(c.Handles, o.ID) || o.Kind == manila.KindShare && c.VolumeHandle == o.ID {
			t.Fatalf("seed %d: %+v has %+v", seed, o, c)
		}
	}
	for _, s := range e.have.Snapshots {
		for _, c := range e.known.Contents {
			if o.Kind == manila.KindShare && s.ShareID == o.ID && slices.Contains(c.Handles, s.ID) {
				t.Fatalf("seed %d: %+v has a snapshot that %+v has", seed, o, c)
			}
		}
	}
}

// random is an estate in which few ids meet many things.
func random(r *rand.Rand) *estate {
	e := newEstate()
	id := func(kind string) string { return fmt.Sprint(kind, r.IntN(6)) }
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	age := func() time.Time { return e.now.Add(-time.Duration(r.IntN(300)) * time.Minute) }
	metadata := func() map[string]string {
		m := map[string]string{manila.ClusterKey: pick("c1", "c1", "c2", ""), "csi.storage.k8s.io/pvc/namespace": "ns", "csi.storage.k8s.io/pvc/name": id("c")}
		if r.IntN(2) == 0 {
			maps.Copy(m, map[string]string{manila.ManagedByKey: manila.ManagedBy, "mooring-node:" + id("node"): "1"})
		}
		return m
	}
	for i := range r.IntN(6) {
		s := &manila.Share{ID: fmt.Sprint("s", i), Name: id("pvc"), Status: pick("available", "available", "error", "creating", "deleting"), Metadata: metadata(), CreatedAt: age()}
		if r.IntN(3) == 0 {
			s.SnapshotID, s.Status = id("n"), "creating_from_snapshot"
		}
		e.have.Shares = append(e.have.Shares, s)
		for j := range r.IntN(3) {
			e.have.Rules[s.ID] = append(e.have.Rules[s.ID], manila.Rule{ID: fmt.Sprint("r", i, j), Kind: manila.KindIP, State: "active", Metadata: metadata(), CreatedAt: age()})
		}
	}
	for i := range r.IntN(6) {
		e.have.Snapshots = append(e.have.Snapshots, &manila.Snapshot{
			ID: fmt.Sprint("n", i), Name: pick("snapshot", manila.CloneSnapshotName(id("pvc"))), ShareID: id("s"), Status: pick("available", "available", "error", "creating"),
			Metadata: metadata(), CreatedAt: age(),
		})
	}
	for i := range r.IntN(6) {
		e.known.Claims = append(e.known.Claims, manila.KnownClaim{Namespace: "ns", Name: fmt.Sprint("c", i), Bound: r.IntN(2) == 0})
	}
	for range r.IntN(3) {
		e.known.Volumes = append(e.known.Volumes, manila.KnownVolume{Handle: id("s")}, manila.KnownVolume{Handle: "x", ShareName: id("pvc")})
		e.known.Contents = append(e.known.Contents, manila.KnownContent{VolumeHandle: id("s")}, manila.KnownContent{Handles: []string{id("n")}})
		e.known.Nodes = append(e.known.Nodes, id("node"))
	}
	return e
}
