// Package conformance is a suite for webhook providers of ExternalDNS, driven by ExternalDNS's own webhook client, plan and TXT
// registry. It is given a URL and a zone, so it can be pointed at any provider: see "make conformance".
//
// A case fails when ExternalDNS would exit, would update for ever, would touch what is not its own, or when the name server does not
// answer what was wanted. The cases do not know testing.T: so a test can run them against a provider that is known to be broken and ask
// that they fail.
package conformance

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
)

// Provider is what the suite is run against.
type Provider struct {
	// URL of the webhook, without a final slash.
	URL string
	// Zone is a zone that the provider serves, Child one below it, Reverse one below in-addr.arpa ("" if there is none), all without a final dot.
	// The suite makes records in them and takes them away again.
	Zone, Child, Reverse string
	// Types are the record types that the provider claims; none: all that ExternalDNS knows.
	Types []string
	// Filter is the domain filter that the provider was configured with; nil: it is only checked to cover the zone.
	Filter *endpoint.DomainFilter
	// DNS is the host:port of a name server that answers the zones; empty: answers are not checked.
	DNS string
	// Writes counts the writes that have reached the DNS service so far; nil: only what ExternalDNS sends is known.
	Writes func() int
	// Names is how many come at once, each with its mark; zero: 200.
	Names int
	// Interval is how long ExternalDNS waits between two turns of its loop after a soft error; zero: a second.
	Interval time.Duration
	// Patience bounds how long a record may take to be answered.
	Patience time.Duration
}

// Case is one thing that ExternalDNS and its users need of a provider.
type Case struct {
	Name string
	Why  string // what happens to a user of a provider that fails it
	run  func(*suite)
}

// Cases lists all cases, in the order in which they are run.
func Cases() []Case {
	return slices.Concat(protocolCases(), recordCases(), nameCases(), changeCases(), ownershipCases(), steadyCases())
}

// Result is what became of a case.
type Result struct {
	Case     Case
	Failures []string
	Skipped  string // why it was not run
	Log      []string
	Took     time.Duration
}

// Passed says whether the case was run and did not fail.
func (r Result) Passed() bool { return len(r.Failures) == 0 && r.Skipped == "" }

// Verdict is "passed", "failed" or "skipped".
func (r Result) Verdict() string {
	switch {
	case len(r.Failures) > 0:
		return "failed"
	case r.Skipped != "":
		return "skipped"
	default:
		return "passed"
	}
}

// Run runs every case as a subtest and returns the results.
func Run(t *testing.T, p Provider) []Result {
	t.Helper()
	var results []Result
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			// One after the other: cases count writes, and a provider works on one set of changes at a time.
			r := Check(t.Context(), p, c)
			results = append(results, r)
			for _, line := range r.Log {
				t.Log(line)
			}
			for _, failure := range r.Failures {
				t.Error(failure)
			}
			switch {
			case len(r.Failures) > 0:
				t.Log("with such a provider, ", c.Why)
			case r.Skipped != "":
				t.Skip(r.Skipped)
			}
		})
	}
	return results
}

// Check runs one case and takes its records away again.
func Check(ctx context.Context, p Provider, c Case) Result {
	begin := time.Now()
	s := &suite{Provider: p, ctx: ctx, result: Result{Case: c}}
	for i, other := range Cases() {
		if other.Name == c.Name {
			s.owner = fmt.Sprintf("case%02d", i)
		}
	}
	if s.guard(s.connect) {
		s.guard(func() { c.run(s) })
		s.ctx = context.WithoutCancel(ctx)
		s.guard(s.cleanUp)
	}
	s.result.Took = time.Since(begin)
	return s.result
}

// WriteTable writes a line for each result, and the first failure of those that failed.
func WriteTable(w io.Writer, results []Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	count := map[string]int{}
	for _, r := range results {
		count[r.Verdict()]++
		note := r.Skipped
		if len(r.Failures) > 0 {
			note, _, _ = strings.Cut(r.Failures[0], "\n")
		}
		if _, err := fmt.Fprintf(table, "%s\t%s\t%.1f s\t%s\n", strings.ToUpper(r.Verdict()), r.Case.Name, r.Took.Seconds(), note); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d passed, %d failed, %d skipped\n", count["passed"], count["failed"], count["skipped"])
	return err
}
