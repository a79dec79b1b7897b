package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/miekg/dns"
	"sigs.k8s.io/external-dns/endpoint"

	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
	"mooring/tests/peer/externaldns"
)

// names plays ExternalDNS, and somebody who looks a name up.
func (s *stage) names(ctx context.Context) error {
	var client *externaldns.Client
	err := s.step("ExternalDNS negotiates with the webhook", func() (note string, err error) {
		client, err = externaldns.Connect(ctx, "http://"+s.mode("designate-webhook").address, "demo")
		return "", err
	})
	if err != nil {
		return err
	}
	desired := []*endpoint.Endpoint{
		endpoint.NewEndpointWithTTL("www.demo.test", endpoint.RecordTypeA, 60, "192.0.2.10", "192.0.2.11"),
		endpoint.NewEndpointWithTTL("www.demo.test", endpoint.RecordTypeAAAA, 60, "2001:db8::10"),
		endpoint.NewEndpoint("shop.demo.test", endpoint.RecordTypeCNAME, "www.demo.test"),
		endpoint.NewEndpoint("*.apps.demo.test", endpoint.RecordTypeA, "192.0.2.20"),
	}
	if err := s.step("a first sync", func() (string, error) { return s.sync(ctx, client, desired, true) }); err != nil {
		return err
	}
	for name, want := range map[string][]string{"shop.demo.test.": {"192.0.2.10", "192.0.2.11"}, "anything.apps.demo.test.": {"192.0.2.20"}} {
		err := s.step("the cloud's name server answers "+name, func() (string, error) { return s.lookup(ctx, name, want) })
		if err != nil {
			return err
		}
	}
	if err := s.step("a second sync finds nothing to do", func() (string, error) { return s.sync(ctx, client, desired, false) }); err != nil {
		return err
	}
	return s.step("a last sync takes everything away", func() (string, error) { return s.sync(ctx, client, nil, true) })
}

// sync is one turn of ExternalDNS's loop, which goes on after soft errors.
func (s *stage) sync(ctx context.Context, client *externaldns.Client, desired []*endpoint.Endpoint, changes bool) (note string, err error) {
	begin := time.Now()
	for {
		done, err := client.Sync(ctx, desired...)
		if err == nil {
			if done.HasChanges() != changes {
				return "", fmt.Errorf("changes: %v, expected %v", done.HasChanges(), changes)
			}
			break
		}
		if !externaldns.Soft(err) {
			return "", err
		}
		if err := poll.Sleep(ctx, 50*time.Millisecond); err != nil {
			return "", err
		}
	}
	calls, err := s.calls(ctx, begin)
	if err != nil {
		return "", err
	}
	reads, writes := 0, 0
	for _, c := range calls {
		switch {
		case c.Service != openstacksim.ServiceDesignate:
		case c.Method == http.MethodGet:
			reads++
		default:
			writes++
		}
	}
	if !changes && writes > 0 {
		return "", fmt.Errorf("an idle sync wrote %d times", writes)
	}
	return fmt.Sprintf("%d reads and %d writes at Designate", reads, writes), nil
}

// lookup asks the name server until it has the answer: Designate's records are PENDING for a while.
func (s *stage) lookup(ctx context.Context, name string, want []string) (note string, err error) {
	query := new(dns.Msg)
	query.SetQuestion(name, dns.TypeA)
	for {
		answer, err := dns.ExchangeContext(ctx, query, s.dnsAddr)
		if err != nil {
			return "", err
		}
		var got []string
		for _, rr := range answer.Answer {
			if a, ok := rr.(*dns.A); ok {
				got = append(got, a.A.String())
			}
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return fmt.Sprint(got), nil
		}
		if err := poll.Sleep(ctx, 20*time.Millisecond); err != nil {
			return "", fmt.Errorf("it answers %v, not %v: %w", got, want, err)
		}
	}
}

// freePort finds a port for a process that wants to be told one.
func freePort(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), errors.Join(listener.Close())
}
