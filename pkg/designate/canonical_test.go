package designate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/designate"
)

func TestCanonicalName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	if got, err := designate.CanonicalName(" example.org "); err != nil || got != "example.org" {
		t.Errorf("blanks around it: %q, %v", got, err)
	}
	for in, want := range map[string]string{
		"example.org":                "example.org",
		"Example.ORG.":               "example.org",
		"*.example.org":              "*.example.org",
		"_dmarc.example.org":         "_dmarc.example.org",
		"r3---sn-abc.example.org":    "r3---sn-abc.example.org",
		"bücher.example.org":         "xn--bcher-kva.example.org",
		"BÜCHER.example.org.":        "xn--bcher-kva.example.org",
		"xn--bcher-kva.example.org":  "xn--bcher-kva.example.org",
		"faß.example.org":            "xn--fa-hia.example.org",
		"例え。example.org":             "xn--r8jz45g.example.org",
		"*.bücher.example.org":       "*.xn--bcher-kva.example.org",
		long + ".example.org":        long + ".example.org",
		"1.2.0.192.in-addr.arpa":     "1.2.0.192.in-addr.arpa",
		"extdns-a.www.example.org":   "extdns-a.www.example.org",
		"_sip._tcp.BÜCHER.example.m": "_sip._tcp.xn--bcher-kva.example.m",
	} {
		got, err := designate.CanonicalName(in)
		if err != nil || got != want {
			t.Errorf("CanonicalName(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestCanonicalNameRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", ".", "..", "a..b", "-a.org", "a-.org", "a b.org", "a*.org", "a.*.org", "**.org", "a,b.org", "a/b.org", strings.Repeat("a", 64) + ".org",
		strings.Repeat("a.", 127) + "org", "a-*.example.org", "ä" + strings.Repeat("b", 70) + ".org", "a\x00b.org", "\"a\".org",
	} {
		if got, err := designate.CanonicalName(in); !errors.Is(err, designate.ErrName) {
			t.Errorf("CanonicalName(%q) = %q, %v; want ErrName", in, got, err)
		}
	}
}

func TestCanonicalTarget(t *testing.T) {
	t.Parallel()
	cases := []struct {
		typ             designate.Type
		in, canon, wire string
	}{
		{designate.A, "192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{designate.A, "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{designate.AAAA, "2001:DB8:0:0:0:0:0:1", "2001:db8::1", "2001:db8::1"},
		{designate.CNAME, "Target.Example.ORG.", "target.example.org", "target.example.org."},
		{designate.CNAME, "bücher.example.org", "xn--bcher-kva.example.org", "xn--bcher-kva.example.org."},
		{designate.NS, "ns1.example.org", "ns1.example.org", "ns1.example.org."},
		{designate.PTR, "Host.example.org", "host.example.org", "host.example.org."},
		{designate.MX, "10  Mail.example.org", "10 mail.example.org", "10 mail.example.org."},
		{designate.MX, "010 mail.example.org.", "10 mail.example.org", "10 mail.example.org."},
		{designate.MX, "0 .", "0 .", "0 ."},
		{designate.SRV, "10 5 5060 sip.example.org.", "10 5 5060 sip.example.org", "10 5 5060 sip.example.org."},
		{
			designate.NAPTR, `100 50 "u" "E2U+sip" "!^.*$!sip:x@example.org!" SIP.example.org.`,
			`100 50 "U" "E2U+sip" "!^.*$!sip:x@example.org!" sip.example.org`, `100 50 U E2U+sip !^.*$!sip:x@example.org! sip.example.org.`,
		},
		{designate.TXT, "v=spf1 -all", "v=spf1 -all", `"v=spf1 -all"`},
		{designate.TXT, `"v=spf1 -all"`, "v=spf1 -all", `"v=spf1 -all"`},
		{designate.TXT, `"a" "b"`, "ab", `"ab"`},
		{designate.TXT, `"heritage=external-dns,external-dns/owner=me"`, "heritage=external-dns,external-dns/owner=me", `"heritage=external-dns,external-dns/owner=me"`},
		{designate.TXT, `"say \"hi\""`, `say "hi"`, `"say \"hi\""`},
		{designate.TXT, `"\"hi\""`, `"\"hi\""`, `"\"hi\""`},
		{designate.TXT, `back\slash`, `back\slash`, `"back\\slash"`},
		{designate.TXT, "grüße", "grüße", `"gr\195\188\195\159e"`},
		{designate.TXT, `"unclosed`, `"\"unclosed"`, `"\"unclosed"`},
		{designate.TXT, "", "", `""`},
	}
	for _, c := range cases {
		canon, err := designate.CanonicalTarget(c.typ, c.in)
		if err != nil || canon != c.canon {
			t.Errorf("CanonicalTarget(%s, %q) = %q, %v; want %q", c.typ, c.in, canon, err, c.canon)
			continue
		}
		if wire := designate.WireTarget(c.typ, canon); wire != c.wire {
			t.Errorf("WireTarget(%s, %q) = %q, want %q", c.typ, canon, wire, c.wire)
		}
		if read := designate.ReadTarget(c.typ, c.wire); read != c.canon {
			t.Errorf("ReadTarget(%s, %q) = %q, want %q", c.typ, c.wire, read, c.canon)
		}
	}
}

func TestCanonicalTargetRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ designate.Type
		in  string
	}{
		{designate.A, ""},
		{designate.A, "192.0.2"},
		{designate.A, "2001:db8::1"},
		{designate.A, "0.0.0.0"},
		{designate.A, "example.org"},
		{designate.AAAA, "192.0.2.1"},
		{designate.AAAA, "fe80::1%eth0"},
		{designate.AAAA, "x"},
		{designate.CNAME, ""},
		{designate.CNAME, "*.example.org"},
		{designate.CNAME, "a b"},
		{designate.MX, "mail.example.org"},
		{designate.MX, "x mail.example.org"},
		{designate.MX, "65536 mail.example.org"},
		{designate.MX, "1 a b"},
		{designate.SRV, "1 2 sip.example.org"},
		{designate.SRV, "1 2 -3 sip.example.org"},
		{designate.NAPTR, "100 50 S SIP+D2U"},
		{designate.NAPTR, `100 50 "S "SIP" "" x.org`},
		{designate.NAPTR, "a 50 S SIP+D2U r x.org."},
		{designate.NAPTR, `100 50 "S" "SIP+D2U" "" _sip._udp.example.org.`},
		{designate.NAPTR, `100 50 S SIP+D2U  _sip._udp.example.org.`},
		{designate.NAPTR, `100 50 "U" "E2U+sip" "!^(.*)$!sip:x@example.org!" a.example.org`},
		{designate.NAPTR, `100 50 "U" "E2U+sip" "!^.*$!sip:\\1@example.org!" a.example.org`},
		{designate.NAPTR, `100 50 "U" "E2U+sip" "!^.*$!sip:x;y@example.org!" a.example.org`},
		{designate.NAPTR, `100 50 "U" "E2U+sip" "!^.*$!sip:x@example.org!" .`},
		{designate.NAPTR, `100 50 "Q" "E2U+sip" "!^.*$!sip:x@example.org!" a.example.org`},
		{designate.SRV, "0 0 0 ."},
		{designate.CNAME, "."},
	} {
		if got, err := designate.CanonicalTarget(c.typ, c.in); !errors.Is(err, designate.ErrTarget) {
			t.Errorf("CanonicalTarget(%s, %q) = %q, %v; want ErrTarget", c.typ, c.in, got, err)
		}
	}
	if _, err := designate.CanonicalTarget("LOC", "x"); !errors.Is(err, designate.ErrType) {
		t.Errorf("a type that isn't known: %v, want ErrType", err)
	}
}

func TestReadTargetShowsWhatItCannotParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ typ, in, want string }{
		{"TXT", `bare`, "bare"},
		{"TXT", `bare\"word`, `bare"word`},
		{"TXT", `"a"b"`, `"a"b"`},
		{"TXT", `"\999"`, `"\999"`},
		{"TXT", `"\1"`, `"\1"`},
		{"TXT", `x\`, `x\`},
		{"TXT", `two words`, `twowords`},
		{"A", "not an address", "not an address"},
		{"SSHFP", "1 1 abc", "1 1 abc"},
	} {
		if got := designate.ReadTarget(designate.Type(c.typ), c.in); got != c.want {
			t.Errorf("ReadTarget(%s, %q) = %q, want %q", c.typ, c.in, got, c.want)
		}
	}
}

func TestRecordCanonical(t *testing.T) {
	t.Parallel()
	got, err := designate.Record{Name: "WWW.Example.org.", Type: designate.A, TTL: 5, Targets: []string{"192.0.2.2", "192.0.2.1", "192.0.2.2"}, Owner: "WWW.example.org"}.Canonical(60)
	if err != nil {
		t.Fatal(err)
	}
	want := designate.Record{Name: "www.example.org", Type: designate.A, TTL: 60, Targets: []string{"192.0.2.1", "192.0.2.2"}, Owner: "www.example.org"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, r := range map[string]designate.Record{
		"two CNAMEs": {Name: "a.example.org", Type: designate.CNAME, Targets: []string{"b.org", "c.org"}},
		"no targets": {Name: "a.example.org", Type: designate.A},
		"bad target": {Name: "a.example.org", Type: designate.A, Targets: []string{"x"}},
		"too large":  {Name: "a.example.org", Type: designate.TXT, Targets: []string{strings.Repeat("x", 40000), strings.Repeat("y", 20000)}},
	} {
		var about *designate.RecordError
		if _, err := r.Canonical(0); !errors.Is(err, designate.ErrTarget) || !errors.As(err, &about) || about.Name != "a.example.org" {
			t.Errorf("%s: %v, want a RecordError that is ErrTarget", name, err)
		}
	}
	for name, r := range map[string]designate.Record{
		"SRV of no service": {Name: "sip.example.org", Type: designate.SRV, Targets: []string{"1 2 3 a.org"}},
		"SRV of two labels": {Name: "_sip._tcp", Type: designate.SRV, Targets: []string{"1 2 3 a.org"}},
		"delegated *":       {Name: "*.example.org", Type: designate.NS, Targets: []string{"a.org"}},
	} {
		if _, err := r.Canonical(0); !errors.Is(err, designate.ErrName) {
			t.Errorf("%s: %v, want ErrName", name, err)
		}
	}
	_, err = designate.Record{Name: "a b", Type: designate.A, Targets: []string{"x", "y"}}.Canonical(0)
	if !errors.Is(err, designate.ErrName) || !errors.Is(err, designate.ErrTarget) || strings.Count(err.Error(), "not an IP address") != 2 {
		t.Errorf("%v: want everything that is wrong at once", err)
	}
	for ttl, want := range map[int]int{0: 0, -1: 0, 30: 60, 60: 60, 3600: 3600, 1 << 40: 1<<31 - 1} {
		r, err := designate.Record{Name: "a.org", Type: designate.A, TTL: ttl, Targets: []string{"192.0.2.1"}}.Canonical(60)
		if err != nil || r.TTL != want {
			t.Errorf("TTL %d → %d, %v; want %d", ttl, r.TTL, err, want)
		}
	}
}

// Whatever is wanted, an error about it stays readable.
func TestErrorsAreShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x y\n", 1<<14)
	many := slices.Repeat([]string{long}, 100)
	for _, typ := range append(designate.Types(), "LOC", designate.Type(long)) {
		_, err := designate.Record{Name: long, Type: typ, Targets: many}.Canonical(0)
		if err == nil || len(err.Error()) > 5000 {
			t.Errorf("%.10s: an error of %d bytes", typ, len(fmt.Sprint(err)))
		}
	}
}

// Every value that has a canonical form keeps it: through itself, and through Designate's wire.
func checkTarget(t *testing.T, typ designate.Type, value string) {
	t.Helper()
	canon, err := designate.CanonicalTarget(typ, value)
	if err != nil {
		return
	}
	again, err := designate.CanonicalTarget(typ, canon)
	if err != nil || again != canon {
		t.Fatalf("%s %q: canonical form %q becomes %q, %v", typ, value, canon, again, err)
	}
	if read := designate.ReadTarget(typ, designate.WireTarget(typ, canon)); read != canon {
		t.Fatalf("%s %q: canonical form %q comes back from the wire (%q) as %q", typ, value, canon, designate.WireTarget(typ, canon), read)
	}
}

func TestCanonicalFormsAreFixedPoints(t *testing.T) {
	t.Parallel()
	alphabets := map[designate.Type]string{
		designate.A: "0123456789.:f", designate.AAAA: "0123456789abcdef:.", designate.CNAME: "abC-_.*ü ß", designate.NS: "ab.", designate.PTR: "ab.",
		designate.MX: "0159 ab.", designate.SRV: "0159 ab.", designate.NAPTR: "01 \"SU+a.\\!", designate.TXT: "a \"\\0129ü\x00\xff\t",
	}
	random := rand.New(rand.NewPCG(1, 2))
	for typ, alphabet := range alphabets {
		for range 20000 {
			var b strings.Builder
			for range random.IntN(24) {
				b.WriteByte(alphabet[random.IntN(len(alphabet))])
			}
			checkTarget(t, typ, b.String())
		}
	}
	for range 300 { // long texts, around the places where they are split
		text := make([]byte, 240+random.IntN(600))
		for i := range text {
			text[i] = "ab\"\\\xc3\xbc "[random.IntN(7)]
		}
		checkTarget(t, designate.TXT, string(text))
	}
}

func TestWireTXTFitsDesignate(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 252, 253, 254, 255, 506, 507, 4000} {
		for _, unit := range []string{"x", `"`, "\x01"} {
			wire := designate.WireTXT("x" + strings.Repeat(unit, n))
			for s := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(wire, `"`), `"`), `" "`) {
				if len(s) > 253 {
					t.Fatalf("%d × %q: a string of %d characters: Designate takes 255 with the quotes", n, unit, len(s))
				}
			}
		}
	}
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{"example.org", "*.Example.org.", "bücher.example", "a..b", "xn--bcher-kva", "。", "a。b。", "-", "*", "*.*", "ⅷ.example", "ẞ.de", "a\u200db.org"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		canon, err := designate.CanonicalName(name)
		if err != nil {
			if !errors.Is(err, designate.ErrName) {
				t.Fatalf("CanonicalName(%q): %v is not ErrName", name, err)
			}
			return
		}
		for _, again := range []string{canon, designate.WireName(canon), strings.ToUpper(canon)} {
			if got, err := designate.CanonicalName(again); err != nil || got != canon {
				t.Fatalf("CanonicalName(%q) = %q, but CanonicalName(%q) = %q, %v", name, canon, again, got, err)
			}
		}
		if len(canon) > 253 || strings.ContainsAny(canon, " \"\\\x00") {
			t.Fatalf("CanonicalName(%q) = %q", name, canon)
		}
	})
}

