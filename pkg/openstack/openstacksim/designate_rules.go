package openstacksim

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// designateTypes are Zed's supported_record_type (designate/conf/base.py).
func designateTypes() []string {
	return []string{"A", "AAAA", "CNAME", "MX", "SRV", "TXT", "SPF", "NS", "PTR", "SSHFP", "SOA", "NAPTR", "CAA", "CERT"}
}

// validLabels is Designate's RE_ZONENAME, and with wildcard its RE_HOSTNAME (designate/objects/fields.py).
func validLabels(name string, wildcard bool) bool {
	if len(name) > 254 || !strings.HasSuffix(name, ".") || name == "." {
		return false
	}
	for i, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if wildcard && i == 0 && label == "*" {
			continue
		}
		if !validLabel(label) {
			return false
		}
	}
	return true
}

// serviceName is Designate's RE_SRV_HOST_NAME: two labels with an underscore before the domain.
func serviceName(name string) bool {
	labels := strings.SplitN(name, ".", 3)
	return len(labels) == 3 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_") && validLabels(name, false) && labels[2] != ""
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(label, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

// hostField is Designate's HostField, domainField its DomainField: what they complain of, in Designate's words, or nothing.
func hostField(value string) string {
	if complaint := labelLengths(value); complaint != "" {
		return complaint
	}
	if !strings.HasSuffix(value, ".") {
		return fmt.Sprintf("Host name %s does not end with a dot", value)
	}
	if !validLabels(value, true) {
		return fmt.Sprintf("Host name %s is invalid", value)
	}
	return ""
}

func domainField(value string) string {
	if complaint := labelLengths(value); complaint != "" {
		return complaint
	}
	if !strings.HasSuffix(value, ".") {
		return fmt.Sprintf("Domain %s does not end with a dot", value)
	}
	if !validLabels(value, false) {
		return fmt.Sprintf("Domain %s is invalid", value)
	}
	return ""
}

func labelLengths(value string) string {
	for label := range strings.SplitSeq(value, ".") {
		if len(label) > 63 {
			return fmt.Sprintf("Host %s is too long", label)
		}
	}
	return ""
}

// recordFormat checks one record's data, as the from_string methods of designate/objects/rrdata_*.py do.
func recordFormat(kind, data string) bool {
	switch kind {
	case "A", "AAAA":
		addr, err := netip.ParseAddr(data)
		return err == nil && addr.Zone() == "" && addr.Is4() == (kind == "A")
	case "CNAME", "NS", "PTR":
		return isDomain(data)
	case "MX":
		return numbersThen(data, 1, func(host string) bool { return strings.HasSuffix(host, ".") })
	case "SRV":
		return numbersThen(data, 3, isDomain)
	case "NAPTR":
		return naptrFormat(data)
	case "TXT", "SPF":
		return txtFormat(data)
	case "CAA":
		return caaFormat(data)
	default: // SSHFP and CERT: nothing here writes them
		return true
	}
}

func isDomain(value string) bool { return domainField(value) == "" }

func numbersThen(data string, n int, host func(string) bool) bool {
	fields := strings.Split(data, " ")
	if len(fields) != n+1 {
		return false
	}
	for _, f := range fields[:n] {
		if _, err := strconv.ParseUint(f, 10, 16); err != nil {
			return false
		}
	}
	return host(fields[n])
}

func naptrFormat(data string) bool {
	fields := strings.Split(data, " ")
	if len(fields) != 6 {
		return false
	}
	for _, f := range fields[:2] {
		if _, err := strconv.ParseUint(f, 10, 16); err != nil {
			return false
		}
	}
	flags := fields[2]
	for i, c := range flags {
		if !strings.ContainsRune("APSU", c) || strings.ContainsRune(flags[:i], c) {
			return false
		}
	}
	if flags == "" {
		return false
	}
	if !regexp.MustCompile(`^([A-Za-z]([A-Za-z0-9]*)(\+[A-Za-z]([A-Za-z0-9]{0,31}))*)?`).MatchString(fields[3]) {
		return false
	}
	return isDomain(fields[5])
}

func caaFormat(data string) bool {
	flags, property, ok := strings.Cut(data, " ")
	if f, err := strconv.Atoi(flags); !ok || err != nil || f < 0 || f > 1 {
		return false
	}
	tag, value, ok := strings.Cut(property, " ")
	if !ok || !slices.Contains([]string{"issue", "issuewild", "iodef"}, tag) {
		return false
	}
	if tag == "iodef" {
		return true
	}
	host, _, _ := strings.Cut(value, ";")
	return isDomain(host + ".")
}

// txtFormat is TXT.from_string (designate/objects/rrdata_txt.py).
func txtFormat(value string) bool {
	if strings.HasSuffix(value, `\`) {
		return false
	}
	if len([]rune(value)) <= 255 {
		return txtString(value)
	}
	stripped := strings.Trim(value, `"`)
	if !quoted(value) && !strings.Contains(stripped, `" "`) {
		return false
	}
	for s := range strings.SplitSeq(stripped, `" "`) {
		if !txtString(`"` + s + `"`) {
			return false
		}
	}
	return true
}

func quoted(s string) bool { return strings.HasPrefix(s, `"`) && strings.HasSuffix(s, `"`) }

func txtString(value string) bool {
	if len([]rune(value)) > 255 || strings.HasPrefix(value, `"`) != strings.HasSuffix(value, `"`) {
		return false
	}
	if !quoted(value) {
		return !strings.ContainsAny(value, " \t\n\r\v\f")
	}
	inner := strings.Trim(value, `"`)
	for i := range len(inner) {
		// Python's inner[-1] is the last character, hence the wrap around.
		if inner[i] == '"' && inner[(i+len(inner)-1)%len(inner)] != '\\' {
			return false
		}
	}
	return true
}
