package mount

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// nfsServer is an export at one address of its host.
type nfsServer struct {
	export  NFSExport
	address netip.Addr
}

// servers are all addresses of all exports, the best first. The errors are of hosts that have none.
func (m *Mounter) servers(ctx context.Context, v NFS) (servers []nfsServer, errs []error) {
	for _, export := range v.Exports {
		addresses, err := m.resolve(ctx, export.Host)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, a := range addresses {
			servers = append(servers, nfsServer{export, a})
		}
	}
	if len(servers) > 1 {
		servers = answeringFirst(servers, answering(ctx, servers, nfsPort(v.Options)))
	}
	return servers, errs
}

// answering says which servers take a connection within two seconds. A mount of one that does not answer at all takes the kernel minutes, and
// nothing can end it, so of several servers those are left for last.
func answering(ctx context.Context, servers []nfsServer, port string) []bool {
	const bound = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	found := make([]bool, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(s.address.String(), port))
			if err == nil {
				found[i] = true
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	return found
}

// answeringFirst puts the servers that answer first, and keeps the order among them and among the others.
func answeringFirst(servers []nfsServer, answers []bool) []nfsServer {
	var first, last []nfsServer
	for i, s := range servers {
		if answers[i] {
			first = append(first, s)
		} else {
			last = append(last, s)
		}
	}
	return slices.Concat(first, last)
}

// nfsPort is the port that the options name.
func nfsPort(options []string) string {
	for _, o := range options {
		if port, ok := strings.CutPrefix(o, "port="); ok {
			return port
		}
	}
	return "2049"
}
