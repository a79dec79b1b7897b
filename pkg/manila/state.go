package manila

import (
	"fmt"
	"slices"
	"strings"
)

// Phase is what a share's status means for us.
type Phase int

// The phases.
const (
	PhaseUnknown      Phase = iota // a status that this version has never heard of: wait for another
	PhasePending                   // on its way to be usable
	PhaseReady                     // usable
	PhaseBusy                      // usable, but Manila takes no changes before it is done
	PhaseDegraded                  // usable; an operation on it failed
	PhaseFailed                    // never was usable
	PhaseDeleting                  // on its way out
	PhaseDeleteFailed              // stuck on its way out
	PhaseForeign                   // leaves, or left, this project or Manila
)

// phases has every status of manila/common/constants.py, up to Manila 2026.1.
func phases() map[string]Phase {
	return map[string]Phase{
		"creating": PhasePending, "creating_from_snapshot": PhasePending, "manage_starting": PhasePending,
		"available": PhaseReady, "inactive": PhaseReady,
		"extending": PhaseBusy, "shrinking": PhaseBusy, "migrating": PhaseBusy, "migrating_to": PhaseBusy, "replication_change": PhaseBusy,
		"restoring": PhaseBusy, "reverting": PhaseBusy, "server_migrating": PhaseBusy, "server_migrating_to": PhaseBusy, "network_change": PhaseBusy,
		"backup_creating": PhaseBusy, "backup_restoring": PhaseBusy, "ensuring": PhaseBusy,
		"extending_error": PhaseDegraded, "shrinking_error": PhaseDegraded, "shrinking_possible_data_loss_error": PhaseDegraded,
		"reverting_error": PhaseDegraded, "backup_restoring_error": PhaseDegraded,
		"error":    PhaseFailed,
		"deleting": PhaseDeleting, "error_deleting": PhaseDeleteFailed,
		"unmanage_starting": PhaseForeign, "unmanage_error": PhaseForeign, "unmanaged": PhaseForeign, "manage_error": PhaseForeign, "manage_error_unmanage_starting": PhaseForeign,
		"awaiting_transfer": PhaseForeign, "deleted": PhaseDeleting,
	}
}

// Classify gives the phase of a status.
func Classify(status string) Phase { return phases()[status] }

// Usable says whether a share of this phase can be mounted.
func (p Phase) Usable() bool { return p == PhaseReady || p == PhaseBusy || p == PhaseDegraded }

// Action is the next thing to do.
type Action string

// The actions. Those that observe again (Look…) are made after a pause.
const (
	ActionCreate      Action = "create"       // POST the share
	ActionLook        Action = "look"         // read the share again
	ActionLookExports Action = "look exports" // read the export locations
	ActionListRules   Action = "list rules"   // read all rules, without a pause
	ActionGrant       Action = "grant"        // POST the rule of Step.Grant
	ActionDeny        Action = "deny"         // remove the rule of Step.Rule
	ActionLookRules   Action = "look rules"   // read the rules again
	ActionMark        Action = "mark"         // add Step.Key to the metadata of the rule of Step.Rule
	ActionUnmark      Action = "unmark"       // take it out
	ActionLookAll     Action = "look all"     // read the share again, which tells of its rules, too
	ActionDelete      Action = "delete"       // DELETE the share
	ActionDone        Action = "done"
	ActionFail        Action = "fail" // with Step.Err
)

// Step is what Next decides.
type Step struct {
	Action Action
	Grant  Grant
	Rule   string
	Key    string
	Err    error
}

// Observed is what is known of a share.
type Observed struct {
	// Share is nil when there is none.
	Share *Share
	// Ours says that this very call created the share, so nobody else has made rules, and a failure has not been told yet.
	Ours bool
	// Exports are the usable export locations; Looked says that they were asked for since the share's status was last seen.
	Exports []Export
	Looked  bool
	// Rules are valid when RulesKnown. Granted are the ids of those that this very call made.
	Rules      []Rule
	RulesKnown bool
	Granted    []string
	// Denied are the ids of rules that this very call removed.
	Denied []string
	// Crowded says that shares are read together with others: then that costs less than what has to be asked for one by one.
	Crowded bool
	// Refused says that Manila has refused to delete the share in its current status.
	Refused bool
}

// Next decides what to do for the share that spec wants; a nil spec wants it gone.
func Next(spec *Spec, o *Observed) Step {
	if spec == nil {
		return nextAbsent(o)
	}
	if o.Share == nil {
		return Step{Action: ActionCreate}
	}
	if step, settled := nextShare(spec, o); settled {
		return step
	}
	return nextRules(spec, o)
}

// nextShare decides about the share itself; settled is false when it is good and its rules are next.
func nextShare(spec *Spec, o *Observed) (step Step, settled bool) {
	phase := Classify(o.Share.Status)
	switch phase {
	case PhaseDeleting: // of an earlier life: a new one comes when it is gone
		return Step{Action: ActionLook}, true
	case PhaseDeleteFailed:
		return Step{Action: ActionFail, Err: ErrDeleteFailed}, true
	case PhaseForeign:
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: it is %s", ErrIncompatible, o.Share.Status)}, true
	case PhaseFailed:
		return nextFailed(spec, o), true
	default:
	}
	if !o.Ours {
		if err := compatible(spec, o.Share); err != nil {
			return Step{Action: ActionFail, Err: err}, true
		}
	}
	switch {
	case len(o.Exports) > 0: // Manila writes them when the back end has made the share, a moment before the status
		return Step{}, false
	case phase.Usable() || phase == PhasePending && !o.Looked && !o.Crowded:
		return Step{Action: ActionLookExports}, true
	default:
		return Step{Action: ActionLook}, true
	}
}

