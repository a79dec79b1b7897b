package csi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"mooring/pkg/manila"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/params"
)

const gib = 1 << 30

// maxGiB is the largest size that Manila's database holds.
const maxGiB = math.MaxInt32

// checkName looks at the name of a volume or of a snapshot, which Manila's gets.
func checkName(name string) error {
	const longest = 255 // in Manila
	switch {
	case name == "":
		return bad("the name is missing")
	case len(name) > longest:
		return bad("the name has %d characters, and Manila takes %d", len(name), longest)
	}
	if err := params.Storable(name); err != nil {
		return bad("the name %q: %w", name, err)
	}
	return nil
}

// sizes turns a capacity range into GiB: the size to create, and the most that a share that exists may have (0: any). Manila
// makes shares of whole GiB, so a range that has no whole GiB in it can't be met.
func sizes(r *csi.CapacityRange) (size, most int, err error) {
	required, limit := r.GetRequiredBytes(), r.GetLimitBytes()
	switch {
	case required < 0 || limit < 0:
		return 0, 0, fmt.Errorf("%w: the capacity range is negative", errRange)
	case limit > 0 && limit < required:
		return 0, 0, fmt.Errorf("%w: the limit of %d bytes is below the required %d", errRange, limit, required)
	}
	n := max(1, required/gib)
	if required > n*gib {
		n++
	}
	if limit > 0 && n > limit/gib {
		return 0, 0, fmt.Errorf("%w: shares are made in whole GiB, and %d GiB are above the limit of %d bytes", errRange, n, limit)
	}
	if n > maxGiB {
		return 0, 0, fmt.Errorf("%w: %d GiB are more than Manila can count", errRange, n)
	}
	return int(n), int(min(limit/gib, maxGiB)), nil
}

// checkCapabilities says what of a volume's capabilities the driver can't do. A share is a file system that any number of nodes
// may mount, so all modes of that kind are possible; that a single writer is alone is seen to by the node (node_single.go).
func checkCapabilities(capabilities []*csi.VolumeCapability) error {
	if len(capabilities) == 0 {
		return bad("the volume capabilities are missing")
	}
	for _, c := range capabilities {
		if err := checkCapability(c); err != nil {
			return err
		}
	}
	return nil
}

func checkCapability(c *csi.VolumeCapability) error {
	if c == nil {
		return bad("the volume capability is missing")
	}
	if c.GetBlock() != nil {
		return bad("a share is a file system and no block device (volumeMode: Filesystem)")
	}
	if c.GetMount() == nil {
		return bad("the volume capability has no access type")
	}
	if c.GetMount().GetVolumeMountGroup() != "" {
		return bad("volume_mount_group is not supported: the driver does not have VOLUME_MOUNT_GROUP (kubelet sets the group itself, for fsGroup)")
	}
	switch c.GetAccessMode().GetMode() {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY, csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER,
		csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:
		return nil
	default:
		return bad("access mode %s is not supported", c.GetAccessMode().GetMode())
	}
}

// readOnly says whether an access mode only reads.
func readOnly(c *csi.VolumeCapability) bool {
	m := c.GetAccessMode().GetMode()
	return m == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY || m == csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
}

// mountFlags vets a class's mountOptions for the way the volume will be mounted.
func mountFlags(c *csi.VolumeCapability, p params.Protocol, ceph *params.CephMount) ([]string, error) {
	kind := mount.KindNFS
	if p == params.CEPHFS {
		kind = mount.KindCephKernel
		if ceph.Mounter == mount.CephFuse {
			kind = mount.KindCephFuse
		}
	}
	flags, err := mount.Vet(kind, c.GetMount().GetMountFlags()...)
	if err != nil {
		return nil, fmt.Errorf("mountOptions: %w", err)
	}
	return flags, nil
}

// grants are the access rules that a volume has from creation on.
func grants(name string, class *params.Class, p params.Protocol) []manila.Grant {
	var out []manila.Grant
	switch {
	case class.Access == params.AccessNone || class.Access == params.AccessNode && p == params.NFS:
		return nil
	case p == params.NFS:
		for _, client := range class.NFSClients {
			out = append(out, manila.Grant{Kind: manila.KindIP, To: client, Level: class.AccessLevel})
		}
		return out
	}
	ids := class.CephClientIDs
	if len(ids) == 0 {
		ids = []string{cephxID(name)}
	}
	for _, id := range ids {
		out = append(out, manila.Grant{Kind: manila.KindCephx, To: id, Level: class.AccessLevel})
	}
	return out
}

// cephxID is the cephx user of a volume: its name, as with CPO, or something that follows from it where Ceph would not take the
// name.
func cephxID(name string) string {
	const characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	strange := strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(characters, r) })
	if !strange && name != "" {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "csi-" + hex.EncodeToString(sum[:16])
}
