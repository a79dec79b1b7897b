// Package peercred lets in only some users of the machine on a unix socket: it asks the kernel who connected (SO_PEERCRED,
// unix(7)), so that a socket with wide permissions by mistake, or a descriptor that was passed on, opens nothing.
package peercred

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// Peer is who connected, as the kernel saw it at that moment.
type Peer struct {
	credentials.CommonAuthInfo

	UID, GID uint32
	PID      int32
}

// AuthType implements credentials.AuthInfo.
func (Peer) AuthType() string { return "peercred" }

// server is the server's half of the credentials; there is nothing to do for a client.
type server struct {
	allowed []uint32
	logger  *slog.Logger
}

// ErrRefused says that somebody who is not allowed connected.
var ErrRefused = errors.New("the user is not allowed to connect")

// New makes credentials for a gRPC server on a unix socket that lets in these user ids only. Others are logged and cut off.
func New(logger *slog.Logger, allowed []uint32) credentials.TransportCredentials {
	return &server{allowed: slices.Clone(allowed), logger: logger}
}

// ServerHandshake implements credentials.TransportCredentials.
func (s *server) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return nil, nil, fmt.Errorf("peercred: %T is no socket", conn)
	}
	peer, err := ask(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("peercred: %w", err)
	}
	if !slices.Contains(s.allowed, peer.UID) {
		s.logger.Warn("refused a connection", slog.Uint64("uid", uint64(peer.UID)), slog.Int("pid", int(peer.PID)))
		return nil, nil, fmt.Errorf("peercred: uid %d: %w", peer.UID, ErrRefused)
	}
	peer.SecurityLevel = credentials.PrivacyAndIntegrity // the kernel carries it
	return conn, peer, nil
}

func ask(conn syscall.Conn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var (
		cred   *unix.Ucred
		asking error
	)
	if err := raw.Control(func(fd uintptr) {
		cred, asking = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return Peer{}, err
	}
	if asking != nil {
		return Peer{}, fmt.Errorf("SO_PEERCRED: %w", asking)
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}

// ClientHandshake implements credentials.TransportCredentials; these credentials are a server's.
func (s *server) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("peercred: only for servers")
}

// Info implements credentials.TransportCredentials.
func (s *server) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

// Clone implements credentials.TransportCredentials.
func (s *server) Clone() credentials.TransportCredentials {
	return &server{allowed: slices.Clone(s.allowed), logger: s.logger}
}

// OverrideServerName implements credentials.TransportCredentials; a socket has no name.
func (s *server) OverrideServerName(string) error { return nil }
