package kubernetes_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/miekg/dns"
	"sigs.k8s.io/yaml"

	"mooring/pkg/openstack"
	"mooring/tests/contract/designate/conformance"
	"mooring/tests/contract/target"
)

// zone is one in Designate, and the name server that Designate fills.
type zone struct {
	name   string // without the final dot
	id     string
	client *gophercloud.ServiceClient
	lab    *target.Lab
}

// zone makes one that goes away with the test.
func (c *cluster) zone(t *testing.T, name string) *zone {
	t.Helper()
	client, err := c.cloud.Session(t, "demo").Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	made, err := zones.Create(t.Context(), client, zones.CreateOpts{Name: name + ".", Email: "hostmaster@" + name}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	t.Cleanup(func() {
		if _, err := zones.Delete(context.WithoutCancel(t.Context()), client, made.ID).Extract(); err != nil {
			t.Error(openstack.Wrap(err))
		}
	})
	return &zone{name: name, id: made.ID, client: client, lab: c.cloud.Lab(t)}
}

// answers waits until the name server gives these data, and says how long it took.
func (z *zone) answers(t *testing.T, name, recordType string, want ...string) {
	t.Helper()
	began := time.Now()
	var got []string
	eventually(t, fmt.Sprintf("%s %s is answered with %q", name, recordType, want), func() bool {
		var err error
		got, err = conformance.Lookup(t.Context(), z.lab.DNS.Server, name, recordType)
		return err == nil && slices.Equal(got, want)
	})
	t.Logf("%s %s %q after %v", name, recordType, got, time.Since(began).Round(100*time.Millisecond))
}

// ttl waits until a name's addresses may be kept for so many seconds.
func (z *zone) ttl(t *testing.T, name string, want uint32) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has the TTL %d", name, want), func() bool {
		answer, err := conformance.Ask(t.Context(), z.lab.DNS.Server, name, "A")
		return err == nil && len(answer.Answer) > 0 && answer.Answer[0].Header().Ttl == want
	})
}

// written is what the servers tell of all that was ever written to a zone.
type written struct {
	Serial   uint32 // of BIND's SOA
	Requests int    // that can change the zone, in the log of Designate's API
	Webhook  float64
}

// settled waits until the name server has what Designate has.
func (z *zone) settled(t *testing.T) (w written) {
	t.Helper()
	eventually(t, "the name server has the zone as Designate has it", func() bool {
		known, err := zones.Get(t.Context(), z.client, z.id).Extract()
		if err != nil {
			t.Fatal(openstack.Wrap(err))
		}
		answer, err := conformance.Ask(t.Context(), z.lab.DNS.Server, z.name, "SOA")
		if err != nil || len(answer.Answer) != 1 {
			return false
		}
		soa, ok := answer.Answer[0].(*dns.SOA)
		w.Serial = soa.Serial
		return ok && known.Status == "ACTIVE" && int(soa.Serial) == known.Serial
	})
	log, err := os.ReadFile(filepath.Join(z.lab.Paths.Logs, "designate.log"))
	if err != nil {
		t.Fatal(err)
	}
	w.Requests = len(regexp.MustCompile(`"(POST|PUT|PATCH|DELETE) /v2/zones/`+z.id).FindAll(log, -1))
	return w
}

// empty waits until no record is left in the zone but Designate's own. ExternalDNS never deletes a TXT record that a source asked for, and
// marks of deleted records stay where a slow cloud made the webhook break off a sync: see docs/how-to/externaldns-registry.md.
func (z *zone) empty(t *testing.T) {
	t.Helper()
	eventually(t, "no record is left in "+z.name, func() bool {
		pages, err := recordsets.ListByZone(z.client, z.id, nil).AllPages(t.Context())
		if err != nil {
			t.Fatal(openstack.Wrap(err))
		}
		sets, err := recordsets.ExtractRecordSets(pages)
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(sets, func(s recordsets.RecordSet) bool {
			return s.Type != "TXT" && (s.Name != z.name+"." || s.Type != "SOA" && s.Type != "NS")
		})
	})
}

// instance is an ExternalDNS and its webhook: how their metrics are had.
type instance struct{ externalDNS, webhook func() string }

func (i instance) idleSyncs(t *testing.T) float64 {
	t.Helper()
	return sum(t, i.externalDNS(), "external_dns_controller_no_op_runs_total")
}

