package chart_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/yaml"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
	"mooring/tests/peer/externaldns"
	"mooring/tests/peer/process"
)

// ruleFile is a file of rules as Prometheus reads it, with the fields that ours has.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// prometheusRule is the Prometheus operator's object, with the fields that ours has.
type prometheusRule struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       ruleFile       `json:"spec"`
}

// alerts are the rules of each component that has some.
func alerts(t *testing.T) map[string]ruleFile {
	t.Helper()
	all := map[string]ruleFile{}
	for _, component := range []string{"kms", "dns", "manila"} {
		var rules ruleFile
		if err := yaml.UnmarshalStrict([]byte(file(chart, "files", component+"-alerts.yaml")(t)), &rules); err != nil {
			t.Fatal(err)
		}
		all[component] = rules
	}
	return all
}

// Each PrometheusRule is its file, with the labels that the values ask for.
func TestPrometheusRule(t *testing.T) {
	t.Parallel()
	found := map[string]ruleFile{}
	for document := range strings.SplitSeq(everything(t), "\n---\n") {
		if !strings.Contains(document, "kind: PrometheusRule") {
			continue
		}
		var object prometheusRule
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		labels, _ := object.Metadata["labels"].(map[string]any)
		component, _ := labels["app.kubernetes.io/component"].(string)
		if labels["release"] != "prometheus" || object.APIVersion != "monitoring.coreos.com/v1" {
			t.Errorf("%s: apiVersion %s, labels %v", component, object.APIVersion, labels)
		}
		found[component] = object.Spec
	}
	if diff := cmp.Diff(alerts(t), found); diff != "" {
		t.Errorf("the rules are not those of the files: %s", diff)
	}
}

// metricsOf are the names of the metrics that an expression reads.
func metricsOf(t *testing.T, expr string) (names []string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			names = append(names, selector.Name)
		}
		return nil
	})
	return names
}

// Prometheus's own parser takes every expression, and every alert says how bad it is and what it means.
func TestAlertsAreComplete(t *testing.T) {
	t.Parallel()
	prefixes := map[string]string{"kms": "MooringKMS", "dns": "MooringDNS", "manila": "MooringManila"}
	for component, rules := range alerts(t) {
		seen := map[string]bool{}
		for _, group := range rules.Groups {
			for _, r := range group.Rules {
				if seen[r.Alert] || !strings.HasPrefix(r.Alert, prefixes[component]) {
					t.Errorf("the name %s is there twice, or is not of %s", r.Alert, component)
				}
				seen[r.Alert] = true
				r.complete(t)
			}
		}
		if len(seen) == 0 {
			t.Errorf("%s has no alert", component)
		}
	}
}

func (r rule) complete(t *testing.T) {
	t.Helper()
	if severity := r.Labels["severity"]; severity != "critical" && severity != "warning" {
		t.Errorf("%s has the severity %q", r.Alert, severity)
	}
	if r.Annotations["summary"] == "" {
		t.Errorf("%s has no summary", r.Alert)
	}
	if len(metricsOf(t, r.Expr)) == 0 {
		t.Errorf("%s reads no metric", r.Alert)
	}
}

// Promtool plays the alerts through: what fires when, and what does not.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	promtool := os.Getenv("MOORING_PROMTOOL")
	if promtool == "" {
		t.Skip("MOORING_PROMTOOL is not set: make chart sets it where promtool is installed")
	}
	for component := range alerts(t) {
		if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", filepath.Join("testdata", component+"-alerts.promtool.yaml")).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", component, err, out)
		}
	}
}

// What the alerts read is there: of ours each metric on the real program's /metrics, of kube-apiserver's each in its own code.
func TestAlertsReadMetricsThatAreThere(t *testing.T) {
	t.Parallel()
	there := map[string][]string{"kms": append(scrapeKMS(t), apiserverMetrics(t)...), "dns": scrapeDNS(t), "manila": documented(t)}
	for component, rules := range alerts(t) {
		for _, group := range rules.Groups {
			for _, r := range group.Rules {
				for _, name := range metricsOf(t, r.Expr) {
					if !slices.Contains(there[component], name) {
						t.Errorf("%s reads %s, which nobody exports", r.Alert, name)
					}
				}
			}
		}
	}
}

// documented are the names of metrics in the reference, which is made of the metrics.
func documented(t *testing.T) (names []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("`((?:mooring|grpc)_[a-z_]+)`").FindAllStringSubmatch(file(root, "docs", "reference", "metrics.md")(t), -1) {
		names = append(names, m[1])
	}
	return names
}

// apiserverMetrics are names that kube-apiserver exports: its registry has each only once it was used.
func apiserverMetrics(t *testing.T) (names []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/apiserver").Output()
	if err != nil {
		t.Fatal(err)
	}
	code := file(strings.TrimSpace(string(out)), "pkg/storage/value/encrypt/envelope/metrics/metrics.go")(t)
	for _, name := range []string{"key_id_hash_status_last_timestamp_seconds", "key_id_hash_last_timestamp_seconds"} {
		if strings.Contains(code, `"`+name+`"`) && strings.Contains(code, `"apiserver"`) && strings.Contains(code, `"envelope_encryption"`) {
			names = append(names, "apiserver_envelope_encryption_"+name)
		}
	}
	return names
}

