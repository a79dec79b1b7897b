package designate_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"mooring/pkg/designate"
	"mooring/pkg/openstack/openstacksim"
)

// An answer that says nothing of the records is an error: an empty list would make ExternalDNS write all of them once more, over those of others.
func TestWhatSaysNothingIsNotEmpty(t *testing.T) {
	t.Parallel()
	const cycle = `{"recordsets": [{"id": "%d", "name": "a%d.example.org.", "type": "A", "records": ["192.0.2.1"]}], "links": {"next": "http://elsewhere.invalid/"}}`
	marker := openstacksim.Fault{Path: "/recordsets$", Status: http.StatusNotFound, Body: `{"code": 404, "type": "marker_not_found", "request_id": "req-1"}`}
	for name, faults := range map[string][]openstacksim.Fault{
		"a proxy's 404":                  {{Path: "/recordsets$", Status: http.StatusNotFound}},
		"no recordsets":                  {{Path: "/recordsets$", Status: http.StatusOK, Body: `{"metadata": {"total_count": 0}}`}},
		"no zones":                       {{Path: "/zones$", Status: http.StatusOK, Body: `{}`}},
		"an entry that is gone for ever": {marker},
		"pages in a circle": {
			{Path: "/recordsets$", Count: 1, Status: http.StatusOK, Body: fmt.Sprintf(cycle, 1, 1)},
			{Path: "/recordsets$", Count: 1, Status: http.StatusOK, Body: fmt.Sprintf(cycle, 2, 2)},
			{Path: "/recordsets$", Status: http.StatusOK, Body: fmt.Sprintf(cycle, 1, 1)},
		},
		"pages without ids": {{Path: "/recordsets$", Status: http.StatusOK, Body: `{"recordsets": [{"name": null}], "links": {"next": "http://elsewhere.invalid/"}}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, openstacksim.DesignateConfig{})
			c.Designate.Fill("demo", "example.org.", 10)
			for _, f := range faults {
				f.Service = openstacksim.ServiceDesignate
				c.Faults.Add(f)
			}
			s := c.service(designate.Options{})
			t.Cleanup(s.Close)
			if list, err := s.Records(t.Context()); err == nil {
				t.Errorf("%d records, and no error", len(list))
			}
		})
	}
}

// A name of a megabyte is nobody's, and that is found out at once.
func TestAHugeNameIsInNoZone(t *testing.T) {
	t.Parallel()
	zones := designate.NewZones([]designate.Zone{designate.ZoneOf("1", "example.org", "")})
	if _, reason, ok := zones.Match(strings.Repeat("a.", 1<<20) + "example.org"); ok || reason != designate.NoZone {
		t.Errorf("%v, %v", reason, ok)
	}
}

// Looked up by its name, a wildcard is found behind all its siblings, which Designate takes the asterisk for.
func TestAWildcardIsFoundAmongItsSiblings(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{MaxLimit: 20})
	id := c.zone(t, "example.org")
	s := c.service(designate.Options{})
	t.Cleanup(s.Close)
	mustRecords(t, s)
	for i := range 30 {
		c.post(t, nil, map[string]any{"name": fmt.Sprintf("h%d.example.org.", i), "type": "A", "records": []string{"192.0.2.1"}}, "zones", id, "recordsets")
	}
	wanted := rec("*.example.org", designate.A, 0, "192.0.2.1")
	c.post(t, nil, map[string]any{"name": "*.example.org.", "type": "A", "records": []string{"192.0.2.1"}}, "zones", id, "recordsets")
	if result, err := s.Apply(t.Context(), designate.Changes{Create: []designate.Record{wanted}}); err != nil {
		t.Errorf("%+v, %v", result, err)
	}
}
