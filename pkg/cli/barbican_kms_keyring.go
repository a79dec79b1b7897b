package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
)

// keyringOptions say which keys the KMS plugin uses, and by which rules.
type keyringOptions struct {
	container       string
	file            string
	keyIDs          []string
	pollInterval    time.Duration
	activationDelay time.Duration
	allowedCreators []string
	onRevocation    string
	maxStaleness    time.Duration
	stateFile       string

	entries []barbican.Entry
	policy  barbican.Policy
}

const (
	defaultPoll       = time.Minute
	defaultActivation = 10 * time.Minute
	anyCreator        = "any"
)

func (o *keyringOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.container, "keyring", "",
		"UUID of the generic container in Barbican whose entries generation-1, generation-2, … are the keys: new ones are taken up while the plugin runs")
	f.StringVar(&o.file, "keyring-file", "", "YAML file that lists the keys instead (keys: [{secret, generation, activeFrom, readOnly}]); read again with every poll")
	f.StringSliceVar(&o.keyIDs, "key-id", nil,
		"UUID of the secret in Barbican that is the key, with :GENERATION after it if that is not 1, instead of a keyring; may be repeated: the first one wraps, the others only unwrap")
	f.DurationVar(&o.pollInterval, "poll-interval", defaultPoll, "how often Barbican is asked for news; one call each time, and up to a tenth later, at random")
	f.DurationVar(&o.activationDelay, "activation-delay", defaultActivation,
		"how long after its creation a key of the keyring becomes active (the first one at once); the same on all nodes, and at least two polls: all nodes fetch it meanwhile")
	f.StringSliceVar(&o.allowedCreators, "allowed-creators", nil,
		"ids of the OpenStack users whose secrets may be keys of the keyring; may be repeated; if none is given, only this plugin's own user; \"any\" allows everybody who can change the container")
	f.StringVar(&o.onRevocation, "on-revocation", barbican.Serve.String(),
		"what to do when Barbican refuses the keyring or the active key for good: serve (go on, and alarm), stop-writes (encrypt nothing more) or stop-all (decrypt nothing, either)")
	f.DurationVar(&o.maxStaleness, "max-staleness", 0, "how long to go on without a good answer of Barbican; after that every request fails until there is one; 0 is for ever")
	f.StringVar(&o.stateFile, "state-file", "", "file in which the generation that was last active, so that none ever comes back, and the keyring's last list are kept over restarts; nothing in it is secret")
}

func (o *keyringOptions) check() []error {
	wrong := o.checkSource()
	revocation, err := barbican.ParseRevocation(o.onRevocation)
	if err != nil {
		wrong = append(wrong, fmt.Errorf("--on-revocation: %w", err))
	}
	const (
		shortest = time.Second
		polls    = 2 // so that every node lists a key before it becomes active
	)
	switch {
	case o.pollInterval < shortest:
		wrong = append(wrong, fmt.Errorf("--poll-interval: %v is less than %v", o.pollInterval, shortest))
	case o.container != "" && o.activationDelay < polls*o.pollInterval:
		wrong = append(wrong, fmt.Errorf("--activation-delay: %v has to be at least %d times --poll-interval (%v): every node has to see a key before it becomes active",
			o.activationDelay, polls, o.pollInterval))
	}
	if o.maxStaleness != 0 && o.maxStaleness < polls*o.pollInterval {
		wrong = append(wrong, fmt.Errorf("--max-staleness: %v has to be 0 or at least %d times --poll-interval (%v)", o.maxStaleness, polls, o.pollInterval))
	}
	o.policy = barbican.Policy{
		Poll: o.pollInterval, ActivationDelay: o.activationDelay, OnRevocation: revocation, MaxStaleness: o.maxStaleness,
		Creators: o.allowedCreators, AnyCreator: slices.Contains(o.allowedCreators, anyCreator),
	}
	if o.policy.AnyCreator && len(o.allowedCreators) > 1 {
		wrong = append(wrong, errors.New("--allowed-creators: with any, there is no sense in naming others"))
	}
	return wrong
}

// given are the flags that say where the keys come from.
func (o *keyringOptions) given() (flags []string) {
	for flag, is := range map[string]bool{"--keyring": o.container != "", "--keyring-file": o.file != "", "--key-id": len(o.keyIDs) > 0} {
		if is {
			flags = append(flags, flag)
		}
	}
	slices.Sort(flags)
	return flags
}

// checkSource wants the keys from one place.
func (o *keyringOptions) checkSource() (wrong []error) {
	given := o.given()
	switch {
	case len(given) == 0:
		return []error{required("keyring", "", "the UUID of the container in Barbican whose entries are the keys; or else --key-id, or --keyring-file")}
	case len(given) > 1:
		return []error{fmt.Errorf("%s: the keys come from one of these", strings.Join(given, ", "))}
	}
	if o.container == "" && len(o.allowedCreators) > 0 {
		wrong = append(wrong, errors.New("--allowed-creators: only a --keyring has creators to check: other lists name secrets that you chose"))
	}
	if id, ok := openstack.ParseUUID(o.container); o.container != "" && (!ok || id != o.container) {
		wrong = append(wrong, fmt.Errorf("--keyring: %q has to be the UUID of a container in Barbican, in lower case", o.container))
	}
	return append(wrong, o.checkKeyIDs()...)
}

func (o *keyringOptions) checkKeyIDs() (wrong []error) {
	for i, text := range o.keyIDs {
		ref, err := barbican.ParseKeyRef(text)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--key-id: %w", err))
			continue
		}
		o.entries = append(o.entries, barbican.Entry{Ref: ref, ReadOnly: i > 0})
	}
	if len(wrong) == 0 && len(o.entries) > 0 {
		if err := barbican.CheckEntries(o.entries); err != nil {
			wrong = append(wrong, fmt.Errorf("--key-id: %w", err))
		}
	}
	return wrong
}

// open makes the keyring. What is left to be wrong is a file's: the error names it.
func (o *keyringOptions) open(client *barbican.Client, options barbican.Options) (*barbican.Keyring, error) {
	options.Policy, options.StateFile, options.Container, options.Entries = o.policy, o.stateFile, o.container, o.entries
	options.Check = func(ctx context.Context, ref barbican.KeyRef) error {
		_, err := client.Secret(ctx, ref)
		return err
	}
	switch {
	case o.container != "":
		options.List = func(ctx context.Context, known map[barbican.KeyRef]barbican.ListedKey) (*barbican.Listing, error) {
			return client.Keyring(ctx, o.container, known)
		}
	case o.file != "":
		options.Policy.Trusted = true
		if _, err := barbican.ReadKeyringFile(o.file); err != nil {
			return nil, fmt.Errorf("--keyring-file: %w", err)
		}
		options.List = func(context.Context, map[barbican.KeyRef]barbican.ListedKey) (*barbican.Listing, error) {
			return barbican.ReadKeyringFile(o.file)
		}
	}
	return barbican.New(client, options)
}
