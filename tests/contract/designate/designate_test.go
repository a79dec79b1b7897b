package designate_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mooring/tests/contract/target"
)

// What Designate refuses, with status, type and the words that tell why.
func TestRejections(t *testing.T) {
	t.Parallel()
	c := open(t)
	z := c.zone(t)
	child := c.childZone(t, z)
	z.make(t, z.host("alias"), "CNAME", "lb.example.net.")
	z.make(t, z.host("host"), "A", "192.0.2.1")
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for name, test := range map[string]struct {
		name, kind string
		records    []string
		status     int
		code, says string
	}{
		"no final dot":                  {z.host("a")[:len(z.host("a"))-1], "A", []string{"192.0.2.1"}, 400, "invalid_object", "does not end with a dot"},
		"Unicode":                       {z.host("bücher"), "A", []string{"192.0.2.1"}, 400, "invalid_object", "is invalid"},
		"wildcard inside":               {z.host("a.*"), "A", []string{"192.0.2.1"}, 400, "invalid_object", "is invalid"},
		"wildcard in a label":           {z.host("a-*"), "A", []string{"192.0.2.1"}, 400, "invalid_object", "is invalid"},
		"label of 64":                   {z.host(strings.Repeat("a", 64)), "A", []string{"192.0.2.1"}, 400, "invalid_object", "is too long"},
		"outside the zone":              {"www.example.net.", "A", []string{"192.0.2.1"}, 400, "invalid_recordset_location", "not contained within"},
		"zone in capitals":              {"a." + strings.ToUpper(z.name), "A", []string{"192.0.2.1"}, 400, "invalid_recordset_location", "not contained within"},
		"in a child zone":               {child.host("www"), "A", []string{"192.0.2.1"}, 400, "invalid_recordset_location", "belongs in a child zone"},
		"the child zone itself":         {child.name, "A", []string{"192.0.2.1"}, 400, "invalid_recordset_location", "belongs in a child zone"},
		"A without an address":          {z.host("a"), "A", []string{"192.0.2"}, 400, "invalid_object", "is not a 'A' Record"},
		"A with IPv6":                   {z.host("a"), "A", []string{"2001:db8::1"}, 400, "invalid_object", "is not a 'A' Record"},
		"AAAA with IPv4":                {z.host("a"), "AAAA", []string{"192.0.2.1"}, 400, "invalid_object", "is not a 'AAAA' Record"},
		"CNAME without a dot":           {z.host("a"), "CNAME", []string{"lb.example.net"}, 400, "invalid_object", "is not a 'CNAME' Record"},
		"CNAME of two":                  {z.host("a"), "CNAME", []string{"a.example.net.", "b.example.net."}, 400, "bad_request", "more than 1 record"},
		"CNAME at the apex":             {z.name, "CNAME", []string{"lb.example.net."}, 400, "invalid_recordset_location", "zone apex"},
		"CNAME beside A":                {z.host("host"), "CNAME", []string{"lb.example.net."}, 400, "invalid_recordset_location", "may not share a name"},
		"A beside CNAME":                {z.host("alias"), "A", []string{"192.0.2.1"}, 400, "invalid_recordset_location", "may not share a name"},
		"CNAME twice is no 409":         {z.host("alias"), "CNAME", []string{"lb.example.net."}, 400, "invalid_recordset_location", "may not share a name"},
		"A twice":                       {z.host("host"), "A", []string{"192.0.2.1"}, 409, "duplicate_recordset", "Duplicate RecordSet"},
		"A twice, in capitals":          {z.host("HOST"), "A", []string{"192.0.2.1"}, 409, "duplicate_recordset", "Duplicate RecordSet"},
		"NS without a dot":              {z.host("ns"), "NS", []string{"ns.example.net"}, 400, "invalid_object", "is not a 'NS' Record"},
		"NS of a wildcard":              {z.host("*"), "NS", []string{"ns.example.net."}, 400, "invalid_object", "name is invalid"},
		"NS at the apex":                {z.name, "NS", []string{"ns.example.net."}, 409, "duplicate_recordset", "Duplicate RecordSet"},
		"SOA":                           {z.host("soa"), "SOA", []string{"a. b. 1 2 3 4 5"}, 400, "bad_request", "Creating a SOA recordset is not allowed"},
		"MX without a dot":              {z.host("mx"), "MX", []string{"10 mail.example.net"}, 400, "invalid_object", "is not a 'MX' Record"},
		"SRV without a dot":             {z.host("_sip._tcp"), "SRV", []string{"1 2 3 sip.example.net"}, 400, "invalid_object", "is not a 'SRV' Record"},
		"SRV of nothing":                {z.host("_no._tcp"), "SRV", []string{"0 0 0 ."}, 400, "invalid_object", "is not a 'SRV' Record"},
		"SRV under an ordinary name":    {z.host("sip"), "SRV", []string{"1 2 3 sip.example.net."}, 400, "invalid_object", "name is invalid"},
		"PTR without a dot":             {z.host("ptr"), "PTR", []string{"host.example.net"}, 400, "invalid_object", "is not a 'PTR' Record"},
		"NAPTR with quotes":             {z.host("n"), "NAPTR", []string{`100 50 "S" "SIP+D2U" "" _sip._udp.example.net.`}, 400, "invalid_object", "is not a 'NAPTR' Record"},
		"TXT with a blank, unquoted":    {z.host("t"), "TXT", []string{"two words"}, 400, "invalid_object", "is not a 'TXT' Record"},
		"TXT with one quote":            {z.host("t"), "TXT", []string{`"open`}, 400, "invalid_object", "is not a 'TXT' Record"},
		"TXT with a bare quote inside":  {z.host("t"), "TXT", []string{`"a"b"`}, 400, "invalid_object", "is not a 'TXT' Record"},
		"TXT of 254 characters":         {z.host("t"), "TXT", []string{text(254)}, 400, "invalid_object", "is not a 'TXT' Record"},
		"TXT of 254 and more":           {z.host("t"), "TXT", []string{text(254) + " " + text(10)}, 400, "invalid_object", "is not a 'TXT' Record"},
		"TXT of two short strings":      {z.host("t"), "TXT", []string{`"a" "b"`}, 400, "invalid_object", "is not a 'TXT' Record"},
		"a type that there is not":      {z.host("x"), "FOO", []string{"x"}, 400, "invalid_object", "is not a valid record type"},
		"several bad records, all told": {z.host("a"), "A", []string{"x", "192.0.2.1", "y"}, 400, "invalid_object", "'y' is not a 'A' Record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := z.try(t, test.name, test.kind, test.records...)
			a.refused(t, test.status, test.code, test.says)
		})
	}
}

