package externaldns_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/designate"
	"mooring/pkg/designate/externaldns"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// webhookOn serves a simulated cloud.
func webhookOn(t *testing.T, sim *openstacksim.Cloud) (*openstack.Pool, *openstack.Session, *designate.Service, *externaldns.Handler) {
	t.Helper()
	pool := openstack.NewPool(openstack.Options{})
	credential, err := openstack.Source{
		Cloud: "demo", CloudsFile: "clouds.yaml", LookupEnv: func(string) (string, bool) { return "", false },
		ReadFile: func(name string) ([]byte, error) {
			if name == "clouds.yaml" {
				return sim.CloudsYAML(), nil
			}
			return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
		},
	}.Load()
	if err != nil {
		t.Fatal(err)
	}
	session := pool.Session(credential)
	service := designate.New(session, designate.Options{})
	handler, err := externaldns.NewHandler(externaldns.Options{Provider: service, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return pool, session, service, handler
}

// Keystone is away for ten minutes, and so is the token: every turn of ExternalDNS's ends with a soft error well before it would stop waiting, the
// negotiation goes well, and the first turn after the outage brings what is wanted.
func TestKeystoneAwayForTenMinutes(t *testing.T) {
	t.Parallel()
	sim, err := openstacksim.Start(openstacksim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	sim.Designate.Fill("demo", "example.org.", 2)
	remove := sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceKeystone, Drop: true})
	const change = `{"create": [{"dnsName": "www.example.org", "recordType": "A", "targets": ["192.0.2.1"]}]}`
	synctest.Test(t, func(t *testing.T) {
		pool, _, service, h := webhookOn(t, sim)
		begin, turns := time.Now(), 0
		for ; time.Since(begin) < 10*time.Minute; time.Sleep(time.Minute) {
			turns++
			for _, request := range [][3]string{{http.MethodGet, "/records", ""}, {http.MethodPost, "/records", change}} {
				asked := time.Now()
				w := do(t, h, request[0], request[1], request[2])
				if w.Code < 500 || w.Code > 510 || !json.Valid(w.Body.Bytes()) || time.Since(asked) > 14*time.Second {
					t.Errorf("turn %d: %s %s: %d after %v: %s", turns, request[0], request[1], w.Code, time.Since(asked), w.Body)
				}
			}
			if w := do(t, h, http.MethodPost, "/adjustendpoints", "[]"); w.Code != http.StatusOK {
				t.Errorf("turn %d: adjusting: %d", turns, w.Code)
			}
			if w := do(t, h, http.MethodGet, "/", ""); w.Code != http.StatusOK {
				t.Errorf("turn %d: negotiating: %d", turns, w.Code)
			}
		}
		remove()
		if w := do(t, h, http.MethodPost, "/records", change); w.Code != http.StatusNoContent {
			t.Errorf("after the outage: %d %s", w.Code, w.Body)
		}
		if w := do(t, h, http.MethodGet, "/records", ""); !strings.Contains(w.Body.String(), "www.example.org") {
			t.Errorf("after the outage: %d %s", w.Code, w.Body)
		}
		service.Close()
		pool.Close()
	})
}
