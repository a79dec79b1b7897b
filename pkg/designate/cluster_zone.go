package designate

import (
	"fmt"
	"slices"
	"strings"
)

// pickZone finds the zone that is meant by a name, an id or both, among all that the project can see. Errors match ErrZone and say what
// there is instead.
func pickZone(all []Zone, name, id string) (Zone, error) {
	var found []Zone
	for _, z := range all {
		if (name == "" || z.Name == name) && (id == "" || z.ID == id) {
			found = append(found, z)
		}
	}
	switch {
	case len(found) == 0:
		return Zone{}, noZone(all, name, id)
	case len(found) > 1:
		var ids []string
		for _, z := range found {
			ids = append(ids, fmt.Sprintf("%s (pool %s, project %s)", z.ID, z.PoolID, z.ProjectID))
		}
		return Zone{}, fmt.Errorf("%w: there are %d of the name %s, say which one by its id: %s", ErrZone, len(found), name, strings.Join(ids, ", "))
	case found[0].deleting:
		return Zone{}, fmt.Errorf("%w %s is being deleted", ErrZone, found[0])
	case !found[0].primary:
		return Zone{}, fmt.Errorf("%w %s is a secondary one: its records are those of its master, and can't be written here", ErrZone, found[0])
	}
	return found[0], nil
}

// noZone says what there is instead of a zone.
func noZone(all []Zone, name, id string) error {
	const most = 20
	var names []string
	for _, z := range all {
		names = append(names, z.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	wanted := strings.TrimSpace(name + " " + id)
	if len(names) == 0 {
		return fmt.Errorf("%w: there is no %s: the project has no zones, make one with \"openstack zone create\"", ErrZone, wanted)
	}
	return fmt.Errorf("%w: there is no %s among those that the project can see: %s%s", ErrZone, wanted, strings.Join(names, ", "), more)
}

// only leaves out the zones that have the picked zone's name and are not it, so that names are matched to the one that was meant.
func only(all []Zone, picked Zone) Zones {
	return NewZones(slices.DeleteFunc(slices.Clone(all), func(z Zone) bool { return z.Name == picked.Name && z.ID != picked.ID }))
}

// within returns the picked zone and the ones below a domain of it that can be written: a cluster's names may have a zone of their own.
func within(zones Zones, picked Zone, below string) []Zone {
	found := []Zone{picked}
	for _, z := range zones.All() {
		if z.ID != picked.ID && (z.Name == below || strings.HasSuffix(z.Name, "."+below)) && zones.Usable(z) {
			found = append(found, z)
		}
	}
	return found
}
