package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mooring/pkg/kubernetes"
	"mooring/pkg/manila"
	"mooring/pkg/manila/csi"
)

// newShares is the parent of the tools for the shares of a cluster.
func newShares(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shares",
		Short: "Lists the shares of a cluster, and finds those that it has lost",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return mistakes{fmt.Errorf("there is no command %q", args[0])}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return mistakes{errors.New("a command is missing: list or orphans")}
		},
	}
	for _, m := range shareTools() {
		cmd.AddCommand(newMode(env, m))
	}
	return cmd
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
	if o.output != "table" && o.output != "json" {
		wrong = append(wrong, fmt.Errorf("--output: %q has to be table or json", o.output))
	}
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

// print writes rows as a table, or values as JSON.
func (o *shareOptions) print(w io.Writer, values any, header string, rows [][]string) error {
	if o.output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(values)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, strings.ReplaceAll(header, " ", "\t")) // its errors come again with Flush
	for _, row := range rows {
		_, _ = fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// orDash is a table's empty cell.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
