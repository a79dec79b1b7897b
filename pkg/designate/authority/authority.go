// Package authority asks authoritative name servers, each one directly: whether what was written to a DNS service is answered. It asks nobody's cache,
// and takes no answer that a server gives for somebody else.
package authority

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

var (
	// ErrUnreachable is matched when a server gave no answer at all, or its address is not known.
	ErrUnreachable = errors.New("no answer")
	// ErrRefused is matched when a server has no answer of its own: it does not serve the zone (yet).
	ErrRefused = errors.New("no authoritative answer")
)

// patience is how long one question may take: a datagram may get lost.
const patience = 3 * time.Second

// Ask asks one server, host:port, for the records of a name and type (A, AAAA, CNAME or PTR). It returns their values, sorted, addresses in their
// shortest form and names in lower case without the final dot; none when the server says that there are none. It asks over UDP, and over TCP
// what does not fit. Errors match ErrUnreachable or ErrRefused.
func Ask(ctx context.Context, server, name, recordType string) ([]string, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), dns.StringToType[recordType])
	query.RecursionDesired = false
	answer, err := exchange(ctx, "udp", query, server)
	if err == nil && answer.Truncated {
		answer, err = exchange(ctx, "tcp", query, server)
	}
	if err != nil {
		return nil, fmt.Errorf("%w from %s: %w", ErrUnreachable, server, err)
	}
	if asked := func(q dns.Question) bool {
		return strings.EqualFold(q.Name, query.Question[0].Name) && q.Qtype == query.Question[0].Qtype && q.Qclass == query.Question[0].Qclass
	}; !slices.ContainsFunc(answer.Question, asked) || answer.Truncated {
		return nil, fmt.Errorf("%w from %s: its answer is cut off, or to another question", ErrUnreachable, server)
	}
	if !answer.Authoritative || answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("%w from %s: %s", ErrRefused, server, dns.RcodeToString[answer.Rcode])
	}
	var values []string
	for _, rr := range answer.Answer {
		if !strings.EqualFold(rr.Header().Name, query.Question[0].Name) {
			continue // what an alias leads to
		}
		values = append(values, value(rr))
	}
	slices.Sort(values)
	return values, nil
}

func exchange(ctx context.Context, network string, query *dns.Msg, server string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, _, err := (&dns.Client{Net: network, Timeout: patience}).ExchangeContext(ctx, query, server)
	return answer, err
}

func value(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.A:
		return rr.A.String()
	case *dns.AAAA:
		return rr.AAAA.String()
	case *dns.CNAME:
		return host(rr.Target)
	case *dns.PTR:
		return host(rr.Ptr)
	default:
		return strings.TrimPrefix(rr.String(), rr.Header().String())
	}
}

func host(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Locate returns the addresses of a name server, host:port with port 53. They come from the resolver of this machine. Errors match ErrUnreachable.
func Locate(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", dns.Fqdn(name))
	if err != nil {
		return nil, fmt.Errorf("%w: the address of the name server %s is not known here: %w", ErrUnreachable, name, err)
	}
	addresses := make([]string, 0, len(found))
	for _, address := range found {
		addresses = append(addresses, net.JoinHostPort(address.Unmap().String(), "53"))
	}
	return addresses, nil
}
