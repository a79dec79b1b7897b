// Command demo is mooring's first run: it starts a simulated OpenStack and the four modes as processes of their own, and
// plays the other side with the real clients: CSI calls as the sidecars and kubelet make them, kube-apiserver's own envelope
// encryption, ExternalDNS's own webhook client and registry, a DNS query. It needs neither root nor a network.
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

func main() {
	mooring := flag.String("mooring", "bin/mooring", "`path` of mooring")
	simulator := flag.String("simulator", "bin/openstack-sim", "`path` of openstack-sim")
	logs := flag.String("logs", "", "`directory` that gets everything the processes logged; empty: they are not kept")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	err := run(ctx, newTranscript(os.Stdout), *mooring, *simulator, *logs)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run plays the whole demo.
func run(ctx context.Context, t *transcript, mooring, simulator, logs string) (err error) {
	dir, err := os.MkdirTemp("", "mooring-demo-")
	if err != nil {
		return err
	}
	s := &stage{transcript: t, dir: dir, mooring: mooring}
	defer func() { err = errors.Join(err, s.close(logs)) }()

	t.title("A cloud")
	if err := s.startCloud(ctx, simulator); err != nil {
		return err
	}
	t.title("Four modes of mooring, a process and a credential each")
	if err := s.startModes(ctx); err != nil {
		return err
	}
	for _, act := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"Storage: CSI, as external-provisioner and kubelet call it", s.storage},
		{"Keys: KMS v2, through kube-apiserver's own envelope encryption", s.keys},
		{"Names: a webhook, through ExternalDNS's own client, plan and TXT registry", s.names},
		{"The end: SIGTERM, and what was seen", s.finish},
	} {
		t.title(act.title)
		if err := act.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", act.title, err)
		}
	}
	t.summary()
	return nil
}