// idle lets ExternalDNS find ten times that all is as it should be, and nobody writes.
func (i instance) idle(t *testing.T, z *zone) {
	t.Helper()
	first := i.idleSyncs(t)
	eventually(t, "ExternalDNS has no more to do", func() bool {
		return i.idleSyncs(t) > first && sum(t, i.webhook(), "mooring_designate_pending_records") == 0
	})
	now := func() written {
		w := z.settled(t)
		w.Webhook = sum(t, i.webhook(), "mooring_designate_operations_total")
		return w
	}
	before, first, began := now(), i.idleSyncs(t), time.Now()
	if before.Requests == 0 || before.Webhook == 0 {
		t.Errorf("%+v: what was written is not seen", before)
	}
	eventually(t, "ten idle syncs", func() bool { return i.idleSyncs(t) >= first+10 })
	if diff := cmp.Diff(before, now()); diff != "" {
		t.Errorf("idle syncs wrote (-before +after):\n%s", diff)
	}
	t.Logf("ten idle syncs in %v: still %+v", time.Since(began).Round(time.Second), before)
}

// sum adds up the values of a metric, whatever its labels.
func sum(t *testing.T, text, metric string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " ")
		if name, _, _ = strings.Cut(name, "{"); name != metric {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += value
	}
	return sum
}

// metrics are those of the one pod with a label.
func (c *cluster) metrics(t *testing.T, namespace, label, port string) func() string {
	t.Helper()
	pod := c.kubectl(t, "get", "pods", "-n", namespace, "-l", label, "-o", "jsonpath={.items[*].metadata.name}")
	return func() string {
		t.Helper()
		return c.kubectl(t, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+pod+":"+port+"/proxy/metrics")
	}
}

// testNames lets a real ExternalDNS write the names of manifests/examples/names.yaml through the webhook that the release has. What a cloud
// controller, an ingress controller and a gateway say in a status, the test says.
func testNames(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	z := c.zone(t, target.Unique(t)+".test")
	c.define(t, gatewayResources())
	namespace := c.namespace(t)
	c.deleted(t, "clusterrole/"+namespace)
	c.deleted(t, "clusterrolebinding/"+namespace)
	c.apply(t, "names.yaml", map[string]string{
		"NAMESPACE": namespace, "ZONE": z.name, "VERSION": c.lab.ExternalDNS,
		"WEBHOOK": c.kubectl(t, "get", "service", "mooring-dns", "-n", release, "-o", "jsonpath={.spec.clusterIP}"),
	})
	c.ready(t, namespace, "external-dns")
	c.logsIfFailed(t, namespace)

	c.applyText(t, edited(t, "manifests/examples/names.yaml", "namespace: default", "namespace: "+namespace, "example.com", z.name))
	status := func(what, status string) {
		c.kubectl(t, "patch", what, "-n", namespace, "--subresource=status", "--type=merge", "--patch", `{"status":`+status+`}`)
	}
	balanced := func(address string) string { return `{"loadBalancer":{"ingress":[{"ip":"` + address + `"}]}}` }
	status("service/www", balanced("192.0.2.10"))
	status("service/apps", balanced("192.0.2.20"))
	status("ingress/shop", balanced("192.0.2.30"))
	status("gateway/edge", `{"addresses":[{"type":"IPAddress","value":"192.0.2.40"}]}`)
	status("httproute/api", `{"parents":[{"parentRef":{"name":"edge"},"controllerName":"example.com/test","conditions":[
		{"type":"Accepted","status":"True","reason":"Accepted","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}]}`)
	www, apps := "www."+z.name, "some.thing.apps."+z.name
	z.answers(t, www, "A", "192.0.2.10")
	z.ttl(t, www, 300)
	z.answers(t, apps, "A", "192.0.2.20")
	z.answers(t, "shop."+z.name, "A", "192.0.2.30")
	z.answers(t, "api."+z.name, "A", "192.0.2.40")
	instance{
		c.metrics(t, namespace, "app.kubernetes.io/name=external-dns", "7979"), c.metrics(t, release, "app.kubernetes.io/component=dns", "8080"),
	}.idle(t, z)

	status("service/www", balanced("192.0.2.11"))
	c.kubectl(t, "annotate", "service/www", "-n", namespace, "--overwrite", "external-dns.alpha.kubernetes.io/ttl=120")
	z.answers(t, www, "A", "192.0.2.11")
	z.ttl(t, www, 120)
	c.kubectl(t, "delete", "service/www", "service/apps", "ingress/shop", "httproute/api", "-n", namespace)
	z.answers(t, www, "A")
	z.answers(t, apps, "A")
	z.empty(t)
}

