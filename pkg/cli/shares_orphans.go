package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/kubernetes"
	"mooring/pkg/manila"
)

// orphanTimeout bounds the deletion of one orphan: Manila may take its time.
const orphanTimeout = 5 * time.Minute

func sharesOrphans() *mode {
	return &mode{
		name:  "orphans",
		short: "Finds shares, snapshots and access rules that carry a cluster's id and that the cluster does not know",
		long: "shares orphans finds what carries the cluster's id and what no PersistentVolume, VolumeSnapshotContent, waiting claim or node of the cluster knows:\n" +
			"shares, snapshots (from Manila's API 2.73 on; older ones can't tell whose a snapshot is) and access rules of nodes that are gone. Without --delete it\n" +
			"only says what it would delete. A share whose PersistentVolume was deleted while its reclaim policy was Retain is an orphan, too.\n" +
			"It has to list PersistentVolumes, PersistentVolumeClaims, VolumeSnapshotContents, VolumeAttachments and Nodes, and does nothing when it can't.",
		tool:    true,
		options: &sharesOrphansOptions{},
	}
}

type sharesOrphansOptions struct {
	shareOptions

	remove, evenIfEmpty bool
	minAge              time.Duration
}

func (o *sharesOrphansOptions) flags(f *pflag.FlagSet) {
	o.shareOptions.flags(f, "the cluster's name, as the controller has it: nothing that does not carry it is touched")
	f.BoolVar(&o.remove, "delete", false, "delete what is found, one after the other; each is looked at once more before")
	alone(f, "delete")
	f.DurationVar(&o.minAge, "min-age", time.Hour, "what is younger is left alone: its PersistentVolume may be still to come")
	f.BoolVar(&o.evenIfEmpty, "even-if-empty", false, "go on although the cluster knows nothing that carries its id: it is the right cluster")
}

func (o *sharesOrphansOptions) check(env *Env) []error {
	wrong := append(gather(required("cluster-id", o.clusterID, "the cluster's name, as the controller has it")), o.shareOptions.check(env)...)
	if o.minAge < 0 {
		wrong = append(wrong, fmt.Errorf("--min-age: %v is negative", o.minAge))
	}
	return wrong
}

// foundOrphan is a row: an orphan, and what became of it.
type foundOrphan struct {
	manila.Orphan

	Result string `json:"result"`
}

func (o *sharesOrphansOptions) run(ctx context.Context, p *process) error {
	defer o.kubernetes.Close()
	client := o.client(p)
	ours := func(s *manila.Share) bool { return s.Metadata[manila.ClusterKey] == o.clusterID }
	have, err := client.Inventory(ctx, ours)
	if err != nil {
		return fmt.Errorf("nothing was deleted, since not everything could be listed: %w", err)
	}
	known, err := o.known(ctx, have)
	if err != nil {
		return fmt.Errorf("nothing was deleted, since not everything could be listed: %w", err)
	}
	found := []foundOrphan{}
	for _, orphan := range manila.Orphans(o.clusterID, have, known, time.Now(), o.minAge) {
		found = append(found, foundOrphan{orphan, "would be deleted"})
	}
	var failed []error
	if o.remove {
		for i := range found {
			if found[i].Result, err = o.delete(ctx, client, have, &found[i].Orphan); err != nil {
				failed = append(failed, fmt.Errorf("%s %s: %w", found[i].Kind, found[i].ID, err))
			}
		}
	}
	return errors.Join(append(failed, o.show(p, found))...)
}

// delete removes an orphan, if it still is one. Manila is read before Kubernetes, here as in the beginning: what comes into use meanwhile
// is then known.
func (o *sharesOrphansOptions) delete(ctx context.Context, client *manila.Client, have *manila.Inventory, orphan *manila.Orphan) (result string, _ error) {
	ctx, cancel := context.WithTimeout(ctx, orphanTimeout)
	defer cancel()
	now, err := client.Reread(ctx, have, orphan)
	if err != nil {
		return "not deleted", err
	}
	known, err := o.known(ctx, now)
	if err != nil {
		return "not deleted", err
	}
	still := slices.ContainsFunc(manila.Orphans(o.clusterID, now, known, time.Now(), o.minAge), func(other manila.Orphan) bool {
		return other.Kind == orphan.Kind && other.ID == orphan.ID
	})
	if !still {
		return "no orphan any more", nil
	}
	if err := client.DeleteOrphan(ctx, orphan); err != nil {
		return "not deleted", err
	}
	return "deleted", nil
}