// refused checks an error: status, type, words, the shape {code, type, message|errors, request_id} and the header of the request id.
func (a answer) refused(t *testing.T, status int, code, says string) {
	t.Helper()
	if a.status != status || a.text("type") != code || !strings.Contains(a.String(), says) {
		t.Errorf("%s; want %d %s with %q", a, status, code, says)
	}
	if a.number(t, "code") != int64(status) || !strings.HasPrefix(a.text("request_id"), "req-") || a.header.Get("X-Openstack-Request-Id") == "" {
		t.Errorf("%s, request id %q: not the shape of Designate's errors", a, a.header.Get("X-Openstack-Request-Id"))
	}
}

// What Designate takes, as it was given.
func TestAccepted(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for name, test := range map[string]struct{ name, kind, record string }{
		"capitals":                {z.host("Mixed"), "A", "192.0.2.1"},
		"capitals in a target":    {z.host("cname"), "CNAME", "LB.Example.Net."},
		"a wildcard":              {z.host("*.wild"), "A", "192.0.2.1"},
		"underscores":             {z.host("_dmarc"), "TXT", `"v=DMARC1"`},
		"IPv6 in a long form":     {z.host("aaaa"), "AAAA", "2001:DB8:0:0::1"},
		"a mapped IPv4 address":   {z.host("mapped"), "AAAA", "::ffff:192.0.2.1"},
		"MX of nothing":           {z.host("nomail"), "MX", "0 ."},
		"MX":                      {z.host("mx"), "MX", "10 mail.example.net."},
		"SRV":                     {z.host("_sip._tcp"), "SRV", "1 2 3 sip.example.net."},
		"NAPTR with bare strings": {z.host("naptr"), "NAPTR", "100 50 U E2U+sip !^.*$!sip:info@example.net! sip.example.net."},
		"PTR":                     {z.host("1"), "PTR", "host.example.net."},
		"a delegation":            {z.host("team"), "NS", "ns1.example.net."},
		"TXT of a word":           {z.host("t1"), "TXT", "word"},
		"TXT in quotes":           {z.host("t2"), "TXT", `"two words"`},
		"TXT of nothing":          {z.host("t3"), "TXT", `""`},
		"TXT with escapes":        {z.host("t4"), "TXT", `"say \"hi\" \\ \195\188"`},
		"TXT of 253":              {z.host("t5"), "TXT", text(253)},
		"TXT of 253 and 10":       {z.host("t6"), "TXT", text(253) + " " + text(10)},
		"TXT of 16 × 253":         {z.host("t7"), "TXT", strings.TrimSuffix(strings.Repeat(text(253)+" ", 16), " ")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := z.try(t, test.name, test.kind, test.record)
			if a.status != 202 || a.text("name") != test.name || a.text("status") != "PENDING" || a.text("action") != "CREATE" || a.text("zone_id") != z.id {
				t.Fatalf("%s, want a PENDING recordset", a)
			}
			if got := fmt.Sprint(a.body["records"]); got != fmt.Sprint([]string{test.record}) {
				t.Errorf("records %s, want %s as it was given", got, test.record)
			}
			if want := z.sets() + "/" + a.text("id"); !strings.HasSuffix(a.header.Get("Location"), want) {
				t.Errorf("Location %q does not end in %q", a.header.Get("Location"), want)
			}
		})
	}
}