// testRecords installs ExternalDNS from its own chart with the webhook as its sidecar, by the example of values, and has it write
// manifests/examples/dns-endpoints.yaml and records of other types.
func testRecords(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	z := c.zone(t, target.Unique(t)+".test")
	reverse := c.zone(t, reverseName(t, z.name))
	namespace := c.namespace(t)
	c.cloudSecret(t, namespace)
	c.externalDNS(t, namespace, z, reverse)
	c.logsIfFailed(t, namespace)

	endpoints := func(edits ...string) string {
		return edited(t, "manifests/examples/dns-endpoints.yaml",
			append(edits, "namespace: default", "namespace: "+namespace, "example.org", z.name, "2.0.192.in-addr.arpa", reverse.name)...)
	}
	c.applyText(t, endpoints())
	c.apply(t, "records.yaml", map[string]string{"NAMESPACE": namespace, "ZONE": z.name})
	for _, want := range []struct {
		name, recordType string
		data             []string
	}{
		{"www." + z.name, "A", []string{"192.0.2.10", "192.0.2.11"}},
		{"some.thing.apps." + z.name, "A", []string{"192.0.2.20"}},
		{z.name, "MX", []string{"10 mail." + z.name, "20 mail.example.net"}},
		{z.name, "TXT", []string{"v=spf1 mx -all"}},
		{"10." + reverse.name, "PTR", []string{"www." + z.name}},
		{"six." + z.name, "AAAA", []string{"2001:db8::1"}},
		{"shop." + z.name, "CNAME", []string{"www." + z.name}},
		{"child." + z.name, "NS", []string{"ns1.example.net", "ns2.example.net"}},
		{"calls." + z.name, "NAPTR", []string{`100 50 "U" "E2U+sip" "!^.*!sip:info@example.net!" sip.example.net.`}},
	} {
		z.answers(t, want.name, want.recordType, want.data...)
	}
	const pod = "app.kubernetes.io/name=external-dns"
	instance{c.metrics(t, namespace, pod, "7979"), c.metrics(t, namespace, pod, "8080")}.idle(t, z)

	c.applyText(t, endpoints("[192.0.2.10, 192.0.2.11]", "[192.0.2.12]", "recordTTL: 300", "recordTTL: 120", "[192.0.2.20]", "[192.0.2.21]"))
	z.answers(t, "www."+z.name, "A", "192.0.2.12")
	z.ttl(t, "www."+z.name, 120)
	z.answers(t, "some.thing.apps."+z.name, "A", "192.0.2.21")
	c.kubectl(t, "delete", "dnsendpoints", "--all", "-n", namespace)
	z.answers(t, z.name, "MX")
	z.answers(t, "some.thing.apps."+z.name, "A")
	z.empty(t)
	reverse.empty(t)
}

// reverseName is below 10.in-addr.arpa, as unlike others as the name is.
func reverseName(t *testing.T, unique string) string {
	t.Helper()
	bits, err := strconv.ParseUint(strings.TrimSuffix(unique[strings.LastIndexByte(unique, '-')+1:], ".test"), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d.%d.10.in-addr.arpa", bits>>8&255, bits&255)
}

// externalDNS installs ExternalDNS's own chart, which comes with its module, and its CustomResourceDefinition.
func (c *cluster) externalDNS(t *testing.T, namespace string, forward, reverse *zone) {
	t.Helper()
	chart := filepath.Join(moduleDir(t, "sigs.k8s.io/external-dns"), "charts", "external-dns")
	c.define(t, dnsResources())
	lab, err := yaml.Marshal(map[string]any{
		"image": map[string]any{"tag": c.lab.ExternalDNS}, "fullnameOverride": namespace, "interval": "1s",
		"sources": []string{"crd"}, "managedRecordTypes": []string{"A", "AAAA", "CNAME", "TXT", "MX", "SRV", "PTR", "NS", "NAPTR"},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	values := filepath.Join(dir, "values.yaml")
	filter := "- --domain-filter="
	if err := os.WriteFile(values, []byte(edited(t, "charts/mooring/examples/external-dns-sidecar.yaml", filter+"example.com", filter+forward.name+"\n      "+filter+reverse.name)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.tryHelm(t.Context(), string(lab), "install", "external-dns", chart, "-n", namespace, "--values", values, "--values", "-", "--wait", "--timeout", "2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), target.Patience)
		defer cancel()
		if _, err := c.tryHelm(ctx, "", "uninstall", "external-dns", "-n", namespace, "--wait", "--timeout", "1m"); err != nil {
			t.Error(err)
		}
	})
}
