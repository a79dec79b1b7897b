package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mooring/pkg/designate"
	"mooring/pkg/designate/authority"
)

// newDNS is the parent of the tools for the names of a cluster itself.
func newDNS(env *Env) *cobra.Command {
	return newParent(env, "dns", "Gives a cluster its own names in Designate, before the cluster exists", dnsTools())
}

// dnsTools are the tools of "mooring dns".
func dnsTools() []*mode { return []*mode{dnsEnsure(), dnsDelete(), dnsList()} }

// dnsOptions are the flags that say whose names are meant.
type dnsOptions struct {
	cluster, zone, zoneID, output string
}

func (o *dnsOptions) flags(f *pflag.FlagSet, cluster string) {
	f.StringVar(&o.cluster, "cluster", "", cluster)
	f.StringVar(&o.zone, "zone", "", "the zone, with or without its final dot")
	f.StringVar(&o.zoneID, "zone-id", "", "the zone's UUID, where several zones of the name are there (two pools, a zone that another project shares)")
	f.StringVar(&o.output, "output", "table", "table or json")
}

func (o *dnsOptions) check() (wrong []error) {
	wrong = gather(tableOrJSON(o.output))
	if o.zone == "" && o.zoneID == "" {
		wrong = append(wrong, errors.New("--zone (MOORING_ZONE) or --zone-id is missing: where the names are"))
	}
	canonical := func(flag, value string, form func(string) (string, error)) string {
		if value == "" {
			return ""
		}
		name, err := form(value)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--%s: %w", flag, err))
		}
		return name
	}
	o.cluster = canonical("cluster", o.cluster, designate.CanonicalCluster)
	o.zone = canonical("zone", o.zone, designate.CanonicalHost)
	return wrong
}

// spec is what the domain is asked for.
func (o *dnsOptions) spec() *designate.ClusterSpec {
	return &designate.ClusterSpec{ClusterWant: designate.ClusterWant{Cluster: o.cluster, Zone: o.zone}, ZoneID: o.zoneID}
}

// dnsWriteOptions are the flags of the tools that write.
type dnsWriteOptions struct {
	dnsOptions

	dryRun      bool
	wait        string
	nameServers []string
	timeout     time.Duration
}

// What --wait waits for.
const (
	waitActive   = "active"
	waitAnswered = "answered"
)

func (o *dnsWriteOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be done, and write nothing")
	f.StringVar(&o.wait, "wait", "", "wait until each of the zone's own name servers answers as it should; --wait=active waits for Designate alone")
	f.Lookup("wait").NoOptDefVal = waitAnswered
	f.StringSliceVar(&o.nameServers, "nameserver", nil, "with --wait: host or host:port of a name server to ask instead of those that Designate names; may be repeated")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long all may take")
}

func (o *dnsWriteOptions) check() []error {
	wrong := append(gather(required("cluster", o.cluster, "the cluster's name: what stands between api and the zone")), o.dnsOptions.check()...)
	switch o.wait {
	case "", waitActive, waitAnswered:
	case "true": // from the variable
		o.wait = waitAnswered
	case "false":
		o.wait = ""
	default:
		wrong = append(wrong, fmt.Errorf("--wait: %q has to be %s or %s", o.wait, waitAnswered, waitActive))
	}
	if o.wait != "" && o.dryRun {
		wrong = append(wrong, errors.New("--wait: with --dry-run there is nothing to wait for"))
	}
	if len(o.nameServers) > 0 && o.wait != waitAnswered {
		wrong = append(wrong, errors.New("--nameserver: it is only for --wait"))
	}
	for i, server := range o.nameServers {
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
		}
		host, _, _ := net.SplitHostPort(server)
		if err := hostPort("nameserver", server); err != nil || host == "" {
			wrong = append(wrong, cmp.Or(err, fmt.Errorf("--nameserver: %q has to be a host or host:port", o.nameServers[i])))
		}
		o.nameServers[i] = server
	}
	if o.timeout <= 0 {
		wrong = append(wrong, fmt.Errorf("--timeout: %v has to be more than 0", o.timeout))
	}
	return wrong
}

