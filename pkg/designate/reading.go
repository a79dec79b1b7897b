package designate

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"time"

	"mooring/pkg/poll"
)

// Stream returns every record of the wanted zones, names and types, canonical, zone after zone and there sorted by name and type, and at the end the
// PTRs of floating IPs. SOA and the zones' own NS are Designate's and never among them, nor is a record that a child zone hides. Nothing is asked any more when it has
// returned. It matches ErrReading when a large zone is still being read.
func (s *Service) Stream(ctx context.Context) (iter.Seq[Record], error) {
	begin := time.Now()
	snap, err := s.inventory.Read(ctx)
	if err != nil {
		return nil, err
	}
	s.minTTL.Store(int64(snap.minTTL))
	waiting, cancel := context.WithDeadline(ctx, begin.Add(s.options.Deadline)) // nobody waits any longer for a Neutron that hangs
	defer cancel()
	floating := s.floating.records(waiting)
	return func(yield func(Record) bool) {
		n := 0
		for r := range snap.visible(s.options.WantName) {
			if n++; !yield(r) {
				return
			}
		}
		for _, r := range floating {
			if !slices.Contains(s.options.Types, r.Type) || !s.options.WantName(r.Name) {
				continue
			}
			if n++; !yield(r) {
				return
			}
		}
		s.metrics.read(n, len(snap.zones.All()))
		s.options.Logger.DebugContext(ctx, "showed the zones", slog.Int("zones", len(snap.zones.All())), slog.Int("records", n), slog.Duration("took", time.Since(begin)))
	}, nil
}

// Prefetch reads everything, so that it is there when it is asked for, and tries again until it has. It leaves that to a request that
// came before.
func (s *Service) Prefetch(ctx context.Context) error {
	backoff := poll.Backoff{First: time.Second, Max: 30 * time.Second, Factor: 2, Jitter: 0.2}
	return poll.Until(ctx, backoff, func(ctx context.Context) (bool, error) {
		if s.inventory.begun() {
			return true, nil
		}
		_, err := s.inventory.Read(ctx)
		if err != nil && !errors.Is(err, ErrReading) {
			s.options.Logger.DebugContext(ctx, "the zones can't be read ahead yet, trying again", slog.Any("error", err))
		}
		return err == nil || errors.Is(err, ErrReading), nil
	})
}

// Close ends the reading in the background, and waits for that. Afterwards nothing can be read.
func (s *Service) Close() { s.inventory.Close() }

// chosen says whether a zone is one of those that were chosen by id and pool.
func (o *Options) chosen(z Zone) bool {
	return (len(o.ZoneIDs) == 0 || slices.Contains(o.ZoneIDs, z.ID)) && (len(o.PoolIDs) == 0 || slices.Contains(o.PoolIDs, z.PoolID))
}
