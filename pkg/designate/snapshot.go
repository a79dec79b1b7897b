package designate

import (
	"iter"
	"slices"
)

// snapshot is the state of all zones at one time. It is never changed.
type snapshot struct {
	zones  Zones
	sets   map[string]*sets // by zone id; of every type
	types  []Type           // that are of interest
	minTTL int
}

func (s *snapshot) lookup(key Key) (Recordset, bool) {
	zone := s.sets[key.ZoneID]
	if zone == nil || !slices.Contains(s.types, key.Type) {
		return Recordset{}, false
	}
	return zone.find(key.ZoneID, key.Name, key.Type)
}

// visible returns the recordsets that are neither Designate's own nor hidden by a child zone, zone after zone, sorted by name and
// type. One without any data, which Designate allows, says nothing and is left out.
func (s *snapshot) visible(want func(name string) bool) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, zone := range s.zones.All() {
			packed := s.sets[zone.ID]
			if packed == nil {
				continue
			}
			for set := range packed.all(zone.ID) {
				match, _, ok := s.zones.Match(set.Name)
				switch {
				case !ok, match.ID != zone.ID, len(set.Targets) == 0, !slices.Contains(s.types, set.Type), zone.Managed(set.Name, set.Type), !want(set.Name):
				default:
					if !yield(set.Record) {
						return
					}
				}
			}
		}
	}
}