// The version of a zone rises with each write, and again when what was written is ACTIVE. A read leaves it.
func TestVersionRises(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	last := z.settle(t).number(t, "version")
	rises := func(what string, write func() answer) answer {
		t.Helper()
		a := write()
		if a.status != 202 {
			t.Fatalf("%s: %s", what, a)
		}
		after := z.settle(t).number(t, "version")
		if after < last+2 {
			t.Errorf("%s: version %d → %d; want one for the write and one for ACTIVE", what, last, after)
		}
		last = after
		return a
	}
	set := rises("create", func() answer { return z.make(t, z.host("www"), "A", "192.0.2.1") })
	path := z.sets() + "/" + set.text("id")
	rises("update", func() answer {
		return z.cloud.call(t, "PUT", path, map[string]any{"records": []string{"192.0.2.2"}, "ttl": 300})
	})
	rises("update to the same", func() answer {
		return z.cloud.call(t, "PUT", path, map[string]any{"records": []string{"192.0.2.2"}, "ttl": 300})
	})
	rises("delete", func() answer { return z.cloud.call(t, "DELETE", path, nil) })
	rises("a change of the zone", func() answer { return z.cloud.call(t, "PATCH", z.path(), map[string]any{"ttl": 600}) })
	z.cloud.call(t, "GET", z.sets(), nil)
	if after := z.settle(t).number(t, "version"); after != last {
		t.Errorf("a read changed the version: %d → %d", last, after)
	}
	listed := z.cloud.call(t, "GET", "/zones?name="+z.name, nil).list("zones")
	if len(listed) != 1 || fmt.Sprint(listed[0]["version"]) != strconv.FormatInt(last, 10) {
		t.Errorf("the list of zones shows %v, want version %d", listed, last)
	}
}

// An update: TTL null is the zone's own, a field that is left out stays, name and type can't change.
func TestUpdate(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	set := z.cloud.call(t, "POST", z.sets(), map[string]any{"name": z.host("www"), "type": "A", "ttl": 300, "records": []string{"192.0.2.1"}})
	path := z.sets() + "/" + set.text("id")
	put := func(body map[string]any) answer { t.Helper(); return z.cloud.call(t, "PUT", path, body) }
	a := put(map[string]any{"records": []string{"192.0.2.2"}})
	if a.status != 202 || fmt.Sprint(a.body["ttl"]) != "300" || a.text("status") != "PENDING" || a.text("action") != "UPDATE" {
		t.Errorf("%s", a)
	}
	if a := put(map[string]any{"records": []string{"192.0.2.2"}, "ttl": nil}); a.status != 202 || a.body["ttl"] != nil {
		t.Errorf("%s, want no TTL", a)
	}
	if a := put(map[string]any{"name": z.host("www"), "type": "A", "records": []string{"192.0.2.3"}}); a.status != 202 {
		t.Errorf("name and type repeated: %s", a)
	}
	put(map[string]any{"name": z.host("other"), "records": []string{"192.0.2.3"}}).refused(t, 400, "invalid_object", "Keys ['name'] are not valid for recordset")
	put(map[string]any{"type": "AAAA", "records": []string{"2001:db8::1"}}).refused(t, 400, "invalid_object", "Keys ['type'] are not valid for recordset")
	put(map[string]any{"records": []string{"x"}}).refused(t, 400, "invalid_object", "is not a 'A' Record")
	put(map[string]any{"records": []string{"192.0.2.3"}, "foo": 1}).refused(t, 400, "invalid_object", "Keys ['foo'] are not valid for recordset")
	z.answers(t, z.host("www"), "A", "192.0.2.3")
}

