package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
)

// Labels of the Secrets that are ours. Only those are ever changed or removed.
const (
	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "mooring"
	// OwnerLabel names the thing that a Secret is for.
	OwnerLabel = "manila.csi.openstack.org/share"
)

// ErrForeign says that there is a Secret of that name, and it is not ours.
var ErrForeign = errors.New("a Secret of that name exists, and it is not one of this driver's")

// Secrets keeps Secrets in one namespace. It needs the verbs create, get, patch and deletecollection there, and can't list.
type Secrets struct {
	Client    *Client
	Namespace string
}

// secret is a Secret in a request or an answer.
type secret struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name            string            `json:"name"`
		ResourceVersion string            `json:"resourceVersion,omitempty"`
		Labels          map[string]string `json:"labels"`
	} `json:"metadata"`
	Type string            `json:"type,omitempty"`
	Data map[string][]byte `json:"data"`
}

func (s *Secrets) path() string { return path("/api/v1/namespaces", s.Namespace) + "/secrets" }

// Put makes the Secret of a name hold the values for an owner, or changes the one that is there, unless that is not ours. An owner is
// something that can be the value of a label.
func (s *Secrets) Put(ctx context.Context, name, owner string, values map[string]string) error {
	wanted := &secret{APIVersion: "v1", Kind: "Secret", Type: "Opaque", Data: map[string][]byte{}}
	wanted.Metadata.Name, wanted.Metadata.Labels = name, map[string]string{managedByLabel: managedBy, OwnerLabel: owner}
	for k, v := range values {
		wanted.Data[k] = []byte(v)
	}
	err := s.Client.do(ctx, &call{method: http.MethodPost, path: s.path(), contentType: asJSON, body: wanted, secret: true}, nil)
	if !errors.Is(err, ErrConflict) {
		return s.wrap(name, err)
	}
	return s.wrap(name, s.change(ctx, wanted))
}

// change makes the Secret that is there the one that is wanted.
func (s *Secrets) change(ctx context.Context, wanted *secret) error {
	at := path(s.path(), wanted.Metadata.Name)
	var there secret
	if err := s.Client.do(ctx, &call{method: http.MethodGet, path: at, secret: true}, &there); err != nil {
		return err
	}
	if there.Metadata.Labels[managedByLabel] != managedBy {
		return ErrForeign
	}
	if there.Metadata.Labels[OwnerLabel] == wanted.Metadata.Labels[OwnerLabel] && maps.EqualFunc(there.Data, wanted.Data, func(a, b []byte) bool { return string(a) == string(b) }) {
		return nil
	}
	patch := map[string]any{
		"metadata": map[string]any{"resourceVersion": there.Metadata.ResourceVersion, "labels": wanted.Metadata.Labels}, // a conflict when it has changed
		"data":     replaced(there.Data, wanted.Data),
	}
	return s.Client.do(ctx, &call{method: http.MethodPatch, path: at, contentType: asMergePatch, body: patch, secret: true}, nil)
}

// replaced is the merge patch of one map to another: what is to go is null.
func replaced(from, to map[string][]byte) map[string]any {
	out := map[string]any{}
	for k := range from {
		out[k] = nil
	}
	for k, v := range to {
		out[k] = v
	}
	return out
}

// DeleteOf removes the Secrets of an owner. That there is none is no error.
func (s *Secrets) DeleteOf(ctx context.Context, owner string) error {
	if owner == "" {
		return errors.New("removing Secrets: the owner is missing")
	}
	query := url.Values{"labelSelector": {managedByLabel + "=" + managedBy + "," + OwnerLabel + "=" + owner}}
	err := s.Client.do(ctx, &call{method: http.MethodDelete, path: s.path(), query: query, secret: true}, nil)
	if err != nil {
		return fmt.Errorf("removing the Secrets of share %s: %w", owner, err)
	}
	return nil
}

func (s *Secrets) wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the Secret %s/%s: %w", s.Namespace, name, err)
}
