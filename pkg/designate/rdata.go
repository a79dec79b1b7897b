package designate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Type is the type of a recordset, in capitals as DNS and Designate write it.
type Type string

// The types whose canonical forms this package knows.
const (
	A     Type = "A"
	AAAA  Type = "AAAA"
	CNAME Type = "CNAME"
	TXT   Type = "TXT"
	NS    Type = "NS"
	PTR   Type = "PTR"
	MX    Type = "MX"
	SRV   Type = "SRV"
	NAPTR Type = "NAPTR"
	SOA   Type = "SOA"
)

// Types are those that can be read and written: all but the SOA, which is Designate's.
func Types() []Type { return []Type{A, AAAA, CNAME, MX, NAPTR, NS, PTR, SRV, TXT} }

var (
	// ErrTarget is matched by every error about the value of a record that has no canonical form.
	ErrTarget = errors.New("invalid record value")
	// ErrType is matched when a record's type is not one that this package writes.
	ErrType = errors.New("unsupported record type")
)

// CanonicalTarget returns the one form of a record's value that this package compares, stores and shows:
//
//	A, AAAA         the shortest form of the address (RFC 5952)
//	CNAME, NS, PTR  a canonical host name, no final dot
//	MX              "10 mail.example.org"
//	SRV             "10 5 5060 sip.example.org"
//	NAPTR           "100 50 \"U\" \"E2U+sip\" \"!^.*$!sip:info@example.org!\" sip.example.org"
//	TXT             the text itself (see CanonicalTXT)
//
// It is a fixed point, and the same whether a final dot, capitals, quotes or surplus blanks were given.
// Errors match ErrTarget (and ErrName when a name in it is bad) or ErrType.
func CanonicalTarget(t Type, value string) (string, error) {
	switch t {
	case TXT:
		return CanonicalTXT(value), nil
	case A, AAAA:
		return canonicalAddress(t, value)
	case CNAME, NS, PTR:
		return hostOf(t, value)
	case MX:
		return canonicalNumbered(t, value, 1)
	case SRV:
		return canonicalNumbered(t, value, 3)
	case NAPTR:
		return canonicalNAPTR(value)
	default:
		return "", fmt.Errorf("%w %q", ErrType, shortened(string(t)))
	}
}

// WireTarget returns a canonical value as Designate wants it: names with a final dot, TXT quoted and split.
func WireTarget(t Type, canonical string) string {
	switch t {
	case TXT:
		return WireTXT(canonical)
	case CNAME, NS, PTR:
		return WireName(canonical)
	case MX, SRV:
		return dotted(canonical)
	case NAPTR:
		return wireNAPTR(canonical)
	default:
		return canonical
	}
}

// ReadTarget returns the canonical form of a value that Designate holds. What has none is returned as it is: such records were
// written by others and are shown, not judged.
func ReadTarget(t Type, wire string) string {
	if t == TXT {
		if text, err := readTXT(wire); err == nil {
			return text
		}
		return wire
	}
	if target, err := CanonicalTarget(t, wire); err == nil {
		return target
	}
	return wire
}

// maxBadTargets is how many bad values of one record are told.
const maxBadTargets = 5

// CanonicalTargets returns the canonical values sorted and without duplicates, because a recordset is a set.
// Errors name the first bad values.
func CanonicalTargets(t Type, values []string) ([]string, error) {
	out := make([]string, 0, len(values))
	var errs []error
	for _, value := range values {
		target, err := CanonicalTarget(t, value)
		if err != nil {
			if errs = append(errs, err); len(errs) == maxBadTargets {
				break
			}
			continue
		}
		out = append(out, target)
	}
	return sortedSet(out), errors.Join(errs...)
}

