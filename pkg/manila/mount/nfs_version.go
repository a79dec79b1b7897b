package mount

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// nfsVersion is a version of NFS to try; empty is the one that the options name already, which is some 4.
type nfsVersion string

const nfs3 nfsVersion = "3"

// nfsVersions are the versions to try: that of the options alone, or all from the newest.
func nfsVersions(options []string) []nfsVersion {
	for _, o := range options {
		switch name, value, _ := strings.Cut(o, "="); name {
		case "vers", "nfsvers":
			if value == string(nfs3) {
				return []nfsVersion{nfs3}
			}
			return []nfsVersion{""}
		case "minorversion": // there are none of 3
			return []nfsVersion{""}
		}
	}
	return []nfsVersion{"4.2", "4.1", "4.0", nfs3}
}

// checkNFSValue says whether there is such a version or transport: of a version mount(2) would only say "invalid argument", and UDP it
// would take.
func checkNFSValue(name, value string) error {
	all := map[string][]string{"vers": {"3", "4", "4.0", "4.1", "4.2"}, "minorversion": {"0", "1", "2"}, "proto": {"tcp", "tcp6", "rdma", "rdma6"}}
	all["nfsvers"] = all["vers"]
	if values, ok := all[name]; ok && !slices.Contains(values, value) {
		return fmt.Errorf("%w: %q has to be one of %s", ErrOption, name, strings.Join(values, " "))
	}
	return nil
}

func (v nfsVersion) fsType() string {
	if v == nfs3 {
		return "nfs"
	}
	return "nfs4"
}

// data are the options of a version, for a server, seen from an address of ours. NFS 4.0 is called back there.
func (v nfsVersion) data(options []string, server netip.Addr, local string) []string {
	if v == nfs3 {
		options = slices.DeleteFunc(slices.Clone(options), func(o string) bool { return o == "vers=3" || o == "nfsvers=3" })
		return append(append([]string{"vers=3"}, options...), "addr="+server.String())
	}
	all := slices.Clone(options)
	if v != "" {
		all = append([]string{"vers=" + string(v)}, options...)
	}
	return append(all, "addr="+server.String(), "clientaddr="+local)
}

// refused says whether an error means that the server, or this kernel, does not have the version, so that the next one may do. An older
// kernel calls a minor version that it does not know an invalid argument; after 4.0 that is about another option, which no version changes.
func (v nfsVersion) refused(err error) bool {
	switch {
	case isErrno(err, unix.EPROTONOSUPPORT, unix.EPROTO), errors.Is(err, ErrUnsupported):
		return true
	case v == "4.2" || v == "4.1":
		return isErrno(err, unix.EINVAL)
	}
	return false
}

// forFamily names the transport as the kernel wants it for the family of a server's address: proto=tcp is for IPv4 alone.
func forFamily(options []string, server netip.Addr) []string {
	if !server.Is6() {
		return options
	}
	out := slices.Clone(options)
	for i, o := range out {
		if o == "proto=tcp" || o == "proto=rdma" {
			out[i] = o + "6"
		}
	}
	return out
}
