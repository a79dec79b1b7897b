// Package csi is the CSI edge of the Manila driver (Container Storage Interface 1.13): identity, controller and node services
// on one socket or on two.
//
// It checks requests, turns them into what package manila and package mount do, and turns their errors into gRPC codes, in
// one table (codes.go). It holds nothing that a restart could lose: the volume handle is the share's id, and what a node has
// to know stands in the volume context, so NFS volumes are staged without a call to OpenStack. Volumes of
// cloud-provider-openstack's Manila CSI plugin (CPO in comments) are served, too.
package csi
