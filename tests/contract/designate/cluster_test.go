package designate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/contract/designate/conformance"
	"mooring/tests/contract/target"
	"mooring/tests/peer/process"
)

// dnsTool runs "mooring dns" as a process, as the tenant.
type dnsTool struct {
	*cloud
	program string
}

// TestClusterNames runs the tools on a zone of its own each.
func TestClusterNames(t *testing.T) {
	t.Parallel()
	program := filepath.Join(process.Programs(t), "mooring")
	for name, test := range map[string]func(*testing.T, *dnsTool){"life": clusterNamesLife, "foreign": clusterNamesAndForeignOnes, "kill": clusterNamesAfterAKill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &dnsTool{open(t), program})
		})
	}
}

func (d *dnsTool) start(t *testing.T, args ...string) *process.Process {
	t.Helper()
	args = append([]string{"dns"}, append(args, "--clouds-file="+d.CloudsFile(), "--os-cloud="+d.Name("demo"))...)
	p, err := process.Start(t.Context(), "mooring dns", d.program, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// run runs a tool to its end.
func (d *dnsTool) run(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	p := d.start(t, args...)
	code, err := p.Ended(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return code, p.Output()
}

// rows runs a tool that has to succeed and returns "name type values result" of each record.
func (d *dnsTool) rows(t *testing.T, args ...string) []string {
	t.Helper()
	code, output := d.run(t, append(args, "--output=json")...)
	var got struct {
		Records []struct {
			Name   string   `json:"name"`
			Type   string   `json:"type"`
			Result string   `json:"result"`
			Values []string `json:"values"`
		} `json:"records"`
	}
	if err := json.Unmarshal([]byte(output), &got); err != nil || code != 0 {
		t.Fatalf("%v: exit %d: %v: %s", args, code, err, output)
	}
	rows := []string{}
	for _, r := range got.Records {
		rows = append(rows, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Name, r.Type, strings.Join(r.Values, ","), r.Result)))
	}
	return rows
}

func (d *dnsTool) same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", what, diff)
	}
}

// From before the cluster is until after it: names are made, seen in the DNS, left alone when they are right, changed in place, deleted.
func clusterNamesLife(t *testing.T, d *dnsTool) {
	t.Helper()
	c, z := d.cloud, d.zone(t)
	second, third := 1+rand.IntN(250), 1+rand.IntN(250) // a network that no other run has
	reverse := c.namedZone(t, fmt.Sprintf("%d.%d.10.in-addr.arpa.", third, second))
	address := func(n int) string { return fmt.Sprintf("10.%d.%d.%d", second, third, n) }
	api, apps := "api.c1."+z.bare(), "*.apps.c1."+z.bare()
	c1 := func(tool string, args ...string) []string {
		args = append([]string{tool, "--cluster=c1", "--zone=" + z.name}, args...)
		if tool != "list" {
			args = append(args, "--wait", "--nameserver="+c.dns, "--timeout="+target.Patience.String())
		}
		return args
	}
	pointer := func(n int) string { return fmt.Sprintf("%d.%s", n, reverse.bare()) }
	ensure := c1("ensure", "--api="+address(1), "--api=2001:db8::1", "--apps="+address(2), "--ttl=60")
	d.same(t, "created", d.rows(t, ensure...), api+" A "+address(1)+" created", api+" AAAA 2001:db8::1 created", apps+" A "+address(2)+" created")
	// It said that they are answered: they are.
	for _, q := range [][3]string{{api, "A", address(1)}, {api, "AAAA", "2001:db8::1"}, {"www.apps.c1." + z.bare(), "A", address(2)}} {
		if got, err := lookup(t, c, q[0], q[1]); err != nil || !slices.Equal(got, []string{q[2]}) {
			t.Errorf("%v is answered %q, %v", q, got, err)
		}
	}
	// Every write raises the serial; the version rises with late reports of workers, too.
	before := z.settle(t).number(t, "serial")
	d.same(t, "again", d.rows(t, ensure...), api+" A "+address(1)+" unchanged", api+" AAAA 2001:db8::1 unchanged", apps+" A "+address(2)+" unchanged")
	if after := z.settle(t).number(t, "serial"); after != before {
		t.Errorf("the second ensure raised the serial of the zone from %d to %d: it wrote", before, after)
	}
	d.same(t, "changed", d.rows(t, c1("ensure", "--api="+address(3), "--ttl=60", "--ptr")...),
		api+" A "+address(3)+" updated", api+" AAAA 2001:db8::1 deleted", pointer(3)+" PTR "+api+" created")
	for _, q := range [][3]string{{api, "A", address(3)}, {api, "AAAA", ""}, {pointer(3), "PTR", api}} {
		if got, err := lookup(t, c, q[0], q[1]); err != nil || strings.Join(got, ",") != q[2] {
			t.Errorf("%v is answered %q, %v", q, got, err)
		}
	}
	d.same(t, "the other address's PTR", d.rows(t, c1("ensure", "--api="+address(4), "--ttl=60", "--ptr")...),
		api+" A "+address(4)+" updated", pointer(4)+" PTR "+api+" created", pointer(3)+" PTR "+api+" deleted")
	d.same(t, "listed", d.rows(t, c1("list")...), apps+" A "+address(2), pointer(4)+" PTR "+api, api+" A "+address(4))
	z.make(t, "own.c1."+z.name, "A", "192.0.2.9")
	d.same(t, "deleted", d.rows(t, c1("delete")...), pointer(4)+" PTR "+api+" deleted", apps+" A "+address(2)+" deleted", api+" A "+address(4)+" deleted")
	for _, q := range [][2]string{{api, "A"}, {"www.apps.c1." + z.bare(), "A"}, {pointer(4), "PTR"}} {
		if got, err := lookup(t, c, q[0], q[1]); err != nil || len(got) > 0 {
			t.Errorf("%v is still answered %q, %v", q, got, err)
		}
	}
	z.answers(t, "own.c1."+z.name, "A", "192.0.2.9")
	d.same(t, "deleted again", d.rows(t, c1("delete")...))
}

