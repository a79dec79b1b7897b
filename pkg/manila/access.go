package manila

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// The metadata of access rules that the driver made (from microversion 2.45 on). ClusterKey is there, too, where the cluster has an id.
const (
	// ManagedByKey has the value ManagedBy.
	ManagedByKey = "manila.csi.openstack.org/managed-by"
	ManagedBy    = "mooring"
)

// ownMetadata is the metadata of a rule that the driver makes.
func ownMetadata(cluster string) map[string]string {
	m := map[string]string{ManagedByKey: ManagedBy}
	if cluster != "" {
		m[ClusterKey] = cluster
	}
	return m
}

// ownedBy says whether the driver made the rule, in this very cluster: only then it is the cluster's to change or to remove. A driver
// without a cluster id owns the rules that have none. Before 2.45 nothing tells, and no rule is owned.
func (r *Rule) ownedBy(cluster string) bool {
	return r.Metadata[ManagedByKey] == ManagedBy && r.Metadata[ClusterKey] == cluster
}

// wish is a rule that a cluster wants a share to have.
type wish struct {
	Grant

	cluster  string
	anyLevel bool // a rule of another level will do; else it is in the way, for Modify alone changes levels
}

// nextRule decides about the rule that stands where one is wanted. With ok others can be looked at first: it is active, or has to be
// waited for.
func (w *wish) nextRule(r *Rule, granted bool) (step Step, ok bool) {
	own := r.ownedBy(w.cluster)
	level := r.Level == w.Level || w.anyLevel
	switch r.State {
	case "active", "": // before 2.28 Manila has no states of rules
		switch {
		case level && keyless(*r): // the key follows
			return Step{Action: ActionLookRules}, true
		case level:
			return Step{Action: ActionDone}, true
		}
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: its rule for %s %s is %s, and %s is wanted%s", ErrIncompatible, r.Kind, r.To, r.Level, w.Level, r.advice(own))}, false
	case "error":
		switch {
		case granted:
			return Step{Action: ActionFail, Err: fmt.Errorf("%w: %s %s", ErrRuleFailed, r.Kind, r.To)}, false
		case own:
			return Step{Action: ActionDeny, Rule: r.ID}, false // of an earlier try: make room for a new one
		}
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: %s %s%s", ErrRuleFailed, r.Kind, r.To, r.advice(own))}, false
	default: // queued_to_apply, applying; queued_to_deny, denying: then it is granted anew
		return Step{Action: ActionLookRules}, true
	}
}

// advice is what to do about a rule in the way; nothing about one that the driver sees to itself.
func (r *Rule) advice(own bool) string {
	if own {
		return ""
	}
	return fmt.Sprintf("; the driver did not make that rule (%s) for this cluster and leaves it alone: remove it (openstack share access delete), or ask who made it", r.ID)
}

// CephxRules are the active cephx rules of a share with their keys: those for users in their order, then those that the driver has made for a
// cluster, the oldest first.
func (c *Client) CephxRules(ctx context.Context, share, cluster string, users ...string) ([]Rule, error) {
	a, valid, err := c.reach(ctx, share)
	if err != nil {
		return nil, err
	}
	rules, err := a.rules(ctx, valid)
	if err != nil {
		return nil, err
	}
	rules = slices.DeleteFunc(rules, func(r Rule) bool {
		return r.Kind != KindCephx || r.State != "active" || r.Key == "" || !r.ownedBy(cluster) && !slices.Contains(users, r.To)
	})
	place := func(r *Rule) int {
		if i := slices.Index(users, r.To); i >= 0 {
			return i
		}
		return len(users)
	}
	slices.SortFunc(rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(place(&a), place(&b)), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return rules, nil
}
