package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican"
	"mooring/pkg/barbican/scan"
	"mooring/pkg/openstack"
)

func keysRetire() *mode {
	return &mode{
		name:  "retire",
		short: "Takes a generation that nothing needs any more out of a keyring",
		long: "keys retire takes a generation out of the keyring, and with --delete-secret deletes its key for good, in this order. It refuses for the generation that is active and for those\n" +
			"that are still to become so, and unless a scan of etcd shows that no object needs the key: one that it makes itself (--etcd-endpoints), or reports of \"mooring keys scan --output=json\", one for\n" +
			"each etcd that kube-apiserver has. Plugins that hold the key decrypt with it until they are restarted. Backups of etcd from when it was in use need it, too.",
		tool:    true,
		options: &keysRetireOptions{},
	}
}

type keysRetireOptions struct {
	keysOptions

	secret  string
	reports []string
	etcd    etcdOptions
	force   bool
	remove  bool

	generation uint64
	scans      []*scan.Report
}

func (o *keysRetireOptions) flags(f *pflag.FlagSet) {
	o.keysOptions.flags(f)
	f.StringSliceVar(&o.reports, "scan-report", nil, "file with the JSON that \"mooring keys scan --output=json\" printed, at most an hour ago and since the active generation became so; one for each etcd")
	o.etcd.flags(f)
	f.BoolVar(&o.force, "force", false, "retire the generation whether it is in use or not: what is still wrapped with it can't be read any more, once the plugins are restarted")
	f.BoolVar(&o.remove, "delete-secret", false, "delete the key in Barbican, too, for good")
	f.StringVar(&o.secret, "secret", "", "UUID of the key's secret, where the keyring has several keys of that generation")
}

func (o *keysRetireOptions) usage() string { return "GENERATION" }

func (o *keysRetireOptions) arguments(args []string) []error {
	if len(args) != 1 {
		return []error{fmt.Errorf("%d arguments: it takes one, the number of the generation", len(args))}
	}
	n, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil || n == 0 {
		return []error{fmt.Errorf("%q has to be the number of a generation, from 1", args[0])}
	}
	o.generation = n
	return nil
}

func (o *keysRetireOptions) check(env *Env) []error {
	wrong := append(o.keysOptions.check(env), o.etcd.check(env)...)
	if id, ok := openstack.ParseUUID(o.secret); o.secret != "" && (!ok || id != o.secret) {
		wrong = append(wrong, fmt.Errorf("--secret: %q has to be the UUID of a secret in Barbican, in lower case", o.secret))
	}
	if len(o.reports) == 0 && !o.etcd.given() && !o.force {
		wrong = append(wrong, errors.New("--etcd-endpoints (MOORING_ETCD_ENDPOINTS) or --scan-report is missing: where it is seen that nothing needs the key"))
	}
	if o.etcd.snapshot != "" {
		wrong = append(wrong, errors.New("--etcd-snapshot: a snapshot does not tell what was written since; look into etcd itself"))
	}
	for _, name := range o.reports {
		report, err := readScanReport(env, name)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--scan-report: %w", err))
			continue
		}
		o.scans = append(o.scans, report)
	}
	return wrong
}

func readScanReport(env *Env, name string) (*scan.Report, error) {
	data, err := env.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var r scan.Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case r.Prefix == "" || r.Keys == nil:
		return nil, fmt.Errorf("%s is no report of a scan", name)
	case !r.Complete:
		return nil, fmt.Errorf("%s: the scan is not complete: it proves nothing", name)
	}
	return &r, nil
}

// unused proves that nothing needs a key.
func (o *keysRetireOptions) unused(ctx context.Context, p *process, keyID string, since time.Time) error {
	scans := o.scans
	if o.etcd.given() {
		report, err := o.etcd.scan(ctx, p)
		if err != nil {
			return err
		}
		scans = append(scans, report)
	}
	for _, report := range scans {
		if err := report.Unused(keyID); err != nil {
			return err
		}
	}
	for i, report := range o.scans {
		if err := report.Fresh(time.Now(), since); err != nil {
			return fmt.Errorf("--scan-report %s: %w", o.reports[i], err)
		}
	}
	return nil
}

// retired is the result in JSON.
type retired struct {
	Keyring string  `json:"keyring"` // UUID of the container
	Key     keyJSON `json:"key"`     // the one that was retired
	Removed bool    `json:"removed"` // from the keyring; false: it was gone already
	Deleted bool    `json:"deleted"` // the secret
}

func (o *keysRetireOptions) run(ctx context.Context, p *process) error {
	spec := barbican.RetireSpec{Container: o.container, Generation: o.generation, Secret: o.secret, Policy: o.policy(), Delete: o.remove}
	if o.force {
		o.warn(p)
	} else {
		spec.Unused = func(ctx context.Context, keyID string, since time.Time) error { return o.unused(ctx, p, keyID, since) }
	}
	line := p.progress()
	line.show(0, 0, "retiring the key")
	got, err := keyManager(p, line).Retire(ctx, spec)
	line.clear()
	if got == nil {
		return err
	}
	out := retired{Keyring: o.container, Key: newKeyJSON(got.Key, "", "", time.Time{}), Removed: got.Removed, Deleted: got.Deleted}
	if o.output == "json" {
		return errors.Join(err, showJSON(p.env.Stdout, out))
	}
	if err != nil && !got.Removed {
		return err
	}
	text := fmt.Sprintf("Generation %d was taken out of the keyring.", o.generation)
	if !got.Removed {
		text = fmt.Sprintf("Generation %d was out of the keyring already.", o.generation)
	}
	if got.Deleted {
		text += fmt.Sprintf(" Its secret %s was deleted.", got.Key.Secret)
	} else {
		text += fmt.Sprintf(" Its secret %s is still in Barbican.", got.Key.Secret)
	}
	_, printErr := fmt.Fprintln(p.env.Stdout, text)
	return errors.Join(err, printErr)
}

// warn says what --force may cost.
func (o *keysRetireOptions) warn(p *process) {
	text := "generation %d is retired whether it is in use or not: objects in etcd that are wrapped with it can't be read any more once the plugins are restarted"
	if o.remove {
		text = "generation %d is deleted whether it is in use or not: objects in etcd, and in backups of it, that are wrapped with it are lost for good"
	}
	_, _ = fmt.Fprintf(p.env.Stderr, "Warning: "+text+".\n", o.generation)
}
