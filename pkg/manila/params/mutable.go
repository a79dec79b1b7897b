package params

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The access levels, as in Manila's API.
const (
	ReadWrite = "rw"
	ReadOnly  = "ro"
)

// Mutable is what a VolumeAttributesClass asks for. What a class does not have stays as it is.
type Mutable struct {
	// Type is the share type's name or id; empty: as it is.
	Type string
	// Metadata is added to the share's metadata.
	Metadata map[string]string
	// NFSClients are the networks that get access, and no others; nil: as they are.
	NFSClients []string
	// AccessLevel is rw or ro; empty: as it is.
	AccessLevel string
}

// ParseMutable reads VolumeAttributesClass parameters.
func ParseMutable(parameters map[string]string) (Mutable, error) {
	var m Mutable
	if err := parse(PlaceAttributesClass, parameters, &m, func(k *key) func(*Mutable, string) error { return k.mutable }); err != nil {
		return Mutable{}, err
	}
	return m, nil
}

// Override gives a volume that is made what its VolumeAttributesClass asks for, which comes before what its StorageClass does.
func (c *Class) Override(m *Mutable) {
	if m.Type != "" {
		c.Type = m.Type
	}
	if m.NFSClients != nil {
		c.NFSClients = m.NFSClients
	}
	if m.AccessLevel != "" {
		c.AccessLevel = m.AccessLevel
	}
	if m.Metadata != nil {
		both := map[string]string{}
		maps.Copy(both, c.Metadata)
		maps.Copy(both, m.Metadata)
		c.Metadata = both
	}
}

// mutableKeys are the parameters of a VolumeAttributesClass. They have the names that they have in a StorageClass.
func mutableKeys() []key {
	return []key{
		{
			name: "nfs-shareClient", value: "addresses or CIDRs, comma-separated", fallback: "unchanged",
			doc:     "Who may mount an NFS share with `access: static`, from now on: others lose access. Access rules that the driver did not make stay.",
			mutable: func(m *Mutable, v string) (err error) { m.NFSClients, err = networks(v); return err },
		},
		{
			name: "accessLevel", value: "rw or ro", fallback: "unchanged",
			doc: "What the access rules of `access: static` allow. Before Manila 2.88 a rule can't be changed: an NFS client is cut off for the time that " +
				"Manila takes to remove its rule and to apply the new one (seconds), and for a CephFS share a change is refused.",
			mutable: func(m *Mutable, v string) (err error) { m.AccessLevel, err = accessLevel(v); return err },
		},
		{
			name: "appendShareMetadata", value: "JSON object of strings", fallback: "unchanged",
			doc: "Metadata set on the share. Other metadata stays, also that which an earlier class has set. Keys that begin with " +
				"`manila.csi.openstack.org`, `csi.storage.k8s.io/`, `mooring-` or `__` are refused: they are the driver's, or Manila's.",
			mutable: func(m *Mutable, v string) (err error) { m.Metadata, err = ownMetadata(v); return err },
		},
		{
			name: "type", value: "name or id", fallback: "unchanged",
			doc:     "Manila share type. A share that exists has to be of it already: Manila lets administrators alone change the type.",
			mutable: func(m *Mutable, v string) error { return text(&m.Type, v) },
		},
	}
}

func accessLevel(v string) (string, error) {
	if v != ReadWrite && v != ReadOnly {
		return "", fmt.Errorf("%q is neither rw nor ro", v)
	}
	return v, nil
}

// ownMetadata is metadata without keys that are the driver's or Manila's.
func ownMetadata(v string) (map[string]string, error) {
	m, err := metadata(v)
	if err != nil {
		return nil, err
	}
	for k := range m {
		if slices.ContainsFunc([]string{"manila.csi.openstack.org", "csi.storage.k8s.io/", "mooring-", "__"}, func(p string) bool { return strings.HasPrefix(k, p) }) {
			return nil, fmt.Errorf("entry %q: the driver, or Manila, has this key", k)
		}
	}
	return m, nil
}
