package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"
)

// NFS is an NFS share to mount.
type NFS struct {
	// Exports to try, the best first.
	Exports []NFSExport
	// Options are vetted ones (KindNFS). Without a version among them 4.2, 4.1 and 4.0 are tried.
	Options  []string
	ReadOnly bool
}

// MountNFS mounts an NFS share at target, unless it is mounted there already.
func (m *Mounter) MountNFS(ctx context.Context, target string, v NFS) error {
	if len(v.Exports) == 0 {
		return fmt.Errorf("%w: the share has no export location", ErrExport)
	}
	check := func(_ context.Context, top *mountutils.MountInfo) error {
		var paths []string
		for _, e := range v.Exports {
			paths = append(paths, e.Path)
		}
		return holds(top, []string{"nfs4", "nfs"}, paths)
	}
	return m.ensure(ctx, target, check, func(ctx context.Context) error {
		var errs []error
		for _, export := range v.Exports {
			err := m.mountNFSExport(ctx, target, export, v)
			if err == nil || ctx.Err() != nil {
				return err
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

func (m *Mounter) mountNFSExport(ctx context.Context, target string, export NFSExport, v NFS) error {
	server, err := m.resolve(ctx, export.Host)
	if err != nil {
		return err
	}
	flags, data := split(v.Options)
	if v.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	data = append(data, "addr="+server.String(), "clientaddr="+m.localAddress(ctx, server))
	for _, version := range nfsVersions(v.Options) {
		all := data
		if version != "" {
			all = append([]string{"vers=" + version}, data...)
		}
		err = m.call(ctx, export.String(), target, "nfs4", flags, strings.Join(all, ","))
		if !isErrno(err, unix.EPROTONOSUPPORT, unix.EPROTO, unix.EINVAL) || ctx.Err() != nil {
			return err
		}
		m.options.Logger.DebugContext(ctx, "an NFS version was refused", slog.String("version", version), slog.Any("error", err))
	}
	return err
}

// nfsVersions are the versions to try: those of the options alone, which stand there already, or all from the newest.
func nfsVersions(options []string) []string {
	if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "vers=") || strings.HasPrefix(o, "nfsvers=") }) {
		return []string{""}
	}
	return []string{"4.2", "4.1", "4.0"}
}

// resolve finds the address that mount(2) wants instead of a name.
func (m *Mounter) resolve(ctx context.Context, host string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, nil
	}
	addrs, err := m.options.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("the NFS server %s: %w", host, err)
	}
	if len(addrs) == 0 {
		return netip.Addr{}, fmt.Errorf("the NFS server %s has no address", host)
	}
	return addrs[0].Unmap(), nil
}

// localAddress is the address that the server reaches us at: NFS 4.0 calls back. "Connecting" a UDP socket asks the routing
// table and sends nothing.
func (m *Mounter) localAddress(ctx context.Context, server netip.Addr) string {
	fallback := "0.0.0.0"
	if server.Is6() {
		fallback = "::"
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(server.String(), "2049"))
	if err != nil {
		return fallback
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		return local.AddrPort().Addr().WithZone("").String()
	}
	return fallback
}
