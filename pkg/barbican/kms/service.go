package kms

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	kmsapi "k8s.io/kms/apis/v2"
)

// The limits that the API server sets (kmsv2.ValidateKeyID, validateEncryptedDEKSource).
const (
	maxKeyID      = 1024
	maxCiphertext = 1024
)

// version is what Status says; the API server takes a change of it for a defect.
const version = "v2"

const healthy = "ok"

// keyring is what the service needs of package barbican.
type keyring interface {
	Status() (keyID string, err error)
	Encrypt(dek []byte) (ciphertext []byte, keyID string, err error)
	Decrypt(ctx context.Context, keyID string, ciphertext []byte) (dek []byte, err error)
}

// Service answers the API server.
type Service struct {
	kmsapi.UnimplementedKeyManagementServiceServer

	keys keyring
}

// Register puts the service for a keyring on a gRPC server.
func Register(r grpc.ServiceRegistrar, keys keyring) {
	kmsapi.RegisterKeyManagementServiceServer(r, &Service{keys: keys})
}

// Status returns the active key's id. While there is no key it fails, so that the API server asks again soon.
func (s *Service) Status(context.Context, *kmsapi.StatusRequest) (*kmsapi.StatusResponse, error) {
	id, err := s.keys.Status()
	if err != nil {
		return nil, toStatus(err)
	}
	return &kmsapi.StatusResponse{Version: version, Healthz: healthy, KeyId: id}, nil
}

// Encrypt wraps the API server's data-encryption seed, 32 bytes, with the active key. There are no annotations: they stand in
// clear beside every object.
func (s *Service) Encrypt(_ context.Context, r *kmsapi.EncryptRequest) (*kmsapi.EncryptResponse, error) {
	ciphertext, id, err := s.keys.Encrypt(r.GetPlaintext())
	if err != nil {
		return nil, toStatus(err)
	}
	return &kmsapi.EncryptResponse{Ciphertext: ciphertext, KeyId: id}, nil
}

// Decrypt unwraps what Encrypt made. Everything in the request was read from etcd and is not trusted.
func (s *Service) Decrypt(ctx context.Context, r *kmsapi.DecryptRequest) (*kmsapi.DecryptResponse, error) {
	switch {
	case len(r.GetKeyId()) > maxKeyID:
		return nil, toStatus(fmt.Errorf("%w: a key id of %d bytes", errRequest, len(r.GetKeyId())))
	case len(r.GetCiphertext()) > maxCiphertext:
		return nil, toStatus(fmt.Errorf("%w: a ciphertext of %d bytes", errRequest, len(r.GetCiphertext())))
	case len(r.GetAnnotations()) > 0:
		return nil, toStatus(fmt.Errorf("%w: annotations, which this plugin never writes", errRequest))
	}
	plaintext, err := s.keys.Decrypt(ctx, r.GetKeyId(), r.GetCiphertext())
	if err != nil {
		return nil, toStatus(err)
	}
	return &kmsapi.DecryptResponse{Plaintext: plaintext}, nil
}

// Describe is what of a request may stand in a log: sizes, the API server's request id and the key id, never the data.
func Describe(request any) string {
	const shown = 100 // of ids that may be anything
	switch r := request.(type) {
	case *kmsapi.EncryptRequest:
		return fmt.Sprintf("uid %.*q, plaintext of %d bytes", shown, r.GetUid(), len(r.GetPlaintext()))
	case *kmsapi.DecryptRequest:
		return fmt.Sprintf("uid %.*q, key id %.*q, ciphertext of %d bytes", shown, r.GetUid(), shown, r.GetKeyId(), len(r.GetCiphertext()))
	default:
		return ""
	}
}