func sortedSet(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

func canonicalAddress(t Type, value string) (string, error) {
	addr, err := netip.ParseAddr(strings.TrimSpace(value))
	if err != nil || addr.Zone() != "" {
		return "", fmt.Errorf("%w for %s: %q is not an IP address", ErrTarget, t, shortened(value))
	}
	if t == A {
		if addr = addr.Unmap(); !addr.Is4() {
			return "", fmt.Errorf("%w for A: %q is an IPv6 address", ErrTarget, shortened(value))
		}
		if addr.IsUnspecified() {
			return "", fmt.Errorf("%w for A: %q can't be the address of a host", ErrTarget, shortened(value))
		}
	} else if !addr.Is6() {
		return "", fmt.Errorf("%w for AAAA: %q is an IPv4 address", ErrTarget, shortened(value))
	}
	return addr.String(), nil
}

// canonicalNumbered reads n 16-bit numbers and a host name. The root (".") of an MX says that there is no mail (RFC 7505); that of an SRV
// (RFC 2782) is refused by Designate.
func canonicalNumbered(t Type, value string, n int) (string, error) {
	fields := strings.Fields(value)
	if len(fields) != n+1 {
		return "", fmt.Errorf("%w for %s: %q must be %d numbers and a host name", ErrTarget, t, shortened(value), n)
	}
	out := make([]string, 0, n+1)
	for _, f := range fields[:n] {
		number, err := number16(t, f)
		if err != nil {
			return "", err
		}
		out = append(out, number)
	}
	if t == MX && fields[n] == "." {
		return strings.Join(append(out, "."), " "), nil
	}
	host, err := hostOf(t, fields[n])
	if err != nil {
		return "", err
	}
	return strings.Join(append(out, host), " "), nil
}

func number16(t Type, s string) (string, error) {
	v, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return "", fmt.Errorf("%w for %s: %q is not a number from 0 to 65535", ErrTarget, t, shortened(s))
	}
	return strconv.FormatUint(v, 10), nil
}

func hostOf(t Type, s string) (string, error) {
	if s == "." {
		return "", fmt.Errorf("%w for %s: Designate does not take the root (.) as its host name", ErrTarget, t)
	}
	host, err := CanonicalHost(s)
	if err != nil {
		return "", fmt.Errorf("%w for %s: %w", ErrTarget, t, err)
	}
	return host, nil
}

func dotted(s string) string {
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// canonicalNAPTR reads order, preference, three character-strings (flags, services, regexp) and a replacement (RFC 3403).
// Designate wants the strings bare and cuts at each blank (designate/objects/rrdata_naptr.py). So it takes an empty one as two blanks in
// a row, and whatever else stands between blanks, but then it can't read back what means something else in a zone file, and the whole zone
// is never published again: such strings are refused here, those with parentheses and back-references too.
func canonicalNAPTR(value string) (string, error) {
	fields, err := naptrFields(value)
	if err != nil {
		return "", err
	}
	order, err := number16(NAPTR, fields[0])
	if err != nil {
		return "", err
	}
	preference, err := number16(NAPTR, fields[1])
	if err != nil {
		return "", err
	}
	replacement, err := hostOf(NAPTR, fields[5])
	if err != nil {
		return "", err
	}
	fields[2] = strings.ToUpper(fields[2]) // flags mean the same in both cases, and Designate takes capitals only
	if strings.Trim(fields[2], "APSU") != "" {
		return "", fmt.Errorf("%w for NAPTR: flags %q: only A, P, S and U are known", ErrTarget, shortened(fields[2]))
	}
	out := []string{order, preference}
	for _, text := range fields[2:5] {
		if text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"();\`, c) }) {
			return "", fmt.Errorf("%w for NAPTR: Designate can't publish the string %q: only printable ASCII without blanks and %s, and not nothing", ErrTarget, shortened(text), `"();\`)
		}
		out = append(out, quoteText(text))
	}
	return strings.Join(append(out, replacement), " "), nil
}

// wireNAPTR writes a canonical NAPTR value with bare strings.
func wireNAPTR(canonical string) string {
	fields, err := naptrFields(canonical)
	if err != nil {
		return canonical
	}
	fields[5] = dotted(fields[5])
	return strings.Join(fields[:], " ")
}

// naptrFields cuts a NAPTR value into its six fields; quoted strings lose their quotes and escapes.
func naptrFields(value string) ([6]string, error) {
	var fields [6]string
	bad := fmt.Errorf("%w for NAPTR: %q must be order, preference, flags, services, regexp and replacement", ErrTarget, shortened(value))
	rest, n := strings.TrimSpace(value), 0
	for ; rest != "" && n < len(fields); n++ {
		var b strings.Builder
		var err error
		if rest[0] == '"' {
			rest, err = quotedString(rest[1:], &b)
			rest = strings.TrimLeft(rest, " ")
		} else {
			var word string
			word, rest, _ = strings.Cut(rest, " ")
			b.WriteString(word)
		}
		if err != nil {
			return fields, fmt.Errorf("%w: %w", bad, err)
		}
		fields[n] = b.String()
	}
	if n != len(fields) || rest != "" {
		return fields, bad
	}
	return fields, nil
}
