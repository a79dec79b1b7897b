package designate

import "time"

// A cause says why a zone's recordsets are read. It is part of metrics, so it is one of a few words.
type cause string

// The causes of reads.
const (
	kept        cause = ""            // nothing is read: what is known is still true
	coldZone    cause = "cold"        // nothing is known of it
	changedZone cause = "changed"     // others may have written to it
	unversioned cause = "unversioned" // the cloud shows no version, so that nothing can be concluded
	unsettled   cause = "unsettled"   // it was read while we wrote to it
	refreshZone cause = "refresh"     // it is time to read all of it once more
)

func causes() []cause { return []cause{coldZone, changedZone, unversioned, unsettled, refreshZone} }

// sighting is one look at a zone: what the list of zones showed, and where our own writes were.
type sighting struct {
	validator Validator
	mark      mark
	touched   time.Time // Zone.touched
}

// judge says whether what was read under an earlier sighting of a zone, together with our own writes since, is all that there is at a later
// one: kept, or the cause of a read. It is pure.
//
// The version tells. Every write to a recordset raises it, in the transaction that changes the recordset and in the database itself, so
// that no write is lost (designate/sqlalchemy/base.py, _apply_version_increment); so does every report of the worker that a serial was
// reached or missed, even of a serial that is no longer the last (central/service.py, update_status). A write leaves the zone
// PENDING, and only a report ends that. So there was no write but our own
//
//   - if the version rose by no more than one for each of our writes, or
//   - if it rose by one more, and the zone is not PENDING: the last to raise it was a report.
//
// Each of our writes counts only once Designate has confirmed it. One whose answer got lost, or that was sent twice, makes the version rise
// further than that, and so does a second report: the zone is read once more than it had to be, and never once too few.
func judge(then, now sighting) cause {
	own := int64(now.mark.writes - then.mark.writes)
	rise := now.validator.Version - then.validator.Version
	switch {
	case then.validator.Version == 0 || now.validator.Version == 0:
		return unversioned
	case !then.mark.quiet:
		return unsettled
	case now.validator == then.validator && own == 0:
		return kept
	case rise <= 0:
		return changedZone
	case rise == own, rise == own+1 && now.validator.Status != "PENDING":
		return kept
	default:
		return changedZone
	}
}
