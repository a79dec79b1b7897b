package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/designate"
	"mooring/pkg/designate/externaldns"
	"mooring/pkg/goldentest"
	"mooring/pkg/grpcserver"
	"mooring/pkg/manila"
	"mooring/pkg/openstack"
)

// described is a Registerer that notes what is registered: a vector without values is in no scrape.
type described map[string]string

// desc is a metric as it describes itself.
var desc = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "(.*)", unit: "", constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

func (d described) Register(c prometheus.Collector) error {
	all := make(chan *prometheus.Desc, 100)
	c.Describe(all)
	close(all)
	for one := range all {
		m := desc.FindStringSubmatch(one.String())
		if m == nil {
			return fmt.Errorf("what is %s?", one)
		}
		d[m[1]] = fmt.Sprintf("| `%s` | %s | %s |\n", m[1], strings.Join(strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' }), ", "), m[2])
	}
	return nil
}

func (d described) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := d.Register(c); err != nil {
			panic(err)
		}
	}
}

func (d described) Unregister(prometheus.Collector) bool { return false }

// The page of metrics is made from what the parts register.
func TestGoldenMetrics(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# Metrics of the Manila and Designate modes\n\n<!-- Made from the metrics by `make generate`. -->\n\n" +
		"`--admin-listen` serves them at `/metrics`, beside those of the Go runtime and of the process, and `mooring_build_info`.\n")
	for _, part := range []struct {
		what string
		add  func(prometheus.Registerer)
	}{
		{"manila-controller: shares", func(r prometheus.Registerer) { manila.NewMetrics(r) }},
		{"designate-webhook: names", func(r prometheus.Registerer) { designate.New(nil, designate.Options{Registerer: r}).Close() }},
		{"designate-webhook: ExternalDNS", func(r prometheus.Registerer) {
			if _, err := externaldns.NewHandler(externaldns.Options{Registerer: r}); err != nil {
				t.Fatal(err)
			}
		}},
		{"all of them: calls to OpenStack, polls among them", func(r prometheus.Registerer) { openstack.NewMetrics(r) }},
		{"Manila modes: CSI calls", func(r prometheus.Registerer) { grpcserver.New(grpcserver.Options{Registerer: r}) }},
	} {
		have := described{}
		part.add(have)
		if len(have) == 0 {
			t.Fatalf("%s: there are none", part.what)
		}
		fmt.Fprintf(&b, "\n## %s\n\n| metric | labels | |\n|---|---|---|\n", part.what)
		for _, name := range slices.Sorted(maps.Keys(have)) {
			b.WriteString(have[name])
		}
	}
	goldentest.Compare(t, filepath.Join("..", "..", "docs", "reference", "metrics.md"), b.String())
}
