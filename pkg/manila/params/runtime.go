package params

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Runtime is what can be changed while the driver runs: the runtime configuration file of cloud-provider-openstack's plugin, in JSON.
type Runtime struct {
	// NFSLocations is the network in which export locations have to be for a share to be mounted from them; the zero value: any
	// (nfs.matchExportLocationAddress).
	NFSLocations netip.Prefix
}

// ParseRuntime reads a runtime configuration. Its error is an ErrInvalid that names what is wrong.
func ParseRuntime(data []byte) (Runtime, error) {
	var file struct {
		NFS struct {
			Match string `json:"matchExportLocationAddress"`
		} `json:"nfs"`
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return Runtime{}, fmt.Errorf(`%w: {"nfs": {"matchExportLocationAddress": "10.0.0.0/8"}} is expected: %w`, ErrInvalid, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Runtime{}, fmt.Errorf("%w: there is something after the JSON object", ErrInvalid)
	}
	if file.NFS.Match == "" {
		return Runtime{}, nil
	}
	network, err := parseNetwork(file.NFS.Match)
	if err != nil {
		return Runtime{}, fmt.Errorf("%w: nfs.matchExportLocationAddress: %q is neither a network, such as 10.0.0.0/8, nor an address", ErrInvalid, file.NFS.Match)
	}
	return Runtime{NFSLocations: network}, nil
}

// parseNetwork reads a network, or an address, which is a network of one.
func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		network, err := netip.ParsePrefix(s)
		return network.Masked(), err
	}
	address, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if address.Zone() != "" {
		return netip.Prefix{}, errors.New("a network has no zone")
	}
	return address.Prefix(address.BitLen())
}

// RuntimeFile is where a runtime configuration stands.
type RuntimeFile struct {
	// Path is empty without one.
	Path string
	// ReadFile is os.ReadFile, or a test's.
	ReadFile func(path string) ([]byte, error)
}

// Read reads the file as it is now, since a ConfigMap behind it may have changed.
func (f RuntimeFile) Read() (Runtime, error) {
	if f.Path == "" {
		return Runtime{}, nil
	}
	data, err := f.ReadFile(f.Path)
	if err != nil {
		return Runtime{}, err
	}
	config, err := ParseRuntime(data)
	if err != nil {
		return Runtime{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	return config, nil
}
