package designate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The records of a cluster itself: api.CLUSTER.ZONE, *.apps.CLUSTER.ZONE, and the PTRs of the first one's addresses. What a cluster owns carries
// its mark in the description; nothing else is changed or deleted.

// clusterMark begins the description of a recordset, or of a floating IP's PTR, that belongs to a cluster. The cluster's name follows.
const clusterMark = "mooring:cluster="

// maxClusterName keeps the mark within a description, which has 160 characters.
const maxClusterName = 100

var (
	// ErrForeign is matched when a name is taken by what does not carry the cluster's mark.
	ErrForeign = errors.New("it does not belong to the cluster")
	// ErrZone is matched when the zone of the cluster's names can't be told or not be written.
	ErrZone = errors.New("zone")
	// ErrDelegated is matched when names are below a delegation, so that the zone's name servers never answer them.
	ErrDelegated = errors.New("the name is delegated to other name servers")
	// ErrNoPTR is matched when PTRs were wanted and none of the addresses could have one.
	ErrNoPTR = errors.New("none of the addresses can have a PTR")
)

// CanonicalCluster returns the canonical form of a cluster's name: one or more DNS labels. Errors match ErrName.
func CanonicalCluster(name string) (string, error) {
	canonical, err := CanonicalHost(name)
	if err != nil {
		return "", err
	}
	if len(canonical) > maxClusterName {
		return "", fmt.Errorf("%w %q: %d characters, at most %d are possible", ErrName, name, len(canonical), maxClusterName)
	}
	return canonical, nil
}

// clusterOf reads a mark; it is empty when there is none.
func clusterOf(description string) string {
	cluster, ok := strings.CutPrefix(description, clusterMark)
	if !ok {
		return ""
	}
	return cluster
}

// domain is the domain of a cluster in a zone, apiName and appsName are its names.
func domain(cluster, zone string) string   { return cluster + "." + zone }
func apiName(cluster, zone string) string  { return "api." + domain(cluster, zone) }
func appsName(cluster, zone string) string { return "*.apps." + domain(cluster, zone) }

// belongs says whether a record that carries a cluster's mark is one of the cluster's in a zone: there may be clusters of one name in two zones,
// whose PTRs are in one reverse zone.
func belongs(cluster, zone string, r Record) bool {
	if r.Type == PTR {
		return slices.Equal(r.Targets, []string{apiName(cluster, zone)})
	}
	return strings.HasSuffix(r.Name, "."+domain(cluster, zone))
}

// ClusterWant is what the records of a cluster should be.
type ClusterWant struct {
	Cluster string // canonical
	Zone    string // canonical
	// API and Apps are the addresses of the two names. An empty list leaves what there is.
	API, Apps []netip.Addr
	// PTR wants PTRs of the API's addresses, and none of others.
	PTR bool
	// TTL in seconds; 0 is the zone's own.
	TTL int
	// Force takes over what is in the way and does not belong to the cluster.
	Force bool
}

// clusterState is what there is: the recordsets at and below the cluster's domain, those with PTRs that matter, and the floating IPs.
type clusterState struct {
	zones    Zones
	sets     []markedSet
	floating []FloatingIP
	// floatingErr says why the floating IPs are not known; nil when they are.
	floatingErr error
}

// clusterAction is one thing to do, or nothing to do, about one recordset or one PTR of a floating IP.
type clusterAction struct {
	Operation

	keep       bool // it is as it should be; Operation has it as it is
	floatingIP *FloatingIP
	status     string // as it was read
}

// clusterPlan is what to do, in this order.
type clusterPlan struct {
	actions  []clusterAction
	warnings []string
	// refused has everything that keeps the plan from being carried out; each matches ErrForeign, ErrZone or ErrDelegated.
	refused []error
	ptrs    int // PTRs that are wanted and can be there
}

// planEnsure decides what makes the records of a cluster as they should be. It is pure.
func planEnsure(w *ClusterWant, s *clusterState) clusterPlan {
	p := clusterPlanner{want: w, state: s}
	if len(w.API) > 0 {
		p.name(apiName(w.Cluster, w.Zone), w.API)
	}
	if len(w.Apps) > 0 {
		p.name(appsName(w.Cluster, w.Zone), w.Apps)
	}
	if w.PTR {
		p.pointers()
	}
	return p.plan
}

