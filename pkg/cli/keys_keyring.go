package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack"
)

// keysOptions are the flags of the tools that work on a keyring.
type keysOptions struct {
	container       string
	activationDelay time.Duration
	allowedCreators []string
	output          string
}

func (o *keysOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.container, "keyring", "", "UUID of the container in Barbican that is the keyring")
	o.ruleFlags(f)
	f.StringVar(&o.output, "output", "table", "table or json")
}

func (o *keysOptions) ruleFlags(f *pflag.FlagSet) {
	f.DurationVar(&o.activationDelay, "activation-delay", defaultActivation, "how long after its creation a key becomes active: as the plugins have it")
	f.StringSliceVar(&o.allowedCreators, "allowed-creators", nil,
		"ids of the OpenStack users whose secrets may be keys: as the plugins have it; may be repeated; if none is given, only the user of this command")
}

func (o *keysOptions) check(*Env) []error {
	wrong := gather(required("keyring", o.container, "the UUID of the container in Barbican, as keys init printed it"), tableOrJSON(o.output))
	if id, ok := openstack.ParseUUID(o.container); o.container != "" && (!ok || id != o.container) {
		wrong = append(wrong, fmt.Errorf("--keyring: %q has to be the UUID of a container in Barbican, in lower case", o.container))
	}
	return append(wrong, o.checkRules()...)
}

func (o *keysOptions) checkRules() (wrong []error) {
	if o.activationDelay < 0 {
		wrong = append(wrong, fmt.Errorf("--activation-delay: %v is negative", o.activationDelay))
	}
	if slices.Contains(o.allowedCreators, anyCreator) && len(o.allowedCreators) > 1 {
		wrong = append(wrong, errors.New("--allowed-creators: with any, there is no sense in naming others"))
	}
	return wrong
}

// policy is what the plugins go by, as far as the tools need it.
func (o *keysOptions) policy() *barbican.Policy {
	return &barbican.Policy{ActivationDelay: o.activationDelay, Creators: o.allowedCreators, AnyCreator: slices.Contains(o.allowedCreators, anyCreator)}
}

// keyManager tells on stderr what it finds and does.
func keyManager(p *process, line *progress) *barbican.Manager {
	return barbican.NewManager(barbican.NewClient(p.session()), func(text string) {
		line.clear()
		_, _ = fmt.Fprintln(p.env.Stderr, text)
	})
}

// keyJSON is a key in JSON; its fields are those of every tool that shows one.
type keyJSON struct {
	Generation uint64     `json:"generation"`          // its number, from 1
	Secret     string     `json:"secret"`              // its UUID in Barbican
	KeyID      string     `json:"keyId"`               // as it stands in etcd: barbican:v1:SECRET:GENERATION
	KeyIDHash  string     `json:"keyIdHash"`           // as kube-apiserver's metrics have it
	Creator    string     `json:"creator,omitempty"`   // id of the OpenStack user who made it
	Store      string     `json:"store,omitempty"`     // to which it went when it was made, as far as Barbican told
	NotBefore  *time.Time `json:"notBefore,omitempty"` // it does not become active before this instant
}

func newKeyJSON(ref barbican.KeyRef, creator, store string, notBefore time.Time) keyJSON {
	return keyJSON{
		Generation: ref.Generation, Secret: ref.Secret, KeyID: ref.KeyID(), KeyIDHash: barbican.KeyIDHash(ref.KeyID()),
		Creator: creator, Store: store, NotBefore: timeOrNil(notBefore),
	}
}

// guardJSON is what a keyring tells of its Barbican.
type guardJSON struct {
	// what Barbican does when somebody deletes a key that is in use: none (it does not know that it is), noted (it knows, and deletes it
	// all the same), refuses (to clients that ask for its microversion 1.2 and do not force it)
	DeletionGuard string `json:"deletionGuard"`
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
