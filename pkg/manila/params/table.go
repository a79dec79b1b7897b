package params

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"mooring/pkg/manila/mount"
)

// Place is where a key is written.
type Place string

// The places.
const (
	PlaceClass      Place = "StorageClass parameters"
	PlaceAttributes Place = "volumeAttributes"
	PlaceSecret     Place = "secret"

	PlaceSnapshotClass Place = "VolumeSnapshotClass parameters"

	PlaceAttributesClass Place = "VolumeAttributesClass parameters"
)

// key is one row of the table. A place that has no setter does not know the key.
type key struct {
	name     string
	value    string // what the value looks like, for people
	fallback string // what holds when the key is not there
	doc      string

	class      func(*Class, string) error
	claim      func(*Class, string) error // annotations of the claim
	attributes func(*Attributes, string) error
	secret     func(*Secret, string) error
	snapshot   func(*SnapshotClass, string) error
	mutable    func(*Mutable, string) error
}

// table is all keys, in the order of the documentation.
func table() []key {
	return slices.Concat(classKeys(), sharedKeys(), attributeKeys(), neighbourKeys(), mutableKeys(), snapshotKeys(), secretKeys())
}

// classKeys are the parameters of a StorageClass alone.
func classKeys() []key {
	return []key{
		{
			name: "type", value: "name or id", fallback: "default", doc: "Manila share type.",
			class: func(c *Class, v string) error { return text(&c.Type, v) },
		},
		{
			name: "availability", value: "name", fallback: "any", doc: "Manila availability zone of the share.",
			class: func(c *Class, v string) error { return text(&c.Availability, v) },
		},
		{
			name: "autoTopology", value: "true or false", fallback: "false",
			doc: "Take the availability zone from the node or the `allowedTopologies` for which the volume is made; zones of Manila and Nova then have to be called " +
				"alike. Needs `--topology`; without effect beside `availability`.",
			class: func(c *Class, v string) (err error) { c.AutoTopology, err = boolean(v); return err },
		},
		{
			name: "shareNetworkID", value: "UUID", fallback: "none", doc: "Share network, for share types that handle share servers.",
			class: func(c *Class, v string) error { return text(&c.ShareNetworkID, v) },
		},
		{
			name: "appendShareMetadata", value: "JSON object of strings", fallback: "{}", doc: "Metadata added to the share.",
			class: func(c *Class, v string) (err error) { c.Metadata, err = metadata(v); return err },
		},
		{
			name: "access", value: "node, static or none", fallback: "`static` with `nfs-shareClient`, or without `--attach`; else `node`",
			doc: "Who may mount. `node`: each node that has a pod with the volume, for as long as it has (NFS: its address; CephFS: a cephx user for all, and one for those " +
				"that only read); it needs a controller with `--attach`, and Manila's API 2.45. `static`: `nfs-shareClient` or `cephfs-clientID`, from creation on. " +
				"`none`: whom you let in yourself.",
			class: func(c *Class, v string) (err error) { c.Access, err = access(v); return err },
		},
		{
			name: "nfs-shareClient", value: "addresses or CIDRs, comma-separated", fallback: "0.0.0.0/0", doc: "Who may mount an NFS share.",
			class: func(c *Class, v string) (err error) { c.NFSClients, err = networks(v); return err },
		},
		{
			name: "accessLevel", value: "rw or ro", fallback: "rw", doc: "What the access rules of `access: static` allow: to write, or only to read.",
			class: func(c *Class, v string) (err error) { c.AccessLevel, err = accessLevel(v); return err },
		},
		{
			name: "cephfs-clientID", value: "cephx ids, comma-separated", fallback: "the volume's name",
			doc:   "cephx users that may mount a CephFS share; nodes mount with the first.",
			class: func(c *Class, v string) (err error) { c.CephClientIDs, err = cephxIDs(v); return err },
		},
		{
			name: "csi.storage.k8s.io/pvc/name", value: "name", fallback: "none", doc: "Set by external-provisioner with `--extra-create-metadata`; kept in the share's metadata.",
			class: func(c *Class, v string) error { c.PVCName = v; return nil },
		},
		{
			name: "csi.storage.k8s.io/pvc/namespace", value: "name", fallback: "none", doc: "As above.",
			class: func(c *Class, v string) error { c.PVCNamespace = v; return nil },
		},
		{
			name: "csi.storage.k8s.io/pv/name", value: "name", fallback: "none", doc: "As above.",
			class: func(c *Class, v string) error { c.PVName = v; return nil },
		},
	}
}

