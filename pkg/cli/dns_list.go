package cli

import (
	"context"

	"github.com/spf13/pflag"

	"mooring/pkg/designate"
)

func dnsList() *mode {
	return &mode{
		name:  "list",
		short: "Lists the records that carry the mark of a cluster",
		long: "dns list lists the records of a cluster in the zone, or of all clusters, with their PTRs in reverse zones of the project and of floating IPs.\n" +
			"Records without a mark, those of ExternalDNS too, are not listed.",
		tool:    true,
		options: &dnsListOptions{},
	}
}

type dnsListOptions struct{ dnsOptions }

func (o *dnsListOptions) flags(f *pflag.FlagSet) {
	o.dnsOptions.flags(f, "the cluster's name; if it is not set, all clusters are listed")
}

func (o *dnsListOptions) check(*Env) []error { return o.dnsOptions.check() }

func (o *dnsListOptions) run(ctx context.Context, p *process) error {
	line := p.progress()
	line.show(0, 0, "reading the zone")
	result, err := designate.NewClusterNames(p.session(), p.logger).List(ctx, o.spec())
	line.clear()
	if err != nil {
		return err
	}
	return o.show(p, result, false)
}