// planDelete decides what takes away all that carries the cluster's mark. It is pure.
func planDelete(cluster, zone string, s *clusterState) clusterPlan {
	p := clusterPlanner{want: &ClusterWant{Cluster: cluster, Zone: zone}, state: s}
	for i := range s.sets {
		if set := &s.sets[i]; clusterOf(set.Description) == cluster && belongs(cluster, zone, set.Record) {
			p.remove(set)
		}
	}
	slices.SortFunc(p.plan.actions, func(a, b clusterAction) int { return compareOps(a.Operation, b.Operation) })
	p.dropFloating(nil)
	return p.plan
}

type clusterPlanner struct {
	want  *ClusterWant
	state *clusterState
	plan  clusterPlan
}

// name plans the addresses of a name.
func (p *clusterPlanner) name(name string, addresses []netip.Addr) {
	zone, ok := p.place(name)
	if !ok {
		return
	}
	wanted := map[Type][]string{}
	for _, a := range addresses {
		t := A
		if a = a.Unmap(); a.Is6() {
			t = AAAA
		}
		wanted[t] = append(wanted[t], a.String())
	}
	existing := map[Type]*markedSet{}
	for i := range p.state.sets {
		set := &p.state.sets[i]
		if set.ZoneID == zone.ID && set.Name == name && slices.Contains([]Type{A, AAAA, CNAME}, set.Type) && p.mayChange(set) {
			existing[set.Type] = set
		}
	}
	if alias := existing[CNAME]; alias != nil { // it can't be beside the others
		p.remove(alias)
	}
	for _, t := range []Type{A, AAAA} {
		if targets := sortedSet(wanted[t]); len(targets) > 0 {
			p.write(zone, existing[t], Record{Name: name, Type: t, TTL: p.want.TTL, Targets: targets})
		}
	}
	for _, t := range []Type{A, AAAA} {
		if set := existing[t]; set != nil && len(wanted[t]) == 0 {
			p.remove(set)
		}
	}
}

// place finds the zone of a name, which is that of the cluster or one below it.
func (p *clusterPlanner) place(name string) (Zone, bool) {
	zone, reason, ok := p.state.zones.Match(name)
	if !ok {
		p.refuse(fmt.Errorf("%w: %s is in %s, which can't be written: %s", ErrZone, name, zone, reason))
		return Zone{}, false
	}
	for i := range p.state.sets {
		set := &p.state.sets[i]
		if set.Type == NS && set.ZoneID == zone.ID && set.Name != zone.Name && (name == set.Name || strings.HasSuffix(name, "."+set.Name)) {
			p.refuse(fmt.Errorf("%w: zone %s has the recordset %s NS %s, so its name servers never answer for %s", ErrDelegated, zone.Name, set.Name, strings.Join(set.Targets, " "), name))
			return Zone{}, false
		}
	}
	return zone, true
}

func (p *clusterPlanner) refuse(err error) { p.plan.refused = append(p.plan.refused, err) }

// mayChange says whether a recordset belongs to the cluster, or is to be taken over.
func (p *clusterPlanner) mayChange(set *markedSet) bool {
	if p.want.Force || clusterOf(set.Description) == p.want.Cluster {
		return true
	}
	p.refuse(foreign(set.Record, set.Description))
	return false
}

// foreign says whose a record is that is in the way.
func foreign(r Record, description string) error {
	whose := "its description is empty"
	if other := clusterOf(description); other != "" {
		whose = fmt.Sprintf("it carries the mark of the cluster %q", other)
	} else if description != "" {
		whose = fmt.Sprintf("its description is %q", description)
	}
	return &RecordError{Name: r.Name, Type: r.Type, Err: fmt.Errorf("there is one already, %s, and %w: %s", strings.Join(r.Targets, " "), ErrForeign, whose)}
}

func (p *clusterPlanner) write(zone Zone, existing *markedSet, r Record) {
	a := clusterAction{Operation: Operation{Verb: Create, Zone: zone, Record: r}}
	if existing != nil {
		a.Verb, a.ID, a.status = Update, existing.ID, existing.Status
		if a.keep = existing.Same(r) && clusterOf(existing.Description) == p.want.Cluster; a.keep {
			a.Record = existing.Record
		}
	}
	p.plan.actions = append(p.plan.actions, a)
}

