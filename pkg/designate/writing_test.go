package designate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/designate"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(text string) int { return strings.Count(l.String(), text) }

func hosts(zone string, n int) []designate.Record {
	var list []designate.Record
	for i := range n {
		list = append(list, rec(fmt.Sprintf("h%04d.%s", i, zone), designate.A, 300, "192.0.2.1"))
	}
	return list
}

func writes(c *cloud) int {
	all := openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Path: "/recordsets"}
	reads := all
	reads.Method = http.MethodGet
	return c.Calls.Count(all) - c.Calls.Count(reads)
}

// A full zone: a warning before it comes to it, few tries, and an error with what can be done. Deletes make room again.
func TestAZoneWithoutRoom(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{Quota: openstacksim.DesignateQuota{ZoneRecordsets: 20}})
	c.zone(t, "example.org")
	log, registry := &lines{}, prometheus.NewRegistry()
	s := c.service(designate.Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Registerer: registry})
	mustRecords(t, s)
	mustApply(t, s, designate.Changes{Create: hosts("example.org", 10)})
	if n := log.count("level=WARN"); n != 0 {
		t.Errorf("%d warnings while there is room:\n%s", n, log)
	}
	for range 2 {
		mustApply(t, s, designate.Changes{Create: hosts("example.org", 16)})
	}
	if log.count("a zone is almost full") != 1 || !strings.Contains(log.String(), "zone=example.org recordsets=12 to_come=6 quota=20") {
		t.Errorf("want one warning that it is almost full, with numbers:\n%s", log)
	}
	c.Calls.Reset()
	result, err := s.Apply(t.Context(), designate.Changes{Create: hosts("example.org", 100)})
	if !errors.Is(err, openstack.ErrQuota) || result.Done != 2 || writes(c) > 2+4 {
		t.Errorf("%+v, %v after %d writes; want 2 done, and few tries", result, err, writes(c))
	}
	for _, part := range []string{"zone example.org has 20 recordsets, and may have at most 20", "raise the project's quota zone_recordsets", "request id req-"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v\ndoes not say %q", err, part)
		}
	}
	if log.count("a zone has no room") != 1 {
		t.Errorf("want one warning that it is full:\n%s", log)
	}
	all := hosts("example.org", 20)
	moved := designate.Changes{Delete: all[:10], Create: hosts("a.example.org", 2)} // what makes room comes first
	if result := mustApply(t, s, moved); result.Done != 12 || result.Same != 0 {
		t.Errorf("%+v", result)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "mooring_designate_zone_recordsets") {
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	if diff := cmp.Diff(map[string]float64{"mooring_designate_zone_recordsets": 10 + 2, "mooring_designate_zone_recordsets_quota": 20}, got); diff != "" {
		t.Errorf("metrics: -want +got:\n%s", diff)
	}
}

// A recordset with too many records is its own trouble.
func TestTooManyRecords(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{Quota: openstacksim.DesignateQuota{RecordsetRecords: 3}})
	c.zone(t, "example.org")
	s := c.service(designate.Options{})
	many := rec("many.example.org", designate.A, 0, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
	result, err := s.Apply(t.Context(), designate.Changes{Create: append(hosts("example.org", 20), many)})
	if result.Done != 20 || err == nil || !strings.Contains(err.Error(), "it would have 4 records, and a recordset may have at most 3: ask the operator") {
		t.Errorf("%+v, %v", result, err)
	}
}

// What was written is followed until the name servers have it, and then nothing is asked any more.
func TestTrack(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{Delay: 200 * time.Millisecond})
	c.zone(t, "example.org")
	registry := prometheus.NewRegistry()
	s := c.service(designate.Options{Registerer: registry})
	ctx, stop := context.WithCancel(t.Context())
	var tracking sync.WaitGroup
	tracking.Go(func() { _ = s.Track(ctx) }) // it has no error
	mustRecords(t, s)
	for end := time.Now().Add(30 * time.Second); propagated(t, registry) < 1; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is measured")
		}
		if propagated(t, registry) == 0 && writes(c) < 2 { // until the tracker is at work
			mustApply(t, s, designate.Changes{Create: hosts("example.org", writes(c)+1)})
		}
	}
	stop()
	tracking.Wait()
}

func propagated(t *testing.T, registry *prometheus.Registry) uint64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "mooring_designate_propagation_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatal("no such metric")
	return 0
}

// ExternalDNS gave up and comes again: the old apply begins nothing any more, ends what it has begun, and the new one goes on from there. At no
// time are two at work.
func TestAClientThatGaveUp(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.zone(t, "example.org")
	s := c.service(designate.Options{})
	mustRecords(t, s)
	wanted := designate.Changes{Create: hosts("example.org", 60)}
	c.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: "POST", Delay: 50 * time.Millisecond})
	gone, giveUp := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.Apply(gone, wanted)
		first <- err
	}()
	for writes(c) < 8 {
		time.Sleep(time.Millisecond)
	}
	giveUp()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want that the client has gone", err)
	}
	after := writes(c)
	if after > 8+4+4 {
		t.Errorf("%d writes were made, although the client had gone after 8", after)
	}
	if list := mustRecords(t, s); len(list) != after {
		t.Errorf("%d records are there after %d writes", len(list), after)
	}
	if result := mustApply(t, s, wanted); result.Done != 60-after || result.Same != after {
		t.Errorf("%+v; want the %d that are missing", result, 60-after)
	}
	if n := writes(c); n != 60 {
		t.Errorf("%d writes in all, want one each", n)
	}
}

// Requests that overlap wait for each other, and write nothing twice.
func TestAppliesDoNotOverlap(t *testing.T) {
	t.Parallel()
	c := newCloud(t, openstacksim.DesignateConfig{})
	c.zone(t, "example.org")
	s := c.service(designate.Options{})
	mustRecords(t, s)
	var applies sync.WaitGroup
	for range 5 {
		applies.Go(func() {
			if _, err := s.Apply(t.Context(), designate.Changes{Create: hosts("example.org", 30)}); err != nil {
				t.Error(err)
			}
		})
	}
	applies.Wait()
	if n := writes(c); n != 30 {
		t.Errorf("%d writes, want 30", n)
	}
}
