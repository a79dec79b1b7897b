package openstacksim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// dnsServer answers the zones of the simulated Designate, over UDP and TCP on one port.
type dnsServer struct {
	addr     string
	udp, tcp *dns.Server
	stopped  chan struct{} // one value per server that has ended
}

// liveZone is what the name server knows of a zone: the records as they were when the zone last turned ACTIVE.
type liveZone struct {
	byName map[string]map[uint16][]dns.RR // names in lower case, absolute
	below  map[string]int                 // how many names with records are at a name or below it: empty non-terminals have some too
	served bool                           // the zone was ACTIVE once
}

func newLiveZone() liveZone {
	return liveZone{byName: map[string]map[uint16][]dns.RR{}, below: map[string]int{}}
}

// put replaces everything at a name.
func (l *liveZone) put(z *dnsZone, name string, sets []*dnsRecordset) {
	l.served = true
	name = strings.ToLower(name)
	types := map[uint16][]dns.RR{}
	for _, s := range sets {
		for _, rr := range s.rrs(z) {
			types[rr.Header().Rrtype] = append(types[rr.Header().Rrtype], rr)
		}
	}
	_, was := l.byName[name]
	switch {
	case len(types) > 0:
		l.byName[name] = types
	case was:
		delete(l.byName, name)
	}
	delta := 0
	if len(types) > 0 && !was {
		delta = 1
	} else if len(types) == 0 && was {
		delta = -1
	}
	for at := name; delta != 0; at = parent(at) {
		if l.below[at] += delta; l.below[at] == 0 {
			delete(l.below, at)
		}
		if at == strings.ToLower(z.name) || at == "." {
			break
		}
	}
}

// rrs returns the recordset's records for the wire. One that the zone file parser refuses is left out: the real zone would not load.
func (s *dnsRecordset) rrs(z *dnsZone) []dns.RR {
	ttl := z.ttl
	if s.ttl != nil {
		ttl = *s.ttl
	}
	var rrs []dns.RR
	for _, data := range s.records {
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", s.name, ttl, s.kind, zoneFileForm(s.kind, data)))
		if err == nil && rr != nil {
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// zoneFileForm puts the strings of a NAPTR, which Designate holds bare, into quotes: the parser wants them.
func zoneFileForm(kind, data string) string {
	const order, preference, flags, services, expression, replacement = 0, 1, 2, 3, 4, 5
	f := strings.Split(data, " ")
	if kind != "NAPTR" || len(f) != replacement+1 {
		return data
	}
	return fmt.Sprintf(`%s %s "%s" "%s" "%s" %s`, f[order], f[preference], f[flags], f[services], f[expression], f[replacement])
}

func parent(name string) string {
	_, rest, ok := strings.Cut(name, ".")
	if !ok || rest == "" {
		return "."
	}
	return rest
}

func startDNS(d *Designate, listen string) (*dnsServer, error) {
	// TCP and UDP ports are numbered apart: the kernel's choice for one may be taken for the other.
	const attempts = 20
	var err error
	for range attempts {
		var s *dnsServer
		if s, err = listenDNS(d, listen); err == nil {
			return s, nil
		}
		if !strings.HasSuffix(listen, ":0") {
			break
		}
	}
	return nil, fmt.Errorf("openstacksim: name server on %s: %w", listen, err)
}

func listenDNS(d *Designate, listen string) (*dnsServer, error) {
	ctx := context.Background()
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	if addr, ok := tcp.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("%s is not a loopback address", tcp.Addr()), tcp.Close())
	}
	udp, err := lc.ListenPacket(ctx, "udp", tcp.Addr().String())
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	handler := dns.HandlerFunc(d.serveDNS)
	s := &dnsServer{addr: tcp.Addr().String(), stopped: make(chan struct{}, 2)}
	s.udp = &dns.Server{PacketConn: udp, Handler: handler}
	s.tcp = &dns.Server{Listener: tcp, Handler: handler}
	for _, server := range []*dns.Server{s.udp, s.tcp} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer func() { s.stopped <- struct{}{} }()
			_ = server.ActivateAndServe() // it ends at Shutdown, and there is nobody to tell anything else
		}()
		<-started
	}
	return s, nil
}

func (s *dnsServer) close() {
	if s == nil {
		return
	}
	for _, server := range []*dns.Server{s.udp, s.tcp} {
		if server.Shutdown() == nil {
			<-s.stopped
		}
	}
}