func (p *clusterPlanner) remove(set *markedSet) {
	op := Operation{Verb: Delete, Zone: p.state.zones.byID(set.ZoneID), ID: set.ID, Record: set.Record}
	p.plan.actions = append(p.plan.actions, clusterAction{Operation: op, status: set.Status})
}

// pointers plans the PTRs of the API's addresses: in reverse zones of the project, and those of other floating IPs by Designate's own way.
func (p *clusterPlanner) pointers() {
	target := apiName(p.want.Cluster, p.want.Zone)
	wanted := map[string]bool{}
	for _, address := range p.want.API {
		name := ReverseName(address)
		if wanted[name] {
			continue
		}
		wanted[name] = true
		r := Record{Name: name, Type: PTR, TTL: p.want.TTL, Targets: []string{target}}
		zone, _, placed := p.state.zones.Match(name)
		i := slices.IndexFunc(p.state.floating, func(f FloatingIP) bool { return f.Address == address.Unmap() })
		switch {
		case placed:
			p.plan.ptrs++
			p.pointer(zone, r)
		case i >= 0:
			p.plan.ptrs++
			p.floating(&p.state.floating[i], r)
		default:
			p.warn(address, name, zone)
		}
	}
	for i := range p.state.sets {
		set := &p.state.sets[i]
		if set.Type == PTR && clusterOf(set.Description) == p.want.Cluster && belongs(p.want.Cluster, p.want.Zone, set.Record) && !wanted[set.Name] {
			p.remove(set)
		}
	}
	p.dropFloating(wanted)
}

func (p *clusterPlanner) warn(address netip.Addr, name string, zone Zone) {
	text := fmt.Sprintf("no PTR for %s: ", address)
	switch {
	case p.state.floatingErr != nil && noFloatingIPs(p.state.floatingErr):
		text += "this cloud's Designate knows no floating IPs"
	case p.state.floatingErr != nil:
		text += fmt.Sprintf("which floating IPs the project has is not known (%v)", p.state.floatingErr)
	default:
		text += "it is no floating IP of the project"
	}
	if zone.ID == "" {
		text += ", and no zone of the project contains " + name
	} else {
		text += fmt.Sprintf(", and the zone %s can't be written", zone)
	}
	p.plan.warnings = append(p.plan.warnings, text)
}

func (p *clusterPlanner) pointer(zone Zone, r Record) {
	var existing *markedSet
	for i := range p.state.sets {
		set := &p.state.sets[i]
		if set.ZoneID != zone.ID || set.Name != r.Name || set.Type != PTR && set.Type != CNAME {
			continue
		}
		if set.Type == CNAME && !p.want.Force {
			p.refuse(foreign(set.Record, set.Description))
			return
		}
		if set.Type == CNAME {
			p.remove(set)
			continue
		}
		if !p.mayChange(set) {
			return
		}
		existing = set
	}
	p.write(zone, existing, r)
}

// floating plans the PTR of a floating IP. The TTL that Designate shows may be the zone's own, so one of 0 is met by any.
func (p *clusterPlanner) floating(f *FloatingIP, r Record) {
	mine := clusterOf(f.Description) == p.want.Cluster
	if f.Target != "" && !mine && !p.want.Force {
		p.refuse(foreign(Record{Name: r.Name, Type: PTR, Targets: []string{f.Target}}, f.Description))
		return
	}
	a := clusterAction{Operation: Operation{Verb: Create, ID: f.Key, Record: r}, floatingIP: f, status: f.Status}
	if f.Target != "" {
		a.Verb = Update
		if a.keep = mine && f.Target == r.Targets[0] && (r.TTL == 0 || r.TTL == f.TTL); a.keep {
			a.Record.TTL = f.TTL
		}
	}
	p.plan.actions = append(p.plan.actions, a)
}

// dropFloating unsets the cluster's PTRs of floating IPs, but for those that are wanted.
func (p *clusterPlanner) dropFloating(wanted map[string]bool) {
	for i := range p.state.floating {
		f := &p.state.floating[i]
		r := Record{Name: ReverseName(f.Address), Type: PTR, TTL: f.TTL, Targets: []string{f.Target}}
		if f.Target != "" && clusterOf(f.Description) == p.want.Cluster && belongs(p.want.Cluster, p.want.Zone, r) && !wanted[r.Name] {
			p.plan.actions = append(p.plan.actions, clusterAction{Operation: Operation{Verb: Delete, ID: f.Key, Record: r}, floatingIP: f, status: f.Status})
		}
	}
}