// known reads what the cluster knows. It is an error when something carries the id and the cluster knows nothing of that: then it is most
// likely another cluster, which may well have volumes of the driver.
func (o *sharesOrphansOptions) known(ctx context.Context, have *manila.Inventory) (*manila.Known, error) {
	known := &manila.Known{}
	claims, err := o.kubernetes.Claims(ctx) // before the volumes: one that has got its volume meanwhile has it in that list
	if err != nil {
		return nil, err
	}
	volumes, err := o.kubernetes.PersistentVolumes(ctx)
	if err != nil {
		return nil, err
	}
	known.Claims = knownClaims(claims, volumes)
	own := &manila.Known{}
	for i := range volumes {
		v := &volumes[i] // of any driver: what somebody has is no orphan
		known.Volumes = append(known.Volumes, manila.KnownVolume{Name: v.Name, Handle: v.Handle, ShareID: v.Attributes["shareID"], ShareName: v.Attributes["shareName"]})
		if slices.Contains(o.drivers, v.Driver) {
			own.Volumes = append(own.Volumes, known.Volumes[i])
		}
	}
	contents, err := o.kubernetes.SnapshotContents(ctx)
	if err != nil {
		return nil, err
	}
	for i, c := range contents {
		known.Contents = append(known.Contents, manila.KnownContent{VolumeHandle: c.VolumeHandle, Handles: c.Handles})
		if slices.Contains(o.drivers, c.Driver) {
			own.Contents = append(own.Contents, known.Contents[i])
		}
	}
	if o.marked(have) && !o.evenIfEmpty && !manila.Knows(o.clusterID, have, own) {
		return nil, fmt.Errorf("shares or snapshots carry the id %q, and the cluster of the kubeconfig has none of them in a PersistentVolume or VolumeSnapshotContent of %q: is it the right cluster? If it is, say --even-if-empty", o.clusterID, o.drivers)
	}
	attachments, err := o.kubernetes.Attachments(ctx)
	if err != nil {
		return nil, err
	}
	if known.Nodes, err = o.kubernetes.Nodes(ctx); err != nil {
		return nil, err
	}
	for _, a := range attachments {
		known.Nodes = append(known.Nodes, a.Node)
	}
	return known, nil
}

// knownClaims are claims as the decision needs them. One whose volume is not there, which Kubernetes calls Lost, has none: its data is all
// that is left.
func knownClaims(claims []kubernetes.Claim, volumes []kubernetes.PersistentVolume) []manila.KnownClaim {
	there := map[string]bool{}
	for i := range volumes {
		there[volumes[i].Name] = true
	}
	out := make([]manila.KnownClaim, 0, len(claims))
	for _, c := range claims {
		out = append(out, manila.KnownClaim{Namespace: c.Namespace, Name: c.Name, UID: c.UID, Bound: there[c.Volume]})
	}
	return out
}

// marked says whether anything carries the cluster's id.
func (o *sharesOrphansOptions) marked(have *manila.Inventory) bool {
	return slices.ContainsFunc(have.Shares, func(s *manila.Share) bool { return s.Metadata[manila.ClusterKey] == o.clusterID }) ||
		slices.ContainsFunc(have.Snapshots, func(s *manila.Snapshot) bool { return s.Metadata[manila.ClusterKey] == o.clusterID })
}

func (o *sharesOrphansOptions) show(p *process, found []foundOrphan) error {
	var rows [][]string
	for i := range found {
		f := &found[i]
		rows = append(rows, []string{string(f.Kind), f.ID, orDash(f.Name), f.Status, f.CreatedAt.UTC().Format(time.RFC3339), f.Result, f.Reason})
	}
	return show(p.env.Stdout, o.output, found, "KIND ID NAME STATUS CREATED RESULT REASON", rows)
}
