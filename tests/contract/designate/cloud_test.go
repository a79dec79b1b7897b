// Package designate_test has the contract cases of Designate: the same on the simulator and on a real one, whose clouds.yaml is named by
// MOORING_CONTRACT_CLOUDS. What mooring relies on is here, so that the simulator can't drift from the truth.
package designate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/miekg/dns"

	"mooring/pkg/openstack"
	"mooring/tests/contract/designate/conformance"
	"mooring/tests/contract/target"
)

// cloud is a target with a tenant's session.
type cloud struct {
	*target.Cloud
	session *openstack.Session
	dns     string // host:port of the name server
}

func open(t *testing.T) *cloud {
	t.Helper()
	return openAs(t, "demo")
}

func openAs(t *testing.T, name string) *cloud {
	t.Helper()
	c := &cloud{Cloud: target.Open(t)}
	c.session = c.Session(t, name)
	if c.Sim != nil {
		c.dns = c.Sim.Designate.DNSAddr()
	} else {
		c.dns = c.Lab(t).DNS.Server
	}
	return c
}

// as is the same cloud for another tenant.
func (c *cloud) as(t *testing.T, name string) *cloud {
	t.Helper()
	return &cloud{Cloud: c.Cloud, session: c.Session(t, name), dns: c.dns}
}

// answer is what Designate says.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (a answer) text(key string) string {
	s, _ := a.body[key].(string)
	return s
}

func (a answer) number(t *testing.T, key string) int64 {
	t.Helper()
	n, ok := a.body[key].(json.Number)
	if !ok {
		t.Fatalf("%s is %v, want a number", key, a.body[key])
	}
	v, err := n.Int64()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (a answer) list(key string) []map[string]any {
	var out []map[string]any
	items, _ := a.body[key].([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func (a answer) String() string {
	var raw strings.Builder
	encoder := json.NewEncoder(&raw)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(a.body); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, strings.TrimSpace(raw.String()))
}

// call makes one call and returns the answer, whatever its status. The path is below /v2; "" is the service's root.
func (c *cloud) call(t *testing.T, method, path string, body any, header ...string) answer {
	t.Helper()
	return c.callWith(t, t.Context(), method, path, body, header...)
}

func (c *cloud) callWith(t *testing.T, ctx context.Context, method, path string, body any, header ...string) answer { //nolint:revive // a test's context comes second
	t.Helper()
	client, err := c.session.Client(ctx, openstack.DNS)
	if err != nil {
		t.Fatal(err)
	}
	options := &gophercloud.RequestOpts{JSONBody: body, KeepResponseBody: true, OkCodes: []int{200, 201, 202, 204}}
	for i := 0; i+1 < len(header); i += 2 {
		if options.MoreHeaders == nil {
			options.MoreHeaders = map[string]string{}
		}
		options.MoreHeaders[header[i]] = header[i+1]
	}
	address := client.Endpoint + strings.TrimPrefix(path, "/")
	if path == "" {
		address = strings.TrimSuffix(client.Endpoint, "v2/")
	}
	response, err := client.Request(ctx, method, address, options)
	var unexpected gophercloud.ErrUnexpectedResponseCode
	switch {
	case errors.As(err, &unexpected):
		a := answer{status: unexpected.Actual, header: unexpected.ResponseHeader}
		decode(t, unexpected.Body, &a.body)
		return a
	case err != nil:
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	a := answer{status: response.StatusCode, header: response.Header}
	decoder := json.NewDecoder(response.Body)
	decoder.UseNumber()
	if err := decoder.Decode(&a.body); err != nil {
		t.Logf("%s %s: %d without a JSON object: %v", method, path, a.status, err)
	}
	return a
}

func decode(t *testing.T, raw []byte, v any) {
	t.Helper()
	if len(raw) == 0 {
		return
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
}

// zone is a zone of a test; it goes away with the test.
type zone struct {
	cloud *cloud
	id    string
	name  string // with the final dot
}

func (z *zone) bare() string         { return strings.TrimSuffix(z.name, ".") }
func (z *zone) path() string         { return "/zones/" + z.id }
func (z *zone) sets() string         { return z.path() + "/recordsets" }
func (z *zone) host(s string) string { return s + "." + z.name }

// zone makes an ACTIVE zone with a name of its own.
func (c *cloud) zone(t *testing.T) *zone {
	t.Helper()
	return c.namedZone(t, target.Unique(t)+".test.")
}

func (c *cloud) childZone(t *testing.T, parent *zone) *zone {
	t.Helper()
	return c.namedZone(t, "sub."+parent.name)
}

func (c *cloud) namedZone(t *testing.T, name string) *zone {
	t.Helper()
	a := c.call(t, "POST", "/zones", map[string]any{"name": name, "email": "hostmaster@" + strings.TrimSuffix(name, ".")})
	if a.status != 202 {
		t.Fatalf("creating zone %s: %s", name, a)
	}
	z := &zone{c, a.text("id"), name}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if a := c.callWith(t, ctx, "DELETE", z.path(), nil); a.status != 202 && a.status != 404 {
			t.Errorf("deleting zone %s: %s", name, a)
		}
		// Its parent can't be deleted before it is really gone.
		for end := time.Now().Add(target.Patience); c.callWith(t, ctx, "GET", z.path(), nil).status != 404; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("zone %s is still there", name)
				return
			}
		}
	})
	z.settle(t)
	return z
}

// settle waits until the zone is ACTIVE and returns it.
func (z *zone) settle(t *testing.T) answer {
	t.Helper()
	var a answer
	target.Eventually(t, "zone "+z.name+" ACTIVE", func() bool {
		a = z.cloud.call(t, "GET", z.path(), nil)
		return a.text("status") == "ACTIVE"
	})
	return a
}

// make creates a recordset.
func (z *zone) make(t *testing.T, name, kind string, records ...string) answer {
	t.Helper()
	a := z.try(t, name, kind, records...)
	if a.status != 202 {
		t.Fatalf("creating %s %s: %s", name, kind, a)
	}
	return a
}

func (z *zone) try(t *testing.T, name, kind string, records ...string) answer {
	t.Helper()
	return z.cloud.call(t, "POST", z.sets(), map[string]any{"name": name, "type": kind, "records": append([]string{}, records...)})
}

// answers waits until the name server gives exactly these data.
func (z *zone) answers(t *testing.T, name, kind string, data ...string) {
	t.Helper()
	slices.Sort(data)
	var got []string
	target.Eventually(t, fmt.Sprintf("%s %s answered with %q", name, kind, data), func() bool {
		var err error
		got, err = conformance.Lookup(t.Context(), z.cloud.dns, name, kind)
		return err == nil && slices.Equal(got, data)
	})
}

// negative asks a name server and returns the code, whether there is a SOA in the authority section, and whether the answer refers to others.
func negative(t *testing.T, server, name, kind string) (code string, soa, referral bool) {
	t.Helper()
	query := new(dns.Msg)
	query.SetQuestion(name, dns.StringToType[kind])
	answer, err := dns.ExchangeContext(t.Context(), query, server)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range answer.Ns {
		soa = soa || rr.Header().Rrtype == dns.TypeSOA
		referral = referral || rr.Header().Rrtype == dns.TypeNS && !answer.Authoritative
	}
	return dns.RcodeToString[answer.Rcode], soa, referral
}
