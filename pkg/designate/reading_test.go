package designate_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mooring/pkg/designate"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// calls counts what do asks Designate for: reads and writes.
func (c *cloud) calls(do func()) (reads, writes int) {
	c.Calls.Reset()
	do()
	all := c.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate})
	reads = c.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Method: http.MethodGet})
	return reads, all - reads
}

// show expects a number of records, and of calls to get them.
func (c *cloud) show(t *testing.T, s *designate.Service, records, most int) {
	t.Helper()
	reads, _ := c.calls(func() {
		if got := len(mustRecords(t, s)); got != records {
			t.Errorf("%d records, want %d", got, records)
		}
	})
	if reads > most {
		t.Errorf("%d calls, want at most %d", reads, most)
	}
}

// What a sync costs: at the first, and when nothing has changed.
func TestCallsOfReading(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ zones, recordsets, cold int }{
		"a thousand in one zone":     {1, 1000, 3},
		"ten thousand in one zone":   {1, 10_000, 12},
		"ten thousand and one":       {1, 10_001, 13},
		"a hundred in each of ten":   {10, 100, 12},
		"three in each of a hundred": {200, 3, 202},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, openstacksim.DesignateConfig{})
			for i := range test.zones {
				c.Designate.Fill("demo", fmt.Sprintf("z%d.example.org.", i), test.recordsets)
			}
			s := c.service(designate.Options{Deadline: time.Hour}) // the machine may be slow, and a second request costs a call
			records := test.zones * (test.recordsets - 2)
			c.show(t, s, records, test.cold)
			for range 3 {
				c.show(t, s, records, 1)
			}
		})
	}
}

