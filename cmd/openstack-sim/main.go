// Command openstack-sim runs a simulated OpenStack on a loopback address: Keystone, Manila, Barbican, Designate and a DNS
// server. It writes a clouds.yaml, which the openstack client and mooring can use, and runs until it is told to stop.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"mooring/pkg/openstack/openstacksim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "openstack-sim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("openstack-sim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:0", "loopback `host:port` of the HTTP listener")
	dns := flags.String("dns-listen", "127.0.0.1:0", "loopback `host:port` of the DNS server")
	file := flags.String("clouds-file", "clouds.yaml", "`path` of the clouds.yaml to write; secrets are in it, so only you can read it")
	delay := flags.Duration("delay", 500*time.Millisecond, "how long asynchronous steps take (a share until it is available, a record until it is active)")
	credentials := flags.String("application-credentials", "", "comma-separated `names` of more application credentials of the tenant demo, each a cloud in clouds.yaml")
	verbose := flags.Bool("verbose", false, "log each call")
	if err := flags.Parse(args); err != nil {
		return err
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	d := *delay
	cloud, err := openstacksim.Start(openstacksim.Config{ //nolint:contextcheck // a cloud has a life of its own, which Close ends
		Listen: *listen,
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
		Manila: openstacksim.ManilaConfig{Delays: openstacksim.ManilaDelays{
			Create: d, CreateFromSnapshot: d, Delete: d, Extend: d, Shrink: d, Grant: d, Deny: d, Snapshot: d, SnapshotDelete: d,
		}},
		Barbican:  openstacksim.BarbicanConfig{OrderDelay: d},
		Designate: openstacksim.DesignateConfig{Delay: d, DNSListen: *dns},
	})
	if err != nil {
		return err
	}
	defer cloud.Close()
	for name := range strings.SplitSeq(*credentials, ",") {
		if name != "" {
			cloud.Keystone.AddApplicationCredential(name, "demo", "demo", time.Time{})
		}
	}
	if err := os.WriteFile(*file, cloud.CloudsYAML(), 0o600); err != nil {
		return err
	}
	if err := os.Chmod(*file, 0o600); err != nil { // it may have been there with another mode
		return err
	}
	_, err = fmt.Fprintf(stdout, "OpenStack at %s, DNS at %s\nexport OS_CLIENT_CONFIG_FILE=%s OS_CLOUD=demo\n", cloud.AuthURL(), cloud.Designate.DNSAddr(), *file)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
