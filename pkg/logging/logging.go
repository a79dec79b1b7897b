// Package logging makes the process's slog.Logger and keeps secrets out of it.
//
// Nothing that is secret is logged by design: types that hold secrets have a LogValue. The handler made here is the second
// line of defence: it replaces the values of attributes whose keys sound like secrets, whoever logs them.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// Formats are the values of --log-format.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// ParseLevel reads debug, info, warn or error.
func ParseLevel(s string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil || strings.ContainsAny(s, "+-") {
		return 0, fmt.Errorf("%q is no log level: it has to be debug, info, warn or error", s)
	}
	return level, nil
}

// New makes a logger that writes to w. The format is FormatText or FormatJSON.
func New(w io.Writer, level slog.Leveler, format string) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	switch format {
	case FormatText:
		return slog.New(slog.NewTextHandler(w, options)), nil
	case FormatJSON:
		return slog.New(slog.NewJSONHandler(w, options)), nil
	default:
		return nil, fmt.Errorf("%q is no log format: it has to be %s or %s", format, FormatText, FormatJSON)
	}
}

// replace hides the values of attributes by their keys, and writes durations with their unit in JSON too.
func replace(groups []string, a slog.Attr) slog.Attr {
	switch kind := a.Value.Kind(); {
	case kind != slog.KindGroup && (sounds(a.Key) || slices.ContainsFunc(groups, sounds)):
		return slog.String(a.Key, Redacted)
	case kind == slog.KindDuration:
		return slog.String(a.Key, a.Value.Duration().String())
	default:
		return a
	}
}

// sounds says whether a key sounds like a secret's. A key id is none.
func sounds(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"password", "passwd", "secret_value", "_secret", "cookie", "token", "passphrase", "payload", "plaintext", "ciphertext", "private_key", "access_key", "authorization"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return key == "secret" || key == "key" || key == "kek" || key == "dek" || key == "seed"
}