// act does the work, waits for its effect if that is wanted, and shows what was done.
func (o *dnsWriteOptions) act(ctx context.Context, p *process, work func(context.Context, *designate.ClusterNames, *progress) (*designate.ClusterResult, error)) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	line := p.progress()
	names := designate.NewClusterNames(p.session(), p.logger)
	result, err := work(ctx, names, line)
	if result != nil && o.wait != "" && (err == nil || errors.Is(err, designate.ErrNoPTR)) {
		waited := names.Await(ctx, result, designate.Await{
			Answered: o.wait == waitAnswered, NameServers: o.nameServers, Progress: func(text string) { line.show(0, 0, text) },
		})
		err = errors.Join(err, o.notSeen(waited))
	}
	line.clear()
	if result == nil {
		return err
	}
	return errors.Join(err, o.show(p, result, true))
}

// notSeen says what to do where what was written could not be seen.
func (o *dnsWriteOptions) notSeen(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, authority.ErrUnreachable) && len(o.nameServers) == 0:
		return fmt.Errorf("all is written and ACTIVE in Designate, but not every name server of the zone can be asked from here; --nameserver names one that can be, --wait=%s asks none: %w", waitActive, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("written, but not in effect within --timeout=%v: %w", o.timeout, err)
	default:
		return fmt.Errorf("written, but not seen to be in effect: %w", err)
	}
}

// shownDNS is the result in JSON.
type shownDNS struct {
	Zone     string           `json:"zone"`
	ZoneID   string           `json:"zone_id"`
	Records  []shownDNSRecord `json:"records"`
	Warnings []string         `json:"warnings"`
}

// shownDNSRecord is a row.
type shownDNSRecord struct {
	Cluster    string   `json:"cluster"`
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	Values     []string `json:"values"`
	TTL        int      `json:"ttl"` // seconds; 0: the zone's own
	Zone       string   `json:"zone,omitempty"`
	ZoneID     string   `json:"zone_id,omitempty"`
	FloatingIP string   `json:"floating_ip,omitempty"` // region:id; its PTR is in no zone of the project
	Status     string   `json:"status,omitempty"`
	Result     string   `json:"result,omitempty"`
}

// show writes what was found, or done.
func (o *dnsOptions) show(p *process, result *designate.ClusterResult, done bool) error {
	out := shownDNS{Zone: result.Zone.Name, ZoneID: result.Zone.ID, Records: []shownDNSRecord{}, Warnings: append([]string{}, result.Warnings...)}
	var rows [][]string
	header := "CLUSTER NAME TYPE VALUES TTL STATUS ZONE"
	if done {
		header = "NAME TYPE VALUES TTL STATUS ZONE RESULT"
	}
	for i := range result.Records {
		r := &result.Records[i]
		out.Records = append(out.Records, shownDNSRecord{
			Cluster: r.Cluster, Name: r.Name, Type: string(r.Type), Values: r.Targets, TTL: r.TTL, Zone: r.Zone.Name, ZoneID: r.Zone.ID, FloatingIP: r.FloatingIP,
			Status: r.Status, Result: r.Result,
		})
		ttl, zone := "-", r.Zone.Name
		if r.TTL > 0 {
			ttl = strconv.Itoa(r.TTL)
		}
		if r.FloatingIP != "" {
			zone = "floating IP"
		}
		row := []string{r.Name, string(r.Type), strings.Join(r.Targets, ","), ttl, orDash(r.Status), zone}
		if done {
			row = append(row, r.Result)
		} else {
			row = append([]string{r.Cluster}, row...)
		}
		rows = append(rows, row)
	}
	if o.output == "table" {
		for _, w := range result.Warnings {
			_, _ = fmt.Fprintf(p.env.Stderr, "Warning: %s.\n", w)
		}
	}
	return show(p.env.Stdout, o.output, out, header, rows)
}