// A deleted recordset is gone from the API at once, in its answer it is PENDING/DELETE; the same name can be made again immediately.
func TestDelete(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	set := z.make(t, z.host("www"), "A", "192.0.2.1")
	z.answers(t, z.host("www"), "A", "192.0.2.1")
	path := z.sets() + "/" + set.text("id")
	if a := z.cloud.call(t, "DELETE", path, nil); a.status != 202 || a.text("status") != "PENDING" || a.text("action") != "DELETE" {
		t.Errorf("%s", a)
	}
	z.cloud.call(t, "GET", path, nil).refused(t, 404, "recordset_not_found", "Could not find RecordSet")
	z.cloud.call(t, "DELETE", path, nil).refused(t, 404, "recordset_not_found", "Could not find RecordSet")
	z.cloud.call(t, "PUT", path, map[string]any{"records": []string{"192.0.2.1"}}).refused(t, 404, "recordset_not_found", "Could not find RecordSet")
	z.make(t, z.host("www"), "CNAME", "lb.example.net.")
	z.answers(t, z.host("www"), "CNAME", "lb.example.net")
}

// SOA and the zone's own NS are Designate's.
func TestManagedRecordsets(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	for kind, says := range map[string]string{"SOA": "Deleting a SOA recordset is not allowed", "NS": "Managed records may not be deleted"} {
		sets := z.cloud.call(t, "GET", z.sets()+"?type="+kind, nil).list("recordsets")
		if len(sets) != 1 || sets[0]["name"] != z.name {
			t.Fatalf("%s: %v", kind, sets)
		}
		path := fmt.Sprintf("%s/%v", z.sets(), sets[0]["id"])
		z.cloud.call(t, "PUT", path, map[string]any{"records": []string{"ns.example.net."}}).refused(t, 400, "bad_request", "Managed records may not be updated")
		z.cloud.call(t, "DELETE", path, nil).refused(t, 400, "bad_request", says)
	}
	if ns := z.cloud.call(t, "GET", z.path()+"/nameservers", nil).list("nameservers"); len(ns) != 1 || ns[0]["hostname"] == "" {
		t.Errorf("nameservers: %v", ns)
	}
}

