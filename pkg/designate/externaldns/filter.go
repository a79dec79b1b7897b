package externaldns

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// Filter says which names are ours. ExternalDNS gets it in the negotiation and drops what does not match before it plans, so
// it means here what it means there: a domain stands for itself and all below it, one that begins with a dot only for what
// is below it; regular expressions, if there are any, count alone; exclusions win. A nil *Filter lets everything through.
type Filter struct {
	include, exclude           []string
	regexInclude, regexExclude *regexp.Regexp
}

// NewFilter makes a filter of domains. Without any to include, all are.
func NewFilter(include, exclude []string) *Filter {
	return &Filter{include: domains(include), exclude: domains(exclude)}
}

// NewRegexFilter makes a filter of regular expressions on names without their final dot; either may be nil.
func NewRegexFilter(include, exclude *regexp.Regexp) *Filter {
	return &Filter{regexInclude: include, regexExclude: exclude}
}

// Match says whether a name is let through.
func (f *Filter) Match(name string) bool {
	if f == nil {
		return true
	}
	name = plain(name)
	if f.regexInclude != nil || f.regexExclude != nil {
		return (f.regexExclude == nil || !f.regexExclude.MatchString(name)) && (f.regexInclude == nil || f.regexInclude.MatchString(name))
	}
	covers := func(domain string) bool { return within(name, domain) }
	return (len(f.include) == 0 || slices.ContainsFunc(f.include, covers)) && !slices.ContainsFunc(f.exclude, covers)
}

// MatchZone says whether a zone can hold names that are let through: its own, those of a domain in it, or those of a zone
// that a regular expression may match, which the zone's name can't tell.
func (f *Filter) MatchZone(zone string) bool {
	if f == nil || f.regexInclude != nil || f.regexExclude != nil {
		return true
	}
	zone = plain(zone)
	if slices.ContainsFunc(f.exclude, func(domain string) bool { return within(zone, domain) }) {
		return false
	}
	return len(f.include) == 0 || slices.ContainsFunc(f.include, func(domain string) bool {
		return within(zone, domain) || within(strings.TrimPrefix(domain, "."), zone)
	})
}

// MarshalJSON writes domains or regular expressions, never both: ExternalDNS refuses that.
func (f *Filter) MarshalJSON() ([]byte, error) {
	var out struct {
		Include      []string `json:"include,omitempty"`
		Exclude      []string `json:"exclude,omitempty"`
		RegexInclude string   `json:"regexInclude,omitempty"`
		RegexExclude string   `json:"regexExclude,omitempty"`
	}
	if f != nil {
		out.Include, out.Exclude = f.include, f.exclude
		if f.regexInclude != nil {
			out.RegexInclude = f.regexInclude.String()
		}
		if f.regexExclude != nil {
			out.RegexExclude = f.regexExclude.String()
		}
	}
	return json.Marshal(out)
}

// within says whether a name is a domain's own or below it.
func within(name, domain string) bool {
	if strings.HasPrefix(domain, ".") {
		return strings.HasSuffix(name, domain)
	}
	return name == domain || strings.HasSuffix(name, "."+domain)
}

func domains(list []string) []string {
	var out []string
	for _, d := range list {
		if d = plain(strings.TrimSpace(d)); d != "" {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// plain is a name without its final dot, in lower case and in Unicode: what ExternalDNS compares. A name that is no valid IDN
// is compared as it is.
func plain(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if unicode, err := idna.ToUnicode(name); err == nil {
		return unicode
	}
	return name
}