// sharedKeys stand in a StorageClass and are handed on in volumeAttributes, or are written there by hand.
func sharedKeys() []key {
	ceph := func(name, value, fallback, doc string, set func(*CephMount, string) error) key {
		return key{
			name: name, value: value, fallback: fallback, doc: doc,
			class:      func(c *Class, v string) error { return set(&c.Ceph, v) },
			attributes: func(a *Attributes, v string) error { return set(&a.Ceph, v) },
		}
	}
	return []key{
		{
			name: "protocol", value: "NFS or CEPHFS", fallback: "the driver's `--share-protocol`", doc: "Share protocol.",
			class:      func(c *Class, v string) (err error) { c.Protocol, err = protocol(v); return err },
			attributes: func(a *Attributes, v string) (err error) { a.Protocol, err = protocol(v); return err },
		},
		ceph("cephfs-mounter", "kernel or fuse", "the kernel's client; ceph-fuse where the kernel has none", "Client that mounts CephFS.", func(c *CephMount, v string) error {
			if v != string(mount.CephKernel) && v != string(mount.CephFuse) {
				return fmt.Errorf("%q is neither kernel nor fuse", v)
			}
			c.Mounter = mount.CephMounter(v)
			return nil
		}),
		ceph("cephfs-kernelMountOptions", "mount options, comma-separated", "none", "Options of the kernel's CephFS client.", func(c *CephMount, v string) (err error) {
			c.KernelOptions, err = mount.Vet(mount.KindCephKernel, v)
			return err
		}),
		ceph("cephfs-fuseMountOptions", "mount options, comma-separated", "none", "Options of ceph-fuse; `client_…=` settings of Ceph are taken, too.", func(c *CephMount, v string) (err error) {
			c.FuseOptions, err = mount.Vet(mount.KindCephFuse, v)
			return err
		}),
	}
}

// attributeKeys stand in volumeAttributes alone.
func attributeKeys() []key {
	accessIDs := func(a *Attributes, v string) (err error) { a.AccessIDs, err = list(v); return err }
	return []key{
		{
			name: "shareID", value: "UUID", fallback: "the volume handle", doc: "Share of a volume. Excludes `shareName`.",
			attributes: func(a *Attributes, v string) error { return text(&a.ShareID, v) },
		},
		{
			name: "shareName", value: "name", fallback: "none", doc: "Share of a volume that was made by hand. Excludes `shareID`.",
			attributes: func(a *Attributes, v string) error { return text(&a.ShareName, v) },
		},
		{
			name: "shareAccessIDs", value: "UUIDs, comma-separated", fallback: "none", doc: "Access rules of the share. A CephFS volume is mounted with the cephx user of the first.",
			attributes: accessIDs,
		},
		{
			name: "access", value: "node, static or none", fallback: "static", doc: "Who may mount, as in a StorageClass. `node` needs the share's id as the volume handle.",
			attributes: func(a *Attributes, v string) (err error) { a.Access, err = access(v); return err },
		},
		{
			name: "cephxUser", value: "cephx id", fallback: "named after the share",
			doc:        "cephx user of a CephFS volume with `access: node`. Nodes that only read get one of this name with `-ro` after it.",
			attributes: func(a *Attributes, v string) error { return text(&a.CephxUser, v) },
		},
		{name: "shareAccessID", value: "UUID", fallback: "none", doc: "Old name of `shareAccessIDs`.", attributes: accessIDs},
		{
			name: "exportLocations", value: "JSON list of strings", fallback: "asked of Manila", doc: "Export locations, the best first. The controller writes them, so that nodes need not ask Manila.",
			attributes: func(a *Attributes, v string) (err error) { a.Exports, err = exports(v); return err },
		},
		{
			name: "cephfs-fsName", value: "name", fallback: "the default file system; asked of Manila with the export locations",
			doc:        "CephFS file system of the share. The controller writes it when Manila tells it (`fs=` in the share's metadata `__mount_options`).",
			attributes: func(a *Attributes, v string) error { return text(&a.FileSystem, v) },
		},
		{
			name: "storage.kubernetes.io/csiProvisionerIdentity", value: "text", fallback: "none", doc: "Written by external-provisioner; without effect.",
			attributes: func(*Attributes, string) error { return nil },
		},
	}
}

