package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/openstack/openstacksim"
)

// registrar is a simulated cloud whose Designate the tools of "mooring dns" work with.
type registrar struct {
	*openstacksim.Cloud
}

func newRegistrar(t *testing.T, c openstacksim.DesignateConfig, zones ...string) *registrar {
	t.Helper()
	sim, err := openstacksim.Start(openstacksim.Config{Designate: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	for _, zone := range zones {
		zoneOf(t, sim, zone+".")
	}
	return &registrar{sim}
}

// run runs a tool of "mooring dns".
func (r *registrar) run(args ...string) (code int, out, errs string) {
	w := newWorld()
	w.files["clouds.yaml"] = string(r.CloudsYAML())
	code = w.main(append([]string{"dns"}, append(args, "--clouds-file=clouds.yaml", "--os-cloud=demo")...)...)
	return code, w.out.String(), w.errs.String()
}

// rows runs a tool that has to succeed and returns "name type values result".
func (r *registrar) rows(t *testing.T, args ...string) []string {
	t.Helper()
	code, out, errs := r.run(append(args, "--output=json")...)
	var got shownDNS
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK {
		t.Fatalf("%v: exit %d: %v: %s%s", args, code, err, out, errs)
	}
	rows := []string{}
	for i := range got.Records {
		record := &got.Records[i]
		rows = append(rows, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", record.Name, record.Type, strings.Join(record.Values, ","), record.Result)))
	}
	return rows
}

// writes counts the calls to Designate that may change something.
func (r *registrar) writes() int {
	all := openstacksim.CallFilter{Service: openstacksim.ServiceDesignate}
	return r.Calls.Count(all) - r.Calls.Count(all, openstacksim.CallFilter{Method: http.MethodGet})
}

func (r *registrar) same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", what, diff)
	}
}

// The life of a cluster's names, beside another cluster's.
func TestDNSLife(t *testing.T) {
	t.Parallel()
	r := newRegistrar(t, openstacksim.DesignateConfig{Delay: 50 * time.Millisecond}, "example.org")
	wait := []string{"--wait", "--nameserver=" + r.Designate.DNSAddr(), "--timeout=1m"}
	c1 := func(tool string, args ...string) []string {
		return append([]string{tool, "--cluster=c1", "--zone=example.org."}, args...)
	}
	ensure := c1("ensure", append(wait, "--api=192.0.2.1", "--api=2001:db8::1", "--apps=192.0.2.2")...)
	r.same(t, "created", r.rows(t, ensure...),
		"api.c1.example.org A 192.0.2.1 created", "api.c1.example.org AAAA 2001:db8::1 created", "*.apps.c1.example.org A 192.0.2.2 created")
	before := r.writes()
	r.same(t, "again", r.rows(t, ensure...),
		"api.c1.example.org A 192.0.2.1 unchanged", "api.c1.example.org AAAA 2001:db8::1 unchanged", "*.apps.c1.example.org A 192.0.2.2 unchanged")
	if n := r.writes() - before; n != 0 {
		t.Errorf("the second ensure made %d writes", n)
	}
	r.same(t, "another cluster", r.rows(t, "ensure", "--cluster=C2", "--zone=Example.org", "--api=192.0.2.8", "--ttl=60"), "api.c2.example.org A 192.0.2.8 created")
	r.same(t, "other addresses", r.rows(t, c1("ensure", append(wait, "--api=192.0.2.9,192.0.2.3", "--dry-run=false")...)...),
		"api.c1.example.org A 192.0.2.3,192.0.2.9 updated", "api.c1.example.org AAAA 2001:db8::1 deleted")
	before = r.writes()
	r.same(t, "a dry run", r.rows(t, c1("delete", "--dry-run")...),
		"*.apps.c1.example.org A 192.0.2.2 would be deleted", "api.c1.example.org A 192.0.2.3,192.0.2.9 would be deleted")
	r.same(t, "another dry run", r.rows(t, c1("ensure", "--dry-run", "--apps=192.0.2.2,192.0.2.7")...), "*.apps.c1.example.org A 192.0.2.2,192.0.2.7 would be updated")
	if n := r.writes() - before; n != 0 {
		t.Errorf("dry runs made %d writes", n)
	}
	r.same(t, "the list of one", r.rows(t, c1("list")...), "*.apps.c1.example.org A 192.0.2.2", "api.c1.example.org A 192.0.2.3,192.0.2.9")
	r.same(t, "the list", r.rows(t, "list", "--zone=example.org"), "*.apps.c1.example.org A 192.0.2.2", "api.c1.example.org A 192.0.2.3,192.0.2.9", "api.c2.example.org A 192.0.2.8")
	r.same(t, "deleted", r.rows(t, c1("delete", wait...)...), "*.apps.c1.example.org A 192.0.2.2 deleted", "api.c1.example.org A 192.0.2.3,192.0.2.9 deleted")
	r.same(t, "deleted again", r.rows(t, c1("delete", wait...)...))
	code, out, errs := r.run("list", "--zone=example.org")
	want := "CLUSTER  NAME                TYPE  VALUES     TTL  STATUS   ZONE\nc2       api.c2.example.org  A     192.0.2.8  60   ACTIVE   example.org\n"
	if got := strings.ReplaceAll(out, "PENDING", "ACTIVE "); code != exitOK || strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// What does not carry the mark is not touched, unless it is meant to be.
func TestDNSForeignRecords(t *testing.T) {
	t.Parallel()
	r := newRegistrar(t, openstacksim.DesignateConfig{}, "example.org")
	w := newWorld()
	w.files["clouds.yaml"] = string(r.CloudsYAML())
	started(t, w, modeArgs(t, "designate-webhook")...)
	if status, body := w.webhook(t, http.MethodPost, "/records", `{"create": [{"dnsName": "api.c1.example.org", "recordType": "CNAME", "targets": ["lb.example.net"]},
		{"dnsName": "www.apps.c1.example.org", "recordType": "A", "targets": ["192.0.2.9"]}]}`); status != http.StatusNoContent {
		t.Fatal(status, body)
	}
	before := r.writes()
	args := []string{"ensure", "--cluster=c1", "--zone=example.org", "--api=192.0.2.1", "--apps=192.0.2.2"}
	code, out, errs := r.run(args...)
	if code != exitFailure || out != "" || !strings.Contains(errs, "nothing was written, since something is in the way: api.c1.example.org CNAME: there is one already, lb.example.net") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if n := r.writes() - before; n != 0 {
		t.Errorf("%d writes", n)
	}
	if got := r.rows(t, "delete", "--cluster=c1", "--zone=example.org"); len(got) > 0 {
		t.Errorf("deleted %q", got)
	}
	r.same(t, "forced", r.rows(t, append(args, "--force")...), "api.c1.example.org CNAME lb.example.net deleted", "api.c1.example.org A 192.0.2.1 created",
		"*.apps.c1.example.org A 192.0.2.2 created")
	r.same(t, "deleted", r.rows(t, "delete", "--cluster=c1", "--zone=example.org"), "*.apps.c1.example.org A 192.0.2.2 deleted", "api.c1.example.org A 192.0.2.1 deleted")
	if _, body := w.webhook(t, http.MethodGet, "/records", ""); !strings.Contains(body, "www.apps.c1.example.org") {
		t.Errorf("a foreign record is gone: %s", body)
	}
}

// Load balancers and floating IPs, and their PTRs beside those of a reverse zone.
func TestDNSAddressesAndPTRs(t *testing.T) {
	t.Parallel()
	r := newRegistrar(t, openstacksim.DesignateConfig{Delay: 20 * time.Millisecond}, "example.org", "2.0.192.in-addr.arpa")
	inside, _ := r.Octavia.AddLoadBalancer("demo", "ingress", "10.0.0.7")
	public, port := r.Octavia.AddLoadBalancer("demo", "api", "10.0.0.8", "2001:db8::8")
	r.Neutron.AddFloatingIP("demo", "198.51.100.8", port, "10.0.0.8")
	single := r.Neutron.AddFloatingIP("demo", "198.51.100.9", "", "")
	args := []string{"ensure", "--cluster=c1", "--zone=example.org", "--api=lb:" + public, "--api=" + single + ",192.0.2.1", "--apps=lb:" + inside, "--ptr", "--wait", "--nameserver=" + r.Designate.DNSAddr()}
	code, out, errs := r.run(args...)
	if code != exitOK || !strings.Contains(errs, "Warning: no PTR for 2001:db8::8: it is no floating IP of the project, and no zone of the project contains 8.0.0.0.") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	before := r.writes()
	want := []string{
		"api.c1.example.org A 192.0.2.1,198.51.100.8,198.51.100.9 unchanged", "api.c1.example.org AAAA 2001:db8::8 unchanged", "*.apps.c1.example.org A 10.0.0.7 unchanged",
		"1.2.0.192.in-addr.arpa PTR api.c1.example.org unchanged", "8.100.51.198.in-addr.arpa PTR api.c1.example.org unchanged", "9.100.51.198.in-addr.arpa PTR api.c1.example.org unchanged",
	}
	r.same(t, "again", r.rows(t, args...), want...)
	if n := r.writes() - before; n != 0 {
		t.Errorf("the second ensure made %d writes", n)
	}
	r.same(t, "fewer", r.rows(t, "ensure", "--cluster=c1", "--zone=example.org", "--api=198.51.100.9", "--ptr")[2:],
		"9.100.51.198.in-addr.arpa PTR api.c1.example.org unchanged", "1.2.0.192.in-addr.arpa PTR api.c1.example.org deleted", "8.100.51.198.in-addr.arpa PTR api.c1.example.org deleted")
	r.same(t, "the list", r.rows(t, "list", "--cluster=c1", "--zone=example.org"),
		"*.apps.c1.example.org A 10.0.0.7", "9.100.51.198.in-addr.arpa PTR api.c1.example.org", "api.c1.example.org A 198.51.100.9")
	if got := r.rows(t, "delete", "--cluster=c1", "--zone=example.org", "--wait=active"); !slices.Contains(got, "9.100.51.198.in-addr.arpa PTR api.c1.example.org deleted") {
		t.Errorf("%q", got)
	}
	if got := r.rows(t, "list", "--zone=example.org"); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	for ref, want := range map[string]string{
		"lb:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b": "--api: looking for lb:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b: GET /load-balancer/v2.0/lbaas/loadbalancers/0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b: 404 Not Found: Load Balancer",
		"0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b":    "Floating IP 0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b could not be found",
	} {
		if code, _, errs := r.run("ensure", "--cluster=c1", "--zone=example.org", "--api="+ref); code != exitFailure || !strings.Contains(errs, want) {
			t.Errorf("exit %d: %s", code, errs)
		}
	}
}

// Where no address can have a PTR, the rest is done, and it is a failure.
func TestDNSWithoutAnyPTR(t *testing.T) {
	t.Parallel()
	r := newRegistrar(t, openstacksim.DesignateConfig{}, "example.org")
	r.Keystone.HideService("network")
	code, out, errs := r.run("ensure", "--cluster=c1", "--zone=example.org", "--api=198.51.100.9", "--ptr")
	if code != exitFailure || !strings.Contains(out, "created") || !strings.Contains(errs, "mooring dns ensure: none of the addresses can have a PTR\n") ||
		!strings.Contains(errs, "Warning: no PTR for 198.51.100.9: this cloud's Designate knows no floating IPs, and no zone of the project contains 9.100.51.198.in-addr.arpa.\n") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, errs := r.run("list", "--cluster=c1", "--zone=example.org"); code != exitOK || errs != "" || !strings.Contains(out, "api.c1.example.org") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// It says clearly when the name servers can't be asked, and when what was written has no effect.
func TestDNSWaits(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // the test is over then
	r := newRegistrar(t, openstacksim.DesignateConfig{NameServer: "ns1.unknown.invalid."}, "example.org", "example.net")
	ensure := func(args ...string) (int, string, string) {
		return r.run(append([]string{"ensure", "--cluster=c1", "--zone=example.org", "--api=192.0.2.1"}, args...)...)
	}
	code, out, errs := ensure("--wait", "--timeout=1s")
	if code != exitFailure || !strings.Contains(out, "created") || !strings.Contains(errs, "all is written and ACTIVE in Designate, but not every name server of the zone can be asked from here; --nameserver") ||
		!strings.Contains(errs, "ns1.unknown.invalid") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, _, errs = ensure("--wait", "--timeout=1s", "--nameserver="+silent.LocalAddr().String())
	if code != exitFailure || !strings.Contains(errs, "name server "+silent.LocalAddr().String()+": no answer from ") {
		t.Errorf("exit %d: %s", code, errs)
	}
	other := newRegistrar(t, openstacksim.DesignateConfig{}, "example.com")
	code, _, errs = ensure("--wait", "--timeout=1s", "--nameserver="+other.Designate.DNSAddr())
	if code != exitFailure || !strings.Contains(errs, "written, but not in effect within --timeout=1s: api.c1.example.org A: name server "+other.Designate.DNSAddr()+": no authoritative answer") {
		t.Errorf("exit %d: %s", code, errs)
	}
	slow := newRegistrar(t, openstacksim.DesignateConfig{Delay: time.Hour}, "example.org")
	code, _, errs = slow.run("ensure", "--cluster=c1", "--zone=example.org", "--api=192.0.2.1", "--wait=active", "--timeout=1s")
	if code != exitFailure || !strings.Contains(errs, "api.c1.example.org A: not yet: Designate says PENDING") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestDNSMistakes(t *testing.T) {
	t.Parallel()
	r := newRegistrar(t, openstacksim.DesignateConfig{}, "example.net", "example.com")
	for name, test := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"nothing": {[]string{"ensure"}, exitUsage, []string{"--cluster (MOORING_CLUSTER) is missing", "--zone (MOORING_ZONE) or --zone-id is missing", "--api (MOORING_API) or --apps (MOORING_APPS) is missing"}},
		"forms": {
			[]string{"ensure", "--cluster=a_b c", "--zone=*.example.org", "--api=lb:1,example.org,127.0.0.1", "--apps=fe80::1%eth0", "--ttl=-1", "--wait=maybe", "--output=yaml", "--timeout=0s"},
			exitUsage,
			[]string{
				`--cluster: invalid DNS name "a_b c"`, `--zone: invalid DNS name "*.example.org"`, `--api: invalid address: "lb:1" has to be lb: and the UUID`,
				`--api: invalid address: "example.org" has to be an IP address, the UUID of a floating IP`, `"127.0.0.1" is an address of one machine`, `--apps: invalid address: "fe80::1%eth0"`,
				"--ttl: -1 is not from 0", `--wait: "maybe" has to be answered or active`, `--output: "yaml"`, "--timeout: 0s has to be more than 0",
			},
		},
		"what does not go together": {
			[]string{"ensure", "--cluster=c", "--zone=example.org", "--apps=192.0.2.1", "--ptr", "--wait", "--dry-run"}, exitUsage, []string{"--ptr: it is only for --api", "--wait: with --dry-run"},
		},
		"a name server without --wait": {[]string{"delete", "--cluster=c", "--zone=example.org", "--nameserver=192.0.2.1"}, exitUsage, []string{"--nameserver: it is only for --wait"}},
		"a name server":                {[]string{"delete", "--cluster=c", "--zone=example.org", "--wait", "--nameserver=:53,[::1],a:b:c,x:1000000"}, exitUsage, []string{`--nameserver: ":53" has to be`, `--nameserver: "x:1000000" has to be`}},
		"no such zone":                 {[]string{"ensure", "--cluster=c", "--zone=example.org", "--api=192.0.2.1"}, exitFailure, []string{"zone: there is no example.org among those that the project can see: example.com, example.net"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := r.run(test.args...)
			if code != test.code || out != "" {
				t.Errorf("exit %d: %s", code, out)
			}
			for _, want := range test.want {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q:\n%s", want, errs)
				}
			}
		})
	}
}
