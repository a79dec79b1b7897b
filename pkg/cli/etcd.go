package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican/scan"
	"mooring/pkg/etcd"
)

// etcdOptions are the flags of the tools that look for key ids in etcd.
type etcdOptions struct {
	endpoints        []string
	ca, cert, key    string
	user, passwords  string
	snapshot, prefix string

	client etcd.Options // from check on
}

func (o *etcdOptions) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.endpoints, "etcd-endpoints", nil, "members of etcd, https://host:port, comma-separated or repeated; the next one is asked when one is away")
	f.StringVar(&o.ca, "etcd-cacert", "", "file with the authorities of etcd's certificate; if it is not set, those of the system")
	f.StringVar(&o.cert, "etcd-cert", "", "file with the client certificate for etcd, as kube-apiserver's --etcd-certfile")
	f.StringVar(&o.key, "etcd-key", "", "file with the key of --etcd-cert")
	f.StringVar(&o.user, "etcd-user", "", "user of etcd's own authentication, if it is on; it has to be allowed to read the prefix")
	f.StringVar(&o.passwords, "etcd-password-file", "", "file with the password of --etcd-user")
	f.StringVar(&o.snapshot, "etcd-snapshot", "", "a file that \"etcdctl snapshot save\" wrote, instead of members")
	f.StringVar(&o.prefix, "etcd-prefix", "/registry", "kube-apiserver's --etcd-prefix")
}

// given says whether there is something to look into.
func (o *etcdOptions) given() bool { return len(o.endpoints) > 0 || o.snapshot != "" }

func (o *etcdOptions) check(env *Env) (wrong []error) {
	if len(o.endpoints) > 0 && o.snapshot != "" {
		wrong = append(wrong, errors.New("--etcd-endpoints, --etcd-snapshot: one of them, not both"))
	}
	if strings.Trim(o.prefix, "/") == "" {
		wrong = append(wrong, errors.New("--etcd-prefix: it has to name more than everything, like /registry"))
	}
	for _, endpoint := range o.endpoints {
		if _, _, err := etcd.ParseEndpoint(endpoint); err != nil {
			wrong = append(wrong, fmt.Errorf("--etcd-endpoints: %w", err))
		}
	}
	if (o.user == "") != (o.passwords == "") {
		wrong = append(wrong, errors.New("--etcd-user, --etcd-password-file: both or none"))
	}
	o.client = etcd.Options{Endpoints: o.endpoints, User: o.user}
	if o.passwords != "" {
		password, err := env.ReadFile(o.passwords)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--etcd-password-file: %w", err))
		}
		o.client.Password = strings.TrimRight(string(password), "\r\n")
	}
	return append(wrong, o.checkTLS(env)...)
}

func (o *etcdOptions) checkTLS(env *Env) (wrong []error) {
	if o.ca == "" && o.cert == "" && o.key == "" {
		return nil
	}
	o.client.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.ca != "" {
		authorities, err := env.ReadFile(o.ca)
		o.client.TLS.RootCAs = x509.NewCertPool()
		if err == nil && !o.client.TLS.RootCAs.AppendCertsFromPEM(authorities) {
			err = fmt.Errorf("%s has no certificate in PEM", o.ca)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--etcd-cacert: %w", err))
		}
	}
	if (o.cert == "") != (o.key == "") {
		return append(wrong, errors.New("--etcd-cert, --etcd-key: both or none"))
	}
	if o.cert == "" {
		return wrong
	}
	cert, err := env.ReadFile(o.cert)
	if err != nil {
		return append(wrong, fmt.Errorf("--etcd-cert: %w", err))
	}
	key, err := env.ReadFile(o.key)
	if err != nil {
		return append(wrong, fmt.Errorf("--etcd-key: %w", err))
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return append(wrong, fmt.Errorf("--etcd-cert, --etcd-key: %w", err))
	}
	o.client.TLS.Certificates = []tls.Certificate{pair}
	return wrong
}

// garbagePercent is how much garbage there may be, of what is in use, while a snapshot is read.
const garbagePercent = 25

// scan counts the key ids in what was given, with a line of progress on a terminal. With an error, too, there may be a report, which is
// not complete.
func (o *etcdOptions) scan(ctx context.Context, p *process) (report *scan.Report, err error) {
	line, began := p.progress(), time.Now()
	defer line.clear()
	options := &scan.Options{Prefix: o.prefix, Logger: p.logger, Progress: func(objects int64) {
		line.show(0, 0, fmt.Sprintf("%d objects, %.0f/s", objects, float64(objects)/time.Since(began).Seconds()))
	}}
	if o.snapshot != "" {
		// the keys that were met are nearly all that is kept: garbage is not to be as much again
		defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
		line.show(0, 0, "reading "+o.snapshot)
		return scan.Run(ctx, etcd.NewSnapshot(o.snapshot), options)
	}
	client, err := etcd.New(&o.client)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	options.Time = began
	return scan.Run(ctx, client, options)
}
