// Package params is the one table of keys that users write for Manila volumes: StorageClass and VolumeAttributesClass parameters,
// volumeAttributes of PersistentVolumes, and keys of secrets with an OpenStack credential. The table parses them, validates them and documents
// them (Markdown), so the three can't differ.
//
// The keys and their meaning are those of the Manila CSI plugin of cloud-provider-openstack (CPO in comments), whose users bring their classes and
// volumes along. Two things are stricter: a key that is not in the table is a mistake, and so is a value that has no meaning.
package params

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mooring/pkg/manila/mount"
)

// ErrInvalid says that a key is unknown or a value malformed. The error's text names the key and what is allowed.
var ErrInvalid = errors.New("invalid parameters")

// Protocol is a share protocol, spelled as in Manila's API.
type Protocol string

// The protocols.
const (
	NFS    Protocol = "NFS"
	CEPHFS Protocol = "CEPHFS"
)

// Class is what a StorageClass asks for.
type Class struct {
	// Type is the share type's name or id.
	Type string
	// Protocol is empty when the class leaves it to the driver.
	Protocol     Protocol
	Availability string // Manila's availability zone; empty: any
	// AutoTopology takes the zone from the request's accessibility requirements, unless there is Availability.
	AutoTopology   bool
	ShareNetworkID string
	GroupID        string // share group; empty: none
	// Affinity and AntiAffinity are ids or names of shares, with which the share goes, or not.
	Affinity, AntiAffinity []string
	// Metadata is appended to the share's metadata.
	Metadata map[string]string
	// NFSClients are the networks that get access, in CIDR notation.
	NFSClients []string
	// CephClientIDs are the cephx users that get access; empty: one user with the volume's name.
	CephClientIDs []string
	Ceph          CephMount
	// Access is who may mount: Settle fills it in where the class leaves it to the driver.
	Access Access
	// AccessLevel is what static access rules allow: rw or ro; empty until Settle.
	AccessLevel string
	// PVC and PV are what external-provisioner adds with --extra-create-metadata.
	PVCName, PVCNamespace, PVName string
}

// Access is who makes access rules.
type Access string

const (
	// AccessNode makes the rules when a volume is published to a node, for that node: it needs a driver that attaches.
	AccessNode Access = "node"
	// AccessStatic makes the rules at creation, for nfs-shareClient or cephfs-clientID.
	AccessStatic Access = "static"
	// AccessNone makes none: people do.
	AccessNone Access = "none"
)

// CephMount is how CephFS is mounted.
type CephMount struct {
	Mounter                    mount.CephMounter
	KernelOptions, FuseOptions []string
}

// Attributes are volumeAttributes of a PersistentVolume: written by the controller, or by hand for a share that exists.
type Attributes struct {
	ShareID, ShareName string // at most one of them
	// Access is empty in volumes made by hand or by CPO: static.
	Access Access
	// CephxUser is the cephx user that reads and writes a CephFS volume with access per node.
	CephxUser string
	// AccessIDs are the ids of access rules; the node uses the first.
	AccessIDs []string
	Protocol  Protocol // empty in volumes made by hand or by CPO: the driver's
	// Exports are the export locations, the best first; empty in volumes made by hand or by CPO.
	Exports []string
	// FileSystem is the CephFS file system; empty is the default one.
	FileSystem string
	Ceph       CephMount
}

// Secret is an OpenStack credential in a Kubernetes secret. It is empty when the secret is.
type Secret struct {
	AuthURL, Region, Interface                        string
	UserID, UserName, Password, Token                 string
	ProjectID, ProjectName                            string
	DomainID, DomainName                              string
	ProjectDomainID, ProjectDomainName                string
	UserDomainID, UserDomainName                      string
	TrustID, TrusteeID, TrusteePassword               string
	ApplicationCredentialID                           string
	ApplicationCredentialName                         string
	ApplicationCredentialSecret                       string
	CACert, CACertPath, ClientCertPath, ClientKeyPath string
	Insecure                                          bool
	UseClouds                                         bool
	CloudsFile, Cloud                                 string
	// CephUser and CephKey are the cephx user that reads and writes and its key, CephReadUser and CephReadKey those of the user that
	// only reads, in the secret of one volume: then no credential is needed.
	CephUser, CephKey, CephReadUser, CephReadKey string
}

// The keys of the cephx users and of their keys.
const (
	CephUser     = "userID"
	CephKey      = "userKey"
	CephReadUser = "readOnlyUserID"
	CephReadKey  = "readOnlyUserKey"
)

// Error lists every mistake in one map of parameters.
type Error struct {
	Place    Place
	Mistakes []string
}

// Error is one line.
func (e *Error) Error() string { return string(e.Place) + ": " + strings.Join(e.Mistakes, "; ") }

// Is makes errors.Is(err, ErrInvalid) work.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// ParseClass reads StorageClass parameters, as external-provisioner hands them on.
func ParseClass(parameters map[string]string) (Class, error) {
	c := Class{Type: "default"}
	if err := parse(PlaceClass, parameters, &c, func(k *key) func(*Class, string) error { return k.class }); err != nil {
		return Class{}, err
	}
	return c, nil
}

