package designate

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"sync/atomic"

	"mooring/pkg/openstack"
)

// pageSize is the largest page that the cloud has not refused so far: an index into pageSizes. It only grows, so it is found out once.
type pageSize struct{ step atomic.Int32 }

// pageSizes are tried in turn. "max" is the cloud's own largest page (1000 by default); without a limit a page has 20 entries, which makes
// 502 calls of ten thousand recordsets.
func pageSizes() []string { return []string{"max", "500", "100", ""} }

// maxRestarts is how often a list is begun again because the entry that its next page was to follow has gone.
const maxRestarts = 5

// errNoPages is returned when a list never ends: a page that has no new entries but says that there are more.
var errNoPages = errors.New("designate: the list goes on without new entries")

// page is one page of a list.
type page[T any] struct {
	entries []T
	more    bool
}

// readPages reads all pages of a list and hands each entry to add. Pages are asked for by the id of the last entry (marker), never by
// the links in the answer: behind a proxy those lead elsewhere. When an entry that a page was to follow has gone meanwhile, everything
// is read again, after reset.
func readPages[T any](ctx context.Context, sizes *pageSize, get func(ctx context.Context, query url.Values) (page[T], error), id func(T) string, reset func(), add func(T)) error {
	marker, restarts := "", 0
	for {
		step := sizes.step.Load()
		p, err := get(ctx, pageQuery(step, marker))
		switch {
		case err == nil:
		case errorType(err) == "marker_not_found" && restarts < maxRestarts:
			marker, restarts = "", restarts+1
			reset()
			continue
		case errors.Is(err, openstack.ErrInvalid) && errorType(err) != "marker_not_found" && int(step) < len(pageSizes())-1:
			sizes.step.CompareAndSwap(step, step+1)
			continue
		default:
			return err
		}
		for _, entry := range p.entries {
			add(entry)
		}
		if !p.more || len(p.entries) == 0 {
			return nil
		}
		last := id(p.entries[len(p.entries)-1])
		if last == marker {
			return errNoPages
		}
		marker = last
	}
}

func pageQuery(step int32, marker string) url.Values {
	query := url.Values{}
	if size := pageSizes()[step]; size != "" {
		query.Set("limit", size)
	}
	if marker != "" {
		query.Set("marker", marker)
	}
	return query
}

// wireZone is a zone as GET /v2/zones shows it (designate/objects/adapters/api_v2/zone.py).
type wireZone struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	PoolID    string      `json:"pool_id"`
	ProjectID string      `json:"project_id"`
	Type      string      `json:"type"`
	TTL       int         `json:"ttl"`
	Version   int64       `json:"version"`
	Serial    json.Number `json:"serial"`
	Status    string      `json:"status"`
	Action    string      `json:"action"`
}

func (w *wireZone) zone() Zone {
	serial, err := w.Serial.Int64()
	if err != nil {
		serial = 0 // an unknown serial is never relied upon alone
	}
	return Zone{
		ID: w.ID, Name: readName(w.Name), PoolID: w.PoolID, ProjectID: w.ProjectID, TTL: w.TTL,
		Validator: Validator{Version: w.Version, Serial: serial, Status: w.Status, Action: w.Action},
		primary:   w.Type != "SECONDARY", deleting: w.Action == "DELETE",
	}
}

// zones lists every zone that the project can see.
func (a *api) zones(ctx context.Context) ([]Zone, error) {
	var zones []Zone
	get := func(ctx context.Context, query url.Values) (page[wireZone], error) {
		var body struct {
			Zones []wireZone `json:"zones"`
			Links pageLinks  `json:"links"`
		}
		err := a.get(ctx, &body, query, "zones")
		return page[wireZone]{body.Zones, body.Links.Next != ""}, err
	}
	err := readPages(ctx, &a.pages, get, func(w wireZone) string { return w.ID },
		func() { zones = nil }, func(w wireZone) { zones = append(zones, w.zone()) })
	return zones, describe(err, "listing zones")
}

// recordsets lists the recordsets of a zone that keep wants.
func (a *api) recordsets(ctx context.Context, zone Zone, keep func(Type) bool) ([]Recordset, error) {
	var sets []Recordset
	get := func(ctx context.Context, query url.Values) (page[wireRecordset], error) {
		var body struct {
			Recordsets []wireRecordset `json:"recordsets"`
			Links      pageLinks       `json:"links"`
		}
		err := a.get(ctx, &body, query, "zones", zone.ID, "recordsets")
		return page[wireRecordset]{body.Recordsets, body.Links.Next != ""}, err
	}
	add := func(w wireRecordset) {
		if keep(w.Type) {
			sets = append(sets, w.recordset())
		}
	}
	err := readPages(ctx, &a.pages, get, func(w wireRecordset) string { return w.ID }, func() { sets = nil }, add)
	return sets, describe(err, "listing recordsets of zone %s", zone)
}

// pageLinks says whether there are more pages: Designate sets next on every full page.
type pageLinks struct {
	Next string `json:"next"`
}
