package manila

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// VolumeKey is the metadata key of the PersistentVolume that a share was made for.
const VolumeKey = "csi.storage.k8s.io/pv/name"

// The metadata of shares that tells which claim they were made for.
const (
	claimNameKey      = "csi.storage.k8s.io/pvc/name"
	claimNamespaceKey = "csi.storage.k8s.io/pvc/namespace"
)

// Inventory is what a project has: all of it, or what is decided from it would be wrong.
type Inventory struct {
	Shares    []*Share
	Snapshots []*Snapshot
	// Rules are the access rules by share; those of shares of other clusters need not be there.
	Rules map[string][]Rule
}

// Known is what a cluster knows, in plain words: all of it, and read after the inventory, so that nothing that was new in the one is
// missing in the other.
type Known struct {
	Volumes  []KnownVolume
	Claims   []KnownClaim
	Contents []KnownContent
	// Nodes are the names of all nodes, and of those to which a volume is attached.
	Nodes []string
}

// KnownVolume is a PersistentVolume of a CSI driver, whichever.
type KnownVolume struct{ Name, Handle, ShareID, ShareName string }

// KnownContent is a VolumeSnapshotContent.
type KnownContent struct {
	// VolumeHandle is the volume of which it is, or is to be, a snapshot.
	VolumeHandle string
	// Handles are the snapshot's ids; none while it is still to be made.
	Handles []string
}

// KnownClaim is a PersistentVolumeClaim.
type KnownClaim struct {
	Namespace, Name, UID string
	Bound                bool // to a PersistentVolume that is there
}

// Kind is what an orphan is.
type Kind string

// The kinds.
const (
	KindRule     Kind = "rule"
	KindSnapshot Kind = "snapshot"
	KindShare    Kind = "share"
)

// Orphan is something that carries the cluster's id and that the cluster does not know.
type Orphan struct {
	Kind      Kind      `json:"kind"`
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"` // of a rule: whom it lets in
	ShareID   string    `json:"share_id,omitempty"`
	SizeGiB   int       `json:"size_gib,omitempty"`
	Status    string    `json:"status"`
	CreatedAt time.Time `json:"created_at"`
	Reason    string    `json:"reason"`
}

// Orphans decides what of an inventory no one in the cluster knows, in the order in which it can go: rules, snapshots, shares. Whatever
// does not carry exactly this cluster's id, is younger than minAge, is on its way in or out, or is needed by something that stays, is no
// orphan. Without a cluster id nothing is.
func Orphans(cluster string, have *Inventory, known *Known, now time.Time, minAge time.Duration) []Orphan {
	if cluster == "" {
		return nil
	}
	d := newDecision(cluster, have, known, now.Add(-max(minAge, 0)))
	var rules, snapshots, shares []Orphan
	gone := map[string]bool{} // the snapshots that are orphans
	for _, s := range have.Snapshots {
		if reason := d.snapshot(s); reason != "" {
			gone[s.ID] = true
			snapshots = append(snapshots, Orphan{Kind: KindSnapshot, ID: s.ID, Name: s.Name, ShareID: s.ShareID, SizeGiB: s.SizeGiB, Status: s.Status, CreatedAt: s.CreatedAt, Reason: reason})
		}
	}
	for _, s := range have.Snapshots {
		d.held[s.ShareID] = d.held[s.ShareID] || !gone[s.ID]
	}
	for _, s := range have.Shares {
		if reason := d.share(s); reason != "" {
			shares = append(shares, Orphan{Kind: KindShare, ID: s.ID, Name: s.Name, SizeGiB: s.SizeGiB, Status: s.Status, CreatedAt: s.CreatedAt, Reason: reason})
			continue
		}
		for i := range have.Rules[s.ID] { // those of an orphan go with it
			if r := &have.Rules[s.ID][i]; d.rule(s, r) {
				reason := "its node has left"
				if nodes := r.Nodes(); len(nodes) > 0 {
					reason = fmt.Sprintf("it is for node %s, which the cluster does not have", strings.Join(nodes, ", "))
				}
				rules = append(rules, Orphan{Kind: KindRule, ID: r.ID, Name: r.To, ShareID: s.ID, Status: r.State, CreatedAt: r.CreatedAt, Reason: reason})
			}
		}
	}
	return slices.Concat(rules, snapshots, shares)
}

// Knows says whether a cluster knows a share or a snapshot that carries its id. One that does not is most likely another cluster, and all
// would look like orphans to it.
func Knows(cluster string, have *Inventory, known *Known) bool {
	d := newDecision(cluster, have, known, time.Time{})
	return slices.ContainsFunc(have.Shares, func(s *Share) bool { return s.Metadata[ClusterKey] == cluster && d.has(s) }) ||
		slices.ContainsFunc(have.Snapshots, func(s *Snapshot) bool { return s.Metadata[ClusterKey] == cluster && d.snapshots[s.ID] })
}

