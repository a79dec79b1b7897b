package cli

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"mooring/pkg/grpcserver"
)

// The checks that several flags have in common. Each returns the mistake of one flag, or nil.

// gather leaves out the checks that found nothing.
func gather(errs ...error) []error {
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// required finds a flag without its value.
func required(flag, value, what string) error {
	if strings.TrimSpace(value) != "" {
		return nil
	}
	return fmt.Errorf("--%s (%s) is missing: %s", flag, variable(flag), what)
}

// socket finds an endpoint that is missing, or can't be a unix socket.
func socket(flag, endpoint, example string) error {
	if err := required(flag, endpoint, "the socket to serve on, such as "+example); err != nil {
		return err
	}
	if _, err := grpcserver.Path(endpoint); err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}

// hostPort finds an address that can't be listened on. An empty host is every address of the machine, port 0 a free one.
func hostPort(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		return fmt.Errorf("--%s: %q has to be host:port", flag, address)
	}
	return nil
}

// atMost finds a value of more than so many bytes.
func atMost(flag, value string, longest int) error {
	if len(value) <= longest {
		return nil
	}
	return fmt.Errorf("--%s: %d bytes, at most %d are possible", flag, len(value), longest)
}

// between finds a number outside of a range.
func between(flag string, value, lowest, highest int) error {
	if lowest <= value && value <= highest {
		return nil
	}
	return fmt.Errorf("--%s: %d is not from %d to %d", flag, value, lowest, highest)
}
