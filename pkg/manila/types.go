package manila

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The share protocols.
const (
	NFS    = "NFS"
	CEPHFS = "CEPHFS"
)

// The kinds of access rules.
const (
	KindIP    = "ip"
	KindCephx = "cephx"
)

// ClusterKey is the metadata key of the cluster that a share belongs to; CPO has the same one.
const ClusterKey = "manila.csi.openstack.org/cluster"

// MountOptionsKey is the metadata key of mount options that Manila's driver gives to clients; that for CephFS tells the name of the file
// system there (get_optional_share_creation_data in manila/share/drivers/cephfs/driver.py).
const MountOptionsKey = "__mount_options"

// Share is a share as Manila has it.
type Share struct {
	ID, Name, Status, Protocol      string
	Type, TypeID                    string
	Zone, NetworkID, SnapshotID     string
	GroupID                         string // of its share group; empty: it is in none
	SizeGiB                         int
	Metadata                        map[string]string
	CreateFromSnapshot, CanSnapshot bool
	HasReplicas                     bool
	RulesStatus                     string // of all access rules together: active, syncing, error; known from lists alone
	CreatedAt                       time.Time
}

// known says whether the share's protocol is one that is mounted here.
func (s *Share) known() bool { return s.Protocol == NFS || s.Protocol == CEPHFS }

// FileSystem is the name of the CephFS file system that the share is in; empty when Manila does not tell, and then it is the default one.
func (s *Share) FileSystem() string {
	for option := range strings.SplitSeq(s.Metadata[MountOptionsKey], ",") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(option), "fs="); ok {
			return name
		}
	}
	return ""
}

// Export is an export location.
type Export struct {
	Path                 string
	Preferred, AdminOnly bool
}

// usable leaves out the locations for administrators and puts the preferred ones first.
func usable(all []Export) []Export {
	out := slices.DeleteFunc(slices.Clone(all), func(e Export) bool { return e.AdminOnly })
	slices.SortStableFunc(out, func(a, b Export) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

func rank(e Export) int {
	if e.Preferred {
		return 0
	}
	return 1
}

// Rule is an access rule.
type Rule struct {
	ID, Kind, To, Level, State string
	Key                        string // of a cephx user, once the rule is active: a secret
	Metadata                   map[string]string
	CreatedAt                  time.Time // zero where it was not asked for
}

// LogValue keeps the key out of logs.
func (r Rule) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", r.ID), slog.String("kind", r.Kind), slog.String("to", r.To), slog.String("level", r.Level), slog.String("state", r.State))
}

// Grant is an access rule that is wanted.
type Grant struct{ Kind, To, Level string }

// matches compares ip rules as networks, as Manila does: 10.0.0.1 is 10.0.0.1/32.
func (g Grant) matches(r *Rule) bool {
	if g.Kind != r.Kind {
		return false
	}
	if g.Kind == KindIP {
		if a, ok := network(g.To); ok {
			b, ok := network(r.To)
			return ok && a == b
		}
	}
	return g.To == r.To
}

func (g Grant) isIPv6() bool { return g.Kind == KindIP && strings.Contains(g.To, ":") }

func network(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// Spec is a share that is wanted.
type Spec struct {
	// Name identifies the share; Cluster, if set, the cluster that owns it.
	Name, Cluster string
	// SizeGiB is what a new share gets. MaxGiB is what a share that exists may have at most; 0 is any size.
	SizeGiB, MaxGiB int
	Protocol        string
	Type            string // name or id
	Zone, NetworkID string
	// Zones, instead of Zone, are availability zones of which any will do. A new share goes to the first that has a place for it.
	Zones []string
	// GroupID is the share group that a new share gets into.
	GroupID string
	// SameHost and DifferentHost are shares, by id or by name, on whose back end a new share goes, or must not go.
	SameHost, DifferentHost []string
	// SnapshotID is the snapshot, CloneOf the share whose contents a new share gets; at most one of them. It is then made as
	// large as its source, if that is larger.
	SnapshotID, CloneOf string
	Metadata            map[string]string
	// Grants are the access rules it gets, all of which have to be active. With AnyLevel those of a share that exists may have
	// other levels.
	Grants   []Grant
	AnyLevel bool
	// PerNode says that nodes will be let in one by one (Admit): a Manila that can't is refused.
	PerNode bool
}

// metadata is what a new share gets.
func (s *Spec) metadata() map[string]string {
	m := cleanMetadata(s.Metadata, s.Cluster)
	if s.Cluster != "" {
		m[UnusedKey] = "true"
	}
	delete(m, ClonedFromKey) // a class that sets it would make every share look like a clone
	if s.CloneOf != "" {
		m[ClonedFromKey] = s.CloneOf
	}
	return m
}

// owns says whether a share belongs to the cluster of the spec. Without a cluster id the name has to do.
func (s *Spec) owns(share *Share) bool {
	return s.Cluster == "" || share.Metadata[ClusterKey] == s.Cluster
}

// Volume is a share that is ready.
type Volume struct {
	Share   Share
	Exports []Export // usable ones, the best first
	Rules   []Rule   // one per grant, in their order
	// Made says that this very call has made it.
	Made bool
}

// Users are those of its rules.
func (v *Volume) Users() []string {
	users := make([]string, len(v.Rules))
	for i := range v.Rules {
		users[i] = v.Rules[i].To
	}
	return users
}
