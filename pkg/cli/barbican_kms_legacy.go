package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
)

// legacyOptions take over from cloud-provider-openstack's barbican-kms-plugin: its keys, its format, and its flags.
type legacyOptions struct {
	keys        []string
	compatWrite bool
	cloudConfig string
	socketPath  string

	config *openstack.CloudConfig
	wrong  error // with cloudConfig
}

func (o *legacyOptions) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.keys, "legacy-key", nil,
		"UUID of a secret with which cloud-provider-openstack's barbican-kms-plugin wrote: it is read; may be repeated; if none is given, key-id of --cloud-config")
	f.BoolVar(&o.compatWrite, "compat-write", false,
		"write as barbican-kms-plugin does, with the one legacy key, while nodes still run it; keys of a keyring only read meanwhile. Its format is not authenticated: switch it off when all nodes run this plugin")
	f.StringVar(&o.cloudConfig, "cloud-config", "", "configuration file of cloud-provider-openstack with the login ([Global]) and the legacy key ([KeyManager] key-id), instead of clouds.yaml and the OS_* variables")
	f.StringVar(&o.socketPath, "socketpath", "", "deprecated, what barbican-kms-plugin calls --endpoint: the path of the socket")
}

// read reads the file, so that the other options can go by it.
func (o *legacyOptions) read(env *Env) {
	if o.cloudConfig == "" {
		return
	}
	o.config, o.wrong = openstack.Source{LookupEnv: env.LookupEnv, ReadFile: env.ReadFile}.CloudConfig(o.cloudConfig)
	if o.wrong == nil && len(o.keys) == 0 && o.config.KeyID != "" {
		o.keys = []string{o.config.KeyID}
	}
}

// endpoint is the one that --socketpath names.
func (o *legacyOptions) endpoint(given string) (string, error) {
	switch {
	case o.socketPath == "":
		return given, nil
	case given != "":
		return given, errors.New("--socketpath: it is an old name of --endpoint, which is given")
	case !filepath.IsAbs(o.socketPath):
		return "", fmt.Errorf("--socketpath: %q has to be an absolute path", o.socketPath)
	default:
		return "unix://" + o.socketPath, nil
	}
}

func (o *legacyOptions) check() (wrong []error) {
	for _, id := range o.keys {
		if _, ok := openstack.ParseUUID(id); !ok {
			wrong = append(wrong, fmt.Errorf("--legacy-key, or [KeyManager] key-id of --cloud-config: %.100q has to be the UUID of a secret in Barbican", id))
		}
	}
	if o.compatWrite && len(o.keys) != 1 && o.wrong == nil {
		wrong = append(wrong, fmt.Errorf("--compat-write: it needs exactly one --legacy-key, or [KeyManager] key-id in --cloud-config; there are %d", len(o.keys)))
	}
	return wrong
}

// login is that of --cloud-config; nil: there is none.
func (o *legacyOptions) login(common openstack.Source) (*openstack.Credential, error) {
	switch {
	case o.cloudConfig == "":
		return nil, nil //nolint:nilnil // the common flags say how to log in
	case common.Cloud != "" || common.CloudsFile != "":
		return nil, errors.New("--cloud-config: with it, --os-cloud and --clouds-file have no place: the login comes from one of them")
	case o.wrong != nil:
		return nil, fmt.Errorf("--cloud-config: %w", o.wrong)
	default:
		return o.config.Credential, nil
	}
}

// takeover puts the legacy keys before the keyring, which is nil when there is none.
func (o *legacyOptions) takeover(ctx context.Context, p *process, client *barbican.Client, keyring *barbican.Keyring, stateFile string) (*barbican.Takeover, error) {
	if o.config != nil {
		for _, what := range o.config.Ignored {
			p.logger.WarnContext(ctx, "a setting of the cloud configuration has no effect", slog.String("file", o.cloudConfig), slog.String("setting", what))
		}
	}
	if o.socketPath != "" {
		p.logger.WarnContext(ctx, "--socketpath is deprecated: name the socket with --endpoint")
	}
	return barbican.NewTakeover(client, keyring, barbican.TakeoverOptions{
		Keys: o.keys, CompatWrite: o.compatWrite, StateFile: stateFile, Logger: p.logger, Registerer: p.registry,
	})
}
