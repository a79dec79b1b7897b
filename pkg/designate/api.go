package designate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/openstack"
)

// session is the part of an OpenStack session that this package needs: *openstack.Session has it.
type session interface {
	Client(ctx context.Context, t openstack.ServiceType) (*gophercloud.ServiceClient, error)
}

// api speaks to Designate. Its errors are those of openstack.Wrap.
type api struct {
	session session
	pages   pageSize
	ledger  ledger // of our writes

	// allProjects asks for the zones of every project, which only an administrator may.
	allProjects bool
}

// wireRecordset is a recordset as Designate shows it (designate/objects/adapters/api_v2/recordset.py).
type wireRecordset struct {
	ID      string   `json:"id"`
	ZoneID  string   `json:"zone_id"`
	Name    string   `json:"name"`
	Type    Type     `json:"type"`
	TTL     *int     `json:"ttl"`
	Records []string `json:"records"`
	Status  string   `json:"status"`
	Action  string   `json:"action"`
}

func (w *wireRecordset) recordset() Recordset {
	r := Recordset{ID: w.ID, ZoneID: w.ZoneID, Status: w.Status, Action: w.Action, Record: Record{Name: readName(w.Name), Type: w.Type}}
	if w.TTL != nil {
		r.TTL = *w.TTL
	}
	r.Targets = make([]string, 0, len(w.Records))
	for _, data := range w.Records {
		r.Targets = append(r.Targets, ReadTarget(w.Type, data))
	}
	r.Targets = sortedSet(r.Targets)
	return r
}

func (a *api) create(ctx context.Context, zoneID string, r Record) (Recordset, error) {
	body := wireBody(r)
	body["name"], body["type"] = WireName(r.Name), r.Type
	return a.write(ctx, http.MethodPost, body, "zones", zoneID, "recordsets")
}

func (a *api) update(ctx context.Context, zoneID, id string, r Record) (Recordset, error) {
	return a.write(ctx, http.MethodPut, wireBody(r), "zones", zoneID, "recordsets", id)
}

func (a *api) remove(ctx context.Context, zoneID, id string) (requestID string, err error) {
	return a.send(ctx, http.MethodDelete, nil, nil, "zones", zoneID, "recordsets", id)
}

// find looks a recordset up by name and type.
func (a *api) find(ctx context.Context, key Key) (set Recordset, found bool, err error) {
	end := a.ledger.begin(key.ZoneID)
	defer func() { end(false) }()
	query := url.Values{"name": {WireName(key.Name)}, "type": {string(key.Type)}}
	// The filter takes * for anything, so a wildcard record's name finds its siblings too: there may be pages of them.
	err = listing(ctx, a, query, func() { found = false }, func(w *wireRecordset) {
		if there := w.recordset(); there.Name == key.Name && there.Type == key.Type {
			set, found = there, true
		}
	}, func(w *wireRecordset) string { return w.ID }, "recordsets", "zones", key.ZoneID, "recordsets")
	return set, found && err == nil, err
}

// replace writes over nothing: what was not there when the changes were planned belongs to whoever made it since.
func (a *api) replace(_ context.Context, there Recordset, _ Record) (Recordset, error) {
	return Recordset{}, taken(there)
}

// wireBody is what create and update have in common. A null TTL is the zone's own.
func wireBody(r Record) map[string]any {
	records := make([]string, 0, len(r.Targets))
	for _, t := range r.Targets {
		records = append(records, WireTarget(r.Type, t))
	}
	body := map[string]any{"records": records, "ttl": nil}
	if r.TTL > 0 {
		body["ttl"] = r.TTL
	}
	return body
}

func (a *api) write(ctx context.Context, method string, body any, path ...string) (Recordset, error) {
	var out wireRecordset
	requestID, err := a.send(ctx, method, body, &out, path...)
	if err != nil {
		return Recordset{}, err
	}
	set := out.recordset()
	set.RequestID = requestID
	return set, nil
}

func (a *api) get(ctx context.Context, out any, query url.Values, path ...string) error {
	return a.stream(ctx, query, func(body io.Reader) error { return json.NewDecoder(body).Decode(out) }, path...)
}

// pageTimeout bounds one GET, with what the transport tries again: a page of a thousand recordsets takes seconds.
const pageTimeout = 3 * time.Minute

// stream makes a GET, and lets read have the body as it comes.
func (a *api) stream(ctx context.Context, query url.Values, read func(body io.Reader) error, path ...string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	client, err := a.session.Client(ctx, openstack.DNS)
	if err != nil {
		return openstack.Wrap(err)
	}
	address := client.ServiceURL(path...)
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	response, err := client.Request(ctx, http.MethodGet, address, &gophercloud.RequestOpts{KeepResponseBody: true, MoreHeaders: a.headers(), OkCodes: []int{http.StatusOK}})
	if err != nil {
		return openstack.Wrap(err)
	}
	defer func() { _ = response.Body.Close() }() // it is read, or an error is on its way
	return openstack.Wrap(read(response.Body))
}

func (a *api) send(ctx context.Context, method string, body, out any, path ...string) (requestID string, err error) {
	if method != http.MethodGet && len(path) > 1 && path[0] == "zones" {
		end := a.ledger.begin(path[1])
		defer func() { end(err == nil) }()
	}
	client, err := a.session.Client(ctx, openstack.DNS)
	if err != nil {
		return "", openstack.Wrap(err)
	}
	client.MoreHeaders = a.headers()
	return exchange(ctx, client, method, client.ServiceURL(path...), body, out)
}

func (a *api) headers() map[string]string {
	if a.allProjects {
		return map[string]string{"X-Auth-All-Projects": "true"}
	}
	return nil
}

func exchange(ctx context.Context, client *gophercloud.ServiceClient, method, address string, body, out any) (requestID string, err error) {
	options := &gophercloud.RequestOpts{JSONBody: body, JSONResponse: out, OkCodes: []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent}}
	response, err := client.Request(ctx, method, address, options) //nolint:bodyclose // gophercloud reads and closes it
	if err != nil {
		return "", openstack.Wrap(err)
	}
	return openstack.RequestID(response.Header), nil
}

// errorType is Designate's own name of an error ("marker_not_found"), or empty.
func errorType(err error) string {
	var response gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &response) {
		return ""
	}
	var body struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(response.Body, &body) != nil {
		return ""
	}
	return body.Type
}

// describe adds what was being done.
func describe(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
