package mount

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ErrExport says that an export location can't be understood.
var ErrExport = errors.New("malformed export location")

// maxExport bounds an export location, in bytes; Manila stores no longer ones.
const maxExport = 2000

// NFSExport is an NFS export location, host:/path.
type NFSExport struct {
	Host string // a host name or an address, an IPv6 address without brackets
	Path string // absolute
}

// String is what mount(2) takes as its source: an IPv6 address has brackets.
func (e NFSExport) String() string { return bracketed(e.Host) + ":" + e.Path }

// ParseNFS reads host:/path and [fd00::1]:/path.
func ParseNFS(location string) (NFSExport, error) {
	host, path, err := splitExport(location)
	if err != nil {
		return NFSExport{}, err
	}
	inner, bracket := strings.CutPrefix(host, "[")
	if bracket {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed {
			return NFSExport{}, fmt.Errorf("%w: %q: the bracket before the host is never closed", ErrExport, location)
		}
	}
	addr, err := netip.ParseAddr(inner)
	switch {
	case err == nil && strings.ContainsFunc(addr.Zone(), func(r rune) bool { return !strings.ContainsRune(hostCharacters+".", r) }):
		// an interface's name becomes part of a mount option
	case err == nil && (addr.Is6() || !bracket):
		return NFSExport{Host: inner, Path: path}, nil
	case !bracket && isHostName(inner):
		return NFSExport{Host: inner, Path: path}, nil
	}
	return NFSExport{}, fmt.Errorf("%w: %q: %q is neither an address nor a host name", ErrExport, location, host)
}

// CephExport is a CephFS export location, mon1:6789,mon2:6789:/path.
type CephExport struct {
	Monitors []string // host:port each, an IPv6 address with brackets
	Path     string   // absolute, inside the file system
}

// String is what mount(2) takes as its source.
func (e CephExport) String() string { return strings.Join(e.Monitors, ",") + ":" + e.Path }

// ParseCephFS reads mon1:6789,[fd00::2]:6789:/volumes/…; a monitor without a port gets 6789, the port of the old protocol that
// Manila gives out.
func ParseCephFS(location string) (CephExport, error) {
	monitors, path, err := splitExport(location)
	if err != nil {
		return CephExport{}, err
	}
	e := CephExport{Path: path}
	for m := range strings.SplitSeq(monitors, ",") {
		monitor, err := parseMonitor(m)
		if err != nil {
			return CephExport{}, fmt.Errorf("%w: %q: monitor %q: %w", ErrExport, location, m, err)
		}
		e.Monitors = append(e.Monitors, monitor)
	}
	return e, nil
}

func parseMonitor(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil { // no port
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), "6789"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q is no port", port)
	}
	if addr, err := netip.ParseAddr(host); err != nil && !isHostName(host) || err == nil && addr.Zone() != "" {
		return "", fmt.Errorf("%q is neither an address nor a host name", host)
	}
	return net.JoinHostPort(host, port), nil
}

// splitExport cuts at the first ":/". Neither hosts nor ports have a slash, so that is where the path begins.
func splitExport(location string) (host, path string, err error) {
	if len(location) > maxExport {
		return "", "", fmt.Errorf("%w: it has %d bytes", ErrExport, len(location))
	}
	host, path, ok := strings.Cut(location, ":/")
	if !ok || host == "" {
		return "", "", fmt.Errorf("%w: %q is not host:/path", ErrExport, location)
	}
	path = "/" + path
	if i := strings.IndexFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }); i >= 0 {
		return "", "", fmt.Errorf("%w: %q: the path has a control character", ErrExport, location)
	}
	for element := range strings.SplitSeq(path, "/") {
		if element == ".." {
			return "", "", fmt.Errorf("%w: %q: the path has .. in it", ErrExport, location)
		}
	}
	return host, path, nil
}

const hostCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// isHostName takes what RFC 1123 takes, and the underscore that people use.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !strings.ContainsRune(hostCharacters, r) }) {
			return false
		}
	}
	return true
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
