package cli

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"

	"github.com/spf13/pflag"

	"mooring/pkg/grpcserver"
	"mooring/pkg/kubernetes"
	"mooring/pkg/manila"
	"mooring/pkg/manila/csi"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
	"mooring/pkg/run"
)

func manilaController() *mode {
	return &mode{
		name:  "manila-controller",
		short: "Serves the CSI controller: volumes as shares of Manila",
		long: "manila-controller is the controller of a CSI driver for OpenStack Manila: it makes and removes shares, NFS and CephFS alike. It runs\n" +
			"once per cluster, beside external-provisioner (a sidecar). The socket is there at once; Probe and readyz tell when it has logged in.",
		cloud:   cloudRequired,
		options: &manilaControllerOptions{},
	}
}

// manilaOptions are the flags of both CSI modes.
type manilaOptions struct {
	endpoint, driverName, protocol, runtimeConfig string
	topology                                      bool
}

func (o *manilaOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.endpoint, "endpoint", "unix:///csi/csi.sock", "the CSI socket to serve on, unix:///path/to/socket")
	f.StringVar(&o.driverName, "driver-name", csi.DriverName, "name of the CSI driver; volumes of cloud-provider-openstack may have nfs.manila.csi.openstack.org or cephfs.manila.csi.openstack.org")
	f.StringVar(&o.protocol, "share-protocol", "", "NFS or CEPHFS, for classes and volumes that do not say; if it is not set, they have to")
	f.BoolVar(&o.topology, "topology", false, "volumes may not be reachable from every availability zone: nodes tell theirs, and volumes where they can be reached; the same on the controller and on all nodes")
	f.StringVar(&o.runtimeConfig, "runtime-config-file", "", "a JSON file that is read at each use: {\"nfs\": {\"matchExportLocationAddress\": \"10.0.0.0/8\"}} mounts NFS from export locations in that network alone; the same on the controller and on all nodes")
}

// runtime is the file that --runtime-config-file names.
func (o *manilaOptions) runtime(p *process) params.RuntimeFile {
	return params.RuntimeFile{Path: o.runtimeConfig, ReadFile: p.env.ReadFile}
}

