package scan

import (
	"errors"
	"fmt"
	"slices"

	"mooring/pkg/barbican"
)

var (
	// ErrInUse says that objects need the key.
	ErrInUse = errors.New("the key is in use")
	// ErrNoProof says that a report can't tell that a key is not needed.
	ErrNoProof = errors.New("the scan is no proof that the key is not in use")
)

// Report is what a scan has found: "mooring keys scan --output json".
type Report struct {
	Revision int64   `json:"revision"` // of etcd: the newest that is in the picture
	Prefix   string  `json:"prefix"`   // of the keys that were read, with the slash at its end
	Scanned  int64   `json:"scanned"`  // objects
	Keys     []Use   `json:"keys"`     // KMS v2, by key id, provider and resource; every KMS plugin's, not only ours
	Plain    []Plain `json:"plain"`    // everything without a key id, by scheme, name and resource
	// every object under the prefix was read and understood, at one revision; a report that is not complete counts what was read until
	// then, and proves nothing
	Complete bool   `json:"complete"`
	Problem  string `json:"problem,omitempty"` // why it is not complete
}

// Use is a key id that objects of a resource are stored with.
type Use struct {
	KeyID     string `json:"keyId"`     // as it stands with the objects
	KeyIDHash string `json:"keyIdHash"` // as in kube-apiserver's metrics
	Provider  string `json:"provider"`  // its name in the EncryptionConfiguration
	Resource  string `json:"resource"`  // as in the EncryptionConfiguration: "secrets", "widgets.example.com"
	Count     int64  `json:"count"`     // objects
	First     int64  `json:"first"`     // the lowest of their revisions: the one that was not written for the longest time
	Example   string `json:"example"`   // the key in etcd of that one
}

// Plain is a scheme without key ids that objects of a resource are stored with.
type Plain struct {
	Scheme   Scheme `json:"scheme"`         // kms v1, aescbc, aesgcm, secretbox, unencrypted, unreadable, unknown
	Name     string `json:"name,omitempty"` // of the provider or the local key, in the EncryptionConfiguration
	Resource string `json:"resource"`       // as above
	Count    int64  `json:"count"`          // objects
	First    int64  `json:"first"`          // the lowest of their revisions
	Example  string `json:"example"`        // the key in etcd of that one
}

// InUse is how many objects need the key.
func (r *Report) InUse(keyID string) (objects int64) {
	for i := range r.Keys {
		if r.Keys[i].KeyID == keyID {
			objects += r.Keys[i].Count
		}
	}
	return objects
}

// Unused is nil if the report proves that no object needs the key: nothing else does, and retiring a key on less loses data. The error is
// ErrInUse if objects need it, complete or not; ErrNoProof if the scan is not complete, or if the key may be behind KMS v1, which hides
// key ids: then it is only a proof for keys with ids of ours, which were never used with v1.
func (r *Report) Unused(keyID string) error {
	if slices.ContainsFunc(r.Keys, func(use Use) bool { return use.KeyID == keyID }) { // whatever its count: it may be a file's
		return fmt.Errorf("%w: %d objects are stored with %q", ErrInUse, r.InUse(keyID), keyID)
	}
	if !r.Complete {
		return fmt.Errorf("%w: it is not complete: %s", ErrNoProof, r.Problem)
	}
	if _, err := barbican.ParseKeyID(keyID); err == nil {
		return nil
	}
	for i := range r.Plain {
		if p := &r.Plain[i]; p.Scheme == KMSv1 {
			return fmt.Errorf("%w: KMS v1 does not tell key ids, and %d objects (%s) are stored with provider %q of it", ErrNoProof, p.Count, p.Resource, p.Name)
		}
	}
	return nil
}

// Only is the report without the rows of other key ids. It is as complete as it was, and what is in Plain stays.
func (r *Report) Only(keyID string) *Report {
	only := *r
	only.Keys = []Use{}
	for _, use := range r.Keys {
		if use.KeyID == keyID {
			only.Keys = append(only.Keys, use)
		}
	}
	return &only
}
