package designate_test

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/external-dns/endpoint"

	"mooring/pkg/designate/externaldns"
)

// Our filter means what ExternalDNS's means: over many filters and names both let the same through, and ExternalDNS reads
// from our JSON the filter that we have.
func TestFilterIsExternalDNSs(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	labels := []string{"a", "b", "example", "test", "xn--mnchen-3ya", "münchen", "www"}
	name := func(longest int) string {
		var parts []string
		for range 1 + random.IntN(longest) {
			parts = append(parts, labels[random.IntN(len(labels))])
		}
		return strings.Join(parts, ".")
	}
	list := func() []string {
		var out []string
		for range random.IntN(3) {
			d := name(3)
			switch random.IntN(4) {
			case 0:
				d = "." + d
			case 1:
				d += "."
			}
			out = append(out, d)
		}
		return out
	}
	expression := func() *regexp.Regexp {
		choices := []*regexp.Regexp{nil, regexp.MustCompile(`^(a|b)\.`), regexp.MustCompile(`test$`), regexp.MustCompile(`münchen`)}
		return choices[random.IntN(len(choices))]
	}
	matched := 0
	for range 5000 {
		include, exclude := list(), list()
		ours, theirs := externaldns.NewFilter(include, exclude), endpoint.NewDomainFilterWithExclusions(include, exclude)
		if random.IntN(3) == 0 {
			a, b := expression(), expression()
			ours, theirs = externaldns.NewRegexFilter(a, b), endpoint.NewRegexDomainFilter(a, b)
		}
		data, err := json.Marshal(ours)
		if err != nil {
			t.Fatal(err)
		}
		read := &endpoint.DomainFilter{}
		if err := json.Unmarshal(data, read); err != nil {
			t.Fatalf("ExternalDNS can't read %s: %v", data, err)
		}
		for range 10 {
			n := name(4)
			want := theirs.Match(n)
			if want {
				matched++
			}
			if ours.Match(n) != want || read.Match(n) != want {
				t.Fatalf("include %q, exclude %q (%s): %q: ours %v, ExternalDNS's %v, ours as ExternalDNS reads it %v", include, exclude, data, n, ours.Match(n), want, read.Match(n))
			}
			if want && !ours.MatchZone(n) {
				t.Fatalf("%s lets the name %q through, but not a zone of that name", data, n)
			}
		}
	}
	if matched < 1000 || matched > 49000 {
		t.Fatalf("%d of 50000 names were let through: the cases prove nothing", matched)
	}
}
