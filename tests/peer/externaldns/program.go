package externaldns

import (
	"context"
	"encoding/gob"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"

	"sigs.k8s.io/external-dns/endpoint"

	"mooring/tests/peer/process"
)

// Source is what ExternalDNS's own program asks for wanted endpoints when it has no Kubernetes: its source "connector", a TCP server that
// sends a list in Go's own encoding and closes.
type Source struct {
	listener net.Listener
	stopped  chan struct{}

	mu     sync.Mutex
	wanted []*endpoint.Endpoint
	asked  int
}

// NewSource listens on a port of loopback.
func NewSource(ctx context.Context) (*Source, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Source{listener: listener, stopped: make(chan struct{})}
	go s.serve()
	return s, nil
}

func (s *Source) serve() {
	defer close(s.stopped)
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		s.asked++
		_ = gob.NewEncoder(conn).Encode(s.wanted) // ExternalDNS may have ended
		s.mu.Unlock()
		_ = conn.Close() // nothing can be lost any more
	}
}

// Want replaces the wanted endpoints.
func (s *Source) Want(endpoints ...*endpoint.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = endpoints
}

// Turns is how often ExternalDNS has asked: it does so once in each turn in which it could read the records.
func (s *Source) Turns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Close stops listening.
func (s *Source) Close() error {
	err := s.listener.Close()
	<-s.stopped
	return err
}

// errNoProgram is returned when there is no external-dns on this machine.
var errNoProgram = errors.New(`there is no external-dns: "make external-dns" builds it, in minutes`)

// Program finds ExternalDNS's own program in a directory of programs (MOORING_BIN) or in the lab's (LAB_DIR).
func Program() (string, error) {
	for _, dir := range []string{os.Getenv("MOORING_BIN"), filepath.Join(os.Getenv("LAB_DIR"), "cache", "bin")} {
		program := filepath.Join(dir, "external-dns")
		if info, err := os.Stat(program); dir != "" && err == nil && info.Mode().IsRegular() {
			return program, nil
		}
	}
	return "", errNoProgram
}

// Start runs ExternalDNS's own program with the recommended settings, a turn every second, and policy sync.
func Start(ctx context.Context, program, webhook, owner string, source *Source) (*process.Process, error) {
	settings := Recommended(owner)
	return process.Start(ctx, "external-dns", program, nil, "--source=connector", "--connector-source-server="+source.listener.Addr().String(),
		"--provider=webhook", "--webhook-provider-url="+webhook, "--policy=sync", "--registry=txt", "--txt-owner-id="+settings.Owner,
		"--txt-prefix="+settings.Prefix, "--txt-wildcard-replacement="+settings.Wildcard, "--interval=1s", "--metrics-address=127.0.0.1:0", "--log-format=json")
}