// decision is what Orphans looks up.
type decision struct {
	cluster               string
	before                time.Time // only what is older than this
	volumes, names        map[string]bool
	snapshots             map[string]bool
	sources, awaited      map[string]bool // shares that have snapshots in the cluster's eyes; those that still get one
	nodes, waiting, uids  map[string]bool
	held                  map[string]bool // shares with snapshots that stay
	lent                  map[string]bool // shares to which another cluster has let its nodes in
	copying, cloneTargets map[string]bool // snapshots of which shares are made now; names of shares that are made now
}

func newDecision(cluster string, have *Inventory, known *Known, before time.Time) *decision {
	d := &decision{
		cluster: cluster, before: before, nodes: set(known.Nodes...), volumes: map[string]bool{}, names: map[string]bool{},
		snapshots: map[string]bool{}, sources: map[string]bool{}, awaited: map[string]bool{}, waiting: map[string]bool{}, uids: map[string]bool{},
		held: map[string]bool{}, lent: map[string]bool{}, copying: map[string]bool{}, cloneTargets: map[string]bool{},
	}
	for _, v := range known.Volumes {
		d.volumes[fold(v.Handle)], d.volumes[fold(v.ShareID)] = true, true
		d.names[v.ShareName] = v.ShareName != ""
	}
	for _, c := range known.Contents {
		d.sources[fold(c.VolumeHandle)] = true
		maps.Copy(d.snapshots, set(c.Handles...))
		if len(c.Handles) == 0 {
			d.awaited[fold(c.VolumeHandle)] = true
		}
	}
	for _, c := range known.Claims {
		if !c.Bound {
			d.waiting[c.Namespace+"/"+c.Name] = true
			d.uids[c.UID] = c.UID != ""
		}
	}
	for id, rules := range have.Rules {
		d.lent[id] = slices.ContainsFunc(rules, func(r Rule) bool { return r.Metadata[ManagedByKey] == ManagedBy && !r.ownedBy(cluster) })
	}
	for _, s := range have.Shares {
		if !Classify(s.Status).Usable() {
			d.copying[s.SnapshotID] = true
			d.cloneTargets[CloneSnapshotName(s.Name)] = true
		}
	}
	return d
}

// fold spells ids as Manila does: a handle that was written by hand may have capitals.
func fold(id string) string { return strings.ToLower(strings.TrimSpace(id)) }

func set(items ...string) map[string]bool {
	m := map[string]bool{}
	for _, item := range items {
		m[fold(item)] = true
	}
	return m
}

// ours says whether metadata and age make something a possible orphan. What has no age may be new.
func (d *decision) ours(metadata map[string]string, created time.Time) bool {
	return metadata[ClusterKey] == d.cluster && !created.IsZero() && created.Before(d.before)
}

// has says whether a PersistentVolume has a share.
func (d *decision) has(s *Share) bool { return d.volumes[s.ID] || d.names[s.Name] }

// share is why a share is an orphan; empty when it is none.
func (d *decision) share(s *Share) string {
	phase := Classify(s.Status)
	switch {
	case !d.ours(s.Metadata, s.CreatedAt):
	case !phase.Usable() && phase != PhaseFailed && phase != PhaseDeleteFailed: // it comes or goes, or somebody moves it
	case d.has(s) || d.sources[s.ID]:
	case d.held[s.ID] || d.lent[s.ID]:
	case d.waiting[s.Metadata[claimNamespaceKey]+"/"+s.Metadata[claimNameKey]] || d.claimed(s.Name): // its volume is still to come
	default:
		return "no PersistentVolume has it"
	}
	return ""
}

// claimed says whether a name is that of the volume of a claim that waits: external-provisioner makes it of a prefix and the claim's UID.
func (d *decision) claimed(name string) bool {
	const uid = 36
	return len(name) >= uid && d.uids[name[len(name)-uid:]]
}

// snapshot is why a snapshot is an orphan; empty when it is none.
func (d *decision) snapshot(s *Snapshot) string {
	phase := Classify(s.Status)
	clone := strings.HasPrefix(s.Name, clonePrefix)
	switch {
	case !d.ours(s.Metadata, s.CreatedAt):
	case phase != PhaseReady && phase != PhaseFailed && phase != PhaseDeleteFailed:
	case d.snapshots[s.ID] || d.copying[s.ID] || d.awaited[s.ShareID] && !clone:
	case clone && (d.cloneTargets[s.Name] || d.claimed(s.Name)):
	case clone:
		return "it was made to clone a share, and none is being cloned"
	default:
		return "no VolumeSnapshotContent has it"
	}
	return ""
}

// rule says whether an access rule of a share that stays is an orphan: one that the driver made for nodes that are all gone, or that have
// left it while Manila did not take it away. One of a
// cephx user goes with its share.
func (d *decision) rule(s *Share, r *Rule) bool {
	leaves := r.State == "denying" || r.State == "queued_to_deny"
	if r.Kind != KindIP || leaves || !r.ownedBy(d.cluster) || s.Metadata[ClusterKey] != d.cluster || !d.ours(r.Metadata, r.CreatedAt) {
		return false
	}
	nodes := r.Nodes()
	return (len(nodes) > 0 || r.left()) && !slices.ContainsFunc(nodes, func(node string) bool { return d.nodes[fold(node)] })
}
