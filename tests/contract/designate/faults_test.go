package designate_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"

	"mooring/pkg/designate"
	"mooring/pkg/designate/externaldns"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/contract/target"
	peer "mooring/tests/peer/externaldns"
)

// Faults, and sizes that no real cloud at hand has: these tests run on the simulator alone.

// faulty is a simulated cloud with a zone, and a webhook on it.
type faulty struct {
	*cloud
	zone string // without the final dot
	id   string
	url  string
}

func openFaulty(t *testing.T, config openstacksim.DesignateConfig, o designate.Options) *faulty {
	t.Helper()
	if os.Getenv(target.Variable) != "" {
		t.Skip("a real cloud has no faults to inject")
	}
	c := &cloud{Cloud: target.Simulate(t, openstacksim.Config{Designate: config})}
	pool := openstack.NewPool(openstack.Options{Rate: 100000, Burst: 100000}) // the simulator can't be asked too often
	t.Cleanup(pool.Close)
	c.session = pool.Session(c.Credential(t, "demo"))
	f := &faulty{cloud: c, zone: target.Unique(t) + ".test"}
	f.id = c.Sim.Designate.Fill("demo", f.zone+".", 2)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	service := designate.New(c.session, o)
	t.Cleanup(service.Close)
	handler, err := externaldns.NewHandler(externaldns.Options{Provider: service, Logger: o.Logger})
	if err != nil {
		t.Fatal(err)
	}
	f.url = serve(t, handler)
	return f
}

func (f *faulty) hosts(n int) []*endpoint.Endpoint {
	list := make([]*endpoint.Endpoint, 0, n)
	for i := range n {
		list = append(list, endpoint.NewEndpointWithTTL(fmt.Sprintf("h%d.%s", i, f.zone), "A", 300, "192.0.2.1"))
	}
	return list
}

func (f *faulty) writes() int {
	all := openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Path: "/recordsets"}
	reads := all
	reads.Method = http.MethodGet
	return f.Sim.Calls.Count(all) - f.Sim.Calls.Count(reads)
}

// converge syncs until a turn has no error, and returns how many were soft. A hard one ends the test.
func (f *faulty) converge(t *testing.T, client *peer.Client, most int, desired ...*endpoint.Endpoint) (soft int) {
	t.Helper()
	for {
		_, err := client.Sync(t.Context(), desired...)
		switch {
		case err == nil:
			return soft
		case !peer.Soft(err):
			t.Fatalf("turn %d: a hard error, at which ExternalDNS exits: %v", soft+1, err)
		case soft == most:
			t.Fatalf("no end of soft errors in %d turns: %v", most, err)
		}
		soft++
		time.Sleep(20 * time.Millisecond)
	}
}

// has checks that the zone has exactly the desired endpoints, with marks, and that nothing is left to do.
func (f *faulty) has(t *testing.T, client *peer.Client, desired ...*endpoint.Endpoint) {
	t.Helper()
	changes, err := client.Sync(t.Context(), desired...)
	for turn := 0; changes == nil && peer.Soft(err) && turn < 100; turn++ { // on a busy machine the zone may still be read
		time.Sleep(20 * time.Millisecond)
		changes, err = client.Sync(t.Context(), desired...)
	}
	if err != nil {
		t.Fatal(err)
	}
	if changes.HasChanges() {
		t.Errorf("there is still something to do: %d creates, %d updates, %d deletes", len(changes.Create), len(changes.UpdateNew), len(changes.Delete))
	}
	list, err := client.Provider().Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, e := range list {
		if e.RecordType != "TXT" {
			got = append(got, fmt.Sprint(e.DNSName, " ", e.RecordType, " ", e.Targets))
		}
	}
	for _, e := range desired {
		want = append(want, fmt.Sprint(e.DNSName, " ", e.RecordType, " ", e.Targets))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d records, want %d:\n got %.600s\nwant %.600s", len(got), len(want), fmt.Sprint(got), fmt.Sprint(want))
	}
	// There may be more: a mark comes before its record, and ExternalDNS forgets the mark when it does not want that record any more before it is there.
	if marks := len(list) - len(got); marks < len(want) {
		t.Errorf("%d marks of %d records", marks, len(want))
	}
}