// What does not carry the mark is in the way, and nothing is written.
func clusterNamesAndForeignOnes(t *testing.T, d *dnsTool) {
	t.Helper()
	c, z := d.cloud, d.zone(t)
	z.make(t, "*.apps.c1."+z.name, "CNAME", "lb.example.net.")
	before := z.settle(t).number(t, "serial")
	args := []string{"ensure", "--cluster=c1", "--zone=" + z.bare(), "--api=192.0.2.1", "--apps=192.0.2.2"}
	code, output := d.run(t, args...)
	if code != 1 || !strings.Contains(output, "nothing was written, since something is in the way: *.apps.c1."+z.bare()+" CNAME: there is one already, lb.example.net") {
		t.Errorf("exit %d: %s", code, output)
	}
	if after := z.settle(t).number(t, "serial"); after != before {
		t.Errorf("the serial of the zone rose from %d to %d", before, after)
	}
	d.same(t, "forced", d.rows(t, append(args, "--force", "--wait", "--nameserver="+c.dns)...),
		"api.c1."+z.bare()+" A 192.0.2.1 created", "*.apps.c1."+z.bare()+" CNAME lb.example.net deleted", "*.apps.c1."+z.bare()+" A 192.0.2.2 created")
	z.answers(t, "www.apps.c1."+z.name, "A", "192.0.2.2")
	if code, output := d.run(t, "ensure", "--cluster=c1", "--zone=no."+z.bare(), "--api=192.0.2.1"); code != 1 || !strings.Contains(output, "zone: there is no no."+z.bare()+" among those that the project can see: ") {
		t.Errorf("exit %d: %s", code, output)
	}
}

// A run that is killed in the middle leaves nothing that the next one can't finish; so does a deletion.
func clusterNamesAfterAKill(t *testing.T, d *dnsTool) {
	t.Helper()
	c, z := d.cloud, d.zone(t)
	if c.Sim != nil { // it is as fast as no cloud is
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			c.Sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: method, Path: "/recordsets", Delay: 100 * time.Millisecond})
		}
	}
	marked := func() int {
		return len(c.call(t, http.MethodGet, z.sets()+"?description=mooring:cluster=c1", nil).list("recordsets"))
	}
	killed := func(stop func(n int) bool, args ...string) {
		t.Helper()
		p := d.start(t, args...)
		for end := time.Now().Add(target.Patience); !stop(marked()); {
			if time.Now().After(end) {
				t.Fatalf("%v did nothing: %s", args, p.Output())
			}
		}
		p.Kill()
	}
	ensure := []string{"ensure", "--cluster=c1", "--zone=" + z.name, "--api=192.0.2.1,2001:db8::1", "--apps=192.0.2.2,2001:db8::2", "--wait", "--nameserver=" + c.dns}
	remove := []string{"delete", "--cluster=c1", "--zone=" + z.name, "--wait", "--nameserver=" + c.dns}
	killed(func(n int) bool { return n > 0 }, ensure...)
	if n := marked(); n == 4 {
		t.Log("all four were written before the kill")
	}
	d.rows(t, ensure...)
	d.same(t, "converged", d.rows(t, "list", "--cluster=c1", "--zone="+z.name),
		"*.apps.c1."+z.bare()+" A 192.0.2.2", "*.apps.c1."+z.bare()+" AAAA 2001:db8::2", "api.c1."+z.bare()+" A 192.0.2.1", "api.c1."+z.bare()+" AAAA 2001:db8::1")
	killed(func(n int) bool { return n < 4 }, remove...)
	d.rows(t, remove...)
	if n := marked(); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// lookup asks the name server once.
func lookup(t *testing.T, c *cloud, name, kind string) ([]string, error) {
	t.Helper()
	return conformance.Lookup(t.Context(), c.dns, name, kind)
}
