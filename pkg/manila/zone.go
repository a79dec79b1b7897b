package manila

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"mooring/pkg/openstack"
)

// fits says whether a share in a zone is where the spec wants it. An old Manila does not tell the zone.
func (s *Spec) fits(zone string) bool {
	switch {
	case zone == "":
		return true
	case len(s.Zones) > 0:
		return slices.Contains(s.Zones, zone)
	default:
		return s.Zone == "" || s.Zone == zone
	}
}

// zones are those of a spec, for people.
func (s *Spec) zones() string {
	if len(s.Zones) > 0 {
		return strings.Join(s.Zones, " or ")
	}
	return s.Zone
}

// zone is where the next try to make the share goes; empty: where Manila wants.
func (p *provision) zone() (string, error) {
	if len(p.spec.Zones) == 0 {
		return p.spec.Zone, nil
	}
	for _, zone := range p.spec.Zones {
		if p.refused[zone] == nil {
			return zone, nil
		}
	}
	errs := make([]error, 0, len(p.spec.Zones))
	for _, zone := range p.spec.Zones {
		errs = append(errs, fmt.Errorf("%s: %w", zone, p.refused[zone]))
	}
	return "", fmt.Errorf("%w: %w", ErrZones, errors.Join(errs...))
}

// refuse notes that a zone of several has no place for the share.
func (p *provision) refuse(ctx context.Context, zone string, cause error) {
	if p.refused == nil {
		p.refused = map[string]error{}
	}
	p.refused[zone] = cause
	p.client.options.Logger.WarnContext(ctx, "an availability zone does not take the share", slog.String("name", p.spec.Name), slog.String("zone", zone), slog.Any("error", cause))
}

// refusedZone knows the answers by which Manila refuses a zone: it has none of that name, the share type is not for it, or a snapshot
// or a share group is elsewhere (_create in manila/api/v1/shares.py, create in manila/share/api.py).
func refusedZone(err error) bool {
	e, ok := errors.AsType[*openstack.Error](err)
	if !ok || !errors.Is(err, openstack.ErrNotFound) && !errors.Is(err, openstack.ErrInvalid) {
		return false
	}
	return strings.Contains(strings.ToLower(e.Message), "availability zone") || strings.Contains(e.Message, "Share cannot have AZ")
}

// learn takes from a share in error that an earlier call has made which zone has no place: a call that had too little time for all zones goes on
// with the next one.
func (p *provision) learn(ctx context.Context, m *message) {
	if o := &p.seen; m.action == actionAllocate && slices.Contains(p.spec.Zones, o.Share.Zone) && p.refused[o.Share.Zone] == nil {
		p.refuse(ctx, o.Share.Zone, fmt.Errorf("%w: share %s: %s", ErrShareFailed, o.Share.ID, m.text))
	}
}

// elsewhere says whether a share for which the scheduler found no host, in one of several zones, goes to the next one. The share
// in error is then replaced in this very call: nothing is left if no zone has a place.
func (p *provision) elsewhere(ctx context.Context, m *message) bool {
	o := &p.seen
	if len(p.spec.Zones) == 0 || !o.Ours || m.action != actionAllocate {
		return false
	}
	p.refuse(ctx, p.at, fmt.Errorf("%w: share %s: %s", ErrShareFailed, o.Share.ID, m.text))
	o.Ours, o.Looked, o.RulesKnown = false, true, true // without a host it has no exports, and takes no rules
	return true
}
