package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican/scan"
)

func keysScan() *mode {
	return &mode{
		name:  "scan",
		short: "Counts the objects in etcd per key id and resource: which keys are in use",
		long: "keys scan reads etcd, or a snapshot of it, and counts the objects per key id of KMS v2, provider and resource; what is stored without a key id (other\n" +
			"providers, KMS v1, unencrypted) is counted by resource. It decrypts nothing and needs no key and no cloud. All is read at one revision; an object\n" +
			"that can't be understood, or a scan that did not come to its end, makes the report incomplete, and the exit code 1. With --key-id it tells of that\n" +
			"key alone: exit code 0 says that no object needs it, 3 that some do, 1 that it can't be told. Where kube-apiserver has --etcd-servers-overrides,\n" +
			"scan each etcd.",
		tool: true, cloud: cloudNone,
		options: &keysScanOptions{},
	}
}

type keysScanOptions struct {
	etcd          etcdOptions
	keyID, output string
}

func (o *keysScanOptions) flags(f *pflag.FlagSet) {
	o.etcd.flags(f)
	f.StringVar(&o.keyID, "key-id", "", "tell of this key id alone, and by the exit code whether objects need it: barbican:v1:UUID:GENERATION, or a bare UUID for a key of cloud-provider-openstack")
	f.StringVar(&o.output, "output", "table", "table or json")
}

func (o *keysScanOptions) check(env *Env) []error {
	wrong := append(o.etcd.check(env), gather(tableOrJSON(o.output))...)
	if !o.etcd.given() {
		wrong = append(wrong, errors.New("--etcd-endpoints (MOORING_ETCD_ENDPOINTS) is missing: the members of etcd; or --etcd-snapshot, a snapshot"))
	}
	return wrong
}

func (o *keysScanOptions) run(ctx context.Context, p *process) error {
	report, err := o.etcd.scan(ctx, p)
	if report == nil {
		return err
	}
	shown := report
	if o.keyID != "" {
		shown = report.Only(o.keyID)
	}
	if err := o.show(p.env.Stdout, shown); err != nil {
		return err
	}
	switch {
	case err != nil:
		return err
	case o.keyID != "":
		if err := report.Unused(o.keyID); errors.Is(err, scan.ErrInUse) {
			return found{err}
		} else if err != nil {
			return err
		}
	case !report.Complete:
		return fmt.Errorf("the scan is not complete: %s", report.Problem)
	}
	return nil
}

func (o *keysScanOptions) show(w io.Writer, r *scan.Report) error {
	if o.output == "json" {
		return showJSON(w, r)
	}
	var rows [][]string
	for i := range r.Keys {
		k := &r.Keys[i]
		rows = append(rows, []string{string(scan.KMSv2), k.KeyID, k.Provider, k.Resource, strconv.FormatInt(k.Count, 10), strconv.FormatInt(k.First, 10), k.Example})
	}
	for i := range r.Plain {
		l := &r.Plain[i]
		rows = append(rows, []string{string(l.Scheme), "-", orDash(l.Name), l.Resource, strconv.FormatInt(l.Count, 10), strconv.FormatInt(l.First, 10), l.Example})
	}
	if err := show(w, o.output, nil, "STORED KEY-ID PROVIDER RESOURCE OBJECTS OLDEST-REVISION OLDEST", rows); err != nil {
		return err
	}
	state := "complete"
	if !r.Complete {
		state = "NOT COMPLETE: " + r.Problem
	}
	_, err := fmt.Fprintf(w, "\n%d objects under %s at revision %d: %s\n", r.Scanned, r.Prefix, r.Revision, state)
	return err
}
