package designate

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// Limits of names (RFC 1035 section 2.3.4). Designate's RE_HOSTNAME (designate/schema/format.py) allows 254 characters with the
// final dot, which is 253 without it.
const (
	maxNameLength  = 253
	maxLabelLength = 63
)

// ErrName is matched by every error about a DNS name that has no canonical form.
var ErrName = errors.New("invalid DNS name")

// CanonicalName returns the one form of a DNS name that this package compares, stores and shows: lower case, punycode for
// labels outside ASCII (UTS 46, non-transitional), without a final dot. An asterisk is only good as the whole first label.
// The rules are those of Designate's RE_HOSTNAME; underscores are allowed anywhere in a label.
// The result is a fixed point: CanonicalName(CanonicalName(x)) = CanonicalName(x).
// Errors match ErrName.
func CanonicalName(name string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimSpace(name), ".")
	ascii, err := toASCII(bare)
	if err != nil {
		return "", fmt.Errorf("%w %q: %w", ErrName, shortened(name), err)
	}
	// The mapping of UTS 46 can make dots out of ideographic full stops, so the final one is cut once more.
	ascii = strings.TrimSuffix(ascii, ".")
	if err := checkName(ascii, true); err != nil {
		return "", fmt.Errorf("%w %q: %w", ErrName, shortened(name), err)
	}
	return ascii, nil
}

// CanonicalHost is CanonicalName for a name that is the value of a record (the target of a CNAME, NS, PTR, MX or SRV):
// no asterisk (Designate's RE_ZONENAME).
func CanonicalHost(name string) (string, error) {
	host, err := CanonicalName(name)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(host, "*") {
		return "", fmt.Errorf("%w %q: a wildcard can't be the value of a record", ErrName, shortened(name))
	}
	return host, nil
}

// WireName returns a canonical name as Designate wants it: absolute, with a final dot.
func WireName(canonical string) string { return canonical + "." }

// readName is CanonicalName for a name that Designate holds already: what has no canonical form is shown as it is,
// because hiding a record that exists would be worse than showing it oddly.
func readName(wire string) string {
	if name, err := CanonicalName(wire); err == nil {
		return name
	}
	return strings.ToLower(strings.TrimSuffix(wire, "."))
}

func toASCII(name string) (string, error) {
	if isASCII(name) {
		// Not through UTS 46: that refuses labels such as "r3---sn" and "_dmarc", which DNS and Designate accept.
		return strings.ToLower(name), nil
	}
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))
	ascii, err := profile.ToASCII(name)
	if err != nil {
		return "", fmt.Errorf("not a valid internationalised name: %w", err)
	}
	return strings.ToLower(ascii), nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func checkName(name string, wildcard bool) error {
	if name == "" {
		return errors.New("it is empty")
	}
	if len(name) > maxNameLength {
		return fmt.Errorf("%d characters, at most %d are allowed", len(name), maxNameLength)
	}
	first := true
	for label := range strings.SplitSeq(name, ".") {
		if label == "*" {
			if !first || !wildcard {
				return errors.New("an asterisk is only allowed as the whole first label")
			}
			first = false
			continue
		}
		first = false
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	return nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("it has an empty label")
	case len(label) > maxLabelLength:
		return fmt.Errorf("label %q has %d characters, at most %d are allowed", shortened(label), len(label), maxLabelLength)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("label %q begins or ends with a hyphen", shortened(label))
	}
	for i := range len(label) {
		if !isLabelByte(label[i]) {
			return fmt.Errorf("label %q has the character %q: only letters, digits, '-' and '_' are allowed", label, label[i])
		}
	}
	return nil
}

func isLabelByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-' || b == '_'
}
