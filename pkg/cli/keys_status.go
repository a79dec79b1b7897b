package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican"
	"mooring/pkg/barbican/kms"
	"mooring/pkg/grpcserver"
	"mooring/pkg/poll"
)

func keysStatus() *mode {
	return &mode{
		name:  "status",
		short: "Asks a running KMS plugin for its health and its active key",
		long: "keys status asks the plugin at a socket what kube-apiserver asks it: version, health and the id of the active key. With --round-trip the plugin\n" +
			"also wraps and unwraps 32 random bytes. It has to run as a user whom the plugin lets in. It fails unless every plugin is healthy.",
		tool: true, cloud: cloudNone,
		options: &keysStatusOptions{},
	}
}

type keysStatusOptions struct {
	endpoints []string
	roundTrip bool
	output    string
}

func (o *keysStatusOptions) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.endpoints, "endpoint", []string{defaultKMSEndpoint}, "socket of the plugin, unix:///path/to/socket; may be repeated")
	f.BoolVar(&o.roundTrip, "round-trip", false, "also let it wrap and unwrap 32 random bytes")
	f.StringVar(&o.output, "output", "table", "table or json")
}

func (o *keysStatusOptions) check(*Env) []error {
	return append(checkSockets(o.endpoints), gather(tableOrJSON(o.output))...)
}

// defaultKMSEndpoint is the socket that the manifests have.
const defaultKMSEndpoint = "unix:///run/mooring/kms.sock"

func checkSockets(endpoints []string) (wrong []error) {
	for _, endpoint := range endpoints {
		if _, err := grpcserver.Path(endpoint); err != nil {
			wrong = append(wrong, fmt.Errorf("--endpoint: %w", err))
		}
	}
	return wrong
}

// pluginStatus is a row.
type pluginStatus struct {
	Endpoint            string `json:"endpoint"`                      // its socket
	Version             string `json:"version,omitempty"`             // of KMS that it speaks: v2
	Healthz             string `json:"healthz,omitempty"`             // ok, or what it is not well with
	KeyID               string `json:"keyId,omitempty"`               // of its active key
	KeyIDHash           string `json:"keyIdHash,omitempty"`           // as kube-apiserver's metrics have it
	Generation          uint64 `json:"generation,omitempty"`          // of its active key; absent: the key id is none of ours
	Secret              string `json:"secret,omitempty"`              // of its active key, in Barbican
	EncryptMicroseconds int64  `json:"encryptMicroseconds,omitempty"` // with --round-trip, if it went well
	DecryptMicroseconds int64  `json:"decryptMicroseconds,omitempty"` // with --round-trip, if it went well
	Error               string `json:"error,omitempty"`               // what is wrong
}

func (o *keysStatusOptions) run(ctx context.Context, p *process) error {
	found := make([]pluginStatus, 0, len(o.endpoints))
	var failed []error
	for _, endpoint := range o.endpoints {
		s, err := o.ask(ctx, endpoint)
		if err != nil {
			s.Error = err.Error()
			failed = append(failed, fmt.Errorf("%s: %w", endpoint, err))
		}
		found = append(found, s)
	}
	var rows [][]string
	for i := range found {
		s := &found[i]
		generation, trip := "-", "-"
		if s.Generation > 0 {
			generation = strconv.FormatUint(s.Generation, 10)
		}
		if s.DecryptMicroseconds > 0 {
			trip = fmt.Sprintf("%dµs/%dµs", s.EncryptMicroseconds, s.DecryptMicroseconds)
		}
		rows = append(rows, []string{s.Endpoint, orDash(s.Version), orDash(s.Healthz), generation, orDash(s.KeyID), orDash(s.KeyIDHash), trip})
	}
	return errors.Join(append(failed, show(p.env.Stdout, o.output, found, "ENDPOINT VERSION HEALTHZ GENERATION KEY-ID KEY-ID-HASH ENCRYPT/DECRYPT", rows))...)
}

// ask asks one plugin. What it has found is right also when there is an error.
func (o *keysStatusOptions) ask(ctx context.Context, endpoint string) (s pluginStatus, err error) {
	s.Endpoint = endpoint
	probe, err := kms.Dial(endpoint)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, probe.Close()) }()
	health, err := probe.Status(ctx)
	if err != nil {
		return s, err
	}
	s.Version, s.Healthz, s.KeyID, s.KeyIDHash = health.Version, health.Healthz, health.KeyID, barbican.KeyIDHash(health.KeyID)
	if ref, err := barbican.ParseKeyID(health.KeyID); err == nil { // another plugin's, or one in CPO's format, has none
		s.Generation, s.Secret = ref.Generation, ref.Secret
	}
	if err := health.Check(); err != nil {
		return s, err
	}
	if o.roundTrip {
		id, encrypt, decrypt, err := probe.RoundTrip(ctx)
		if err != nil {
			return s, err
		}
		s.EncryptMicroseconds, s.DecryptMicroseconds = max(encrypt.Microseconds(), 1), max(decrypt.Microseconds(), 1)
		if id != health.KeyID {
			return s, fmt.Errorf("%w: Encrypt used the key id %q", kms.ErrProbe, id)
		}
	}
	return s, nil
}

// waitFor waits until a plugin reports a key id, until ctx ends.
func waitFor(ctx context.Context, endpoint, keyID string) (err error) {
	probe, err := kms.Dial(endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, probe.Close()) }()
	for {
		health, err := probe.Status(ctx)
		switch {
		case err == nil && health.KeyID == keyID:
			return nil
		case err == nil:
			err = fmt.Errorf("%w: its key id is %s", kms.ErrProbe, health.KeyID)
		}
		if poll.Sleep(ctx, time.Second) != nil {
			return fmt.Errorf("%s does not report the key id %s: %w", endpoint, keyID, err)
		}
	}
}

// countdown waits, and tells each second what is left.
func countdown(ctx context.Context, left time.Duration, tick func(left time.Duration)) error {
	for end := time.Now().Add(left); left > 0; left = time.Until(end) {
		tick(left)
		if err := poll.Sleep(ctx, min(left, time.Second)); err != nil {
			return err
		}
	}
	return nil
}
