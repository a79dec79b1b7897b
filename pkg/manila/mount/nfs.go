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
	// Options are vetted ones (KindNFS). Without a version among them 4.2, 4.1, 4.0 and 3 are tried.
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
	return m.ensure(ctx, target, check, func(ctx context.Context) error { return m.mountNFS(ctx, target, v) })
}

// mountNFS tries the exports of a share at all addresses that their hosts have, and at each the versions of NFS, until one is mounted. An export
// that was refused by its server is not tried at another address of it.
func (m *Mounter) mountNFS(ctx context.Context, target string, v NFS) error {
	servers, errs := m.servers(ctx, v)
	refused := map[NFSExport]bool{}
	for _, s := range servers {
		if refused[s.export] {
			continue
		}
		err := m.mountNFSServer(ctx, target, s, v)
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
		refused[s.export] = !errors.Is(err, ErrHung)
	}
	return errors.Join(errs...)
}

func (m *Mounter) mountNFSServer(ctx context.Context, target string, s nfsServer, v NFS) error {
	flags, data := split(ownSuperblock(v.Options))
	if v.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	data = forFamily(data, s.address)
	local := m.localAddress(ctx, s.address)
	var errs []error
	for _, version := range nfsVersions(v.Options) {
		err := m.call(ctx, s.export.String(), target, version.fsType(), flags, strings.Join(version.data(data, s.address, local), ","))
		if err == nil || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, unix.ENOENT) { // the mount point is there: it was just made
			return fmt.Errorf("%w: the server shows no such path to this node: %w", ErrDenied, err)
		}
		errs = append(errs, err)
		if !version.refused(err) {
			break
		}
		m.options.Logger.DebugContext(ctx, "an NFS version was refused", slog.String("version", string(version)), slog.Any("error", err))
	}
	return errors.Join(errs...)
}

// ownSuperblock gives an NFS mount a superblock of its own. Mounts of one server's file system would share one, and for each of them the mount
// table would show the same device and the same root, whichever its share: kubelet then takes every other volume for another mount of this
// one, and never unmounts its device while any is there. A shared one has one SELinux context for all, too.
func ownSuperblock(options []string) []string {
	if slices.Contains(options, "nosharecache") || slices.Contains(options, "sharecache") {
		return options
	}
	return append(slices.Clip(options), "nosharecache")
}

// resolve finds the addresses that mount(2) wants instead of a name, the one to prefer first (RFC 6724).
func (m *Mounter) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	addrs, err := m.options.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("the NFS server %s: %w", host, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("the NFS server %s has no address", host)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
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
