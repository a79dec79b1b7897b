package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
	"mooring/tests/peer/process"
)

const (
	zoneName  = "demo.test."
	clusterID = "demo-cluster"
)

// stage is where the demo plays: the cloud, the processes, the sockets.
type stage struct {
	*transcript

	dir, mooring string
	clouds       string // path of clouds.yaml
	cloudURL     string
	dnsAddr      string
	cloud        *process.Process
	modes        []*mode
	pool         *openstack.Pool
	tenant       *openstack.Session
	keyID        string
}

// mode is one of mooring's processes.
type mode struct {
	name             string
	args             []string
	network, address string
	process          *process.Process
	listening        time.Duration
	rss              int64
}

func (s *stage) socket(name string) string { return filepath.Join(s.dir, name+".sock") }

// startCloud starts the simulator and makes what a tenant has before mooring comes: a key and a zone.
func (s *stage) startCloud(ctx context.Context, simulator string) error {
	s.clouds = filepath.Join(s.dir, "clouds.yaml")
	err := s.step("openstack-sim starts", func() (note string, err error) {
		s.cloud, err = process.Start(ctx, "openstack-sim", simulator, nil, "--clouds-file", s.clouds, "--delay", "300ms", "--verbose",
			"--application-credentials", "manila-controller,manila-node,barbican-kms,designate-webhook")
		if err != nil {
			return "", err
		}
		line, err := s.cloud.Said(ctx, "OpenStack at ")
		if err != nil {
			return "", err
		}
		if _, err := fmt.Sscanf(line, "OpenStack at %s DNS at %s", &s.cloudURL, &s.dnsAddr); err != nil {
			return "", fmt.Errorf("%q: %w", line, err)
		}
		s.cloudURL = strings.TrimSuffix(strings.TrimSuffix(s.cloudURL, ","), "/identity/v3")
		return s.cloudURL + ", DNS at " + s.dnsAddr, nil
	})
	if err != nil {
		return err
	}
	source := openstack.Source{Cloud: "demo", CloudsFile: s.clouds, ReadFile: os.ReadFile, LookupEnv: func(string) (string, bool) { return "", false }}
	credential, err := source.Load()
	if err != nil {
		return err
	}
	s.pool = openstack.NewPool(openstack.Options{UserAgent: "mooring-demo"})
	s.tenant = s.pool.Session(credential)
	if err := s.step("the tenant orders an AES-256 key from Barbican", func() (string, error) { return s.orderKey(ctx) }); err != nil {
		return err
	}
	return s.step("the tenant makes a zone in Designate", func() (string, error) { return zoneName, s.makeZone(ctx) })
}

func (s *stage) orderKey(ctx context.Context) (note string, err error) {
	client, err := s.tenant.Client(ctx, openstack.KeyManager)
	if err != nil {
		return "", err
	}
	var order struct {
		OrderRef  string `json:"order_ref"`
		Status    string `json:"status"`
		SecretRef string `json:"secret_ref"`
	}
	body := map[string]any{"type": "key", "meta": map[string]any{
		"name": "kek", "algorithm": "aes", "bit_length": 256, "mode": "cbc", "payload_content_type": "application/octet-stream",
	}}
	resp, err := client.Post(ctx, client.ServiceURL("orders"), body, &order, &gophercloud.RequestOpts{OkCodes: []int{http.StatusAccepted}})
	if err != nil {
		return "", openstack.Wrap(err)
	}
	_ = resp.Body.Close()
	url := client.ServiceURL("orders", filepath.Base(order.OrderRef))
	for order.Status != "ACTIVE" {
		if err := poll.Sleep(ctx, 50*time.Millisecond); err != nil {
			return "", err
		}
		resp, err := client.Get(ctx, url, &order, nil)
		if err != nil {
			return "", openstack.Wrap(err)
		}
		_ = resp.Body.Close()
		if order.Status == "ERROR" {
			return "", errors.New("the order failed")
		}
	}
	s.keyID = filepath.Base(order.SecretRef)
	return "secret " + s.keyID, nil
}

func (s *stage) makeZone(ctx context.Context) error {
	client, err := s.tenant.Client(ctx, openstack.DNS)
	if err != nil {
		return err
	}
	resp, err := client.Post(ctx, client.ServiceURL("zones"), map[string]any{"name": zoneName, "email": "hostmaster@demo.test"}, nil, nil)
	if err != nil {
		return openstack.Wrap(err)
	}
	return resp.Body.Close()
}

// startModes starts mooring four times.
func (s *stage) startModes(ctx context.Context) error {
	s.modes = []*mode{
		{name: "manila-controller", network: "unix", args: []string{"--cluster-id", clusterID}},
		{name: "manila-node", network: "unix", args: []string{"--node-id", "demo-node"}},
		{name: "barbican-kms", network: "unix", args: []string{"--key-id", s.keyID, "--cluster-id", clusterID}},
		{name: "designate-webhook", network: "tcp", args: []string{"--domain-filter", strings.TrimSuffix(zoneName, ".")}},
	}
	for _, m := range s.modes {
		if err := s.step("mooring "+m.name, func() (string, error) { return s.startMode(ctx, m) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) startMode(ctx context.Context, m *mode) (note string, err error) {
	args := append([]string{m.name, "--os-cloud", m.name, "--clouds-file", s.clouds, "--log-level", "debug"}, m.args...)
	if m.network == "unix" {
		m.address = s.socket(m.name)
		args = append(args, "--endpoint", "unix://"+m.address)
	} else {
		if m.address, err = freePort(ctx); err != nil {
			return "", err
		}
		args = append(args, "--listen", m.address)
	}
	if m.process, err = process.Start(ctx, m.name, s.mooring, nil, args...); err != nil {
		return "", err
	}
	if m.listening, err = m.process.Listening(ctx, m.network, m.address); err != nil {
		return "", err
	}
	return fmt.Sprintf("listens after %.3f s", m.listening.Seconds()), nil
}

func (s *stage) mode(name string) *mode {
	for _, m := range s.modes {
		if m.name == name {
			return m
		}
	}
	panic("demo: no mode " + name)
}

// calls is what the cloud has been asked since since.
func (s *stage) calls(ctx context.Context, since time.Time) ([]openstacksim.Call, error) {
	var calls, out []openstacksim.Call
	if err := s.control(ctx, "calls", &calls); err != nil {
		return nil, err
	}
	for _, c := range calls {
		if c.Time.After(since) {
			out = append(out, c)
		}
	}
	return out, nil
}

func (s *stage) control(ctx context.Context, what string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cloudURL+"/simulator/"+what, http.NoBody)
	if err != nil {
		return err
	}
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return errors.Join(json.NewDecoder(resp.Body).Decode(into), resp.Body.Close())
}

// close ends what still runs and keeps the logs where they are wanted.
func (s *stage) close(logs string) error {
	var errs []error
	for _, m := range s.modes {
		if m.process != nil {
			m.process.Kill()
			errs = append(errs, keep(logs, m.process))
		}
	}
	if s.cloud != nil {
		s.cloud.Kill()
		errs = append(errs, keep(logs, s.cloud))
	}
	if s.pool != nil {
		s.pool.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func keep(dir string, p *process.Process) error {
	if dir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, p.Name+".log"), []byte(p.Output()), 0o600)
}
