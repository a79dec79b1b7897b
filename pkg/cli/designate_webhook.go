package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/designate"
	"mooring/pkg/designate/externaldns"
	"mooring/pkg/httpserver"
	"mooring/pkg/openstack"
	"mooring/pkg/poll"
	"mooring/pkg/run"
)

func designateWebhook() *mode {
	return &mode{
		name:  "designate-webhook",
		short: "Serves ExternalDNS: names in Designate",
		long: "designate-webhook is a webhook provider for ExternalDNS that keeps its records in OpenStack Designate. It runs beside ExternalDNS\n" +
			"(a sidecar), which finds it at http://localhost:8888. It answers on --listen before it has logged in to OpenStack.",
		cloud:   cloudRequired,
		options: &designateWebhookOptions{},
	}
}

type designateWebhookOptions struct {
	listen                           []string
	include, exclude                 []string
	regexInclude, regexExclude       string
	zoneIDs, poolIDs                 []string
	allProjects                      bool
	fullRefresh                      time.Duration
	dryRun                           bool
	types                            []string
	minTTL                           int
	floatingIPs                      bool
	concurrency, zoneConcurrency     int
	deadline                         time.Duration
	compiledInclude, compiledExclude *regexp.Regexp
}

func (o *designateWebhookOptions) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.listen, "listen", []string{"127.0.0.1:8888", "[::1]:8888"}, "host:port of the webhook; may be repeated")
	f.StringSliceVar(&o.include, "domain-filter", nil, "only names in these domains; may be repeated")
	f.StringSliceVar(&o.exclude, "exclude-domains", nil, "no names in these domains; may be repeated")
	f.StringVar(&o.regexInclude, "regex-domain-filter", "", "only names that this regular expression matches, instead of --domain-filter")
	f.StringVar(&o.regexExclude, "regex-domain-exclusion", "", "no names that this regular expression matches, instead of --exclude-domains")
	f.StringSliceVar(&o.zoneIDs, "zone-id", nil, "only the zone with this id; may be repeated (of two zones with one name, in two pools, it says which is meant)")
	f.StringSliceVar(&o.poolIDs, "pool-id", nil, "only zones in the pool with this id; may be repeated")
	f.BoolVar(&o.allProjects, "all-projects", false, "the zones of all projects, which Designate shows to administrators only")
	f.DurationVar(&o.fullRefresh, "full-refresh", designate.DefaultFullRefresh, "how often, more or less, a zone is read once more although nothing says that it changed; 0 is never")
	f.BoolVar(&o.dryRun, "dry-run", false, "log what would be written, and write nothing (ExternalDNS's own --dry-run does not reach a webhook)")
	f.StringSliceVar(&o.types, "record-types", typeNames(), "types of records that are shown and written; without TXT, ExternalDNS can own none")
	f.BoolVar(&o.floatingIPs, "floating-ips", false, "show and write the PTRs of the project's floating IPs, too, which are in no zone of the project")
	f.IntVar(&o.minTTL, "min-ttl", 0, "seconds; lower TTLs that are asked for are raised to it, as they are to the cloud's own lowest")
	f.IntVar(&o.concurrency, "concurrency", designate.DefaultConcurrency, "names that are written at once")
	f.IntVar(&o.zoneConcurrency, "zone-concurrency", designate.DefaultZoneConcurrency, "names of one zone that are written at once")
	f.DurationVar(&o.deadline, "deadline", designate.DefaultDeadline, "how long one sync goes on beginning writes; below what ExternalDNS waits for (15s)")
}

func (o *designateWebhookOptions) check(*Env) (wrong []error) {
	if len(o.listen) == 0 {
		wrong = append(wrong, errors.New("--listen: an address is needed"))
	}
	for _, address := range o.listen {
		wrong = append(wrong, gather(hostPort("listen", address))...)
	}
	compile := func(flag, text string) *regexp.Regexp {
		if text == "" {
			return nil
		}
		re, err := regexp.Compile(text)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--%s: %w", flag, err))
		}
		return re
	}
	o.compiledInclude = compile("regex-domain-filter", o.regexInclude)
	o.compiledExclude = compile("regex-domain-exclusion", o.regexExclude)
	if o.regexInclude+o.regexExclude != "" && len(o.include)+len(o.exclude) > 0 {
		wrong = append(wrong, errors.New("--domain-filter, --exclude-domains: they can't be combined with --regex-domain-filter and --regex-domain-exclusion"))
	}
	wrong = append(wrong, gather(between("concurrency", o.concurrency, 1, 100), between("zone-concurrency", o.zoneConcurrency, 1, 100))...)
	wrong = append(wrong, gather(between("min-ttl", o.minTTL, 0, math.MaxInt32))...)
	if o.deadline < time.Second || o.deadline > 5*time.Minute {
		wrong = append(wrong, fmt.Errorf("--deadline: %v is not between 1s and 5m", o.deadline))
	}
	if o.fullRefresh != 0 && o.fullRefresh < time.Minute {
		wrong = append(wrong, fmt.Errorf("--full-refresh: %v is neither 0 nor at least 1m", o.fullRefresh))
	}
	wrong = append(wrong, checkIDs("zone-id", o.zoneIDs, "openstack zone list")...)
	wrong = append(wrong, checkIDs("pool-id", o.poolIDs, "openstack zone list --long")...)
	wrong = append(wrong, o.checkTypes()...)
	if o.floatingIPs && !slices.Contains(o.types, string(designate.PTR)) {
		wrong = append(wrong, errors.New("--floating-ips: --record-types has no PTR"))
	}
	return wrong
}

