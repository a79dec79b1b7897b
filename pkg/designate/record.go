package designate

import (
	"errors"
	"slices"
)

// Record is a set of records of one name and type, in canonical form.
type Record struct {
	Name    string // canonical, see CanonicalName
	Type    Type
	TTL     int      // seconds; 0 = the zone's own
	Targets []string // canonical, sorted, without duplicates, see CanonicalTargets

	// Owner is the name of the record that this one says something about: ExternalDNS's ownership TXT names it. Empty for a record that
	// stands for itself. It is not stored in Designate; it only orders the writes.
	Owner string
}

// Key names a recordset: Designate has at most one for each.
type Key struct {
	ZoneID string
	Name   string // canonical
	Type   Type
}

// Recordset is a Record that Designate holds.
type Recordset struct {
	ID     string
	ZoneID string
	Record
	Status string // ACTIVE, PENDING, ERROR
	Action string // NONE, CREATE, UPDATE, DELETE
}

// Key returns the recordset's key.
func (r Recordset) Key() Key { return Key{ZoneID: r.ZoneID, Name: r.Name, Type: r.Type} }

// Same reports whether two records say the same: TTL and targets. It does not look at name and type.
func (r Record) Same(o Record) bool { return r.TTL == o.TTL && slices.Equal(r.Targets, o.Targets) }

// Canonical returns the record in canonical form, with the TTL raised to minTTL unless it is 0.
// Errors list everything that is wrong with it and match ErrName, ErrTarget or ErrType.
func (r Record) Canonical(minTTL int) (Record, error) {
	out := r
	var nameErr, targetErr error
	out.Name, nameErr = CanonicalName(r.Name)
	out.Targets, targetErr = CanonicalTargets(r.Type, r.Targets)
	out.TTL = clampTTL(r.TTL, minTTL)
	if r.Owner != "" {
		if owner, err := CanonicalName(r.Owner); err == nil {
			out.Owner = owner
		}
	}
	if err := errors.Join(nameErr, targetErr); err != nil {
		return out, &RecordError{Name: r.Name, Type: r.Type, Err: err}
	}
	if len(out.Targets) == 0 {
		return out, &RecordError{Name: r.Name, Type: r.Type, Err: ErrTarget}
	}
	if r.Type == CNAME && len(out.Targets) > 1 {
		return out, &RecordError{Name: r.Name, Type: r.Type, Err: errManyCNAMEs}
	}
	return out, nil
}

// clampTTL keeps 0 (the zone's own), and raises what the cloud would refuse.
func clampTTL(ttl, lowest int) int {
	if ttl <= 0 {
		return 0
	}
	return min(max(ttl, lowest), maxTTL)
}

// maxTTL is Designate's highest TTL (designate/objects/recordset.py), that of RFC 2181.
const maxTTL = 1<<31 - 1
