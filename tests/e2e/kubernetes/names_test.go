package kubernetes_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/miekg/dns"

	"mooring/pkg/openstack"
	"mooring/tests/contract/target"
)

// testNames lets a real ExternalDNS write a Service's name through the webhook, and asks the name server for it.
func testNames(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	client, err := c.cloud.Session(t, "demo").Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	zone := target.Unique(t) + ".test"
	made, err := zones.Create(t.Context(), client, zones.CreateOpts{Name: zone + ".", Email: "hostmaster@" + zone}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	t.Cleanup(func() {
		if _, err := zones.Delete(context.WithoutCancel(t.Context()), client, made.ID).Extract(); err != nil {
			t.Error(openstack.Wrap(err))
		}
	})

	namespace := c.namespace(t)
	t.Cleanup(func() {
		if _, err := c.try(context.WithoutCancel(t.Context()), "", "delete", "clusterrole,clusterrolebinding", namespace); err != nil {
			t.Error(err)
		}
	})
	c.apply(t, "names.yaml", map[string]string{
		"NAMESPACE": namespace, "ZONE": zone, "VERSION": c.lab.ExternalDNS,
		"WEBHOOK": c.kubectl(t, "get", "service", "mooring-dns", "-n", release, "-o", "jsonpath={.spec.clusterIP}"),
	})
	c.ready(t, namespace, "external-dns")
	t.Cleanup(func() {
		if t.Failed() {
			out, err := c.try(context.WithoutCancel(t.Context()), "", "logs", "external-dns", "-n", namespace, "--tail=40")
			t.Log(out, err)
		}
	})

	server := nameServer(t, c)
	c.apply(t, "service.yaml", map[string]string{"NAMESPACE": namespace, "ZONE": zone})
	began := time.Now()
	address := c.kubectl(t, "get", "service", "www", "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")
	target.Eventually(t, "the name server knows the Service", func() bool {
		return slices.Equal(ask(t, server, "www."+zone+"."), []string{address})
	})
	t.Logf("www.%s is %s after %v", zone, address, time.Since(began).Round(100*time.Millisecond))
	c.kubectl(t, "delete", "service", "www", "-n", namespace)
	target.Eventually(t, "the name server has forgotten the Service", func() bool { return len(ask(t, server, "www."+zone+".")) == 0 })
}

// nameServer is the one that Designate fills.
func nameServer(t *testing.T, c *cluster) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(filepath.Dir(c.cloud.CloudsFile()), "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	var lab struct {
		DNS struct {
			Server string `json:"server"`
		} `json:"dns"`
	}
	if err := json.Unmarshal(data, &lab); err != nil {
		t.Fatal(err)
	}
	return lab.DNS.Server
}

func ask(t *testing.T, server, name string) (addresses []string) {
	t.Helper()
	question := new(dns.Msg)
	question.SetQuestion(name, dns.TypeA)
	answer, err := dns.ExchangeContext(t.Context(), question, server)
	if err != nil {
		t.Logf("%s does not answer: %v", server, err)
		return nil
	}
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok {
			addresses = append(addresses, a.A.String())
		}
	}
	return addresses
}
