package designate_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/external-dns/endpoint"

	"mooring/pkg/designate/externaldns"
	"mooring/pkg/openstack/openstacksim"
	peer "mooring/tests/peer/externaldns"
)

// A takeover is a zone as another provider has left it: the webhook of inovex, or the provider that was a part of ExternalDNS until 0.15.
// Both hand ExternalDNS's own marks on as they get them: in quotes, once. They write no description, and ask for a TTL only when ExternalDNS
// does (the one in ExternalDNS never). What their marks look like is ExternalDNS's affair, by its version and flags:
//
//	up to 0.11     the name of the record, under which a CNAME leaves no room for it, with prefix or suffix
//	0.12 to 0.17   that, and one with the record's type before the first label: a-www
//	since 0.18     the latter alone, as with --txt-new-format-only before
type takeover struct {
	settings peer.Settings
	zone     func(name func(string) string) []stored // what is there; name makes "label.zone."
	want     func(name func(string) string) []*endpoint.Endpoint
	// first are the methods of what the first sync writes; nothing if the flags are the same.
	first []string
	// left are the recordsets that stay when nothing is wanted any more.
	left []string
}

// stored is a recordset as it was written.
type stored struct {
	name, kind string
	ttl        int // 0: null
	records    []string
}

const takeoverMark = `"heritage=external-dns,external-dns/owner=prod,external-dns/resource=service/default/web"`

func wantedWeb(names ...string) func(func(string) string) []*endpoint.Endpoint {
	return func(name func(string) string) (list []*endpoint.Endpoint) {
		for _, label := range names {
			e := endpoint.NewEndpointWithTTL(name(label), "A", 300, "192.0.2.1", "192.0.2.2")
			if strings.HasPrefix(label, "shop") {
				e = endpoint.NewEndpoint(name(label), "CNAME", "lb.example.net")
			}
			list = append(list, e.WithLabel(endpoint.ResourceLabelKey, "service/default/web"))
		}
		return list
	}
}

func twoAddresses(name string) stored {
	return stored{name, "A", 300, []string{"192.0.2.1", "192.0.2.2"}}
}

func marked(name string) stored { return stored{name, "TXT", 0, []string{takeoverMark}} }

func alias(name string) stored { return stored{name, "CNAME", 0, []string{"lb.example.net."}} }

func takeovers(t *testing.T) map[string]takeover {
	t.Helper()
	key := []byte("0123456789abcdef0123456789abcdef")
	secret, err := endpoint.EncryptText(strings.Trim(takeoverMark, `"`), key, "MDEyMzQ1Njc4OWFi")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]takeover{
		"inovex, ExternalDNS 0.18 and later": {
			settings: peer.Settings{Owner: "prod"}, want: wantedWeb("www", "shop"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), marked(name("a-www")), alias(name("shop")), marked(name("cname-shop"))}
			},
		},
		"inovex, ExternalDNS 0.12 to 0.17": {
			settings: peer.Settings{Owner: "prod", Prefix: "txt."}, want: wantedWeb("www", "shop"),
			zone: func(name func(string) string) []stored {
				return []stored{
					twoAddresses(name("www")), marked(name("txt.www")), marked(name("txt.a-www")), alias(name("shop")), marked(name("txt.shop")), marked(name("txt.cname-shop")),
				}
			},
			left: []string{"txt.shop TXT", "txt.www TXT"}, // ExternalDNS has forgotten that it ever wrote these
		},
		"built in, ExternalDNS up to 0.11": {
			settings: peer.Settings{Owner: "prod"}, want: wantedWeb("www"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), marked(name("www"))}
			},
			first: []string{"POST"}, // ExternalDNS moves to its newer form of marks
			left:  []string{"www TXT"},
		},
		"built in, without a TTL": {
			settings: peer.Settings{Owner: "prod"},
			want: func(name func(string) string) []*endpoint.Endpoint {
				return []*endpoint.Endpoint{endpoint.NewEndpoint(name("www"), "A", "192.0.2.1").WithLabel(endpoint.ResourceLabelKey, "service/default/web")}
			},
			zone: func(name func(string) string) []stored {
				return []stored{{name("www"), "A", 0, []string{"192.0.2.1"}}, marked(name("a-www"))}
			},
		},
		"the type in the prefix": {
			settings: peer.Settings{Owner: "prod", Prefix: "%{record_type}.dns."}, want: wantedWeb("www", "shop"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), marked(name("a.dns.www")), alias(name("shop")), marked(name("cname.dns.shop"))}
			},
		},
		"the type in the suffix": {
			settings: peer.Settings{Owner: "prod", Suffix: "-%{record_type}"}, want: wantedWeb("www", "shop"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), marked(name("www-a")), alias(name("shop")), marked(name("shop-cname"))}
			},
		},
		"encrypted marks": {
			settings: peer.Settings{Owner: "prod", AESKey: string(key)}, want: wantedWeb("www"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), {name("a-www"), "TXT", 0, []string{`"` + secret + `"`}}}
			},
		},
		"marks without quotes": {
			settings: peer.Settings{Owner: "prod"}, want: wantedWeb("www"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), {name("a-www"), "TXT", 0, []string{strings.Trim(takeoverMark, `"`)}}}
			},
		},
		"another owner id": { // --migrate-from-txt-owner: ExternalDNS writes the new one with the record's next change
			settings: peer.Settings{Owner: "new", OldOwner: "prod"}, want: wantedWeb("www"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), marked(name("a-www"))}
			},
		},
		// What follows is nobody's: neither did the provider before own it. It is left alone.
		"marks in quotes twice": {
			settings: peer.Settings{Owner: "prod"}, want: wantedWeb("www"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), {name("a-www"), "TXT", 0, []string{`"\"heritage=external-dns,external-dns/owner=prod\""`}}}
			},
			left: []string{"a-www TXT", "www A"},
		},
		"a wildcard, whose mark Designate refused": {
			settings: peer.Settings{Owner: "prod", Wildcard: "any"}, want: wantedWeb("*.apps"),
			zone: func(name func(string) string) []stored { return []stored{twoAddresses(name("*.apps"))} },
			left: []string{"*.apps A"},
		},
		"a wildcard, whose mark was made by hand": {
			settings: peer.Settings{Owner: "prod", Wildcard: "any"}, want: wantedWeb("*.apps"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("*.apps")), marked(name("a-any.apps"))}
			},
		},
		"the zone's own name, whose mark was outside": {
			settings: peer.Settings{Owner: "prod"}, want: wantedWeb(""),
			zone: func(name func(string) string) []stored { return []stored{twoAddresses(name(""))} },
			left: []string{"A"},
		},
		"marks under another prefix": {
			settings: peer.Recommended("prod"), want: wantedWeb("www"),
			zone: func(name func(string) string) []stored {
				return []stored{twoAddresses(name("www")), marked(name("a-www"))}
			},
			left: []string{"a-www TXT", "www A"},
		},
	}
}

