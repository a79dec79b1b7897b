package designate

import (
	"context"
	"io"
	"net/url"
	"time"
)

// recent is what changed in a zone since some time.
type recent struct {
	sets  []Recordset // created or updated since then; there may be older ones
	total int         // recordsets that the zone has
	whole bool        // that nothing is missing; else the zone has to be listed
}

// recentPage is how many changes are asked for: two such pages are a small part of what a zone costs for which that is worth while. More changes
// than that are read with the rest of the zone.
const recentPage = "500"

// recent asks for the recordsets of a zone that were created, and for those that were updated, since a time by Designate's clock: the latest first.
func (a *api) recent(ctx context.Context, zone Zone, since time.Time) (recent, error) {
	created, err := a.latest(ctx, zone, "created_at", since)
	if err != nil || !created.whole {
		return created, err
	}
	updated, err := a.latest(ctx, zone, "updated_at", since)
	if err != nil {
		return updated, err
	}
	// A deleted recordset is in neither page: the numbers must agree to tell.
	updated.whole = updated.whole && updated.total == created.total
	updated.sets = append(created.sets, updated.sets...)
	return updated, nil
}

// wireDatedSet is a recordset with the times of its life, which Designate writes in UTC.
type wireDatedSet struct {
	wireRecordset

	Created wireTime `json:"created_at"`
	Updated wireTime `json:"updated_at"` // null when it never was
}

// latest asks for the first page of recordsets by a time, the latest first.
func (a *api) latest(ctx context.Context, zone Zone, key string, since time.Time) (r recent, err error) {
	query := url.Values{"sort_key": {key}, "sort_dir": {"desc"}, "limit": {recentPage}}
	var back goesBack
	add := func(w *wireDatedSet) {
		if key == "created_at" {
			back.add(time.Time(w.Created), since)
		} else {
			back.add(time.Time(w.Updated), since)
		}
		r.sets = append(r.sets, w.recordset())
	}
	err = a.stream(ctx, query, func(body io.Reader) error {
		p, err := readPage(body, "recordsets", add, func(w *wireDatedSet) string { return w.ID })
		r.total, r.whole = p.total, back.whole(p)
		return err
	}, "zones", zone.ID, "recordsets")
	return r, describe(err, "listing recent changes of zone %s", zone)
}

// goesBack tells whether a page, the latest entry first, goes back beyond a time. Databases differ in where they put entries without one, so a page
// that begins with such says nothing, and neither does one that is not sorted.
type goesBack struct {
	entries      int
	last         time.Time
	told, beyond bool
	unsorted     bool
}

func (g *goesBack) add(at, since time.Time) {
	if g.entries == 0 {
		g.told = !at.IsZero()
	} else if at.After(g.last) {
		g.unsorted = true
	}
	g.entries++
	g.beyond = g.beyond || at.Before(since)
	g.last = at
}

// whole reports whether no entry since the time is missing from the page.
func (g *goesBack) whole(p page) bool {
	return p.total > 0 && (p.entries == p.total || g.told && g.beyond && !g.unsorted)
}

// wireTime is a time as Designate writes it (designate/utils.py, DATETIME_FORMAT); null and what is no time are zero.
type wireTime time.Time

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *wireTime) UnmarshalText(text []byte) error {
	if at, err := time.Parse("2006-01-02T15:04:05", string(text)); err == nil { // it takes fractions, too
		*t = wireTime(at)
	}
	return nil
}