// Settle says what a class leaves open, once a VolumeAttributesClass has overridden what it can: who may mount. A class that names
// clients, or their level, means them.
func (c *Class) Settle(attach bool) error {
	named := len(c.NFSClients) > 0 || c.AccessLevel != ""
	switch {
	case c.Access != "":
	case attach && !named:
		c.Access = AccessNode
	default:
		c.Access = AccessStatic
	}
	var mistakes []string
	switch {
	case c.Access == AccessNode && !attach:
		mistakes = append(mistakes, "access: node is not possible, for Kubernetes does not attach volumes of this driver (--attach=false, and attachRequired of its CSIDriver, "+
			"which can't be changed): set access: static, or leave it out")
	case c.Access != AccessStatic && named:
		mistakes = append(mistakes, fmt.Sprintf("nfs-shareClient and accessLevel are for access: static, and access is %s: leave one of them out", c.Access))
	case c.Access == AccessNone && len(c.CephClientIDs) > 0:
		mistakes = append(mistakes, "cephfs-clientID makes access rules, and access is none: leave one of them out")
	}
	if len(mistakes) > 0 {
		return &Error{PlaceClass, mistakes}
	}
	if len(c.NFSClients) == 0 {
		c.NFSClients = []string{"0.0.0.0/0"}
	}
	c.AccessLevel = cmp.Or(c.AccessLevel, ReadWrite)
	return nil
}

// ParseAttributes reads volumeAttributes.
func ParseAttributes(attributes map[string]string) (Attributes, error) {
	var a Attributes
	if err := parse(PlaceAttributes, attributes, &a, func(k *key) func(*Attributes, string) error { return k.attributes }); err != nil {
		return Attributes{}, err
	}
	if a.ShareID != "" && a.ShareName != "" {
		return Attributes{}, &Error{PlaceAttributes, []string{"shareID and shareName exclude each other: set one of them"}}
	}
	return a, nil
}

// Map writes the attributes that the controller hands to the node. ParseAttributes reads them back.
func (a Attributes) Map() map[string]string {
	m := map[string]string{}
	put := func(name, value string) {
		if value != "" {
			m[name] = value
		}
	}
	put("shareID", a.ShareID)
	put("shareName", a.ShareName)
	put("shareAccessIDs", strings.Join(a.AccessIDs, ","))
	put("protocol", string(a.Protocol))
	put("access", string(a.Access))
	put("cephxUser", a.CephxUser)
	put("exportLocations", joinExports(a.Exports))
	put("cephfs-fsName", a.FileSystem)
	put("cephfs-mounter", string(a.Ceph.Mounter))
	put("cephfs-kernelMountOptions", strings.Join(a.Ceph.KernelOptions, ","))
	put("cephfs-fuseMountOptions", strings.Join(a.Ceph.FuseOptions, ","))
	return m
}

// ParseSecret reads the credential in a secret. The values are secrets, so no error repeats one.
func ParseSecret(secret map[string]string) (Secret, error) {
	var s Secret
	if err := parse(PlaceSecret, secret, &s, func(k *key) func(*Secret, string) error { return k.secret }); err != nil {
		return Secret{}, err
	}
	for _, pair := range [][2]string{{CephUser, CephKey}, {CephReadUser, CephReadKey}} {
		if (secret[pair[0]] == "") != (secret[pair[1]] == "") {
			return Secret{}, &Error{PlaceSecret, []string{pair[0] + " and " + pair[1] + " belong together: one of them is missing"}}
		}
	}
	if len(secret) == 0 || s.UseClouds || s.CephKey+s.CephReadKey != "" && s.Empty() {
		return s, nil
	}
	if mistakes := s.mistakes(); len(mistakes) > 0 {
		return Secret{}, &Error{PlaceSecret, mistakes}
	}
	return s, nil
}

// mistakes are what a credential lacks.
func (s *Secret) mistakes() (out []string) {
	if s.AuthURL == "" {
		out = append(out, "os-authURL is missing")
	}
	login := s.Token != "" || s.ApplicationCredentialSecret != "" || s.Password != "" && (s.UserID != "" || s.UserName != "") ||
		s.TrustID != "" && s.TrusteeID != "" && s.TrusteePassword != ""
	if !login {
		out = append(out, "there is no login: set os-applicationCredentialID and os-applicationCredentialSecret, or os-userName and os-password, or "+
			"os-trustID with os-trusteeID and os-trusteePassword, or os-token")
	}
	return out
}

// Empty says whether there is no credential: the driver then uses its own.
func (s *Secret) Empty() bool {
	credential := *s
	credential.CephUser, credential.CephKey, credential.CephReadUser, credential.CephReadKey = "", "", "", ""
	return credential == Secret{}
}

// Storable says whether Manila's database takes a text, as a name or in metadata: its tables are utf8mb3, which has no characters
// of four bytes, and the API answers 500 to one.
func Storable(text string) error {
	for _, r := range text {
		if r > 0xffff {
			return fmt.Errorf("it has the character %q (U+%X), and Manila stores none beyond U+FFFF", r, r)
		}
	}
	return nil
}

// parse is the one way of all maps: every key is looked up, every mistake collected, in the order of the names.
func parse[T any](place Place, in map[string]string, to *T, setter func(*key) func(*T, string) error) error {
	known := map[string]func(*T, string) error{}
	for _, k := range table() {
		if set := setter(&k); set != nil {
			known[k.name] = set
		}
	}
	var mistakes []string
	unknown := false
	for _, name := range slices.Sorted(maps.Keys(in)) {
		set, ok := known[name]
		if ok && in[name] == "" && place == PlaceAttributes {
			continue // CPO writes the keys that it has no value for, too
		}
		if !ok {
			unknown = true
			mistakes = append(mistakes, fmt.Sprintf("%q is unknown", name))
			continue
		}
		err := set(to, in[name])
		if err == nil && place != PlaceSecret { // which Manila does not get to see
			err = Storable(in[name])
		}
		if err != nil {
			mistakes = append(mistakes, name+": "+err.Error())
		}
	}
	if unknown {
		mistakes = append(mistakes, "known are "+strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	if len(mistakes) > 0 {
		return &Error{place, mistakes}
	}
	return nil
}
