package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"mooring/pkg/kubernetes"
	"mooring/pkg/manila"
)

func sharesList() *mode {
	return &mode{
		name:  "list",
		short: "Lists the shares of a cluster with their volumes",
		long: "shares list lists the shares that PersistentVolumes of the cluster have, and with --cluster-id those that carry the cluster's id, too.\n" +
			"It has to read PersistentVolumes in Kubernetes, and shares and access rules in Manila.",
		tool:    true,
		options: &sharesListOptions{},
	}
}

type sharesListOptions struct{ shareOptions }

func (o *sharesListOptions) flags(f *pflag.FlagSet) {
	o.shareOptions.flags(f, "the cluster's name, as the controller has it; if it is not set, only shares that have a volume are listed")
}

// listedShare is a row.
type listedShare struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	SizeGiB  int          `json:"size_gib"`
	Status   string       `json:"status"`
	Protocol string       `json:"protocol"`
	Cluster  string       `json:"cluster,omitempty"`
	Rules    []listedRule `json:"rules"`
	PV       string       `json:"pv,omitempty"`
	PVC      string       `json:"pvc,omitempty"` // namespace/name
	PVPhase  string       `json:"pv_phase,omitempty"`
}

// listedRule is an access rule, without its key.
type listedRule struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	To    string `json:"to"`
	Level string `json:"level"`
	State string `json:"state"`
	// Nodes are those that it was made for; none: all.
	Nodes []string `json:"nodes,omitempty"`
}

func (r listedRule) String() string {
	s := r.Kind + ":" + r.To + ":" + r.Level
	if r.State != "active" {
		s += "(" + r.State + ")"
	}
	if len(r.Nodes) > 0 {
		s += "@" + strings.Join(r.Nodes, "+")
	}
	return s
}

func (o *sharesListOptions) run(ctx context.Context, p *process) error {
	defer o.kubernetes.Close()
	volumes, err := o.kubernetes.PersistentVolumes(ctx)
	if err != nil {
		return err
	}
	own := map[string]*kubernetes.PersistentVolume{} // by the share's id or name
	for i := range volumes {
		if v := &volumes[i]; slices.Contains(o.drivers, v.Driver) {
			for _, key := range []string{v.Handle, v.Attributes["shareID"], v.Attributes["shareName"]} {
				own[strings.ToLower(key)] = v
			}
		}
	}
	delete(own, "")
	volume := func(s *manila.Share) *kubernetes.PersistentVolume {
		if v := own[s.ID]; v != nil {
			return v
		}
		if v := own[strings.ToLower(s.Name)]; v != nil && v.Attributes["shareName"] == s.Name {
			return v
		}
		return nil
	}
	of := func(s *manila.Share) bool {
		return volume(s) != nil || o.clusterID != "" && s.Metadata[manila.ClusterKey] == o.clusterID
	}
	have, err := o.client(p).Inventory(ctx, of)
	if err != nil {
		return err
	}
	rows := []listedShare{}
	for _, s := range have.Shares {
		if of(s) {
			rows = append(rows, listed(s, have.Rules[s.ID], volume(s)))
		}
	}
	slices.SortFunc(rows, func(a, b listedShare) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return o.show(p, rows)
}

func listed(s *manila.Share, rules []manila.Rule, v *kubernetes.PersistentVolume) listedShare {
	row := listedShare{ID: s.ID, Name: s.Name, SizeGiB: s.SizeGiB, Status: s.Status, Protocol: s.Protocol, Cluster: s.Metadata[manila.ClusterKey], Rules: []listedRule{}}
	for i := range rules {
		r := &rules[i]
		row.Rules = append(row.Rules, listedRule{ID: r.ID, Kind: r.Kind, To: r.To, Level: r.Level, State: r.State, Nodes: r.Nodes()})
	}
	if v != nil {
		row.PV, row.PVPhase = v.Name, v.Phase
		if v.ClaimName != "" {
			row.PVC = v.ClaimNamespace + "/" + v.ClaimName
		}
	}
	return row
}

func (o *sharesListOptions) show(p *process, found []listedShare) error {
	var rows [][]string
	for i := range found {
		s := &found[i]
		var rules []string
		for _, r := range s.Rules {
			rules = append(rules, r.String())
		}
		rows = append(rows, []string{
			s.ID, orDash(s.Name), fmt.Sprintf("%dGi", s.SizeGiB), s.Protocol, s.Status, orDash(s.PV), orDash(s.PVC), orDash(strings.Join(rules, ",")),
		})
	}
	return show(p.env.Stdout, o.output, found, "SHARE NAME SIZE PROTOCOL STATUS PV PVC RULES", rows)
}
