package kms

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"
)

// probeTimeout bounds each call of a probe: kube-apiserver's own default.
const probeTimeout = 3 * time.Second

// ErrProbe says that a plugin answers, but not as KMS v2 wants it.
var ErrProbe = errors.New("the plugin's answer is not right")

// Health is what a plugin says of itself.
type Health struct {
	Version string // "v2"
	Healthz string // "ok", or what is wrong
	KeyID   string
}

// Check is nil for a plugin that kube-apiserver takes for healthy.
func (h Health) Check() error {
	switch {
	case h.Version != version && h.Version != "v2beta1":
		return fmt.Errorf("%w: its version is %.50q", ErrProbe, h.Version)
	case h.Healthz != healthy:
		return fmt.Errorf("%w: it says %.200q", ErrProbe, h.Healthz)
	case h.KeyID == "" || len(h.KeyID) > maxKeyID:
		return fmt.Errorf("%w: its key id has %d bytes", ErrProbe, len(h.KeyID))
	default:
		return nil
	}
}

// Probe asks a plugin as kube-apiserver does.
type Probe struct {
	conn   *grpc.ClientConn
	client kmsapi.KeyManagementServiceClient
}

// Dial makes a probe of the plugin at endpoint, unix:///path/to/socket. It connects with the first call.
func Dial(endpoint string) (*Probe, error) {
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	return &Probe{conn: conn, client: kmsapi.NewKeyManagementServiceClient(conn)}, nil
}

// Close ends the connection.
func (p *Probe) Close() error { return p.conn.Close() }

// Status asks for the plugin's health and active key.
func (p *Probe) Status(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	r, err := p.client.Status(ctx, &kmsapi.StatusRequest{})
	if err != nil {
		return Health{}, fromStatus("Status", err)
	}
	return Health{Version: r.GetVersion(), Healthz: r.GetHealthz(), KeyID: r.GetKeyId()}, nil
}

// RoundTrip wraps 32 random bytes, has them unwrapped, and compares. It returns how long each took and the key id that was used.
func (p *Probe) RoundTrip(ctx context.Context) (keyID string, encrypt, decrypt time.Duration, err error) {
	const seed = 32
	plaintext := make([]byte, seed)
	_, _ = rand.Read(plaintext) // it never fails
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	begin := time.Now()
	wrapped, err := p.client.Encrypt(ctx, &kmsapi.EncryptRequest{Plaintext: plaintext, Uid: "mooring-keys-status"})
	if err != nil {
		return "", 0, 0, fromStatus("Encrypt", err)
	}
	encrypt = time.Since(begin)
	begin = time.Now()
	opened, err := p.client.Decrypt(ctx, &kmsapi.DecryptRequest{
		Ciphertext: wrapped.GetCiphertext(), KeyId: wrapped.GetKeyId(), Annotations: wrapped.GetAnnotations(), Uid: "mooring-keys-status",
	})
	if err != nil {
		return wrapped.GetKeyId(), encrypt, 0, fromStatus("Decrypt", err)
	}
	decrypt = time.Since(begin)
	if !bytes.Equal(opened.GetPlaintext(), plaintext) || bytes.Contains(wrapped.GetCiphertext(), plaintext) {
		return wrapped.GetKeyId(), encrypt, decrypt, fmt.Errorf("%w: Decrypt does not give back what Encrypt took", ErrProbe)
	}
	return wrapped.GetKeyId(), encrypt, decrypt, nil
}

// fromStatus says which call failed, in the plugin's words.
func fromStatus(call string, err error) error {
	return fmt.Errorf("%s: %s: %s: %w", call, status.Code(err), status.Convert(err).Message(), errAnswer)
}

// errAnswer is the cause of a probe's errors: they were read from a socket, and are for people.
var errAnswer = errors.New("the plugin can't serve")
