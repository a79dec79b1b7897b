// Package hostaddr finds the addresses that servers see a host come from.
package hostaddr

import (
	"context"
	"net"
	"net/netip"
	"slices"
)

// Routed are the addresses, of each family at most one, IPv4 first, that the host's own routes give to what it sends to the world: it
// asks the kernel by connecting UDP sockets, which sends nothing. That is the address of the default route's interface, unless the
// route names another one. A family without a default route has none.
func Routed(ctx context.Context) (found []netip.Addr) {
	var d net.Dialer
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // for documentation: they are nobody's (RFC 5737, RFC 3849)
		conn, err := d.DialContext(ctx, "udp", far)
		if err != nil {
			continue
		}
		if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			found = append(found, usable(local.AddrPort().Addr())...)
		}
		_ = conn.Close()
	}
	return found
}

// Within are the host's addresses in networks, in the order of the networks and then of the host.
func Within(networks []netip.Prefix, host []net.Addr) (found []netip.Addr) {
	for _, network := range networks {
		for _, h := range host {
			n, ok := h.(*net.IPNet)
			if !ok {
				continue
			}
			a, _ := netip.AddrFromSlice(n.IP)
			for _, a := range usable(a) {
				if network.Contains(a) && !slices.Contains(found, a) {
					found = append(found, a)
				}
			}
		}
	}
	return found
}

// usable leaves out what says nothing without an interface or does not leave the link.
func usable(a netip.Addr) []netip.Addr {
	a = a.Unmap()
	if !a.IsValid() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.Zone() != "" {
		return nil
	}
	return []netip.Addr{a}
}
