package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"mooring/pkg/designate/externaldns"
	"mooring/pkg/httpserver"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
	"mooring/tests/peer/process"
)

func measureDNS(ctx context.Context, b *bench) error {
	for _, measure := range []func(context.Context, *bench) error{measureSyncs, measureCreates, measurePoison} {
		if err := measure(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// webhook is `mooring designate-webhook` in front of a cloud.
type webhook struct {
	*rig

	p      *process.Process
	url    string
	client *http.Client
}

// withWebhook runs the webhook on a cloud that prepare has filled.
func withWebhook(ctx context.Context, b *bench, cfg openstacksim.DesignateConfig, prepare func(*openstacksim.Designate), do func(context.Context, *webhook) error, flags ...string) error {
	cfg.Quota = openstacksim.DesignateQuota{Zones: -1, ZoneRecordsets: -1, ZoneRecords: -1}
	return withCloud(ctx, openstacksim.Config{Designate: cfg}, func(ctx context.Context, r *rig) (err error) {
		prepare(r.Designate)
		args := append([]string{"designate-webhook", "--os-cloud=demo", "--clouds-file=" + r.clouds, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}, flags...)
		p, err := process.Start(ctx, "designate-webhook", b.mooring, nil, args...)
		if err != nil {
			return err
		}
		defer func() {
			_, stopErr := p.Stop(15 * time.Second)
			err = errors.Join(err, stopErr)
		}()
		line, err := p.Said(ctx, "webhook listens")
		if err != nil {
			return err
		}
		_, address, _ := strings.Cut(line, "address=")
		w := &webhook{rig: r, p: p, url: "http://" + address, client: &http.Client{Transport: &http.Transport{}}}
		defer w.client.CloseIdleConnections()
		return do(ctx, w)
	})
}

// ask makes a request as ExternalDNS does, which waits 15 s.
func (w *webhook) ask(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Accept", externaldns.MediaType)
	r.Header.Set("Content-Type", externaldns.MediaType)
	response, err := w.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, errors.Join(err, response.Body.Close())
}

// records asks for the records until they are there: a soft error may come before.
func (w *webhook) records(ctx context.Context) (body []byte, list []map[string]any, err error) {
	for {
		status, body, err := w.ask(ctx, http.MethodGet, "/records", nil)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("GET /records: %w", err)
		case status == http.StatusOK:
			return body, list, json.Unmarshal(body, &list)
		case status < http.StatusInternalServerError:
			return nil, nil, fmt.Errorf("GET /records: %d %s", status, body)
		}
		if err := poll.Sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, nil, err
		}
	}
}

// warm counts what the first read of a number of records costs, and then what an idle sync does.
func (w *webhook) warm(ctx context.Context, records int) (cold, idle int, err error) {
	for _, calls := range []*int{&cold, &idle} {
		w.Calls.Reset()
		_, list, err := w.records(ctx)
		if err == nil && len(list) != records {
			err = fmt.Errorf("%d records, want %d", len(list), records)
		}
		if err != nil {
			return 0, 0, err
		}
		*calls = w.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate})
	}
	return cold, idle, nil
}

