// Command bench measures what mooring promises: how many calls something costs, how long it takes, how much memory it holds. It
// prints a table of the figures and their limits, writes each figure as a line of JSON to a file, and fails when a limit is broken.
//
// What is measured is bin/mooring, as a process of its own, through its sockets; the cloud is openstacksim in this process, whose
// call log is what counts calls. Where a mount is needed there is no root and no server to mount from: for the figures of the node
// its gRPC services run in this process, behind a real socket, with the real mounter over mounttest's table of mounts.
//
// # Calls and polls
//
// A figure "without polls" counts the HTTP calls to Manila of one RPC, with a login and a microversion that are there already, less
// its polls. A poll is a GET of the share, its export locations or its access rules after the RPC's first change (POST or DELETE):
// its answer may be "not yet", so how many there are depends on how long the cloud takes. By that the first of them is a poll,
// too, also where the cloud is done at once; what an RPC asks before it changes anything never is. Beside each such figure stands
// how many polls there were, so that nothing hides in the difference. Figures "in all" count everything that reached the cloud,
// logins and version documents included.
//
// # Ratios
//
// A call of the KMS plugin is compared with Status, which does nothing, in the same run: in each of several rounds all calls have
// their turns, many times, one kind after the other, and a ratio is the median of the rounds'. With 64 clients a turn belongs to one
// kind of call, so that none waits in another's queue. The floor beside them is a gRPC server that does nothing, in a process of its own.
//
// GET /records is compared with a server in this process that sends the same bytes over the same loopback, and a sync's writes with the time in
// which a cloud of that latency takes as many at all, as many at once as the webhook makes.
//
// # Limits
//
// A limit on time is measured on the machine at hand, with nothing else of this command running; it is no part of the tests.
// Memory is the peak (VmHWM) and not what is left after it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// suite measures the figures of one plugin.
type suite struct {
	name    string
	measure func(ctx context.Context, b *bench) error
	limits  map[string]limit
	asked   bool // it takes minutes: it runs only when it is named
}

// suites are all there are; objects is how many are scanned.
func suites(objects int) []suite {
	return []suite{
		{name: "csi", measure: measureCSI, limits: csiLimits()},
		{name: "kms", measure: measureKMS, limits: kmsLimits()},
		{name: "dns", measure: measureDNS, limits: dnsLimits()},
		{name: "scan", measure: measureScan, limits: scanLimits(objects), asked: true},
	}
}

// bench is what a suite works with.
type bench struct {
	*figures

	mooring string // path of the program
	objects int    // that are scanned
}

// scanned is how many objects suite scan writes and reads, if no other number is asked for.
const scanned = 1_000_000

// longest is how long a run may take; a suite that writes a million objects first needs most of it.
const longest = 15 * time.Minute

func main() {
	mooring := flag.String("mooring", "bin/mooring", "`path` of mooring")
	out := flag.String("out", "bench.jsonl", "`path` of the file that gets a line of JSON per figure")
	only := flag.String("only", "", "`name` of the one suite to run")
	objects := flag.Int("objects", scanned, "`number` of objects that suite scan writes and reads")
	floor := flag.String("floor", "", "serve gRPC's own floor on the unix socket with this `path`, and measure nothing (suite kms does that)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, longest)
	var err error
	if *floor != "" {
		err = serveFloor(ctx, *floor)
	} else {
		err = run(ctx, &bench{mooring: *mooring, objects: *objects}, *out, *only)
	}
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, b *bench, out, only string) (err error) {
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	all := suites(b.objects)
	b.figures = newFigures(os.Stdout, file, limits(all))
	ran := 0
	for _, s := range all {
		if only != s.name && (only != "" || s.asked) {
			continue
		}
		ran++
		if err := s.measure(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := b.complete(s.limits); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if ran == 0 {
		return fmt.Errorf("there is no suite %q", only)
	}
	return b.broken()
}
