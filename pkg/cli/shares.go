package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mooring/pkg/kubernetes"
	"mooring/pkg/manila"
	"mooring/pkg/manila/csi"
)

// newShares is the parent of the tools for the shares of a cluster.
func newShares(env *Env) *cobra.Command {
	return newParent(env, "shares", "Lists the shares of a cluster, and finds those that it has lost", shareTools())
}

// shareTools are the tools of "mooring shares".
func shareTools() []*mode { return []*mode{sharesList(), sharesOrphans()} }

// shareOptions are the flags of the tools.
type shareOptions struct {
	kubeconfig, clusterID, output string
	drivers                       []string

	kubernetes *kubernetes.Client // from check on
}

func (o *shareOptions) flags(f *pflag.FlagSet, cluster string) {
	f.StringVar(&o.clusterID, "cluster-id", "", cluster)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "the cluster's kubeconfig; if it is not set, the files of KUBECONFIG, then the service account of the pod")
	f.StringSliceVar(&o.drivers, "driver-name", []string{csi.DriverName, "nfs." + csi.DriverName, "cephfs." + csi.DriverName}, "names of the CSI driver, comma-separated or repeated")
	f.StringVar(&o.output, "output", "table", "table or json")
}

func (o *shareOptions) check(env *Env) (wrong []error) {
	const longest = 255
	wrong = gather(atMost("cluster-id", o.clusterID, longest))
	for _, name := range o.drivers {
		if !driverName.MatchString(name) {
			wrong = append(wrong, fmt.Errorf("--driver-name: %q has to be a domain name of at most 63 characters", name))
		}
	}
	wrong = append(wrong, gather(tableOrJSON(o.output))...)
	client, err := kubernetes.New(kubernetes.Source{Kubeconfig: o.kubeconfig, LookupEnv: env.LookupEnv, UserAgent: "mooring/" + version})
	if err != nil {
		wrong = append(wrong, fmt.Errorf("--kubeconfig: %w", err))
	}
	o.kubernetes = client
	return wrong
}

// client is Manila's, with the process's own login.
func (o *shareOptions) client(p *process) *manila.Client {
	return manila.New(p.session(), manila.Options{Logger: p.logger})
}