// A change by others costs reading that one zone, once; becoming ACTIVE costs nothing.
func TestAForeignChangeReadsOneZone(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{Delay: 300 * time.Millisecond})
	ids := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d"} {
		ids[name] = c.Designate.Fill("demo", name+".example.org.", 10)
	}
	registry := prometheus.NewRegistry()
	s := c.service(designate.Options{Registerer: registry})
	c.show(t, s, 32, 6)
	c.post(t, nil, map[string]any{"name": "new.b.example.org.", "type": "A", "records": []string{"192.0.2.1"}}, "zones", ids["b"], "recordsets")
	c.show(t, s, 33, 2)
	if n := c.Calls.Count(openstacksim.CallFilter{Path: ids["b"] + "/recordsets$"}); n != 1 {
		t.Errorf("the zone with the change was read %d times, want once", n)
	}
	c.show(t, s, 33, 1)
	for !c.active(t, ids["b"]) {
		time.Sleep(10 * time.Millisecond)
	}
	c.show(t, s, 33, 1)
	want := `
# HELP mooring_designate_zone_reads_total Zones whose recordsets were read, by cause (cold, changed, unversioned, unsettled: read while it was written to, refresh).
# TYPE mooring_designate_zone_reads_total counter
mooring_designate_zone_reads_total{cause="changed"} 1
mooring_designate_zone_reads_total{cause="cold"} 4
mooring_designate_zone_reads_total{cause="refresh"} 0
mooring_designate_zone_reads_total{cause="unsettled"} 0
mooring_designate_zone_reads_total{cause="unversioned"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "mooring_designate_zone_reads_total"); err != nil {
		t.Error(err)
	}
}

// active reports whether everything in a zone is published.
func (c *cloud) active(t *testing.T, zoneID string) bool {
	t.Helper()
	client, err := c.session.Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	var zone struct {
		Status string `json:"status"`
	}
	if _, err := client.Get(t.Context(), client.ServiceURL("zones", zoneID), &zone, nil); err != nil { //nolint:bodyclose // it is read
		t.Fatal(err)
	}
	return zone.Status == "ACTIVE"
}

// Two hundred creates are two hundred writes, and no reason to read the zone again.
func TestCallsOfWriting(t *testing.T) {
	t.Parallel()
	const creates = 200
	c := newCloud(t, openstacksim.DesignateConfig{Delay: time.Hour, Quota: openstacksim.DesignateQuota{ZoneRecordsets: -1, ZoneRecords: -1}})
	c.Designate.Fill("demo", "example.org.", 5000)
	s := c.service(designate.Options{})
	c.show(t, s, 4998, 7)
	var changes designate.Changes
	for i := range creates {
		changes.Create = append(changes.Create, rec(fmt.Sprintf("new%d.example.org", i), designate.A, 0, "192.0.2.1"))
	}
	reads, writes := c.calls(func() {
		mustRecords(t, s)
		if result := mustApply(t, s, changes); result.Done != creates {
			t.Errorf("%+v", result)
		}
		if got := len(mustRecords(t, s)); got != 4998+creates {
			t.Errorf("%d records", got)
		}
	})
	if reads > 2 || writes != creates {
		t.Errorf("%d reads and %d writes, want at most 2 and %d", reads, writes, creates)
	}
}

// A poisoned record is no change: the zone is not read again for it.
func TestARefusedWriteIsNoChange(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{Delay: time.Hour})
	c.zone(t, "example.org")
	s := c.service(designate.Options{})
	mustRecords(t, s)
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: http.MethodPost, Status: 400, Count: 1})
	if _, err := s.Apply(t.Context(), designate.Changes{Create: []designate.Record{rec("a.example.org", designate.A, 0, "192.0.2.1")}}); err == nil {
		t.Error("no error")
	}
	c.show(t, s, 0, 1)
	mustApply(t, s, designate.Changes{Create: []designate.Record{rec("b.example.org", designate.A, 0, "192.0.2.1")}})
	c.show(t, s, 1, 1)
}

func TestWithoutVersionsNothingIsKept(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{HideVersion: true})
	c.zone(t, "example.org")
	s := c.service(designate.Options{})
	for range 2 {
		mustRecords(t, s)
		reads, _ := c.calls(func() { mustRecords(t, s) })
		if reads != 2 {
			t.Errorf("%d calls, want the zones and the recordsets", reads)
		}
	}
}

// A zone that goes and comes again under its name is another one.
func TestAZoneMadeAnew(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	id := c.Designate.Fill("demo", "example.org.", 10)
	s := c.service(designate.Options{})
	c.show(t, s, 8, 3)
	client, err := c.session.Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Delete(t.Context(), client.ServiceURL("zones", id), nil); err != nil { //nolint:bodyclose // gophercloud closes it
		t.Fatal(err)
	}
	c.show(t, s, 0, 1)
	c.Designate.Fill("demo", "example.org.", 7)
	c.show(t, s, 5, 2)
}

// Of all zones, those that are chosen by id or pool.
func TestChosenZones(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	parent, child := c.zone(t, "example.org"), c.zone(t, "sub.example.org")
	www := rec("www.example.org", designate.A, 0, "192.0.2.1")
	below := rec("www.sub.example.org", designate.A, 0, "192.0.2.1")
	mustApply(t, c.service(designate.Options{}), designate.Changes{Create: []designate.Record{www, below}})
	s := c.service(designate.Options{ZoneIDs: []string{parent}})
	if diff := cmp.Diff([]designate.Record{www}, mustRecords(t, s)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// A name in a zone that was not chosen is not written to its parent either: Designate refuses that.
	result := mustApply(t, s, designate.Changes{Create: []designate.Record{rec("new.sub.example.org", designate.A, 0, "192.0.2.1")}})
	if result.Done != 0 || len(result.Skipped) != 1 || result.Skipped[0].Reason != designate.UnchosenZone {
		t.Errorf("%+v", result)
	}
	if list := mustRecords(t, c.service(designate.Options{ZoneIDs: []string{child}, PoolIDs: []string{"another"}})); len(list) != 0 {
		t.Errorf("a pool that there is not: %v", list)
	}
	var log strings.Builder
	absent := c.service(designate.Options{ZoneIDs: []string{child, "gone"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		if diff := cmp.Diff([]designate.Record{below}, mustRecords(t, absent)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	if n := strings.Count(log.String(), "a chosen zone is not there"); n != 1 || !strings.Contains(log.String(), "zone_id=gone") {
		t.Errorf("%d warnings, want one of the zone that is not there:\n%s", n, log.String())
	}
}

// An administrator sees and writes the zones of all projects; nobody else may ask for them.
func TestAllProjects(t *testing.T) {
	t.Parallel()
	demo := newCloud(t, openstacksim.DesignateConfig{})
	demo.zone(t, "example.org")
	admin := demo.as(t, "admin")
	if list := mustRecords(t, admin.service(designate.Options{})); len(list) != 0 {
		t.Errorf("%v", list)
	}
	s := admin.service(designate.Options{AllProjects: true})
	mustRecords(t, s)
	www := rec("www.example.org", designate.A, 0, "192.0.2.1")
	mustApply(t, s, designate.Changes{Create: []designate.Record{www}})
	for _, shown := range [][]designate.Record{mustRecords(t, s), mustRecords(t, demo.service(designate.Options{}))} {
		if diff := cmp.Diff([]designate.Record{www}, shown); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	mustApply(t, s, designate.Changes{Delete: []designate.Record{www}})
	if _, err := demo.service(designate.Options{AllProjects: true}).Records(t.Context()); !errors.Is(err, openstack.ErrForbidden) {
		t.Errorf("%v, want forbidden", err)
	}
}

// A page that breaks off is an error and no short list.
func TestAListThatBreaksOff(t *testing.T) {
	t.Parallel()
	good := `{"id": "1", "name": "a.example.org.", "type": "A", "records": ["192.0.2.1"]}`
	for name, body := range map[string]string{
		"in an entry":   `{"recordsets": [` + good + `, {"id": "2", "na`,
		"after one":     `{"recordsets": [` + good,
		"after all":     `{"recordsets": [` + good + `]`,
		"no list":       `{"recordsets": {"a": 1}}`,
		"no object":     `["recordsets"]`,
		"nothing":       ` `,
		"another shape": `{"recordsets": [7]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, openstacksim.DesignateConfig{})
			c.zone(t, "example.org")
			c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Path: "/recordsets$", Count: 1, Status: 200, Body: body})
			s := c.service(designate.Options{})
			if list, err := s.Records(t.Context()); !errors.Is(err, openstack.ErrUnavailable) {
				t.Errorf("%v, %v", list, err)
			}
			if list := mustRecords(t, s); len(list) != 0 {
				t.Errorf("%v", list)
			}
		})
	}
}

// Prefetch reads before anybody asks, tries again when it can't, and leaves it to who came before.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.Designate.Fill("demo", "example.org.", 10)
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Path: "/zones$", Count: 1, Status: 403})
	s := c.service(designate.Options{})
	reads, _ := c.calls(func() {
		if err := s.Prefetch(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if reads != 4 { // the limits, the zones twice, and the recordsets
		t.Errorf("%d calls", reads)
	}
	c.show(t, s, 8, 1)
	if reads, _ := c.calls(func() { _ = s.Prefetch(t.Context()) }); reads != 0 {
		t.Errorf("%d calls for what is there", reads)
	}
	s.Close()
	if _, err := s.Records(t.Context()); err == nil {
		t.Error("a closed service reads")
	}
}

// In a large zone, what others changed and what Designate's reports leave open after writes of our own costs two pages, whatever it was.
func TestWhatChangedInALargeZone(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{Quota: openstacksim.DesignateQuota{ZoneRecordsets: -1, ZoneRecords: -1}})
	c.Designate.Fill("demo", "example.org.", 2100)
	s, others := c.service(designate.Options{}), c.service(designate.Options{})
	mustRecords(t, others)
	c.show(t, s, 2098, 5)
	records := 2098
	h := func(n int, targets ...string) []designate.Record {
		return []designate.Record{rec(fmt.Sprintf("h%d.example.org", n), designate.A, 0, targets...)}
	}
	burst := designate.Changes{}
	for i := range 50 {
		burst.Create = append(burst.Create, h(6000+i, "192.0.2.1")...)
	}
	many := designate.Changes{}
	for i := range 510 {
		many.Create = append(many.Create, h(7000+i, "192.0.2.1")...)
	}
	for _, step := range []struct {
		what    string
		by      *designate.Service
		changes designate.Changes
		more    int // records
		calls   int // to know
	}{
		{"others create", others, designate.Changes{Create: h(5000, "192.0.2.1")}, 1, 3},
		{"others update", others, designate.Changes{UpdateNew: h(17, "192.0.2.1")}, 0, 3},
		{"others delete", others, designate.Changes{Delete: h(18, "192.0.2.1")}, -1, 6}, // that can't be told but from all of them
		{"others delete one and create one", others, designate.Changes{Delete: h(19, "192.0.2.1"), Create: h(5001, "192.0.2.1")}, 0, 6},
		{"others delete and create the same", others, designate.Changes{Delete: h(20, "192.0.2.1")}, -1, 6},
		{"we write many, which are published one by one", s, burst, 50, 3},
		{"we delete", s, designate.Changes{Delete: h(6000, "192.0.2.1")}, -1, 3},
		{"others write many", others, many, 510, 6},
	} {
		mustApply(t, step.by, step.changes)
		records += step.more
		t.Log(step.what)
		c.show(t, s, records, step.calls)
		all, shown := mustRecords(t, c.service(designate.Options{})), mustRecords(t, s)
		same := func(a, b designate.Record) bool { return a.Name == b.Name && a.Type == b.Type && a.Same(b) }
		if !slices.EqualFunc(all, shown, same) {
			t.Errorf("%s: -want +got:\n%s", step.what, cmp.Diff(all, shown))
		}
	}
}

// Two zones with one name, in two pools: the choice says which is meant.
func TestSplitHorizon(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		a, b   string // what the zones are
		want   string // id
		reason designate.Reason
	}{
		"both are chosen":                       {"", "", "", designate.AmbiguousZone},
		"one is chosen":                         {"", "unchosen", "a", ""},
		"the other is chosen":                   {"unchosen", "", "b", ""},
		"none is chosen":                        {"unchosen", "unchosen", "", designate.UnchosenZone},
		"the chosen one is a copy":              {"secondary", "unchosen", "", designate.SecondaryZone},
		"the chosen one is being deleted":       {"unchosen", "deleting", "", designate.DeletingZone},
		"one of the chosen ones can be written": {"", "deleting", "a", ""},
	} {
		zones := designate.NewZones([]designate.Zone{designate.ZoneOf("a", "example.org", test.a), designate.ZoneOf("b", "example.org", test.b)})
		zone, reason, ok := zones.Match("www.example.org")
		if ok != (test.want != "") || ok && zone.ID != test.want || reason != test.reason {
			t.Errorf("%s: %v, %q, %v; want %q, %q", name, zone, reason, ok, test.want, test.reason)
		}
	}
}
