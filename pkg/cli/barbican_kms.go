package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"strconv"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican"
	"mooring/pkg/barbican/kms"
	"mooring/pkg/grpcserver"
	"mooring/pkg/openstack"
	"mooring/pkg/peercred"
	"mooring/pkg/run"
	"mooring/pkg/secmem"
)

func barbicanKMS() *mode {
	return &mode{
		name:  "barbican-kms",
		short: "Serves kube-apiserver's KMS v2: Secrets encrypted with a key from Barbican",
		long: "barbican-kms is a KMS v2 plugin for kube-apiserver. It fetches AES-256 keys from OpenStack Barbican, holds them in locked memory and\n" +
			"wraps the API server's data-encryption keys with them, without a call to Barbican for each. It runs on every control-plane node.\n" +
			"The socket is there at once; until the key is, every call fails fast with Unavailable.",
		cloud:   cloudRequired,
		options: &barbicanKMSOptions{},
	}
}

type barbicanKMSOptions struct {
	endpoint    string
	keys        keyringOptions
	legacy      legacyOptions
	clusterID   string
	socketMode  string
	allowedUIDs []string

	mode fs.FileMode
	uids []uint32
}

func (o *barbicanKMSOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.endpoint, "endpoint", "", "the socket to serve on, unix:///path/to/socket; kube-apiserver's EncryptionConfiguration names the same")
	o.keys.flags(f)
	o.legacy.flags(f)
	f.StringVar(&o.clusterID, "cluster-id", "", "a name for the cluster, the same on all its nodes for ever: what one cluster wrote, no other can read")
	f.StringVar(&o.socketMode, "socket-mode", "0600", "permissions of the socket, octal; nothing for others")
	f.StringSliceVar(&o.allowedUIDs, "allowed-uids", nil, "ids of the users who may connect; may be repeated; if none is given, root and the user of this process")
}

// longestClusterID is what envelope.Binding takes.
const longestClusterID = 1024

func (o *barbicanKMSOptions) check(env *Env) []error {
	o.legacy.read(env)
	var alias error
	o.endpoint, alias = o.legacy.endpoint(o.endpoint)
	wrong := gather(alias, atMost("cluster-id", o.clusterID, longestClusterID))
	if alias == nil {
		wrong = append(wrong, gather(socket("endpoint", o.endpoint, "unix:///run/mooring/kms.sock"))...)
	}
	if !o.legacyOnly() {
		wrong = append(wrong, gather(required("cluster-id", o.clusterID, "a name for the cluster that never changes"))...)
		wrong = append(wrong, o.keys.check()...)
		o.keys.policy.ReadOnly = o.legacy.compatWrite
	}
	wrong = append(wrong, o.legacy.check()...)
	return append(wrong, o.checkAccess(env)...)
}

// legacyOnly says whether the plugin does what the one before it did, and has no keyring yet.
func (o *barbicanKMSOptions) legacyOnly() bool {
	return o.legacy.compatWrite && len(o.keys.given()) == 0
}

func (o *barbicanKMSOptions) login(common openstack.Source) (*openstack.Credential, error) {
	return o.legacy.login(common)
}

// checkAccess reads who may connect.
func (o *barbicanKMSOptions) checkAccess(env *Env) (wrong []error) {
	mode, err := strconv.ParseUint(o.socketMode, 8, 32)
	switch {
	case err != nil || mode > 0o777:
		wrong = append(wrong, fmt.Errorf("--socket-mode: %q has to be an octal number such as 0600", o.socketMode))
	case mode&0o007 != 0:
		wrong = append(wrong, fmt.Errorf("--socket-mode: %s would let every user of the machine unwrap keys", o.socketMode))
	default:
		o.mode = fs.FileMode(mode)
	}
	for _, text := range o.allowedUIDs {
		uid, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--allowed-uids: %q has to be a user's number", text))
			continue
		}
		o.uids = append(o.uids, uint32(uid))
	}
	if len(o.allowedUIDs) == 0 {
		o.uids = []uint32{0}
		if env.UID > 0 && env.UID <= math.MaxUint32 {
			o.uids = append(o.uids, uint32(env.UID))
		}
	}
	return wrong
}

func (o *barbicanKMSOptions) run(ctx context.Context, p *process) error {
	if err := secmem.Undumpable(); err != nil {
		p.logger.WarnContext(ctx, "other processes of this user may read the keys out of the memory", slog.Any("error", err))
	}
	client := barbican.NewClient(p.session())
	var parts []run.Part
	var keyring *barbican.Keyring
	if !o.legacyOnly() {
		var err error
		if keyring, err = o.keys.open(client, barbican.Options{ClusterID: o.clusterID, Logger: p.logger, Registerer: p.registry}); err != nil {
			return err
		}
		parts = append(parts, run.Part{Name: "keyring", Run: keyring.Run})
	}
	keys, err := o.legacy.takeover(ctx, p, client, keyring, o.keys.stateFile)
	if err != nil {
		return err
	}
	server := grpcserver.New(grpcserver.Options{
		Logger: p.logger, Registerer: p.registry, Drain: p.common.drain, Describe: kms.Describe, Credentials: peercred.New(p.logger, o.uids),
	})
	kms.Register(server.GRPC(), keys)
	listener, err := grpcserver.Listen(ctx, o.endpoint, o.mode)
	if err != nil {
		return fmt.Errorf("--endpoint: %w", err)
	}
	p.logger.InfoContext(ctx, "the KMS plugin listens", slog.String("endpoint", o.endpoint))
	parts = append(parts,
		run.Part{Name: "legacy keys", Run: keys.Run},
		run.Part{Name: "KMS on " + o.endpoint, Run: func(ctx context.Context) error { return server.Serve(ctx, listener) }})
	err = p.serve(ctx, keys.Ready, parts...)
	if keyring != nil {
		err = errors.Join(err, keyring.Close())
	}
	return errors.Join(err, keys.Close())
}
