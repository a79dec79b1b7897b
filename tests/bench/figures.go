package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// limit is what a figure has to keep; the zero value is none.
type limit struct {
	sign  string
	bound float64
}

func atMost(bound float64) limit  { return limit{"≤", bound} }
func atLeast(bound float64) limit { return limit{"≥", bound} }
func exactly(bound float64) limit { return limit{"=", bound} }

func (l limit) holds(value float64) bool {
	switch l.sign {
	case "≤":
		return value <= l.bound
	case "≥":
		return value >= l.bound
	case "=":
		return value == l.bound
	default:
		return true
	}
}

func (l limit) String() string {
	if l.sign == "" {
		return ""
	}
	return l.sign + " " + number(l.bound)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// figures takes what is measured: it prints a row and writes a line at once, so that what was measured before a failure is there.
type figures struct {
	table, lines io.Writer
	limits       map[string]limit
	measured     map[string]bool
	out          []string // names of the figures beyond their limits
}

func newFigures(table, lines io.Writer, limits map[string]limit) *figures {
	f := &figures{table: table, lines: lines, limits: limits, measured: map[string]bool{}}
	f.row("figure", "value", "unit", "limit", "ok")
	return f
}

func (f *figures) row(name, value, unit, bound, ok string) {
	_, _ = fmt.Fprintf(f.table, "%-44s %10s  %-8s %-8s %s\n", name, value, unit, bound, ok)
}

// record takes a figure: its name is plugin.what.of_it, its unit a plural (calls, seconds, MiB).
func (f *figures) record(name string, value float64, unit string) error {
	f.measured[name] = true
	l := f.limits[name]
	ok := ""
	switch {
	case !l.holds(value):
		ok = "BROKEN"
		f.out = append(f.out, name)
	case l.sign != "":
		ok = "ok"
	}
	f.row(name, number(value), unit, l.String(), ok)
	return json.NewEncoder(f.lines).Encode(struct {
		Name  string  `json:"name"`
		Value float64 `json:"value"`
		Unit  string  `json:"unit"`
	}{name, value, unit})
}

// broken is the error of the figures beyond their limits.
func (f *figures) broken() error {
	if len(f.out) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d figures are beyond their limits: %s", len(f.out), len(f.measured), strings.Join(f.out, ", "))
}

// complete is an error when a figure was not measured that has one of these limits: one of the two names is misspelt.
func (f *figures) complete(limits map[string]limit) error {
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		if !f.measured[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("nothing has measured %s", strings.Join(missing, ", "))
	}
	return nil
}
