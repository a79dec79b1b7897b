package cli

import (
	"context"

	"github.com/spf13/pflag"

	"mooring/pkg/designate"
)

func dnsDelete() *mode {
	return &mode{
		name:  "delete",
		short: "Deletes the records that carry a cluster's mark",
		long: "dns delete deletes the records of the cluster in the zone, and its PTRs, in reverse zones of the project and of floating IPs. It touches nothing that does not carry the cluster's mark,\n" +
			"whoever made it, so it is safe after the cluster is gone. When there is nothing of the cluster it does nothing, and succeeds.",
		tool:    true,
		options: &dnsDeleteOptions{},
	}
}

type dnsDeleteOptions struct{ dnsWriteOptions }

func (o *dnsDeleteOptions) flags(f *pflag.FlagSet) {
	o.dnsOptions.flags(f, "the cluster's name, as it was given to ensure")
	o.dnsWriteOptions.flags(f)
}

func (o *dnsDeleteOptions) check(*Env) []error { return o.dnsWriteOptions.check() }

func (o *dnsDeleteOptions) run(ctx context.Context, p *process) error {
	return o.act(ctx, p, func(ctx context.Context, names *designate.ClusterNames, line *progress) (*designate.ClusterResult, error) {
		spec := o.spec()
		spec.DryRun = o.dryRun
		line.show(0, 0, "deleting the records")
		return names.Delete(ctx, spec)
	})
}