// checkIDs makes ids lower case and refuses what is none.
func checkIDs(flag string, ids []string, shownBy string) (wrong []error) {
	for i, text := range ids {
		id, ok := openstack.ParseUUID(strings.TrimSpace(text))
		if !ok {
			wrong = append(wrong, fmt.Errorf("--%s: %q is no id; `%s` shows them", flag, text, shownBy))
		}
		ids[i] = id
	}
	return wrong
}

// checkTypes makes the record types capitals and refuses those that there are not.
func (o *designateWebhookOptions) checkTypes() (wrong []error) {
	if len(o.types) == 0 {
		return []error{errors.New("--record-types: a type is needed")}
	}
	for i, name := range o.types {
		o.types[i] = strings.ToUpper(strings.TrimSpace(name))
		if !slices.Contains(typeNames(), o.types[i]) {
			wrong = append(wrong, fmt.Errorf("--record-types: %q is not one of %s", name, strings.Join(typeNames(), ", ")))
		}
	}
	return wrong
}

func typeNames() []string {
	var names []string
	for _, t := range designate.Types() {
		names = append(names, string(t))
	}
	return names
}

func (o *designateWebhookOptions) recordTypes() []designate.Type {
	var types []designate.Type
	for _, name := range o.types {
		types = append(types, designate.Type(name))
	}
	return types
}

// filter is the domain filter as ExternalDNS knows it.
func (o *designateWebhookOptions) filter() *externaldns.Filter {
	if o.compiledInclude != nil || o.compiledExclude != nil {
		return externaldns.NewRegexFilter(o.compiledInclude, o.compiledExclude)
	}
	return externaldns.NewFilter(o.include, o.exclude)
}

func (o *designateWebhookOptions) run(ctx context.Context, p *process) error {
	filter := o.filter()
	service := designate.New(p.session(), designate.Options{
		WantZone: filter.MatchZone, WantName: filter.Match, DryRun: o.dryRun, Concurrency: o.concurrency, ZoneConcurrency: o.zoneConcurrency,
		ZoneIDs: o.zoneIDs, PoolIDs: o.poolIDs, AllProjects: o.allProjects, FullRefresh: cmp.Or(o.fullRefresh, -1),
		Deadline: o.deadline, Types: o.recordTypes(), MinTTL: o.minTTL, FloatingIPs: o.floatingIPs, Logger: p.logger, Registerer: p.registry,
	})
	handler, err := externaldns.NewHandler(externaldns.Options{Provider: service, Filter: filter, Logger: p.logger, Registerer: p.registry})
	if err != nil {
		return err
	}
	listeners, err := listenAll(ctx, p.logger, o.listen)
	if err != nil {
		return err
	}
	login := p.loginKeeper()
	parts := []run.Part{login.part(), readAhead(login, service), {Name: "tracker", Run: service.Track}}
	for _, listener := range listeners {
		parts = append(parts, run.Part{Name: "webhook on " + listener.Addr().String(), Run: func(ctx context.Context) error {
			return httpserver.Serve(ctx, listener, handler, httpserver.Options{Logger: p.logger, Drain: p.common.drain, Answer: 2*o.deadline + 2*time.Minute})
		}})
	}
	return p.serve(ctx, login.ready, parts...)
}

// readAhead reads the zones once there is a login, unless ExternalDNS asks for them at once, and ends what is read in the background.
func readAhead(login *loginKeeper, service *designate.Service) run.Part {
	return run.Part{Name: "reading ahead", Run: func(ctx context.Context) error {
		defer service.Close()
		pause := poll.Backoff{First: time.Second / 4, Max: time.Second / 4, Factor: 1}
		err := poll.Until(ctx, pause, func(context.Context) (bool, error) { return login.ready() == nil, nil })
		if err == nil && poll.Sleep(ctx, pause.First) == nil && service.Prefetch(ctx) == nil {
			<-ctx.Done()
		}
		return nil // it was told to stop
	}}
}

// listenAll listens on every address. One that this machine does not have, such as [::1] without IPv6, is left out with a warning as long as
// another is left.
func listenAll(ctx context.Context, logger *slog.Logger, addresses []string) ([]net.Listener, error) {
	var listeners []net.Listener
	var missing []error
	for _, address := range addresses {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		switch {
		case err == nil:
			logger.InfoContext(ctx, "webhook listens", slog.String("address", listener.Addr().String()))
			listeners = append(listeners, listener)
		case addressMissing(err):
			logger.WarnContext(ctx, "this machine does not have the address, going on without it", slog.String("address", address), slog.Any("error", err))
			missing = append(missing, fmt.Errorf("--listen: %w", err))
		default:
			for _, l := range listeners {
				err = errors.Join(err, l.Close())
			}
			return nil, fmt.Errorf("--listen: %w", err)
		}
	}
	if len(listeners) == 0 {
		return nil, errors.Join(missing...)
	}
	return listeners, nil
}

func addressMissing(err error) bool {
	return slices.ContainsFunc([]error{syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT}, func(e error) bool { return errors.Is(err, e) })
}
