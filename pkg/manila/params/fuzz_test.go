package params_test

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
)

// canary is in the values that must not come back.
const canary = "hunter2"

// written makes a map of lines: key=value, or key!value, whose value gets the canary.
func written(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		switch i := strings.IndexAny(line, "=!"); {
		case i < 0:
		case line[i] == '!':
			out[line[:i]] = line[i+1:] + canary
		default:
			out[line[:i]] = line[i+1:]
		}
	}
	return out
}

// FuzzMaps: no map panics; each mistake is an ErrInvalid; attributes survive a round trip; and what a VolumeAttributesClass may say a
// StorageClass may say, too.
func FuzzMaps(f *testing.F) {
	for _, seed := range []string{
		"", "type=default", "nfs-shareClient=10.0.0.0/8,::/0", `appendShareMetadata={"a":"b"}`, "cephfs-clientID=a,b", `exportLocations=["a:/b"]`, "cephfs-fuseMountOptions=client_x=1",
		"shareAccessIDs=a,b", "accessLevel=ro", "\x00=\xff", "access=node\nnfs-shareClient=::/0", "protocol=NFS\naccess=static\nnfs-shareClient=10.0.0.1\naccessLevel=rw\ntype=x",
		"shareID=a\nshareName=b", "shareID=a\nprotocol=CEPHFS\nexportLocations=[\"a:6789:/b\"]\ncephfs-mounter=fuse\ncephfs-kernelMountOptions=noatime,ro\ncephxUser=u\ncephfs-fsName=c",
		"csi.storage.k8s.io/volumesnapshot/name=a\ncsi.storage.k8s.io/volumesnapshot/namespace=b\ncsi.storage.k8s.io/volumesnapshotcontent/name=\U0001F600", "availability=a\nautoTopology=true\naffinity=a,b\nantiAffinity=c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		in := written(text)
		class, classErr := params.ParseClass(in)
		_, mutableErr := params.ParseMutable(in)
		snapshot, snapshotErr := params.ParseSnapshotClass(in)
		a, err := params.ParseAttributes(in)
		for _, wrong := range []error{classErr, mutableErr, snapshotErr, err} {
			if wrong != nil && !errors.Is(wrong, params.ErrInvalid) {
				t.Fatalf("%q: %v", in, wrong)
			}
		}
		if mutableErr == nil && classErr != nil {
			t.Fatalf("%q is good in a VolumeAttributesClass, and not in a StorageClass: %v", in, classErr)
		}
		if classErr == nil {
			for _, attach := range []bool{true, false} {
				if settled := class; settled.Settle(attach) == nil && settled.Access == "" {
					t.Fatalf("%q: nobody knows who may mount", in)
				}
			}
		}
		if snapshotErr == nil {
			for key, value := range snapshot.Metadata {
				if in[key] != value {
					t.Fatalf("%q: %s is %q", in, key, value)
				}
			}
		}
		if err != nil {
			return
		}
		again, err := params.ParseAttributes(a.Map())
		if err != nil {
			t.Fatalf("%q is %+v, written as %q: %v", in, a, a.Map(), err)
		}
		if diff := cmp.Diff(a, again); diff != "" {
			t.Fatalf("round trip of %q:\n%s", in, diff)
		}
	})
}

// FuzzSecret: no secret panics, neither as it is read nor as a credential is made of it, and no error repeats a value of it, but for the
// names of files and of clouds.
func FuzzSecret(f *testing.F) {
	for _, seed := range []string{
		"", "os-authURL=https://keystone.example.org/v3\nos-userName=u\nos-password!x\nos-projectName=p\nos-domainName=d", "os-authURL!\nos-token!t", "os-authURL=https://u:p!@k/v3\nos-token!",
		"os-authURL=x\nos-applicationCredentialID!i\nos-applicationCredentialSecret!s", "os-authURL=x\nos-applicationCredentialName!i\nos-applicationCredentialSecret!s\nos-userID!u",
		"os-authURL=http://k\nos-trustID!t\nos-trusteeID!e\nos-trusteePassword!p\nos-projectID=p", "os-TLSInsecure!1", "os-useClouds=true\nos-cloud=missing", "os-useClouds=1\nos-cloudsFile=c",
		"os-authURL=http://k\nos-token!t\nos-certAuthority!-----BEGIN CERTIFICATE-----\nos-clientCertPath=cert\nos-clientKeyPath=key", "os-authURL=http://k\nos-token!t\nos-certAuthorityPath=missing",
		"userID!u\nuserKey!k", "userID!u", "os-endpointType!publicURL\nos-region!r\nos-authURL=http://k\nos-token!t", "os-passwd!x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, canary) {
			t.Skip("the canary is in a key")
		}
		in := written(text)
		names := []string{"os-certAuthorityPath", "os-clientCertPath", "os-clientKeyPath", "os-cloudsFile", "os-cloud"}
		maps.DeleteFunc(in, func(key, value string) bool { return slices.Contains(names, key) && strings.Contains(value, canary) })
		_, err := secretCredential(in)
		if err != nil && !errors.Is(err, params.ErrInvalid) {
			t.Fatalf("%q: %v", in, err)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Fatalf("%q: the error repeats a value: %v", in, err)
		}
	})
}

// secretCredential makes a credential of a secret, with files and clouds that are there unless their name says that they are missing.
func secretCredential(in map[string]string) (*openstack.Credential, error) {
	s, err := params.ParseSecret(in)
	if err != nil || s.Empty() {
		return nil, err
	}
	return s.Credential(params.Files{
		ReadFile: func(path string) ([]byte, error) {
			if strings.Contains(path, "missing") {
				return nil, fs.ErrNotExist
			}
			return []byte(path), nil
		},
		Clouds: func(cloud, _ string) (*openstack.Credential, error) {
			if strings.Contains(cloud, "missing") {
				return nil, fs.ErrNotExist
			}
			return &openstack.Credential{AuthURL: cloud}, nil
		},
	})
}
