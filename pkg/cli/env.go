package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Env is the process as a value: everything that a command takes from the operating system. Tests pass their own and run
// whole commands in memory, in parallel.
type Env struct {
	Args      []string // without the program's name
	LookupEnv func(string) (string, bool)
	ReadFile  func(string) ([]byte, error)
	UID       int // the effective user id
	Stdout    io.Writer
	Stderr    io.Writer
	Terminal  bool // Stderr is one
	// Signals returns a context that ends when the process is asked to stop.
	Signals func(context.Context) (context.Context, context.CancelFunc)
}

// isTerminal says whether somebody looks at a file as it is written.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// OS is the real process. SIGTERM and SIGINT ask it to stop.
func OS() Env {
	return Env{
		Args: os.Args[1:], LookupEnv: os.LookupEnv, ReadFile: os.ReadFile, UID: os.Geteuid(), Stdout: os.Stdout, Stderr: os.Stderr, Terminal: isTerminal(os.Stderr),
		Signals: func(ctx context.Context) (context.Context, context.CancelFunc) {
			signal.Ignore(syscall.SIGPIPE) // who reads the log may go away: volumes and keys are served all the same
			return signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
		},
	}
}
