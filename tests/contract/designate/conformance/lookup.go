package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Ask asks a name server over UDP, and over TCP if the answer does not fit. An answer other than the records or that there are none is an error.
func Ask(ctx context.Context, server, name, recordType string) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), dns.StringToType[recordType])
	answer, err := dns.ExchangeContext(ctx, query, server)
	if err == nil && answer.Truncated {
		answer, _, err = (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, query, server)
	}
	if err != nil {
		return nil, err
	}
	if answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
		return nil, errors.New(dns.RcodeToString[answer.Rcode])
	}
	return answer, nil
}

// Lookup asks a name server and returns the data of the records of the type, sorted: addresses; names in lower case without the final
// dot, after the numbers of MX and SRV; joined texts; NAPTR as in a zone file. Name servers of a delegation are taken from the referral.
func Lookup(ctx context.Context, server, name, recordType string) ([]string, error) {
	answer, err := Ask(ctx, server, name, recordType)
	if err != nil {
		return nil, err
	}
	from := answer.Answer
	if recordType == "NS" && len(from) == 0 {
		from = answer.Ns
	}
	var data []string
	for _, rr := range from {
		if rr.Header().Rrtype == dns.StringToType[recordType] {
			data = append(data, dataOf(rr))
		}
	}
	slices.Sort(data)
	return data, nil
}

func dataOf(rr dns.RR) string {
	host := func(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
	switch rr := rr.(type) {
	case *dns.A:
		return rr.A.String()
	case *dns.AAAA:
		return rr.AAAA.String()
	case *dns.CNAME:
		return host(rr.Target)
	case *dns.NS:
		return host(rr.Ns)
	case *dns.PTR:
		return host(rr.Ptr)
	case *dns.MX:
		return fmt.Sprintf("%d %s", rr.Preference, host(rr.Mx))
	case *dns.SRV:
		return fmt.Sprintf("%d %d %d %s", rr.Priority, rr.Weight, rr.Port, host(rr.Target))
	case *dns.TXT:
		return unescape(strings.Join(rr.Txt, ""))
	default:
		return strings.TrimPrefix(rr.String(), rr.Header().String())
	}
}

// unescape undoes the escapes that miekg/dns leaves in texts: \" and \DDD.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		if i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		i++
		b.WriteByte(text[i])
	}
	return b.String()
}