func (f *faulty) connect(t *testing.T) *peer.Client {
	t.Helper()
	client, err := peer.Open(t.Context(), f.url, peer.Recommended("me"))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Two hundred creates at 80 ms each are done in one turn, with one write each and a look at limits and zones.
func TestTwoHundredCreates(t *testing.T) {
	t.Parallel()
	f := openFaulty(t, openstacksim.DesignateConfig{}, designate.Options{})
	f.Sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: http.MethodPost, Delay: 80 * time.Millisecond})
	provider := f.connect(t).Provider()
	if _, err := provider.Records(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Sim.Calls.Reset()
	begin := time.Now()
	if err := provider.ApplyChanges(t.Context(), &plan.Changes{Create: f.hosts(200)}); err != nil {
		t.Fatal(err)
	}
	t.Logf("200 creates in %v", time.Since(begin))
	all := f.Sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceDesignate})
	if w := f.writes(); w != 200 || all > 202 {
		t.Errorf("%d writes, %d calls", w, all)
	}
}

// Ten thousand creates, five thousand records and their marks, far more than fit into the time of one turn, are there after some, and no turn ends ExternalDNS.
func TestTenThousandCreatesConverge(t *testing.T) {
	t.Parallel()
	unlimited := openstacksim.DesignateQuota{ZoneRecordsets: -1, ZoneRecords: -1}
	f := openFaulty(t, openstacksim.DesignateConfig{Quota: unlimited}, designate.Options{Deadline: 2 * time.Second})
	client, desired := f.connect(t), f.hosts(5000)
	soft := f.converge(t, client, 500, desired...)
	f.has(t, client, desired...)
	if w := f.writes(); w != 10000 {
		t.Errorf("%d writes, want one for each record and each mark", w)
	}
	t.Logf("%d turns", soft+1)
}

// One record that Designate refuses leaves the others written, and says so at every turn.
func TestOnePoisonRecord(t *testing.T) {
	t.Parallel()
	f := openFaulty(t, openstacksim.DesignateConfig{}, designate.Options{})
	// Somebody else's record, of a type that mooring doesn't know, is what a CNAME can't stand beside.
	caa := map[string]any{"name": "poison." + f.zone + ".", "type": "CAA", "records": []string{"0 issue ca.example.net"}}
	if a := f.call(t, "POST", "/zones/"+f.id+"/recordsets", caa); a.status != 202 {
		t.Fatal(a)
	}
	provider := f.connect(t).Provider()
	poison := endpoint.NewEndpointWithTTL("poison."+f.zone, "CNAME", 300, "lb.example.net")
	err := provider.ApplyChanges(t.Context(), &plan.Changes{Create: append(f.hosts(199), poison)})
	if !peer.Soft(err) {
		t.Errorf("%v, want a soft error", err)
	}
	list, err := provider.Records(t.Context())
	if err != nil || len(list) != 199 {
		t.Errorf("%d records, %v; want 199", len(list), err)
	}
}

// Faults while a zone of a hundred records is written: ExternalDNS sees soft errors at most, and the zone is right in the end.
func TestApplyWithFaults(t *testing.T) {
	t.Parallel()
	dns, keystone := openstacksim.ServiceDesignate, openstacksim.ServiceKeystone
	after := func(value string) map[string]string { return map[string]string{"Retry-After": value} }
	for name, add := range map[string]func(f *faulty){
		"a storm of 429": func(f *faulty) { f.add(openstacksim.Fault{Service: dns, Status: 429, Skip: 30, Count: 8}) },
		"429 that asks for a second": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Status: 429, Header: after("1"), Skip: 30, Count: 6})
		},
		"503 that asks for more": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Method: "POST", Status: 503, Header: after("3"), Skip: 30, Count: 1})
		},
		"503": func(f *faulty) { f.add(openstacksim.Fault{Service: dns, Status: 503, Skip: 30, Count: 6}) },
		"504 after the service has acted": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Method: "POST", Status: 504, Skip: 30, Count: 5})
		},
		"a proxy's 502": func(f *faulty) { f.add(openstacksim.Fault{Service: dns, Status: 502, Skip: 30, Count: 6}) },
		"dropped before the service acts": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Method: "POST", Drop: true, Skip: 30, Count: 6})
		},
		"dropped after the service acted": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Method: "POST", DropAfter: true, Skip: 30, Count: 10})
		},
		"an answer that breaks off": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Method: "POST", Status: 202, Header: map[string]string{"Content-Length": "999"}, Body: "{", Skip: 30, Count: 3})
		},
		"tokens that end in the middle": func(f *faulty) { f.revokeAt(dns, 40) },
		"tokens that end, and no Keystone": func(f *faulty) {
			f.revokeAt(dns, 40)
			f.add(openstacksim.Fault{Service: keystone, Drop: true, Skip: 1, Count: 12})
		},
		"Keystone away from the start": func(f *faulty) { f.add(openstacksim.Fault{Service: keystone, Status: 503, Count: 12}) },
		"forbidden for a while": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Method: "POST", Status: 403, Skip: 30, Count: 10})
		},
		"errors of Designate's own": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Method: "POST", Status: 500, Skip: 30, Count: 10})
		},
		"conflicts with nothing to be seen": func(f *faulty) {
			f.add(openstacksim.Fault{Service: dns, Method: "POST", Status: 409, Skip: 30, Count: 10})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := openFaulty(t, openstacksim.DesignateConfig{}, designate.Options{})
			client := f.connect(t)
			add(f)
			desired := f.hosts(100)
			soft := f.converge(t, client, 500, desired...)
			f.Sim.Faults.Clear()
			f.has(t, client, desired...)
			t.Logf("%d soft errors", soft)
		})
	}
}