// measureSyncs counts the calls of syncs in which nothing changes, and takes time and memory of the larger ones. A number of recordsets
// includes the SOA and the NS of each zone.
func measureSyncs(ctx context.Context, b *bench) error {
	for _, c := range []struct {
		name                string
		zones, recordsets   int
		cold, rss, duration bool // are measured
	}{
		{name: "1k", zones: 1, recordsets: 1000},
		{name: "200_zones", zones: 200, recordsets: 10},
		{name: "10k", zones: 1, recordsets: 10_000, cold: true, rss: true, duration: true},
		{name: "100k", zones: 1, recordsets: 100_000, rss: true},
	} {
		fill := func(d *openstacksim.Designate) {
			for i := range c.zones {
				d.Fill("demo", fmt.Sprintf("zone%d.example.org.", i), c.recordsets)
			}
		}
		err := withWebhook(ctx, b, openstacksim.DesignateConfig{}, fill, func(ctx context.Context, w *webhook) error {
			cold, idle, err := w.warm(ctx, c.zones*(c.recordsets-2))
			if err := errors.Join(err, b.record("dns.idle_"+c.name+".calls", float64(idle), "calls")); err != nil {
				return err
			}
			if c.cold {
				err = b.record("dns.cold_"+c.name+".calls", float64(cold), "calls")
			}
			if c.duration {
				err = errors.Join(err, w.measureRecords(ctx, b, "dns.records_warm_"+c.name))
			}
			if c.rss {
				err = errors.Join(err, w.measureMemory(ctx, b, "dns.rss_"+c.name))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// measureRecords times GET /records where nothing has changed, beside the floor.
func (w *webhook) measureRecords(ctx context.Context, b *bench, name string) error {
	const times = 21
	body, _, err := w.records(ctx)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	floor := &webhook{rig: w.rig, url: "http://" + listener.Addr().String(), client: w.client}
	life, end := context.WithCancel(ctx)
	served := make(chan error, 1)
	handler := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(body) }) // the client may have gone
	go func() {
		served <- httpserver.Serve(life, listener, handler, httpserver.Options{Logger: slog.New(slog.DiscardHandler), Drain: time.Second})
	}()
	var took, least []time.Duration
	for range times {
		for _, side := range []struct {
			at   *webhook
			took *[]time.Duration
		}{{w, &took}, {floor, &least}} {
			begin := time.Now()
			status, answer, askErr := side.at.ask(ctx, http.MethodGet, "/records", nil)
			if askErr == nil && (status != http.StatusOK || len(answer) != len(body)) {
				askErr = fmt.Errorf("GET /records: %d with %d bytes, want %d", status, len(answer), len(body))
			}
			err = errors.Join(err, askErr)
			*side.took = append(*side.took, time.Since(begin))
		}
	}
	end()
	ms := func(d []time.Duration) float64 { return float64(median(d)) / float64(time.Millisecond) }
	return errors.Join(err, <-served,
		b.record(name+".ms", ms(took), "ms"),
		b.record(name+".floor_ms", ms(least), "ms"),
		b.record(name+".over_floor", series(took).over(least), "times"))
}

// measureMemory takes the peak of memory of syncs as they are where nothing changes, with half as many wanted endpoints as there are records:
// the other half are their marks.
func (w *webhook) measureMemory(ctx context.Context, b *bench, name string) error {
	for range 5 {
		_, list, err := w.records(ctx)
		if err != nil {
			return err
		}
		wanted, err := json.Marshal(list[:len(list)/2])
		if err != nil {
			return err
		}
		if status, answer, err := w.ask(ctx, http.MethodPost, "/adjustendpoints", wanted); err != nil || status != http.StatusOK {
			return fmt.Errorf("POST /adjustendpoints: %d %.200s: %w", status, answer, err)
		}
	}
	peak, err := w.p.PeakRSS()
	return errors.Join(err, b.record(name+".mib", float64(peak)/(1<<20), "MiB"))
}

// creates is a body of POST /records.
func creates(n int, zone string) ([]byte, error) {
	type endpoint struct {
		Name    string   `json:"dnsName"`
		Type    string   `json:"recordType"`
		Targets []string `json:"targets"`
	}
	var body struct {
		Create []endpoint `json:"create"`
	}
	for i := range n {
		body.Create = append(body.Create, endpoint{fmt.Sprintf("new%d.%s", i, zone), "A", []string{"192.0.2.1"}})
	}
	return json.Marshal(body)
}

// measureCreates times and counts one sync that creates many records in a zone of a cloud that takes its time over each.
func measureCreates(ctx context.Context, b *bench) error {
	const (
		many, there = 200, 5000
		latency     = 80 * time.Millisecond
		zone        = "zone.example.org"
		atOnce      = 4 // --zone-concurrency
	)
	fill := func(d *openstacksim.Designate) { d.Fill("demo", zone+".", there) }
	return withWebhook(ctx, b, openstacksim.DesignateConfig{Delay: 3 * time.Second}, fill, func(ctx context.Context, w *webhook) error {
		if _, _, err := w.warm(ctx, there-2); err != nil {
			return err
		}
		body, err := creates(many, zone)
		if err != nil {
			return err
		}
		w.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: http.MethodPost, Delay: latency})
		w.Calls.Reset()
		begin := time.Now()
		_, _, err = w.records(ctx)
		status, answer, applyErr := w.ask(ctx, http.MethodPost, "/records", body)
		took := time.Since(begin)
		if err := errors.Join(err, applyErr); err != nil || status != http.StatusNoContent {
			return fmt.Errorf("POST /records: %d %s: %w", status, answer, err)
		}
		calls := w.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate})
		if _, list, err := w.records(ctx); err != nil || len(list) != there-2+many {
			return fmt.Errorf("%d records after the sync, want %d: %w", len(list), there-2+many, err)
		}
		floor := many / atOnce * latency
		return errors.Join(
			b.record("dns.create_200.seconds", took.Seconds(), "seconds"),
			b.record("dns.create_200.over_floor", float64(took)/float64(floor), "times"),
			b.record("dns.create_200.calls", float64(calls), "calls"))
	})
}

// measurePoison counts how many of 199 records are made beside one that Designate refuses: somebody's CNAME has its name.
func measurePoison(ctx context.Context, b *bench) error {
	const many, zone = 200, "zone.example.org"
	fill := func(d *openstacksim.Designate) { d.Fill("demo", zone+".", 11, "new42."+zone+".") }
	return withWebhook(ctx, b, openstacksim.DesignateConfig{}, fill, func(ctx context.Context, w *webhook) error {
		if _, _, err := w.warm(ctx, 8); err != nil {
			return err
		}
		body, err := creates(many, zone)
		if err != nil {
			return err
		}
		status, answer, err := w.ask(ctx, http.MethodPost, "/records", body)
		if err != nil || status != http.StatusInternalServerError {
			return fmt.Errorf("POST /records with a record that can't be made: %d %s, want 500: %w", status, answer, err)
		}
		_, list, err := w.records(ctx)
		return errors.Join(err, b.record("dns.poison.done_of_199", float64(len(list)-8), "records"))
	}, "--record-types=A,TXT")
}
