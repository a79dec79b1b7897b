package manila

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"mooring/pkg/openstack"
)

// replicasGraduated is the microversion from which replicas are no experiment.
var replicasGraduated = openstack.Microversion{Major: 2, Minor: 56} //nolint:gochecknoglobals // a constant

// Severity is how bad an illness is.
type Severity int

// The severities.
const (
	Degraded     Severity = iota // the share can be used, with less than it should have
	Inaccessible                 // the share can't be used
	DataLoss                     // the share has lost data, or may have
)

// Illness is something that is wrong with a share. There is one per severity and reason.
type Illness struct {
	Severity Severity
	// Reason is one word in CamelCase; Message says it for people.
	Reason, Message string
}

// Health is what is wrong with a share; it is well without illnesses.
type Health struct {
	ShareID   string
	Illnesses []Illness
}

// Replica is one of the copies of a share that is replicated.
type Replica struct {
	ID     string `json:"id"`
	Share  string `json:"share_id"`
	Zone   string `json:"availability_zone"`
	Status string `json:"status"`
	// State is active, in_sync, out_of_sync or error; empty while the replica is made.
	State string `json:"replica_state"`
}

// Diagnose says what is wrong with a share: by its status, by that of all its access rules, and by its replicas.
func Diagnose(s *Share, replicas []Replica) []Illness {
	var found []Illness
	if i := diagnoseStatus(s.Status); i != nil {
		found = append(found, *i)
	}
	if s.RulesStatus == "error" {
		found = append(found, Illness{Degraded, "AccessRulesError", "Manila could not apply an access rule: not every node has the access that it should have"})
	}
	return append(found, diagnoseReplicas(s, replicas)...)
}

// diagnoseStatus is nil for a status that is good, or that ends by itself.
func diagnoseStatus(status string) *Illness {
	severity := Degraded
	switch phase := Classify(status); {
	case status == "inactive":
	case status == "shrinking_possible_data_loss_error":
		severity = DataLoss
	case phase == PhaseFailed || phase == PhaseDeleteFailed:
		severity = Inaccessible
	case phase != PhaseDegraded:
		return nil
	}
	return &Illness{severity, "Share" + camelCase(status), "the share is " + status}
}

