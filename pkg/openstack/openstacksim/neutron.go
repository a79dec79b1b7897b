package openstacksim

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Neutron is the simulated network service: the floating IPs of its API v2.0, which can be read. Its methods are safe for concurrent use.
type Neutron struct {
	cloud *Cloud

	mu   sync.Mutex
	fips []*neutronFloatingIP // oldest first
}

type neutronFloatingIP struct {
	project, id, network, port string
	address, fixed             netip.Addr
	created                    time.Time
}

// AddFloatingIP gives a project a floating IPv4 address and returns its id. It leads to the fixed address of a port; an empty port is none.
func (n *Neutron) AddFloatingIP(projectName, address, port, fixed string) (id string) {
	f := &neutronFloatingIP{
		project: n.cloud.Keystone.User(projectName, projectName).ProjectID, id: newUUID(), network: newUUID(), port: port,
		address: netip.MustParseAddr(address), created: n.cloud.now(),
	}
	if port != "" {
		f.fixed = netip.MustParseAddr(fixed)
	}
	n.mu.Lock()
	n.fips = append(n.fips, f)
	n.mu.Unlock()
	n.cloud.Designate.addFloatingIP(f.project, f.id, f.address)
	return f.id
}

func (n *Neutron) routes() []route {
	return []route{
		{pattern: "GET /v2.0/floatingips", handle: n.list},
		{pattern: "GET /v2.0/floatingips/{fip}", handle: n.get},
	}
}

func (f *neutronFloatingIP) view() map[string]any {
	stamp := f.created.UTC().Format("2006-01-02T15:04:05Z")
	v := map[string]any{
		"id": f.id, "tenant_id": f.project, "project_id": f.project, "floating_ip_address": f.address.String(), "floating_network_id": f.network,
		"router_id": nil, "port_id": nil, "fixed_ip_address": nil, "status": "DOWN", "description": "", "dns_domain": "", "dns_name": "", "qos_policy_id": nil,
		"port_details": nil, "port_forwardings": []any{}, "tags": []any{}, "created_at": stamp, "updated_at": stamp, "revision_number": 0,
	}
	if f.port != "" {
		v["port_id"], v["fixed_ip_address"], v["status"] = f.port, f.fixed.String(), "ACTIVE"
	}
	return v
}

func (n *Neutron) list(w *reply, r *request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	query := r.URL.Query()
	for key := range query {
		if !slices.Contains([]string{"id", "port_id", "floating_ip_address", "fixed_ip_address", "status", "project_id", "tenant_id"}, key) {
			neutronError(w, http.StatusBadRequest, "HTTPBadRequest", fmt.Sprintf("[%q is invalid attribute for filtering]", key))
			return
		}
	}
	list := []any{}
	for _, f := range n.fips {
		view := f.view()
		matches := f.project == r.project
		for key, wanted := range query { // one of the values of a filter is enough
			matches = matches && slices.Contains(wanted, fieldText(view[key]))
		}
		if matches {
			list = append(list, view)
		}
	}
	w.json(http.StatusOK, map[string]any{"floatingips": list})
}

func (n *Neutron) get(w *reply, r *request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := r.PathValue("fip")
	for _, f := range n.fips {
		if f.id == id && f.project == r.project {
			w.json(http.StatusOK, map[string]any{"floatingip": f.view()})
			return
		}
	}
	neutronError(w, http.StatusNotFound, "FloatingIPNotFound", "Floating IP "+id+" could not be found")
}

func neutronError(w *reply, status int, kind, message string) {
	w.json(status, map[string]any{"NeutronError": map[string]any{"type": kind, "message": message, "detail": ""}})
}
