package hostaddr_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/hostaddr"
)

func TestWithin(t *testing.T) {
	t.Parallel()
	var host []net.Addr
	for _, s := range []string{"127.0.0.1/8", "::1/128", "10.0.0.5/24", "fe80::5/64", "192.168.7.9/16", "10.0.0.100/32", "fd00::5/64", "10.0.0.5/32"} {
		ip, network, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		host = append(host, &net.IPNet{IP: ip, Mask: network.Mask})
	}
	host = append(host, &net.IPAddr{IP: net.IPv4(10, 0, 0, 6)}, &net.IPNet{})
	for name, c := range map[string]struct {
		networks []string
		want     []string
	}{
		"no network":                 {nil, nil},
		"one address":                {[]string{"192.168.0.0/16"}, []string{"192.168.7.9"}},
		"several of one network":     {[]string{"10.0.0.0/8"}, []string{"10.0.0.5", "10.0.0.100"}},
		"in the order of networks":   {[]string{"fd00::/8", "192.168.0.0/16"}, []string{"fd00::5", "192.168.7.9"}},
		"networks that overlap":      {[]string{"10.0.0.100/32", "10.0.0.0/8"}, []string{"10.0.0.100", "10.0.0.5"}},
		"everything but local links": {[]string{"::/0"}, []string{"::1", "fd00::5"}},
		"none of them":               {[]string{"172.16.0.0/12"}, nil},
	} {
		var networks []netip.Prefix
		for _, s := range c.networks {
			networks = append(networks, netip.MustParsePrefix(s))
		}
		var got []string
		for _, a := range hostaddr.Within(networks, host) {
			got = append(got, a.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestRouted: what the kernel says are addresses of this host, one of each family at most. A host without a default route has none.
func TestRouted(t *testing.T) {
	t.Parallel()
	host, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	own := hostaddr.Within([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, host)
	routed := hostaddr.Routed(t.Context())
	for i, a := range routed {
		if !slices.Contains(own, a) || i > 0 && routed[0].Is4() == a.Is4() {
			t.Errorf("routed are %v, and the host has %v", routed, own)
		}
	}
	t.Logf("this host's default routes have %v", routed)
}
