// Package openstacksim is an OpenStack in memory behind real HTTP on a loopback address: Keystone, Manila, Barbican and
// Designate, with a DNS server for Designate's zones, and as much of Neutron and Octavia as says where floating IPs lead.
//
// It is stateful and asynchronous as the real services are: shares are "creating" before they are "available", recordsets
// PENDING before they are ACTIVE, orders PENDING before they have a secret. It rejects what the real services reject, with
// their status and their shape of an error. Faults can be injected per service, method and path, and every call is logged,
// so that tests can count them. It serves tests, the demo and cmd/openstack-sim; the shipped binary never links it.
//
// What it answers follows the API references of Keystone v3, Manila v2, Barbican v1, Designate v2, Neutron v2.0 and Octavia v2; tests/contract runs
// the same cases against it and against a real OpenStack, so that it can't drift from the truth.
package openstacksim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Names of the simulated services, as they stand in Fault.Service and Call.Service.
const (
	ServiceKeystone  = "keystone"
	ServiceManila    = "manila"
	ServiceBarbican  = "barbican"
	ServiceDesignate = "designate"
	ServiceNeutron   = "neutron"
	ServiceOctavia   = "octavia"
)

// Config says how a simulated cloud behaves. The zero value is a fast cloud on a free port.
type Config struct {
	// Listen is the HTTP listener's host:port; empty means 127.0.0.1:0. It has to be a loopback address.
	Listen string
	// Logger gets one debug line per call; nil discards them. Neither tokens, nor passwords, nor payloads are logged.
	Logger *slog.Logger
	// TokenTTL is the life of a Keystone token; zero means one hour.
	TokenTTL time.Duration
	// Now is the cloud's clock (token expiry, timestamps, HTTP Date); nil means time.Now.
	Now func() time.Time

	Manila    ManilaConfig
	Barbican  BarbicanConfig
	Designate DesignateConfig
}

// Cloud is one running simulated cloud. Its methods are safe for concurrent use.
type Cloud struct {
	Keystone  *Keystone
	Manila    *Manila
	Barbican  *Barbican
	Designate *Designate
	Neutron   *Neutron
	Octavia   *Octavia

	// Faults are injected before and after a call is handled.
	Faults *Faults
	// Calls is the log of every HTTP call that reached the cloud, also of those that a fault swallowed.
	Calls *Calls

	logger   *slog.Logger
	now      func() time.Time
	listener net.Listener
	server   *http.Server
	served   chan struct{}

	ctx    context.Context // ends the timers at Close
	cancel context.CancelFunc
	timers sync.WaitGroup
}

// Start makes a cloud, listens and serves until Close.
func Start(cfg Config) (*Cloud, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.TokenTTL == 0 {
		cfg.TokenTTL = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("openstacksim: listen on %s: %w", cfg.Listen, err)
	}
	if addr, ok := listener.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		cancel()
		return nil, errors.Join(fmt.Errorf("openstacksim: %s is not a loopback address", listener.Addr()), listener.Close())
	}
	c := &Cloud{
		Faults: &Faults{}, Calls: &Calls{}, logger: cfg.Logger, now: cfg.Now, listener: listener,
		served: make(chan struct{}), ctx: ctx, cancel: cancel,
	}
	c.Keystone = newKeystone(c, cfg.TokenTTL)
	c.Manila = newManila(c, cfg.Manila)
	c.Barbican = newBarbican(c, cfg.Barbican)
	c.Neutron, c.Octavia = &Neutron{cloud: c}, &Octavia{cloud: c}
	if c.Designate, err = newDesignate(c, cfg.Designate); err != nil {
		cancel()
		return nil, errors.Join(err, listener.Close())
	}
	c.server = &http.Server{Handler: c.handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go func() {
		defer close(c.served)
		_ = c.server.Serve(listener) // it returns http.ErrServerClosed at Close, and there is nobody to tell anything else
	}()
	return c, nil
}

// Close stops the cloud: its listeners, connections and timers. It can be called again.
func (c *Cloud) Close() {
	c.cancel()
	_ = c.server.Close() // its only error is that of a listener that is closed already
	<-c.served
	c.Designate.close()
	c.timers.Wait()
}

// URL is the base URL of the cloud, without a final slash.
func (c *Cloud) URL() string { return "http://" + c.listener.Addr().String() }

// AuthURL is Keystone's URL, with its version: what a clouds.yaml has as auth_url.
func (c *Cloud) AuthURL() string { return c.URL() + pathKeystone + "/v3" }

// after runs f once d has passed, unless the cloud is closed first. Callers usually hold their service's lock, so f always
// runs on another goroutine, also when d is zero.
func (c *Cloud) after(d time.Duration, f func()) {
	c.timers.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-c.ctx.Done():
		case <-timer.C:
			f()
		}
	})
}
