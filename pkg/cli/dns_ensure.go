package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"mooring/pkg/designate"
)

func dnsEnsure() *mode {
	return &mode{
		name:  "ensure",
		short: "Makes api.CLUSTER.ZONE, *.apps.CLUSTER.ZONE and PTRs lead where they should",
		long: "dns ensure writes what differs from what is wanted, and nothing when nothing does. A and AAAA records are made by the family of the addresses; a type that has no address any more\n" +
			"is removed. A name whose flag is not given stays as it is. What the cluster owns carries its mark in the description; a record without it is in the way: then nothing is written, and\n" +
			"the error says what is there. With --ptr each --api address gets a PTR to api.CLUSTER.ZONE: in a reverse zone of the project, or else by Designate's own way if it is a\n" +
			"floating IP of the project; an address for which there is neither is a warning, and a failure when no address can have one. It needs no cluster, and no administrator of the cloud.",
		tool:    true,
		options: &dnsEnsureOptions{},
	}
}

type dnsEnsureOptions struct {
	dnsWriteOptions

	api, apps  []string
	ptr, force bool
	ttl        int

	apiRefs, appsRefs []designate.AddressRef
}

func (o *dnsEnsureOptions) flags(f *pflag.FlagSet) {
	o.dnsOptions.flags(f, "the cluster's name: what stands between api and the zone")
	const forms = ": an IP address, the UUID of a floating IP, or lb: and the UUID of a load balancer, which stands for the floating IP of its VIP, or for the VIP; may be repeated"
	f.StringSliceVar(&o.api, "api", nil, "where api.CLUSTER.ZONE leads"+forms)
	f.StringSliceVar(&o.apps, "apps", nil, "where *.apps.CLUSTER.ZONE leads, in the same forms; may be repeated")
	f.BoolVar(&o.ptr, "ptr", false, "give the --api addresses PTRs, and take the cluster's PTRs of other addresses away; a wildcard has none")
	f.IntVar(&o.ttl, "ttl", 0, "TTL of the records in seconds; 0: the zone's own")
	f.BoolVar(&o.force, "force", false, "take over what is in the way: it is changed or deleted, and carries the cluster's mark from then on")
	alone(f, "force")
	o.dnsWriteOptions.flags(f)
}

func (o *dnsEnsureOptions) check(*Env) []error {
	wrong := o.dnsWriteOptions.check()
	refs := func(flag string, texts []string) (list []designate.AddressRef) {
		for _, text := range texts {
			ref, err := designate.ParseAddressRef(text)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("--%s: %w", flag, err))
			}
			list = append(list, ref)
		}
		return list
	}
	o.apiRefs, o.appsRefs = refs("api", o.api), refs("apps", o.apps)
	if len(o.api) == 0 && len(o.apps) == 0 {
		wrong = append(wrong, errors.New("--api (MOORING_API) or --apps (MOORING_APPS) is missing: where a name leads"))
	}
	if o.ptr && len(o.api) == 0 {
		wrong = append(wrong, errors.New("--ptr: it is only for --api: the name of a wildcard can't be what an address is called"))
	}
	const longest = 1<<31 - 1
	return append(wrong, gather(between("ttl", o.ttl, 0, longest))...)
}

func (o *dnsEnsureOptions) run(ctx context.Context, p *process) error {
	return o.act(ctx, p, func(ctx context.Context, names *designate.ClusterNames, line *progress) (*designate.ClusterResult, error) {
		spec := o.spec()
		spec.PTR, spec.TTL, spec.Force, spec.DryRun = o.ptr, o.ttl, o.force, o.dryRun
		var err error
		line.show(0, 0, "looking for the addresses")
		if spec.API, err = designate.Addresses(ctx, p.session(), o.apiRefs); err != nil {
			return nil, fmt.Errorf("--api: %w", err)
		}
		if spec.Apps, err = designate.Addresses(ctx, p.session(), o.appsRefs); err != nil {
			return nil, fmt.Errorf("--apps: %w", err)
		}
		line.show(0, 0, "reading and writing the records")
		return names.Ensure(ctx, spec)
	})
}
