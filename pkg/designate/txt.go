package designate

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxTXTChunk is the most characters of escaped text that one string of a TXT record may have on Designate's wire. A string has
// 255 bytes in DNS, but Designate (designate/objects/rrdata_txt.py) measures the presentation form with its two quotes.
const maxTXTChunk = 253

// errTXT is matched by errors about TXT data that can't be read.
var errTXT = errors.New("invalid TXT data")

// CanonicalTXT returns the one form of the text of a TXT record: what the record says, in one piece, without quotes and
// escapes. Only a text that itself begins with a quote stays quoted and escaped, or the form would not be a fixed point, and one
// that is not UTF-8, or JSON would spoil it.
// Wanted values come both bare (`v=spf1 -all`) and quoted (`"v=spf1 -all"`, as ExternalDNS writes its ownership records):
// both become the same. There is no error: what is not properly quoted means itself.
func CanonicalTXT(target string) string { return canonicalText(targetText(target)) }

// WireTXT returns a canonical text as Designate wants it: quoted, `"` and `\` escaped, bytes outside printable ASCII as \DDD,
// split into strings that Designate accepts (see maxTXTChunk).
func WireTXT(canonical string) string {
	text := targetText(canonical)
	var b strings.Builder
	b.Grow(len(text) + 2)
	b.WriteByte('"')
	room := maxTXTChunk
	for i := range len(text) {
		piece := escapeByte(text[i])
		if len(piece) > room {
			b.WriteString(`" "`)
			room = maxTXTChunk
		}
		b.WriteString(piece)
		room -= len(piece)
	}
	b.WriteByte('"')
	return b.String()
}

// readTXT returns the canonical text of TXT data as Designate stores it: strings in quotes, or bare words (RFC 1035 section 5.1).
// Strings of one record are joined. Errors match errTXT.
func readTXT(wire string) (string, error) {
	text, err := parseStrings(wire)
	if err != nil {
		return "", err
	}
	return canonicalText(text), nil
}

// targetText returns the bytes that a wanted value (bare or quoted) stands for.
func targetText(target string) string {
	if !strings.HasPrefix(target, `"`) {
		return target
	}
	text, err := parseStrings(target)
	if err != nil {
		return target
	}
	return text
}

func canonicalText(text string) string {
	if !strings.HasPrefix(text, `"`) && utf8.ValidString(text) {
		return text
	}
	return quoteText(text)
}

// quoteText returns text as one string in presentation form.
func quoteText(text string) string {
	var b strings.Builder
	b.Grow(len(text) + 2)
	b.WriteByte('"')
	for i := range len(text) {
		b.WriteString(escapeByte(text[i]))
	}
	b.WriteByte('"')
	return b.String()
}

func escapeByte(c byte) string {
	switch {
	case c == '"' || c == '\\':
		return string([]byte{'\\', c})
	case c < 0x20 || c > 0x7e:
		return fmt.Sprintf("\\%03d", c)
	default:
		return string([]byte{c})
	}
}

// parseStrings reads character-strings in presentation form and joins them.
func parseStrings(in string) (string, error) {
	var b strings.Builder
	rest := strings.Trim(in, " \t")
	if rest == "" {
		return "", fmt.Errorf("%w: it is empty", errTXT)
	}
	for rest != "" {
		var err error
		if rest[0] == '"' {
			rest, err = quotedString(rest[1:], &b)
		} else {
			rest, err = bareString(rest, &b)
		}
		if err != nil {
			return "", err
		}
		rest = strings.TrimLeft(rest, " \t")
	}
	return b.String(), nil
}

// quotedString reads up to the closing quote, which must be followed by a blank or the end.
func quotedString(in string, b *strings.Builder) (string, error) {
	for i := 0; i < len(in); {
		switch in[i] {
		case '"':
			rest := in[i+1:]
			if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
				return "", fmt.Errorf("%w: a quote in the middle of a string is not escaped", errTXT)
			}
			return rest, nil
		case '\\':
			n, err := unescape(in[i:], b)
			if err != nil {
				return "", err
			}
			i += n
		default:
			b.WriteByte(in[i])
			i++
		}
	}
	return "", fmt.Errorf("%w: a closing quote is missing", errTXT)
}

func bareString(in string, b *strings.Builder) (string, error) {
	for i := 0; i < len(in); {
		switch in[i] {
		case ' ', '\t':
			return in[i:], nil
		case '"':
			return "", fmt.Errorf("%w: a quote in the middle of a word", errTXT)
		case '\\':
			n, err := unescape(in[i:], b)
			if err != nil {
				return "", err
			}
			i += n
		default:
			b.WriteByte(in[i])
			i++
		}
	}
	return "", nil
}

// unescape reads one escape (\DDD or \X), writes its byte and returns its length.
func unescape(in string, b *strings.Builder) (int, error) {
	if len(in) < 2 {
		return 0, fmt.Errorf("%w: it ends in a lone backslash", errTXT)
	}
	if in[1] < '0' || in[1] > '9' {
		b.WriteByte(in[1])
		return 2, nil
	}
	if len(in) < 4 {
		return 0, fmt.Errorf("%w: escape %q has fewer than three digits", errTXT, shortened(in))
	}
	value := 0
	for _, d := range []byte(in[1:4]) {
		if d < '0' || d > '9' {
			return 0, fmt.Errorf("%w: escape %q has fewer than three digits", errTXT, in[:4])
		}
		value = value*10 + int(d-'0')
	}
	if value > 255 {
		return 0, fmt.Errorf("%w: escape %q is above 255", errTXT, in[:4])
	}
	b.WriteByte(byte(value))
	return 4, nil
}
