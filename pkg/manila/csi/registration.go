package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	register "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"mooring/pkg/grpcserver"
)

// Registration tells kubelet of the driver, as node-driver-registrar does elsewhere. It follows pluginregistration/v1: kubelet watches a
// directory (plugins_registry), asks what it finds there, calls NodeGetInfo on the driver's own socket, and says how that went.
type Registration struct {
	register.UnimplementedRegistrationServer

	// Driver is the driver's name.
	Driver string
	// Socket is the path of the driver's own socket, which has to be the same for kubelet.
	Socket string
	Logger *slog.Logger
}

// RegistrationEndpoint is where a driver registers in a directory of kubelet's; node-driver-registrar has the same.
func RegistrationEndpoint(dir, driver string) string {
	return "unix://" + filepath.Join(dir, driver+"-reg.sock")
}

// hidden is a file's other name, which kubelet looks at as little as at all that begin with a dot. Kubelet must not find a socket by a
// name that it loses: it would ask there for ever, since it hears nothing of a file that is renamed.
func hidden(path string) string { return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)) }

// CheckRegistration says whether a directory and a driver's name make a possible socket.
func CheckRegistration(dir, driver string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%q has to be an absolute path", dir)
	}
	_, err := grpcserver.Path("unix://" + hidden(filepath.Join(dir, driver+"-reg.sock")))
	return err
}

// ListenForKubelet binds the socket of a registration, in place of one that a killed process has left. What it returns takes the file
// away, so that kubelet forgets the driver; but not when another process has put its own there meanwhile.
func ListenForKubelet(ctx context.Context, dir, driver string) (listener net.Listener, remove func() error, err error) {
	path, err := grpcserver.Path(RegistrationEndpoint(dir, driver))
	if err != nil {
		return nil, nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, nil, fmt.Errorf("%s is there and is no socket: it is not replaced", path)
	}
	const mode fs.FileMode = 0o600 // kubelet is root
	if listener, err = grpcserver.Listen(ctx, "unix://"+hidden(path), mode); err != nil {
		return nil, nil, err
	}
	own, err := os.Lstat(hidden(path))
	if err == nil {
		err = os.Rename(hidden(path), path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close(), os.Remove(hidden(path)))
	}
	return listener, func() error {
		if now, err := os.Lstat(path); err != nil || !os.SameFile(own, now) {
			return nil //nolint:nilerr // it is gone, or it is another's
		}
		return os.Remove(path)
	}, nil
}

// Register puts the registration on a server.
func (r *Registration) Register(s grpc.ServiceRegistrar) { register.RegisterRegistrationServer(s, r) }

// GetInfo says what kubelet has found. The version is that of the protocol between kubelet and the driver.
func (r *Registration) GetInfo(context.Context, *register.InfoRequest) (*register.PluginInfo, error) {
	return &register.PluginInfo{Type: register.CSIPlugin, Name: r.Driver, Endpoint: r.Socket, SupportedVersions: []string{"1.0.0"}}, nil
}

// NotifyRegistrationStatus hears how it went. After a failure kubelet tries again by itself.
func (r *Registration) NotifyRegistrationStatus(ctx context.Context, s *register.RegistrationStatus) (*register.RegistrationStatusResponse, error) {
	if s.GetPluginRegistered() {
		r.Logger.InfoContext(ctx, "kubelet has registered the driver", slog.String("driver", r.Driver))
	} else {
		r.Logger.ErrorContext(ctx, "kubelet could not register the driver", slog.String("driver", r.Driver), slog.String("reason", s.GetError()))
	}
	return &register.RegistrationStatusResponse{}, nil
}
