package scan

import (
	"errors"
	"fmt"
	"slices"
	"time"

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
	Time     time.Time `json:"time,omitzero"` // when the scan of etcd began, by the clock of who made it; absent: it was one of a snapshot
	Revision int64     `json:"revision"`      // of etcd: the newest that is in the picture
	Prefix   string    `json:"prefix"`        // of the keys that were read, with the slash at its end
	Scanned  int64     `json:"scanned"`       // objects
	Keys     []Use     `json:"keys"`          // KMS v2, by key id, provider and resource; every KMS plugin's, not only ours
	Plain    []Plain   `json:"plain"`         // everything without a key id, by scheme, name and resource
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

// MostAge is how old a report may be to retire a key by: what was stored since is not in it.
const MostAge = time.Hour

// Fresh is nil if the report is new enough to prove anything; else ErrNoProof. A plugin writes with a key until the next one becomes active: the
// zero time, or when that was. A scan that began before that proves nothing.
func (r *Report) Fresh(now, next time.Time) error {
	const skew = time.Minute // between the clocks of those who scan and retire
	switch age := now.Sub(r.Time); {
	case r.Time.IsZero():
		return fmt.Errorf("%w: it does not tell when it was made (one of a snapshot does not): scan etcd itself", ErrNoProof)
	case age < -skew:
		return fmt.Errorf("%w: it was made at %s, which is in the future", ErrNoProof, r.Time.UTC().Format(time.RFC3339))
	case age > MostAge:
		return fmt.Errorf("%w: it was made %v ago, and may be %v old: scan again", ErrNoProof, age.Truncate(time.Second), MostAge)
	case r.Time.Before(next):
		return fmt.Errorf("%w: it was made at %s, when objects were still written with the key; the next one became active at %s: scan again", ErrNoProof,
			r.Time.UTC().Format(time.RFC3339), next.UTC().Format(time.RFC3339))
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
