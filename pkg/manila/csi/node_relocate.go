package csi

import "context"

// relocate asks Manila where a share is now, after nobody has answered where it was: Ceph's monitors, or the NFS servers, may have moved
// since the volume was made. Without a credential or an answer it stays with what the volume says.
func (n *Node) relocate(ctx context.Context, v *staged) {
	now := *v
	now.attributes.Exports = nil
	if err := n.locate(ctx, &now); err == nil {
		v.attributes = now.attributes
	}
}
