package designate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"mooring/pkg/openstack"
)

// ClusterNames keeps the records of clusters themselves: what has to be there before a cluster is. Its methods are safe for concurrent use.
type ClusterNames struct {
	api    *api
	logger *slog.Logger
}

// NewClusterNames makes a ClusterNames on a session. It makes no call yet.
func NewClusterNames(s session, logger *slog.Logger) *ClusterNames {
	return &ClusterNames{api: &api{session: s}, logger: logger}
}

// ClusterSpec says whose names are meant, and what they should be.
type ClusterSpec struct {
	ClusterWant

	// ZoneID picks one of several zones of a name; empty: there is one. With it ClusterWant.Zone may be empty.
	ZoneID string
	// DryRun plans and writes nothing.
	DryRun bool
}

// ClusterRecord is a record of a cluster, and what was done about it.
type ClusterRecord struct {
	Record

	Cluster    string
	Zone       Zone   // empty for the PTR of a floating IP
	ID         string // of the recordset; empty for the PTR of a floating IP, and for one that is not there
	FloatingIP string // Designate's key of it, "region:id"
	Status     string // of Designate: ACTIVE, PENDING, ERROR; empty for one that is not there
	// Result is what was done, or would be: created, updated, deleted, unchanged, "would be created", … "not created", …
	Result string
}

// ClusterResult is what there is, and what was done about it.
type ClusterResult struct {
	Zone     Zone
	Records  []ClusterRecord
	Warnings []string // one line each
}

// Ensure makes the records of a cluster as they should be; when they are so, it writes nothing. Nothing is written either when anything is in the way;
// the error then matches ErrForeign, ErrZone or ErrDelegated, and names everything. A failed write does not keep the others from being made. With PTRs
// wanted and none possible it does the rest, and its error matches ErrNoPTR. There may be a result beside an error.
func (n *ClusterNames) Ensure(ctx context.Context, spec *ClusterSpec) (*ClusterResult, error) {
	want := spec.ClusterWant
	state, picked, err := n.read(ctx, &want, spec.ZoneID, false)
	if err == nil && want.PTR {
		err = n.readPointers(ctx, &want, state)
	}
	if err != nil {
		return nil, err
	}
	plan := planEnsure(&want, state)
	result, err := n.carryOut(ctx, &want, picked, &plan, spec.DryRun)
	if err == nil && want.PTR && plan.ptrs == 0 {
		err = ErrNoPTR // the warnings say why
	}
	return result, err
}

// Delete takes away everything of a cluster in a zone, and its PTRs.
func (n *ClusterNames) Delete(ctx context.Context, spec *ClusterSpec) (*ClusterResult, error) {
	want := spec.ClusterWant
	state, picked, err := n.readMarked(ctx, &want, spec.ZoneID)
	if err != nil {
		return nil, err
	}
	plan := planDelete(want.Cluster, want.Zone, state)
	if state.floatingErr != nil && !noFloatingIPs(state.floatingErr) {
		plan.warnings = append(plan.warnings, fmt.Sprintf("floating IPs may have PTRs of the cluster: %v", state.floatingErr))
	}
	return n.carryOut(ctx, &want, picked, &plan, spec.DryRun)
}

