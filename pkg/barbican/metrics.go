package barbican

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/openstack"
)

// metrics of a keyring: counters of what Run does, and gauges that are read from the snapshot whenever somebody looks, so that
// times and countdowns are right at that moment. A nil *metrics counts nothing.
type metrics struct {
	current *atomic.Pointer[snapshot]

	keys, unlocked, active, generation, created, expires, age, countdown, strange, revoked, recalled, stale, ahead, clock *prometheus.Desc

	fetched, polled, errors *prometheus.CounterVec
	misses                  prometheus.Counter
	stateFile               prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, current *atomic.Pointer[snapshot]) *metrics {
	if r == nil {
		return nil
	}
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("mooring_barbican_"+name, help, labels, nil)
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mooring_barbican_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		current:    current,
		keys:       gauge("keys", "Keys of the keyring, by state (held in memory, wanted from Barbican, or refused by a rule).", "state"),
		unlocked:   gauge("keys_unlocked", "Keys that are held in memory that could not be locked, and may be swapped out."),
		active:     gauge("active_key_info", "1 for the key that wraps, by its generation and the hash that kube-apiserver's metrics have of its id.", "generation", "key_id_hash"),
		generation: gauge("active_generation", "Generation of the key that wraps; 0 if there is none."),
		created:    gauge("key_created_timestamp_seconds", "When Barbican made a key, by generation.", "generation"),
		expires:    gauge("key_expires_timestamp_seconds", "When a key expires in Barbican, by generation; keys without an end are left out.", "generation"),
		age:        gauge("last_good_poll_age_seconds", "Time since Barbican last answered a poll well (since the start, if it never did)."),
		countdown:  gauge("activation_countdown_seconds", "Time until the next generation becomes active; left out when none is to come."),
		strange:    gauge("strange_entries", "Entries of the keyring that are no generations and are ignored."),
		revoked:    gauge("revoked", "1 when Barbican has refused the keyring or its active key for good."),
		recalled:   gauge("recalled", "1 while the keys are those that the state file remembers, since Barbican has refused the keyring ever since the start."),
		stale:      gauge("stale", "1 when the last good poll is longer ago than --max-staleness allows."),
		ahead:      gauge("clock_ahead_seconds", "How far the clock by which keys become active is ahead of this machine's."),
		clock:      gauge("clock_info", "1 for the clock by which keys become active: barbican, keystone, or local for want of both.", "clock"),
		fetched:    counter("key_fetches_total", "Fetches of keys from Barbican, by result (ok, transient or definite failure).", "result"),
		polled:     counter("polls_total", "Polls of the keyring and of the active key's secret, by result (ok, transient or definite failure).", "result"),
		errors:     counter("errors_total", "Failed polls and fetches, by the class of their error.", "class"),
		misses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mooring_barbican_cache_misses_total", Help: "Requests with a key that was not held, for which Barbican was asked.",
		}),
		stateFile: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mooring_barbican_state_file_unsaved", Help: "1 while the file with the high-water mark can't be written.",
		}),
	}
	r.MustRegister(m)
	return m
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.keys, m.unlocked, m.active, m.generation, m.created, m.expires, m.age, m.countdown, m.strange, m.revoked, m.recalled, m.stale, m.ahead, m.clock} {
		out <- d
	}
	for _, c := range m.counters() {
		c.Describe(out)
	}
}

func (m *metrics) counters() []prometheus.Collector {
	return []prometheus.Collector{m.fetched, m.polled, m.errors, m.misses, m.stateFile}
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.counters() {
		c.Collect(out)
	}
	s := m.current.Load()
	if s == nil {
		return
	}
	now, v := time.Now(), s.view
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	seen := map[uint64]bool{}
	states := map[string]int{"held": 0, "wanted": 0, "refused": 0}
	for _, k := range v.keys {
		states[k.state]++
		if k.state == "refused" || seen[k.ref.Generation] {
			continue
		}
		seen[k.ref.Generation] = true
		generation := strconv.FormatUint(k.ref.Generation, 10)
		if !k.created.IsZero() {
			set(m.created, float64(k.created.Unix()), generation)
		}
		if !k.expires.IsZero() {
			set(m.expires, float64(k.expires.Unix()), generation)
		}
	}
	for state, n := range states {
		set(m.keys, float64(n), state)
	}
	set(m.unlocked, float64(s.unlocked()))
	if id := v.active.KeyID(); v.active != (KeyRef{}) {
		set(m.active, 1, strconv.FormatUint(v.active.Generation, 10), KeyIDHash(id))
	}
	if !v.switches.IsZero() {
		set(m.countdown, max(0, v.switches.Sub(now).Seconds()))
	}
	set(m.generation, float64(v.active.Generation))
	set(m.age, now.Sub(v.good).Seconds())
	set(m.strange, float64(v.strange))
	set(m.revoked, truth(v.revoked != nil))
	set(m.recalled, truth(v.recalled))
	set(m.stale, truth(v.stale))
	set(m.ahead, v.ahead.Seconds())
	set(m.clock, 1, string(v.clock))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// fetches and polls are the counters that called counts in.
func (m *metrics) fetches() *prometheus.CounterVec {
	if m == nil {
		return nil
	}
	return m.fetched
}

func (m *metrics) polls() *prometheus.CounterVec {
	if m == nil {
		return nil
	}
	return m.polled
}

func (m *metrics) called(by *prometheus.CounterVec, err error) {
	if m == nil {
		return
	}
	if err == nil {
		by.WithLabelValues("ok").Inc()
		return
	}
	result := "transient"
	if classify(err) == Definite {
		result = "definite"
	}
	by.WithLabelValues(result).Inc()
	m.errors.WithLabelValues(class(err)).Inc()
}

// class is the label of an error.
func class(err error) string {
	for _, c := range []struct {
		is   error
		name string
	}{
		{openstack.ErrNotFound, "not_found"},
		{openstack.ErrForbidden, "forbidden"},
		{openstack.ErrUnauthorized, "unauthorized"},
		{openstack.ErrThrottled, "throttled"},
		{openstack.ErrUnavailable, "unavailable"},
		{openstack.ErrInvalid, "invalid"},
		{openstack.ErrNoService, "no_service"},
		{ErrUnusableKey, "unusable"},
		{ErrKeyring, "unusable"},
	} {
		if errors.Is(err, c.is) {
			return c.name
		}
	}
	return "other"
}

func (m *metrics) missed() {
	if m != nil {
		m.misses.Inc()
	}
}

func (m *metrics) unsaved(is bool) {
	if m != nil {
		m.stateFile.Set(truth(is))
	}
}

// KeyIDHash is how kube-apiserver's metrics name a key id: "sha256:" and the hash in hex
// (k8s.io/apiserver/pkg/storage/value/encrypt/envelope/metrics).
func KeyIDHash(id string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id))) }
