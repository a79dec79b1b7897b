package designate

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrBudget is matched when work was left undone because the time for it ran out. The next sync goes on with it.
	ErrBudget = errors.New("the time budget ran out")
	// ErrBlocked is matched by operations that were not tried because one that they depend on failed.
	ErrBlocked = errors.New("not tried, because something that it depends on failed")

	// ErrTaken is matched when what was to be made, or to be deleted, turns out to be somebody else's by now. It is left alone; the next sync sees it.
	ErrTaken = errors.New("somebody has made it meanwhile, and it is left alone")

	// ErrShared is matched when a CNAME would share its name with another record.
	ErrShared = errors.New("a CNAME can't share its name with another record")
	// ErrMark is matched by records that are not written because what says who owns them can't be.
	ErrMark = errors.New("its ownership record can't be written; ExternalDNS's --txt-prefix and --txt-wildcard-replacement say how that is named")

	errFull       = fmt.Errorf("%w: its zone has no room for another", ErrBlocked)
	errApexCNAME  = fmt.Errorf("%w: a zone's own name can't be a CNAME", ErrShared)
	errLeftAlone  = errors.New("it is left alone")
	errManyCNAMEs = fmt.Errorf("%w: a CNAME has exactly one", ErrTarget)
)

// RecordError says which record an error is about.
type RecordError struct {
	Name string
	Type Type
	Err  error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("%s %s: %v", shortened(e.Name), shortened(string(e.Type)), e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// ApplyError says how much of a set of changes was done, and why the rest was not.
type ApplyError struct {
	Done  int // operations that are in effect
	Total int
	Errs  []error // one for each failed record; at most maxReported of them
	More  int     // failures beyond those in Errs
}

// maxReported bounds how many failures are kept for a message: ten thousand failed records have one cause, not ten thousand.
const maxReported = 20

func (e *ApplyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d changes done", e.Done, e.Total)
	for _, err := range e.Errs {
		b.WriteString("; " + err.Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "; and %d more", e.More)
	}
	return b.String()
}

// Unwrap returns the causes.
func (e *ApplyError) Unwrap() []error { return e.Errs }

// shortened is a text that somebody sent, which may be of any length, fit for an error: nobody reads a name of a megabyte.
func shortened(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:most], ""), len(text))
}