// scrapeKMS runs the real program on a keyring that has all that can be measured: a key that is active and expires, and one that is to
// come; and once more in the place of the plugin before it. It returns the names of the metrics.
func scrapeKMS(t *testing.T) (names []string) {
	t.Helper()
	cloud := target.Open(t)
	client, err := cloud.Session(t, "demo").Client(t.Context(), openstack.KeyManager)
	if err != nil {
		t.Fatal(err)
	}
	keyring := []string{"--cluster-id=chart", "--keyring=" + expiringKeyring(t, client), "--state-file=" + filepath.Join(t.TempDir(), "state.json")}
	names = scrape(t, cloud, []string{"mooring_barbican_activation_countdown_seconds", "mooring_barbican_active_key_info", "mooring_barbican_key_fetches_total"}, keyring...)
	const nobody = "00000000-0000-4000-8000-000000000000" // to be waited for
	return append(names, scrape(t, cloud, []string{"mooring_barbican_compat_write_info"}, "--compat-write", "--legacy-key="+nobody)...)
}

// scrapeDNS runs the real program, has ExternalDNS ask it for a record, for one that can't be written and for a name outside every zone, and
// returns the names of the metrics.
func scrapeDNS(t *testing.T) (names []string) {
	t.Helper()
	cloud := target.Open(t)
	client, err := cloud.Session(t, "demo").Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	zone := target.Unique(t) + ".test"
	if _, err := zones.Create(t.Context(), client, zones.CreateOpts{Name: zone + ".", Email: "hostmaster@" + zone}).Extract(); err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	p, admin := start(t, cloud, "designate-webhook", "--listen=127.0.0.1:0")
	line, err := p.Said(t.Context(), "webhook listens")
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(line, "address=")
	externalDNS, err := externaldns.Connect(t.Context(), "http://"+address, "chart")
	if err != nil {
		t.Fatal(err)
	}
	many := make([]string, 1000) // beyond every quota of one recordset's records
	for i := range many {
		many[i] = fmt.Sprintf("2001:db8::%x", i+1)
	}
	_, err = externalDNS.Sync(t.Context(), endpoint.NewEndpoint("www."+zone, "A", "192.0.2.1"), endpoint.NewEndpoint("many."+zone, "AAAA", many...),
		endpoint.NewEndpoint("www.elsewhere.example", "A", "192.0.2.1"))
	if !externaldns.Soft(err) {
		t.Fatalf("%v, want a soft error", err)
	}
	return metricNames(t, "http://"+admin+"/metrics")
}

// scrape runs the KMS plugin until it has some metrics, and returns the names of all that it has.
func scrape(t *testing.T, cloud *target.Cloud, until []string, args ...string) (names []string) {
	t.Helper()
	_, address := start(t, cloud, "barbican-kms", append([]string{"--endpoint=unix://" + filepath.Join(t.TempDir(), "kms.sock")}, args...)...)
	target.Eventually(t, "the plugin exports "+strings.Join(until, ", "), func() bool {
		names = metricNames(t, "http://"+address+"/metrics")
		return !slices.ContainsFunc(until, func(name string) bool { return !slices.Contains(names, name) })
	})
	return names
}

// start runs a mode of the real program, and returns it with the address of its admin endpoint.
func start(t *testing.T, cloud *target.Cloud, mode string, args ...string) (p *process.Process, admin string) {
	t.Helper()
	p, err := process.Start(t.Context(), mode, filepath.Join(setting(t, "MOORING_BIN"), "mooring"), nil, append([]string{
		mode, "--clouds-file=" + cloud.CloudsFile(), "--os-cloud=" + cloud.Name("demo"), "--admin-listen=127.0.0.1:0",
	}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	line, err := p.Said(t.Context(), "admin endpoint listens")
	if err != nil {
		t.Fatal(err)
	}
	_, admin, _ = strings.Cut(line, "address=")
	return p, admin
}

// metricNames are the names at an URL, in the text form of Prometheus.
func metricNames(t *testing.T, url string) (names []string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(rest)[0])
		}
	}
	return names
}

// expiringKeyring makes a container with two generations, and returns its UUID.
func expiringKeyring(t *testing.T, client *gophercloud.ServiceClient) string {
	t.Helper()
	var refs []containers.SecretRef
	for generation := range 2 {
		end := time.Now().Add(24 * time.Hour)
		secret, err := secrets.Create(t.Context(), client, secrets.CreateOpts{
			Name: target.Unique(t), Expiration: &end, Payload: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", PayloadContentType: "application/octet-stream",
			PayloadContentEncoding: "base64", Algorithm: "aes", BitLength: 256, SecretType: secrets.SymmetricSecret,
		}).Extract()
		if err != nil {
			t.Fatal(openstack.Wrap(err))
		}
		refs = append(refs, containers.SecretRef{Name: fmt.Sprintf("generation-%d", generation+1), SecretRef: secret.SecretRef})
	}
	container, err := containers.Create(t.Context(), client, containers.CreateOpts{Type: containers.GenericContainer, SecretRefs: refs}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	return path.Base(container.ContainerRef)
}
