package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mooring/pkg/barbican"
	"mooring/pkg/etcd"
)

const (
	// mostRows bounds what a report holds, whatever is in etcd.
	mostRows = 10_000
	// attempts is how often a scan begins: etcd may drop the revision that it reads.
	attempts = 3
	// reportEvery is after how many objects Options.Progress is called.
	reportEvery = 1000
)

// source has the objects of a cluster: etcd.Client, etcd.Snapshot.
type source interface {
	// Objects visits the newest revision of every key that begins with prefix, in any order, each key once, and returns the revision of
	// the whole picture. An object is valid until visit returns. The error is etcd.ErrCompacted if the picture was lost on the way.
	Objects(ctx context.Context, prefix string, visit func(etcd.Object) error) (revision int64, _ error)
}

// Options are those of Run.
type Options struct {
	Time     time.Time           // now; zero for a snapshot, which may be of any age
	Prefix   string              // kube-apiserver's --etcd-prefix; /registry by default
	Progress func(objects int64) // may be nil; called now and then with what was scanned so far, from 0 again when the scan begins again
	Logger   *slog.Logger
}

// Run scans a source. With an error, too, there is a report: of what was read until then, not complete.
func Run(ctx context.Context, from source, o *Options) (*Report, error) {
	prefix := strings.TrimRight(cmp.Or(o.Prefix, "/registry"), "/") + "/"
	for attempt := 1; ; attempt++ {
		c := &count{prefix: prefix, rows: map[row]*seen{}, progress: o.Progress}
		revision, err := from.Objects(ctx, prefix, c.visit)
		if errors.Is(err, etcd.ErrCompacted) && attempt < attempts {
			o.Logger.WarnContext(ctx, "etcd has dropped the revision that was read, the scan begins again", slog.Int64("revision", revision), slog.Int64("objects", c.scanned))
			continue
		}
		report := c.report(revision, err)
		report.Time = o.Time.UTC()
		return report, err
	}
}

// row is what is counted together.
type row struct {
	sighting

	resource string
}

// seen are the objects of a row.
type seen struct {
	count, first int64
	example      string
}

// count is a scan under way.
type count struct {
	prefix   string
	rows     map[row]*seen
	scanned  int64
	progress func(int64)
}

func (c *count) visit(o etcd.Object) error {
	c.scanned++
	if c.progress != nil && c.scanned%reportEvery == 0 {
		c.progress(c.scanned)
	}
	r := row{classify(o.Value), resource(strings.TrimPrefix(string(o.Key), c.prefix))}
	s := c.rows[r]
	switch {
	case s == nil && len(c.rows) == mostRows:
		return fmt.Errorf("there are more than %d combinations of key id, provider and resource: this can't be a cluster's", mostRows)
	case s == nil:
		s = &seen{}
		c.rows[r] = s
	}
	s.count++
	if s.count == 1 || o.ModRevision < s.first || o.ModRevision == s.first && string(o.Key) < s.example {
		s.first, s.example = o.ModRevision, string(o.Key)
	}
	return nil
}

// report is what was counted, in order.
func (c *count) report(revision int64, err error) *Report {
	r := &Report{Revision: revision, Prefix: c.prefix, Scanned: c.scanned, Keys: []Use{}, Plain: []Plain{}}
	dark := map[Scheme]int64{}
	for in, s := range c.rows {
		if in.scheme == KMSv2 {
			r.Keys = append(r.Keys, Use{in.keyID, barbican.KeyIDHash(in.keyID), in.name, in.resource, s.count, s.first, s.example})
			continue
		}
		dark[in.scheme] += s.count
		r.Plain = append(r.Plain, Plain{in.scheme, in.name, in.resource, s.count, s.first, s.example})
	}
	slices.SortFunc(r.Keys, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.KeyID, b.KeyID), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Resource, b.Resource))
	})
	slices.SortFunc(r.Plain, func(a, b Plain) int {
		return cmp.Or(cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Resource, b.Resource))
	})
	switch {
	case err != nil:
		r.Problem = err.Error()
	case c.scanned == 0:
		r.Problem = fmt.Sprintf("no key begins with %s: is it the right etcd, and kube-apiserver's --etcd-prefix?", c.prefix)
	case dark[Unreadable] > 0:
		r.Problem = fmt.Sprintf("%d objects are damaged: their key ids can't be read", dark[Unreadable])
	case dark[Unknown] > 0:
		r.Problem = fmt.Sprintf("%d objects are stored in a way that is not known here", dark[Unknown])
	default:
		r.Complete = true
	}
	return r
}
