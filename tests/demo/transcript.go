package main

import (
	"fmt"
	"io"
	"time"
)

// transcript prints what happens, a line a step, and counts.
type transcript struct {
	w           io.Writer
	begin       time.Time
	ok, skipped int
}

func newTranscript(w io.Writer) *transcript { return &transcript{w: w, begin: time.Now()} }

func (t *transcript) title(text string) { _, _ = fmt.Fprintf(t.w, "\n%s\n", text) }

// step does something and prints how long it took and what came of it.
func (t *transcript) step(what string, do func() (note string, err error)) error {
	begin := time.Now()
	note, err := do()
	took := time.Since(begin).Seconds()
	if err != nil {
		_, _ = fmt.Fprintf(t.w, "  FAIL  %6.3f s  %s\n", took, what)
		return fmt.Errorf("%s: %w", what, err)
	}
	t.ok++
	if note != "" {
		note = ": " + note
	}
	_, _ = fmt.Fprintf(t.w, "  ok    %6.3f s  %s%s\n", took, what, note)
	return nil
}

// skip says what was not done, and why. It does not count as done.
func (t *transcript) skip(what, why string) {
	t.skipped++
	_, _ = fmt.Fprintf(t.w, "  skip            %s: %s\n", what, why)
}

func (t *transcript) note(format string, args ...any) {
	_, _ = fmt.Fprintf(t.w, "  "+format+"\n", args...)
}

func (t *transcript) summary() {
	_, _ = fmt.Fprintf(t.w, "\n%d steps ok, %d skipped, in %.1f s\n", t.ok, t.skipped, time.Since(t.begin).Seconds())
}
