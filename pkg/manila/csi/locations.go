package csi

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/params"
)

// errLocation says that the runtime configuration leaves no export location, or can't be read.
var errLocation = errors.New("no export location may be mounted")

// nfsExports are the export locations of a share that can be understood, and that the runtime configuration lets through. Where it asks
// for a network, a host name is not enough: who resolves it may get any address.
func nfsExports(paths []string, file params.RuntimeFile) ([]mount.NFSExport, error) {
	all, err := readable(paths, mount.ParseNFS)
	if err != nil {
		return nil, err
	}
	config, err := file.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: the runtime configuration can't be used: %w", errLocation, err)
	}
	if !config.NFSLocations.IsValid() {
		return all, nil
	}
	var let []mount.NFSExport
	var hosts []string
	for _, e := range all {
		hosts = append(hosts, e.Host)
		if address, err := netip.ParseAddr(e.Host); err == nil && config.NFSLocations.Contains(address.Unmap().WithZone("")) {
			let = append(let, e)
		}
	}
	if len(let) == 0 {
		return nil, fmt.Errorf("%w: the share is at %s, and none of that is in %s (nfs.matchExportLocationAddress in %s)", errLocation, strings.Join(hosts, ", "), config.NFSLocations, file.Path)
	}
	return let, nil
}