// camelCase turns one of Manila's words into one of CSI's: extending_error is ExtendingError.
func camelCase(word string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(word, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// diagnoseReplicas: clients use the active replica; the others have to be in sync to replace it.
func diagnoseReplicas(s *Share, replicas []Replica) (found []Illness) {
	if !s.HasReplicas || len(replicas) == 0 {
		return nil
	}
	bad := map[string][]string{}
	active := false
	for i := range replicas {
		r := &replicas[i]
		active = active || r.State == "active"
		name := fmt.Sprintf("replica %s in zone %s is ", r.ID, orNone(r.Zone))
		switch {
		case r.State == "error" || Classify(r.Status) == PhaseFailed || Classify(r.Status) == PhaseDeleteFailed:
			bad["ReplicaError"] = append(bad["ReplicaError"], name+cmp.Or(r.State, "without a state")+" and "+r.Status)
		case r.State == "out_of_sync":
			bad["ReplicaOutOfSync"] = append(bad["ReplicaOutOfSync"], name+"out of sync")
		}
	}
	if !active {
		found = append(found, Illness{Inaccessible, "NoActiveReplica", fmt.Sprintf("none of the share's %d replicas is active", len(replicas))})
	}
	for _, reason := range slices.Sorted(maps.Keys(bad)) {
		found = append(found, Illness{Degraded, reason, strings.Join(bad[reason], "; ")})
	}
	return found
}

// explainIllnesses adds what Manila last said of the share to what is wrong with the share itself.
func explainIllnesses(found []Illness, message string) {
	for i := range found {
		if message != "" && !strings.Contains(found[i].Reason, "Replica") {
			found[i].Message += " (" + message + ")"
		}
	}
}

// ShareHealth diagnoses one share. The error is openstack.ErrNotFound when there is none.
func (c *Client) ShareHealth(ctx context.Context, id string) (*Health, error) {
	a, valid, err := c.reach(ctx, id)
	if err != nil {
		return nil, err
	}
	share, err := a.whole(ctx, valid)
	if err != nil {
		return nil, err
	}
	var replicas []Replica
	if share.HasReplicas {
		if replicas, err = a.replicas(ctx, url.Values{"share_id": {valid}}); err != nil {
			return nil, err
		}
	}
	found := Diagnose(share, replicas)
	if len(found) > 0 {
		explainIllnesses(found, a.message(ctx, valid))
	}
	return &Health{ShareID: valid, Illnesses: found}, nil
}

// ListHealth lists the shares of the cluster, and of none, that are ill, as Shares does: up to limit (0: all) of them after the token.
// It costs one call per page, and one each for all replicas and for all of Manila's messages where there is need.
func (c *Client) ListHealth(ctx context.Context, cluster, token string, limit int) (found []Health, next string, err error) {
	a, err := connect(ctx, c.session)
	if err != nil {
		return nil, "", err
	}
	r := &survey{api: a, cluster: cluster}
	p := pager[*Share]{id: func(s *Share) string { return s.ID }, read: r.read, keep: func(s *Share) bool { return len(r.diagnose(s)) > 0 }}
	shares, next, err := p.page(ctx, token, limit)
	if err != nil || len(shares) == 0 {
		return nil, next, err
	}
	messages := a.messages(ctx)
	for _, s := range shares {
		illnesses := r.diagnose(s)
		explainIllnesses(illnesses, messages[s.ID])
		found = append(found, Health{ShareID: s.ID, Illnesses: illnesses})
	}
	return found, next, nil
}

// survey is one call of ListHealth.
type survey struct {
	api     *api
	cluster string

	replicas map[string][]Replica // by share; nil: not asked for yet
}

func (r *survey) read(ctx context.Context, offset, limit int) ([]*Share, error) {
	page, err := r.api.listShares(ctx, pageOf(nil, offset, limit))
	if err != nil || r.replicas != nil || !slices.ContainsFunc(page, func(s *Share) bool { return s.HasReplicas }) {
		return page, err
	}
	all, err := r.api.replicas(ctx, url.Values{})
	if err != nil {
		return nil, err
	}
	r.replicas = map[string][]Replica{}
	for _, replica := range all {
		r.replicas[replica.Share] = append(r.replicas[replica.Share], replica)
	}
	return page, nil
}

func (r *survey) diagnose(s *Share) []Illness {
	if !mayOwn(r.cluster, s.Metadata) || !s.known() {
		return nil
	}
	return Diagnose(s, r.replicas[s.ID])
}

// whole reads a share as lists have it, with the status of its rules.
func (a *api) whole(ctx context.Context, id string) (*Share, error) {
	var body struct {
		Share *listedShare `json:"share"`
	}
	err := a.read(ctx, "shares/"+id, &body)
	if err == nil && (body.Share == nil || body.Share.ID != id) {
		err = errNoAnswer("share")
	}
	if err != nil {
		return nil, fmt.Errorf("reading share %s: %w", id, err)
	}
	return body.Share.share(), nil
}

// replicas reads the replicas that a filter leaves; none where the API has them as an experiment only, or keeps them
// from us.
func (a *api) replicas(ctx context.Context, filter url.Values) (out []Replica, err error) {
	if !a.has(replicasGraduated) {
		return nil, nil
	}
	for {
		var body struct {
			Replicas []Replica `json:"share_replicas"`
		}
		filter.Set("limit", strconv.Itoa(pageSize))
		filter.Set("offset", strconv.Itoa(len(out)))
		if err := a.read(ctx, "share-replicas/detail?"+filter.Encode(), &body); err != nil {
			if errors.Is(err, openstack.ErrForbidden) {
				return nil, nil // by policy; then nothing is known of them
			}
			return nil, fmt.Errorf("listing replicas: %w", err)
		}
		out = append(out, body.Replicas...)
		if len(body.Replicas) < fullPage {
			return out, nil
		}
	}
}

// messages are Manila's newest messages about shares, by share; those of the newest page.
func (a *api) messages(ctx context.Context) map[string]string {
	var body struct {
		Messages []struct {
			Resource string `json:"resource_id"`
			Text     string `json:"user_message"`
		} `json:"messages"`
	}
	query := url.Values{"resource_type": {"SHARE"}, "sort_key": {"created_at"}, "sort_dir": {"desc"}, "limit": {strconv.Itoa(pageSize)}}
	if err := a.read(ctx, "messages?"+query.Encode(), &body); err != nil {
		return nil // a diagnosis without them is one, too
	}
	newest := map[string]string{}
	for _, m := range body.Messages {
		if newest[m.Resource] == "" {
			newest[m.Resource] = m.Text
		}
	}
	return newest
}
