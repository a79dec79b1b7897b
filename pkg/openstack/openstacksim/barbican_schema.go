package openstacksim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// barbicanSchema is the part of JSON schema that Barbican's validators use (barbican/common/validators.py).
type barbicanSchema struct {
	name     string // what errors call it
	fields   map[string]barbicanField
	required []string
	// blame makes a missing field the property that the error names; without it that is None.
	blame bool
	// closed refuses fields that are not listed.
	closed bool
}

type barbicanField struct {
	types    []string // of JSON: string, integer, boolean, object, array, null
	max, min int      // length of a string; max 0: any
	low      int      // of an integer
	enum     []string
}

// shortText is a string of at most 255 characters, as most fields are.
func shortText() barbicanField { return barbicanField{types: []string{"string"}, max: 255} }

// pyList is Python's repr of a string list: 'a', 'b'.
func pyList(words []string) string {
	return "'" + strings.Join(words, "', '") + "'"
}

// pyRepr is how Python prints a JSON value in an error.
func pyRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case string:
		return "'" + v + "'"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case float64:
		return fmt.Sprint(v)
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v {
			parts = append(parts, pyRepr(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, "'"+k+"': "+pyRepr(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return fmt.Sprint(v)
	}
}

// jsonBody reads a JSON object that fits the schema; otherwise it answers and returns false. Every string is trimmed, and what
// is beyond the largest request is cut off, so that it ends as malformed.
func (r *barbicanRequest) jsonBody(w *reply, s barbicanSchema) (map[string]any, bool) {
	if kind := contentType(r.request); kind != "application/json" {
		barbicanError(w, http.StatusUnsupportedMediaType, "Unexpected content type. Expected content types are: ['application/json']")
		return nil, false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, barbicanMaxRequest))
	var v any
	if err != nil || json.Unmarshal(body, &v) != nil {
		barbicanError(w, http.StatusBadRequest, "Malformed JSON")
		return nil, false
	}
	object, isObject := trimAll(v).(map[string]any)
	if !isObject {
		barbicanMismatch(w, s.name, pyRepr(v)+" is not of type 'object'", "None")
		return nil, false
	}
	if reason, property := s.check(object); reason != "" {
		barbicanMismatch(w, s.name, reason, property)
		return nil, false
	}
	return object, true
}

// contentType is the request's, without its parameters.
func contentType(r *request) string {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

func barbicanMismatch(w *reply, schemaName, reason, property string) {
	barbicanError(w, http.StatusBadRequest, mismatchText(schemaName, reason, property))
}

func mismatchText(schemaName, reason, property string) string {
	return fmt.Sprintf("Provided object does not match schema '%s': %s. Invalid property: '%s'", schemaName, reason, property)
}

func trimAll(v any) any {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case []any:
		for i := range v {
			v[i] = trimAll(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = trimAll(v[k])
		}
	}
	return v
}

func (s barbicanSchema) check(object map[string]any) (reason, property string) {
	for _, name := range s.required {
		if _, ok := object[name]; !ok {
			property = "None"
			if s.blame {
				property = name
			}
			return "'" + name + "' is a required property", property
		}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		f, ok := s.fields[name]
		if !ok {
			if s.closed {
				return "Additional properties are not allowed ('" + name + "' was unexpected)", "None"
			}
			continue
		}
		if reason := f.check(object[name]); reason != "" {
			return reason, name
		}
	}
	return "", ""
}

func (f barbicanField) check(v any) string {
	if !slices.ContainsFunc(f.types, func(t string) bool { return isJSONType(v, t) }) {
		return pyRepr(v) + " is not of type " + pyList(f.types)
	}
	switch v := v.(type) {
	case string:
		if n := utf8.RuneCountInString(v); f.max > 0 && n > f.max {
			return pyRepr(v) + " is too long"
		} else if n < f.min {
			return pyRepr(v) + " is too short"
		}
		if len(f.enum) > 0 && !slices.Contains(f.enum, v) {
			return pyRepr(v) + " is not one of [" + pyList(f.enum) + "]"
		}
	case float64:
		if f.low > 0 && v < float64(f.low) {
			return fmt.Sprintf("%v is less than the minimum of %d", v, f.low)
		}
	}
	return ""
}

func isJSONType(v any, t string) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case string:
		return t == "string"
	case bool:
		return t == "boolean"
	case float64:
		return t == "number" || (t == "integer" && v == math.Trunc(v))
	case []any:
		return t == "array"
	case map[string]any:
		return t == "object"
	}
	return false
}

func jsonText(object map[string]any, key string) string {
	s, _ := object[key].(string)
	return s
}
