package designate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mooring/pkg/designate/authority"
	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// Await says how to wait for what was written.
type Await struct {
	// Answered waits for the name servers, too, after Designate says ACTIVE.
	Answered bool
	// NameServers are host:port of servers that are asked in place of each zone's own.
	NameServers []string
	// Progress is told what is waited for; nil tells nobody.
	Progress func(text string)
}

// errNotYet is matched by what is still to come.
var errNotYet = errors.New("not yet")

// wait is the pause between two looks.
func wait() poll.Backoff {
	return poll.Backoff{First: 200 * time.Millisecond, Max: 3 * time.Second, Factor: 1.5, Jitter: 0.2}
}

// Await waits until all records of a result are ACTIVE, and, if that is wanted, until each of the zones' own name servers answers them, and no longer what was
// deleted. The PTRs of floating IPs are in zones of the cloud's own, whose name servers a tenant is not told: they are waited for in Designate alone.
// It ends with ctx, and then says what it was that did not come; authority.ErrUnreachable is matched when a name server can't be asked.
func (n *ClusterNames) Await(ctx context.Context, result *ClusterResult, o Await) error {
	if err := n.until(ctx, o, func(ctx context.Context) []error { return n.inactive(ctx, result) }); err != nil || !o.Answered {
		return err
	}
	servers, err := n.servers(ctx, result, o.NameServers)
	if err != nil {
		return err
	}
	return n.until(ctx, o, func(ctx context.Context) []error { return unanswered(ctx, result, servers) })
}

// until looks until nothing is missing any more.
func (n *ClusterNames) until(ctx context.Context, o Await, look func(context.Context) []error) error {
	var last []error
	for round := 0; ; round++ {
		missing := look(ctx)
		if len(missing) == 0 {
			return nil
		}
		if last == nil || ctx.Err() == nil { // what a look sees that is cut short is only that
			last = missing
		}
		if o.Progress != nil && ctx.Err() == nil {
			o.Progress("waiting: " + last[0].Error())
		}
		if err := poll.Sleep(ctx, wait().Wait(round)); err != nil {
			return errors.Join(append(last, err)...)
		}
	}
}

// inactive returns what is not ACTIVE.
func (n *ClusterNames) inactive(ctx context.Context, result *ClusterResult) []error {
	var missing []error
	for i := range result.Records {
		r := &result.Records[i]
		if r.Status == "" || r.Status == "ACTIVE" || r.Result == past(Delete) {
			continue
		}
		var err error
		if r.FloatingIP != "" {
			var f FloatingIP
			f, err = n.api.floatingIP(ctx, r.FloatingIP)
			r.Status = f.Status
		} else {
			var set wireRecordset
			err = n.api.get(ctx, &set, nil, "zones", r.Zone.ID, "recordsets", r.ID)
			r.Status = set.Status
		}
		switch {
		case errors.Is(err, openstack.ErrNotFound):
			r.Status = "GONE"
			missing = append(missing, &RecordError{r.Name, r.Type, errors.New("somebody has deleted it meanwhile")})
		case err != nil:
			r.Status = "PENDING"
			missing = append(missing, &RecordError{r.Name, r.Type, err})
		case r.Status != "ACTIVE":
			missing = append(missing, &RecordError{r.Name, r.Type, fmt.Errorf("%w: Designate says %s", errNotYet, r.Status)})
		}
	}
	return missing
}

// nameServer is a server with its addresses, of which any one is good.
type nameServer struct {
	name      string
	addresses []string
	err       error // its addresses are not known
}

// servers finds the name servers of each zone, by its id.
func (n *ClusterNames) servers(ctx context.Context, result *ClusterResult, instead []string) (map[string][]nameServer, error) {
	servers := map[string][]nameServer{}
	for i := range result.Records {
		id := result.Records[i].Zone.ID
		if id == "" || servers[id] != nil {
			continue
		}
		for _, server := range instead {
			servers[id] = append(servers[id], nameServer{name: server, addresses: []string{server}})
		}
		if len(instead) > 0 {
			continue
		}
		var body struct {
			NameServers []struct {
				Host string `json:"hostname"`
			} `json:"nameservers"`
		}
		if err := n.api.get(ctx, &body, nil, "zones", id, "nameservers"); err != nil {
			return nil, describe(err, "asking for the name servers of zone %s", result.Records[i].Zone)
		}
		for _, s := range body.NameServers {
			server := nameServer{name: strings.TrimSuffix(s.Host, ".")}
			server.addresses, server.err = authority.Locate(ctx, s.Host)
			servers[id] = append(servers[id], server)
		}
		if len(servers[id]) == 0 {
			return nil, fmt.Errorf("zone %s: %w: Designate names no name servers", result.Records[i].Zone, authority.ErrUnreachable)
		}
	}
	return servers, nil
}

// unanswered returns what the name servers don't answer as it is, one error for each record and server. A server that can't be reached is not asked
// for more.
func unanswered(ctx context.Context, result *ClusterResult, servers map[string][]nameServer) []error {
	var missing []error
	away := map[string]bool{}
	for i := range result.Records {
		r := &result.Records[i]
		for _, server := range servers[r.Zone.ID] {
			if away[server.name] {
				continue
			}
			got, err := server.ask(ctx, r.Name, r.Type)
			away[server.name] = errors.Is(err, authority.ErrUnreachable)
			if err == nil && slices.Equal(got, r.Targets) == (r.Result == past(Delete)) {
				err = fmt.Errorf("%w: it answers %q", errNotYet, got)
			}
			if err != nil {
				missing = append(missing, &RecordError{r.Name, r.Type, fmt.Errorf("name server %s: %w", server.name, err)})
			}
		}
	}
	return missing
}

// ask asks the first address that answers.
func (s *nameServer) ask(ctx context.Context, name string, t Type) (values []string, err error) {
	err = s.err
	for _, address := range s.addresses {
		if values, err = authority.Ask(ctx, address, name, string(t)); !errors.Is(err, authority.ErrUnreachable) {
			return values, err
		}
	}
	return nil, err
}
