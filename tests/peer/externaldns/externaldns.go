// Package externaldns plays ExternalDNS towards a webhook provider: its real webhook client, plan and TXT registry, wired
// as its controller wires them.
package externaldns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	edns "sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/webhook"
	"sigs.k8s.io/external-dns/registry"
	"sigs.k8s.io/external-dns/registry/txt"
)

// Client is one ExternalDNS: an owner, and its connection to a provider.
type Client struct {
	registry registry.Registry
	types    []string
}

// ErrSoft marks a failure after which ExternalDNS goes on with its loop; after any other it exits.
var ErrSoft = provider.SoftError

// Connect negotiates with the provider at a URL, as ExternalDNS does once at its start. Owner is its --txt-owner-id.
func Connect(ctx context.Context, url, owner string) (*Client, error) {
	cfg := edns.NewConfig()
	cfg.WebhookProviderURL = url
	cfg.WebhookProviderReadTimeout, cfg.WebhookProviderWriteTimeout = 15*time.Second, 15*time.Second
	cfg.TXTOwnerID = owner
	cfg.TXTPrefix = "extdns-%{record_type}."
	cfg.TXTWildcardReplacement = "any"
	cfg.ManagedDNSRecordTypes = []string{endpoint.RecordTypeA, endpoint.RecordTypeAAAA, endpoint.RecordTypeCNAME, endpoint.RecordTypeTXT}
	p, err := webhook.New(ctx, cfg, nil)
	if err != nil {
		return nil, fmt.Errorf("negotiating with the provider: %w", err)
	}
	r, err := txt.New(cfg, p)
	if err != nil {
		return nil, fmt.Errorf("the TXT registry: %w", err)
	}
	return &Client{registry: r, types: cfg.ManagedDNSRecordTypes}, nil
}

// Sync brings the provider to the desired endpoints, as one turn of ExternalDNS's loop, and returns what it changed.
func (c *Client) Sync(ctx context.Context, desired ...*endpoint.Endpoint) (*plan.Changes, error) {
	current, err := c.registry.Records(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the records: %w", err)
	}
	adjusted, err := c.registry.AdjustEndpoints(desired)
	if err != nil {
		return nil, fmt.Errorf("adjusting the endpoints: %w", err)
	}
	p := (&plan.Plan{
		Policies: []plan.Policy{&plan.SyncPolicy{}}, Current: current, Desired: adjusted,
		DomainFilter:   endpoint.MatchAllDomainFilters{c.registry.GetDomainFilter()},
		ManagedRecords: c.types, OwnerID: c.registry.OwnerID(),
	}).Calculate()
	if !p.Changes.HasChanges() {
		return p.Changes, nil
	}
	if err := c.registry.ApplyChanges(ctx, p.Changes); err != nil {
		return p.Changes, fmt.Errorf("applying the changes: %w", err)
	}
	return p.Changes, nil
}

// Soft says whether ExternalDNS would go on after an error.
func Soft(err error) bool { return errors.Is(err, ErrSoft) }
