package designate

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"
)

// Records returns every record of the wanted zones, names and types, canonical and sorted by name and type. SOA and the zones' own NS
// are Designate's and never among them, nor is a record that a child zone hides.
func (s *Service) Records(ctx context.Context) ([]Record, error) {
	begin := time.Now()
	snap, err := s.inventory.Read(ctx)
	if err != nil {
		return nil, err
	}
	s.minTTL.Store(int64(snap.minTTL))
	records := make([]Record, 0, len(snap.sets))
	for _, set := range snap.sets {
		if zone, _, ok := snap.zones.Match(set.Name); !ok || zone.ID != set.ZoneID || zone.Managed(set.Name, set.Type) || !s.options.WantName(set.Name) {
			continue
		}
		records = append(records, set.Record)
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type)) })
	s.metrics.read(len(records), len(snap.zones.All()))
	s.options.Logger.DebugContext(ctx, "read the zones", slog.Int("zones", len(snap.zones.All())), slog.Int("records", len(records)),
		slog.Duration("took", time.Since(begin)))
	return records, nil
}