// driverName is what the CSI specification allows: a domain name of at most 63 characters.
var driverName = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9.]{0,61}[a-zA-Z0-9])?$`)

func (o *manilaOptions) check() (wrong []error) {
	wrong = gather(socket("endpoint", o.endpoint, "unix:///csi/csi.sock"))
	if !driverName.MatchString(o.driverName) {
		wrong = append(wrong, fmt.Errorf("--driver-name: %q has to be a domain name of at most 63 characters", o.driverName))
	}
	if p := params.Protocol(o.protocol); p != "" && p != params.NFS && p != params.CEPHFS {
		wrong = append(wrong, fmt.Errorf("--share-protocol: %q has to be NFS or CEPHFS", o.protocol))
	}
	return wrong
}

// clouds finds logins: the process's own, and those in the secrets of requests.
func (o *manilaOptions) clouds(p *process) *csi.Clouds {
	return &csi.Clouds{
		Pool: p.pool, Own: p.credential, Options: manila.Options{Logger: p.logger},
		Files: params.Files{
			ReadFile: p.env.ReadFile,
			Clouds: func(cloud, file string) (*openstack.Credential, error) {
				none := func(string) (string, bool) { return "", false } // a secret says all that counts
				return openstack.Source{Cloud: cloud, CloudsFile: file, LookupEnv: none, ReadFile: p.env.ReadFile}.Load()
			},
		},
	}
}

// serve serves CSI on the socket until ctx ends.
func (o *manilaOptions) serve(ctx context.Context, p *process, ready func() error, c *csi.Controller, n *csi.Node, parts ...run.Part) error {
	server := grpcserver.New(grpcserver.Options{
		Logger: p.logger, Registerer: p.registry, Drain: p.common.drain, Describe: csi.Describe, Annotate: csi.Annotate,
	})
	csi.Register(server.GRPC(), &csi.Identity{Name: o.driverName, Version: version, Ready: ready, Topology: o.topology}, c, n)
	const mode fs.FileMode = 0o600 // whoever may connect may mount and delete
	listener, err := grpcserver.Listen(ctx, o.endpoint, mode)
	if err != nil {
		return fmt.Errorf("--endpoint: %w", err)
	}
	p.logger.InfoContext(ctx, "the CSI driver listens", slog.String("endpoint", o.endpoint), slog.String("driver", o.driverName))
	return p.serve(ctx, ready, append(parts, run.Part{Name: "CSI on " + o.endpoint, Run: func(ctx context.Context) error { return server.Serve(ctx, listener) }})...)
}

// namespace is an RFC 1123 label.
var namespace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

type manilaControllerOptions struct {
	manilaOptions

	clusterID, secretsNamespace string
	attach                      bool
	attachSet                   func() bool
	claimAnnotations            bool
}

func (o *manilaControllerOptions) flags(f *pflag.FlagSet) {
	o.manilaOptions.flags(f)
	f.StringVar(&o.clusterID, "cluster-id", "", "a name for the cluster: its shares carry it as metadata, and another cluster's share of the same name is not taken for its own")
	f.StringVar(&o.secretsNamespace, "ceph-secrets-namespace", "", "write the cephx user and key of each CephFS volume into a Secret in this namespace, named like the PersistentVolume; needs a service account that may create, get, patch and deletecollection secrets there. If it is not set, nodes ask Manila")
	f.BoolVar(&o.claimAnnotations, "claim-annotations", false, "heed the annotations manila.csi.openstack.org/affinity, …/anti-affinity and …/group-id of PersistentVolumeClaims, before what their class says; needs a service account that may get persistentvolumeclaims, and external-provisioner with --extra-create-metadata")
	f.BoolVar(&o.attach, "attach", true, "whether Kubernetes attaches volumes (attachRequired of the driver's CSIDriver object, which can't be changed), so that nodes can be let in to a share one by one (access: node). "+
		"If it is not set, it is false for the driver names nfs.manila.csi.openstack.org and cephfs.manila.csi.openstack.org, whose CSIDriver cloud-provider-openstack has made without; "+
		"set it to false, too, where its "+csi.DriverName+" is taken over")
	o.attachSet = func() bool { return f.Changed("attach") }
}

// attaches is what Kubernetes does for a driver of this name, unless it is told.
func (o *manilaControllerOptions) attaches() bool {
	inherited := o.driverName == "nfs."+csi.DriverName || o.driverName == "cephfs."+csi.DriverName
	return o.attach && (o.attachSet() || !inherited)
}

func (o *manilaControllerOptions) check(*Env) []error {
	const longest = 255
	wrong := append(o.manilaOptions.check(), gather(atMost("cluster-id", o.clusterID, longest))...)
	if o.secretsNamespace != "" && !namespace.MatchString(o.secretsNamespace) {
		wrong = append(wrong, fmt.Errorf("--ceph-secrets-namespace: %q can't be the name of a namespace", o.secretsNamespace))
	}
	return wrong
}

// clusterFlag is a flag that needs the Kubernetes API; empty: none is set.
func (o *manilaControllerOptions) clusterFlag() string {
	switch {
	case o.secretsNamespace != "":
		return "ceph-secrets-namespace"
	case o.claimAnnotations:
		return "claim-annotations"
	default:
		return ""
	}
}

func (o *manilaControllerOptions) run(ctx context.Context, p *process) error {
	login := p.loginKeeper()
	clouds := o.clouds(p)
	clouds.Options.Metrics = manila.NewMetrics(p.registry)
	controller := &csi.Controller{Clouds: clouds, ClusterID: o.clusterID, Protocol: params.Protocol(o.protocol), Topology: o.topology, Attach: o.attaches(), Runtime: o.runtime(p)}
	if flag := o.clusterFlag(); flag != "" {
		client, err := p.cluster(flag)
		if err != nil {
			return err
		}
		defer client.Close()
		if o.secretsNamespace != "" {
			controller.KeySecrets = &kubernetes.Secrets{Client: client, Namespace: o.secretsNamespace}
		}
		if o.claimAnnotations {
			controller.Claims = client
		}
	}
	return o.serve(ctx, p, login.ready, controller, nil, login.part())
}
