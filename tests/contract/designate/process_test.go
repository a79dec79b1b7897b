package designate_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/external-dns/endpoint"

	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/contract/target"
	peer "mooring/tests/peer/externaldns"
)

// gate is a way to a server that can be shut: connections through it break, and new ones are refused as if the server had died.
type gate struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	open  bool
	conns map[net.Conn]bool
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, server: server, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { g.set(false); _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go g.pass(context.WithoutCancel(t.Context()), client)
		}
	}()
	return g
}

func (g *gate) pass(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if !open {
		return
	}
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	g.mu.Lock()
	g.conns[client], g.conns[server] = true, true
	g.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // its end is the news
			done <- struct{}{}
		}()
	}
	<-done
	g.mu.Lock()
	delete(g.conns, client)
	delete(g.conns, server)
	g.mu.Unlock()
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
	for conn := range g.conns {
		if !open {
			_ = conn.Close() // it is meant to break
		}
	}
}

// behindGate is the cloud's clouds.yaml with a gate before Keystone.
func behindGate(t *testing.T, c *cloud) (*gate, string) {
	t.Helper()
	data, err := os.ReadFile(c.CloudsFile())
	if err != nil {
		t.Fatal(err)
	}
	keystone := regexp.MustCompile(`auth_url: "?http://([^/"\s]+)`).FindSubmatch(data)
	if keystone == nil {
		t.Fatalf("no auth_url in %s", c.CloudsFile())
	}
	g := newGate(t, string(keystone[1]))
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	data = []byte(strings.ReplaceAll(string(data), "http://"+g.server, "http://"+g.listener.Addr().String()))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return g, file
}

// ExternalDNS's own program on our own: names come and go, and nothing that happens to the cloud makes it exit. It is started while
// Keystone is away.
func TestExternalDNSProgram(t *testing.T) {
	t.Parallel()
	program, err := peer.Program()
	if err != nil {
		t.Skip(err)
	}
	c := open(t)
	z := c.zone(t)
	keystone, file := behindGate(t, c)
	url, _ := peer.StartWebhook(t, file, c.Name("demo"), "--domain-filter", z.bare())
	source, err := peer.NewSource(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	www, shop, apps := "www."+z.bare(), "shop."+z.bare(), "*.apps."+z.bare()
	source.Want(endpoint.NewEndpointWithTTL(www, "A", 60, "192.0.2.2", "192.0.2.1"), endpoint.NewEndpointWithTTL(www, "AAAA", 60, "2001:db8::1"),
		endpoint.NewEndpoint(shop, "CNAME", www), endpoint.NewEndpoint(apps, "A", "192.0.2.3"))
	p, err := peer.Start(t.Context(), program, url, "program", source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill() // on SIGTERM it says that it was broken off, and exits with 1
		if t.Failed() {
			t.Log(p.Output())
		}
	})
	soft := func(atLeast int) {
		t.Helper()
		target.Eventually(t, "ExternalDNS counts soft errors", func() bool { return strings.Count(p.Output(), "consecutive soft errors: ") >= atLeast })
	}
	soft(2)
	keystone.set(true)
	z.answers(t, www, "A", "192.0.2.1", "192.0.2.2")
	z.answers(t, www, "AAAA", "2001:db8::1")
	z.answers(t, shop, "CNAME", www)
	z.answers(t, "some.thing.apps."+z.bare(), "A", "192.0.2.3")
	turns := source.Turns()
	target.Eventually(t, "two turns without a change", func() bool { return source.Turns() >= turns+2 })
	if changes := strings.Count(p.Output(), "All records are already up to date"); changes == 0 {
		t.Error("ExternalDNS never finds all records up to date")
	}

	if c.Sim != nil {
		dns := openstacksim.ServiceDesignate
		before := strings.Count(p.Output(), "consecutive soft errors: ")
		for _, fault := range []openstacksim.Fault{{Service: dns, Drop: true, Count: 20}, {Service: dns, Status: 503, Count: 20}, {Service: dns, Method: "POST", DropAfter: true, Count: 2}} {
			c.Sim.Faults.Add(fault)
		}
		keystone.set(false)
		c.Sim.Keystone.RevokeTokens()
		soft(before + 2)
		keystone.set(true)
	}
	source.Want(endpoint.NewEndpointWithTTL(www, "A", 60, "192.0.2.9"), endpoint.NewEndpoint(shop, "A", "192.0.2.8"))
	z.answers(t, www, "A", "192.0.2.9")
	z.answers(t, shop, "A", "192.0.2.8")
	z.answers(t, www, "AAAA")
	source.Want()
	z.answers(t, www, "A")
	z.answers(t, shop, "A")
	target.Eventually(t, "the zone is empty", func() bool { return len(z.ids(t)) == 0 })
	turns = source.Turns()
	target.Eventually(t, "ExternalDNS is still there", func() bool { return source.Turns() > turns })
}
