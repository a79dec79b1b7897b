// Package process runs a program as a child and knows how it is: whether it listens, how much memory it holds, what it said.
package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mooring/pkg/logging/logtest"
)

// Process is a running child. It dies with its parent.
type Process struct {
	Name    string
	Started time.Time

	cmd    *exec.Cmd
	output logtest.Buffer
	done   chan struct{}
	err    error
}

// Start runs a program with arguments and, besides PATH and HOME, only the given environment.
func Start(ctx context.Context, name, program string, env []string, args ...string) (*Process, error) {
	p := &Process{Name: name, done: make(chan struct{}), Started: time.Now()}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is all it has written so far.
func (p *Process) Output() string { return p.output.String() }

// Listening waits until the address (unix or tcp) takes connections and returns how long after the start that was. The
// error has what the process said when it ends before that.
func (p *Process) Listening(ctx context.Context, network, address string) (time.Duration, error) {
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
		if err == nil {
			return time.Since(p.Started), conn.Close()
		}
		if err := p.pause(ctx); err != nil {
			return 0, fmt.Errorf("%s does not listen on %s: %w", p.Name, address, err)
		}
	}
}

// Said waits until the output has a line with text in it, and returns the line.
func (p *Process) Said(ctx context.Context, text string) (string, error) {
	for {
		for line := range strings.Lines(p.Output()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return strings.TrimSpace(line), nil
			}
		}
		if err := p.pause(ctx); err != nil {
			return "", fmt.Errorf("%s does not say %q: %w", p.Name, text, err)
		}
	}
}

func (p *Process) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w; it said: %s", ctx.Err(), p.Output())
	case <-p.done:
		return fmt.Errorf("it has ended (%w); it said: %s", errors.Join(p.err, errEnded), p.Output())
	case <-time.After(2 * time.Millisecond):
		return nil
	}
}

var errEnded = errors.New("no longer running")

// RSS is the resident memory in bytes.
func (p *Process) RSS() (int64, error) { return p.memory("VmRSS") }

// PeakRSS is the most resident memory that it ever had, in bytes.
func (p *Process) PeakRSS() (int64, error) { return p.memory("VmHWM") }

// memory reads a line of /proc/PID/status, proc_pid_status(5).
func (p *Process) memory(what string) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s for %s", what, p.Name)
}

// Stop asks it to end with SIGTERM and returns its exit code; after the bound it is killed, and that is an error.
func (p *Process) Stop(bound time.Duration) (int, error) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-timer.C:
		p.Kill()
		return -1, fmt.Errorf("%s did not end within %v of SIGTERM", p.Name, bound)
	}
}

// Kill ends it with SIGKILL and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// Ended waits for its end and returns the exit code.
func (p *Process) Ended(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return -1, ctx.Err()
	}
}

// Programs returns the directory of the built programs: MOORING_BIN if it is set (make does), or else a temporary one into
// which they are built now, for `go test` by hand.
func Programs(t interface {
	Helper()
	Fatal(args ...any)
	TempDir() string
	Context() context.Context
},
) string {
	t.Helper()
	if dir := os.Getenv("MOORING_BIN"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir, "mooring/cmd/mooring", "mooring/cmd/openstack-sim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("go build: %w: %s", err, out))
	}
	return dir
}
