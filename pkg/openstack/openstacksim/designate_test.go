package openstacksim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"mooring/pkg/openstack/openstacksim"
)

// designate is a bare client of a simulated Designate, with the token of a project. What a real one does too is in tests/contract; here is what only the
// simulator has, and what the lab lacks a Neutron for.
type designate struct {
	cloud *openstacksim.Cloud
	token string
}

func newDesignate(t *testing.T, config openstacksim.DesignateConfig) *designate {
	t.Helper()
	cloud, err := openstacksim.Start(openstacksim.Config{Designate: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	return (&designate{cloud: cloud}).as(t, "demo")
}

func (d *designate) as(t *testing.T, project string) *designate {
	t.Helper()
	user := d.cloud.Keystone.User(project, project)
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": %q, "password": %q}}}, "scope": {"project": {"id": %q}}}}`,
		user.UserID, user.Password, user.ProjectID)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.cloud.AuthURL()+"/auth/tokens", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return &designate{cloud: d.cloud, token: response.Header.Get("X-Subject-Token")}
}

func (d *designate) call(t *testing.T, method, path string, body any) (status int, out map[string]any) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, d.cloud.URL()+"/dns/v2"+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", d.token)
	r.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, out
}

func (d *designate) zone(t *testing.T, name string) (path string) {
	t.Helper()
	status, zone := d.call(t, http.MethodPost, "/zones", map[string]any{"name": name, "email": "a@example.org"})
	if status != http.StatusAccepted {
		t.Fatal(status, zone)
	}
	return fmt.Sprintf("/zones/%v", zone["id"])
}

// ask returns the data of the answer, over UDP or TCP.
func (d *designate) ask(t *testing.T, network, name string, kind uint16) (data []string, answer *dns.Msg) {
	t.Helper()
	query := new(dns.Msg)
	query.SetQuestion(name, kind)
	answer, _, err := (&dns.Client{Net: network}).ExchangeContext(t.Context(), query, d.cloud.Designate.DNSAddr())
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range answer.Answer {
		data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return data, answer
}

func TestFloatingIPs(t *testing.T) {
	t.Parallel()
	d := newDesignate(t, openstacksim.DesignateConfig{})
	key := d.cloud.Designate.AddFloatingIP("demo", "203.0.113.7")
	_, list := d.call(t, http.MethodGet, "/reverse/floatingips", nil)
	if text := fmt.Sprint(list["floatingips"]); !strings.Contains(text, "203.0.113.7") || !strings.Contains(text, "status:INACTIVE") {
		t.Errorf("a fresh floating IP: %s", text)
	}
	path := "/reverse/floatingips/" + key
	if status, body := d.call(t, http.MethodPatch, path, map[string]any{"ptrdname": "host.example.org", "ttl": 300}); status != 400 {
		t.Errorf("a PTR without a dot: %d %v", status, body)
	}
	status, body := d.call(t, http.MethodPatch, path, map[string]any{"ptrdname": "host.example.org.", "description": "mine", "ttl": 300})
	if status != http.StatusAccepted || body["ptrdname"] != "host.example.org." || body["status"] != "PENDING" {
		t.Errorf("setting: %d %v", status, body)
	}
	if _, body := d.call(t, http.MethodGet, path, nil); body["status"] != "ACTIVE" || body["description"] != "mine" || body["ttl"] != 300.0 {
		t.Errorf("afterwards: %v", body)
	}
	if data, _ := d.ask(t, "udp", "7.113.0.203.in-addr.arpa.", dns.TypePTR); fmt.Sprint(data) != "[host.example.org.]" {
		t.Errorf("the name server answers %q", data)
	}
	if status, _ := d.as(t, "other").call(t, http.MethodGet, path, nil); status != 404 {
		t.Errorf("another project sees it: %d", status)
	}
	if _, zones := d.call(t, http.MethodGet, "/zones?name=113.0.203.in-addr.arpa.", nil); fmt.Sprint(zones["zones"]) != "[]" {
		t.Errorf("the reverse zone belongs to the cloud, not to %v", zones)
	}
	if status, _ := d.call(t, http.MethodPatch, path, map[string]any{"ptrdname": nil}); status != http.StatusAccepted {
		t.Errorf("unsetting: %d", status)
	}
	if status, _ := d.call(t, http.MethodPatch, path, map[string]any{"ptrdname": nil}); status != 404 {
		t.Errorf("unsetting twice: %d", status)
	}
	if data, answer := d.ask(t, "udp", "7.113.0.203.in-addr.arpa.", dns.TypePTR); len(data) != 0 || answer.Rcode != dns.RcodeNameError {
		t.Errorf("the name server still answers %q", data)
	}
	if status, _ := d.call(t, http.MethodGet, "/reverse/floatingips/nonsense", nil); status != 400 {
		t.Errorf("a key that is none: %d", status)
	}
}

// With a delay a record is PENDING and not answered for a while, and the version rises when it turns ACTIVE.
func TestDelayedActivation(t *testing.T) {
	t.Parallel()
	d := newDesignate(t, openstacksim.DesignateConfig{Delay: 150 * time.Millisecond})
	zone := d.zone(t, "example.org.")
	if _, answer := d.ask(t, "udp", "example.org.", dns.TypeSOA); answer.Rcode != dns.RcodeRefused {
		t.Errorf("a zone that is not ACTIVE is answered: %v", answer)
	}
	_, set := d.call(t, http.MethodPost, zone+"/recordsets", map[string]any{"name": "www.example.org.", "type": "A", "records": []string{"192.0.2.1"}})
	path := fmt.Sprintf("%s/recordsets/%v", zone, set["id"])
	_, before := d.call(t, http.MethodGet, zone, nil)
	if before["status"] != "PENDING" {
		t.Errorf("%v", before)
	}
	for end := time.Now().Add(10 * time.Second); set["status"] != "ACTIVE"; time.Sleep(10 * time.Millisecond) {
		if _, set = d.call(t, http.MethodGet, path, nil); time.Now().After(end) {
			t.Fatalf("never ACTIVE: %v", set)
		}
	}
	_, after := d.call(t, http.MethodGet, zone, nil)
	if after["status"] != "ACTIVE" || fmt.Sprint(after["version"]) <= fmt.Sprint(before["version"]) {
		t.Errorf("before %v, after %v", before, after)
	}
	if data, _ := d.ask(t, "udp", "www.example.org.", dns.TypeA); fmt.Sprint(data) != "[192.0.2.1]" {
		t.Errorf("%q", data)
	}
	if status, body := d.call(t, http.MethodDelete, zone, nil); status != http.StatusAccepted || body["action"] != "DELETE" {
		t.Errorf("%d %v", status, body)
	}
	if status, body := d.call(t, http.MethodGet, zone, nil); status != http.StatusOK || body["action"] != "DELETE" {
		t.Errorf("a zone that is being deleted: %d %v", status, body)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if status, _ := d.call(t, http.MethodGet, zone, nil); status == 404 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the zone stays")
		}
	}
}

