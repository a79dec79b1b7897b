// Package instance finds out what Nova says of the server that the process runs on: its availability zone. It asks a config drive
// that somebody has mounted, and Nova's metadata service. Neither needs a login.
package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"mooring/pkg/poll"
)

// MetadataURL is Nova's metadata service, the same address in every cloud.
const MetadataURL = "http://169.254.169.254"

// document is the path of the server's description, on a config drive and at the metadata service alike (nova/api/metadata).
const document = "openstack/latest/meta_data.json"

const (
	longest = 1 << 20 // bytes of a document: user data is not in it
	bound   = 5 * time.Second
)

// Options say where to look.
type Options struct {
	// ConfigDrive is the directory where a config drive (the file system labelled config-2) is mounted; empty: there is none.
	ConfigDrive string
	// ReadFile reads a file of the config drive; nil: there is none.
	ReadFile func(path string) ([]byte, error)
	// MetadataURL is the service's base; empty is MetadataURL.
	MetadataURL string
	// HTTP makes the calls; nil is a client that goes to link-local addresses alone, through no proxy.
	HTTP *http.Client
	// Retry is how often to ask again; zero means from 0.5 s on, slower and slower up to 30 s.
	Retry  poll.Backoff
	Logger *slog.Logger
}

// Zone is the availability zone of the server, once it is known. Use NewZone.
type Zone struct {
	options Options
	known   chan struct{} // closed when name is set

	mu   sync.Mutex
	name string
	last error // why it is not known yet
}

// NewZone makes a Zone that Run finds out.
func NewZone(o Options) *Zone {
	if o.MetadataURL == "" {
		o.MetadataURL = MetadataURL
	}
	if o.HTTP == nil {
		o.HTTP = linkLocal()
	}
	if o.Retry == (poll.Backoff{}) {
		o.Retry = poll.Backoff{First: 500 * time.Millisecond, Max: 30 * time.Second, Factor: 2}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Zone{options: o, known: make(chan struct{}), last: errors.New("nobody was asked yet")}
}

// Run asks until the zone is known, and then waits for the end of ctx. A server keeps its zone while it runs.
func (z *Zone) Run(ctx context.Context) error {
	defer z.options.HTTP.CloseIdleConnections()
	for n := 0; ; n++ {
		name, from, err := z.ask(ctx)
		if err == nil {
			z.options.Logger.InfoContext(ctx, "the node's availability zone is known", slog.String("zone", name), slog.String("source", from))
			z.set(name)
			<-ctx.Done()
			return nil
		}
		if ctx.Err() != nil {
			return nil // the process ends
		}
		if n == 0 {
			z.options.Logger.WarnContext(ctx, "the node's availability zone is not known yet", slog.Any("error", err))
		}
		z.fail(err)
		if poll.Sleep(ctx, z.options.Retry.Wait(n)) != nil {
			return nil
		}
	}
}

func (z *Zone) set(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.name, z.last = name, nil
	close(z.known)
}

func (z *Zone) fail(err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.last = err
}

// Get waits for the zone until ctx ends; the error then tells why it is not known.
func (z *Zone) Get(ctx context.Context) (string, error) {
	select {
	case <-z.known:
	case <-ctx.Done():
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.name, z.last
}

// ask looks at the config drive and then asks the metadata service.
func (z *Zone) ask(ctx context.Context) (name, from string, err error) {
	var errs []error
	if z.options.ConfigDrive != "" && z.options.ReadFile != nil {
		path := filepath.Join(z.options.ConfigDrive, document)
		b, err := z.options.ReadFile(path)
		if err == nil {
			name, err = Parse(b)
		}
		if err == nil {
			return name, path, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (is the config drive mounted there?)", err)
		}
		errs = append(errs, fmt.Errorf("config drive: %s: %w", path, err))
	}
	address, err := url.JoinPath(z.options.MetadataURL, document)
	if err != nil {
		return "", "", errors.Join(append(errs, err)...)
	}
	if name, err = z.fetch(ctx, address); err != nil {
		return "", "", errors.Join(append(errs, fmt.Errorf("metadata service: %w", err))...)
	}
	return name, address, nil
}

func (z *Zone) fetch(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := z.options.HTTP.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", address, response.Status)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, longest+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	name, err := Parse(b)
	if err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	return name, nil
}

// Parse reads the availability zone in Nova's description of a server (meta_data.json).
func Parse(b []byte) (zone string, err error) {
	if len(b) > longest {
		return "", fmt.Errorf("it has more than %d bytes", longest)
	}
	var described struct {
		Zone string `json:"availability_zone"`
	}
	if err := json.Unmarshal(b, &described); err != nil {
		return "", fmt.Errorf("this is no meta_data.json: %w", err)
	}
	return described.Zone, Check(described.Zone)
}

// Check says why a zone can't be a topology segment. The CSI specification and Kubernetes' labels allow up to 63 letters, digits, "-",
// "_" and ".", the first and the last a letter or a digit.
func Check(zone string) error {
	const most = 63
	alphanumeric := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	switch {
	case zone == "":
		return errors.New("there is no availability zone")
	case len(zone) > most:
		return fmt.Errorf("the availability zone %.70q has more than %d characters, which is the most for the label of a node", zone, most)
	}
	ok := alphanumeric(zone[0]) && alphanumeric(zone[len(zone)-1])
	for i := range len(zone) {
		c := zone[i]
		ok = ok && (alphanumeric(c) || c == '-' || c == '_' || c == '.')
	}
	if !ok {
		return fmt.Errorf("the availability zone %q can't be the label of a node: letters, digits, - _ and . can", zone)
	}
	return nil
}

// linkLocal is a client for link-local addresses alone: no proxy is asked, and no redirect leads elsewhere. Whatever answers is not
// authenticated, and it is believed for a name only.
func linkLocal() *http.Client {
	dialer := &net.Dialer{Timeout: bound, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if !to.Addr().IsLinkLocalUnicast() {
			return fmt.Errorf("%s is no link-local address", to.Addr())
		}
		return nil
	}}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, ResponseHeaderTimeout: bound},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