// nextFailed: the call that made the share tells what happened; the next one makes room for a new try. But a share that was usable once
// may have data: people see to that one.
func nextFailed(spec *Spec, o *Observed) Step {
	switch {
	case o.Ours:
		return Step{Action: ActionFail, Err: ErrShareFailed}
	case o.Share.Metadata[ClusterKey] != spec.Cluster:
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: it is in error and not of this cluster", ErrIncompatible)}
	case len(o.Exports) > 0:
		return notReplaced("it has export locations, so it was usable once")
	case !o.Looked:
		return Step{Action: ActionLookExports}
	case !o.RulesKnown:
		return Step{Action: ActionListRules}
	case o.Refused:
		return Step{Action: ActionFail, Err: ErrDeleteFailed}
	}
	for i := range o.Rules {
		if r := &o.Rules[i]; !r.ownedBy(spec.Cluster) {
			return notReplaced(fmt.Sprintf("its access rule %s for %s %s is somebody else's", r.ID, r.Kind, r.To))
		}
	}
	return Step{Action: ActionDelete}
}

func notReplaced(why string) Step {
	return Step{Action: ActionFail, Err: fmt.Errorf("%w, and is not replaced, for %s: have it repaired (openstack share set --status available), or delete it when nobody needs it", ErrShareFailed, why)}
}

func nextRules(spec *Spec, o *Observed) Step {
	if !o.RulesKnown && !o.Ours && len(spec.Grants) > 0 {
		return Step{Action: ActionListRules}
	}
	wait := false
	for _, g := range spec.Grants {
		i := slices.IndexFunc(o.Rules, func(r Rule) bool { return g.matches(&r) })
		if i < 0 {
			if phase := Classify(o.Share.Status); phase == PhaseBusy || phase == PhaseUnknown {
				return Step{Action: ActionLook}
			}
			return Step{Action: ActionGrant, Grant: g}
		}
		w := wish{Grant: g, cluster: spec.Cluster, anyLevel: spec.AnyLevel}
		step, ok := w.nextRule(&o.Rules[i], slices.Contains(o.Granted, o.Rules[i].ID))
		if !ok {
			return step
		}
		wait = wait || step.Action == ActionLookRules
	}
	if wait {
		return Step{Action: lookAtRules(o)}
	}
	return Step{Action: ActionDone}
}

// lookAtRules picks how rules are looked at that are on their way: with the share, when all of them are ours and what is waited for
// is no key. A list tells that of many shares at once, or of one and of others that have its name.
func lookAtRules(o *Observed) Action {
	if o.Ours && !slices.ContainsFunc(o.Rules, keyless) {
		return ActionLookAll
	}
	return ActionLookRules
}

// keyless says whether all that a rule still lacks is its key.
func keyless(r Rule) bool {
	return (r.State == "active" || r.State == "") && r.Kind == KindCephx && r.Key == ""
}

func nextAbsent(o *Observed) Step {
	if o.Share == nil {
		return Step{Action: ActionDone}
	}
	switch Classify(o.Share.Status) {
	case PhaseDeleting, PhasePending, PhaseBusy, PhaseUnknown:
		return Step{Action: ActionLook}
	case PhaseDeleteFailed:
		return Step{Action: ActionFail, Err: ErrDeleteFailed}
	case PhaseForeign:
		return Step{Action: ActionFail, Err: fmt.Errorf("%w: it is %s", ErrDeleteFailed, o.Share.Status)}
	default:
		if o.Refused {
			return Step{Action: ActionFail, Err: ErrDeleteFailed}
		}
		return Step{Action: ActionDelete}
	}
}

// compatible says whether a share that exists is what the spec asks for.
func compatible(spec *Spec, s *Share) error {
	differs := func(what, has, wants string) error {
		return fmt.Errorf("%w: its %s is %s, and %s is wanted", ErrIncompatible, what, has, wants)
	}
	if s.SizeGiB < spec.SizeGiB {
		return differs("size", fmt.Sprintf("%d GiB", s.SizeGiB), fmt.Sprintf("%d GiB", spec.SizeGiB))
	}
	if spec.MaxGiB > 0 && s.SizeGiB > spec.MaxGiB {
		return differs("size", fmt.Sprintf("%d GiB", s.SizeGiB), fmt.Sprintf("at most %d GiB", spec.MaxGiB))
	}
	optional := func(has, wants string) bool { return wants != "" && wants != has }
	switch {
	case s.Protocol != spec.Protocol:
		return differs("protocol", s.Protocol, spec.Protocol)
	case optional(s.Type, spec.Type) && spec.Type != s.TypeID:
		return differs("type", s.Type, spec.Type)
	case !spec.fits(s.Zone):
		return differs("availability zone", s.Zone, spec.zones())
	case optional(s.NetworkID, spec.NetworkID):
		return differs("share network", s.NetworkID, spec.NetworkID)
	case s.Metadata[ClusterKey] != "" && !spec.owns(s):
		return differs("cluster", s.Metadata[ClusterKey], spec.Cluster)
	}
	return sameSource(spec, s)
}

// sameSource says whether a share that exists was filled from what the spec asks for.
func sameSource(spec *Spec, s *Share) error {
	if from := s.Metadata[ClonedFromKey]; spec.CloneOf != from {
		return fmt.Errorf("%w: its source volume is %s, and %s is wanted", ErrIncompatible, orNone(from), orNone(spec.CloneOf))
	}
	if spec.CloneOf == "" && !strings.EqualFold(spec.SnapshotID, s.SnapshotID) { // a clone's is gone
		return fmt.Errorf("%w: its source snapshot is %s, and %s is wanted", ErrIncompatible, orNone(s.SnapshotID), orNone(spec.SnapshotID))
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