// An answer that does not fit into a datagram is cut and marked, and whole over TCP.
func TestLargeAnswersNeedTCP(t *testing.T) {
	t.Parallel()
	d := newDesignate(t, openstacksim.DesignateConfig{})
	zone := d.zone(t, "example.org.")
	text := strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("x", 253)+`" `, 5), " ")
	if status, body := d.call(t, http.MethodPost, zone+"/recordsets", map[string]any{"name": "t.example.org.", "type": "TXT", "records": []string{text}}); status != 202 {
		t.Fatal(status, body)
	}
	if _, answer := d.ask(t, "udp", "t.example.org.", dns.TypeTXT); !answer.Truncated {
		t.Error("an answer of 1.3 kB is not marked as cut")
	}
	if data, answer := d.ask(t, "tcp", "t.example.org.", dns.TypeTXT); answer.Truncated || fmt.Sprint(data) != "["+text+"]" {
		t.Errorf("over TCP: %q", data)
	}
	if _, answer := d.ask(t, "udp", "example.net.", dns.TypeA); answer.Rcode != dns.RcodeRefused || answer.Authoritative {
		t.Errorf("a name in no zone of ours: %v", answer)
	}
	query := new(dns.Msg)
	query.SetNotify("example.org.")
	if answer, err := dns.ExchangeContext(t.Context(), query, d.cloud.Designate.DNSAddr()); err != nil || answer.Rcode != dns.RcodeNotImplemented {
		t.Errorf("a NOTIFY: %v, %v", answer, err)
	}
}

// What can be set for tests: the lowest TTL, quotas, no version.
func TestDesignateConfig(t *testing.T) {
	t.Parallel()
	d := newDesignate(t, openstacksim.DesignateConfig{MinTTL: 60, HideVersion: true, Quota: openstacksim.DesignateQuota{ZoneRecords: 2}})
	zone := d.zone(t, "example.org.")
	if _, body := d.call(t, http.MethodGet, zone, nil); body["version"] != nil {
		t.Errorf("the version is shown: %v", body)
	}
	make2 := func(name string, ttl int, records ...string) (int, map[string]any) {
		t.Helper()
		return d.call(t, http.MethodPost, zone+"/recordsets", map[string]any{"name": name, "type": "A", "ttl": ttl, "records": records})
	}
	if status, body := make2("a.example.org.", 59, "192.0.2.1"); status != 400 || body["type"] != "invalid_ttl" {
		t.Errorf("%d %v", status, body)
	}
	if status, body := make2("a.example.org.", 60, "192.0.2.1", "192.0.2.2", "192.0.2.3"); status != 413 || body["message"] != "Quota exceeded for zone_records." {
		t.Errorf("%d %v", status, body)
	}
	d.cloud.Designate.SetQuota("demo", openstacksim.DesignateQuota{ZoneRecords: -1})
	if status, body := make2("a.example.org.", 60, "192.0.2.1", "192.0.2.2", "192.0.2.3"); status != 202 {
		t.Errorf("%d %v", status, body)
	}
	if _, limits := d.call(t, http.MethodGet, "/limits", nil); limits["min_ttl"] != 60.0 {
		t.Errorf("%v", limits)
	}
}

func TestDesignateListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	cloud, err := openstacksim.Start(openstacksim.Config{Designate: openstacksim.DesignateConfig{DNSListen: "0.0.0.0:0"}})
	if err == nil {
		cloud.Close()
		t.Error("a name server for everybody is started")
	}
}
