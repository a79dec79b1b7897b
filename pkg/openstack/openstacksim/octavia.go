package openstacksim

import (
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Octavia is the simulated load balancer service: the load balancers of its API v2, which can be read. Its methods are safe for concurrent use.
type Octavia struct {
	cloud *Cloud

	mu        sync.Mutex
	balancers []*loadBalancer // oldest first
}

type loadBalancer struct {
	project, id, name, network, subnet, port string
	vips                                     []netip.Addr // the first is the VIP, the rest are additional ones
	created                                  time.Time
}

// AddLoadBalancer gives a project a load balancer with a VIP address, and additional ones. It returns its id and that of the VIP's port.
func (o *Octavia) AddLoadBalancer(projectName, name, vip string, additional ...string) (id, port string) {
	b := &loadBalancer{
		project: o.cloud.Keystone.User(projectName, projectName).ProjectID, id: newUUID(), name: name, network: newUUID(), subnet: newUUID(), port: newUUID(),
		created: o.cloud.now(),
	}
	for _, address := range append([]string{vip}, additional...) {
		b.vips = append(b.vips, netip.MustParseAddr(address))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.balancers = append(o.balancers, b)
	return b.id, b.port
}

func (o *Octavia) routes() []route {
	var list []route
	for _, version := range []string{"v2", "v2.0"} { // both are served
		list = append(list, route{pattern: "GET /" + version + "/lbaas/loadbalancers/{balancer}", handle: o.get})
	}
	return list
}

func (b *loadBalancer) view() map[string]any {
	additional := []any{}
	for _, address := range b.vips[1:] {
		additional = append(additional, map[string]any{"subnet_id": b.subnet, "ip_address": address.String()})
	}
	return map[string]any{
		"id": b.id, "name": b.name, "description": "", "project_id": b.project, "tenant_id": b.project, "admin_state_up": true, "provider": "ovn",
		"provisioning_status": "ACTIVE", "operating_status": "ONLINE", "vip_address": b.vips[0].String(), "vip_port_id": b.port, "vip_subnet_id": b.subnet,
		"vip_network_id": b.network, "vip_qos_policy_id": nil, "additional_vips": additional, "listeners": []any{}, "pools": []any{}, "flavor_id": nil,
		"availability_zone": nil, "tags": []any{}, "created_at": b.created.UTC().Format("2006-01-02T15:04:05"), "updated_at": nil,
	}
}

func (o *Octavia) get(w *reply, r *request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := r.PathValue("balancer")
	i := slices.IndexFunc(o.balancers, func(b *loadBalancer) bool { return b.id == id })
	switch {
	case i < 0:
		octaviaError(w, http.StatusNotFound, "Load Balancer "+id+" not found.")
	case o.balancers[i].project != r.project:
		octaviaError(w, http.StatusForbidden, "Policy does not allow this request to be performed.")
	default:
		w.json(http.StatusOK, map[string]any{"loadbalancer": o.balancers[i].view()})
	}
}

func octaviaError(w *reply, status int, message string) {
	w.json(status, map[string]any{"faultcode": "Client", "faultstring": message, "debuginfo": nil})
}
