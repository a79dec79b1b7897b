package cli

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican"
	"mooring/pkg/barbican/kms"
)

func keysInit() *mode {
	return &mode{
		name:  "init",
		short: "Makes a keyring with its first key, and prints how to use it",
		long: "keys init makes a generic container in Barbican, an AES-256 key by an order, lets nobody but this user and the readers read them, registers the cluster as\n" +
			"their consumer, and prints the flags of barbican-kms and the EncryptionConfiguration of kube-apiserver. It may be run again: it finds what an earlier\n" +
			"run left (by name and creator, never by guess) and goes on from there; a keyring that is complete is only printed.",
		tool:    true,
		options: &keysInitOptions{},
	}
}

type keysInitOptions struct {
	clusterID string
	name      string
	readers   []string
	store     string
	endpoint  string
	output    string
}

func (o *keysInitOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.clusterID, "cluster-id", "", "a name for the cluster that never changes, as barbican-kms has it")
	f.StringVar(&o.name, "name", "", "name of the container; if it is not set, \"mooring keyring of \" and the cluster's")
	f.StringSliceVar(&o.readers, "reader", nil, "id of another OpenStack user who may read the keys, such as the plugin's; may be repeated")
	f.StringVar(&o.store, "store", "", "name of the secret store where the key has to be; the project's admin chooses it, this only refuses any other")
	f.StringVar(&o.endpoint, "endpoint", defaultKMSEndpoint, "socket of the plugin, for the EncryptionConfiguration")
	f.StringVar(&o.output, "output", "table", "table or json")
}

func (o *keysInitOptions) check(*Env) []error {
	const (
		longestName = 255 // Barbican's
		longestURL  = 255
	)
	wrong := append(gather(
		required("cluster-id", o.clusterID, "a name for the cluster that never changes"),
		atMost("cluster-id", o.clusterID, longestClusterID),
		tableOrJSON(o.output)), checkSockets([]string{o.endpoint})...)
	if o.name == "" {
		o.name = "mooring keyring of " + o.clusterID
	}
	if err := atMost("name", o.name, longestName); err != nil {
		wrong = append(wrong, err)
	}
	if n := len(barbican.ConsumerURL(o.clusterID)); n > longestURL && len(o.clusterID) <= longestClusterID {
		wrong = append(wrong, fmt.Errorf("--cluster-id: it is too long to be registered in Barbican: %d bytes as a URL, at most %d are possible", n, longestURL))
	}
	if strings.ContainsFunc(o.name, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) {
		wrong = append(wrong, fmt.Errorf("--name: %q must not have backslashes or control characters: Barbican could not find it", o.name))
	}
	return wrong
}

// initiated is the result in JSON.
type initiated struct {
	Keyring string  `json:"keyring"` // UUID of the container
	Existed bool    `json:"existed"` // nothing had to be made
	Key     keyJSON `json:"key"`     // the newest one
	guardJSON

	Flags                   []string `json:"flags"`                   // of barbican-kms
	EncryptionConfiguration string   `json:"encryptionConfiguration"` // for kube-apiserver, as a file has it
}

func (o *keysInitOptions) run(ctx context.Context, p *process) error {
	line := p.progress()
	line.show(0, 0, "making the keyring")
	made, err := keyManager(p, line).Init(ctx, barbican.InitSpec{ClusterID: o.clusterID, Name: o.name, Readers: o.readers, Store: o.store})
	line.clear()
	if err != nil {
		return fmt.Errorf("%w (it can be run again)", err)
	}
	out := initiated{
		Keyring: made.Container, Existed: made.Existed, guardJSON: guardJSON{string(made.Guard)}, Key: newKeyJSON(made.Key, made.Creator, made.Store, made.NotBefore),
		Flags:                   []string{"--keyring=" + made.Container, "--cluster-id=" + o.clusterID, "--allowed-creators=" + made.Creator, "--endpoint=" + o.endpoint},
		EncryptionConfiguration: kms.EncryptionConfiguration(o.clusterID, o.endpoint),
	}
	if o.output == "json" {
		return showJSON(p.env.Stdout, out)
	}
	quoted := make([]string, len(out.Flags))
	for i, flag := range out.Flags {
		quoted[i] = shellQuote(flag)
	}
	_, err = fmt.Fprintf(p.env.Stdout, "Keyring:  %s\nKey:      generation %d, secret %s\nKey id:   %s\nStore:    %s\nCreator:  %s\n\n"+
		"The plugin, on each control-plane node:\n\n  mooring barbican-kms %s\n\n"+
		"kube-apiserver, in the file of --encryption-provider-config:\n\n%s",
		out.Keyring, out.Key.Generation, out.Key.Secret, out.Key.KeyID, orDash(out.Key.Store), out.Key.Creator, strings.Join(quoted, " "), out.EncryptionConfiguration)
	return err
}

// shellQuote makes one word of a text, for a shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./:=@,+", r))
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
