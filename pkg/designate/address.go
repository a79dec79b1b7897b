package designate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"mooring/pkg/openstack"
)

// ErrAddress is matched by errors about what is no address that names can lead to.
var ErrAddress = errors.New("invalid address")

// AddressRef is an address as it is given: one of its fields is set.
type AddressRef struct {
	Addr         netip.Addr
	FloatingIP   string // UUID in Neutron
	LoadBalancer string // UUID in Octavia
}

// ParseAddressRef reads an IP address, the UUID of a floating IP, or "lb:" and the UUID of a load balancer. Errors match ErrAddress.
func ParseAddressRef(text string) (AddressRef, error) {
	text = strings.TrimSpace(text)
	if balancer, ok := strings.CutPrefix(text, "lb:"); ok {
		id, ok := openstack.ParseUUID(balancer)
		if !ok {
			return AddressRef{}, fmt.Errorf("%w: %q has to be lb: and the UUID of a load balancer in Octavia", ErrAddress, text)
		}
		return AddressRef{LoadBalancer: id}, nil
	}
	if id, ok := openstack.ParseUUID(text); ok {
		return AddressRef{FloatingIP: id}, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return AddressRef{}, fmt.Errorf("%w: %q has to be an IP address, the UUID of a floating IP, or lb: and the UUID of a load balancer", ErrAddress, text)
	}
	addr = addr.Unmap()
	if addr.Zone() != "" || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return AddressRef{}, fmt.Errorf("%w: %q is an address of one machine or network alone, or of many", ErrAddress, text)
	}
	return AddressRef{Addr: addr}, nil
}

// String is the form that ParseAddressRef reads.
func (r AddressRef) String() string {
	switch {
	case r.LoadBalancer != "":
		return "lb:" + r.LoadBalancer
	case r.FloatingIP != "":
		return r.FloatingIP
	default:
		return r.Addr.String()
	}
}

// Addresses finds what references stand for: a load balancer for the addresses of its VIP, or the floating IPs that lead to them. The list is sorted,
// without duplicates.
func Addresses(ctx context.Context, s session, refs []AddressRef) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, ref := range refs {
		found, err := addressesOf(ctx, s, ref)
		if err != nil {
			return nil, describe(err, "looking for %s", ref)
		}
		list = append(list, found...)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list), nil
}

func addressesOf(ctx context.Context, s session, ref AddressRef) ([]netip.Addr, error) {
	switch {
	case ref.LoadBalancer != "":
		return vips(ctx, s, ref.LoadBalancer)
	case ref.FloatingIP != "":
		var body struct {
			FloatingIP wireNeutronIP `json:"floatingip"`
		}
		if err := fetch(ctx, s, openstack.Network, &body, nil, "floatingips", ref.FloatingIP); err != nil {
			return nil, err
		}
		addr, err := netip.ParseAddr(body.FloatingIP.Address)
		return []netip.Addr{addr.Unmap()}, err
	default:
		return []netip.Addr{ref.Addr}, nil
	}
}

// wireNeutronIP is a floating IP as Neutron's API v2.0 shows it.
type wireNeutronIP struct {
	Address string `json:"floating_ip_address"`
	Fixed   string `json:"fixed_ip_address"`
}

// vips returns the addresses of a load balancer, its additional ones, too (Octavia's API from 2.26 on), each replaced by the floating IP
// that leads to it.
func vips(ctx context.Context, s session, id string) ([]netip.Addr, error) {
	var body struct {
		LoadBalancer struct {
			Address    string `json:"vip_address"`
			Port       string `json:"vip_port_id"`
			Additional []struct {
				Address string `json:"ip_address"`
			} `json:"additional_vips"`
		} `json:"loadbalancer"`
	}
	if err := fetch(ctx, s, openstack.LoadBalancer, &body, nil, "lbaas", "loadbalancers", id); err != nil {
		return nil, err
	}
	texts := []string{body.LoadBalancer.Address}
	for _, more := range body.LoadBalancer.Additional {
		texts = append(texts, more.Address)
	}
	floating := map[string]string{}
	if port := body.LoadBalancer.Port; port != "" {
		var ips struct {
			FloatingIPs []wireNeutronIP `json:"floatingips"`
		}
		if err := fetch(ctx, s, openstack.Network, &ips, url.Values{"port_id": {port}}, "floatingips"); err != nil {
			return nil, err
		}
		for _, ip := range ips.FloatingIPs {
			floating[ip.Fixed] = ip.Address
		}
	}
	list := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		if public, ok := floating[text]; ok {
			text = public
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("the load balancer has no address yet: %w", err)
		}
		list = append(list, addr.Unmap())
	}
	return list, nil
}

func fetch(ctx context.Context, s session, service openstack.ServiceType, out any, query url.Values, path ...string) error {
	client, err := s.Client(ctx, service)
	if err != nil {
		return openstack.Wrap(err)
	}
	address := client.ServiceURL(path...)
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	_, err = exchange(ctx, client, http.MethodGet, address, nil, out)
	return err
}
