package designate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// RequestID is Designate's, of the write that this is the answer to; empty for a recordset that was listed.
	RequestID string
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
	err := errors.Join(nameErr, targetErr)
	if err == nil {
		err = errors.Join(checkNameOf(r.Type, out.Name), checkSet(out))
	}
	if err != nil {
		return out, &RecordError{Name: r.Name, Type: r.Type, Err: err}
	}
	return out, nil
}

// checkNameOf refuses the names that Designate refuses for records of one type only (designate/objects/rrdata_srv.py, rrdata_ns.py).
func checkNameOf(t Type, name string) error {
	switch t {
	case SRV:
		if labels := strings.SplitN(name, ".", 3); len(labels) < 3 || labels[0][0] != '_' || labels[1][0] != '_' {
			return fmt.Errorf("%w %q: that of an SRV record begins with a service and a protocol, such as _sip._tcp", ErrName, name)
		}
	case NS:
		if strings.HasPrefix(name, "*") {
			return fmt.Errorf("%w %q: a wildcard can't be delegated", ErrName, name)
		}
	default:
	}
	return nil
}

// checkSet refuses sets of values that can't be one recordset.
func checkSet(r Record) error {
	switch {
	case len(r.Targets) == 0:
		return fmt.Errorf("%w: there is none", ErrTarget)
	case r.Type == CNAME && len(r.Targets) > 1:
		return errManyCNAMEs
	}
	size := 0
	for _, target := range r.Targets {
		// Without compression the name stands before each record, with ten bytes of type, class, TTL and length. Strings of a TXT have a
		// length each, and what Designate wants is never shorter than what goes over the wire.
		size += len(r.Name) + 2 + 10 + len(WireTarget(r.Type, target))
	}
	if size > maxSetSize {
		return fmt.Errorf("%w: they are %d bytes together, at most %d fit into a DNS message", ErrTarget, size, maxSetSize)
	}
	return nil
}

// maxSetSize bounds a recordset in bytes on the wire. Designate stores larger ones, but its transfer to the name servers puts a whole
// recordset into one message of 65,535 bytes, and breaks off with one that does not fit (designate/mdns/handler.py): then the zone
// is never published again until that recordset has gone.
const maxSetSize = 60000

// clampTTL keeps 0 (the zone's own), and raises what the cloud would refuse.
func clampTTL(ttl, lowest int) int {
	if ttl <= 0 {
		return 0
	}
	return min(max(ttl, lowest), maxTTL)
}

// maxTTL is Designate's highest TTL (designate/objects/recordset.py), that of RFC 2181.
const maxTTL = 1<<31 - 1
