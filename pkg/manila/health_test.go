package manila_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/manila"
)

// TestDiagnose is the table of what is wrong with a share.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	const (
		ok   = manila.Degraded
		gone = manila.Inaccessible
		lost = manila.DataLoss
	)
	status := func(s manila.Severity, reason, of string) []manila.Illness {
		return []manila.Illness{{Severity: s, Reason: reason, Message: "the share is " + of}}
	}
	replica := func(state, status string) manila.Replica {
		return manila.Replica{ID: "r-" + state, Zone: "z", State: state, Status: status}
	}
	for _, c := range []struct {
		name     string
		share    manila.Share
		replicas []manila.Replica
		want     []manila.Illness
	}{
		{name: "well", share: manila.Share{Status: "available", RulesStatus: "active"}},
		{name: "busy", share: manila.Share{Status: "extending", RulesStatus: "syncing"}},
		{name: "coming", share: manila.Share{Status: "creating"}},
		{name: "going", share: manila.Share{Status: "deleting"}},
		{name: "unknown", share: manila.Share{Status: "dancing"}},
		{name: "error", share: manila.Share{Status: "error"}, want: status(gone, "ShareError", "error")},
		{name: "stuck", share: manila.Share{Status: "error_deleting"}, want: status(gone, "ShareErrorDeleting", "error_deleting")},
		{name: "inactive", share: manila.Share{Status: "inactive"}, want: status(ok, "ShareInactive", "inactive")},
		{name: "extend failed", share: manila.Share{Status: "extending_error"}, want: status(ok, "ShareExtendingError", "extending_error")},
		{name: "revert failed", share: manila.Share{Status: "reverting_error"}, want: status(ok, "ShareRevertingError", "reverting_error")},
		{
			name: "shrunk too far", share: manila.Share{Status: "shrinking_possible_data_loss_error"},
			want: status(lost, "ShareShrinkingPossibleDataLossError", "shrinking_possible_data_loss_error"),
		},
		{
			name: "rules", share: manila.Share{Status: "available", RulesStatus: "error"},
			want: []manila.Illness{{ok, "AccessRulesError", "Manila could not apply an access rule: not every node has the access that it should have"}},
		},
		{
			name: "replicas are in sync", share: manila.Share{Status: "available", HasReplicas: true},
			replicas: []manila.Replica{replica("active", "available"), replica("in_sync", "available"), replica("", "creating")},
		},
		{
			name: "replicas are not", share: manila.Share{Status: "available", HasReplicas: true},
			replicas: []manila.Replica{replica("active", "available"), replica("out_of_sync", "available"), replica("error", "error"), replica("in_sync", "error")},
			want: []manila.Illness{
				{ok, "ReplicaError", "replica r-error in zone z is error and error; replica r-in_sync in zone z is in_sync and error"},
				{ok, "ReplicaOutOfSync", "replica r-out_of_sync in zone z is out of sync"},
			},
		},
		{
			name: "no replica is active", share: manila.Share{Status: "available", HasReplicas: true}, replicas: []manila.Replica{replica("in_sync", "available")},
			want: []manila.Illness{{gone, "NoActiveReplica", "none of the share's 1 replicas is active"}},
		},
		{name: "nothing is known of its replicas", share: manila.Share{Status: "available", HasReplicas: true}},
		{
			name: "all at once", share: manila.Share{Status: "error", RulesStatus: "error", HasReplicas: true}, replicas: []manila.Replica{replica("active", "error")},
			want: []manila.Illness{
				{gone, "ShareError", "the share is error"},
				{ok, "AccessRulesError", "Manila could not apply an access rule: not every node has the access that it should have"},
				{ok, "ReplicaError", "replica r-active in zone z is active and error"},
			},
		},
	} {
		if diff := cmp.Diff(c.want, manila.Diagnose(&c.share, c.replicas)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
	}
}
