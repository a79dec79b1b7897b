package designate_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/designate"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// cloud is a simulated cloud with a tenant's session and a Service on it.
type cloud struct {
	*openstacksim.Cloud
	session *openstack.Session
}

func newCloud(t *testing.T, config openstacksim.DesignateConfig) *cloud {
	t.Helper()
	sim, err := openstacksim.Start(openstacksim.Config{Designate: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return (&cloud{Cloud: sim}).as(t, "demo")
}

// as is the same cloud for another user.
func (c *cloud) as(t *testing.T, name string) *cloud {
	t.Helper()
	pool := openstack.NewPool(openstack.Options{Rate: 100000, Burst: 100000})
	t.Cleanup(pool.Close)
	credential, err := openstack.Source{
		Cloud: name, CloudsFile: "clouds.yaml", LookupEnv: func(string) (string, bool) { return "", false },
		ReadFile: func(name string) ([]byte, error) {
			if name == "clouds.yaml" {
				return c.CloudsYAML(), nil
			}
			return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
		},
	}.Load()
	if err != nil {
		t.Fatal(err)
	}
	return &cloud{Cloud: c.Cloud, session: pool.Session(credential)}
}

func (c *cloud) service(o designate.Options) *designate.Service {
	return designate.New(c.session, o)
}

// zone makes a zone and returns its id.
func (c *cloud) zone(t *testing.T, name string) string {
	t.Helper()
	var out struct {
		ID string `json:"id"`
	}
	c.post(t, &out, map[string]any{"name": name + ".", "email": "hostmaster@" + name}, "zones")
	return out.ID
}

func (c *cloud) post(t *testing.T, out, body any, path ...string) {
	t.Helper()
	client, err := c.session.Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Request(t.Context(), "POST", client.ServiceURL(path...), &gophercloud.RequestOpts{JSONBody: body, JSONResponse: out, OkCodes: []int{201, 202}}) //nolint:bodyclose // gophercloud reads and closes it
	if err != nil {
		t.Fatal(err)
	}
}

// mustRecords asks as a client does: again, while a slow machine is still reading.
func mustRecords(t *testing.T, s *designate.Service) []designate.Record {
	t.Helper()
	list, err := s.Records(t.Context())
	for errors.Is(err, designate.ErrReading) {
		list, err = s.Records(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func mustApply(t *testing.T, s *designate.Service, c designate.Changes) designate.Result {
	t.Helper()
	result, err := s.Apply(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestServiceRoundTrip(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{MinTTL: 60})
	c.zone(t, "example.org")
	c.zone(t, "sub.example.org")
	s := c.service(designate.Options{})
	if list := mustRecords(t, s); len(list) != 0 {
		t.Fatalf("a fresh zone shows %v", list)
	}
	wanted := []designate.Record{
		rec("*.example.org", designate.A, 60, "192.0.2.1", "192.0.2.2"),
		rec("example.org", designate.AAAA, 0, "2001:db8::1"),
		rec("long.example.org", designate.TXT, 0, strings.Repeat("long \"quoted\" ü ", 60)),
		rec("sub.example.org", designate.A, 300, "192.0.2.3"),
		rec("www.sub.example.org", designate.CNAME, 0, "lb.example.net"),
		rec("xn--bcher-kva.example.org", designate.A, 0, "192.0.2.4"),
	}
	given := slices.Clone(wanted)
	given[0].TTL, given[5].Name = 5, "bücher.example.org"
	if result := mustApply(t, s, designate.Changes{Create: given}); result.Done != len(wanted) {
		t.Fatalf("%+v", result)
	}
	if diff := cmp.Diff(wanted, mustRecords(t, s)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for i, r := range given {
		if adjusted, err := s.Adjust(r); err != nil || cmp.Diff(wanted[i], adjusted) != "" {
			t.Errorf("Adjust: %+v, %v; want what Records shows: %+v", adjusted, err, wanted[i])
		}
	}
	if result := mustApply(t, s, designate.Changes{Create: given}); result.Done != 0 || result.Same != len(given) {
		t.Errorf("again: %+v, want nothing to do", result)
	}
	mustApply(t, s, designate.Changes{Delete: given})
	if list := mustRecords(t, s); len(list) != 0 {
		t.Errorf("after the delete: %v", list)
	}
}

// Two applies without a read between them: what the first one wrote is known to the second.
func TestApplyKeepsTheInventoryInStep(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.zone(t, "example.org")
	s := c.service(designate.Options{})
	mustRecords(t, s)
	www := rec("www.example.org", designate.A, 0, "192.0.2.1")
	mustApply(t, s, designate.Changes{Create: []designate.Record{www}})
	c.Calls.Reset()
	mustApply(t, s, designate.Changes{UpdateNew: []designate.Record{rec("www.example.org", designate.A, 0, "192.0.2.2")}})
	mustApply(t, s, designate.Changes{Delete: []designate.Record{www}})
	var calls []string
	for _, call := range c.Calls.All(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}) {
		calls = append(calls, call.Method)
	}
	if diff := cmp.Diff([]string{"PUT", "DELETE"}, calls); diff != "" {
		t.Errorf("calls: -want +got:\n%s", diff)
	}
}

func TestListingNegotiatesThePageSize(t *testing.T) {
	t.Parallel()
	const records = 230
	for name, test := range map[string]struct {
		config openstacksim.DesignateConfig
		first  int // calls of the first read: one for the limits, one for the zones, the recordsets' pages, and refusals
		again  int // of the second: one, because nothing has changed
	}{
		"limit=max":           {openstacksim.DesignateConfig{}, 3, 1},
		"limit=max of 100":    {openstacksim.DesignateConfig{MaxLimit: 100}, 5, 1},
		"no max":              {openstacksim.DesignateConfig{RefuseLimitMax: true}, 4, 1},
		"at most 100":         {openstacksim.DesignateConfig{RefuseLimitMax: true, RefuseLimitAbove: 100}, 7, 1},
		"only the default 20": {openstacksim.DesignateConfig{RefuseLimitMax: true, RefuseLimitAbove: 50}, 17, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, test.config)
			id := c.zone(t, "example.org")
			for i := range records {
				c.post(t, nil, map[string]any{"name": fmt.Sprintf("h%d.example.org.", i), "type": "A", "records": []string{"192.0.2.1"}}, "zones", id, "recordsets")
			}
			s := c.service(designate.Options{})
			for _, want := range []int{test.first, test.again} {
				c.Calls.Reset()
				list := mustRecords(t, s)
				if len(list) != records || len(slices.CompactFunc(list, func(a, b designate.Record) bool { return a.Name == b.Name })) != records {
					t.Fatalf("%d records, want %d different ones", len(list), records)
				}
				if got := c.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}); got != want {
					t.Errorf("%d calls, want %d", got, want)
				}
			}
		})
	}
}

// The recordset that the next page was to follow is deleted between two pages.
func TestListingRestartsWhenItsMarkerIsGone(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	id := c.zone(t, "example.org")
	c.post(t, nil, map[string]any{"name": "www.example.org.", "type": "A", "records": []string{"192.0.2.1"}}, "zones", id, "recordsets")
	body := `{"code": 400, "type": "marker_not_found", "message": "Marker None could not be found", "request_id": "req-1"}`
	page := `{"recordsets": [{"id": "gone", "zone_id": "` + id + `", "name": "gone.example.org.", "type": "A", "records": ["192.0.2.9"]}], "links": {"next": "http://elsewhere.invalid/"}}`
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: "GET", Path: "/recordsets$", Count: 1, Status: 200, Body: page})
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: "GET", Path: "/recordsets$", Count: 1, Status: 400, Body: body})
	want := []designate.Record{rec("www.example.org", designate.A, 0, "192.0.2.1")}
	if diff := cmp.Diff(want, mustRecords(t, c.service(designate.Options{}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRecordsShowsOnlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	id := c.zone(t, "example.org")
	for _, r := range []map[string]any{
		{"name": "www.example.org.", "type": "A", "records": []string{"192.0.2.1"}},
		{"name": "mail.example.org.", "type": "MX", "records": []string{"10 mx.example.org."}},
		{"name": "old.sub.example.org.", "type": "A", "records": []string{"192.0.2.1"}},
		{"name": "Mixed.example.org.", "type": "CNAME", "records": []string{"LB.example.net."}},
	} {
		c.post(t, nil, r, "zones", id, "recordsets")
	}
	c.zone(t, "sub.example.org") // from now on it hides what the parent has below it
	c.zone(t, "other.org")
	want := []designate.Record{rec("mixed.example.org", designate.CNAME, 0, "lb.example.net"), rec("www.example.org", designate.A, 0, "192.0.2.1")}
	types := []designate.Type{designate.A, designate.CNAME}
	if diff := cmp.Diff(want, mustRecords(t, c.service(designate.Options{Types: types}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	c.Calls.Reset()
	filtered := c.service(designate.Options{
		Types:    types,
		WantZone: func(name string) bool { return name == "example.org" }, WantName: func(name string) bool { return name == "www.example.org" },
	})
	if diff := cmp.Diff(want[1:], mustRecords(t, filtered)); diff != "" {
		t.Errorf("filtered: -want +got:\n%s", diff)
	}
	if n := c.Calls.Count(openstacksim.CallFilter{Path: "/recordsets$"}); n != 1 {
		t.Errorf("%d zones were read, want the wanted one", n)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.zone(t, "example.org")
	var log strings.Builder
	s := c.service(designate.Options{DryRun: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c.Calls.Reset()
	result := mustApply(t, s, designate.Changes{Create: []designate.Record{rec("www.example.org", designate.A, 0, "192.0.2.1")}})
	if !result.DryRun || result.Done != 0 || c.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Method: "POST"}) != 0 {
		t.Errorf("%+v: a dry run wrote", result)
	}
	if !strings.Contains(log.String(), "dry run: would write") || !strings.Contains(log.String(), "www.example.org") {
		t.Errorf("the log does not tell what would be written: %s", log.String())
	}
}

func TestNamesOutsideTheZonesAreLeftAlone(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.zone(t, "example.org")
	var log strings.Builder
	s := c.service(designate.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	result := mustApply(t, s, designate.Changes{Create: []designate.Record{
		rec("www.example.org", designate.A, 0, "192.0.2.1"), rec("www.example.net", designate.A, 0, "192.0.2.1"), rec("api.example.net", designate.A, 0, "192.0.2.1"),
	}})
	if result.Done != 1 || len(result.Skipped) != 2 || result.Skipped[0].Reason != designate.NoZone {
		t.Errorf("%+v", result)
	}
	if n := strings.Count(log.String(), "records left alone"); n != 1 {
		t.Errorf("%d warnings, want one for both:\n%s", n, log.String())
	}
}

// What goes wrong with one record is told, and does not touch the others.
func TestApplyReportsFailures(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{Quota: openstacksim.DesignateQuota{ZoneRecordsets: 5}})
	id := c.zone(t, "example.org")
	c.post(t, nil, map[string]any{"name": "aaa.example.org.", "type": "CNAME", "records": []string{"lb.example.net."}}, "zones", id, "recordsets")
	// CNAMEs are not read, so that only Designate knows that there is one.
	s := c.service(designate.Options{Types: []designate.Type{designate.A, designate.TXT}, Concurrency: 1, ZoneConcurrency: 1})
	result, err := s.Apply(t.Context(), designate.Changes{Create: []designate.Record{
		rec("a.example.org", designate.A, 0, "192.0.2.1"), rec("b.example.org", designate.A, 0, "not an address"), rec("c.example.org", designate.A, 0, "192.0.2.1"),
		rec("d.example.org", designate.A, 0, "192.0.2.1"), rec("aaa.example.org", designate.A, 0, "192.0.2.1"),
	}})
	var sum *designate.ApplyError
	if !errors.As(err, &sum) || sum.Done != 2 || sum.Total != 5 || result.Done != 2 {
		t.Fatalf("%+v, %v; want 2 of 5", result, err)
	}
	if !errors.Is(err, openstack.ErrQuota) || !errors.Is(err, openstack.ErrInvalid) || !errors.Is(err, designate.ErrTarget) {
		t.Errorf("%v: want quota, refused and invalid", err)
	}
	for _, part := range []string{"Quota exceeded for zone_recordsets", "req-", "b.example.org A", "CNAME recordsets may not share a name"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\ndoes not say %q", err, part)
		}
	}
}

// The connection drops after Designate has acted: the record is there, and nothing is written twice.
func TestCreateWhoseAnswerGotLost(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.zone(t, "example.org")
	s := c.service(designate.Options{})
	mustRecords(t, s)
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: "POST", DropAfter: true, Count: 1})
	if result := mustApply(t, s, designate.Changes{Create: []designate.Record{rec("www.example.org", designate.A, 0, "192.0.2.1")}}); result.Done != 1 {
		t.Errorf("%+v", result)
	}
	if list := mustRecords(t, s); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

// A read that a delete by others overtakes, and a write that ends with what others did.
func TestRacesWithOthers(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	id := c.zone(t, "example.org")
	s, others := c.service(designate.Options{}), c.service(designate.Options{})
	www := rec("www.example.org", designate.CNAME, 0, "lb.example.net")
	mustApply(t, s, designate.Changes{Create: []designate.Record{www}})
	mustApply(t, others, designate.Changes{Delete: []designate.Record{www}})
	changed := rec("www.example.org", designate.CNAME, 300, "lb2.example.net")
	if result := mustApply(t, s, designate.Changes{UpdateNew: []designate.Record{changed}}); result.Done != 1 { // 404 → create
		t.Errorf("update of what is gone: %+v", result)
	}
	mustApply(t, others, designate.Changes{Delete: []designate.Record{changed}}) // others know nothing of it
	mustRecords(t, s)
	c.post(t, nil, map[string]any{"name": "www.example.org.", "type": "CNAME", "records": []string{"elsewhere.example.net."}}, "zones", id, "recordsets")
	if _, err := s.Apply(t.Context(), designate.Changes{Create: []designate.Record{changed}}); !errors.Is(err, designate.ErrTaken) { // 400 for a CNAME that is there
		t.Errorf("create of what is there: %v", err)
	}
	if diff := cmp.Diff([]designate.Record{rec("www.example.org", designate.CNAME, 0, "elsewhere.example.net")}, mustRecords(t, s)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestApplyWaitsForAnotherOnlyAsLongAsItsCallerDoes(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.zone(t, "example.org")
	s := c.service(designate.Options{})
	mustRecords(t, s)
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: "POST", Delay: 500 * time.Millisecond})
	first := make(chan error, 1)
	go func() {
		_, err := s.Apply(t.Context(), designate.Changes{Create: []designate.Record{rec("a.example.org", designate.A, 0, "192.0.2.1")}})
		first <- err
	}()
	for c.Calls.Count() == 0 && len(first) == 0 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := s.Apply(ctx, designate.Changes{})
		cancel()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want a deadline", err)
			}
			break
		}
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestRecordsWithoutAService(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.Keystone.HideService("dns")
	if _, err := c.service(designate.Options{}).Records(t.Context()); !errors.Is(err, openstack.ErrNoService) {
		t.Errorf("%v, want ErrNoService", err)
	}
}
