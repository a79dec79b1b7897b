package authority_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"mooring/pkg/designate/authority"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a name server on a loopback address, over UDP and TCP, and returns its host:port.
func serve(t *testing.T, handle dns.HandlerFunc) string {
	t.Helper()
	tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{Listener: tcp, Handler: handle}, {PacketConn: udp, Handler: handle}} {
		started, ended := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			_ = server.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-ended
		})
	}
	return tcp.Addr().String()
}

func TestAsk(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(query)
		answer.Authoritative = true
		name := query.Question[0].Name
		add := func(text string, args ...any) {
			rr, err := dns.NewRR(name + " 60 IN " + fmt.Sprintf(text, args...))
			if err != nil {
				t.Error(err)
			}
			answer.Answer = append(answer.Answer, rr)
		}
		switch {
		case query.RecursionDesired:
			answer.Rcode = dns.RcodeFormatError
		case name == "*.two.example.org.":
			add("A 192.0.2.2")
			add("A 192.0.2.1")
		case name == "six.example.org.":
			add("AAAA 2001:db8:0:0::1")
		case name == "ptr.example.org.":
			add("PTR Host.Example.org.")
		case name == "alias.example.org.":
			add("CNAME LB.example.net.")
			rr, err := dns.NewRR("lb.example.net. 60 IN A 192.0.2.8") // not of the name that was asked for
			if err != nil {
				t.Error(err)
			}
			answer.Answer = append(answer.Answer, rr)
		case name == "other.example.org.":
			add("A 192.0.2.7")
			answer.Question[0].Name = "another.example.org."
		case name == "none.example.org.":
			answer.Rcode = dns.RcodeNameError
		case name == "cached.example.org.":
			answer.Authoritative = false
			add("A 192.0.2.9")
		case name == "large.example.org.":
			for i := range 100 {
				add("A 192.0.2.%d", i)
			}
		default:
			answer.Rcode = dns.RcodeRefused
		}
		if _, tcp := w.RemoteAddr().(*net.TCPAddr); !tcp {
			answer.Truncate(dns.MinMsgSize)
		}
		_ = w.WriteMsg(answer)
	})
	for _, test := range []struct {
		name, recordType, want string
		err                    error
	}{
		{"*.two.example.org", "A", "192.0.2.1 192.0.2.2", nil},
		{"six.example.org", "AAAA", "2001:db8::1", nil},
		{"ptr.example.org", "PTR", "host.example.org", nil},
		{"alias.example.org", "A", "lb.example.net", nil},
		{"other.example.org", "A", "", authority.ErrUnreachable},
		{"none.example.org", "A", "", nil},
		{"cached.example.org", "A", "", authority.ErrRefused},
		{"refused.example.net", "A", "", authority.ErrRefused},
	} {
		got, err := authority.Ask(t.Context(), server, test.name, test.recordType)
		if strings.Join(got, " ") != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s %s: %q, %v; want %q, %v", test.name, test.recordType, got, err, test.want, test.err)
		}
	}
	if got, err := authority.Ask(t.Context(), server, "large.example.org", "A"); len(got) != 100 || err != nil || !slices.IsSorted(got) {
		t.Errorf("what does not fit into a datagram: %q, %v", got, err)
	}
}

func TestAskNobody(t *testing.T) {
	t.Parallel()
	closed, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	if got, err := authority.Ask(t.Context(), closed.LocalAddr().String(), "example.org", "A"); !errors.Is(err, authority.ErrUnreachable) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := authority.Locate(t.Context(), "ns.unknown.invalid."); !errors.Is(err, authority.ErrUnreachable) || !strings.Contains(err.Error(), "ns.unknown.invalid") {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := authority.Locate(t.Context(), "localhost"); err == nil && !slices.Contains(got, "127.0.0.1:53") {
		t.Errorf("%q", got)
	}
}