// With the flags of the ExternalDNS before, nothing is written at the first sync, and nothing is ever made anew: recordsets keep their ids
// while they are changed, and go when they are not wanted.
func TestTakeover(t *testing.T) {
	t.Parallel()
	for name, test := range takeovers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			z := c.zone(t)
			for _, s := range test.zone(func(label string) string { return strings.TrimPrefix(label+".", ".") + z.name }) {
				z.store(t, s)
			}
			bare := func(label string) string { return strings.TrimPrefix(label+".", ".") + z.bare() }
			client, err := peer.Open(t.Context(), serve(t, webhook(t, c.session, externaldns.NewFilter([]string{z.bare()}, nil))), test.settings)
			if err != nil {
				t.Fatal(err)
			}
			sync := func(desired ...*endpoint.Endpoint) {
				t.Helper()
				if _, err := client.Sync(t.Context(), desired...); err != nil {
					t.Fatal(err)
				}
			}
			before := z.ids(t)
			if c.Sim != nil {
				c.Sim.Calls.Reset()
			}
			for _, turn := range []string{"first", "second"} {
				sync(test.want(bare)...)
				if got := c.writes(); c.Sim != nil && !slices.Equal(got, test.first) {
					t.Errorf("after the %s sync the writes are %q, want %q", turn, got, test.first)
				}
			}
			changed := test.want(bare)
			for _, e := range changed {
				e.Targets[0] = strings.NewReplacer("192.0.2.1", "192.0.2.9", "lb.", "lb2.").Replace(e.Targets[0])
			}
			sync(changed...)
			now := z.ids(t)
			for key, id := range before {
				if now[key] != id {
					t.Errorf("%s had the id %s and has %q: it was made anew", key, id, now[key])
				}
			}
			sync()
			var left []string
			for key := range z.ids(t) {
				left = append(left, key)
			}
			slices.Sort(left)
			if !slices.Equal(left, test.left) {
				t.Errorf("%q are left, want %q", left, test.left)
			}
			if len(test.left) == 0 {
				z.answers(t, z.host("www"), "A")
			}
		})
	}
}

// store makes a recordset as it was written by another.
func (z *zone) store(t *testing.T, s stored) {
	t.Helper()
	body := map[string]any{"name": s.name, "type": s.kind, "records": s.records}
	if s.ttl > 0 {
		body["ttl"] = s.ttl
	}
	if a := z.cloud.call(t, "POST", z.sets(), body); a.status != 202 {
		t.Fatalf("storing %v: %s", s, a)
	}
}

// writes are the methods of the writes to Designate since the log of calls was last reset; a real cloud does not tell.
func (c *cloud) writes() (methods []string) {
	if c.Sim == nil {
		return nil
	}
	for _, call := range c.Sim.Calls.All(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}) {
		if call.Method != http.MethodGet {
			methods = append(methods, call.Method)
		}
	}
	return methods
}

// ids are the recordsets of the zone, "label type" to id, without Designate's own.
func (z *zone) ids(t *testing.T) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, set := range z.cloud.call(t, "GET", z.sets()+"?limit=1000", nil).list("recordsets") {
		if name, kind := fmt.Sprint(set["name"]), fmt.Sprint(set["type"]); kind != "SOA" && kind != "NS" && set["action"] != "DELETE" {
			ids[strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(name, z.name), ".")+" "+kind, " ")] = fmt.Sprint(set["id"])
		}
	}
	return ids
}
