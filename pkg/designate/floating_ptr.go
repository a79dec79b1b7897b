package designate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mooring/pkg/openstack"
)

// floatingMark begins the description of a floating IP whose PTR has an owner at ExternalDNS. The mark's name and text follow, with a blank between
// them: "mooring:txt=extdns-ptr.* heritage=external-dns,external-dns/owner=me". The asterisk is the PTR's own name.
const floatingMark = "mooring:txt="

// maxDescription is how many characters Designate allows.
const maxDescription = 160

// floatingAPI is what Designate does with floating IPs: *api has it.
type floatingAPI interface {
	floatingIPs(ctx context.Context) ([]FloatingIP, error)
	floatingIP(ctx context.Context, key string) (FloatingIP, error)
	setPTR(ctx context.Context, key, target string, ttl int, description string) (set FloatingIP, requestID string, err error)
	unsetPTR(ctx context.Context, key string) (requestID string, err error)
}

// floatingPTRs shows the PTRs of floating IPs as records, and writes them. They are in zones of the cloud's own, so there is no place for the TXT record
// that says whose one is: that is kept in the floating IP's description, shown as a record, and taken out of what is to be written.
//
// The list is read at first, and once more in each refresh or after a write that failed; our own writes are known. So what others do to a PTR is seen
// late, as with anything for which Designate has no sign of change. A nil *floatingPTRs has nothing. Its methods are safe for concurrent use.
type floatingPTRs struct {
	api     floatingAPI
	refresh time.Duration // 0: never
	logger  *slog.Logger

	mu      sync.Mutex
	known   map[string]FloatingIP // by the name of their PTRs
	due     time.Time             // when the list is to be read
	reading bool
}

// retryFloating is how soon a list is asked for again that could not be read, but for a cloud that has none.
const retryFloating = time.Minute

func newFloatingPTRs(a floatingAPI, o *Options) *floatingPTRs {
	if !o.FloatingIPs {
		return nil
	}
	return &floatingPTRs{api: a, refresh: max(o.FullRefresh, 0), logger: o.Logger, due: time.Unix(0, 0)}
}

// records returns the PTRs, and the marks of those that have one.
func (f *floatingPTRs) records(ctx context.Context) []Record {
	f.read(ctx)
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Record
	for _, name := range slices.Sorted(maps.Keys(f.known)) {
		ip := f.known[name]
		if ip.Target == "" {
			continue
		}
		list = append(list, Record{Name: name, Type: PTR, TTL: ip.TTL, Targets: []string{ip.Target}})
		if mark, ok := readFloatingMark(name, ip.Description); ok {
			list = append(list, mark)
		}
	}
	return list
}