// secretKeys are an OpenStack credential, as CPO's users have it in a secret.
func secretKeys() []key {
	field := func(name, doc string, to func(*Secret) *string) key {
		return key{name: name, value: "text", fallback: "none", doc: doc, secret: func(s *Secret, v string) error { *to(s) = v; return nil }}
	}
	flag := func(name, doc string, to func(*Secret) *bool) key {
		return key{name: name, value: "true or false", fallback: "false", doc: doc, secret: func(s *Secret, v string) (err error) {
			*to(s), err = boolean(v)
			return err
		}}
	}
	return []key{
		field("os-authURL", "Keystone's URL.", func(s *Secret) *string { return &s.AuthURL }),
		field("os-region", "Region of the catalog.", func(s *Secret) *string { return &s.Region }),
		field("os-endpointType", "public, internal or admin.", func(s *Secret) *string { return &s.Interface }),
		field("os-userID", "User.", func(s *Secret) *string { return &s.UserID }),
		field("os-userName", "User, by name.", func(s *Secret) *string { return &s.UserName }),
		field("os-password", "The user's password.", func(s *Secret) *string { return &s.Password }),
		field("os-token", "A token, instead of a user.", func(s *Secret) *string { return &s.Token }),
		field("os-projectID", "Project.", func(s *Secret) *string { return &s.ProjectID }),
		field("os-projectName", "Project, by name.", func(s *Secret) *string { return &s.ProjectName }),
		field("os-domainID", "Domain of user and project.", func(s *Secret) *string { return &s.DomainID }),
		field("os-domainName", "Domain of user and project, by name.", func(s *Secret) *string { return &s.DomainName }),
		field("os-projectDomainID", "Domain of the project.", func(s *Secret) *string { return &s.ProjectDomainID }),
		field("os-projectDomainName", "Domain of the project, by name.", func(s *Secret) *string { return &s.ProjectDomainName }),
		field("os-userDomainID", "Domain of the user.", func(s *Secret) *string { return &s.UserDomainID }),
		field("os-userDomainName", "Domain of the user, by name.", func(s *Secret) *string { return &s.UserDomainName }),
		field("os-trustID", "Trust to act under.", func(s *Secret) *string { return &s.TrustID }),
		field("os-trusteeID", "User of the trust.", func(s *Secret) *string { return &s.TrusteeID }),
		field("os-trusteePassword", "Password of the trust's user.", func(s *Secret) *string { return &s.TrusteePassword }),
		field("os-applicationCredentialID", "Application credential.", func(s *Secret) *string { return &s.ApplicationCredentialID }),
		field("os-applicationCredentialName", "Application credential, by name; needs its user.", func(s *Secret) *string { return &s.ApplicationCredentialName }),
		field("os-applicationCredentialSecret", "Its secret.", func(s *Secret) *string { return &s.ApplicationCredentialSecret }),
		field("os-certAuthority", "CA certificates, PEM text.", func(s *Secret) *string { return &s.CACert }),
		field("os-certAuthorityPath", "CA certificates, path of a PEM file.", func(s *Secret) *string { return &s.CACertPath }),
		flag("os-TLSInsecure", "Do not verify server certificates.", func(s *Secret) *bool { return &s.Insecure }),
		field("os-clientCertPath", "Client certificate, path of a PEM file.", func(s *Secret) *string { return &s.ClientCertPath }),
		field("os-clientKeyPath", "Its key, path of a PEM file.", func(s *Secret) *string { return &s.ClientKeyPath }),
		flag("os-useClouds", "Take the credential from a clouds.yaml that the driver can read.", func(s *Secret) *bool { return &s.UseClouds }),
		field("os-cloudsFile", "Path of that clouds.yaml.", func(s *Secret) *string { return &s.CloudsFile }),
		field("os-cloud", "Entry of that clouds.yaml.", func(s *Secret) *string { return &s.Cloud }),
		field(CephUser, "cephx user of one CephFS volume, for nodes. The controller writes it with `--ceph-secrets-namespace`, into a Secret that is named like the PersistentVolume.",
			func(s *Secret) *string { return &s.CephUser }),
		field(CephKey, "Its key. With both of them a node needs no OpenStack credential.", func(s *Secret) *string { return &s.CephKey }),
		field(CephReadUser, "cephx user of the volume that only reads, for nodes to which it is published read-only.", func(s *Secret) *string { return &s.CephReadUser }),
		field(CephReadKey, "Its key.", func(s *Secret) *string { return &s.CephReadKey }),
	}
}

