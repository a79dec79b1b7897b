package designate

import (
	"context"
	"errors"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"

	"mooring/pkg/openstack"
)

// inventory is what is known of the cloud's zones and recordsets. Read asks the cloud; between two reads, Fold keeps it in step with
// our own writes. It is safe for concurrent use; what it hands out is never changed afterwards.
type inventory struct {
	api  *api
	keep func(Type) bool   // which types are of interest
	want func(string) bool // which zones, by canonical name, are of interest
	read int               // zones read at once

	mu      sync.Mutex
	current *snapshot
	limits  *cloudLimits
	writes  int // how often Fold was called: a read that overlaps with writes of ours does not know them all
}

// snapshot is the state of all zones at one time.
type snapshot struct {
	zones  Zones
	sets   map[Key]Recordset
	minTTL int
}

func (s *snapshot) lookup(key Key) (Recordset, bool) {
	set, ok := s.sets[key]
	return set, ok
}

// Read lists zones and then recordsets. Zones come first, so that their validators are never newer than the recordsets read under them.
func (v *inventory) Read(ctx context.Context) (*snapshot, error) {
	v.mu.Lock()
	writes := v.writes
	v.mu.Unlock()
	limits, err := v.cloudLimits(ctx)
	if err != nil {
		return nil, err
	}
	list, err := v.api.zones(ctx)
	if err != nil {
		return nil, err
	}
	zones := NewZones(list)
	lists, err := v.readZones(ctx, zones)
	if err != nil {
		return nil, err
	}
	next := &snapshot{zones: zones, sets: map[Key]Recordset{}}
	if limits.MinTTL != nil {
		next.minTTL = *limits.MinTTL
	}
	for _, sets := range lists {
		for _, set := range sets {
			next.sets[set.Key()] = set
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.current = next; writes != v.writes {
		v.current = nil
	}
	return next, nil
}

// readZones lists the recordsets of all zones of interest, a few zones at a time.
func (v *inventory) readZones(ctx context.Context, zones Zones) ([][]Recordset, error) {
	all := zones.All()
	lists := make([][]Recordset, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(v.read)
	for i, zone := range all {
		if !zones.Usable(zone) || !v.want(zone.Name) {
			continue
		}
		group.Go(func() error {
			sets, err := v.api.recordsets(ctx, zone, v.keep)
			if errors.Is(err, openstack.ErrNotFound) {
				return nil // deleted since the zones were listed
			}
			lists[i] = sets
			return err
		})
	}
	return lists, group.Wait()
}

// cloudLimits asks once. A cloud that does not tell its limits has none that matter here.
func (v *inventory) cloudLimits(ctx context.Context) (cloudLimits, error) {
	v.mu.Lock()
	known := v.limits
	v.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	limits, err := v.api.limits(ctx)
	if err != nil && !errors.Is(err, openstack.ErrNotFound) && !errors.Is(err, openstack.ErrForbidden) {
		return cloudLimits{}, describe(err, "reading limits")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.limits = &limits
	return limits, nil
}

// Last returns what was read last, or nil.
func (v *inventory) Last() *snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.current
}

// Fold takes our own writes over. After a failure nothing is certain, so the next use reads again.
func (v *inventory) Fold(outcomes []outcome) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writes++
	if v.current == nil {
		return
	}
	next := &snapshot{zones: v.current.zones, minTTL: v.current.minTTL, sets: make(map[Key]Recordset, len(v.current.sets)+len(outcomes))}
	maps.Copy(next.sets, v.current.sets)
	for _, o := range outcomes {
		switch {
		case o.Err != nil:
			v.current = nil
			return
		case o.Recordset == nil:
			delete(next.sets, o.Operation.Key())
		default:
			next.sets[o.Operation.Key()] = *o.Recordset
		}
	}
	v.current = next
}