// List returns the records of a cluster in a zone, or of all clusters when none is named, with the PTRs.
func (n *ClusterNames) List(ctx context.Context, spec *ClusterSpec) (*ClusterResult, error) {
	want := spec.ClusterWant
	state, picked, err := n.readMarked(ctx, &want, spec.ZoneID)
	if err != nil {
		return nil, err
	}
	result := &ClusterResult{Zone: picked}
	mine := func(cluster string, r Record) bool {
		return cluster != "" && (want.Cluster == "" || want.Cluster == cluster) && belongs(cluster, want.Zone, r)
	}
	for i := range state.sets {
		if set := &state.sets[i]; mine(clusterOf(set.Description), set.Record) {
			result.Records = append(result.Records, ClusterRecord{
				Record: set.Record, Cluster: clusterOf(set.Description), Zone: state.zones.byID(set.ZoneID), ID: set.ID, Status: set.Status,
			})
		}
	}
	for _, f := range state.floating {
		r := Record{Name: ReverseName(f.Address), Type: PTR, TTL: f.TTL, Targets: []string{f.Target}}
		if mine(clusterOf(f.Description), r) {
			result.Records = append(result.Records, ClusterRecord{Record: r, Cluster: clusterOf(f.Description), FloatingIP: f.Key, Status: f.Status})
		}
	}
	slices.SortFunc(result.Records, func(a, b ClusterRecord) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	if state.floatingErr != nil && !noFloatingIPs(state.floatingErr) {
		result.Warnings = append(result.Warnings, fmt.Sprintf("PTRs of floating IPs are not listed: %v", state.floatingErr))
	}
	return result, nil
}

// read finds the zone, whose name it puts into want, and reads what is at and below the cluster's domain: all of it, or what carries a mark.
// Without a cluster the domain is the zone, and the mark that of any.
func (n *ClusterNames) read(ctx context.Context, want *ClusterWant, zoneID string, marked bool) (*clusterState, Zone, error) {
	all, err := n.api.zones(ctx)
	if err != nil {
		return nil, Zone{}, err
	}
	picked, err := pickZone(all, want.Zone, zoneID)
	if err != nil {
		return nil, Zone{}, err
	}
	want.Zone = picked.Name
	below := picked.Name
	if want.Cluster != "" {
		below = domain(want.Cluster, picked.Name)
	}
	query := url.Values{"name": {"*" + WireName(below)}}
	if marked {
		query = marks(want.Cluster)
	}
	state := &clusterState{zones: only(all, picked)}
	for _, zone := range within(state.zones, picked, below) {
		sets, err := n.api.marked(ctx, query, "zones", zone.ID, "recordsets")
		if err != nil {
			return nil, Zone{}, describe(err, "listing recordsets of zone %s", zone)
		}
		for _, set := range sets { // the asterisk matches names that only end alike, too
			if set.Name == below || strings.HasSuffix(set.Name, "."+below) {
				state.sets = append(state.sets, set)
			}
		}
	}
	return state, picked, nil
}

// readMarked reads what carries the mark, PTRs too.
func (n *ClusterNames) readMarked(ctx context.Context, want *ClusterWant, zoneID string) (*clusterState, Zone, error) {
	state, picked, err := n.read(ctx, want, zoneID, true)
	if err == nil {
		err = n.readPointers(ctx, want, state)
	}
	return state, picked, err
}

// marks filters by the mark of a cluster, or of any.
func marks(cluster string) url.Values {
	return url.Values{"description": {clusterMark + cmp.Or(cluster, "*")}}
}

// readPointers adds the PTRs that carry a mark, those of the wanted addresses, and the floating IPs. Clouds without any say so.
func (n *ClusterNames) readPointers(ctx context.Context, want *ClusterWant, state *clusterState) error {
	seen := map[string]bool{}
	for _, set := range state.sets {
		seen[set.ID] = true
	}
	add := func(sets []markedSet) {
		for _, set := range sets {
			if !seen[set.ID] && state.zones.Usable(state.zones.byID(set.ZoneID)) {
				seen[set.ID] = true
				state.sets = append(state.sets, set)
			}
		}
	}
	query := marks(want.Cluster)
	query.Set("type", string(PTR))
	sets, err := n.api.marked(ctx, query, "recordsets")
	if err != nil {
		return describe(err, "listing PTRs")
	}
	add(sets)
	for _, address := range want.API {
		name := ReverseName(address)
		zone, _, ok := state.zones.Match(name)
		if !ok {
			continue
		}
		sets, err := n.api.marked(ctx, url.Values{"name": {WireName(name)}}, "zones", zone.ID, "recordsets")
		if err != nil {
			return describe(err, "looking for %s", name)
		}
		add(sets)
	}
	state.floating, err = n.api.floatingIPs(ctx)
	if err != nil && (ctx.Err() != nil || errors.Is(err, openstack.ErrUnavailable)) {
		return err
	}
	state.floatingErr = err
	return nil
}

// carryOut does what a plan says, unless something is in the way or it is a dry run.
func (n *ClusterNames) carryOut(ctx context.Context, want *ClusterWant, picked Zone, plan *clusterPlan, dryRun bool) (*ClusterResult, error) {
	if len(plan.refused) > 0 {
		err := errors.Join(plan.refused...)
		if errors.Is(err, ErrForeign) {
			err = fmt.Errorf("nothing was written, since something is in the way: %w", err)
		}
		return nil, err
	}
	result := &ClusterResult{Zone: picked, Warnings: plan.warnings}
	var failed []error
	for i := range plan.actions {
		a := &plan.actions[i]
		row := ClusterRecord{Record: a.Record, Cluster: want.Cluster, Zone: a.Zone, ID: a.ID, Status: a.status}
		if a.floatingIP != nil {
			row.ID, row.FloatingIP = "", a.floatingIP.Key
		}
		var err error
		switch {
		case a.keep:
			row.Result = "unchanged"
		case dryRun:
			row.Result = "would be " + past(a.Verb)
		default:
			row.Result = past(a.Verb)
			if err = n.act(ctx, want, a, &row); err != nil {
				row.Result = "not " + row.Result
				failed = append(failed, err)
			}
		}
		result.Records = append(result.Records, row)
	}
	return result, errors.Join(failed...)
}

func past(v Verb) string { return string(v) + "d" }

// act does one thing, so that doing it again is harmless.
func (n *ClusterNames) act(ctx context.Context, want *ClusterWant, a *clusterAction, row *ClusterRecord) error {
	n.logger.DebugContext(ctx, "writing a record of the cluster", operationAttrs(a.Operation)...)
	mark := clusterMark + want.Cluster
	if a.floatingIP != nil {
		return n.actFloating(ctx, mark, a, row)
	}
	out := perform(ctx, &markedWriter{api: n.api, mark: mark, force: want.Force}, a.Operation)
	if out.Err != nil {
		return out.Err
	}
	row.ID, row.Status = "", ""
	if out.Recordset != nil {
		row.ID, row.Status = out.Recordset.ID, out.Recordset.Status
	}
	return nil
}

func (n *ClusterNames) actFloating(ctx context.Context, mark string, a *clusterAction, row *ClusterRecord) error {
	var err error
	row.Status = ""
	if a.Verb == Delete {
		if _, err = n.api.unsetPTR(ctx, a.floatingIP.Key); errors.Is(err, openstack.ErrNotFound) {
			return nil
		}
	} else {
		var set FloatingIP
		set, _, err = n.api.setPTR(ctx, a.floatingIP.Key, a.Record.Targets[0], a.Record.TTL, mark)
		row.Status = set.Status
	}
	return describe(err, "%s PTR of the floating IP %s", a.Verb, a.floatingIP.Address)
}
