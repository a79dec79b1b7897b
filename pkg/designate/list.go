package designate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"sync/atomic"
	"time"

	"mooring/pkg/openstack"
)

// pageSize is the largest page that the cloud has not refused so far: an index into pageSizes. It only grows, so it is found out once.
type pageSize struct{ step atomic.Int32 }

// pageSizes are tried in turn. "max" is the cloud's own largest page (1000 by default); without a limit a page has 20 entries, which makes
// 502 calls of ten thousand recordsets.
func pageSizes() []string { return []string{"max", "500", "100", ""} }

// maxRestarts is how often a list is begun again because the entry that its next page was to follow has gone.
const maxRestarts = 5

var (
	// errEndless is matched when a page has no new entries, but says that there are more.
	errEndless = errors.New("the list goes on without new entries")
	// errNoList is matched when an answer is JSON, but no page of a list.
	errNoList = errors.New("the answer is no list")
)

// page is what is left of one page of a list once its entries are taken.
type page struct {
	entries int
	last    string // id of the last entry
	more    bool   // it has a link to the next page: Designate sets one on every full page
	total   int    // entries of the whole list; 0 when that is not told
	listed  bool   // it has the list at all, which may be empty
}

// readPages reads all pages of a list. Pages are asked for by the id of the last entry (marker), never by the links in the answer: behind a
// proxy those lead elsewhere. Entries come in the order of their creation, so none moves to another page; when the one that a page was to
// follow has gone meanwhile, everything is read again, after reset.
func readPages(ctx context.Context, sizes *pageSize, get func(ctx context.Context, query url.Values) (page, error), reset func()) error {
	restarts := 0
	var list progress
	for {
		step := sizes.step.Load()
		p, err := get(ctx, pageQuery(step, list.marker))
		switch {
		case err == nil:
		case errorType(err) == "marker_not_found" && restarts < maxRestarts:
			list, restarts = progress{}, restarts+1
			reset()
			continue
		case tooLarge(err) && int(step) < len(pageSizes())-1:
			sizes.step.CompareAndSwap(step, step+1)
			continue
		default:
			return err
		}
		if done, err := list.take(p); done || err != nil {
			return err
		}
	}
}

// progress is how far a list is read.
type progress struct {
	marker  string
	markers map[string]bool // all so far
	entries int
	total   int  // as every page so far told it
	moved   bool // they told different ones
}

// take notes a page, and says whether it was the last: it has no successor, or with it there are as many entries as the list has. The latter
// spares the empty page after a full one, but is relied upon only while the number stays the same.
func (l *progress) take(p page) (done bool, err error) {
	l.moved = l.moved || l.entries > 0 && p.total != l.total
	l.entries, l.total = l.entries+p.entries, p.total
	switch {
	case !p.more || p.entries == 0, l.total > 0 && l.entries >= l.total && !l.moved:
		return true, nil
	case p.last == "", l.markers[p.last]:
		return false, errEndless
	case l.markers == nil:
		l.markers = map[string]bool{}
	}
	l.marker, l.markers[p.last] = p.last, true
	return false, nil
}

// tooLarge reports whether a page may have been refused for its size: by Designate (invalid_limit) or something before it.
func tooLarge(err error) bool {
	return (errors.Is(err, openstack.ErrInvalid) || errors.Is(err, openstack.ErrQuota)) && errorType(err) != "marker_not_found"
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

// readPage reads one page of a list from a body, {"<collection>": […], "links": {"next": …}, "metadata": {"total_count": …}}, entry by
// entry: never more than one is there at a time. id returns an entry's id.
func readPage[T any](body io.Reader, collection string, add func(*T), id func(*T) string) (page, error) {
	var p page
	d := json.NewDecoder(body)
	if err := expect(d, json.Delim('{')); err != nil {
		return p, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return p, err
		}
		switch key {
		case collection:
			p.listed = true
			err = readEntries(d, func(entry *T) {
				p.entries++
				p.last = id(entry)
				add(entry)
			})
		case "links":
			var links struct {
				Next string `json:"next"`
			}
			err = d.Decode(&links)
			p.more = links.Next != ""
		case "metadata":
			var metadata struct {
				Total int `json:"total_count"`
			}
			err = d.Decode(&metadata)
			p.total = metadata.Total
		default:
			var other json.RawMessage
			err = d.Decode(&other)
		}
		if err != nil {
			return p, fmt.Errorf("%v: %w", key, err)
		}
	}
	if err := expect(d, json.Delim('}')); err != nil || p.listed {
		return p, err
	}
	return p, fmt.Errorf("%w: it has no %s", errNoList, collection) // what is not there is not empty
}

func readEntries[T any](d *json.Decoder, add func(*T)) error {
	if err := expect(d, json.Delim('[')); err != nil {
		return err
	}
	for d.More() {
		var entry T
		if err := d.Decode(&entry); err != nil {
			return err
		}
		add(&entry)
	}
	return expect(d, json.Delim(']'))
}

func expect(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%w: %v where %v must be", errNoList, token, want)
	}
	return nil
}

// listing asks for one page after the other of what passes a filter, which may be nil.
func listing[T any](ctx context.Context, a *api, filter url.Values, reset func(), add func(*T), id func(*T) string, collection string, path ...string) error {
	return readPages(ctx, &a.pages, func(ctx context.Context, query url.Values) (p page, err error) {
		maps.Copy(query, filter)
		err = a.stream(ctx, query, func(body io.Reader) (err error) {
			p, err = readPage(body, collection, add, id)
			return err
		}, path...)
		return p, err
	}, reset)
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
	Created   wireTime    `json:"created_at"`
	Updated   wireTime    `json:"updated_at"` // null when it never was
}

func (w *wireZone) zone() Zone {
	touched := time.Time(w.Updated)
	if touched.IsZero() {
		touched = time.Time(w.Created)
	}
	serial, err := w.Serial.Int64()
	if err != nil {
		serial = 0 // an unknown serial is never relied upon alone
	}
	return Zone{
		ID: w.ID, Name: readName(w.Name), PoolID: w.PoolID, ProjectID: w.ProjectID, TTL: w.TTL,
		Validator: Validator{Version: w.Version, Serial: serial, Status: w.Status, Action: w.Action},
		primary:   w.Type != "SECONDARY", deleting: w.Action == "DELETE", touched: touched,
	}
}

// zones lists every zone that the project can see.
func (a *api) zones(ctx context.Context) ([]Zone, error) {
	var zones []Zone
	err := listing(ctx, a, nil, func() { zones = nil }, func(w *wireZone) { zones = append(zones, w.zone()) }, func(w *wireZone) string { return w.ID }, "zones", "zones")
	return zones, describe(err, "listing zones")
}

// recordsets lists the recordsets of a zone.
func (a *api) recordsets(ctx context.Context, zone Zone) (*sets, error) {
	var p packer
	err := listing(ctx, a, nil, p.reset, func(w *wireRecordset) { p.add(w.recordset()) }, func(w *wireRecordset) string { return w.ID }, "recordsets", "zones", zone.ID, "recordsets")
	return p.sets(), describe(err, "listing recordsets of zone %s", zone)
}