func (d *Designate) serveDNS(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(query)
	answer.Compress = true
	switch {
	case query.Opcode != dns.OpcodeQuery || len(query.Question) != 1:
		answer.Rcode = dns.RcodeNotImplemented
	case query.Question[0].Qclass != dns.ClassINET:
		answer.Rcode = dns.RcodeRefused
	default:
		d.resolve(answer, query.Question[0])
	}
	size := dns.MinMsgSize
	if opt := query.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		answer.SetEdns0(opt.UDPSize(), false)
	}
	if _, tcp := w.RemoteAddr().(*net.TCPAddr); tcp {
		size = dns.MaxMsgSize
	}
	answer.Truncate(size)
	_ = w.WriteMsg(answer) // the client may have gone
}

// maxChain is how many CNAMEs are followed, as BIND does (its default is 11, older ones 16).
const maxChain = 11

// resolve fills an authoritative answer (RFC 1034 section 4.3.2, wildcards as in RFC 4592).
func (d *Designate) resolve(answer *dns.Msg, q dns.Question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := strings.ToLower(q.Name)
	for step := range maxChain {
		z := d.liveZone(name)
		if z == nil {
			if step == 0 {
				answer.Rcode = dns.RcodeRefused
			}
			return
		}
		answer.Authoritative = answer.Authoritative || step == 0
		rrs, exists := z.lookup(name, q.Qtype, answer, step)
		answer.Answer = append(answer.Answer, rrs...)
		target := chased(rrs, q.Qtype)
		if target == "" {
			if len(rrs) == 0 && len(answer.Ns) == 0 {
				z.negative(answer, exists)
			}
			return
		}
		name = target
	}
}

// chased returns where a CNAME among the records leads, when something else was asked for.
func chased(rrs []dns.RR, qtype uint16) string {
	if qtype == dns.TypeCNAME || qtype == dns.TypeANY {
		return ""
	}
	for _, rr := range rrs {
		if c, ok := rr.(*dns.CNAME); ok {
			return strings.ToLower(c.Target)
		}
	}
	return ""
}

// liveZone returns the zone with the longest name that is at or above name.
func (d *Designate) liveZone(name string) *dnsZone {
	var best *dnsZone
	for _, z := range d.zones {
		zone := strings.ToLower(z.name)
		if z.live.served && (name == zone || strings.HasSuffix(name, "."+zone)) && (best == nil || len(z.name) > len(best.name)) {
			best = z
		}
	}
	return best
}

// lookup returns the records of a name and type, a CNAME in their place, or none; exists tells NODATA from NXDOMAIN. Below a
// delegation it puts the child's name servers into the answer instead.
func (z *dnsZone) lookup(name string, qtype uint16, answer *dns.Msg, step int) (rrs []dns.RR, exists bool) {
	apex := strings.ToLower(z.name)
	for at := name; at != apex; at = parent(at) {
		if ns := z.live.byName[at][dns.TypeNS]; len(ns) > 0 && (at != name || qtype != dns.TypeDS) {
			answer.Ns = ns
			answer.Authoritative = answer.Authoritative && step > 0
			return nil, true
		}
	}
	types, exists := z.live.byName[name]
	if !exists && z.live.below[name] > 0 {
		return nil, true // an empty non-terminal
	}
	owner := name
	if !exists {
		encloser := parent(name)
		for encloser != apex && z.live.below[encloser] == 0 {
			encloser = parent(encloser)
		}
		if types, exists = z.live.byName["*."+encloser]; !exists {
			return nil, false
		}
	}
	return withOwner(pick(types, qtype), owner), true
}

func pick(types map[uint16][]dns.RR, qtype uint16) []dns.RR {
	if qtype == dns.TypeANY {
		var all []dns.RR
		for _, rrs := range types {
			all = append(all, rrs...)
		}
		return all
	}
	if rrs := types[qtype]; len(rrs) > 0 {
		return rrs
	}
	return types[dns.TypeCNAME]
}

// withOwner copies records under the name that was asked for: that of a wildcard's expansion.
func withOwner(rrs []dns.RR, owner string) []dns.RR {
	out := make([]dns.RR, 0, len(rrs))
	for _, rr := range rrs {
		c := dns.Copy(rr)
		c.Header().Name = owner
		out = append(out, c)
	}
	return out
}

// negative makes an answer say that there is no such name, or nothing of that type, with the SOA (RFC 2308).
func (z *dnsZone) negative(answer *dns.Msg, exists bool) {
	if !exists {
		answer.Rcode = dns.RcodeNameError
	}
	soa := slices.Clone(z.live.byName[strings.ToLower(z.name)][dns.TypeSOA])
	for i, rr := range soa {
		soa[i] = dns.Copy(rr)
		if s, ok := soa[i].(*dns.SOA); ok {
			s.Hdr.Ttl = min(s.Hdr.Ttl, s.Minttl)
		}
	}
	answer.Ns = soa
}
