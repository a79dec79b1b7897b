package designate_test

import (
	"fmt"
	"strings"
	"testing"

	"mooring/pkg/designate"
)

// texts are n values of 4 kB each.
func texts(n int) []string {
	var out []string
	for i := range n {
		out = append(out, designate.WireTXT(fmt.Sprintf("%02d ", i)+strings.Repeat("x", 4000)))
	}
	return out
}

// The largest recordset that mooring writes is published.
func TestLargeRecordset(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	large := designate.Record{Name: strings.TrimSuffix(z.host("large"), "."), Type: designate.TXT, Targets: texts(14)}
	if _, err := large.Canonical(0); err != nil {
		t.Fatalf("mooring would not write it: %v", err)
	}
	z.make(t, z.host("large"), "TXT", large.Targets...)
	z.make(t, z.host("good"), "A", "192.0.2.1")
	z.answers(t, z.host("good"), "A", "192.0.2.1")
}

// What Designate stores, but can't publish: nothing of the zone is published any more as long as it is there. Mooring doesn't write it.
func TestUnpublishable(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	for name, c := range map[string]struct {
		kind designate.Type
		data []string
	}{
		"more than a message":             {designate.TXT, texts(20)},
		"NAPTR with parentheses":          {designate.NAPTR, []string{"100 50 U E2U+sip !^(.*)$!sip:x@example.net! a.example.net."}},
		"NAPTR with a back-reference":     {designate.NAPTR, []string{`100 50 U E2U+sip !^.*$!sip:\1@example.net! a.example.net.`}},
		"NAPTR with what begins comments": {designate.NAPTR, []string{"100 50 U E2U+sip !^.*$!sip:x;y@example.net! a.example.net."}},
	} {
		label := strings.ReplaceAll(strings.ToLower(name), " ", "-")
		if _, err := (designate.Record{Name: label + "." + z.bare(), Type: c.kind, Targets: c.data}).Canonical(0); err == nil {
			t.Errorf("%s: mooring would write it", name)
		}
		set := z.make(t, z.host(label), string(c.kind), c.data...)
		if a := z.cloud.call(t, "DELETE", z.sets()+"/"+set.text("id"), nil); a.status != 202 {
			t.Error(a)
		}
	}
	for name, c := range map[string]struct{ kind, name, data string }{
		"NAPTR without a replacement": {"NAPTR", "n", "100 50 U E2U+sip !^.*$!sip:x@example.net! ."},
		"NAPTR with a flag too many":  {"NAPTR", "n", "100 50 Q E2U+sip !^.*$!sip:x@example.net! a.example.net."},
	} {
		a := z.try(t, z.host(c.name), c.kind, c.data)
		if a.refused(t, 400, "invalid_object", "is not a 'NAPTR' Record"); t.Failed() {
			t.Log(name)
		}
	}
}
