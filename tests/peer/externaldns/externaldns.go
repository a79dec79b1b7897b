// Package externaldns plays ExternalDNS towards a webhook provider: its real webhook client, plan and TXT registry, wired
// as its controller wires them.
package externaldns

import (
	"cmp"
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

// Settings are ExternalDNS's own flags, as far as a provider feels them. A request may take 15 s, as by default.
type Settings struct {
	Owner    string   // --txt-owner-id
	OldOwner string   // --migrate-from-txt-owner
	Prefix   string   // --txt-prefix
	Suffix   string   // --txt-suffix
	Wildcard string   // --txt-wildcard-replacement
	AESKey   string   // --txt-encrypt-aes-key; empty: marks are not encrypted
	Policy   string   // --policy; empty: sync
	Types    []string // --managed-record-types; empty: ExternalDNS's default, A, AAAA and CNAME
}

// Recommended are the settings that go well with Designate, whose wildcards are a whole label.
func Recommended(owner string) Settings {
	return Settings{Owner: owner, Prefix: "extdns-%{record_type}.", Wildcard: "any"}
}

// Client is one ExternalDNS: an owner, and its connection to a provider.
type Client struct {
	settings Settings
	provider provider.Provider
	registry registry.Registry
	policy   plan.Policy
	types    []string
}

// ErrSoft marks a failure after which ExternalDNS goes on with its loop; after any other it exits.
var ErrSoft = provider.SoftError

// Connect is Open with the recommended settings, and TXT managed besides ExternalDNS's default types.
func Connect(ctx context.Context, url, owner string) (*Client, error) {
	settings := Recommended(owner)
	settings.Types = []string{endpoint.RecordTypeA, endpoint.RecordTypeAAAA, endpoint.RecordTypeCNAME, endpoint.RecordTypeTXT}
	return Open(ctx, url, settings)
}

// Open negotiates with the provider at a URL, as ExternalDNS does once at its start.
func Open(ctx context.Context, url string, settings Settings) (*Client, error) {
	cfg := edns.NewConfig()
	cfg.WebhookProviderURL = url
	// What the command line has by default; without it the client waits for ever.
	cfg.WebhookProviderReadTimeout, cfg.WebhookProviderWriteTimeout = 5*time.Second, 10*time.Second
	cfg.TXTOwnerID, cfg.TXTOwnerOld = settings.Owner, settings.OldOwner
	cfg.TXTPrefix, cfg.TXTSuffix, cfg.TXTWildcardReplacement = settings.Prefix, settings.Suffix, settings.Wildcard
	cfg.TXTEncryptEnabled, cfg.TXTEncryptAESKey = settings.AESKey != "", settings.AESKey
	if cfg.ManagedDNSRecordTypes = settings.Types; len(settings.Types) == 0 {
		cfg.ManagedDNSRecordTypes = []string{endpoint.RecordTypeA, endpoint.RecordTypeAAAA, endpoint.RecordTypeCNAME} // the command line's default
	}
	policy, ok := plan.Policies[cmp.Or(settings.Policy, "sync")]
	if !ok {
		return nil, fmt.Errorf("%w %q", errPolicy, settings.Policy)
	}
	p, err := webhook.New(ctx, cfg, nil)
	if err != nil {
		return nil, fmt.Errorf("negotiating with the provider: %w", err)
	}
	r, err := txt.New(cfg, p)
	if err != nil {
		return nil, fmt.Errorf("the TXT registry: %w", err)
	}
	return &Client{settings: settings, provider: p, registry: r, policy: policy, types: cfg.ManagedDNSRecordTypes}, nil
}

var errPolicy = errors.New("ExternalDNS has no policy")

// Provider is the webhook client alone: what is written through it belongs to nobody.
func (c *Client) Provider() provider.Provider { return c.provider }

// Filter is the domain filter that was negotiated.
func (c *Client) Filter() endpoint.DomainFilterInterface { return c.registry.GetDomainFilter() }

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
		Policies: []plan.Policy{c.policy}, Current: current, Desired: adjusted, DomainFilter: endpoint.MatchAllDomainFilters{c.registry.GetDomainFilter()},
		ManagedRecords: c.types, OwnerID: c.registry.OwnerID(), OldOwnerID: c.settings.OldOwner,
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