// A recordset without records is ACTIVE at once and no change of the zone.
func TestRecordsetWithoutRecords(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	version := z.settle(t).number(t, "version")
	if a := z.try(t, z.host("empty"), "A"); a.status != 201 || a.text("status") != "ACTIVE" || a.text("action") != "NONE" {
		t.Errorf("%s", a)
	}
	if after := z.settle(t).number(t, "version"); after != version {
		t.Errorf("version %d → %d", version, after)
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	const records = 23 // with SOA and NS a page of the default size and five more
	for i := range records {
		z.make(t, z.host(fmt.Sprintf("h%02d", i)), "A", "192.0.2.1")
	}
	walk := func(query string) (ids []string, pages int) {
		t.Helper()
		marker := ""
		for {
			a := z.cloud.call(t, "GET", z.sets()+"?"+query+marker, nil)
			page := a.list("recordsets")
			pages++
			for _, set := range page {
				ids = append(ids, fmt.Sprint(set["id"]))
			}
			metadata, _ := a.body["metadata"].(map[string]any)
			want := records + 2
			if len(page) == 0 {
				want = 0 // so it is: total_count can't be relied on
			}
			if a.status != 200 || fmt.Sprint(metadata["total_count"]) != strconv.Itoa(want) {
				t.Fatalf("%s, want a total_count of %d", a, want)
			}
			links, _ := a.body["links"].(map[string]any)
			if links["next"] == nil {
				return ids, pages
			}
			marker = "&marker=" + ids[len(ids)-1]
		}
	}
	for query, want := range map[string]int{"": 2, "limit=5": 6, "limit=10": 3, "limit=25": 2, "limit=26": 1, "limit=500": 1, "limit=max": 1, "limit=MAX": 1, "limit=1001": 1} {
		ids, pages := walk(query)
		slices.Sort(ids)
		if len(slices.Compact(ids)) != records+2 || pages != want {
			t.Errorf("%q: %d recordsets in %d pages, want %d in %d", query, len(ids), pages, records+2, want)
		}
	}
	for query, refusal := range map[string][2]string{
		"limit=0":    {"invalid_limit", "limit should be an integer between 1 and"},
		"limit=-1":   {"invalid_limit", "limit should be an integer between 1 and"},
		"limit=lots": {"invalid_limit", "limit should be an integer between 1 and"},
		"marker=00000000-0000-4000-8000-000000000000": {"marker_not_found", "could not be found"},
		"marker=x":         {"invalid_marker", ""},
		"sort_key=x":       {"invalid_sort_key", "sort key must be one of"},
		"sort_dir=up":      {"invalid_sort_dir", "'desc' or 'asc'"},
		"colour=blue":      {"bad_request", "Invalid filters colour"},
		"limit=5&colour=b": {"bad_request", "Invalid filters colour"},
	} {
		z.cloud.call(t, "GET", z.sets()+"?"+query, nil).refused(t, 400, refusal[0], refusal[1])
	}
	// The entry that a page was to follow is deleted.
	first := z.cloud.call(t, "GET", z.sets()+"?limit=5", nil).list("recordsets")
	last := fmt.Sprint(first[4]["id"])
	if a := z.cloud.call(t, "DELETE", z.sets()+"/"+last, nil); a.status != 202 {
		t.Fatal(a)
	}
	z.cloud.call(t, "GET", z.sets()+"?limit=5&marker="+last, nil).refused(t, 400, "marker_not_found", "could not be found")
}

func TestFilters(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	z.make(t, z.host("www"), "A", "192.0.2.1")
	z.make(t, z.host("www"), "TXT", `"note"`)
	z.make(t, z.host("api"), "A", "192.0.2.2", "192.0.2.3")
	z.make(t, z.host("*"), "A", "192.0.2.4")
	z.settle(t)
	for query, want := range map[string]int{
		"name=" + z.host("www"):                        2,
		"name=" + z.host("WWW"):                        2,
		"name=" + z.host("www") + "&type=TXT":          1,
		"name=" + z.host("*") + "&type=A":              3, // an asterisk is for anything: a wildcard record's name finds its siblings too
		"name=w*":                                      2,
		"type=A":                                       3,
		"type=AAAA":                                    0,
		"data=192.0.2.3":                               1,
		"data=192.0.2.*":                               3,
		"status=ACTIVE&type=A":                         3,
		"status=ERROR":                                 0,
		"name=" + z.host("api") + "&status=ACTIVE":     1,
		"name=" + strings.TrimSuffix(z.host("x"), "."): 0,
	} {
		a := z.cloud.call(t, "GET", z.sets()+"?"+query, nil)
		if got := len(a.list("recordsets")); a.status != 200 || got != want {
			t.Errorf("%q finds %d, want %d: %s", query, got, want, a)
		}
	}
	for query, want := range map[string]int{"?name=" + z.name: 1, "?name=" + strings.ToUpper(z.name): 1, "?name=*" + z.name[3:]: 1, "?name=" + z.name + "&type=SECONDARY": 0} {
		if got := len(z.cloud.call(t, "GET", "/zones"+query, nil).list("zones")); got != want {
			t.Errorf("zones%s finds %d, want %d", query, got, want)
		}
	}
	all := z.cloud.call(t, "GET", "/recordsets?name=*."+z.name+"&limit=max", nil).list("recordsets")
	if len(all) != 4 || all[0]["zone_name"] != z.name {
		t.Errorf("over all zones: %v", all)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	a := open(t).call(t, "GET", "/limits", nil)
	if a.status != 200 || a.number(t, "max_page_limit") != 1000 || a.number(t, "max_zone_recordsets") < 1 || a.number(t, "max_recordset_records") < 1 {
		t.Errorf("%s", a)
	}
	if _, ok := a.body["min_ttl"]; !ok {
		t.Errorf("%s has no min_ttl", a)
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	c := openAs(t, "quota")
	limits := c.call(t, "GET", "/limits", nil)
	z := c.zone(t)
	// Other tests may use the tenant too: zones are refused at the latest when its quota is full.
	var spare []*zone
	over := answer{}
	for range limits.number(t, "max_zones") {
		if over = c.call(t, "POST", "/zones", map[string]any{"name": target.Unique(t) + ".test.", "email": "a@example.net"}); over.status != 202 {
			break
		}
		spare = append(spare, &zone{c, over.text("id"), over.text("name")})
	}
	over.refused(t, 413, "over_quota", "Quota exceeded for zones.")
	for _, extra := range spare {
		c.call(t, "DELETE", extra.path(), nil)
	}
	many := make([]string, limits.number(t, "max_recordset_records")+1)
	for i := range many {
		many[i] = fmt.Sprintf("192.0.2.%d", i+1)
	}
	z.try(t, z.host("many"), "A", many...).refused(t, 413, "over_quota", "Quota exceeded for recordset_records.")
	for i := range limits.number(t, "max_zone_recordsets") - 2 { // SOA and NS count
		z.make(t, z.host(fmt.Sprintf("h%d", i)), "A", "192.0.2.1")
	}
	z.try(t, z.host("more"), "A", "192.0.2.1").refused(t, 413, "over_quota", "Quota exceeded for zone_recordsets.")
}

func TestZones(t *testing.T) {
	t.Parallel()
	c := open(t)
	z := c.zone(t)
	name := target.Unique(t)
	for what, test := range map[string]struct {
		body       map[string]any
		status     int
		code, says string
	}{
		"twice":            {map[string]any{"name": z.name, "email": "a@example.net"}, 409, "duplicate_zone", "Duplicate Zone"},
		"no dot":           {map[string]any{"name": name + ".test", "email": "a@example.net"}, 400, "invalid_object", "does not end with a dot"},
		"one label":        {map[string]any{"name": name + ".", "email": "a@example.net"}, 400, "invalid_zone_name", "More than one label is required"},
		"wildcard":         {map[string]any{"name": "*." + name + ".test.", "email": "a@example.net"}, 400, "invalid_object", "is invalid"},
		"no email":         {map[string]any{"name": name + ".test."}, 400, "invalid_object", "'email' is a required property"},
		"bad email":        {map[string]any{"name": name + ".test.", "email": "example.net"}, 400, "invalid_object", "is not an email"},
		"a strange type":   {map[string]any{"name": name + ".test.", "email": "a@example.net", "type": "FOO"}, 400, "invalid_object", "FOO is invalid"},
		"no masters":       {map[string]any{"name": name + ".test.", "type": "SECONDARY"}, 400, "invalid_object", "'masters' is a required property"},
		"a key too many":   {map[string]any{"name": name + ".test.", "email": "a@example.net", "foo": 1}, 400, "invalid_object", "Keys ['foo'] are not valid for zone"},
		"negative TTL":     {map[string]any{"name": name + ".test.", "email": "a@example.net", "ttl": -1}, 400, "invalid_object", "Value must be >= 0"},
		"nothing in it":    {map[string]any{}, 400, "invalid_object", ""},
		"a name of labels": {map[string]any{"name": "a..test.", "email": "a@example.net"}, 400, "invalid_object", "is invalid"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c.call(t, "POST", "/zones", test.body).refused(t, test.status, test.code, test.says)
		})
	}
	c.call(t, "GET", "/zones/nonsense", nil).refused(t, 400, "invalid_uuid", "Invalid UUID zone_id: nonsense")
	c.call(t, "GET", z.sets()+"/nonsense", nil).refused(t, 400, "invalid_uuid", "Invalid UUID recordset_id: nonsense")
	c.call(t, "GET", "/zones/00000000-0000-4000-8000-000000000000/recordsets", nil).refused(t, 404, "zone_not_found", "Could not find Zone")
	c.call(t, "PATCH", z.path(), map[string]any{"name": name + ".test."}).refused(t, 400, "invalid_object", "Keys ['name'] are not valid for zone")
}

// A secondary zone is a copy: nothing can be written to it.
func TestSecondaryZone(t *testing.T) {
	t.Parallel()
	c := open(t)
	name := target.Unique(t) + ".test."
	a := c.call(t, "POST", "/zones", map[string]any{"name": name, "type": "SECONDARY", "masters": []string{"192.0.2.53"}})
	if a.status != 202 || a.text("type") != "SECONDARY" {
		t.Fatal(a)
	}
	z := &zone{c, a.text("id"), name}
	defer func() { c.call(t, "DELETE", z.path(), nil) }()
	z.try(t, z.host("www"), "A", "192.0.2.1").refused(t, 403, "forbidden", "")
}

// A zone with children stays; one that is being deleted takes no writes and is gone in the end.
func TestZoneDeletion(t *testing.T) {
	t.Parallel()
	c := open(t)
	z := c.zone(t)
	child := c.childZone(t, z)
	c.call(t, "DELETE", z.path(), nil).refused(t, 400, "zone_has_sub_zone", "Please delete any subzones")
	a := c.call(t, "DELETE", child.path(), nil)
	if a.status != 202 || a.text("status") != "PENDING" || a.text("action") != "DELETE" {
		t.Errorf("%s", a)
	}
	if late := child.try(t, child.host("www"), "A", "192.0.2.1"); late.status != 400 && late.status != 404 {
		t.Errorf("a write to a deleting zone: %s", late)
	}
	target.Eventually(t, "the zone is gone", func() bool { return c.call(t, "GET", child.path(), nil).status == 404 })
	c.call(t, "GET", child.path(), nil).refused(t, 404, "zone_not_found", "Could not find Zone")
}

// Projects don't see each other, and only an admin sees all.
func TestIsolation(t *testing.T) {
	t.Parallel()
	c := open(t)
	z := c.zone(t)
	set := z.make(t, z.host("www"), "A", "192.0.2.1")
	other, admin := c.as(t, "other"), c.as(t, "admin")
	other.call(t, "GET", z.path(), nil).refused(t, 404, "zone_not_found", "Could not find Zone")
	other.call(t, "GET", z.sets(), nil).refused(t, 404, "zone_not_found", "Could not find Zone")
	other.call(t, "DELETE", z.sets()+"/"+set.text("id"), nil).refused(t, 404, "recordset_not_found", "Could not find RecordSet")
	other.call(t, "POST", "/zones", map[string]any{"name": z.name, "email": "a@example.net"}).refused(t, 409, "duplicate_zone", "")
	other.call(t, "POST", "/zones", map[string]any{"name": "sub." + z.name, "email": "a@example.net"}).refused(t, 403, "illegal_child", "")
	if got := len(other.call(t, "GET", "/zones?name="+z.name, nil).list("zones")); got != 0 {
		t.Errorf("another project finds %d zones", got)
	}
	if a := other.call(t, "GET", "/zones", nil, "X-Auth-All-Projects", "true"); a.status != 403 {
		t.Errorf("all projects without being admin: %s", a)
	}
	if got := len(admin.call(t, "GET", "/zones?name="+z.name, nil).list("zones")); got != 0 {
		t.Errorf("an admin finds %d zones without asking for all", got)
	}
	for query, header := range map[string][]string{"": {"X-Auth-All-Projects", "true"}, "&all_projects=true": nil} {
		if got := len(admin.call(t, "GET", "/zones?name="+z.name+query, nil, header...).list("zones")); got != 1 {
			t.Errorf("an admin who asks for all with %q %v finds %d zones", query, header, got)
		}
	}
	other.call(t, "GET", "/pools", nil).refused(t, 403, "forbidden", "")
	if pools := admin.call(t, "GET", "/pools", nil).list("pools"); len(pools) == 0 {
		t.Error("an admin sees no pools")
	}
}

// Bodies that are no JSON objects.
func TestBodies(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	z.cloud.call(t, "POST", z.sets(), map[string]any{}).refused(t, 400, "invalid_object", "'None' is not a valid record type")
	z.cloud.call(t, "POST", z.sets(), map[string]any{"name": z.host("a"), "type": "A", "records": nil}).refused(t, 400, "invalid_object", "'None' is not a valid list of records")
	z.cloud.call(t, "POST", z.sets(), map[string]any{"type": "A", "records": []string{"192.0.2.1"}}).refused(t, 400, "invalid_object", "")
	z.cloud.call(t, "POST", z.sets(), map[string]any{"name": z.host("a"), "type": "A", "records": []string{"192.0.2.1"}, "foo": 1}).
		refused(t, 400, "invalid_object", "Keys ['foo'] are not valid for recordset")
	z.cloud.call(t, "POST", z.sets(), map[string]any{"name": z.host("a"), "type": "A", "records": []string{"192.0.2.1"}, "ttl": -1}).
		refused(t, 400, "invalid_object", "Value must be >= 0 for field ttl")
	z.cloud.call(t, "POST", z.sets(), map[string]any{"name": z.host("a"), "type": "A", "records": []string{"192.0.2.1"}, "ttl": 1 << 31}).
		refused(t, 400, "invalid_object", "Value too high for ttl")
	z.cloud.call(t, "POST", z.sets(), map[string]any{"name": z.host("a"), "type": "A", "records": []string{"192.0.2.1"}, "description": strings.Repeat("x", 161)}).
		refused(t, 400, "invalid_object", "Value too long for description")
	z.cloud.call(t, "POST", z.sets(), nil, "Content-Type", "application/json").refused(t, 400, "empty_request_body", "Request Body is empty")
}

// Records that Designate takes, but can't transfer to its name servers, keep the whole zone from being published.
func TestPoisonNAPTR(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	poison := z.make(t, z.host("poison"), "NAPTR", "100 50 S SIP+D2U  _sip._udp.example.net.")
	good := z.make(t, z.host("good"), "A", "192.0.2.1")
	if a := z.cloud.call(t, "DELETE", z.sets()+"/"+poison.text("id"), nil); a.status != 202 {
		t.Fatal(a)
	}
	z.answers(t, z.host("good"), "A", "192.0.2.1")
	target.Eventually(t, "the good record is ACTIVE", func() bool {
		return z.cloud.call(t, "GET", z.sets()+"/"+good.text("id"), nil).text("status") == "ACTIVE"
	})
}

// What the name server says about the zones.
func TestAnswers(t *testing.T) {
	t.Parallel()
	c := open(t)
	z := c.zone(t)
	child := c.childZone(t, z)
	long := strings.Repeat("0123456789", 60)
	z.make(t, z.host("www"), "A", "192.0.2.1", "192.0.2.2")
	z.make(t, z.host("www"), "AAAA", "2001:db8::1")
	z.make(t, z.host("alias"), "CNAME", z.host("www"))
	z.make(t, z.host("hop"), "CNAME", z.host("alias"))
	z.make(t, z.host("dangling"), "CNAME", z.host("nothing"))
	z.make(t, z.host("out"), "CNAME", "www.example.net.")
	z.make(t, z.host("*.wild"), "A", "192.0.2.3")
	z.make(t, z.host("real.wild"), "A", "192.0.2.4")
	z.make(t, z.host("deep.empty"), "A", "192.0.2.5")
	z.make(t, z.host("long"), "TXT", `"`+long[:250]+`" "`+long[250:500]+`" "`+long[500:]+`"`)
	z.make(t, z.host("team"), "NS", "ns1.example.net.", "ns2.example.net.")
	z.make(t, z.host("Mixed"), "A", "192.0.2.6")
	child.make(t, child.host("www"), "A", "192.0.2.7")
	z.settle(t)
	child.settle(t)
	z.answers(t, z.host("www"), "A", "192.0.2.1", "192.0.2.2")
	for _, test := range []struct {
		name, kind string
		data       []string
	}{
		{z.host("www"), "AAAA", []string{"2001:db8::1"}},
		{z.host("WWW"), "AAAA", []string{"2001:db8::1"}},
		{z.host("alias"), "A", []string{"192.0.2.1", "192.0.2.2"}},
		{z.host("hop"), "A", []string{"192.0.2.1", "192.0.2.2"}},
		{z.host("hop"), "CNAME", []string{strings.TrimSuffix(z.host("alias"), ".")}},
		{z.host("out"), "CNAME", []string{"www.example.net"}},
		{z.host("anything.wild"), "A", []string{"192.0.2.3"}},
		{z.host("any.thing.wild"), "A", []string{"192.0.2.3"}},
		{z.host("anything.wild"), "AAAA", nil},
		{z.host("real.wild"), "A", []string{"192.0.2.4"}},
		{z.host("below.real.wild"), "A", nil}, // the real name hides the wildcard
		{z.host("empty"), "A", nil},
		{z.host("long"), "TXT", []string{long}},
		{z.host("mixed"), "A", []string{"192.0.2.6"}},
		{child.host("www"), "A", []string{"192.0.2.7"}},
	} {
		z.answers(t, test.name, test.kind, test.data...)
	}
	for _, test := range []struct {
		name, kind string
		code       string
		soa        bool
		referral   bool
	}{
		{z.host("www"), "MX", "NOERROR", true, false},
		{z.host("nothing"), "A", "NXDOMAIN", true, false},
		{z.host("empty"), "A", "NOERROR", true, false},
		{z.host("below.real.wild"), "A", "NXDOMAIN", true, false},
		{z.host("anything.wild"), "AAAA", "NOERROR", true, false},
		{z.host("dangling"), "A", "NXDOMAIN", true, false},
		{z.host("www.team"), "A", "NOERROR", false, true},
		{z.host("team"), "A", "NOERROR", false, true},
		{child.host("nothing"), "A", "NXDOMAIN", true, false},
	} {
		code, soa, referral := negative(t, c.dns, test.name, test.kind)
		if code != test.code || soa != test.soa || referral != test.referral {
			t.Errorf("%s %s: %s, SOA %v, referral %v; want %s, %v, %v", test.name, test.kind, code, soa, referral, test.code, test.soa, test.referral)
		}
	}
}

func TestVersionDocument(t *testing.T) {
	t.Parallel()
	a := open(t).call(t, "GET", "", nil)
	found := false
	for _, v := range a.list("versions") {
		found = found || v["id"] == "v2"
	}
	if a.status != 200 || !found {
		t.Errorf("%s, want v2 among the versions", a)
	}
}
