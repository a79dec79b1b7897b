package designate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"mooring/pkg/openstack"
)

// FloatingIP is a floating IP of the project as Designate knows it, with its PTR. A floating IP has one PTR at most, in a zone of the cloud's
// own that tenants don't see; there is nothing else that could be kept beside it but the description.
type FloatingIP struct {
	Key         string // "region:id", what Designate calls it
	Address     netip.Addr
	Target      string // of the PTR, canonical; empty: it has none
	TTL         int    // seconds, the zone's own if the PTR has none; 0 without a PTR
	Description string
	Status      string // ACTIVE, PENDING, ERROR; INACTIVE without a PTR
}

// wireFloatingIP is a floating IP as Designate shows it (designate/objects/adapters/api_v2/floating_ip.py).
type wireFloatingIP struct {
	ID          string  `json:"id"`
	Address     string  `json:"address"`
	Target      *string `json:"ptrdname"`
	TTL         *int    `json:"ttl"`
	Description *string `json:"description"`
	Status      string  `json:"status"`
}

func (w *wireFloatingIP) floatingIP() (FloatingIP, error) {
	address, err := netip.ParseAddr(w.Address)
	if err != nil {
		return FloatingIP{}, fmt.Errorf("floating IP %s: %w", w.ID, err)
	}
	f := FloatingIP{Key: w.ID, Address: address.Unmap(), Status: w.Status}
	if w.Target != nil {
		f.Target = readName(*w.Target)
	}
	if w.TTL != nil {
		f.TTL = *w.TTL
	}
	if w.Description != nil {
		f.Description = *w.Description
	}
	return f, nil
}

// floatingIPs lists the project's floating IPs. The list has no pages. A cloud without Neutron refuses with 403 no_endpoint.
func (a *api) floatingIPs(ctx context.Context) ([]FloatingIP, error) {
	var body struct {
		FloatingIPs []wireFloatingIP `json:"floatingips"`
	}
	if err := a.get(ctx, &body, nil, "reverse", "floatingips"); err != nil {
		return nil, describe(err, "listing the PTRs of floating IPs")
	}
	list := make([]FloatingIP, 0, len(body.FloatingIPs))
	for i := range body.FloatingIPs {
		f, err := body.FloatingIPs[i].floatingIP()
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// noFloatingIPs says whether an error is that of a cloud that has no floating IPs at all: no Neutron.
func noFloatingIPs(err error) bool {
	return errorType(err) == "no_endpoint" || errors.Is(err, openstack.ErrNotFound)
}

func (a *api) floatingIP(ctx context.Context, key string) (FloatingIP, error) {
	var out wireFloatingIP
	if err := a.get(ctx, &out, nil, "reverse", "floatingips", key); err != nil {
		return FloatingIP{}, err
	}
	return out.floatingIP()
}

// setPTR gives a floating IP its PTR. A TTL of 0 is the zone's own. It returns Designate's id of the call, too.
func (a *api) setPTR(ctx context.Context, key, target string, ttl int, description string) (set FloatingIP, requestID string, err error) {
	body := map[string]any{"ptrdname": WireName(target), "description": description}
	if ttl > 0 {
		body["ttl"] = ttl
	}
	var out wireFloatingIP
	if requestID, err = a.send(ctx, http.MethodPatch, body, &out, "reverse", "floatingips", key); err != nil {
		return FloatingIP{}, "", err
	}
	set, err = out.floatingIP()
	return set, requestID, err
}

// unsetPTR takes the PTR of a floating IP away.
func (a *api) unsetPTR(ctx context.Context, key string) (requestID string, err error) {
	return a.send(ctx, http.MethodPatch, map[string]any{"ptrdname": nil}, nil, "reverse", "floatingips", key)
}

// ReverseName is the canonical name that has the PTR of an address: below in-addr.arpa or ip6.arpa.
func ReverseName(address netip.Addr) string {
	address = address.Unmap()
	var b strings.Builder
	for _, octet := range slices.Backward(address.AsSlice()) {
		if address.Is4() {
			fmt.Fprintf(&b, "%d.", octet)
		} else {
			fmt.Fprintf(&b, "%x.%x.", octet&0xf, octet>>4)
		}
	}
	if address.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}
