package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mooring/pkg/logging"
	"mooring/pkg/openstack"
)

// cloudNeed says whether a mode talks to OpenStack.
type cloudNeed int

const (
	cloudRequired cloudNeed = iota
	cloudOptional           // it does if a cloud is named
	cloudNone               // it does not
)

// mode is a long-running process, or a tool: a command that does one thing and ends.
type mode struct {
	name, short, long string
	cloud             cloudNeed
	tool              bool
	options           modeOptions
}

// argumentTaker are the options of a tool that takes arguments besides its flags.
type argumentTaker interface {
	// usage names the arguments: "GENERATION".
	usage() string
	// arguments returns every mistake in them.
	arguments(args []string) []error
}

// modeOptions are a mode's own flags and what it does.
type modeOptions interface {
	// flags declares the flags; they set the options' fields.
	flags(f *pflag.FlagSet)
	// check returns every mistake in the options, each beginning with the name of its flag.
	check(env *Env) []error
	// run starts the mode and returns when ctx has ended and everything is drained.
	run(ctx context.Context, p *process) error
}

// loginOptions are a mode's options that can say how to log in.
type loginOptions interface {
	// login returns nil when they do not, and source does. It comes after check.
	login(source openstack.Source) (*openstack.Credential, error)
}

// commonFlags are those of every mode; a tool has the first two lines, and the first one only if it talks to OpenStack.
type commonFlags struct {
	cloud, cloudsFile   string
	logLevel, logFormat string
	adminListen         string
	drain               time.Duration
}

func (c *commonFlags) flags(f *pflag.FlagSet) {
	c.toolFlags(f, "info", cloudRequired)
	f.StringVar(&c.adminListen, "admin-listen", "", "host:port of /livez, /readyz and /metrics; empty: off")
	f.DurationVar(&c.drain, "drain-timeout", 10*time.Second, "how long requests under way may take after SIGTERM")
}

func (c *commonFlags) toolFlags(f *pflag.FlagSet, level string, cloud cloudNeed) {
	if cloud != cloudNone {
		f.StringVar(&c.cloud, "os-cloud", "", "the entry of clouds.yaml to use; OS_CLOUD if it is not set, then the OS_* variables")
		f.StringVar(&c.cloudsFile, "clouds-file", "", "path of clouds.yaml, with secure.yaml beside it; if it is not set, where the openstack client looks for it")
	}
	f.StringVar(&c.logLevel, "log-level", level, "debug, info, warn or error")
	f.StringVar(&c.logFormat, "log-format", logging.FormatText, "text or json")
}

func (c *commonFlags) check() (wrong mistakes) {
	if _, err := logging.ParseLevel(c.logLevel); err != nil {
		wrong = append(wrong, fmt.Errorf("--log-level: %w", err))
	}
	if c.logFormat != logging.FormatText && c.logFormat != logging.FormatJSON {
		wrong = append(wrong, fmt.Errorf("--log-format: %q has to be %s or %s", c.logFormat, logging.FormatText, logging.FormatJSON))
	}
	if c.adminListen != "" {
		wrong = append(wrong, gather(hostPort("admin-listen", c.adminListen))...)
	}
	if c.drain < 0 {
		wrong = append(wrong, fmt.Errorf("--drain-timeout: %v is negative", c.drain))
	}
	return wrong
}

// newMode makes the command of a mode. Its flags are parsed by parse, which finds every mistake.
func newMode(env *Env, m *mode) *cobra.Command {
	common := &commonFlags{}
	taker, takes := m.options.(argumentTaker)
	cmd := &cobra.Command{Use: m.name, Short: m.short, Long: m.long, DisableFlagParsing: true, SilenceErrors: true, SilenceUsage: true}
	if takes {
		cmd.Use += " " + taker.usage()
	}
	cmd.Flags().SortFlags = false
	m.options.flags(cmd.Flags())
	if m.tool {
		common.toolFlags(cmd.Flags(), "warn", m.cloud) // what it has done, it prints
	} else {
		common.flags(cmd.Flags())
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wrong := parse(cmd.Flags(), args, env.LookupEnv)
		if help, err := cmd.Flags().GetBool("help"); err == nil && help {
			return cmd.Help()
		}
		if takes {
			wrong = append(wrong, taker.arguments(cmd.Flags().Args())...)
		} else {
			wrong = append(wrong, noArguments(cmd.Flags().Args())...)
		}
		wrong = append(wrong, common.check()...)
		wrong = append(wrong, m.options.check(env)...)
		credential, err := m.credential(env, common)
		if err != nil {
			wrong = append(wrong, err)
		}
		if len(wrong) > 0 {
			return wrong
		}
		p, err := newProcess(env, common, credential)
		if err != nil {
			return err
		}
		defer p.close()
		ctx, stop := env.Signals(cmd.Context())
		defer stop()
		if m.tool {
			return m.options.run(ctx, p)
		}
		p.logger.InfoContext(ctx, "starting", slog.String("mode", m.name), slog.String("version", version))
		if err := p.listenAdmin(ctx); err != nil {
			return err
		}
		return m.options.run(ctx, p)
	}
	return cmd
}

func (m *mode) credential(env *Env, common *commonFlags) (*openstack.Credential, error) {
	if m.cloud == cloudNone {
		return nil, nil //nolint:nilnil // none is needed
	}
	source := openstack.Source{Cloud: common.cloud, CloudsFile: common.cloudsFile, LookupEnv: env.LookupEnv, ReadFile: env.ReadFile}
	if own, ok := m.options.(loginOptions); ok {
		if c, err := own.login(source); c != nil || err != nil {
			return c, err
		}
	}
	if m.cloud == cloudOptional && !source.Named() {
		return nil, nil //nolint:nilnil // no cloud is named, and none is needed
	}
	return source.Load()
}