// read reads the list when it is due, and nothing on a nil *floatingPTRs. Without a list what is known stays: to show less than there is would have it made once more.
func (f *floatingPTRs) read(ctx context.Context) {
	if f == nil {
		return
	}
	f.mu.Lock()
	begin := !f.reading && !f.due.IsZero() && !time.Now().Before(f.due)
	f.reading = f.reading || begin
	f.mu.Unlock()
	if !begin {
		return
	}
	list, err := f.api.floatingIPs(ctx)
	next := f.refresh
	if err != nil {
		f.logger.WarnContext(ctx, "the PTRs of floating IPs can't be read; those known are used on", slog.Any("error", err))
		if !noFloatingIPs(err) && !errors.Is(err, openstack.ErrForbidden) {
			next = retryFloating
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading, f.due = false, time.Time{}
	if next > 0 {
		f.due = time.Now().Add(jittered(next))
	}
	if err != nil {
		return
	}
	f.known = make(map[string]FloatingIP, len(list))
	for _, ip := range list {
		f.known[ReverseName(ip.Address)] = ip
	}
}

// floatingChange is what is wanted of one floating IP.
type floatingChange struct {
	ip         FloatingIP
	name       string
	want, mark *Record // nil: no PTR, no mark
	believed   bool    // whoever wants it knows that there is a PTR
}

// take splits the changes that are about PTRs of floating IPs, and their marks, off the rest. A name in a zone of the project is not among them.
func (f *floatingPTRs) take(zones Zones, changes Changes) (rest Changes, mine []floatingChange) {
	if f == nil {
		return changes, nil
	}
	f.mu.Lock()
	known := f.known
	f.mu.Unlock()
	found := map[string]*floatingChange{}
	of := func(r Record) *floatingChange {
		name := readName(r.Name)
		if r.Owner != "" {
			name = readName(r.Owner)
		} else if r.Type != PTR {
			return nil
		}
		ip, ok := known[name]
		if _, _, placed := zones.Match(name); !ok || placed {
			return nil
		}
		if found[name] == nil {
			found[name] = &floatingChange{ip: ip, name: name}
		}
		return found[name]
	}
	split := func(list []Record, note func(*floatingChange, Record)) (others []Record) {
		for _, r := range list {
			if c := of(r); c != nil {
				note(c, r)
			} else {
				others = append(others, r)
			}
		}
		return others
	}
	gone := func(c *floatingChange, _ Record) { c.believed = true } // unless it is wanted, too
	wanted := func(c *floatingChange, r Record) {
		if r.Owner != "" {
			c.mark = &r
		} else {
			c.want = &r
		}
	}
	rest = Changes{
		Delete: split(changes.Delete, gone), UpdateOld: split(changes.UpdateOld, gone),
		Create: split(changes.Create, wanted), UpdateNew: split(changes.UpdateNew, wanted),
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		mine = append(mine, *found[name])
	}
	return rest, mine
}

// floatingPlan is what to do about changes of floating IPs.
type floatingPlan struct {
	writes  []floatingWrite
	invalid []error
	same    int
}

// floatingWrite is one PTR to set or to take away.
type floatingWrite struct {
	Operation

	ip          FloatingIP
	description string
}

// inEffect reports whether a floating IP is as it should be. The TTL that Designate shows may be the zone's own, so one of 0 is met by any.
func (w *floatingWrite) inEffect() bool {
	return w.ip.Target == w.Record.Targets[0] && w.ip.Description == w.description && (w.Record.TTL == 0 || w.Record.TTL == w.ip.TTL)
}

// planFloating decides what to do. It is pure.
func planFloating(changes []floatingChange, minTTL int) (p floatingPlan) {
	for _, c := range changes {
		w := floatingWrite{ip: c.ip, Operation: Operation{Verb: Delete, ID: c.ip.Key, Record: Record{Name: c.name, Type: PTR}}}
		if c.want == nil {
			if c.ip.Target != "" {
				p.writes = append(p.writes, w)
			}
			continue
		}
		var err error
		if w.Record, err = c.want.Canonical(minTTL); err == nil && len(w.Record.Targets) > 1 {
			err = &RecordError{Name: c.name, Type: PTR, Err: fmt.Errorf("%w: %d of them, and a floating IP has one PTR", ErrTarget, len(w.Record.Targets))}
		}
		w.description = c.ip.Description // without a mark to write, what there is stays
		if err == nil && c.mark != nil {
			w.description, err = writeFloatingMark(c.name, *c.mark)
		}
		if err != nil {
			p.invalid = append(p.invalid, err)
			continue
		}
		if w.Verb = Update; c.ip.Target == "" {
			w.Verb = Create
		}
		if w.inEffect() {
			p.same++
			continue
		}
		if c.ip.Target != "" && !c.believed {
			p.invalid = append(p.invalid, &RecordError{Name: c.name, Type: PTR, Err: fmt.Errorf("%w: it is %s", ErrTaken, c.ip.Target)})
			continue
		}
		p.writes = append(p.writes, w)
	}
	return p
}

// write carries a plan out, one after the other, until ctx ends.
func (f *floatingPTRs) write(ctx context.Context, plan floatingPlan) []outcome {
	var outcomes []outcome
	for i := range plan.writes {
		w := &plan.writes[i]
		out := outcome{Operation: w.Operation, Err: ErrBudget}
		if ctx.Err() == nil {
			out.RequestID, out.Err = f.writeOne(ctx, w)
		}
		outcomes = append(outcomes, out)
	}
	return outcomes
}

func (f *floatingPTRs) writeOne(ctx context.Context, w *floatingWrite) (requestID string, err error) {
	now, err := f.api.floatingIP(ctx, w.ip.Key) // the list may be old
	switch {
	case w.Verb == Delete && (errors.Is(err, openstack.ErrNotFound) || err == nil && now.Target == ""):
		now, err = w.ip, nil // it has gone
	case err != nil:
	case now.Target != w.ip.Target || now.Description != w.ip.Description:
		err = fmt.Errorf("%w: it is %q, %q", ErrTaken, now.Target, now.Description)
	case w.Verb == Delete:
		requestID, err = f.api.unsetPTR(ctx, w.ip.Key)
	default:
		now, requestID, err = f.api.setPTR(ctx, w.ip.Key, w.Record.Targets[0], w.Record.TTL, w.description)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.due = time.Unix(0, 0) // nothing is certain now
		return "", &RecordError{Name: w.Record.Name, Type: PTR, Err: fmt.Errorf("%s PTR of the floating IP %s: %w", w.Verb, w.ip.Address, err)}
	}
	if w.Verb == Delete {
		now.Target, now.Description, now.TTL = "", "", 0
	}
	next := maps.Clone(f.known)
	next[w.Record.Name] = now
	f.known = next
	return requestID, nil
}

// writeFloatingMark is the description that keeps a mark. What says which object of Kubernetes wanted the record is left out where it does not fit:
// ExternalDNS needs the owner.
func writeFloatingMark(name string, mark Record) (string, error) {
	fail := func(err error) (string, error) {
		return "", &RecordError{Name: mark.Name, Type: mark.Type, Err: err}
	}
	canonical, err := mark.Canonical(0)
	if err != nil {
		return "", err
	}
	if canonical.Type != TXT || len(canonical.Targets) != 1 {
		return fail(fmt.Errorf("%w: the mark of a floating IP's PTR is one text", ErrTarget))
	}
	short := canonical.Name
	if affix, ok := strings.CutSuffix(canonical.Name, name); ok {
		short = affix + "*"
	}
	text := canonical.Targets[0]
	for range 2 {
		if description := floatingMark + short + " " + text; len([]rune(description)) <= maxDescription {
			return description, nil
		}
		text, _, _ = strings.Cut(text, ",external-dns/resource=")
	}
	return fail(fmt.Errorf("%w: it is kept in the description of the floating IP, and that has room for %d characters: encrypted marks don't fit", ErrTarget, maxDescription))
}

// readFloatingMark is the mark that a description keeps.
func readFloatingMark(name, description string) (mark Record, ok bool) {
	rest, ok := strings.CutPrefix(description, floatingMark)
	if !ok {
		return Record{}, false
	}
	short, text, ok := strings.Cut(rest, " ")
	if !ok || short == "" {
		return Record{}, false
	}
	if affix, isShort := strings.CutSuffix(short, "*"); isShort {
		short = affix + name
	}
	return Record{Name: short, Type: TXT, Targets: []string{text}}, true
}
