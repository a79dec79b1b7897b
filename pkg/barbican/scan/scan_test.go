package scan_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/barbican"
	"mooring/pkg/barbican/scan"
	"mooring/pkg/etcd"
)

const (
	ours   = "barbican:v1:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b:7"
	legacy = "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"
)

// store is a source; each call of Objects takes the next of its errors.
type store struct {
	objects []etcd.Object
	errs    []error
	asked   string
}

func (s *store) put(key, value string, revision int64) {
	s.objects = append(s.objects, etcd.Object{Key: []byte(key), Value: []byte(value), ModRevision: revision})
}

func (s *store) Objects(_ context.Context, prefix string, visit func(etcd.Object) error) (int64, error) {
	s.asked = prefix
	for _, o := range s.objects {
		if err := visit(o); err != nil {
			return 99, err
		}
	}
	if len(s.errs) == 0 {
		return 99, nil
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	return 99, err
}

func run(t *testing.T, s *store) (*scan.Report, error) {
	t.Helper()
	return scan.Run(t.Context(), s, &scan.Options{Logger: slog.New(slog.DiscardHandler)})
}

// v2 is a value of KMS v2, of a key id of less than 128 bytes.
func v2(provider, id string) string {
	return "k8s:enc:kms:v2:" + provider + ":\x0a\x01x\x12" + string(rune(len(id))) + id
}

func TestReport(t *testing.T) {
	t.Parallel()
	s := &store{}
	s.put("/registry/secrets/a/1", v2("p", ours), 30)
	s.put("/registry/secrets/a/2", v2("p", ours), 20)
	s.put("/registry/secrets/a/0", v2("p", ours), 20)
	s.put("/registry/example.com/widgets/x", v2("p", ours), 40)
	s.put("/registry/secrets/a/3", v2("barbican-kms", legacy), 10)
	s.put("/registry/secrets/a/4", "k8s:enc:aescbc:v1:key1:x", 11)
	s.put("/registry/pods/a/5", "k8s\x00x", 12)
	got, err := run(t, s)
	if err != nil {
		t.Fatal(err)
	}
	want := &scan.Report{
		Revision: 99, Prefix: "/registry/", Scanned: 7, Complete: true,
		Keys: []scan.Use{
			{legacy, barbican.KeyIDHash(legacy), "barbican-kms", "secrets", 1, 10, "/registry/secrets/a/3"},
			{ours, barbican.KeyIDHash(ours), "p", "secrets", 3, 20, "/registry/secrets/a/0"},
			{ours, barbican.KeyIDHash(ours), "p", "widgets.example.com", 1, 40, "/registry/example.com/widgets/x"},
		},
		Plain: []scan.Plain{
			{scan.AESCBC, "key1", "secrets", 1, 11, "/registry/secrets/a/4"},
			{scan.Unencrypted, "", "pods", 1, 12, "/registry/pods/a/5"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s.asked != "/registry/" {
		t.Errorf("it asked for %q", s.asked)
	}
	if n := got.InUse(ours); n != 4 {
		t.Errorf("%d objects", n)
	}
	if only := got.Only(legacy); len(only.Keys) != 1 || len(only.Plain) != 2 || len(got.Keys) != 3 {
		t.Errorf("%+v", only)
	}
}

// TestFresh: nor is what was made too early, or nobody knows when.
func TestFresh(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		made, next time.Time
		fresh      bool
	}{
		"just now":                          {now.Add(-time.Minute), now.Add(-time.Hour), true},
		"no key is active":                  {now.Add(-time.Minute), time.Time{}, true},
		"a clock that is a little ahead":    {now.Add(time.Second), now.Add(-time.Hour), true},
		"without a time":                    {time.Time{}, time.Time{}, false},
		"in the future":                     {now.Add(time.Hour), time.Time{}, false},
		"too old":                           {now.Add(-scan.MostAge - time.Second), time.Time{}, false},
		"before the next key became active": {now.Add(-time.Minute), now.Add(-time.Second), false},
	} {
		r := scan.Report{Time: c.made}
		if err := r.Fresh(now, c.next); (err == nil) != c.fresh || err != nil && !errors.Is(err, scan.ErrNoProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnused: what is no proof is never taken for one.
func TestUnused(t *testing.T) {
	t.Parallel()
	const gone = "barbican:v1:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b:6"
	for name, c := range map[string]struct {
		more []string
		err  error
		id   string
		want error
		text string
	}{
		"in use":                    {id: ours, want: scan.ErrInUse, text: "1 objects"},
		"in use, after an error":    {id: ours, err: errors.New("broken"), want: scan.ErrInUse},
		"not in use":                {id: gone},
		"a legacy one":              {id: legacy},
		"after an error":            {id: gone, err: errors.New("broken"), want: scan.ErrNoProof, text: "broken"},
		"a damaged object":          {id: gone, more: []string{"k8s:enc:kms:v2:p:\xff"}, want: scan.ErrNoProof, text: "1 objects are damaged"},
		"what comes some day":       {id: gone, more: []string{"k8s:enc:kms:v3:p:"}, want: scan.ErrNoProof, text: "not known"},
		"KMS v1 may hide a legacy":  {id: legacy, more: []string{"k8s:enc:kms:v1:p:"}, want: scan.ErrNoProof, text: `provider "p"`},
		"KMS v1 hides none of ours": {id: gone, more: []string{"k8s:enc:kms:v1:p:"}},
	} {
		s := &store{}
		s.put("/registry/secrets/a/1", v2("p", ours), 1)
		for i, value := range c.more {
			s.put(fmt.Sprint("/registry/secrets/b/", i), value, 2)
		}
		if c.err != nil {
			s.errs = []error{c.err}
		}
		r, err := run(t, s)
		if !errors.Is(err, c.err) || r == nil {
			t.Fatalf("%s: %v, %v", name, r, err)
		}
		if err := r.Unused(c.id); !errors.Is(err, c.want) || (err != nil && !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: %v, want %v, %q", name, err, c.want, c.text)
		}
	}
	empty, err := run(t, &store{})
	if err != nil || !errors.Is(empty.Unused(gone), scan.ErrNoProof) || !strings.Contains(empty.Problem, "--etcd-prefix") {
		t.Errorf("an empty etcd: %v, %+v", err, empty)
	}
}

func TestCompactionBeginsAgain(t *testing.T) {
	t.Parallel()
	s := &store{errs: []error{etcd.ErrCompacted, etcd.ErrCompacted}}
	s.put("/registry/secrets/a/1", v2("p", ours), 1)
	if r, err := run(t, s); err != nil || r.Scanned != 1 || !r.Complete || r.InUse(ours) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	s.errs = []error{etcd.ErrCompacted, etcd.ErrCompacted, etcd.ErrCompacted}
	if r, err := run(t, s); !errors.Is(err, etcd.ErrCompacted) || r.Complete {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRowsAreBounded(t *testing.T) {
	t.Parallel()
	s := &store{}
	for i := range 10_001 {
		s.put("/registry/secrets/a/1", v2("p", strconv.Itoa(i)), 1)
	}
	if r, err := run(t, s); err == nil || r.Complete || len(r.Keys) != 10_000 || !strings.Contains(r.Problem, "more than 10000") {
		t.Errorf("%v", err)
	}
}

func TestPrefixAndProgress(t *testing.T) {
	t.Parallel()
	s := &store{}
	for i := range 2500 {
		s.put(fmt.Sprint("/other/prefix/secrets/", i), "k8s\x00", int64(i))
	}
	var seen []int64
	r, err := scan.Run(t.Context(), s, &scan.Options{Prefix: "/other/prefix/", Logger: slog.New(slog.DiscardHandler), Progress: func(n int64) { seen = append(seen, n) }})
	if err != nil || s.asked != "/other/prefix/" || r.Plain[0].Resource != "secrets" || r.Plain[0].First != 0 || !cmp.Equal(seen, []int64{1000, 2000}) {
		t.Errorf("%v, %q, %+v, %v", err, s.asked, r, seen)
	}
}
