package openstack_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"sigs.k8s.io/external-dns/endpoint"

	"mooring/pkg/openstack"
	"mooring/tests/contract/designate/conformance"
	"mooring/tests/contract/target"
	"mooring/tests/peer/externaldns"
	"mooring/tests/peer/process"
)

// names is one tenant's Designate, the name server that it fills, and a zone of the test.
type names struct {
	cloud  *target.Cloud
	client *gophercloud.ServiceClient
	server string
	zone   string // without the final dot
	zoneID string
}

func openNames(t *testing.T) *names {
	t.Helper()
	cloud := target.Open(t)
	if !cloud.Real {
		t.Skipf("%s does not name the clouds.yaml of a real OpenStack", target.Variable)
	}
	client, err := cloud.Session(t, "demo").Client(t.Context(), openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	n := &names{cloud: cloud, client: client, server: cloud.Lab(t).DNS.Server, zone: target.Unique(t) + ".test"}
	zone, err := zones.Create(t.Context(), client, zones.CreateOpts{Name: n.zone + ".", Email: "hostmaster@" + n.zone}).Extract()
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	n.zoneID = zone.ID
	t.Cleanup(func() {
		if _, err := zones.Delete(context.WithoutCancel(t.Context()), client, zone.ID).Extract(); err != nil {
			t.Error(openstack.Wrap(err))
		}
	})
	target.Eventually(t, "the zone is ACTIVE", func() bool {
		got, err := zones.Get(t.Context(), client, zone.ID).Extract()
		if err != nil {
			t.Fatal(openstack.Wrap(err))
		}
		return got.Status == "ACTIVE"
	})
	return n
}

func (n *names) webhook(t *testing.T) (url string, p *process.Process) {
	t.Helper()
	return externaldns.StartWebhook(t, n.cloud.CloudsFile(), n.cloud.Name("demo"), "--domain-filter", n.zone, "--log-level", "debug")
}

// recordsets lists what Designate holds in the zone, as "name type data", without what is Designate's own.
func (n *names) recordsets(t *testing.T) []string {
	t.Helper()
	pages, err := recordsets.ListByZone(n.client, n.zoneID, recordsets.ListOpts{Limit: 1000}).AllPages(t.Context())
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	sets, err := recordsets.ExtractRecordSets(pages)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for i := range sets {
		if sets[i].Type == "SOA" || sets[i].Type == "NS" {
			continue
		}
		slices.Sort(sets[i].Records)
		list = append(list, fmt.Sprintf("%s %s %s", strings.TrimSuffix(sets[i].Name, "."+n.zone+"."), sets[i].Type, strings.Join(sets[i].Records, " ")))
	}
	slices.Sort(list)
	return list
}

func (n *names) answers(t *testing.T, name, recordType string, want ...string) {
	t.Helper()
	target.Eventually(t, fmt.Sprintf("BIND answers %s %s with %q", name, recordType, want), func() bool {
		got, err := conformance.Lookup(t.Context(), n.server, name, recordType)
		return err == nil && slices.Equal(got, want)
	})
}

// A full sync of ExternalDNS, by its real webhook client, plan and registry, through the real process into a real Designate; BIND answers it;
// a change and a delete follow.
func TestExternalDNS(t *testing.T) {
	t.Parallel()
	n := openNames(t)
	url, p := n.webhook(t)
	client, err := externaldns.Connect(t.Context(), url, "e2e")
	if err != nil {
		t.Fatal(err)
	}
	sync := func(desired ...*endpoint.Endpoint) bool {
		t.Helper()
		begin := time.Now()
		changes, err := client.Sync(t.Context(), desired...)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("sync: %v, changes: %v", time.Since(begin).Round(time.Millisecond), changes.HasChanges())
		return changes.HasChanges()
	}
	www, shop, apps, book := "www."+n.zone, "shop."+n.zone, "*.apps."+n.zone, "bücher."+n.zone
	first := func() []*endpoint.Endpoint {
		return []*endpoint.Endpoint{
			endpoint.NewEndpointWithTTL(www, "A", 60, "192.0.2.2", "192.0.2.1"), endpoint.NewEndpointWithTTL(www, "AAAA", 60, "2001:DB8::0:1"),
			endpoint.NewEndpoint(shop, "CNAME", www), endpoint.NewEndpoint(apps, "A", "192.0.2.3"), endpoint.NewEndpoint(book, "A", "192.0.2.4"),
		}
	}
	sync(first()...)
	mark := `"heritage=external-dns,external-dns/owner=e2e"`
	want := []string{
		"*.apps A 192.0.2.3", "extdns-a.any.apps TXT " + mark, "extdns-a.www TXT " + mark, "extdns-a.xn--bcher-kva TXT " + mark, "extdns-aaaa.www TXT " + mark,
		"extdns-cname.shop TXT " + mark, "shop CNAME www." + n.zone + ".", "www A 192.0.2.1 192.0.2.2", "www AAAA 2001:db8::1", "xn--bcher-kva A 192.0.2.4",
	}
	if got := n.recordsets(t); !slices.Equal(got, want) {
		t.Errorf("Designate holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	n.answers(t, www, "A", "192.0.2.1", "192.0.2.2")
	n.answers(t, www, "AAAA", "2001:db8::1")
	n.answers(t, shop, "CNAME", www)
	n.answers(t, shop, "A", "192.0.2.1", "192.0.2.2")
	n.answers(t, "any.thing.apps."+n.zone, "A", "192.0.2.3")
	n.answers(t, "xn--bcher-kva."+n.zone, "A", "192.0.2.4")
	if sync(first()...) {
		t.Error("a second sync finds something to do")
	}

	second := func() []*endpoint.Endpoint {
		return []*endpoint.Endpoint{
			endpoint.NewEndpointWithTTL(www, "A", 60, "192.0.2.9"), endpoint.NewEndpoint(shop, "A", "192.0.2.8"), endpoint.NewEndpoint(n.zone, "A", "192.0.2.7"),
		}
	}
	sync(second()...)
	n.answers(t, www, "A", "192.0.2.9")
	n.answers(t, www, "AAAA")
	n.answers(t, shop, "A", "192.0.2.8")
	n.answers(t, n.zone, "A", "192.0.2.7")
	n.answers(t, "any.thing.apps."+n.zone, "A")
	if sync(second()...) {
		t.Error("a sync after the change finds something to do")
	}

	sync()
	if got := n.recordsets(t); len(got) != 0 {
		t.Errorf("Designate still holds\n%s", strings.Join(got, "\n"))
	}
	n.answers(t, www, "A")
	n.answers(t, n.zone, "A")
	if rss, err := p.RSS(); err != nil || rss > 40<<20 {
		t.Errorf("resident memory: %d MiB, %v; want at most 40", rss>>20, err)
	} else {
		t.Logf("resident memory: %d MiB", rss>>20)
	}
}

// What another tenant has is out of reach, and a record that the cloud refuses for its quota is a soft error.
func TestExternalDNSOverQuota(t *testing.T) {
	t.Parallel()
	n := openNames(t)
	url, _ := n.webhook(t)
	client, err := externaldns.Connect(t.Context(), url, "e2e")
	if err != nil {
		t.Fatal(err)
	}
	targets := make([]string, 25) // Designate's default quota is 20 records a recordset
	for i := range targets {
		targets[i] = fmt.Sprintf("192.0.2.%d", i+1)
	}
	_, err = client.Sync(t.Context(), endpoint.NewEndpoint("many."+n.zone, "A", targets...), endpoint.NewEndpoint("few."+n.zone, "A", "192.0.2.1"))
	if !externaldns.Soft(err) {
		t.Errorf("%v, want a soft error", err)
	}
	n.answers(t, "few."+n.zone, "A", "192.0.2.1")
	n.answers(t, "many."+n.zone, "A")
	if _, err := client.Sync(t.Context()); err != nil {
		t.Error(err)
	}
}
