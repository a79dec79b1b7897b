package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-lib-utils/protosanitizer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// DriverName is the name of the driver unless another one is given; CPO has the same one.
const DriverName = "manila.csi.openstack.org"

// Identity says who the driver is.
type Identity struct {
	csi.UnimplementedIdentityServer

	Name, Version string
	// Topology says that volumes may not be reachable from every node.
	Topology bool
	// Ready says why the driver can't work yet; nil, that it can.
	Ready func() error
}

// GetPluginInfo gives the driver's name and version.
func (i *Identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: i.Name, VendorVersion: i.Version}, nil
}

// GetPluginCapabilities says that the driver has a controller, and with topology that a volume may not be reachable everywhere.
func (i *Identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	can := []csi.PluginCapability_Service_Type{csi.PluginCapability_Service_CONTROLLER_SERVICE}
	if i.Topology {
		can = append(can, csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS)
	}
	r := &csi.GetPluginCapabilitiesResponse{}
	for _, c := range can {
		r.Capabilities = append(r.Capabilities, &csi.PluginCapability{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: c}}})
	}
	return r, nil
}

// Probe says whether the driver is ready. That Keystone is away makes it unready, and is no failure: a sidecar that took it for
// one would restart a healthy process.
func (i *Identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	ready := i.Ready == nil || i.Ready() == nil
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(ready)}, nil
}

// Register puts the services on a server. The controller, the node, or neither may be nil.
func Register(s grpc.ServiceRegistrar, i *Identity, c *Controller, n *Node) {
	csi.RegisterIdentityServer(s, i)
	if c != nil {
		csi.RegisterControllerServer(s, c)
	}
	if n != nil {
		csi.RegisterNodeServer(s, n)
	}
}

// Describe is what of a request may stand in a log: everything but its secrets.
func Describe(request any) string { return protosanitizer.StripSecrets(request).String() }
