package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
)

const gib = 1 << 30

// storage plays external-provisioner, then kubelet.
func (s *stage) storage(ctx context.Context) error {
	controller, err := dial(s.mode("manila-controller"))
	if err != nil {
		return err
	}
	defer controller.Close() //nolint:errcheck // the demo is over then
	if err := s.identify(ctx, controller); err != nil {
		return err
	}
	client := csi.NewControllerClient(controller)
	for _, v := range []struct{ protocol, shareType string }{{"NFS", "cephfs-nfs"}, {"CEPHFS", "cephfs"}} {
		if err := s.volume(ctx, client, v.protocol, v.shareType); err != nil {
			return err
		}
	}
	return s.node(ctx)
}

func dial(m *mode) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+m.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func (s *stage) identify(ctx context.Context, conn *grpc.ClientConn) error {
	identity := csi.NewIdentityClient(conn)
	return s.step("the driver says who it is and becomes ready", func() (string, error) {
		info, err := identity.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{})
		if err != nil {
			return "", err
		}
		for {
			probe, err := identity.Probe(ctx, &csi.ProbeRequest{})
			if err == nil && probe.GetReady().GetValue() {
				return info.GetName() + " " + info.GetVendorVersion(), nil
			}
			if waitErr := poll.Sleep(ctx, 20*time.Millisecond); waitErr != nil {
				return "", errors.Join(err, waitErr)
			}
		}
	})
}

// volume makes a volume, asks for it again, and deletes it.
func (s *stage) volume(ctx context.Context, client csi.ControllerClient, protocol, shareType string) error {
	request := &csi.CreateVolumeRequest{
		Name: "pvc-demo-" + strings.ToLower(protocol), CapacityRange: &csi.CapacityRange{RequiredBytes: gib},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
		}},
		Parameters: map[string]string{"type": shareType, "protocol": protocol},
	}
	var id string
	err := s.counted(ctx, "CreateVolume, 1 GiB of "+protocol, func() (string, error) {
		created, err := client.CreateVolume(ctx, request)
		if err != nil {
			return "", err
		}
		id = created.GetVolume().GetVolumeId()
		return "share " + id, nil
	})
	if err != nil {
		return err
	}
	err = s.counted(ctx, "CreateVolume again gives the same share", func() (string, error) {
		again, err := client.CreateVolume(ctx, request)
		if err == nil && again.GetVolume().GetVolumeId() != id {
			err = fmt.Errorf("it made another share, %s", again.GetVolume().GetVolumeId())
		}
		return "", err
	})
	if err != nil {
		return err
	}
	return s.counted(ctx, "DeleteVolume, until Manila has no such share", func() (string, error) {
		if _, err := client.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id}); err != nil {
			return "", err
		}
		return "", nil
	})
}

// counted is a step that also tells how often Manila was asked, without the polls for a share or rule to become ready.
func (s *stage) counted(ctx context.Context, what string, do func() (string, error)) error {
	begin := time.Now()
	return s.step(what, func() (string, error) {
		note, err := do()
		if err != nil {
			return "", err
		}
		calls, err := s.calls(ctx, begin)
		if err != nil {
			return "", err
		}
		own := 0
		for _, c := range calls {
			if c.Service == openstacksim.ServiceManila {
				own++
			}
		}
		return strings.TrimPrefix(fmt.Sprintf("%s, %d calls to Manila with polls", note, own), ", "), nil
	})
}

func (s *stage) node(ctx context.Context) error {
	conn, err := dial(s.mode("manila-node"))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the demo is over then
	client := csi.NewNodeClient(conn)
	err = s.step("the node plugin says who it is", func() (string, error) {
		info, err := client.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
		if err != nil {
			return "", err
		}
		capabilities, err := client.NodeGetCapabilities(ctx, &csi.NodeGetCapabilitiesRequest{})
		if err != nil {
			return "", err
		}
		if !slices.ContainsFunc(capabilities.GetCapabilities(), func(c *csi.NodeServiceCapability) bool {
			return c.GetRpc().GetType() == csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME
		}) {
			return "", errors.New("it can't stage volumes")
		}
		return "node " + info.GetNodeId(), nil
	})
	if err != nil {
		return err
	}
	s.skip("mounting a share", whyNoMount())
	return nil
}

// whyNoMount lists all that keeps this run from mounting; the first reason holds everywhere.
func whyNoMount() string {
	reasons := []string{"there is no file server behind a simulated share (make e2e-openstack mounts real ones)"}
	if os.Geteuid() != 0 {
		reasons = append(reasons, "this is not root")
	}
	filesystems, err := os.ReadFile("/proc/filesystems")
	for _, fs := range []string{"nfs4", "ceph"} {
		if err != nil || !bytes.Contains(filesystems, []byte("\t"+fs+"\n")) {
			reasons = append(reasons, "the kernel has no "+fs)
		}
	}
	return strings.Join(reasons, "; ")
}
