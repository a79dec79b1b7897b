package designate

import (
	"context"
	"net/http"
	"net/url"
)

// markedSet is a recordset with its description, which says whose it is.
type markedSet struct {
	Recordset
	Description string
}

// wireMarkedSet is a recordset with its description.
type wireMarkedSet struct {
	wireRecordset

	Description *string `json:"description"`
}

func (w *wireMarkedSet) marked() markedSet {
	set := markedSet{Recordset: w.recordset()}
	if w.Description != nil {
		set.Description = *w.Description
	}
	return set
}

// marked lists recordsets with their descriptions.
func (a *api) marked(ctx context.Context, filter url.Values, path ...string) ([]markedSet, error) {
	var sets []markedSet
	err := listing(ctx, a, filter, func() { sets = nil }, func(w *wireMarkedSet) { sets = append(sets, w.marked()) }, func(w *wireMarkedSet) string { return w.ID }, "recordsets", path...)
	return sets, err
}

// markedWriter writes recordsets with a cluster's mark. What it finds in place of what it wanted to create, because somebody was faster or an
// answer was lost, it only takes for the cluster's when it has the mark.
type markedWriter struct {
	api   *api
	mark  string
	force bool
}

func (w *markedWriter) create(ctx context.Context, zoneID string, r Record) (Recordset, error) {
	body := w.body(r)
	body["name"], body["type"] = WireName(r.Name), r.Type
	return w.api.write(ctx, http.MethodPost, body, "zones", zoneID, "recordsets")
}

func (w *markedWriter) update(ctx context.Context, zoneID, id string, r Record) (Recordset, error) {
	return w.api.write(ctx, http.MethodPut, w.body(r), "zones", zoneID, "recordsets", id)
}

// replace writes over what has the mark, which is all that find finds, unless all may be taken over.
func (w *markedWriter) replace(ctx context.Context, there Recordset, r Record) (Recordset, error) {
	return w.update(ctx, there.ZoneID, there.ID, r)
}

func (w *markedWriter) body(r Record) map[string]any {
	body := wireBody(r)
	body["description"] = w.mark
	return body
}

func (w *markedWriter) remove(ctx context.Context, zoneID, id string) (requestID string, err error) {
	return w.api.remove(ctx, zoneID, id)
}

func (w *markedWriter) find(ctx context.Context, key Key) (Recordset, bool, error) {
	sets, err := w.api.marked(ctx, url.Values{"name": {WireName(key.Name)}, "type": {string(key.Type)}}, "zones", key.ZoneID, "recordsets")
	if err != nil {
		return Recordset{}, false, err
	}
	for i := range sets { // an asterisk in the name finds its siblings, too
		set := &sets[i]
		switch {
		case set.Name != key.Name || set.Type != key.Type:
		case set.Description == w.mark:
			return set.Recordset, true, nil
		case w.force:
			set.Targets = nil // it is never the same: it has no mark yet
			return set.Recordset, true, nil
		default:
			return Recordset{}, false, foreign(set.Record, set.Description)
		}
	}
	return Recordset{}, false, nil
}
