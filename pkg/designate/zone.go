package designate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Zone is a zone of Designate as far as this package needs it.
type Zone struct {
	ID        string
	Name      string // canonical
	PoolID    string
	ProjectID string
	TTL       int // seconds
	// Validator changes whenever anything in the zone does, as far as Designate tells.
	Validator Validator

	primary  bool
	deleting bool
	unchosen bool // Options leave it out

	touched time.Time // when it was last written to or reported on, by Designate's clock; zero is unknown
}

// Validator is what tells one state of a zone from another. Version is raised by every write to the zone or its recordsets and
// once more when they turn ACTIVE; it is 0 when the cloud does not show it, and then nothing may be concluded from equality.
// Serial alone is unsafe: newer releases raise it late and in batches.
type Validator struct {
	Version int64
	Serial  int64
	Status  string
	Action  string
}

// A Reason says why a name can't be written. It is part of metrics, so it is one of a few words.
type Reason string

// The reasons for leaving a name alone.
const (
	NoZone        Reason = "no_zone"         // no zone of this project contains the name
	SecondaryZone Reason = "secondary_zone"  // its zone is a copy of another server's
	DeletingZone  Reason = "deleting_zone"   // its zone is being deleted
	AmbiguousZone Reason = "ambiguous_zone"  // two zones of that name (two pools): which is meant is unknown
	UnchosenZone  Reason = "unchosen_zone"   // its zone is none of those that were chosen by id or pool
	ManagedRecord Reason = "managed_record"  // SOA, and NS at the apex, belong to Designate
	TypeNotServed Reason = "type_not_served" // records of its type are not served
)

// Zones finds the zone of a name. The zero value knows no zones.
type Zones struct {
	all    []Zone
	byName map[string][]int
}

// NewZones indexes zones. It must be given every zone that the project can see, the unusable ones too: a name inside a child zone
// belongs to the child even when the child can't be written, and Designate refuses it in the parent.
func NewZones(zones []Zone) Zones {
	z := Zones{all: slices.Clone(zones), byName: make(map[string][]int, len(zones))}
	slices.SortFunc(z.all, func(a, b Zone) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	for i := range z.all {
		z.byName[z.all[i].Name] = append(z.byName[z.all[i].Name], i)
	}
	return z
}

// All returns every zone, sorted by name and then by id. The slice is shared: don't change it.
func (z Zones) All() []Zone { return z.all }

// byID returns the zone with an id; without one it is the zero value.
func (z Zones) byID(id string) Zone {
	if i := slices.IndexFunc(z.all, func(zone Zone) bool { return zone.ID == id }); i >= 0 {
		return z.all[i]
	}
	return Zone{}
}

// Match returns the zone that a canonical name belongs to: the one with the longest name that the name equals or ends in.
// When that zone can't be written, ok is false and reason says why.
func (z Zones) Match(name string) (zone Zone, reason Reason, ok bool) {
	if len(name) > 4*maxNameLength { // \ddd is the longest form of a byte; a megabyte of dots would keep the loop busy for hours
		return Zone{}, NoZone, false
	}
	for suffix := name; ; {
		if found := z.byName[suffix]; len(found) > 0 {
			return z.pick(found)
		}
		_, rest, more := strings.Cut(suffix, ".")
		if !more {
			return Zone{}, NoZone, false
		}
		suffix = rest
	}
}

// pick chooses among zones of one name.
func (z Zones) pick(found []int) (zone Zone, reason Reason, ok bool) {
	usable := -1
	first := slices.IndexFunc(found, func(i int) bool { return !z.all[i].unchosen })
	if first < 0 {
		return z.all[found[0]], UnchosenZone, false
	}
	reason = SecondaryZone
	for _, i := range found {
		switch zone := &z.all[i]; {
		case zone.unchosen:
		case zone.deleting:
			reason = DeletingZone
		case !zone.primary:
		case usable >= 0:
			return *zone, AmbiguousZone, false
		default:
			usable = i
		}
	}
	if usable < 0 {
		return z.all[found[first]], reason, false
	}
	return z.all[usable], "", true
}

// Usable reports whether records can be written to the zone, and is the only one of its name.
func (z Zones) Usable(zone Zone) bool {
	match, _, ok := z.Match(zone.Name)
	return ok && match.ID == zone.ID
}

// Managed reports whether a recordset belongs to Designate itself: the SOA, and the NS of the zone's own name.
func (z Zone) Managed(name string, t Type) bool { return t == SOA || t == NS && name == z.Name }

func (z Zone) String() string { return fmt.Sprintf("%s (%s)", z.Name, z.ID) }
