package kubernetes

import (
	"context"
	"errors"
	"net/http"
	"slices"
)

// Where the kinds are.
const (
	volumesPath     = "/api/v1/persistentvolumes"
	claimsPath      = "/api/v1/persistentvolumeclaims"
	nodesPath       = "/api/v1/nodes"
	csiNodesPath    = "/apis/storage.k8s.io/v1/csinodes"
	attachmentsPath = "/apis/storage.k8s.io/v1/volumeattachments"
	snapshotGroup   = "snapshot.storage.k8s.io"
	contentsPath    = "/apis/" + snapshotGroup + "/v1/volumesnapshotcontents"
)

// PersistentVolume is one of a CSI driver.
type PersistentVolume struct {
	Name, Driver, Handle string
	// Attributes are its volumeAttributes.
	Attributes map[string]string
	// ClaimNamespace and ClaimName are the claim it is bound to, or reserved for; empty when it is free.
	ClaimNamespace, ClaimName string
	Phase                     string // Available, Bound, Released, Failed
}

// PersistentVolumes lists those of all CSI drivers.
func (c *Client) PersistentVolumes(ctx context.Context) ([]PersistentVolume, error) {
	type volume struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			CSI *struct {
				Driver           string            `json:"driver"`
				VolumeHandle     string            `json:"volumeHandle"`
				VolumeAttributes map[string]string `json:"volumeAttributes"`
			} `json:"csi"`
			ClaimRef struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"claimRef"`
		} `json:"spec"`
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
	all, err := list[volume](ctx, c, "PersistentVolumeList", volumesPath, "")
	if err != nil {
		return nil, err
	}
	var out []PersistentVolume
	for i := range all {
		if v := &all[i]; v.Spec.CSI != nil {
			out = append(out, PersistentVolume{
				Name: v.Metadata.Name, Driver: v.Spec.CSI.Driver, Handle: v.Spec.CSI.VolumeHandle, Attributes: v.Spec.CSI.VolumeAttributes,
				ClaimNamespace: v.Spec.ClaimRef.Namespace, ClaimName: v.Spec.ClaimRef.Name, Phase: v.Status.Phase,
			})
		}
	}
	return out, nil
}

// Claim is a PersistentVolumeClaim.
type Claim struct {
	Namespace, Name, UID string
	// Volume is the PersistentVolume it is bound to; empty while it waits for one.
	Volume string
}

// Claims lists the PersistentVolumeClaims of all namespaces.
func (c *Client) Claims(ctx context.Context) ([]Claim, error) {
	type claim struct {
		Metadata struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
			UID       string `json:"uid"`
		} `json:"metadata"`
		Spec struct {
			VolumeName string `json:"volumeName"`
		} `json:"spec"`
	}
	all, err := list[claim](ctx, c, "PersistentVolumeClaimList", claimsPath, "")
	out := make([]Claim, 0, len(all))
	for i := range all {
		m := &all[i].Metadata
		out = append(out, Claim{Namespace: m.Namespace, Name: m.Name, UID: m.UID, Volume: all[i].Spec.VolumeName})
	}
	return out, err
}

// SnapshotContent is a VolumeSnapshotContent: one that knows a snapshot, or one that waits for it to be made.
type SnapshotContent struct {
	Name, Driver string
	// Handles are the ids it gives the snapshot, in its source and in its status.
	Handles []string
	// VolumeHandle is the volume of which it is, or is to be, a snapshot; empty when it was made by hand for one that exists.
	VolumeHandle string
}

// SnapshotContents lists the VolumeSnapshotContents. A cluster without that kind has none; one that can't be asked is an error.
func (c *Client) SnapshotContents(ctx context.Context) ([]SnapshotContent, error) {
	type content struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			Driver string `json:"driver"`
			Source struct {
				VolumeHandle   string `json:"volumeHandle"`
				SnapshotHandle string `json:"snapshotHandle"`
			} `json:"source"`
		} `json:"spec"`
		Status struct {
			SnapshotHandle string `json:"snapshotHandle"`
		} `json:"status"`
	}
	all, err := list[content](ctx, c, "VolumeSnapshotContentList", contentsPath, "")
	if errors.Is(err, ErrNotFound) {
		return nil, c.lacks(ctx, snapshotGroup, err)
	}
	var out []SnapshotContent
	for i := range all {
		s := SnapshotContent{Name: all[i].Metadata.Name, Driver: all[i].Spec.Driver, VolumeHandle: all[i].Spec.Source.VolumeHandle}
		for _, handle := range []string{all[i].Spec.Source.SnapshotHandle, all[i].Status.SnapshotHandle} {
			if handle != "" && !slices.Contains(s.Handles, handle) {
				s.Handles = append(s.Handles, handle)
			}
		}
		out = append(out, s)
	}
	return out, err
}

// lacks is nil when the cluster does not have an API group at all, and otherwise the error of the call that found a kind missing.
func (c *Client) lacks(ctx context.Context, group string, cause error) error {
	var groups struct {
		Kind   string `json:"kind"`
		Groups []struct {
			Name string `json:"name"`
		} `json:"groups"`
	}
	if err := c.do(ctx, &call{method: http.MethodGet, path: "/apis"}, &groups); err != nil {
		return errors.Join(cause, err)
	}
	if groups.Kind != "APIGroupList" {
		return cause
	}
	for _, g := range groups.Groups {
		if g.Name == group {
			return cause
		}
	}
	return nil
}

// Attachment is a VolumeAttachment: a volume that is, or is to be, attached to a node.
type Attachment struct {
	Driver, Node string
	// Volume is the PersistentVolume's name.
	Volume string
}

// Attachments lists the VolumeAttachments.
func (c *Client) Attachments(ctx context.Context) ([]Attachment, error) {
	type attachment struct {
		Spec struct {
			Attacher string `json:"attacher"`
			NodeName string `json:"nodeName"`
			Source   struct {
				PersistentVolumeName string `json:"persistentVolumeName"`
			} `json:"source"`
		} `json:"spec"`
	}
	all, err := list[attachment](ctx, c, "VolumeAttachmentList", attachmentsPath, "")
	out := make([]Attachment, 0, len(all))
	for i := range all {
		s := &all[i].Spec
		out = append(out, Attachment{Driver: s.Attacher, Node: s.NodeName, Volume: s.Source.PersistentVolumeName})
	}
	return out, err
}

// metadata is a thing of which nothing else is asked for.
type metadata struct {
	Metadata struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// Nodes lists the names of the nodes.
func (c *Client) Nodes(ctx context.Context) ([]string, error) {
	all, err := list[metadata](ctx, c, "PartialObjectMetadataList", nodesPath, metadataList)
	out := make([]string, 0, len(all))
	for i := range all {
		out = append(out, all[i].Metadata.Name)
	}
	return out, err
}

// ClaimAnnotations reads the annotations of a PersistentVolumeClaim. A claim that is not there has none.
func (c *Client) ClaimAnnotations(ctx context.Context, namespace, name string) (map[string]string, error) {
	var claim metadata
	r := &call{method: http.MethodGet, path: path(path("/api/v1/namespaces", namespace)+"/persistentvolumeclaims", name), accept: metadataOnly}
	err := c.do(ctx, r, &claim)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return claim.Metadata.Annotations, nil
}
