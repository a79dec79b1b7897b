package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // it was called rightly, and failed
	exitUsage   = 2 // wrong flags or configuration
	exitFound   = 3 // it looked for what should not be there, and there it is
)

// found is what a tool looked for: no failure, and no good end.
type found struct{ error }

// mistakes are errors of whoever called us: flags, variables, files. All of them are shown at once.
type mistakes []error

func (m mistakes) Error() string { return errors.Join(m...).Error() }

// lines flattens joined errors, so that each mistake gets its line.
func (m mistakes) lines() []string {
	var out []string
	for _, err := range m {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			out = append(out, line)
		}
	}
	return out
}

// Main runs the command line of env and returns the exit code.
func Main(env Env) int {
	root := newRoot(&env)
	root.SetArgs(env.Args)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return exitOK
	}
	var wrong mistakes
	if !errors.As(err, &wrong) {
		_, _ = fmt.Fprintf(env.Stderr, "%s: %s\n", cmd.CommandPath(), strings.Join(mistakes{err}.lines(), "; "))
		if _, ok := errors.AsType[found](err); ok {
			return exitFound
		}
		return exitFailure
	}
	lines := wrong.lines()
	if len(lines) == 1 {
		_, _ = fmt.Fprintf(env.Stderr, "%s: %s\n", cmd.CommandPath(), lines[0])
	} else {
		_, _ = fmt.Fprintf(env.Stderr, "%s: %d mistakes:\n", cmd.CommandPath(), len(lines))
		for _, line := range lines {
			_, _ = fmt.Fprintf(env.Stderr, "  %s\n", line)
		}
	}
	_, _ = fmt.Fprintf(env.Stderr, "\"%s --help\" lists the flags.\n", cmd.CommandPath())
	return exitUsage
}

func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "mooring",
		Short: "Ties a Kubernetes cluster to its OpenStack cloud: storage, keys, names",
		Long: "mooring ties a tenant's Kubernetes cluster to its OpenStack cloud: file storage from Manila (a CSI driver), keys from Barbican\n" +
			"(a KMS plugin for kube-apiserver), names in Designate (a webhook for ExternalDNS). One process runs one mode.",
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return mistakes{fmt.Errorf("there is no command %q", args[0])}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return mistakes{errors.New("a command is missing")}
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return mistakes{err} })
	root.AddCommand(newVersion(env))
	for _, m := range modes() {
		root.AddCommand(newMode(env, m))
	}
	root.AddCommand(newShares(env), newKeys(env), newDNS(env))
	return root
}

// modes are the long-running modes, in the order of the documentation. Each call makes new ones: a mode holds what its flags were given.
func modes() []*mode {
	return []*mode{
		manilaController(),
		manilaNode(),
		barbicanKMS(),
		designateWebhook(),
	}
}
