package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// progress is a line on a terminal that is written over and over while something takes long. Where nobody looks it writes nothing.
type progress struct {
	w    io.Writer // nil: nobody looks
	last int       // runes that are on the line
}

// progress is a new line of progress on stderr.
func (p *process) progress() *progress {
	if !p.env.Terminal {
		return &progress{}
	}
	return &progress{w: p.env.Stderr}
}

// show writes a text over what was there. With a total above zero a bar stands before it.
func (p *progress) show(done, total int64, text string) {
	if p.w == nil {
		return
	}
	if total > 0 {
		text = bar(done, total) + " " + text
	}
	n := utf8.RuneCountInString(text)
	_, _ = fmt.Fprint(p.w, "\r"+text+strings.Repeat(" ", max(p.last-n, 0))) // who looks away misses nothing
	p.last = n
}

// clear takes the line away.
func (p *progress) clear() {
	if p.w != nil && p.last > 0 {
		_, _ = fmt.Fprint(p.w, "\r"+strings.Repeat(" ", p.last)+"\r")
		p.last = 0
	}
}

// bar draws a part of a whole.
func bar(done, total int64) string {
	const width = 30
	share := min(max(float64(done)/float64(total), 0), 1)
	full := int(share * width)
	return fmt.Sprintf("[%s%s] %3.0f%%", strings.Repeat("#", full), strings.Repeat(".", width-full), share*100)
}
