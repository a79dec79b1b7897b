package manila_test

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/manila"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
)

// value is that of a metric with a label, or without one: of a histogram, how often something was observed.
func value(t *testing.T, r *prometheus.Registry, name, label string) (total float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || label != "" && m.GetLabel()[0].GetValue() != label {
				continue
			}
			total += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return total
}

// TestMetrics: a share that fails, is replaced and goes leaves its traces, and operations are counted in and out.
func TestMetrics(t *testing.T) {
	t.Parallel()
	c := start(t, openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{Create: 50 * time.Millisecond}})
	registry := prometheus.NewRegistry()
	client := manila.New(c.session, manila.Options{Poll: poll.Backoff{First: time.Millisecond, Max: 5 * time.Millisecond, Factor: 1.1}, Metrics: manila.NewMetrics(registry)})
	c.Manila.Inject(openstacksim.ManilaInjection{Operation: openstacksim.ManilaCreate, Name: "pvc-nfs", Detail: "009", Count: 1})
	if _, err := client.Provision(t.Context(), nfsSpec()); !errors.Is(err, manila.ErrShareFailed) {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	go func() {
		v, err := client.Provision(t.Context(), nfsSpec())
		if err == nil {
			err = client.Delete(t.Context(), v.Share.ID)
		}
		made <- err
	}()
	for value(t, registry, "mooring_manila_in_flight", "create") != 1 {
		select {
		case err := <-made:
			t.Fatalf("a create was never seen: %v", err)
		default:
			time.Sleep(time.Millisecond) // it is under way in another goroutine
		}
	}
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, label string
		want        float64
	}{
		{"mooring_manila_in_flight", "", 0},
		{"mooring_manila_failed_shares_total", "NFS", 1},
		{"mooring_manila_replaced_shares_total", "", 1},
		{"mooring_manila_provision_duration_seconds", "none", 1},
		{"mooring_manila_provision_duration_seconds", "", 1},
	} {
		if got := value(t, registry, c.name, c.label); got != c.want {
			t.Errorf("%s %s is %v, want %v", c.name, c.label, got, c.want)
		}
	}
}