func FuzzTXT(f *testing.F) {
	for _, seed := range []string{"", "a", `"a"`, `"a" "b"`, `"a"b`, `"\"`, `\`, `"\195\188"`, `"\999"`, "\"\xff", strings.Repeat("x", 300), strings.Repeat(`\`, 300), `" "`, `"" ""`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		checkTarget(t, designate.TXT, value)
		designate.ReadTarget(designate.TXT, value)
	})
}

func FuzzTarget(f *testing.F) {
	for _, seed := range [][2]string{
		{"A", "192.0.2.1"},
		{"A", "::ffff:192.0.2.1"},
		{"AAAA", "2001:DB8::0:1"},
		{"AAAA", "fe80::1%eth0"},
		{"CNAME", "a.example.org."},
		{"CNAME", "*.bücher.example"},
		{"NS", "."},
		{"PTR", "a.org"},
		{"MX", "010 a.org"},
		{"MX", "0 ."},
		{"SRV", "1 2 3 a.org."},
		{"SRV", "0 0 0 ."},
		{"TXT", `"a" "b"`},
		{"TXT", strings.Repeat(`"\`, 200)},
		{"NAPTR", `1 2 "S" "" "!^.*$!x!" a.org`},
		{"NAPTR", `100 50 u E2U+sip !^.*$!sip:x@example.org! A.org.`},
		{"NAPTR", `1 2 "U" "E2U+sip" "!^(.*)$!sip:\\1!" a.org`},
		{"LOC", "x"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, typ, value string) {
		checkTarget(t, designate.Type(typ), value)
		designate.ReadTarget(designate.Type(typ), value)
	})
}

