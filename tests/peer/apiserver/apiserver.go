// Package apiserver plays kube-apiserver towards a KMS plugin: its own reader of the EncryptionConfiguration, its own KMS v2
// client and envelope transformer.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"

	"mooring/pkg/poll"
)

// Prefix stands before every value that is encrypted by KMS v2 in etcd; the provider's name comes after it.
const Prefix = "k8s:enc:kms:v2:"

// configuration is what an administrator writes, see Configuration.
const configuration = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - kms: {apiVersion: v2, name: %s, endpoint: %q, timeout: 3s}
  - identity: {}
`

// Server is an API server's storage layer for Secrets.
type Server struct {
	transformer value.Transformer
	health      func() error
}

// Start reads an EncryptionConfiguration with one KMS v2 provider, as a start of kube-apiserver does. Provider is its name,
// endpoint the plugin's unix:// socket. What runs in the background ends with ctx.
func Start(ctx context.Context, dir, provider, endpoint string) (*Server, error) {
	return StartConfigured(ctx, dir, fmt.Sprintf(configuration, provider, endpoint))
}

// StartConfigured is Start with an EncryptionConfiguration for Secrets.
func StartConfigured(ctx context.Context, dir, configuration string) (*Server, error) {
	file := filepath.Join(dir, "encryption-configuration.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return nil, err
	}
	cfg, err := encryptionconfig.LoadEncryptionConfig(ctx, file, false, "")
	if err != nil {
		return nil, fmt.Errorf("the EncryptionConfiguration: %w", err)
	}
	transformer := cfg.Transformers[schema.GroupResource{Resource: "secrets"}]
	if transformer == nil {
		return nil, errors.New("the EncryptionConfiguration has no transformer for secrets")
	}
	s := &Server{transformer: transformer}
	s.health = func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "/healthz", http.NoBody)
		if err != nil {
			return err
		}
		var errs []error
		for _, check := range cfg.HealthChecks {
			errs = append(errs, check.Check(request))
		}
		return errors.Join(errs...)
	}
	return s, nil
}

// Ready waits until the plugin has passed kube-apiserver's own health check.
func (s *Server) Ready(ctx context.Context) error {
	for {
		err := s.health()
		if err == nil {
			return nil
		}
		if poll.Sleep(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("the plugin is not healthy for kube-apiserver: %w", err)
		}
	}
}

// Healthy is what kube-apiserver's /healthz says of the plugin now.
func (s *Server) Healthy() error { return s.health() }

// Write turns an object into what etcd gets. The key is the object's path in etcd: it is authenticated.
func (s *Server) Write(ctx context.Context, key string, object []byte) ([]byte, error) {
	return s.transformer.TransformToStorage(ctx, object, value.DefaultContext(key))
}

// Read turns what etcd has into the object; stale says that it should be written again.
func (s *Server) Read(ctx context.Context, key string, stored []byte) (object []byte, stale bool, err error) {
	return s.transformer.TransformFromStorage(ctx, stored, value.DefaultContext(key))
}