func (f *faulty) add(fault openstacksim.Fault) { f.Sim.Faults.Add(fault) }

// revokeAt ends all tokens at a call.
func (f *faulty) revokeAt(service string, call int) {
	var calls atomic.Int64
	f.add(openstacksim.Fault{Service: service, Then: func() {
		if calls.Add(1) == int64(call) {
			f.Sim.Keystone.RevokeTokens()
		}
	}})
}

// Whatever happens in whatever order, while what is wanted changes three times: no hard error, and the zone is right in the end.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			f := openFaulty(t, openstacksim.DesignateConfig{MinTTL: 60}, designate.Options{Concurrency: 1 + random.IntN(8), ZoneConcurrency: 1 + random.IntN(4)})
			client := f.connect(t)
			for range 3 {
				for range 6 {
					f.add(randomFault(random))
				}
				desired := f.random(random)
				f.converge(t, client, 500, desired...)
				f.Sim.Faults.Clear()
				f.has(t, client, desired...)
			}
		})
	}
}

func randomFault(random *rand.Rand) openstacksim.Fault {
	fault := openstacksim.Fault{
		Service: []string{openstacksim.ServiceDesignate, openstacksim.ServiceDesignate, openstacksim.ServiceKeystone}[random.IntN(3)],
		Method:  []string{"", "GET", "POST", "PUT", "DELETE"}[random.IntN(5)], Skip: random.IntN(40), Count: 1 + random.IntN(6),
	}
	switch random.IntN(6) {
	case 0:
		fault.Drop = true
	case 1:
		fault.DropAfter = true
	case 2:
		fault.Delay = time.Duration(random.IntN(200)) * time.Millisecond
	default:
		fault.Status = []int{429, 500, 502, 503, 504, 408}[random.IntN(6)]
		if random.IntN(3) == 0 {
			fault.Header = map[string]string{"Retry-After": "1"}
		}
	}
	return fault
}

// random are up to forty endpoints of all kinds that ExternalDNS manages by default, under names that are used again and again.
func (f *faulty) random(random *rand.Rand) []*endpoint.Endpoint {
	var list []*endpoint.Endpoint
	for i := range 40 {
		name := fmt.Sprintf("r%d.%s", i, f.zone)
		if i%10 == 0 {
			name = "*." + name
		}
		switch random.IntN(4) {
		case 0:
			list = append(list, endpoint.NewEndpointWithTTL(name, "A", 300, fmt.Sprintf("192.0.2.%d", random.IntN(3)), "192.0.2.9"))
		case 1:
			list = append(list, endpoint.NewEndpointWithTTL(name, "AAAA", 60, fmt.Sprintf("2001:db8::%d", 1+random.IntN(3))))
		case 2:
			list = append(list, endpoint.NewEndpoint(name, "CNAME", fmt.Sprintf("lb%d.example.net", random.IntN(3))))
		default: // nothing of that name
		}
	}
	return list
}

// A token that ends in the middle of a turn costs one login, and no error.
func TestTokenEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	f := openFaulty(t, openstacksim.DesignateConfig{}, designate.Options{})
	f.revokeAt(openstacksim.ServiceDesignate, 60)
	client, desired := f.connect(t), f.hosts(100)
	if _, err := client.Sync(t.Context(), desired...); err != nil {
		t.Errorf("%v", errors.Unwrap(err))
	}
	f.has(t, client, desired...)
	if n := f.Sim.Calls.Logins(); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}
