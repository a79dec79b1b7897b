// Package kmsplugin runs the KMS plugin as an operator does, as a process of its own, on a simulated cloud that has a keyring.
package kmsplugin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
	"mooring/tests/peer/process"
)

// octets is the content type of a key.
const octets = "application/octet-stream"

// Cloud is a simulated cloud with a keyring, seen by the plugin's user.
type Cloud struct {
	*openstacksim.Cloud

	Keyring     string   // the container's UUID
	Environment []string // of plugins, as NAME=value

	dir    string
	client *gophercloud.ServiceClient
	pool   *openstack.Pool
}

// NewCloud starts a cloud with an empty keyring. What it and its plugins need of files is in dir. Close it.
func NewCloud(ctx context.Context, dir string) (*Cloud, error) {
	sim, err := openstacksim.Start(openstacksim.Config{}) //nolint:contextcheck // a cloud has a life of its own, which Close ends
	if err != nil {
		return nil, err
	}
	c := &Cloud{Cloud: sim, dir: dir, pool: openstack.NewPool(openstack.Options{})}
	if err := c.prepare(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cloud) prepare(ctx context.Context) error {
	if err := os.WriteFile(c.cloudsFile(), c.CloudsYAML(), 0o600); err != nil {
		return err
	}
	none := func(string) (string, bool) { return "", false }
	credential, err := openstack.Source{Cloud: "demo", CloudsFile: c.cloudsFile(), LookupEnv: none, ReadFile: os.ReadFile}.Load()
	if err != nil {
		return err
	}
	if c.client, err = c.pool.Session(credential).Client(ctx, openstack.KeyManager); err != nil {
		return err
	}
	made, err := containers.Create(ctx, c.client, containers.CreateOpts{Name: "keyring", Type: containers.GenericContainer}).Extract()
	if err != nil {
		return err
	}
	c.Keyring = path.Base(made.ContainerRef)
	return nil
}

// Close ends the cloud.
func (c *Cloud) Close() {
	c.pool.Close()
	c.Cloud.Close()
}

func (c *Cloud) cloudsFile() string { return filepath.Join(c.dir, "clouds.yaml") }

// Socket is where the plugin listens.
func (c *Cloud) Socket() string { return filepath.Join(c.dir, "kms.sock") }

// Endpoint is the socket as flags and an EncryptionConfiguration have it.
func (c *Cloud) Endpoint() string { return "unix://" + c.Socket() }

// AddKey makes a key of random bytes and puts it into the keyring.
func (c *Cloud) AddKey(ctx context.Context, generation uint64) (barbican.KeyRef, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	made, err := secrets.Create(ctx, c.client, secrets.CreateOpts{
		Name: "key", Payload: base64.StdEncoding.EncodeToString(key), PayloadContentType: octets, PayloadContentEncoding: "base64",
		Algorithm: "aes", BitLength: 8 * len(key), SecretType: secrets.SymmetricSecret,
	}).Extract()
	if err != nil {
		return barbican.KeyRef{}, err
	}
	ref := barbican.KeyRef{Secret: path.Base(made.SecretRef), Generation: generation}
	entry := containers.SecretRef{Name: barbican.EntryName(generation, time.Time{}), SecretRef: made.SecretRef}
	return ref, containers.CreateSecretRef(ctx, c.client, c.Keyring, entry).Err
}

// Plugin is one that runs.
type Plugin struct {
	*process.Process
	kmsapi.KeyManagementServiceClient // on one connection

	conn *grpc.ClientConn
}

// Start starts `mooring barbican-kms` on the keyring and waits until it listens, which is before it has a key. Flags are given
// besides those that are needed, or again.
func (c *Cloud) Start(ctx context.Context, mooring string, flags ...string) (*Plugin, error) {
	args := slices.Concat([]string{
		"barbican-kms", "--os-cloud=demo", "--clouds-file=" + c.cloudsFile(), "--cluster-id=c", "--keyring=" + c.Keyring, "--endpoint=" + c.Endpoint(),
	}, flags)
	p, err := process.Start(ctx, "barbican-kms", mooring, c.Environment, args...)
	if err != nil {
		return nil, err
	}
	if _, err := p.Listening(ctx, "unix", c.Socket()); err != nil {
		p.Kill()
		return nil, err
	}
	conn, err := Dial(c.Socket())
	if err != nil {
		p.Kill()
		return nil, err
	}
	return &Plugin{Process: p, KeyManagementServiceClient: kmsapi.NewKeyManagementServiceClient(conn), conn: conn}, nil
}

// Dial makes a connection to a KMS plugin, as kube-apiserver has one.
func Dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
}

// Active waits until Status says that this key is the active one.
func (p *Plugin) Active(ctx context.Context, ref barbican.KeyRef) error {
	for {
		s, err := p.Status(ctx, &kmsapi.StatusRequest{})
		if err == nil && s.GetHealthz() == "ok" && s.GetKeyId() == ref.KeyID() {
			return nil
		}
		if poll.Sleep(ctx, 2*time.Millisecond) != nil {
			return fmt.Errorf("%s did not become active: Status says %v, %w; the plugin says: %s", ref.KeyID(), s, err, p.Output())
		}
	}
}

var errExit = errors.New("the plugin did not end well")

// Stop ends it with SIGTERM. It may be called again.
func (p *Plugin) Stop() error {
	code, err := p.Process.Stop(15 * time.Second)
	if err == nil && code != 0 {
		err = fmt.Errorf("%w: exit code %d: %s", errExit, code, p.Output())
	}
	_ = p.conn.Close() // it may be closed
	return err
}