// A record that has a canonical form keeps it, whatever it was made of, and is none that keeps Designate from publishing its zone.
func FuzzRecord(f *testing.F) {
	f.Add("www.example.org", "A", 300, "192.0.2.2\n192.0.2.1\n192.0.2.2")
	f.Add("*.Bücher.example.", "CNAME", -1, "LB.example.net.")
	f.Add("_sip._tcp.example.org", "SRV", 0, "1 2 3 a.org")
	f.Add("sip.example.org", "SRV", 1<<40, "1 2 3 a.org")
	f.Add("*.example.org", "NS", 5, "ns.example.net")
	f.Add("t.example.org", "TXT", 60, strings.Repeat("x", 40000)+"\n"+strings.Repeat("y", 30000))
	f.Fuzz(func(t *testing.T, name, typ string, ttl int, targets string) {
		r, err := designate.Record{Name: name, Type: designate.Type(typ), TTL: ttl, Targets: strings.Split(targets, "\n")}.Canonical(60)
		if err != nil {
			if len(err.Error()) > 5000 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := r.Canonical(60)
		if diff := cmp.Diff(r, again); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
		if r.TTL != 0 && (r.TTL < 60 || r.TTL > 1<<31-1) || len(r.Targets) == 0 || !slices.IsSorted(r.Targets) {
			t.Fatalf("%+v", r)
		}
		size := 0
		for _, target := range r.Targets {
			size += len(designate.WireTarget(r.Type, target))
		}
		if size > 60000 {
			t.Fatalf("%d bytes of values", size)
		}
	})
}
