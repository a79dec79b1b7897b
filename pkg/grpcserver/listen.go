package grpcserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// maxPath is the longest path, in bytes, of a unix socket on Linux (unix(7)): sun_path has 108 bytes with the final zero.
const maxPath = 107

// Path returns the file of an endpoint, unix:///run/x.sock or unix:/run/x.sock. The error says what is wrong with it.
func Path(endpoint string) (string, error) {
	path, ok := strings.CutPrefix(endpoint, "unix:")
	if !ok {
		return "", fmt.Errorf("%q has to be a unix socket: unix:///path/to/socket", endpoint)
	}
	path = strings.TrimPrefix(path, "//")
	const longest = maxPath - suffixLength
	switch {
	case !filepath.IsAbs(path) || strings.HasSuffix(path, "/"):
		return "", fmt.Errorf("%q has to name an absolute path: unix:///path/to/socket", endpoint)
	case len(path) > longest:
		return "", fmt.Errorf("the path of %q is too long for a unix socket: %d bytes of %d at most", endpoint, len(path), longest)
	}
	return filepath.Clean(path), nil
}

// suffixLength is how much longer, in bytes, a socket's temporary name is.
const suffixLength = len(".") + 6

// temporary is another name each time: two processes that start at once must not rename, or remove, each other's socket.
func temporary(path string) string { return path + "." + rand.Text()[:suffixLength-1] }

// Listen binds a socket under a temporary name and renames it over the endpoint's path, so that at every moment either the
// old socket is there or the new one: a client never finds the path empty, and a file left by a killed process does no harm.
// The socket has mode before anybody can find it. Closing the listener leaves the file: whoever comes next replaces it.
func Listen(ctx context.Context, endpoint string, mode fs.FileMode) (net.Listener, error) {
	path, err := Path(endpoint)
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is there and is no socket: it is not replaced", path)
	}
	temp := temporary(path)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", temp)
	if err != nil {
		return nil, fmt.Errorf("the socket %s (does its directory exist, and may we write there?): %w", path, err)
	}
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // the file stays for who comes next
	}
	err = os.Chmod(temp, mode)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the socket %s: %w", path, err), listener.Close(), os.Remove(temp))
	}
	return listener, nil
}
