package barbican

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v3"
)

// keyringFile is the form of a keyring file.
type keyringFile struct {
	Keys []struct {
		Secret     string `yaml:"secret"`
		Generation uint64 `yaml:"generation"`
		ActiveFrom string `yaml:"activeFrom"`
		ReadOnly   bool   `yaml:"readOnly"`
	} `yaml:"keys"`
}

// ReadKeyringFile lists the keys of a YAML file:
//
//	keys:
//	  - secret: 7f3d0a52-1d9b-4c53-9c0a-2b1d3e4f5a6b   # its UUID in Barbican
//	    generation: 2                                  # from 1, never given to another secret
//	    activeFrom: 2026-11-22T15:00:00Z               # optional: not before (RFC 3339)
//	    readOnly: true                                 # optional: opens what it wrapped, never becomes active
//
// A key becomes active when activeFrom has come by the node's own clock, and at once without it: to have all nodes switch together,
// give one that is later than the file takes to reach them all. The error is ErrKeyring and names the file.
func ReadKeyringFile(path string) (*Listing, error) {
	const longest = 1 << 20
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(file, longest))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	entries, err := parseKeyringFile(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyring, path, err)
	}
	return list(entries), nil
}

func parseKeyringFile(data []byte) ([]Entry, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	var file keyringFile
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("it is no list of keys: %w", err)
	}
	if err := decoder.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document in it")
	}
	var entries []Entry
	for i, k := range file.Keys {
		e := Entry{Ref: KeyRef{Secret: k.Secret, Generation: k.Generation}, ReadOnly: k.ReadOnly}
		if !isUUID(k.Secret) {
			return nil, fmt.Errorf("keys[%d].secret: %.50q has to be the UUID of a secret in Barbican, in lower case", i, k.Secret)
		}
		if k.Generation == 0 {
			return nil, fmt.Errorf("keys[%d].generation: it has to be a number from 1", i)
		}
		if k.ActiveFrom != "" {
			var err error
			if e.Activation, err = time.Parse(time.RFC3339, k.ActiveFrom); err != nil {
				return nil, fmt.Errorf("keys[%d].activeFrom: %.50q has to be a time such as 2026-11-22T15:00:00Z", i, k.ActiveFrom)
			}
		}
		entries = append(entries, e)
	}
	return entries, CheckEntries(entries)
}
