package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
	"mooring/tests/peer/kmsplugin"
	"mooring/tests/peer/process"
)

// rarely are flags for figures that no poll may disturb.
func rarely() []string { return []string{"--poll-interval=1h", "--activation-delay=2h"} }

func measureKMS(ctx context.Context, b *bench) error {
	for _, measure := range []func(context.Context, *bench) error{measureKMSCalls, measureKMSIdle, measureKMSRestart} {
		if err := measure(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// withKeyring makes a cloud with a keyring of one key, and runs the plugin on it until do has ended.
func withKeyring(ctx context.Context, b *bench, flags []string, do func(ctx context.Context, c *kmsplugin.Cloud, p *kmsplugin.Plugin) error) (err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := kmsplugin.NewCloud(ctx, dir)
	if err != nil {
		return err
	}
	defer c.Close()
	key, err := c.AddKey(ctx, 1)
	if err != nil {
		return err
	}
	p, err := c.Start(ctx, b.mooring, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	if err := p.Active(ctx, key); err != nil {
		return err
	}
	return do(ctx, c, p)
}

// operation is one call of KMS v2, ready to be made.
type operation struct {
	name string
	call func(ctx context.Context, client kmsapi.KeyManagementServiceClient) error
}

// operations are what is compared; the first one does nothing but answer.
func operations(ctx context.Context, client kmsapi.KeyManagementServiceClient) ([]operation, error) {
	seed := make([]byte, 32)
	wrapped, err := client.Encrypt(ctx, &kmsapi.EncryptRequest{Plaintext: seed, Uid: "bench"})
	if err != nil {
		return nil, err
	}
	status, encrypt := &kmsapi.StatusRequest{}, &kmsapi.EncryptRequest{Plaintext: seed, Uid: "bench"}
	decrypt := &kmsapi.DecryptRequest{Ciphertext: wrapped.GetCiphertext(), KeyId: wrapped.GetKeyId(), Uid: "bench"}
	return []operation{
		{"status", func(ctx context.Context, client kmsapi.KeyManagementServiceClient) error {
			_, err := client.Status(ctx, status)
			return err
		}},
		{"encrypt", func(ctx context.Context, client kmsapi.KeyManagementServiceClient) error {
			_, err := client.Encrypt(ctx, encrypt)
			return err
		}},
		{"decrypt", func(ctx context.Context, client kmsapi.KeyManagementServiceClient) error {
			_, err := client.Decrypt(ctx, decrypt)
			return err
		}},
	}, nil
}

// measureKMSCalls times calls with 1 and 64 clients. The floor is a gRPC server in a process of its own, on a unix socket as the
// plugin is, that answers Status with nothing around it.
func measureKMSCalls(ctx context.Context, b *bench) error {
	return withKeyring(ctx, b, rarely(), func(ctx context.Context, c *kmsplugin.Cloud, p *kmsplugin.Plugin) (err error) {
		ops, err := operations(ctx, p)
		if err != nil {
			return err
		}
		floor, stop, err := startFloor(ctx, c.Socket()+".floor")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		c.Calls.Reset()
		one, err := times(ctx, []kmsapi.KeyManagementServiceClient{p}, []kmsapi.KeyManagementServiceClient{floor[0]}, ops)
		if err != nil {
			return err
		}
		clients, closeAll, err := dialMany(c.Socket())
		if err != nil {
			return err
		}
		defer closeAll()
		many, err := times(ctx, clients, floor, ops)
		if err != nil {
			return err
		}
		peak, err := p.PeakRSS()
		calls := c.Calls.Count()
		return errors.Join(err,
			b.kmsTimes("", one), b.kmsTimes("_64", many),
			b.record("kms.warm_ops.barbican_calls", float64(calls), "calls"),
			b.record("kms.load_64.rss_mib", float64(peak)/(1<<20), "MiB"))
	})
}

// kmsTimes records the times of calls, and what they are beside Status.
func (b *bench) kmsTimes(suffix string, t map[string]series) error {
	errs := []error{
		b.record("kms.grpc_floor"+suffix+".p50_us", micros(t["floor"].median()), "µs"),
		b.record("kms.status"+suffix+".p50_us", micros(t["status"].median()), "µs"),
	}
	for _, name := range []string{"encrypt", "decrypt"} {
		errs = append(errs,
			b.record("kms."+name+suffix+".p50_us", micros(t[name].median()), "µs"),
			b.record("kms."+name+suffix+".p50_over_status"+suffix, t[name].over(t["status"]), "times"))
	}
	return errors.Join(errs...)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// series is the median time of a call in each of several rounds.
type series []time.Duration

func (s series) median() time.Duration { return median(s) }

// over is the median of what the rounds say of two series: in a round both had the same machine.
func (s series) over(other series) float64 {
	ratios := make([]float64, len(s))
	for i := range s {
		ratios[i] = float64(s[i]) / float64(other[i])
	}
	return median(ratios)
}

func median[T time.Duration | float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// times runs rounds. In each, every operation has its turn several times, all clients at once, so that what else the machine does
// hits all of them alike.
func times(ctx context.Context, clients, floor []kmsapi.KeyManagementServiceClient, ops []operation) (map[string]series, error) {
	const (
		rounds = 15
		turns  = 8
		calls  = 2000 // of all clients in a turn's eight
	)
	ops = append([]operation{{"floor", ops[0].call}}, ops...)
	out := map[string]series{}
	each := max(calls/turns/len(clients), 4)
	for round := range rounds + 1 {
		took := map[string][]time.Duration{}
		for turn := range turns * len(ops) {
			op, to := ops[turn%len(ops)], clients
			if op.name == "floor" {
				to = floor
			}
			more, err := crowd(ctx, to, each, op)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", op.name, err)
			}
			took[op.name] = append(took[op.name], more...)
		}
		if round == 0 {
			continue // connections are made, caches filled
		}
		for name, all := range took {
			out[name] = append(out[name], median(all))
		}
	}
	return out, nil
}

// crowd has every client make calls, one after the other, and times each.
func crowd(ctx context.Context, clients []kmsapi.KeyManagementServiceClient, calls int, op operation) ([]time.Duration, error) {
	took := make([]time.Duration, calls*len(clients))
	var group errgroup.Group
	for i, client := range clients {
		group.Go(func() error {
			for j := range calls {
				begin := time.Now()
				if err := op.call(ctx, client); err != nil {
					return err
				}
				took[i*calls+j] = time.Since(begin)
			}
			return nil
		})
	}
	return took, group.Wait()
}

const crowdOfClients = 64

// dialMany makes clients with a connection each.
func dialMany(socket string) (clients []kmsapi.KeyManagementServiceClient, closeAll func(), err error) {
	var conns []*grpc.ClientConn
	closeAll = func() {
		for _, conn := range conns {
			_ = conn.Close() // its only error is that it is closed
		}
	}
	for range crowdOfClients {
		conn, err := kmsplugin.Dial(socket)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		conns = append(conns, conn)
		clients = append(clients, kmsapi.NewKeyManagementServiceClient(conn))
	}
	return clients, closeAll, nil
}

// startFloor starts this program again as the floor.
func startFloor(ctx context.Context, socket string) (clients []kmsapi.KeyManagementServiceClient, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	p, err := process.Start(ctx, "floor", self, nil, "-floor="+socket)
	if err != nil {
		return nil, nil, err
	}
	if _, err := p.Listening(ctx, "unix", socket); err != nil {
		p.Kill()
		return nil, nil, err
	}
	clients, closeAll, err := dialMany(socket)
	if err != nil {
		p.Kill()
		return nil, nil, err
	}
	return clients, func() error {
		closeAll()
		_, err := p.Stop(15 * time.Second)
		return err
	}, nil
}

// measureKMSIdle counts what a plugin that nobody asks costs: calls between the first and the last poll of a while, and memory.
func measureKMSIdle(ctx context.Context, b *bench) error {
	const interval, while = time.Second, 8 * time.Second
	return withKeyring(ctx, b, []string{"--poll-interval=1s", "--activation-delay=2s"}, func(ctx context.Context, c *kmsplugin.Cloud, p *kmsplugin.Plugin) error {
		c.Calls.Reset()
		if err := poll.Sleep(ctx, while); err != nil {
			return err
		}
		calls := c.Calls.All()
		peak, err := p.PeakRSS()
		if err != nil {
			return err
		}
		if len(calls) < 2 {
			return fmt.Errorf("%d calls in %v: it does not poll", len(calls), while)
		}
		polls := calls[len(calls)-1].Time.Sub(calls[0].Time).Seconds() / interval.Seconds()
		return errors.Join(
			b.record("kms.idle.calls_per_poll", float64(len(calls)-1)/polls, "calls"),
			b.record("kms.idle.rss_mib", float64(peak)/(1<<20), "MiB"))
	})
}

// measureKMSRestart starts the plugin while Keystone and Barbican are away, and times its answers then, and the first good one after
// their return. Each is the worst of several.
func measureKMSRestart(ctx context.Context, b *bench) error {
	const times, away = 3, 6 * time.Second // by then it tries at its slowest
	return withKeyring(ctx, b, rarely(), func(ctx context.Context, c *kmsplugin.Cloud, p *kmsplugin.Plugin) error {
		ops, err := operations(ctx, p)
		if err := errors.Join(err, p.Stop()); err != nil {
			return err
		}
		var slowest, served time.Duration
		for range times {
			answer, first, err := restartInOutage(ctx, b, c, ops, away)
			if err != nil {
				return err
			}
			slowest, served = max(slowest, answer), max(served, first)
		}
		return errors.Join(
			b.record("kms.restart_in_outage.answer_p50_ms", float64(slowest)/float64(time.Millisecond), "ms"),
			b.record("kms.restart_in_outage.first_serve_seconds", served.Seconds(), "seconds"))
	})
}

func restartInOutage(ctx context.Context, b *bench, c *kmsplugin.Cloud, ops []operation, away time.Duration) (answer, first time.Duration, err error) {
	back := c.Faults.Add(openstacksim.Fault{Drop: true})
	defer back()
	p, err := c.Start(ctx, b.mooring, rarely()...)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	var took []time.Duration
	for end := time.Now().Add(away); time.Now().Before(end); {
		for _, op := range ops {
			begin := time.Now()
			if op.call(ctx, p) == nil {
				return 0, 0, fmt.Errorf("%s: it has a key while the cloud is away", op.name)
			}
			took = append(took, time.Since(begin))
		}
		if err := poll.Sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, 0, err
		}
	}
	back()
	begin := time.Now()
	for ops[0].call(ctx, p) != nil {
		if err := poll.Sleep(ctx, time.Millisecond); err != nil {
			return 0, 0, err
		}
	}
	return median(took), time.Since(begin), nil
}