// boolean takes what strconv.ParseBool does.
func boolean(v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, errors.New("it has to be true or false")
	}
	return b, nil
}

// text takes anything that is not empty.
func text(to *string, v string) error {
	if strings.TrimSpace(v) == "" {
		return errors.New("it is empty")
	}
	*to = v
	return nil
}

func list(v string) ([]string, error) {
	var out []string
	for item := range strings.SplitSeq(v, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			return nil, fmt.Errorf("%q has an empty element", v)
		}
		if slices.Contains(out, item) {
			return nil, fmt.Errorf("%q is there twice", item)
		}
		out = append(out, item)
	}
	return out, nil
}

func access(v string) (Access, error) {
	a := Access(v)
	if a != AccessNode && a != AccessStatic && a != AccessNone {
		return "", fmt.Errorf("%q is neither node nor static nor none", v)
	}
	return a, nil
}

func protocol(v string) (Protocol, error) {
	p := Protocol(strings.ToUpper(v))
	if p != NFS && p != CEPHFS {
		return "", fmt.Errorf("%q is neither NFS nor CEPHFS", v)
	}
	return p, nil
}

// metadata follows Manila's rules (manila/api/common.py): keys of 1 to 255 characters, values of 1 to 1023.
func metadata(v string) (map[string]string, error) {
	var m map[string]string
	if err := json.Unmarshal([]byte(v), &m); err != nil || m == nil {
		return nil, errors.New(`it has to be a JSON object of strings, such as {"team": "a"}`)
	}
	for k, value := range m {
		if k == "" || len(k) > 255 || value == "" || len(value) > 1023 {
			return nil, fmt.Errorf("entry %q: Manila takes keys of 1 to 255 and values of 1 to 1023 characters", k)
		}
		if err := Storable(k + value); err != nil { // JSON has escapes for what the text itself does not show
			return nil, fmt.Errorf("entry %q: %w", k, err)
		}
	}
	return m, nil
}

func networks(v string) ([]string, error) {
	items, err := list(v)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		prefix, err := netip.ParsePrefix(item)
		if addr, addrErr := netip.ParseAddr(item); addrErr == nil && addr.Zone() == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a CIDR", item)
		}
		if prefix.Masked() != prefix {
			return nil, fmt.Errorf("%q has host bits set: write %s", item, prefix.Masked())
		}
	}
	return items, nil
}

// cephxIDs follows validate_cephx_id (manila/api/common.py), without the characters that have a meaning in Ceph's own files.
func cephxIDs(v string) ([]string, error) {
	items, err := list(v)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if strings.ContainsFunc(item, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`.,=[]#;\"'`, r) }) {
			return nil, fmt.Errorf("%q is no cephx id: letters, digits, - and _ are", item)
		}
	}
	return items, nil
}

func exports(v string) ([]string, error) {
	var out []string
	if err := json.Unmarshal([]byte(v), &out); err != nil || len(out) == 0 {
		return nil, errors.New("it has to be a JSON list of export locations")
	}
	return out, nil
}

func joinExports(exports []string) string {
	if len(exports) == 0 {
		return ""
	}
	b, err := json.Marshal(exports)
	if err != nil { // a list of strings can be marshalled
		return ""
	}
	return string(b)
}

// Markdown is the reference page of all keys.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Parameters of Manila volumes\n\nGenerated from the table that parses them (`pkg/manila/params`).\n")
	for _, section := range []struct {
		place Place
		title string
		has   func(*key) bool
	}{
		{PlaceClass, "StorageClass parameters", func(k *key) bool { return k.class != nil }},
		{PlaceAttributesClass, "VolumeAttributesClass parameters", func(k *key) bool { return k.mutable != nil }},
		{PlaceAttributes, "volumeAttributes of a PersistentVolume", func(k *key) bool { return k.attributes != nil }},
		{PlaceClaim, "Annotations of a PersistentVolumeClaim", func(k *key) bool { return k.claim != nil }},
		{PlaceSnapshotClass, "VolumeSnapshotClass parameters", func(k *key) bool { return k.snapshot != nil }},
		{PlaceSecret, "Keys of a secret with an OpenStack credential", func(k *key) bool { return k.secret != nil }},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", section.title)
		for _, k := range table() {
			if section.has(&k) {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, k.value, k.fallback, k.doc)
			}
		}
	}
	return b.String()
}
